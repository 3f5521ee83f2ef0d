"""draw(frame, axes): what trials reached and how they ended, over the space. Computes nothing."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.figures.canvas import (
    LONGEST_SIDE,
    LONGEST_TICK,
    MOST_DRAWN,
    OTHER_OUTCOME,
    OUTCOMES,
    Hover,
    fewness,
    legend_above,
    log_axis,
    outcome_handles,
)
from analysis.figures.lettering import shown, told_apart


def draw_best_against(
    best: pd.DataFrame, axes: Axes, *, colours: dict, name: str, metric: str, log: bool, title: str
) -> list[Hover]:
    """The best score of each trial (columns trial, x, value, level, outcome), coloured by level, marked by outcome."""
    few = fewness(len(best))
    for (level, outcome), group in best.groupby(["level", "outcome"], sort=False):
        marker, size, _ = OUTCOMES.get(outcome, OTHER_OUTCOME)
        axes.scatter(
            group["x"],
            group["value"],
            marker=marker,
            s=size * few,
            color=[colours[level]],
            alpha=0.85,
            edgecolors="black" if outcome == "diverged" else "white",
            linewidths=0.6 * few,
            rasterized=len(group) > MOST_DRAWN,
        )
    axes.set(xlabel=shown(name), ylabel=f"best {shown(metric, LONGEST_SIDE - 5)}")
    if log:
        log_axis(axes, "x")
    handles = [
        Line2D([], [], color=colour, linestyle="none", marker="o", label=level) for level, colour in colours.items()
    ]
    legend_above(axes, handles + outcome_handles(best["outcome"], grey=True), title)
    return [
        Hover(axes, row.x, row.value, f"{row.trial}: {row.value:.4g} at {row.x:.4g} ({row.outcome})")
        for row in best.itertuples()
    ]


def draw_outcomes(
    places: pd.DataFrame, edge: pd.DataFrame, axes: Axes, *, name: str, ticks: list[str], ylabel: str, log: bool
) -> list[Hover]:
    """Where in the space trials ended how (columns trial, x, y, outcome); `ticks` names the places 0, 1, ... of y.

    edge: columns x, y of the line between those that diverge and those that do not; empty where there is none.
    """
    few = fewness(len(places))
    for outcome, group in sorted(places.groupby("outcome"), key=lambda item: item[0] == "diverged"):
        marker, size, colour = OUTCOMES.get(outcome, OTHER_OUTCOME)
        axes.scatter(
            group["x"],
            group["y"],
            marker=marker,
            s=size * few,
            color=colour,
            edgecolors="white",
            linewidths=0.6 * few,
            rasterized=len(group) > MOST_DRAWN,
        )
    if ticks:
        axes.vlines(edge["x"], edge["y"] - 0.4, edge["y"] + 0.4, color="black", linewidth=1.6, zorder=4)
    else:
        axes.plot(edge["x"], edge["y"], color="black", linewidth=1.6, zorder=4)
    axes.set(xlabel=shown(name), ylabel=shown(ylabel, LONGEST_SIDE))
    if log:
        log_axis(axes, "x")
    if ticks:
        axes.set_yticks(range(len(ticks)), told_apart(ticks, LONGEST_TICK))
        axes.set_ylim(-0.5, len(ticks) - 0.5)
    legend_above(axes, outcome_handles(places["outcome"], grey=False), "how the trials ended")
    return [Hover(axes, row.x, row.y, f"{row.trial}: {row.outcome} at {row.x:.4g}") for row in places.itertuples()]
