"""What the values of a setting are called: values that differ have names that differ, as short as that allows. Pure."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

EXACT_DIGITS = 6  # a number of no more significant digits is written in full, others with four or as many as needed
LONGEST = 40  # characters; a longer text is cut in the middle
HEAD = 24  # characters that a cut text keeps of its beginning
CUT = "…"
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}\b")  # of an object in memory: another one in each run
WORDS = {"null": "none", "false": "false", "true": "true"}


def key_of(value: object) -> str | float:
    """The value as text, the same for the same value alone: null, true, 16, 0.001, "adam"; NaN (not recorded) stays.

    A whole float is the integer it equals. An address in memory is no part of a text.
    """
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int | np.integer):
        return str(value)
    if isinstance(value, float | np.floating):
        return np.nan if np.isnan(value) else number_key(float(value))
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return f'"{ADDRESS.sub("0x" + CUT, text)}"'


def number_key(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def label(value: object) -> str | float:
    """A value by itself: true, none, 16, 0.001, deconv; NaN (not recorded) stays NaN."""
    key = key_of(value)
    return key if isinstance(key, float) else label_of(key)


def label_of(key: str, digits: int = 4) -> str:
    """The label of a key; a number of more than EXACT_DIGITS significant digits is rounded to `digits`."""
    if key.startswith('"'):
        return cut(" ".join(key[1:-1].split())) or '""'
    return WORDS.get(key) or number_text(key, digits)


def number_text(key: str, digits: int = 4) -> str:
    """0.99996 of "0.99996", but 0.01266 of "0.012657310035619073"."""
    if is_whole(key):
        return key
    value = float(key)
    exact = f"{value:.{EXACT_DIGITS}g}"
    return exact if float(exact) == value else f"{value:.{digits}g}"


def is_whole(key: str) -> bool:
    return key.lstrip("-").isdigit()


def cut(text: str, most: int = LONGEST) -> str:
    """Text of at most so many characters, a mark where some were left out."""
    head = min(HEAD, most * 3 // 5)
    return text if len(text) <= most else text[:head] + CUT + text[len(text) - (most - head - len(CUT)) :]


def labels_of(keys: Iterable[str]) -> dict[str, str]:
    """Each key's label, no two alike: with more digits, quotes around a text that reads as a number, or a count."""
    ordered = sorted(set(keys), key=place_of)
    found = unique_numbers([key for key in ordered if not key.startswith('"')])
    taken = set(found.values())
    texts = {key: label_of(key) for key in ordered if key.startswith('"')}
    alike, seen = Counter(texts.values()), Counter()
    for key, text in texts.items():
        name = f'"{text}"' if text in taken else text
        if alike[text] > 1:
            seen[text] += 1
            name = f"{name} #{seen[text]}"
        found[key] = name
    return {key: found[key] for key in ordered}


def unique_numbers(keys: list[str]) -> dict[str, str]:
    """The labels of numbers and of WORDS, no two alike, all with the same number of digits: as few as that needs."""
    for digits in range(4, 17):
        found = {key: label_of(key, digits) for key in keys}
        if len(set(found.values())) == len(keys):
            return found
    return {key: WORDS.get(key, key) for key in keys}


def place_of(key: str) -> tuple:
    """The order of levels: none, false, true, numbers by size, texts with the numbers in them by size."""
    if key in WORDS:
        return 0, float(list(WORDS).index(key)), []
    if not key.startswith('"'):
        return 1, float(key), []
    return 2, 0.0, natural(key[1:-1])


def natural(text: str) -> list[tuple]:
    """resnet18 before resnet101, and the texts 8, 16, 128 in this order."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return [(0, float(part), part) if number % 2 else (1, 0.0, part) for number, part in enumerate(parts) if part]


def labelled(keys: Mapping[str, str], key: str | float) -> str | float:
    """The label of a key by the table, or by itself where the table does not know it."""
    return key if isinstance(key, float) else keys.get(key) or label_of(key)
