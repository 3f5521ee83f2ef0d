"""The axes of a study's space, as the report needs them: which settings varied, and what their levels are called."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pandas as pd

from analysis.load.columns import TRIAL_COLUMNS, is_run_name, is_seed, setting_of
from analysis.load.labels import EXACT_DIGITS, key_of, label, label_of, labelled, labels_of

RANGES = ("log_uniform", "uniform", "int_range")
FEW = 8  # different values that are levels whatever they are
LOG_UNIFORM_RATIO = 10  # a range whose values span that much counts as log_uniform

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
    """An axis of the space, or a setting that differs between trials: its levels are texts, as labels.py makes them."""

    name: str
    kind: str  # "choice" or one of RANGES
    levels: tuple[str, ...] = ()  # of a choice, in the space's order
    condition: tuple[str, str] | None = None  # (other axis, level): counts only where that axis has that level
    labels: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)  # key_of a value -> its level

    @property
    def title(self) -> str:
        return NAMES.get(self.name, setting_of(self.name))

    @property
    def axis_title(self) -> str:
        return f"{self.title} [{UNITS[self.name]}]" if self.name in UNITS else self.title


def factors_of(study: dict, trials: pd.DataFrame) -> tuple[list[Factor], list[str]]:
    """The space's axes; where study.json names none, the settings that differ between trials, and gaps saying so."""
    axes = study["space"].get("axes")
    conditions = study["space"].get("conditions")
    conditions = conditions if isinstance(conditions, dict) else {}
    if isinstance(axes, dict) and all(isinstance(axis, dict) for axis in axes.values()):
        return [factor(name, axis, conditions.get(name), trials) for name, axis in axes.items()], []
    found, gaps = varying(trials)
    named = ", ".join(each.name for each in found) or "none"
    shown = f"The space's axes are not recorded; shown are the settings that differ between trials: {named}."
    return found, [shown, *gaps]


def factor(name: str, axis: dict, condition: object, trials: pd.DataFrame) -> Factor:
    """The factor of an axis as study.json has it, with the levels of the space; labels are for those that trials have,
    too."""
    values = axis.get("values")
    keys = [key_of(value) for value in values] if isinstance(values, list) else []
    seen = trials[name].map(key_of, na_action=None).dropna() if name in trials else []
    kind = axis.get("kind") if axis.get("kind") in RANGES else "choice"
    labels = labels_of([*keys, *seen]) if kind == "choice" else {}
    held = (str(condition[0]), label(condition[1])) if isinstance(condition, list) and len(condition) == 2 else None
    return Factor(name, kind, tuple(labelled(labels, key) for key in keys), held, labels)


def varying(trials: pd.DataFrame) -> tuple[list[Factor], list[str]]:
    """The settings with more than one value, and a gap for those of which nearly each trial has a value of its own."""
    found, single = [], []
    for name in [name for name in trials if name not in TRIAL_COLUMNS and not is_seed(name)]:
        keys = trials[name].map(key_of, na_action=None).dropna()
        if keys.nunique() < 2:
            continue
        if is_range(keys):
            found.append(Factor(name, range_kind(keys)))
        elif is_single(name, keys):
            single.append(name)
        else:
            labels = labels_of(keys)
            found.append(Factor(name, "choice", tuple(labels.values()), labels=labels))
    told = ", ".join(map(setting_of, single))
    gap = f"No axis, since they have another value in nearly each trial: {told}."
    return [replace(each, condition=condition_of(each, found, trials)) for each in found], [gap] if single else []


def is_range(keys: pd.Series) -> bool:
    """Numbers (none aside) of more than a few values, or each of one trial alone with digits that nobody types."""
    present = keys[keys != "null"]
    if present.str.startswith(('"', "true", "false")).any():
        return False
    distinct = present.unique()
    return len(distinct) > FEW or (len(distinct) == len(present) > 1 and any(map(has_many_digits, distinct)))


def has_many_digits(key: str) -> bool:
    return key != label_of(key, EXACT_DIGITS) and "." in key


def range_kind(keys: pd.Series) -> str:
    """log_uniform for positive numbers that span a factor of LOG_UNIFORM_RATIO or more, else uniform."""
    values = keys[keys != "null"].astype(float)
    return "log_uniform" if values.min() > 0 and values.max() / values.min() >= LOG_UNIFORM_RATIO else "uniform"


def is_single(name: str, keys: pd.Series) -> bool:
    """Levels that (nearly) each trial has for itself: nothing can be compared between them."""
    distinct = keys.nunique()
    return (distinct == len(keys) and is_run_name(name)) or distinct > max(FEW, len(keys) / 2)


def condition_of(factor: Factor, factors: list[Factor], trials: pd.DataFrame) -> tuple[str, str] | None:
    """The level of another axis under which alone a setting is there; None where no single level explains it."""
    settings = trials[[each.name for each in factors]]
    there = settings[factor.name].map(key_of, na_action=None).notna()
    known = settings.map(key_of, na_action=None).notna().any(axis=1)  # not a trial whose settings cannot be read
    if there[known].all():
        return None
    for other in (each for each in factors if each.kind == "choice" and each is not factor):
        keys = settings[other.name].map(key_of, na_action=None)
        held = keys[there].unique()
        if len(held) == 1 and isinstance(held[0], str) and ((keys == held[0]) == there)[known].all():
            return other.name, label_of(held[0])
    return None


def relabelled(factor: Factor, trials: pd.DataFrame) -> Factor:
    """The factor with levels that are told apart among the values of other trials, too."""
    if factor.kind != "choice" or factor.name not in trials:
        return factor
    labels = labels_of([*factor.labels, *trials[factor.name].map(key_of, na_action=None).dropna()])
    keys = {level: key for key, level in factor.labels.items()}
    return replace(factor, levels=tuple(labels[keys[level]] for level in factor.levels), labels=labels)


def levels(trials: pd.DataFrame, factor: Factor) -> pd.Series:
    """Each trial's level of a factor; missing where it is not recorded or the factor's condition does not hold."""
    if factor.name not in trials:
        return pd.Series(np.nan, index=trials.index, dtype=object)
    keys = trials[factor.name].map(key_of, na_action=None)
    found = keys.map(partial(labelled, factor.labels)).astype(object)
    if factor.condition and factor.condition[0] in trials:
        other, level = factor.condition
        found = found.where(trials[other].map(label) == level)
    return found


def present_levels(trials: pd.DataFrame, factor: Factor) -> list[str]:
    """The levels that trials have, those of the space first and in its order."""
    seen = list(dict.fromkeys(levels(trials, factor).dropna()))
    return [level for level in factor.levels if level in seen] + [level for level in seen if level not in factor.levels]


def compared_factors(trials: pd.DataFrame, factors: list[Factor]) -> list[Factor]:
    """The choices of which at least two levels are there: what can be compared, and is worth a figure of its own."""
    return [factor for factor in factors if factor.kind == "choice" and len(present_levels(trials, factor)) > 1]


def numbers(trials: pd.DataFrame, name: str) -> pd.Series:
    """A column as floats; NaN for what is no finite number, and everywhere where there is no such column."""
    if name not in trials:
        return pd.Series(np.nan, index=trials.index)
    return pd.to_numeric(trials[name], errors="coerce").astype(float).replace([np.inf, -np.inf], np.nan)


def settings_columns(trials: pd.DataFrame, factors: list[Factor]) -> list[str]:
    return [factor.name for factor in factors if factor.name in trials]
