"""JSON as a study leaves it: files missing or cut short, NaN written bare. Says what is wrong, raises nothing."""

import json
from pathlib import Path
from typing import TypeGuard

import orjson

from analysis.load.contract import OLD_VALUES

MISSING = "is missing"
CUT_SHORT = "a result.json whose last line is cut short (left out)"
NOT_JSON = "lines in result.json that are not JSON objects (left out)"
LARGEST = 2**53  # whole numbers beyond it are no measurement: a float cannot hold them


def read_object(path: Path) -> tuple[dict, str | None]:
    """The JSON object in a file and None, or {} and what is wrong with the file."""
    value, problem = read_json(path)
    if problem is None and not isinstance(value, dict):
        problem = "is not a JSON object"
    return (value, None) if isinstance(value, dict) else ({}, problem)


def read_json(path: Path) -> tuple[object, str | None]:
    """What a JSON file holds and None, or None and what is wrong with the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8")), None
    except FileNotFoundError:
        return None, MISSING
    except (OSError, ValueError, RecursionError):
        return None, "cannot be read"


def read_lines(path: Path) -> tuple[list[dict], list[str]]:
    """The JSON objects of a file, a line each, and the problems met; bare NaN and Infinity are read as such."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return [], []
    rows, problems = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = read_line(line)
        if isinstance(row, dict):
            rows.append(row)
        else:
            problems.append(CUT_SHORT if number == len(lines) else NOT_JSON)
    return rows, list(dict.fromkeys(problems))


def read_first_line(path: Path) -> dict:
    """The JSON object in the first line of a file; {} where there is none."""
    try:
        with path.open("rb") as file:
            row = read_line(file.readline())
    except OSError:
        return {}
    return row if isinstance(row, dict) else {}


def parsed(text: str) -> object:
    """The JSON of a text; None where it is none."""
    return read_line(text.encode())


def read_line(line: bytes) -> object:
    """The JSON of a line; None where it is none. Strict JSON is read five times as fast, NaN only by the other."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(line.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return None


def is_number(value: object) -> TypeGuard[float]:
    """A finite number that a float can hold; truth values are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def is_measurement(value: object) -> bool:
    """What may stand in a column of numbers: numbers (NaN and infinity too), truth values, nothing."""
    return value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < LARGEST)


def is_finite(value: object) -> bool:
    return not isinstance(value, float) or abs(value) < float("inf")


def current(settings: dict) -> dict:
    """Settings by the names that this version writes: those of older results are equal to it then."""
    return {
        name: OLD_VALUES.get((name, value), value) if isinstance(value, str) else value
        for name, value in settings.items()
    }


def scalar(value: object) -> object:
    """A value that a cell of a frame can hold: lists and dictionaries as their JSON."""
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
