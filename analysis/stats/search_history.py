"""Frames -> frames: how the search went: when trials ran, what they cost, where the scheduler stopped them. Pure."""

import numpy as np
import pandas as pd

from analysis.load.contract import BROKEN
from analysis.load.factors import Factor, levels, numbers, present_levels
from analysis.stats.scores import measured, objectives

MOST_RUNGS = 8  # a scheduler that stops at more epochs than that has no rungs
MOST_LINES = 300  # of parallel coordinates


def time_line(trials: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Columns trial, outcome, start_min, end_min since the study's first start; in the order of their starts.

    Empty where results bear no times.
    """
    known = epochs[epochs["timestamp"].gt(0) & epochs["time_total_s"].ge(0)]
    ends = known.groupby("folder").agg(
        first=("timestamp", "min"), last=("timestamp", "max"), lead=("time_total_s", "min")
    )
    found = trials[["folder", "trial", "outcome"]].merge(ends, left_on="folder", right_index=True)
    start = found["first"] - found["lead"]
    found = found.assign(start_min=(start - start.min()) / 60, end_min=(found["last"] - start.min()) / 60)
    return found.sort_values("start_min", kind="stable")[["trial", "outcome", "start_min", "end_min"]]


def rungs(
    trials: pd.DataFrame, epochs: pd.DataFrame, metric: str, mode: str, *, by_objective: bool = False
) -> pd.DataFrame:
    """Columns rung (the epoch), folder, value (what the scheduler compared), stopped, went_on; a row a trial that came
    to it. by_objective: it compared the best so far, as in a study of this project; else the metric at the rung.

    One that was neither stopped nor went on ended there for reasons of its own (diverged, failed), or runs still. A
    rung is an epoch after which the scheduler stopped trials: their last one, whether or not the metric was measured
    at it (value is nan then). Empty where it stopped none, or at too many epochs.
    """
    if metric not in epochs:
        return pd.DataFrame({"rung": [], "folder": [], "value": [], "stopped": [], "went_on": []})
    values = objectives(epochs, metric, mode) if by_objective else measured(epochs, metric)[metric].astype(float)
    rows = epochs[~epochs["diverged"].astype(bool)]
    rows = rows.assign(**{metric: values.reindex(rows.index)})
    last = rows.groupby("folder")["epoch"].max()
    stopped = last[last.index.isin(trials.loc[trials["outcome"] == "pruned", "folder"])]
    places = np.sort(stopped.unique())
    found = rows.loc[rows["epoch"].isin(places), ["epoch", "folder", metric]]
    found = found.rename(columns={"epoch": "rung", metric: "value"}).reset_index(drop=True)
    if len(places) > MOST_RUNGS:
        found = found.iloc[:0]
    whole = set(trials.loc[trials["outcome"] == "completed", "folder"])
    came_to = found["folder"].map(epochs.groupby("folder")["epoch"].max())  # also a diverged epoch
    return found.assign(
        stopped=found["folder"].map(stopped).eq(found["rung"]),
        went_on=came_to.gt(found["rung"]) | found["folder"].isin(whole),
    )


def costs(ranked: pd.DataFrame, metric: str, mode: str) -> pd.DataFrame:
    """Columns trial, outcome, cost_min (minutes), value, on_front: no other trial is as good for as little (Pareto)."""
    found = pd.DataFrame(
        {
            "trial": ranked["trial"],
            "outcome": ranked["outcome"],
            "cost_min": numbers(ranked, "duration_s") / 60,
            "value": numbers(ranked, f"best_{metric}"),
        }
    ).dropna()
    gain = found["value"] if mode == "max" else -found["value"]
    ordered = found.assign(gain=gain).sort_values(["cost_min", "gain"], ascending=[True, False], kind="stable")
    before = ordered["gain"].cummax().shift(fill_value=-np.inf)
    return ordered.assign(on_front=ordered["gain"] > before).drop(columns="gain").reset_index(drop=True)


def parallel(ranked: pd.DataFrame, factors: list[Factor], metric: str) -> tuple[np.ndarray, np.ndarray, list]:
    """Places [trial, axis] of the measured trials on axes that go from 0 to 1, their values, and each axis's ticks.

    The last axis is the metric. A tick is (place, text). At most MOST_LINES trials: the best, and others evenly.
    """
    measured = ranked[ranked["rank"].notna()]
    if len(measured) > MOST_LINES:
        chosen = np.unique(np.linspace(0, len(measured) - 1, MOST_LINES).round().astype(int))
        measured = measured.iloc[chosen]
    columns, ticks = [], []
    for factor in factors:
        place, tick = (
            scaled_choice(measured, factor)
            if factor.kind == "choice"
            else scaled_range(numbers(measured, factor.name), log=factor.kind == "log_uniform")
        )
        columns.append(place)
        ticks.append(tick)
    values = numbers(measured, f"best_{metric}")
    place, tick = scaled_range(values, log=False)
    return np.stack([*columns, place], axis=1), values.to_numpy(float), [*ticks, tick]


def scaled_choice(trials: pd.DataFrame, factor: Factor) -> tuple[np.ndarray, list]:
    """Places [trial] from 0 to 1 of the levels of a choice, nan where a trial has none; ticks (place, level)."""
    names = present_levels(trials, factor)
    at = {name: 0.5 if len(names) == 1 else number / (len(names) - 1) for number, name in enumerate(names)}
    return levels(trials, factor).map(at).to_numpy(float), [(place, name) for name, place in at.items()]


def scaled_range(values: pd.Series, *, log: bool) -> tuple[np.ndarray, list]:
    """Places [n] of values from 0, the lowest, to 1, the highest; ticks (place, text)."""
    log = log and bool((values.dropna() > 0).all())
    scaled = np.log(values.to_numpy(float)) if log else values.to_numpy(float)
    if not np.isfinite(scaled).any():
        return np.full(len(scaled), np.nan), []
    low, high = np.nanmin(scaled), np.nanmax(scaled)
    if low == high:
        return np.where(np.isfinite(scaled), 0.5, np.nan), [(0.5, f"{values.min():.3g}")]
    span = high - low
    middle = np.exp((low + high) / 2) if log else (low + high) / 2
    ticks = [(0.0, values.min()), (0.5, middle), (1.0, values.max())]
    digits = next((each for each in (3, 4, 5, 6) if len({f"{value:.{each}g}" for _, value in ticks}) == 3), 7)
    return (scaled - low) / span, [(place, f"{value:.{digits}g}") for place, value in ticks]


def boundary(places: pd.DataFrame, *, log: bool, is_choice: bool) -> pd.DataFrame:
    """Columns x, y: where a trial diverges with probability one half, by logistic regression on x and y.

    `places` are those of trials of which it is known whether they diverged.
    For a choice on y, one x for each of its places. Empty where fewer than 5 trials diverged, or did not, and where
    more of x does not make divergence likelier.
    """
    from sklearn.linear_model import LogisticRegression  # a second to import, and seldom needed

    bad = places["outcome"].isin(BROKEN).to_numpy()
    nothing = pd.DataFrame({"x": [], "y": []})
    if min(bad.sum(), (~bad).sum()) < 5 or places["x"].nunique() < 3:
        return nothing
    x = np.log10(places["x"].to_numpy(float)) if log else places["x"].to_numpy(float)
    y = places["y"].to_numpy(float)
    centre, spread = x.mean(), x.std()
    level = y.round()
    others = np.unique(level) if is_choice else np.array([])
    rest = (level[:, None] == others).astype(float) if is_choice else ((y - y.mean()) / (y.std() or 1.0))[:, None]
    model = LogisticRegression(C=10.0).fit(np.column_stack([(x - centre) / spread, rest]), bad)
    slope, *weights = model.coef_[0]
    if slope <= 0:
        return nothing
    at_y = others if is_choice else np.linspace(y.min(), y.max(), 50)
    shift = np.array(weights) if is_choice else weights[0] * (at_y - y.mean()) / (y.std() or 1.0)
    found = centre - spread * (model.intercept_[0] + shift) / slope
    line = pd.DataFrame({"x": 10**found if log else found, "y": at_y})
    return line[line["x"].between(places["x"].min(), places["x"].max())].reset_index(drop=True)
