"""draw(frame, axes): the figures on divergence. Draws what it is given and computes nothing."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from analysis.figures.canvas import NO_LEVEL, OUTCOMES, Hover, fewness, legend_above
from analysis.load.layers import Headroom, is_in

BITS = (0, 1, 2, 4, 8, 12, 16)  # of headroom, where the colour changes
OVERFLOW = OUTCOMES["diverged"][2]  # what is not finite
MOST_NAMES = 45  # of layers beside a strip; of more, every second is named, or third ...
TRACES = {"diverged": (OUTCOMES["diverged"][2], "solid"), "frozen": (OUTCOMES["frozen"][2], (0, (4, 1.5)))}
OTHER_TRACE = (NO_LEVEL, "solid")


def draw_incidence(found: Mapping[str, pd.DataFrame], axes: Axes, *, colours: dict, title: str) -> list[Hover]:
    """Steps of the share diverged by the end of each epoch, a line a level, with its 95 % band.

    found: by level, columns epoch, incidence, low and high (0 to 1), a row an epoch; at least one level has a row.
    """
    last = max(frame["epoch"].max() for frame in found.values() if len(frame))
    for level, frame in found.items():
        if frame.empty:
            continue
        epochs = np.array([0, *frame["epoch"], last])
        steps = {name: np.array([0, *frame[name], frame[name].iloc[-1]]) for name in ("incidence", "low", "high")}
        axes.fill_between(
            epochs[1:], steps["low"][1:], steps["high"][1:], step="post", color=colours[level], alpha=0.18
        )
        axes.step(epochs, steps["incidence"], where="post", color=colours[level], linewidth=2.4)
    axes.set(xlabel="epoch", ylabel="trials that have diverged", ylim=(-0.02, 1.02), xlim=(0, last * 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    handles = [Line2D([], [], color=colours[level], linewidth=2.4, label=level) for level in found]
    legend_above(axes, handles, title)
    return [
        Hover(
            axes,
            row.epoch,
            row.incidence,
            f"{level}: {row.incidence:.0%} by epoch {row.epoch} (95 % CI {row.low:.0%} to {row.high:.0%})",
        )
        for level, frame in found.items()
        for row in frame.itertuples()
    ]


def draw_headroom(headroom: Headroom, axes: Axes) -> None:
    """A row a layer, a column an epoch; dark is near float16's limit, orange past it. The first bad module in bold."""
    bits = np.clip(headroom.bits, 0, BITS[-1])
    shown = np.ma.masked_invalid(np.where(np.isneginf(headroom.bits), np.nan, bits))
    drawn = axes.imshow(
        shown,
        aspect="auto",
        interpolation="nearest",
        cmap="cividis",
        norm=BoundaryNorm(BITS, 256, extend="max"),
        extent=(headroom.epochs[0] - 0.5, headroom.epochs[-1] + 0.5, len(headroom.layers) - 0.5, -0.5),
    )
    past = np.ma.masked_where(~np.isneginf(headroom.bits), np.ones_like(headroom.bits))
    if past.count():
        how = {"aspect": "auto", "interpolation": "nearest", "extent": drawn.get_extent()}
        axes.imshow(past, cmap=ListedColormap([OVERFLOW]), **how)
    every = -(-len(headroom.layers) // MOST_NAMES)
    bad = [place for place, layer in enumerate(headroom.layers) if is_in(layer, headroom.first_bad)]
    places = sorted({*range(0, len(headroom.layers), every), *bad[:1]})
    axes.set_yticks(places, [headroom.layers[place] for place in places], fontsize=7)
    for place, text in zip(places, axes.get_yticklabels(), strict=True):
        text.set(weight="bold" if place in bad else "normal", color=OVERFLOW if place in bad else "black")
    axes.grid(False)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.6, pad=0.02, ticks=BITS)
    bar.set_label("doublings left to 65,504", fontsize=10)
    if past.count():
        legend_above(axes, [Patch(color=OVERFLOW, label="not finite in float16")], "")


def draw_scales(traces: pd.DataFrame, axes: np.ndarray) -> None:
    """The loss scale above, the share of skipped steps (0 to 1) below; axes: [2].

    traces: columns folder, outcome, epoch, loss_scale, skipped_share, a row a trial and epoch.
    """
    few, (above, below) = fewness(traces["folder"].nunique()), axes
    ordered = sorted(traces.groupby("folder", sort=False), key=lambda item: item[1]["outcome"].iloc[0] in TRACES)
    for _, own in ordered:
        colour, style = TRACES.get(own["outcome"].iloc[0], OTHER_TRACE)
        how = {"color": colour, "linestyle": style, "linewidth": 1.3, "alpha": 0.25 + 0.6 * few}
        how |= {"marker": "o", "markersize": 4} if len(own) == 1 else {}  # a line of one point is none
        above.plot(own["epoch"], own["loss_scale"], **how)
        below.plot(own["epoch"], own["skipped_share"], **how)
    above.set_yscale("log", base=2)
    above.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    above.set(ylabel="loss scale")
    below.set(ylabel="steps skipped", xlabel="epoch", ylim=(-0.03, 1.03))
    below.yaxis.set_major_formatter(PercentFormatter(1))
    for each in axes:
        each.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    present = [name for name in TRACES if (traces["outcome"] == name).any()]
    handles = [Line2D([], [], color=TRACES[name][0], linestyle=TRACES[name][1], label=name) for name in present]
    if (~traces["outcome"].isin(list(TRACES))).any():
        handles.append(Line2D([], [], color=OTHER_TRACE[0], label="did not diverge"))
    legend_above(above, handles, "")
