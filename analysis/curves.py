"""Frames -> frames: learning curves by the levels of a factor, their medians, and how each curve ends. Pure."""

import numpy as np
import pandas as pd

from analysis.factors import Factor, levels, present_levels

ALL = "all trials"  # the one level where no factor divides the trials


def curves(trials: pd.DataFrame, epochs: pd.DataFrame, factor: Factor | None, metric: str) -> pd.DataFrame:
    """A row a trial and measured epoch: folder, trial, level, epoch, value. Diverged lines and NaN are left out."""
    if metric not in epochs:
        return pd.DataFrame({"folder": [], "trial": [], "level": [], "epoch": [], "value": []})
    level = (
        dict.fromkeys(trials["folder"], ALL)
        if factor is None
        else dict(zip(trials["folder"], levels(trials, factor), strict=True))
    )
    measured = epochs[~epochs["diverged"] & np.isfinite(epochs[metric].astype(float))]
    found = measured[["folder", "trial"]].assign(
        level=measured["folder"].map(level), epoch=measured["epoch"], value=measured[metric].astype(float)
    )
    return found.dropna(subset="level").sort_values(["folder", "epoch"]).reset_index(drop=True)


def medians(curves: pd.DataFrame) -> pd.DataFrame:
    """A row a level and epoch: median, num_trials, and `most`: whether at least half of the level's trials are in it.

    Pruning takes the worse trials out, so a median of the few that remain rises by that alone.
    """
    grouped = curves.groupby(["level", "epoch"], sort=True)["value"]
    found = grouped.agg(median="median", num_trials="size").reset_index()
    total = curves.groupby("level")["folder"].nunique()
    return found.assign(most=found["num_trials"] * 2 >= found["level"].map(total))


def curve_ends(curves: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """The last measured epoch of each curve, with the trial's outcome."""
    last = curves.drop_duplicates("folder", keep="last")
    return last.merge(trials[["folder", "outcome"]], on="folder", how="left")


def num_without_curve(curves: pd.DataFrame, trials: pd.DataFrame) -> int:
    """Diverged trials that never had a finite epoch: they have no curve, and no cross either."""
    return int((~trials["folder"].isin(curves["folder"]) & (trials["outcome"] == "diverged")).sum())


def curve_factors(trials: pd.DataFrame, factors: list[Factor]) -> list[Factor]:
    """The factors worth a figure of their own: choices of which at least two levels are there."""
    return [factor for factor in factors if factor.kind == "choice" and len(present_levels(trials, factor)) >= 2]
