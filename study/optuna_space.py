"""Space -> Optuna, axis by axis; an axis type it does not know is an error."""

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
    """The trial's value on the axis. Raises TypeError for an axis that is none of ours."""
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
