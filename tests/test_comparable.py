"""Metrics that mean something else along an axis are refused, by the study and by the report."""

import itertools
import json

import pytest
from analysis_fixtures import STUDY, completed, write_study

from analysis.load.metric import mode_of
from analysis.load.study import load_study
from analysis.page.comparison_page import build_comparison
from analysis.report import main as report
from analysis.stats import comparable
from study import run
from trials.config import FIELDS
from trials.losses import LOSSES
from trials.measurements import METRICS, incomparable_along

LOSS_AXIS = {"loss": {"kind": "choice", "values": ["bce", "dice"]}}


def test_trials_and_analysis_agree_on_what_can_be_compared():
    for metric, loss in itertools.product(METRICS, [*LOSSES, "mine.py:tversky"]):
        for varied in [part for name in (*FIELDS, "own.tau") for part in ({name}, {"loss", name})]:
            ours = incomparable_along(metric, varied, {"loss": loss})
            assert comparable.incomparable_along(metric, varied, loss) == ours, (metric, loss, varied)


def test_trials_and_analysis_agree_on_which_end_is_best():
    assert {name: mode_of(name) for name in METRICS} == {name: metric.mode for name, metric in METRICS.items()}


@pytest.mark.parametrize("metric", METRICS)
def test_what_a_metric_depends_on_is_a_setting(metric):
    assert set(METRICS[metric].depends_on) <= set(FIELDS)


@pytest.mark.parametrize(
    ("metric", "varied", "loss", "along"),
    [
        ("val_loss", "loss", "bce", ["loss"]),
        ("val_loss", "focal_gamma", "focal", ["focal_gamma"]),
        ("val_loss", "focal_gamma", "bce", []),
        ("val_loss", "batch_size", "dice", ["batch_size"]),
        ("val_loss", "batch_size", "bce", []),
        ("val_dice_soft", "batch_size", "bce", ["batch_size"]),
        ("val_dice", "batch_size", "bce", []),
        ("val_dice", "loss", "bce", []),
        ("val_dice", "image_size", "bce", ["image_size"]),
        ("train_loss", "augment", "bce", ["augment"]),
        ("val_loss", "augment", "bce", []),
        ("val_loss", "own.tau", "mine.py:tversky", ["own.tau"]),
        ("val_loss", "own.depth", "bce", []),
        ("val_loss", "batch_size", "mine.py:tversky", ["batch_size"]),
        ("val_dice", "own.tau", "mine.py:tversky", []),
    ],
)
def test_a_metric_is_compared_only_where_it_measures_the_same(metric, varied, loss, along):
    assert incomparable_along(metric, {varied}, {"loss": loss}) == along


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["full", "--metric", "val_loss"],
            "cannot rank trials that differ in batch_size, focal_gamma, hard_fraction, ",
        ),
        (["full", "--metric", "val_dice_soft"], "metrics that can: val_dice, val_iou, val_bce"),
        (["upsample", "--set", "metric=val_bce"], "--metric says what is searched for"),
    ],
    ids=["val_loss", "val_dice_soft", "set"],
)
def test_a_study_by_a_metric_that_cannot_rank_its_trials_is_refused(tmp_path, capsys, arguments, message):
    assert run.main(["--space", *arguments, "--results", str(tmp_path / "results")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def study_of_losses(folder, **options):
    space = STUDY["space"] | {"axes": LOSS_AXIS, "fixed": {}, "conditions": {}}
    trials = [completed([0.5, 0.6], loss="bce"), completed([0.4, 0.7], loss="dice")]
    return write_study(folder, trials, study=STUDY | {"space": space, "options": STUDY["options"] | options})


def test_a_report_by_a_metric_that_ranks_nothing_is_refused(tmp_path, capsys):
    folder = study_of_losses(tmp_path / "s")
    assert report([str(folder), "--metric", "val_loss"]) == 2
    error = capsys.readouterr().err
    assert "cannot be ranked by val_loss: it does not measure the same at each value of loss" in error
    assert "val_dice, val_dice_soft, val_iou and val_bce" in error
    assert not (folder / "report").exists()


def test_an_old_study_by_a_metric_that_ranks_nothing_says_so(tmp_path):
    folder = study_of_losses(tmp_path / "s", metric="val_loss", mode="min")
    assert report([str(folder)]) == 0
    said = json.loads((folder / "report/report.json").read_text())["sentences"]
    assert said[0].startswith(
        "Trials cannot be ranked by val_loss: it does not measure the same at each value of loss."
    )


def test_two_studies_of_other_losses_are_not_compared_by_their_loss_in_silence(tmp_path):
    folders = [
        write_study(tmp_path / name, [completed([0.5])], study=STUDY | {"fixed": {"loss": name}, "space": {"axes": {}}})
        for name in ("bce", "dice")
    ]
    _, record = build_comparison(*(load_study(folder, "val_loss") for folder in folders))
    assert any("cannot be ranked by val_loss" in text for text in record["sentences"])
