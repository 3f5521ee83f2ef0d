"""draw(frame, axes): how the search went. Draws what it is given and computes nothing."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.figures.canvas import (
    LONGEST_SIDE,
    MOST_DRAWN,
    NO_LEVEL,
    OTHER_OUTCOME,
    OUTCOMES,
    Hover,
    fewness,
    legend_above,
    log_axis,
    outcome_handles,
)
from analysis.figures.lettering import shown, told_apart

LONGEST_MARK, LONGEST_LAST, LONGEST_NAME = 14, 9, 22  # characters: of a level, of one beside the metric, of an axis
NAMES_ABREAST = 60  # characters of all axes' names that stand side by side
STOPPED, WENT_ON, ENDED = OUTCOMES["pruned"][2], NO_LEVEL, "#6b7a8f"


def draw_time_line(bars: pd.DataFrame, axes: Axes) -> None:
    """A bar a trial from its start to its last result, in the order of the starts.

    bars: columns outcome, start_min and end_min (minutes), a row a trial.
    """
    end = np.maximum(bars["end_min"], bars["start_min"] + bars["end_min"].max() / 400)
    colours = [OUTCOMES.get(outcome, OTHER_OUTCOME)[2] for outcome in bars["outcome"]]
    drawn = axes.hlines(np.arange(len(bars)), bars["start_min"], end, colors=colours)
    drawn.set(linewidth=max(0.4, 150 / len(bars)), capstyle="butt", rasterized=len(bars) > MOST_DRAWN)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set(xlabel="minutes since the first start", ylabel="trial, in the order of starts")
    legend_above(axes, outcome_handles(bars["outcome"], grey=False), "")


def draw_rungs(rows: pd.DataFrame, axes: Axes, *, metric: str) -> None:
    """A column a rung: the metric of each trial that came to it, and whether it was stopped there.

    rows: columns rung (an epoch), value, stopped, went_on.
    """
    places = {rung: place for place, rung in enumerate(sorted(rows["rung"].unique()))}
    few = fewness(len(rows))
    other = ~rows["stopped"] & ~rows["went_on"]
    for chosen, colour, side in (
        (rows["stopped"], STOPPED, 0.12),
        (rows["went_on"], WENT_ON, -0.12),
        (other, ENDED, 0.24),
    ):
        own = rows[chosen]
        axes.scatter(
            own["rung"].map(places) + side, own["value"], color=colour, s=36 * few, alpha=0.8, linewidths=0, zorder=3
        )
    counts = rows.groupby("rung")["stopped"].agg(["size", "sum"])
    names = [f"epoch {rung}\n{counts['size'][rung]} came, {counts['sum'][rung]} stopped" for rung in places]
    axes.set_xticks(range(len(places)), names)
    axes.set(xlim=(-0.5, len(places) - 0.5), ylabel=shown(metric, LONGEST_SIDE))
    axes.grid(axis="x", visible=False)
    handles = [
        Line2D([], [], linestyle="none", marker="o", color=colour, label=label)
        for colour, label in ((WENT_ON, "went on"), (STOPPED, "stopped here"))
    ]
    if other.any():
        label = "ended here otherwise, or is still here"
        handles.append(Line2D([], [], linestyle="none", marker="o", color=ENDED, label=label))
    legend_above(axes, handles, "")


def draw_costs(points: pd.DataFrame, axes: Axes, *, metric: str, log: bool) -> list[Hover]:
    """Cost against the best metric; the front of those that no other beats in both.

    points: columns trial, outcome, cost_min (minutes), value, on_front, a row a trial, the cheapest first.
    """
    few = fewness(len(points))
    for outcome, group in points.groupby("outcome", sort=False):
        marker, size, colour = OUTCOMES.get(outcome, OTHER_OUTCOME)
        axes.scatter(
            group["cost_min"], group["value"], marker=marker, s=size * few, color=colour, alpha=0.8, linewidths=0
        )
    front = points[points["on_front"]]
    axes.step(front["cost_min"], front["value"], where="post", color="black", linewidth=1.4, zorder=4)
    axes.set(xlabel="minutes a trial took", ylabel=f"best {shown(metric, LONGEST_SIDE - 5)}")
    if log:
        log_axis(axes, "x")
    handles = [*outcome_handles(points["outcome"], grey=False), Line2D([], [], color="black", label="Pareto front")]
    legend_above(axes, handles, "")
    return [
        Hover(axes, row.cost_min, row.value, f"{row.trial}: {row.value:.4g} in {row.cost_min:.3g} min")
        for row in points.itertuples()
    ]


def draw_parallel(frames: tuple, axes: Axes, *, names: list[str], metric: str, mode: str) -> None:
    """A line a trial through its settings to its metric, the better the darker and over the others.

    frames: places [trials, axes] from 0 to 1, values [trials] and a list of ticks (place, text) for each axis.
    """
    places, values, ticks = frames
    order = np.argsort(values if mode == "max" else -values)
    lines = np.stack([np.broadcast_to(np.arange(places.shape[1]), places.shape), places], axis=2)[order]
    drawn = LineCollection(
        [line[~np.isnan(line[:, 1])] for line in lines],
        cmap=matplotlib.colormaps["viridis_r" if mode == "max" else "viridis"],
        linewidths=0.6 + fewness(len(lines)),
        alpha=0.25 + 0.5 * fewness(len(lines)),
    )
    drawn.set_array(values[order])
    axes.add_collection(drawn)
    for place, axis_ticks in enumerate(ticks):
        axes.axvline(place, color="#888888", linewidth=1)
        marks = told_apart([text for _, text in axis_ticks], LONGEST_MARK if place < len(names) - 2 else LONGEST_LAST)
        for (height, _), text in zip(axis_ticks, marks, strict=True):
            axes.annotate(
                text,
                (place, height),
                (3, 0),
                textcoords="offset points",
                fontsize=9,
                va="center",
                zorder=6,
                bbox={"facecolor": "white", "alpha": 0.7, "pad": 0.5, "linewidth": 0},
            )
    axes.set_xticks(range(len(names)), told_apart(names, LONGEST_NAME), fontsize=9)
    if len(names) > 5 or max(map(len, names)) * len(names) > NAMES_ABREAST:
        axes.tick_params("x", labelrotation=35)
        for text in axes.get_xticklabels():
            text.set(horizontalalignment="right", rotation_mode="anchor")
    axes.set_yticks([])
    axes.set(xlim=(-0.1, len(names) - 0.55), ylim=(-0.05, 1.05))
    axes.grid(visible=False)
    axes.figure.colorbar(drawn, ax=axes, pad=0.02, shrink=0.8, label=shown(metric, LONGEST_SIDE))
