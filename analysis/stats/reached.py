"""What each trial had reached of a metric by an epoch, and what it counts for where runs broke. Pure.

Two estimates, as in clinical trials. *Both finished* (per protocol): only runs that did not break, each with the best
it had reached. *As started* (intention to treat): a run that diverged or froze counts as the worst value it measured,
or as the metric's worst where it measured none. A run that failed for another reason has no value in either.
"""

import math
from math import nan

import numpy as np
import pandas as pd

from analysis.load.contract import BROKEN, UNMEASURED
from analysis.stats.scores import measured

FARTHEST = 2**32  # more epochs than any run has
KEPT = 0.75  # of each level's trials, at least, have come to the epoch at which all are compared
SCORES = ("dice", "iou", "accuracy", "auc", "f1")  # in the name of a metric from 0 to 1


def is_score(metric: str, mode: str) -> bool:
    """Whether the metric lies between 0, its worst, and 1: of a reward 0 may be the best there is."""
    return mode == "max" and any(word in metric for word in SCORES)


class Reached:
    """The best value of a metric that each trial had reached by an epoch, and the worst it ever measured."""

    def __init__(self, epochs: pd.DataFrame, metric: str, mode: str):
        rows = measured(epochs, metric)
        code, names = pd.factorize(rows["folder"])
        found = pd.DataFrame({"code": code, "epoch": rows["epoch"].to_numpy("int64")})
        values = rows[metric].to_numpy(float) if metric in rows else np.empty(0)
        found = found.assign(value=values).sort_values(["code", "epoch"], kind="stable")
        grouped, index = found.groupby("code", sort=False), pd.Index(names)
        self.mode = mode
        self._best = (grouped["value"].cummax() if mode == "max" else grouped["value"].cummin()).to_numpy()
        self._keys = found["code"].to_numpy("int64") * FARTHEST + found["epoch"].to_numpy()
        self._codes = pd.Series(np.arange(len(names)), index=index)
        self.last = pd.Series(grouped["epoch"].max().to_numpy(), index=index)  # by folder
        worst = grouped["value"].min() if mode == "max" else grouped["value"].max()
        self._worst = pd.Series(worst.to_numpy(float), index=index)
        self.least = 0.0 if is_score(metric, mode) else float(self._worst.min() if mode == "max" else self._worst.max())

    def at(self, folders: pd.Series, epochs: pd.Series) -> np.ndarray:
        """The best value [n] of each of the trials (folders [n]) until those epochs [n]; nan where a trial's first
        measurement came later. Every folder must have been measured."""
        codes = self._codes.reindex(folders).to_numpy("int64")
        places = np.searchsorted(self._keys, codes * FARTHEST + epochs.to_numpy("int64"), "right") - 1
        return np.where(self._keys[places] // FARTHEST == codes, self._best[places], nan) if len(codes) else np.zeros(0)

    def worst(self, folders: pd.Series) -> np.ndarray:
        """The worst value [n] that each trial measured; where none, the metric's worst (0, or the study's)."""
        return self._worst.reindex(folders).fillna(self.least).to_numpy(float)


def paired_values(trials: pd.DataFrame, reached: Reached, pairs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The pairs of which both finished, and the pairs as started, with columns epoch, value_a and value_b.

    pairs: columns a and b, places in trials. Both of a pair are compared after as many epochs as both measured; beside
    a broken run the other counts whole.
    """
    folder = trials["folder"]
    ends = {side: trials["outcome"][pairs[side]].to_numpy() for side in "ab"}
    last = {side: reached.last.reindex(folder[pairs[side]]).to_numpy(float) for side in "ab"}
    broke = {side: np.isin(ends[side], BROKEN) for side in "ab"}
    has_value = {side: ~np.isin(ends[side], UNMEASURED) & np.isfinite(last[side]) for side in "ab"}
    finished = has_value["a"] & has_value["b"]
    started = (has_value["a"] | broke["a"]) & (has_value["b"] | broke["b"])
    epoch = np.where(finished, np.minimum(last["a"], last["b"]), nan)
    found = pairs.assign(epoch=epoch)
    for side, other in (("a", "b"), ("b", "a")):
        until = np.where(broke[other], last[side], epoch)
        value = np.full(len(pairs), nan)
        known = started & ~broke[side]
        value[known] = reached.at(folder[pairs[side][known]], pd.Series(until[known]))
        lost = started & broke[side]
        value[lost] = reached.worst(folder[pairs[side][lost]])
        found[f"value_{side}"] = value
    is_known = found[["value_a", "value_b"]].notna().all(axis=1).to_numpy()
    return found[finished & is_known].astype({"epoch": "int64"}), found[started & is_known]


def unpaired_values(trials: pd.DataFrame, reached: Reached, sides: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The trials that finished, and all as started ("finished", "started"), with columns side, epoch and value.

    sides: a frame a side, whose column place says which trials. All are compared at one epoch, the last that KEPT of
    each level's trials came to; those that did not are left out.
    """
    found = pd.concat([rows.assign(side=side) for side, rows in sides.items()], ignore_index=True)
    folder, outcome = (trials[name][found["place"]].reset_index(drop=True) for name in ("folder", "outcome"))
    last = reached.last.reindex(folder).to_numpy(float)
    has_value = ~outcome.isin(UNMEASURED).to_numpy() & np.isfinite(last)
    ends = [last[has_value & (found["side"] == side).to_numpy()] for side in sides]
    epoch = min((horizon(each) for each in ends if len(each)), default=0)
    finished = has_value & (last >= epoch)
    lost = outcome.isin(BROKEN).to_numpy()
    value = np.full(len(found), nan)
    value[finished] = reached.at(folder[finished], pd.Series(np.full(finished.sum(), epoch)))
    value[lost] = reached.worst(folder[lost])
    found = found.assign(epoch=epoch, value=value)
    is_known = np.isfinite(value)
    return {"finished": found[finished & is_known], "started": found[(finished | lost) & is_known]}


def horizon(last_epochs: np.ndarray) -> int:
    """The last epoch that at least KEPT of the trials [n] came to: one that was cut short does not count for all."""
    return int(np.sort(last_epochs)[::-1][math.ceil(KEPT * len(last_epochs)) - 1])
