"""A run's score by a metric, from its epochs' lines: search, best weights, ranking, page and test split go by it.

analysis/stats/scores.py says the same of frames, as it imports nothing of trials; tests/test_scores.py compares them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trials.measurements import METRICS

Line = Mapping[str, Any]  # an epoch of a run: EpochMetrics as a dictionary, or a line of result.json


class Score(NamedTuple):
    """A run's best."""

    epoch: int
    value: float


def value_of(line: Line, metric: str) -> float | None:
    """What the epoch counts with: None where the metric is missing or not finite, or the epoch was rolled back."""
    value = line.get(metric)
    return None if value is None or not math.isfinite(value) or line.get("rolled_back") else float(value)


def improves(value: float, best: float | None, mode: str) -> bool:
    """Whether a value beats the best so far; an equal one does not: of equal epochs the first is the best."""
    return best is None or (value > best if mode == "max" else value < best)


def best(lines: Sequence[Line], metric: str, mode: str) -> Score | None:
    """The best of the epochs that count, in order of epochs, the first of equal ones; None where there is none."""
    found: Score | None = None
    for line in lines:
        value = value_of(line, metric)
        if value is not None and improves(value, found and found.value, mode):
            found = Score(int(line["epoch"]), value)
    return found


def is_broken(last: Line) -> bool:
    """Whether a run that ends with this line has diverged or is frozen; one that was rolled back goes on."""
    return bool(last.get("diverged") or last.get("frozen")) and not last.get("rolled_back")


def objective(lines: Sequence[Line], metric: str) -> float:
    """What a run counts for in a search by its lines so far: its best, or, where it broke, the worst that it measured.

    Always finite: a run that never measured the metric counts for the worst there is (trials/measurements.py).
    """
    mode = METRICS[metric].mode
    if lines and is_broken(lines[-1]):
        found = best(lines, metric, "min" if mode == "max" else "max")
    else:
        found = best(lines, metric, mode)
    return METRICS[metric].worst if found is None else found.value
