"""Frames -> frames: where in the space trials ended, and how. Pure."""

import pandas as pd

from analysis.load.factors import Factor, compared_factors, levels, numbers, present_levels
from analysis.stats.curves import ALL
from analysis.stats.outcomes import divergence_known
from analysis.stats.ranking import name_hash


def range_factors(factors: list[Factor]) -> list[Factor]:
    """Axes with numbers to put on an axis: the ranges, and the learning rate even where it is a choice."""
    found = [factor for factor in factors if factor.kind != "choice" or factor.name == "lr"]
    return sorted(found, key=lambda factor: factor.name != "lr")


def best_points(ranked: pd.DataFrame, factor: Factor, factors: list[Factor], metric: str) -> pd.DataFrame:
    """Columns trial, x, value, level (of the first factor with levels to compare), outcome; a row a measured trial."""
    by = colouring(ranked, factors)
    level = pd.Series(ALL, index=ranked.index) if by is None else levels(ranked, by)
    points = {"x": numbers(ranked, factor.name), "value": numbers(ranked, f"best_{metric}"), "level": level}
    return pd.DataFrame(points | {"outcome": ranked["outcome"], "trial": ranked["trial"]}).dropna()


def colouring(trials: pd.DataFrame, factors: list[Factor]) -> Factor | None:
    """The factor by whose levels points are coloured: the first choice that is not the learning rate, if any."""
    return next(iter(compared_factors(trials, [factor for factor in factors if factor.name != "lr"])), None)


def is_log(factor: Factor, values: pd.Series) -> bool:
    return (factor.kind == "log_uniform" or factor.name == "lr") and bool((values > 0).all())


def outcome_places(trials: pd.DataFrame, factors: list[Factor]) -> tuple[pd.DataFrame, list[str], str]:
    """Columns trial, x (learning rate), y, outcome, is_known (whether it diverged); the names of y's places if it is a
    choice; y's title."""
    ranges = [factor.name for factor in factors if factor.kind != "choice"]
    known = {factor.name: factor for factor in factors if factor.name != "lr"}
    other = next((known[name] for name in ["batch_size", *ranges, *known] if name in known), None)
    ticks = present_levels(trials, other) if other and other.kind == "choice" else []
    if other is None:
        y = numbers(trials, "num_epochs")
    elif other.kind == "choice":
        spread = trials["folder"].map(lambda folder: name_hash(folder) % 101 / 101 - 0.5).astype(float) * 0.5
        y = levels(trials, other).map({level: place for place, level in enumerate(ticks)}).astype(float) + spread
    else:
        y = numbers(trials, other.name)
    places = pd.DataFrame({"x": numbers(trials, "lr"), "y": y, "outcome": trials["outcome"], "trial": trials["trial"]})
    places = places.assign(is_known=divergence_known(trials)).dropna()
    return places, ticks, other.axis_title if other else "epochs trained"
