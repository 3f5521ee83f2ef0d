"""Frames -> frames: which epochs count, each trial's best, and what it counts for in a search. Pure.

The one definition of a trial's score, as trials/scores.py has it (the analysis imports nothing of trials);
tests/test_scores.py compares the two.
"""

import numpy as np
import pandas as pd


def measured(epochs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows that count: a finite measurement of the metric, in an epoch that was not rolled back."""
    if metric not in epochs:
        return epochs.iloc[:0]
    return epochs[~flag(epochs, "rolled_back") & np.isfinite(epochs[metric].astype(float))]


def best_epochs(epochs: pd.DataFrame, metric: str, mode: str) -> pd.DataFrame:
    """Each trial's best epoch, of equal ones the first: folder, best_epoch, best_<metric>; a row a trial with one."""
    if metric not in epochs:
        return pd.DataFrame({"folder": [], "best_epoch": [], f"best_{metric}": []}).astype({"folder": object})
    ordered = measured(epochs, metric).sort_values([metric, "epoch"], ascending=[mode == "min", True], kind="stable")
    best = ordered.drop_duplicates("folder")[["folder", "epoch", metric]]
    return best.rename(columns={"epoch": "best_epoch", metric: f"best_{metric}"}).reset_index(drop=True)


def objectives(epochs: pd.DataFrame, metric: str, mode: str) -> pd.Series:
    """What a trial counted for in the search after each row: its best so far, or the worst that it had measured where
    the row says that it diverged or froze and was not rolled back. NaN where nothing was measured until then.
    """
    if metric not in epochs:
        return pd.Series(np.nan, index=epochs.index)
    ordered = epochs.sort_values(["folder", "epoch"], kind="stable")
    values = measured(ordered, metric)[metric].astype(float).reindex(ordered.index).groupby(ordered["folder"])
    most, least = (each.groupby(ordered["folder"]).ffill() for each in (values.cummax(), values.cummin()))
    best, worst = (most, least) if mode == "max" else (least, most)
    broken = (flag(ordered, "diverged") | flag(ordered, "frozen")) & ~flag(ordered, "rolled_back")
    return best.where(~broken, worst).reindex(epochs.index)


def flag(epochs: pd.DataFrame, name: str) -> pd.Series:
    """A column of truth values, false where it is missing."""
    return epochs[name].eq(1) if name in epochs else pd.Series(False, epochs.index)
