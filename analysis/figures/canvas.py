"""What every figure shares: its size, fonts and colours, legends and log axes, its three forms, and values on hover."""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.figures.lettering import families, fit, shown, shrink, told_apart
from analysis.load.factors import Factor, present_levels
from analysis.stats.curves import ALL

STYLE = {  # sizes that stay legible when the figure is as wide as a phone
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "axes.edgecolor": "#888888",
    "figure.facecolor": "white",
    "svg.hashsalt": "segstudy",  # else an SVG's ids are drawn by chance
    "text.parse_math": False,  # a $ in a name is a $
}
DPI, PRINT_DPI = 160, 300  # on the page; of figures/*.png
MOST_DRAWN = 400  # lines or marks of one kind that an SVG holds as such; more stand in it as pixels
WIDTH_IN = 6.0
# No colour means two things: these are levels', those of OUTCOMES are outcomes', and predictions have their own.
LEVELS = ("#0173b2", "#de8f05", "#029e73", "#cc78bc", "#5b2a86", "#a6761d", "#00a2a2", "#b0006d")
NO_LEVEL = "#222222"  # of a trial, where no level is meant
MOST_HOVER = 1500  # values that a figure has for the pointer
LEGEND_WIDTH = 66  # characters in a row of a legend
MOST_IN_LEGEND = 24  # levels; more are counted
LONGEST_LABEL, LONGEST_TICK, LONGEST_SIDE = 40, 24, 32  # characters: in a legend, at a tick, along an upright axis
ROWS_IN_HEIGHT, ROW_IN = 4, 0.21  # rows of a legend that a figure has room for; inches for each more
LOG_RATIO = 30  # losses and minutes that span more are drawn on a log axis

# outcome: marker, size, colour; those that ended by an error share one, and those that have not ended
OUTCOMES = {
    "completed": ("o", 45, NO_LEVEL),
    "pruned": ("o", 14, "#949494"),
    "diverged": ("X", 75, "#d55e00"),
    "frozen": ("D", 45, "#8f3d00"),
    "out_of_memory": ("s", 45, "#a00020"),
    "failed": ("P", 60, "#a00020"),
    "interrupted": ("v", 45, "#6b7a8f"),
    "running": ("^", 45, "#6b7a8f"),
}
OTHER_OUTCOME = ("*", 60, "#000000")


def palette(levels: list[str], first: int) -> dict[str, object]:
    """A colour a level, from the place `first` among the colours on: that many are other factors'."""
    if len(levels) > len(LEVELS):
        return dict(zip(levels, seaborn.color_palette("viridis", len(levels)), strict=True))
    return {level: LEVELS[(first + number) % len(LEVELS)] for number, level in enumerate(levels)}


@dataclass(frozen=True)
class Drawn:
    """One figure in three forms."""

    webp: bytes  # light, for the page
    png: bytes  # at print quality
    svg: bytes
    points: Sequence[tuple[int, int, str]] = ()  # x and y in thousandths of width and height from above, and words


class Hover(NamedTuple):
    """A value that a figure tells where the pointer is on it."""

    axes: Axes
    x: float
    y: float
    text: str


def drawn(draw: Callable, *frames: object, rows: int = 1, panels: int = 1, height_in: float = 4.0, **how) -> Drawn:
    """Draw onto new axes (one, or an array of them), WIDTH_IN wide; the same frames give the same bytes.

    draw(*frames, axes, **how) draws, and returns the values that the figure tells on hover, if any; height_in: inches.
    """
    with matplotlib.rc_context(STYLE | {"font.family": families()}):
        figure, values = laid_out(draw, *frames, rows=rows, panels=panels, height_in=height_in, **how)
        return Drawn(
            points=placed(figure, values),
            webp=saved(figure, "webp", DPI, pil_kwargs={"quality": 88}),
            png=saved(figure, "png", PRINT_DPI, metadata={"Software": None}),
            svg=saved(figure, "svg", PRINT_DPI, metadata={"Date": None}),
        )


def laid_out(
    draw: Callable, *frames: object, rows: int, panels: int, height_in: float, **how
) -> tuple[Figure, list[Hover]]:
    """The figure, laid out once for all forms, and what it tells on hover."""
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, layout="constrained")
    axes = figure.subplots(rows, panels, sharey=rows == 1)
    values = draw(*frames, axes, **how)
    fit(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    shrink(figure)
    return figure, values or []


def placed(figure: Figure, values: list[Hover]) -> list[tuple[int, int, str]]:
    """Where on the figure the values lie: a sample, evenly, of very many."""
    width, height = figure.bbox.width, figure.bbox.height
    found = []
    for value in values[:: -(-len(values) // MOST_HOVER) or 1]:
        x, y = value.axes.transData.transform((value.x, value.y))
        if 0 <= x <= width and 0 <= y <= height:
            found.append((round(1000 * x / width), round(1000 * (1 - y / height)), value.text))
    return found


def saved(figure: Figure, form: str, dpi: int, **how) -> bytes:
    """The figure's file in a format of matplotlib's (webp, png, svg), at so many dots per inch."""
    target = io.BytesIO()
    figure.savefig(target, format=form, dpi=dpi, **how)
    return target.getvalue()


def legend_above(axes: Axes, handles: list, title: str) -> None:
    """As many columns as fit; of very many handles the first, and how many more there are. The figure grows with it."""
    labels = told_apart([str(handle.get_label()) for handle in handles], LONGEST_LABEL)
    if len(labels) > MOST_IN_LEGEND:
        more = len(labels) - MOST_IN_LEGEND + 1
        handles, labels = handles[: MOST_IN_LEGEND - 1], labels[: MOST_IN_LEGEND - 1]
        handles, labels = [*handles, Line2D([], [], linestyle="none")], [*labels, f"… and {more} more"]
    widths = [len(label) + 6 for label in labels]  # in characters, the mark and its gap included
    columns = len(handles) if sum(widths) <= LEGEND_WIDTH else max(1, LEGEND_WIDTH // max(widths))
    figure = axes.figure
    figure.set_figheight(figure.get_figheight() + ROW_IN * max(0, -(-len(labels) // columns) - ROWS_IN_HEIGHT))
    figure.legend(
        handles=handles,
        labels=labels,
        loc="outside upper center",
        ncols=columns,
        title=shown(title),
        frameon=False,
        columnspacing=1.2,
        handletextpad=0.5,
    )


def outcome_handles(outcomes: pd.Series, *, grey: bool) -> list[Line2D]:
    """The marks of a legend for the outcomes that are there; grey where colour says something else."""
    present = [name for name in [*OUTCOMES, *sorted(set(outcomes) - set(OUTCOMES))] if (outcomes == name).any()]
    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=marker,
            markersize=size**0.5,
            label=name.replace("_", " "),
            color="#555555" if grey else colour,
        )
        for name, (marker, size, colour) in ((name, OUTCOMES.get(name, OTHER_OUTCOME)) for name in present)
    ]


def needs_log(low: float, high: float) -> bool:
    """Whether positive values from low to high span more than LOG_RATIO; of no values (nan) none do."""
    return low > 0 and high / low > LOG_RATIO


def log_axis(axes: Axes, which: str) -> None:
    """Logarithmic, with few and plain numbers: 0.001, 0.003, 0.01."""
    getattr(axes, f"set_{which}scale")("log")
    low, high = getattr(axes, f"get_{which}lim")()
    decades = math.log10(high / low)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.3 else (1, 3) if decades < 2.6 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def fewness(num_trials: int) -> float:
    """1 for up to 60 trials, less for more: marks and lines shrink and fade so that thousands can be told apart."""
    return max(0.15, min(1.0, 60 / max(num_trials, 1)))


def colours_of(trials: pd.DataFrame, factor: Factor | None, factors: list[Factor]) -> dict:
    """The same level has the same colour in every figure of the page, and another level another, while they last."""
    if factor is None:
        return {ALL: NO_LEVEL}
    names = [each.name for each in factors]
    before = [each for each in factors[: names.index(factor.name)] if each.kind == "choice"]
    counts = [len(present_levels(trials, each)) for each in before]
    return palette(present_levels(trials, factor), sum(number for number in counts if 1 < number <= len(LEVELS)))
