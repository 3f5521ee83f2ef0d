"""Which trial of a study is the best, from its records: the one that the page ranks first."""

from pathlib import Path
from typing import NamedTuple

from trials.outcome import whole_lines
from trials.scores import Score, best, improves


class BestTrial(NamedTuple):
    """A study's best trial: Ray's id of it, its folder, and its best epoch."""

    trial: str
    folder: Path
    score: Score


def best_trial(study: Path, metric: str, mode: str) -> BestTrial | None:
    """Of equal trials the first by their folders' names; None where no trial has measured the metric."""
    found: BestTrial | None = None
    for path in sorted(study.glob("*/result.json")):
        lines = epochs_of(path)
        score = best(lines, metric, mode)
        if score and improves(score.value, found and found.score.value, mode):
            found = BestTrial(lines[0]["trial_id"], path.parent, score)
    return found


def epochs_of(path: Path) -> list[dict]:
    """The lines of a result.json in order of epochs, the last of each: a resumed trial repeats some."""
    lines = {line["epoch"]: line for _, line in whole_lines(path.read_text())}
    return [lines[epoch] for epoch in sorted(lines)]
