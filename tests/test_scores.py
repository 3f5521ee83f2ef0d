"""One definition of a trial's score: trials and analysis agree on it, and training keeps what it calls the best."""

import json
import math
from dataclasses import field, make_dataclass

import numpy as np
import pytest

from analysis.load.study import load_study
from analysis.stats.scores import best_epochs, objectives
from study.trainable import OBJECTIVE, report_line
from trials import checkpoint, training
from trials.data.loader import evaluation_batches, split_indices
from trials.evaluation import evaluate
from trials.measurements import METRICS, EpochMetrics
from trials.outcome import Outcome, finite_or_none, line_of, outcome_of, write_json_line
from trials.parts import build_loss, prepared_data
from trials.predict import load_model
from trials.scores import Score, best, objective
from trials.training import run

VALUES = (0.5, 0.5, 0.25, 0.75, None, math.nan, math.inf, -math.inf, 0.0)
EXPLODES = {"optimizer": "sgd", "lr": 1e30, "schedule": "constant"}


def lines_of(rng: np.random.Generator) -> list[dict]:
    """A trial's lines: values that tie, are missing or not finite; epochs rolled back, diverged and frozen."""
    return [
        {
            "epoch": epoch,
            "val_dice": VALUES[rng.integers(len(VALUES))],
            "val_loss": VALUES[rng.integers(len(VALUES))],
            "rolled_back": bool(rng.random() < 0.25),
            "diverged": bool(rng.random() < 0.2),
            "frozen": bool(rng.random() < 0.2),
        }
        for epoch in range(1, int(rng.integers(2, 8)))
    ]


@pytest.mark.parametrize("metric", ["val_dice", "val_loss"])
def test_trials_and_analysis_have_one_definition_of_a_score(tmp_path, metric):
    rng, mode = np.random.default_rng(0), METRICS[metric].mode
    trials = {f"{number:05d}_{number:08x}": lines_of(rng) for number in range(300)}
    for folder, lines in trials.items():
        (tmp_path / folder).mkdir()
        for line in lines:
            written = {name: finite_or_none(value) for name, value in line.items()}
            write_json_line(tmp_path / folder / "result.json", written)
    epochs = load_study(tmp_path).epochs
    bests = best_epochs(epochs, metric, mode).set_index("folder")
    found = {row.Index: Score(row.best_epoch, row[2]) for row in bests.itertuples()}
    assert found == {folder: score for folder, lines in trials.items() if (score := best(lines, metric, mode))}
    by_row = epochs.assign(objective=objectives(epochs, metric, mode).fillna(METRICS[metric].worst))
    counted = by_row.groupby("folder")["objective"].nth(-1).set_axis(by_row.groupby("folder")["folder"].nth(-1))
    assert counted.to_dict() == {folder: objective(lines, metric) for folder, lines in trials.items()}


def test_of_equal_epochs_the_first_is_the_best():
    lines = [{"epoch": epoch, "val_dice": value} for epoch, value in enumerate((0.4, 0.6, 0.6), start=1)]
    assert best(lines, "val_dice", "max") == Score(2, 0.6)


def test_a_trial_that_diverged_counts_for_the_worst_that_it_measured():
    lines = [{"epoch": 1, "val_dice": 0.4}, {"epoch": 2, "val_dice": 0.7}]
    assert objective(lines, "val_dice") == 0.7
    assert objective([*lines, {"epoch": 3, "val_dice": None, "diverged": True}], "val_dice") == 0.4
    assert best(lines, "val_dice", "max") == Score(2, 0.7)  # and shows what it had reached


def test_a_trial_that_froze_and_was_rolled_back_goes_on_with_its_best():
    lines = [{"epoch": 1, "val_dice": 0.4}, {"epoch": 2, "val_dice": 0.9, "frozen": True, "rolled_back": True}]
    assert objective(lines, "val_dice") == 0.4
    assert outcome_of(lines[-1], epochs=2, metric="val_dice").outcome == "completed"


@pytest.mark.parametrize("metric", METRICS)
def test_a_trial_that_measured_nothing_counts_for_the_worst_there_is(metric):
    assert objective([{"epoch": 1, metric: None, "diverged": True}], metric) == METRICS[metric].worst


def test_what_was_not_measured_is_stored_as_missing(tiny):
    history = [line_of(next(run(tiny(**EXPLODES))))]
    line = json.loads(json.dumps(report_line(history, "val_dice"), allow_nan=False))
    assert {line[name] for name in METRICS} == {None}
    assert line["diverged"]
    assert line[OBJECTIVE] == 0.0


@pytest.fixture(scope="module")
def rolled_back(tiny, tmp_path_factory):
    """A run of two epochs that is rolled back in each: its folder and lines."""
    out = tmp_path_factory.mktemp("rolled_back") / "00001_0123abcd"
    history = [line_of(metrics) for metrics in run(tiny(**EXPLODES, on_divergence="rollback"), out=out)]
    for line in history:
        write_json_line(out / "result.json", line)
    return out, history


def test_an_epoch_that_was_rolled_back_says_so(rolled_back):
    assert [(line["rolled_back"], line["num_rollbacks"]) for line in rolled_back[1]] == [(True, 1), (True, 2)]


def test_an_epoch_that_was_rolled_back_is_no_measured_one(rolled_back):
    study = load_study(rolled_back[0].parent)
    assert study.epochs["rolled_back"].all()
    assert study.trials["num_epochs"].tolist() == [0]


def test_rollbacks_are_seen_in_lines_that_only_count_them(tmp_path, tiny):
    history = [line_of(metrics) for metrics in run(tiny(epochs=3))]
    (tmp_path / "00001_0123abcd").mkdir()
    for line, num_rollbacks in zip(history, (0, 1, 1), strict=True):  # as the first version wrote them
        del line["rolled_back"]
        write_json_line(tmp_path / "00001_0123abcd/result.json", line | {"num_rollbacks": num_rollbacks})
    study = load_study(tmp_path)
    assert study.epochs["rolled_back"].tolist() == [False, True, False]
    assert study.trials["num_epochs"].tolist() == [2]


def test_a_new_measurement_may_be_missing_from_the_first_epoch_on(tiny, tmp_path, monkeypatch):
    new = make_dataclass(
        "EpochMetrics", [("val_hausdorff_px", float, field(default=math.nan))], bases=(EpochMetrics,), frozen=True
    )
    monkeypatch.setattr(training, "EpochMetrics", new)  # as if the field stood there
    (tmp_path / "00001_0123abcd").mkdir()
    history = []
    for metrics in run(tiny()):
        history.append(line_of(metrics))
        write_json_line(tmp_path / "00001_0123abcd/result.json", report_line(history, "val_dice"))
    study = load_study(tmp_path)
    assert study.epochs["val_hausdorff_px"].isna().tolist() == [True, True]
    assert study.epochs["val_dice"].notna().all()


@pytest.fixture(scope="module", params=["val_dice", "val_loss", "train_loss"])
def ranked_by(request, tiny, tmp_path_factory):
    """A run whose best epoch is another by each metric: its configuration, folder and epochs."""
    config = tiny(epochs=5, lr=0.03, schedule="constant", batch_size=16, metric=request.param, seed=1)
    out = tmp_path_factory.mktemp("best")
    return config, out, list(run(config, out=out))


def test_the_kept_weights_are_those_of_the_asked_metrics_best_epoch(ranked_by):
    config, out, history = ranked_by
    score = best([line_of(metrics) for metrics in history], config.metric, METRICS[config.metric].mode)
    content = checkpoint.load(out / checkpoint.BEST)
    assert (content["epoch"], content["metric"], content["value"]) == (score.epoch, config.metric, score.value)
    assert (history[-1].best_epoch, history[-1].best_value) == score
    model, _, device = load_model(out / checkpoint.BEST)
    prepared = prepared_data(config)
    indices = split_indices(prepared, "val", config.val_limit)
    batches = evaluation_batches(prepared, indices, config.batch_size, config.border, device)
    again = evaluate(model, batches, build_loss(config))
    assert again.loss == pytest.approx(history[score.epoch - 1].val_loss)
    assert again.dice.mean() == pytest.approx(history[score.epoch - 1].val_dice)


def test_the_outcome_names_the_metric_and_its_best(ranked_by):
    config, _, history = ranked_by
    outcome = outcome_of(line_of(history[-1]), config.epochs, metric=config.metric)
    assert (outcome.metric, outcome.best_value) == (config.metric, history[-1].best_value)
    assert outcome.best_epoch == history[-1].best_epoch


def test_an_outcome_of_the_first_version_is_read():
    old = Outcome.from_json(
        '{"outcome": "completed", "epoch": 3, "best_epoch": 2, "best_val_dice": 0.5, "schema_version": 1}'
    )
    assert (old.metric, old.best_epoch, old.best_value) == ("val_dice", 2, 0.5)


def test_a_checkpoint_of_the_first_version_keeps_its_best(tiny, tmp_path):
    config = tiny(epochs=2)
    next(run(config, out=tmp_path))
    content = checkpoint.load(tmp_path / checkpoint.LAST)
    del content["best_value"], content["config"]["metric"]
    checkpoint.save(tmp_path / checkpoint.LAST, content | {"best_val_dice": 0.99})
    (second,) = run(config, out=tmp_path, resume=True)
    assert (second.best_epoch, second.best_value) == (1, 0.99)
