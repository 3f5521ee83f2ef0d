"""How numbers, levels and data are put into words: the same way in sentences, tables and captions."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from analysis.load.factors import numbers
from analysis.load.json_files import is_number
from analysis.load.labels import label

SCORES = ("dice", "iou", "lowest", "highest", "spread")  # four decimals


def show(value: object, name: str = "") -> str:
    """A value as a table shows it: scores with four decimals (those below 0.001 with two digits), times with one, other
    floats with four digits."""
    if value is None or is_missing(value):
        return "–"
    if isinstance(value, float | np.floating):
        if any(word in name for word in SCORES):
            return f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:.2g}"
        if name.endswith("_s"):
            return f"{value:.1f}"
        return f"{value:.4g}"
    return str(label(value))


def show_setting(value: object) -> str:
    """A setting's value, none among them, with the digits that it was given; a dash where it is not recorded."""
    return "–" if is_missing(value) else str(label(value))


def is_missing(value: object) -> bool:
    return value is pd.NA or (isinstance(value, float) and np.isnan(value))


def count(number: int, one: str, many: str = "") -> str:
    """1 trial, 2 trials."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def capital(text: str) -> str:
    """The first letter large, the others as they are; a setting's own name stays as it is."""
    return text[:1].upper() + text[1:] if "=" not in text and "_" not in text else text


def listed(parts: list[str], last: str = "and") -> str:
    """a, b and c"""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}" if parts else ""


def unknown_text(unknown: dict[str, int]) -> str:
    """2 failed, 1 interrupted"""
    return ", ".join(f"{number} {name}" for name, number in unknown.items())


def has_ended(state: str, outcomes: Collection[str]) -> bool:
    """Whether nothing more is to come: of a study without a record of its end, where no trial is running."""
    return state in ("finished", "interrupted") or (state == "unknown" and "running" not in outcomes)


def early_text(trials: pd.DataFrame) -> str:
    """For the end of a caption: that early ends count, of those kinds that are there; trials: column outcome."""
    kinds = {"stopped": "pruned", "diverged": "diverged"}
    there = [word for word, outcome in kinds.items() if trials["outcome"].eq(outcome).any()]
    return f"; a {listed(there, 'or')} trial counts with what it had reached" if there else ""


def none_diverged(num_trials: int, unknown: dict[str, int], *, is_over: bool) -> str:
    """Where no trial is known to have diverged: of how many that is known."""
    num_unknown = sum(unknown.values())
    known = num_trials - num_unknown
    if not unknown:
        return "No trial diverged." if is_over else "No trial has diverged so far."
    if not known:
        return f"Whether any trial diverged is not known ({unknown_text(unknown)})."
    return (
        f"No trial is known to have diverged: {known} of {num_trials} did not, of {num_unknown} it is not known"
        f" ({unknown_text(unknown)})."
    )


def settings_text(row: dict, names: list[str]) -> str:
    """The settings of a row that are recorded: lr=0.001, amp=true."""
    return ", ".join(f"{name}={show_setting(row[name])}" for name in names if name in row and not is_missing(row[name]))


def data_line(data: dict, trials: pd.DataFrame) -> str:
    """drawn data, 1024 train / 128 validation images, 64 px (source 128 x 128 px)"""
    parts = [f"{data['name']} data" if data.get("name") else "data of unknown name"]
    counts = [
        f"{data[key]} {word}"
        for key, word in [("num_train", "train"), ("num_val", "validation"), ("num_test", "test")]
        if is_number(data.get(key))
    ]
    parts += [" / ".join(counts) + " images"] if counts else []
    return ", ".join([*parts, size_text(data, trials)])


def size_text(data: dict, trials: pd.DataFrame) -> str:
    """64 px (source 128 x 128 px), and whether images are enlarged. Every table and figure of scores says this."""
    sizes = sorted({int(size) for size in numbers(trials, "image_size").dropna()})
    sizes = sizes or ([data["image_size_px"]] if is_number(data.get("image_size_px")) else [])
    shown = f"{listed([str(size) for size in sizes])} px" if sizes else "image size not recorded"
    source = data.get("source_size_px")
    source = [source, source] if is_number(source) else source
    if not (isinstance(source, list) and len(source) == 2 and all(is_number(side) for side in source)):
        return f"{shown} (source size not recorded)"
    enlarged = ", enlarged" if sizes and max(sizes) > min(source) else ""
    return f"{shown} (source {source[0]} x {source[1]} px{enlarged})"


def gap_text(value: float, metric: str, *, unit: bool = True) -> str:
    """A difference of a metric: 0.8 Dice points (hundredths), 0.012 of val_loss; without unit the number alone."""
    name = next((word for key, word in (("dice", "Dice"), ("iou", "IoU")) if key in metric), None)
    if name is None:
        return f"{value:.3g} of {metric}" if unit else f"{value:.3g}"
    points = f"{100 * value:.1f}" if abs(value) >= 0.0005 or value == 0 else f"{100 * value:.1g}"
    return f"{points} {name} points" if unit else points


def level_text(axis: str, level: str) -> str:
    """A level in a sentence: bilinear, but amp=true and lr=0.01."""
    return level if level[:1].isalpha() and level not in ("true", "false", "none") else f"{axis}={level}"
