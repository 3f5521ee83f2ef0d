"""The configurations of a grid: every combination of the axes' values, counted before any is made."""

import sys
from collections.abc import Mapping, Sequence
from itertools import chain, islice

from search_spaces import Choice, IntRange, Space
from search_spaces.space import Value
from study.combinations import combinations, num_combinations

MOST = 10_000  # configurations; each is held in memory, and a study of more would not end


def grid(space: Space, points: Mapping[str, Sequence[Value]], most: int | None = None) -> list[dict[str, Value]]:
    """Every combination of the axes' values and nothing else; the baseline first, where it is one of them.

    points: the values to try on each axis that is a range. most: that many of them at most. Raises ValueError where
    points are missing or outside, and where there would be more than MOST configurations.
    """
    if foreign := sorted(set(points) - set(space.axes)):
        raise ValueError(f"--points for {', '.join(foreign)}, no axis of space {space.name!r}: {', '.join(space.axes)}")
    values = {name: _values(space, name, points) for name in space.axes}
    num = num_combinations(space, values)
    if min(num, most or sys.maxsize) > MOST:
        axes = " x ".join(f"{name} {len(axis)}" for name, axis in values.items())
        raise ValueError(
            f"the grid has {num:,} configurations ({axes}) and {MOST:,} is the most: --samples N runs the first N, "
            f"--points AXIS=A,B takes fewer values, --set AXIS=A fixes an axis, --search random draws from all"
        )
    baseline = dict(space.baseline)
    has_baseline = all(value in values[name] for name, value in baseline.items())
    others = (chosen for chosen in combinations(space, values) if chosen != baseline)
    return list(islice(chain([baseline] if has_baseline else [], others), most))


def _values(space: Space, name: str, points: Mapping[str, Sequence[Value]]) -> Sequence[Value]:
    axis = space.axes[name]
    if name in points:
        if outside := [value for value in points[name] if value not in axis]:
            raise ValueError(f"--points {name}={','.join(map(str, outside))} lies outside {axis}")
        if len(set(points[name])) < len(points[name]):
            raise ValueError(f"--points {name}={','.join(map(str, points[name]))} names a value twice")
        return points[name]
    if isinstance(axis, Choice):
        return axis.values
    if isinstance(axis, IntRange):
        return range(axis.low, axis.high + 1)
    raise ValueError(
        f"--search grid needs the points of {name}, which is {axis}: --points {name}={axis.low:g},{axis.high:g} for two"
    )
