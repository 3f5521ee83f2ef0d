"""Frames -> frames: learning curves by the levels of a factor, their medians, and how each curve ends. Pure."""

from typing import NamedTuple

import pandas as pd

from analysis.load.contract import BROKEN
from analysis.load.factors import Factor, levels
from analysis.stats.ranking import name_hash
from analysis.stats.scores import measured

MEDIANS = ("level", "epoch", "median", "low", "high", "num_trials", "num_begun")
ALL = "all trials"  # the one level where no factor divides the trials


class CurveFrames(NamedTuple):
    """What a figure of learning curves is drawn from."""

    lines: pd.DataFrame
    medians: pd.DataFrame
    ends: pd.DataFrame
    num_left_out: int  # trials that have a curve which is not drawn
    num_without: int  # trials that diverged before they had one


def curves(trials: pd.DataFrame, epochs: pd.DataFrame, factor: Factor | None, metric: str) -> pd.DataFrame:
    """A row a trial and measured epoch: folder, trial, level, epoch, value; in the order of `epochs`.

    Epochs that do not count are left out (analysis/stats/scores.py).
    """
    if metric not in epochs:
        return pd.DataFrame({"folder": [], "trial": [], "level": [], "epoch": [], "value": []})
    level = (
        dict.fromkeys(trials["folder"], ALL)
        if factor is None
        else dict(zip(trials["folder"], levels(trials, factor), strict=True))
    )
    rows = measured(epochs, metric)
    found = rows[["folder", "trial"]].assign(
        level=rows["folder"].map(level), epoch=rows["epoch"], value=rows[metric].astype(float)
    )
    return found.dropna(subset="level").reset_index(drop=True)


def medians(curves: pd.DataFrame, trials: pd.DataFrame, factor: Factor | None) -> pd.DataFrame:
    """A row a level and epoch: median, low and high (quartiles) of the same num_trials trials at every epoch.

    Of the num_begun trials of a level (those that diverged before a measurement are among them) these are the ones
    that came to the last epoch that at least half came to; later epochs have no median. A median of whoever is left
    would move because the worse trials leave. An epoch that one of them did not measure is left out.
    """
    level = pd.Series(ALL, trials.index) if factor is None else levels(trials, factor)
    has_begun = trials["folder"].isin(curves["folder"]) | trials["outcome"].isin(BROKEN)
    begun = level[has_begun].value_counts()
    found = [level_medians(own, name, int(begun[name])) for name, own in curves.groupby("level", sort=True)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=list(MEDIANS))


def level_medians(curves: pd.DataFrame, level: object, num_begun: int) -> pd.DataFrame:
    """The rows of medians for a level, from its rows of curves; none where fewer than half of its trials have any."""
    last = curves.groupby("folder")["epoch"].max().sort_values(ascending=False)
    half = -(-num_begun // 2)
    until = last.iloc[half - 1] if half <= len(last) else 0
    same = curves[curves["folder"].isin(last.index[last >= until]) & (curves["epoch"] <= until)]
    grouped = same.groupby("epoch", sort=True)["value"]
    found = grouped.agg(median="median", num_trials="size")
    quartiles = grouped.quantile([0.25, 0.75]).unstack().reindex(columns=[0.25, 0.75])
    found = found.assign(low=quartiles[0.25], high=quartiles[0.75]).reset_index()
    found = found[found["num_trials"] == (last >= until).sum()]
    return found.assign(level=level, num_begun=num_begun)[list(MEDIANS)]


def some_of(curves: pd.DataFrame, most: int) -> pd.DataFrame:
    """The rows of at most so many trials, a sample by the hash of their folders' names: always the same one."""
    folders = curves["folder"].unique()
    if len(folders) <= most:
        return curves
    chosen = sorted(folders, key=name_hash)[:most]
    return curves[curves["folder"].isin(chosen)]


def curve_ends(curves: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """The last row of each curve, with a column for the trial's outcome."""
    last = curves.drop_duplicates("folder", keep="last")
    return last.merge(trials[["folder", "outcome"]], on="folder", how="left")


def num_without_curve(curves: pd.DataFrame, trials: pd.DataFrame) -> int:
    """Diverged and frozen trials without a row in curves: they have no curve, and no cross either."""
    return int((~trials["folder"].isin(curves["folder"]) & trials["outcome"].isin(BROKEN)).sum())
