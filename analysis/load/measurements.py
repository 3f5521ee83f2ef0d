"""Measurements as others write them: numbers, numbers as text, lines of a table; and where one stops being finite."""

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path

from analysis.load.json_files import is_measurement

NUMBER = r"[-+]?(?:nan|inf(?:inity)?|(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)"
AS_TEXT = re.compile(  # 0.53, [0.53], tensor(0.53, device='cuda:0'), np.float32(0.53), <tf.Tensor: ... numpy=0.53>
    rf"\s*(?:[\[(]?\s*(?P<bare>{NUMBER})\s*[\])]?"
    rf"|[\w.]+\(\s*['\"]?(?:\[\s*(?P<one>{NUMBER})\s*\]|(?P<wrapped>{NUMBER}))['\"]?\s*(?:,\s*\w+=.*)?\)"
    rf"|<.*numpy=(?P<tf>{NUMBER})>)\s*",
    re.IGNORECASE | re.DOTALL,
)
LONGEST_SAMPLE = 40  # characters of a value that cannot be read, in a message
BROKEN_CSV = "lines in progress.csv that cannot be read (left out)"
WORDS = {"": None, "True": True, "False": False, "None": None}  # of a cell


def number_of(value: object) -> float | None:
    """The number that a value is or that its text says, nan and infinity too; None where it is missing or says none."""
    if is_measurement(value):
        return None if value is None else float(value)
    found = AS_TEXT.fullmatch(value) if isinstance(value, str) and len(value) < 1000 else None
    text = next((each for each in found.groups() if each), None) if found else None
    return None if text is None else float(text)


def unread(values: Sequence[object]) -> str | None:
    """The first value that says no number, as a message shows it; None where all are numbers or missing."""
    for value in values:
        if value is not None and number_of(value) is None:
            shown = " ".join(str(value).split())
            return repr(shown if len(shown) <= LONGEST_SAMPLE else shown[:LONGEST_SAMPLE] + "…")
    return None


def broken_from(values: Sequence[float | None]) -> int | None:
    """The place from which on a measurement that was finite is nan or infinite to its last line; None for none.

    A missing value says nothing. One that is nan at times and finite again (measured every few lines) is broken only
    where it stays so for longer than before.
    """
    runs, finite_before = [], False  # runs of values that are not finite, after a finite one: start and length
    is_open = False
    for place, value in enumerate(values):
        if value is None:
            continue
        if math.isfinite(value):
            finite_before, is_open = True, False
        elif is_open:
            runs[-1][1] += 1
        elif finite_before:
            runs.append([place, 1])
            is_open = True
    if not is_open:
        return None
    *earlier, (start, length) = runs
    return start if all(length > other for _, other in earlier) else None


def read_table(path: Path) -> tuple[list[dict], list[str]]:
    """The lines of a progress.csv as result.json would have them, and the problems met. An empty cell is missing."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace").replace("\0", "")
    except OSError:
        return [], []
    rows, problems = [], []
    reader = csv.reader(text.splitlines())
    try:
        head = next(reader, [])
        for cells in reader:
            if cells in ([], head):  # written anew after a resume
                continue
            if len(cells) != len(head):
                problems.append(BROKEN_CSV)
                continue
            rows.append({name: cell_value(cell) for name, cell in zip(head, cells, strict=True)})
    except csv.Error:
        problems.append(BROKEN_CSV)
    return rows, list(dict.fromkeys(problems))


def cell_value(cell: str) -> object:
    """A cell as JSON would have it: None, truth, whole number, float, text."""
    if cell in WORDS:
        return WORDS[cell]
    if re.fullmatch(r"[-+]?\d{1,15}", cell):
        return int(cell)
    number = number_of(cell) if re.fullmatch(NUMBER, cell, re.IGNORECASE) else None
    return cell if number is None else number


def config_of(row: dict) -> dict:
    """The settings in a table's line, whose columns are named config/lr."""
    return {name.removeprefix("config/"): value for name, value in row.items() if name.startswith("config/")}
