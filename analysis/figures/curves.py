"""draw(frame, axes): learning curves. Draws what it is given and computes nothing."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from analysis.figures.canvas import LOG_RATIO, LONGEST_SIDE, MOST_DRAWN, fewness, legend_above, log_axis
from analysis.figures.lettering import shown
from analysis.stats.curves import CurveFrames

CASING = [withStroke(linewidth=3.6, foreground="white")]  # a median stands out from the lines below it


def draw_curves(
    curves: pd.DataFrame, medians: pd.DataFrame, ends: pd.DataFrame, axes: Axes, *, colours: dict, name: str
) -> None:
    """A thin line a trial, a bold median a level (dotted once less than half of its trials remain), marked ends.

    curves: columns folder, level, epoch, value; medians: level, epoch, median, low, high, most; ends: the columns of
    curves and outcome. colours: of each level.
    """
    few = fewness(curves["folder"].nunique())
    for level, colour in colours.items():
        own = curves[curves["level"] == level]
        lines = [group[["epoch", "value"]].to_numpy(float) for _, group in own.groupby("folder")]
        thin = LineCollection(lines, colors=[colour], linewidths=0.8, alpha=0.04 + 0.41 * few)
        axes.add_collection(thin)
        thin.set_rasterized(len(lines) > MOST_DRAWN)
        median = medians[medians["level"] == level]
        axes.plot(median["epoch"], median["median"], color=colour, linewidth=2.6, linestyle=(0, (1.5, 1)), zorder=5)
        most = median[median["most"]]
        axes.fill_between(most["epoch"], most["low"], most["high"], color=colour, alpha=0.18, linewidth=0, zorder=3)
        axes.plot(
            most["epoch"],
            most["median"],
            color=colour,
            linewidth=2.6,
            zorder=6,
            path_effects=CASING,
            marker="o" if len(median) == 1 else None,
        )
        own_ends = ends[ends["level"] == level]
        for outcome, marker, size in [("pruned", "o", 12), ("diverged", "X", 70)]:
            here = own_ends[own_ends["outcome"] == outcome]
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
    axes.autoscale_view()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set(xlabel="epoch", ylabel=shown(name, LONGEST_SIDE))


def draw_metric(frames: CurveFrames, axes: Axes, *, colours: dict, title: str, label: str) -> None:
    """The curves of one metric, with their legend."""
    draw_curves(*frames[:3], axes, colours=colours, name=label)
    curve_legend(axes, frames.ends, colours, title)


def draw_losses(frames: list[CurveFrames], axes: list[Axes], *, colours: dict, title: str) -> None:
    """Two panels, training and validation, on one scale."""
    for each, panel, name in zip(frames, axes, ["train_loss", "val_loss"], strict=True):
        draw_curves(*each[:3], panel, colours=colours, name=name)
        panel.set(title=name, ylabel="loss" if name == "train_loss" else "")
    if needs_log(pd.concat([each.lines["value"] for each in frames])):
        log_axis(axes[0], "y")  # shared: both panels
    ends = pd.concat([each.ends for each in frames])
    curve_legend(axes[0], ends, colours, title)


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


def needs_log(values: pd.Series) -> bool:
    return len(values) > 0 and values.min() > 0 and values.max() / values.min() > LOG_RATIO
