"""A trial's curves, small: what templates/blocks.html draws as an SVG. Quick for hundreds of trials."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.figures.canvas import needs_log

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 300, 90, 44, 14, 6  # px
MOST_POINTS = 150  # of a line; of longer ones, every second epoch, or third ...

Points = Sequence[tuple[int, float]]  # epoch, value; finite


@dataclass(frozen=True)
class Sparkline:
    """One small panel: its texts, and the path of each line by the line's place (the first strong, others dashed)."""

    title: str
    words: str  # what it shows, for those who do not see it
    high: str
    low: str
    last_epoch: int
    paths: Mapping[int, str]

    width, height, left, top, base = WIDTH, HEIGHT, LEFT, TOP, HEIGHT - BOTTOM


def sparkline(lines: Mapping[str, Points], title: str, *, last_epoch: int) -> Sparkline | None:
    """None where there is nothing to draw."""
    drawn = {name: points for name, points in lines.items() if points}
    if not drawn:
        return None
    values = [value for points in drawn.values() for _, value in points]
    low, high = min(values), max(values)
    log = needs_log(low, high)
    told = "; ".join(
        f"{name} from {points[0][1]:.4g} at epoch {points[0][0]} to {points[-1][1]:.4g} at epoch {points[-1][0]}"
        for name, points in drawn.items()
    )
    return Sparkline(
        title=f"{title}, log" if log else title,
        words=f"{title}: {told}",
        high=f"{high:.3g}",
        low=f"{low:.3g}",
        last_epoch=last_epoch,
        paths={list(lines).index(name): path(points, low, high, last_epoch, log=log) for name, points in drawn.items()},
    )


def path(points: Points, low: float, high: float, last_epoch: int, *, log: bool) -> str:
    """The line as an SVG path; a single point as a short dash."""
    step = math.ceil(len(points) / MOST_POINTS)
    kept = [*points[:-1:step], points[-1]]
    scale = math.log if log else float
    base, span = scale(low), scale(high) - scale(low)
    places = [
        (
            LEFT + (WIDTH - LEFT - 2) * (epoch - 1) / max(last_epoch - 1, 1) + 1,
            HEIGHT - BOTTOM - 2 - (HEIGHT - BOTTOM - TOP - 4) * ((scale(value) - base) / span if span else 0.5),
        )
        for epoch, value in kept
    ]
    return "M" + "L".join(f"{x:.0f} {y:.1f}" for x, y in places) + ("h4" if len(places) == 1 else "")
