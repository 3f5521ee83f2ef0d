"""A Ray Tune experiment that was not made here (tests/foreign_v1, by Ray 2.60): nested metrics, NaN, two errors."""

import shutil
from pathlib import Path

import pytest

from analysis.load.study import load_study
from analysis.report import main

FOREIGN = Path(__file__).with_name("foreign_v1")


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(FOREIGN, tmp_path / "foreign")


@pytest.fixture(scope="module")
def study():
    return load_study(FOREIGN)


def test_iterations_count_as_epochs(study):
    assert study.epochs.groupby("folder")["epoch"].max().tolist() == [6, 6, 2, 2]
    assert any("training_iteration counts" in gap for gap in study.gaps)


def test_nested_metrics_and_settings_are_named_by_their_path(study):
    assert {"eval/accuracy", "eval/loss"} <= set(study.epochs)
    assert set(study.trials["model/depth"]) == {1, 3}


def test_ray_says_how_trials_ended(study):
    assert study.trials["outcome"].tolist() == ["completed", "diverged", "failed", "failed"]
    assert study.trials["error_text"].dropna().tolist() == ["three is too deep"] * 2


def test_nan_is_a_stated_gap(study):
    assert any("NaN or infinite" in gap for gap in study.gaps)


def test_an_unrecorded_metric_is_guessed_and_said(study):
    assert (study.metric, study.mode) == ("eval/accuracy", "max")
    assert any("--metric NAME" in gap for gap in study.gaps)


def test_another_metric_can_be_named(folder):
    assert main([str(folder), "--metric", "eval/loss"]) == 0
    text = (folder / "report/report.md").read_text()
    assert "The best trial is eca56\\_00000: eval/loss 0.0156" in text
    assert (folder / "report/figures/eval-loss_by_lr.png").is_file()


def test_a_metric_that_was_not_measured_is_refused(folder, capsys):
    assert main([str(folder), "--metric", "dice"]) == 2
    assert "measured are eval/accuracy, eval/loss" in capsys.readouterr().err
    assert not (folder / "report").exists()


def test_a_setting_named_as_a_column_of_the_ranking_does_no_harm(folder):
    for path in folder.glob("*/params.json"):
        path.write_text('{"lr": 0.1, "best_epoch": 3}')
    assert main([str(folder)]) == 0
