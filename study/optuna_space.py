"""Space -> Optuna, axis by axis; an axis type it does not know is an error."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import optuna

from search_spaces import Choice, IntRange, LogUniform, Space, Uniform
from search_spaces.space import Axis, Value


@dataclass(frozen=True)
class SuggestFrom:
    """Optuna's define-by-run function for a space: suggests every axis that exists under the values before it."""

    space: Space

    def __call__(self, trial: optuna.Trial) -> dict[str, Value]:
        chosen: dict[str, Value] = {}
        for name, axis in self.space.axes.items():
            if self.space.is_active(name, chosen):
                chosen[name] = suggest(trial, name, axis)
        return chosen


def suggest(trial: optuna.Trial, name: str, axis: Axis) -> Value:
    """The trial's value on the axis."""
    match axis:
        case Choice(values):
            return trial.suggest_categorical(name, values)  # type: ignore[return-value]  # one of `values`
        case Uniform(low, high):
            return trial.suggest_float(name, low, high)
        case LogUniform(low, high):
            return trial.suggest_float(name, low, high, log=True)
        case IntRange(low, high):
            return trial.suggest_int(name, low, high)  # Optuna's upper bound is inclusive, as ours is
        case _:
            raise TypeError(f"axis {name!r} is {axis!r}, which study/optuna_space.py does not know")


def grid(space: Space, points: Mapping[str, Sequence[Value]]) -> list[dict[str, Value]]:
    """Every combination of the axes' values and nothing else; the baseline first, where it is one of them.

    points: the values to try on each axis that is a range. Raises ValueError where they are missing or outside.
    """
    if foreign := sorted(set(points) - set(space.axes)):
        raise ValueError(f"--points for {', '.join(foreign)}, no axis of space {space.name!r}: {', '.join(space.axes)}")
    combinations = _combinations(space, {name: _values(space, name, points) for name in space.axes})
    return sorted(combinations, key=lambda chosen: chosen != space.baseline)


def _combinations(space: Space, values: Mapping[str, Sequence[Value]]) -> Iterator[dict[str, Value]]:
    seen = []
    for combination in itertools.product(*values.values()):
        chosen: dict[str, Value] = {}
        for name, value in zip(values, combination, strict=True):
            if space.is_active(name, chosen):
                chosen[name] = value
        if chosen not in seen:
            seen.append(chosen)
            yield chosen


def _values(space: Space, name: str, points: Mapping[str, Sequence[Value]]) -> Sequence[Value]:
    axis = space.axes[name]
    if name in points:
        if outside := [value for value in points[name] if value not in axis]:
            raise ValueError(f"--points {name}={outside} lies outside {axis}")
        return points[name]
    if isinstance(axis, Choice):
        return axis.values
    if isinstance(axis, IntRange):
        return range(axis.low, axis.high + 1)
    raise ValueError(
        f"--search grid needs the points of {name}, which is {axis}: --points {name}={axis.low:g},{axis.high:g} for two"
    )
