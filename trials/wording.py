"""How numbers and lists of things are put into words."""

from collections.abc import Iterable


def some(values: Iterable, most: int = 8) -> str:
    """The first values in a row, and how many more there are."""
    listed = [str(value) for value in values]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def count(number: int, one: str) -> str:
    """1 image, 2 images."""
    return f"{number} {one}" if number == 1 else f"{number} {one}s"
