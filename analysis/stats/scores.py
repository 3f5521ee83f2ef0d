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
    """By folder, what a trial counts for in a search: its best, or, where it diverged or froze, the worst it measured.

    NaN where it measured nothing, for which a search takes the worst there is.
    """
    values = measured(epochs, metric).groupby("folder")[metric] if metric in epochs else None
    folders = pd.Index(epochs["folder"].unique(), name="folder")
    if values is None:
        return pd.Series(np.nan, index=folders)
    best, worst = (values.max(), values.min()) if mode == "max" else (values.min(), values.max())
    broken = broken_folders(epochs)
    return best.reindex(folders).where(~folders.isin(broken), worst.reindex(folders)).astype(float)


def broken_folders(epochs: pd.DataFrame) -> set[str]:
    """Trials whose last epoch says that they diverged or froze, and was not rolled back."""
    last = epochs.sort_values(["folder", "epoch"], kind="stable").drop_duplicates("folder", keep="last")
    return set(last.loc[(flag(last, "diverged") | flag(last, "frozen")) & ~flag(last, "rolled_back"), "folder"])


def flag(epochs: pd.DataFrame, name: str) -> pd.Series:
    """A column of truth values, false where it is missing."""
    return epochs[name].eq(1) if name in epochs else pd.Series(False, epochs.index)
