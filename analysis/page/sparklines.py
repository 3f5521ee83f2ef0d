"""A trial's curves, small: an SVG written by hand, its colours left to the page's style. Quick for hundreds."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 300, 90, 44, 14, 6  # px
MOST_POINTS = 150  # of a line; of longer ones, every second epoch, or third ...
LOG_RATIO = 30  # as in analysis/figures/canvas.py

Points = Sequence[tuple[int, float]]  # epoch, value; finite


def sparkline(lines: Mapping[str, Points], title: str, *, last_epoch: int) -> str:
    """One small panel; the first line is drawn strong, the second dashed. "" where there is nothing to draw."""
    drawn = {name: points for name, points in lines.items() if points}
    if not drawn:
        return ""
    values = [value for points in drawn.values() for _, value in points]
    low, high = min(values), max(values)
    log = low > 0 and high / low > LOG_RATIO
    paths = "".join(
        f'<path class="line-{list(lines).index(name)}" d="{path(points, low, high, last_epoch, log=log)}"/>'
        for name, points in drawn.items()
    )
    told = "; ".join(
        f"{name} from {points[0][1]:.4g} at epoch {points[0][0]} to {points[-1][1]:.4g} at epoch {points[-1][0]}"
        for name, points in drawn.items()
    )
    base = HEIGHT - BOTTOM
    return (
        f'<svg class="curve" role="img" aria-label="{escape(f"{title}: {told}")}" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f'<path class="axis" d="M{LEFT} {TOP}V{base}H{WIDTH}"/>'
        f'<text x="{LEFT - 4}" y="{TOP + 8}" text-anchor="end">{high:.3g}</text>'
        f'<text x="{LEFT - 4}" y="{base}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 2}">{escape(title)}{", log" if log else ""}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 2}" text-anchor="end">epoch {last_epoch}</text>{paths}</svg>'
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
