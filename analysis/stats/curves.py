"""Frames -> frames: learning curves by the levels of a factor, their medians, and how each curve ends. Pure."""

from typing import NamedTuple

import pandas as pd

from analysis.load.contract import BAD
from analysis.load.factors import Factor, levels, present_levels
from analysis.stats.ranking import name_hash
from analysis.stats.scores import measured

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
    """A row a level and epoch: median, low and high (quartiles), num_trials (measured then), num_begun (of the level,
    those that diverged before a measurement too), and `most`: at least half of these are in it.

    Pruning and divergence take the worse trials out, so a median of the few that remain rises by that alone.
    """
    grouped = curves.groupby(["level", "epoch"], sort=True)["value"]
    found = grouped.agg(median="median", num_trials="size")
    quartiles = grouped.quantile([0.25, 0.75]).unstack().rename(columns={0.25: "low", 0.75: "high"})
    found = found.join(quartiles).reset_index() if len(found) else found.assign(low=[], high=[]).reset_index()
    level = pd.Series(ALL, trials.index) if factor is None else levels(trials, factor)
    has_begun = trials["folder"].isin(curves["folder"]) | trials["outcome"].isin(BAD)
    begun = found["level"].map(level[has_begun].value_counts()).astype(int)
    return found.assign(num_begun=begun, most=found["num_trials"] * 2 >= begun)


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
    return int((~trials["folder"].isin(curves["folder"]) & trials["outcome"].isin(BAD)).sum())


def curve_factors(trials: pd.DataFrame, factors: list[Factor]) -> list[Factor]:
    """The factors worth a figure of their own: choices of which at least two levels are there."""
    return [factor for factor in factors if factor.kind == "choice" and len(present_levels(trials, factor)) >= 2]
