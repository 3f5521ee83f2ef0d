"""Frames -> frames: of runs with and without each guard, how many met an event and how they went on. Pure.

A guard shows what it is worth after an event: whether the run lives on to its last epoch, and what it scores there.
"""

import numpy as np
import pandas as pd

from analysis.load.contract import BROKEN, CUT
from analysis.load.factors import Factor, numbers
from analysis.load.labels import label
from analysis.stats.scores import flag

GUARDS = {  # settings that guard a run, and the value that is no guard (trials/guards.py)
    "float32_head": False,
    "loss_scale_floor": 0,
    "clip_norm": 0,
    "guard_statistics": False,
    "on_divergence": "stop",
}
COLUMNS = (
    *("guards", "num_trials", "num_with_event", "num_lived", "num_broke", "num_cut"),
    *("median_end_after_event", "median_end_without_event"),
)


def guards_of(trials: pd.DataFrame, factors: list[Factor]) -> list[str]:
    """The guards that some of the trials have and others have not."""
    names = [factor.name for factor in factors if factor.name in GUARDS and factor.name in trials]
    return [name for name in names if is_off(trials, name).nunique() > 1]


def is_off(trials: pd.DataFrame, name: str) -> pd.Series:
    return trials[name].map(lambda value: value == GUARDS[name])


def event_counts(epochs: pd.DataFrame) -> pd.Series:
    """In how many epochs a trial met an event, by folder; trials without one are left out."""
    return epochs.loc[epochs["diverged"] | epochs["rolled_back"] | flag(epochs, "frozen"), "folder"].value_counts()


def fates(trials: pd.DataFrame, epochs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A row a trial, in the order of `trials`: columns met_event, fate (lived, broke, cut) and end, its last score.

    lived: its last planned epoch was validated, with a finite loss and at least one step taken; else end is NaN.
    """
    last = epochs.sort_values("epoch", kind="stable").groupby("folder").tail(1).set_index("folder")
    own = last.reindex(trials["folder"])
    ended = own["epoch"].to_numpy(float) >= numbers(trials, "epochs").fillna(np.inf).to_numpy()
    finite = np.isfinite(own["val_loss"].to_numpy(float))
    if {"num_steps", "num_skipped_steps"} <= set(own):
        finite &= ~(own["num_steps"] <= own["num_skipped_steps"]).to_numpy()
    cut = trials["outcome"].isin(CUT).to_numpy()
    met = trials["folder"].isin(event_counts(epochs).index) | trials["outcome"].isin(BROKEN)
    met |= numbers(trials, "outcome_event_epoch").notna()
    score = own[metric].to_numpy(float) if metric in own else np.full(len(trials), np.nan)
    lived = ended & finite & ~cut
    fate = np.select([cut, lived], ["cut", "lived"], "broke")
    end = np.where(lived, score, np.nan)
    return pd.DataFrame({"met_event": met.to_numpy(bool), "fate": fate, "end": end}, index=trials.index)


def guard_table(trials: pd.DataFrame, epochs: pd.DataFrame, guards: list[str], metric: str) -> pd.DataFrame:
    """Rows COLUMNS: no guard, each guard alone, and each with or without others; those that no trial has left out."""
    fate = fates(trials, epochs, metric)
    off = pd.DataFrame({name: is_off(trials, name) for name in guards}, index=trials.index)
    groups = {"none": off.all(axis=1)}
    for name in guards:
        for value in trials.loc[~off[name], name].drop_duplicates().tolist():
            has = trials[name].map(lambda each, value=value: each == value)
            alone = has & off.drop(columns=name).all(axis=1)
            said = f"{name}={label(value)}"
            groups |= {f"{said} alone": alone} if len(guards) > 1 else {}
            groups[f"{said}, any others" if len(guards) > 1 else said] = has
    rows = [{"guards": name} | row_of(fate[chosen]) for name, chosen in groups.items() if chosen.any()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def row_of(fate: pd.DataFrame) -> dict:
    """The numbers of COLUMNS of one group of trials; fate: a row a trial, as fates gives it."""
    met, lived = fate["met_event"], fate["fate"] == "lived"
    return {
        "num_trials": len(fate),
        "num_with_event": int(met.sum()),
        "num_lived": int((met & lived).sum()),
        "num_broke": int((met & (fate["fate"] == "broke")).sum()),
        "num_cut": int((met & (fate["fate"] == "cut")).sum()),
        "median_end_after_event": fate.loc[met & lived, "end"].median(),
        "median_end_without_event": fate.loc[~met & lived, "end"].median(),
    }
