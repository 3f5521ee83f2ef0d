"""The axes of a study's space, as the report needs them: which settings varied, and what their levels are called."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.load import TRIAL_COLUMNS

RANGES = ("log_uniform", "uniform", "int_range")
NAMES = {  # what a setting is called in words; any other is called by its own name
    "model": "network",
    "upsample": "upsampling",
    "lr": "learning rate",
    "batch_size": "batch size",
    "image_size": "image size",
    "weight_decay": "weight decay",
    "width": "base width",
    "amp": "mixed precision",
    "amp_dtype": "mixed precision type",
}
UNITS = {"batch_size": "images", "image_size": "px", "width": "channels", "epochs": "epochs"}


@dataclass(frozen=True)
class Factor:
    name: str
    kind: str  # "choice" or one of RANGES
    levels: tuple[str, ...] = ()  # of a choice, in the space's order
    condition: tuple[str, str] | None = None  # (other axis, level): counts only where that axis has that level

    @property
    def title(self) -> str:
        return NAMES.get(self.name, self.name)

    @property
    def axis_title(self) -> str:
        return f"{self.title} [{UNITS[self.name]}]" if self.name in UNITS else self.title


def factors_of(study: dict, trials: pd.DataFrame) -> tuple[list[Factor], list[str]]:
    """The space's axes; where study.json names none, the settings that differ between trials, and a gap saying so."""
    axes = study["space"].get("axes")
    conditions = study["space"].get("conditions")
    conditions = conditions if isinstance(conditions, dict) else {}
    if isinstance(axes, dict) and all(isinstance(axis, dict) for axis in axes.values()):
        return [factor(name, axis, conditions.get(name)) for name, axis in axes.items()], []
    found = varying(trials)
    named = ", ".join(each.name for each in found) or "none"
    return found, [f"The space's axes are not recorded; shown are the settings that differ between trials: {named}."]


def factor(name: str, axis: dict, condition: object) -> Factor:
    values = axis.get("values")
    levels = tuple(label(value) for value in values) if isinstance(values, list) else ()
    kind = axis.get("kind")
    held = (str(condition[0]), label(condition[1])) if isinstance(condition, list) and len(condition) == 2 else None
    return Factor(name, kind if kind in RANGES else "choice", levels, held)


def varying(trials: pd.DataFrame) -> list[Factor]:
    """Settings with more than one value; more than eight different numbers count as a range."""
    found = []
    for name in [name for name in trials if name not in (*TRIAL_COLUMNS, "seed")]:
        present = trials[name].dropna()
        labels = present.map(label)
        if labels.nunique() < 2:
            continue
        numbers = present.map(lambda value: isinstance(value, int | float) and not isinstance(value, bool)).all()
        if not numbers or labels.nunique() <= 8:
            found.append(Factor(name, "choice", tuple(sorted(labels.unique()))))
        else:
            found.append(Factor(name, "log_uniform" if (present > 0).all() else "uniform"))
    return found


def levels(trials: pd.DataFrame, factor: Factor) -> pd.Series:
    """Each trial's level of a factor; missing where it is not recorded or the factor's condition does not hold."""
    if factor.name not in trials:
        return pd.Series(np.nan, index=trials.index, dtype=object)
    found = trials[factor.name].map(label, na_action=None).astype(object)
    if factor.condition and factor.condition[0] in trials:
        other, level = factor.condition
        found = found.where(trials[other].map(label) == level)
    return found


def present_levels(trials: pd.DataFrame, factor: Factor) -> list[str]:
    """The levels that trials have, those of the space first and in its order."""
    seen = list(dict.fromkeys(levels(trials, factor).dropna()))
    return [level for level in factor.levels if level in seen] + [level for level in seen if level not in factor.levels]


def numbers(trials: pd.DataFrame, name: str) -> pd.Series:
    if name not in trials:
        return pd.Series(np.nan, index=trials.index)
    return pd.to_numeric(trials[name], errors="coerce").astype(float).replace([np.inf, -np.inf], np.nan)


def label(value: object) -> str | float:
    """A setting's value as text: true, none, 16, 0.001, deconv; NaN (not recorded) stays NaN."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, int | float | np.number):
        return np.nan if np.isnan(value) else f"{value:.4g}" if isinstance(value, float) else str(value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
