"""The best trial of a study, by its records: the page's first, the test split's, and the terminal's."""

import io

import numpy as np
import pytest
from ray.tune.experiment import Trial
from rich.console import Console

from analysis.load.study import load_study
from analysis.stats.ranking import rank_trials
from study.monitoring import OutcomeWriter, Progress
from study.ranking import best_trial
from trials.measurements import METRICS
from trials.outcome import write_json_line

VALUES = (0.5, 0.5, 0.25, 0.75, None)


def write_trials(folder, rng: np.random.Generator) -> None:
    """Five trials of a few epochs, with ties, missing values and rolled-back epochs; one line is repeated."""
    for number in range(1, 6):
        path = folder / f"{number:05d}_{rng.integers(16**8):08x}"
        path.mkdir()
        for epoch in (1, 2, 2, 3):
            line = {name: VALUES[rng.integers(len(VALUES))] for name in ("val_dice", "val_loss")}
            flags = {"rolled_back": bool(rng.random() < 0.25), "diverged": False, "frozen": False}
            write_json_line(path / "result.json", {"epoch": epoch, "trial_id": path.name[6:], **line, **flags})


@pytest.mark.parametrize("metric", ["val_dice", "val_loss"])
def test_the_trial_that_is_tested_is_the_one_that_the_page_ranks_first(tmp_path, metric):
    rng, mode = np.random.default_rng(1), METRICS[metric].mode
    for number in range(30):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_trials(folder, rng)
        study = load_study(folder)
        first = rank_trials(study.trials, study.epochs, metric, mode).iloc[0]
        best = best_trial(folder, metric, mode)
        assert (best.folder.name, best.trial) == (first["folder"], first["trial"])
        assert best.score == (first["best_epoch"], first[f"best_{metric}"])


def test_a_study_in_which_nothing_was_measured_has_no_best_trial(tmp_path):
    (tmp_path / "00001_0123abcd").mkdir()
    write_json_line(tmp_path / "00001_0123abcd/result.json", {"epoch": 1, "trial_id": "0123abcd", "val_dice": None})
    assert best_trial(tmp_path, "val_dice", "max") is None


def test_the_table_ranks_by_the_best_and_shows_what_is_missing():
    trials = [
        Trial("train_trial", config={"lr": lr}, trial_id=name, stub=True) for name, lr in (("a", 1.0), ("b", 2.0))
    ]
    line = {"epoch": 1, "train_loss": None, "val_loss": None, "best_value": None}
    trials[0].run_metadata.last_result = line
    trials[1].run_metadata.last_result = line | {"epoch": 2, "best_value": 0.5}
    progress = Progress(OutcomeWriter(3), ("lr",), "val_dice", "max", 2, 3)
    progress.setup()
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(progress._table(trials))
    rows = [line.split() for line in console.export_text().splitlines() if "/3" in line]
    assert [[cell for cell in row if cell != "│"][:6] for row in rows] == [
        ["b", "2", "2/3", "-", "-", "0.5000"],
        ["a", "1", "1/3", "-", "-", "-"],
    ]
