"""What of a picture's values becomes black and white: as a user says, or its own percentiles."""

import re

import numpy as np

PERCENTILES = (0.1, 99.9)  # of a picture's own values: what black and white are in one of more than 8 bits
MANY_VALUES = 16  # from which on a picture's values are measurements, rather than a few classes
NUMBER = r"-?\d+(?:\.\d+)?"


def parse_range(text: str) -> tuple[float, float] | None:
    """The two numbers of value_range; None for an empty text. Raises ValueError, saying what is allowed."""
    if not text:
        return None
    matched = re.fullmatch(rf"\s*({NUMBER})\s*,\s*({NUMBER})\s*", text)
    if not matched or float(matched[1]) >= float(matched[2]):
        raise ValueError(f"value_range={text!r}; allowed: LOW,HIGH, 0,4095 for one, or nothing (trials/config.py)")
    return float(matched[1]), float(matched[2])


def scaled(values: np.ndarray, value_range: str) -> tuple[np.ndarray, str]:
    """The values, of any shape, as real numbers from 0 (black) to 255; and in words where black and white are from.

    value_range: LOW,HIGH; empty: the values' own. Raises ValueError where it is neither.
    """
    ends = parse_range(value_range)
    low, high, how = (*ends, f"from value_range={value_range}") if ends else own_range(values)
    scale = 255 / (high - low) if high > low else 0.0
    return np.clip((values.astype(np.float64) - low) * scale, 0, 255), how


def own_range(colours: np.ndarray) -> tuple[float, float, str]:
    """The values that become black and white in an array of any shape, and in words where they are from."""
    how = "from its own 0.1 to 99.9 percentile"
    valued = colours
    for end, opposite in ((colours.min(), colours.max()), (colours.max(), colours.min())):
        others = colours[colours != end]
        if others.size and _is_no_data(end, opposite, others):
            valued, how = others, "from its own 0.1 to 99.9 percentile, without a value far from all others,"
    low, high = np.percentile(valued, PERCENTILES)
    if high <= low:  # nearly all pixels are alike
        low, high = valued.min(), valued.max()
    return float(low), float(high), how


def _is_no_data(end: np.generic, opposite: np.generic, others: np.ndarray) -> bool:
    """Whether the lowest (or highest) value stands for no data: farther from all others than these are apart."""
    nearest = others.min() if end < opposite else others.max()
    far = abs(float(nearest) - float(end)) > abs(float(opposite) - float(nearest))
    return far and len(np.unique(others)) >= MANY_VALUES
