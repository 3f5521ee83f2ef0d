"""draw(frame, axes): learning curves. Draws what it is given and computes nothing."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from analysis.figures.canvas import LONGEST_SIDE, MOST_DRAWN, Hover, fewness, legend_above, log_axis, needs_log
from analysis.figures.lettering import shown
from analysis.stats.curves import CurveFrames

CASING = [withStroke(linewidth=3.6, foreground="white")]  # a median stands out from the lines below it


def draw_curves(frames: CurveFrames, axes: Axes, *, colours: dict, name: str) -> list[Hover]:
    """A thin line a trial, a bold median a level with its band, marked ends; values on hover.

    frames.lines: columns folder, trial, level, epoch, value; .medians: level, epoch, median, low, high; .ends: the
    columns of lines and outcome. colours: of each level.
    """
    few = fewness(frames.lines["folder"].nunique())
    for level, colour in colours.items():
        own = frames.lines[frames.lines["level"] == level]
        lines = [group[["epoch", "value"]].to_numpy(float) for _, group in own.groupby("folder")]
        thin = LineCollection(lines, colors=[colour], linewidths=0.9, alpha=0.04 + 0.51 * few)
        axes.add_collection(thin)
        thin.set_rasterized(len(lines) > MOST_DRAWN)
        median = frames.medians[frames.medians["level"] == level]
        how = {"color": colour, "linewidth": 2.6, "zorder": 6, "path_effects": CASING}
        axes.fill_between(
            median["epoch"], median["low"], median["high"], color=colour, alpha=0.18, linewidth=0, zorder=3
        )
        axes.plot(median["epoch"], median["median"], marker="o" if len(median) == 1 else None, **how)
        draw_ends(frames.ends[frames.ends["level"] == level], axes, colour, few)
    axes.autoscale_view()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set(xlabel="epoch", ylabel=shown(name, LONGEST_SIDE))
    return [
        Hover(axes, row.epoch, row.value, f"{row.level}, {row.trial}: {row.value:.4g} at epoch {row.epoch}")
        for row in frames.lines.itertuples()
    ]


def draw_ends(ends: pd.DataFrame, axes: Axes, colour: object, few: float) -> None:
    """A dot where a trial was pruned, a cross where it diverged; ends: columns epoch, value, outcome, a row a curve."""
    for outcome, marker, size in [("pruned", "o", 12), ("diverged", "X", 70)]:
        here = ends[ends["outcome"] == outcome]
        axes.scatter(
            here["epoch"],
            here["value"],
            marker=marker,
            s=size * few,
            color=[colour],
            zorder=7,
            edgecolors="black" if outcome == "diverged" else "none",
            linewidths=0.7 * few,
            rasterized=len(here) > MOST_DRAWN,
        )


def draw_metric(frames: CurveFrames, axes: Axes, *, colours: dict, title: str, label: str) -> list[Hover]:
    """The curves of one metric, with their legend."""
    values = draw_curves(frames, axes, colours=colours, name=label)
    curve_legend(axes, frames.ends, colours, title)
    return values


def draw_losses(frames: list[CurveFrames], axes: list[Axes], *, colours: dict, title: str) -> list[Hover]:
    """Two panels, training and validation, on one scale."""
    values = []
    for each, panel, name in zip(frames, axes, ["train_loss", "val_loss"], strict=True):
        values += draw_curves(each, panel, colours=colours, name=name)
        panel.set(title=name, ylabel="loss" if name == "train_loss" else "")
    losses = pd.concat([each.lines["value"] for each in frames])
    if needs_log(losses.min(), losses.max()):
        log_axis(axes[0], "y")  # shared: both panels
    ends = pd.concat([each.ends for each in frames])
    curve_legend(axes[0], ends, colours, title)
    return values


def curve_legend(axes: Axes, ends: pd.DataFrame, colours: dict, title: str) -> None:
    """A line a level, and the marks of the ends that are there; ends: column outcome, a row a curve."""
    handles = [Line2D([], [], color=colour, linewidth=2.6, label=level) for level, colour in colours.items()]
    marks = {"diverged": ("X", 8), "pruned": ("o", 4)}
    handles += [
        Line2D([], [], color="#555555", linestyle="none", marker=marker, markersize=size, label=outcome)
        for outcome, (marker, size) in marks.items()
        if (ends["outcome"] == outcome).any()
    ]
    legend_above(axes, handles, title)
