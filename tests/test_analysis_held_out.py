"""Kinds of experiments by others that the reader was not written to: each of these cases was made after it stood."""

import json
import math
from itertools import product

import pytest
from foreign_fixtures import STATE, accuracies, scored, write_experiment

from analysis.load.factors import RANGES, factors_of, present_levels
from analysis.load.metric import mode_of
from analysis.load.study import load_study
from analysis.page.study_page import build
from analysis.report import write_report


def axes_of(study):
    factors, _ = factors_of(study.study, study.trials)
    return {each.name: present_levels(study.trials, each) if each.kind not in RANGES else [] for each in factors}


def read(tmp_path, trials, **how):
    return load_study(write_experiment(tmp_path / "e", trials, **how))


def test_a_table_alone_tells_settings_and_nested_measurements(tmp_path):
    trials = [
        {"config": {}, "csv": f"val/loss,training_iteration,config/optim/lr\n{lr},1,{lr}\n{lr / 2},2,{lr}\n"}
        for lr in (0.1, 0.2)
    ]
    folder = write_experiment(tmp_path / "e", trials)
    for path in folder.glob("*/params.json"):
        path.unlink()
    study = load_study(folder)
    assert axes_of(study) == {"optim/lr": ["0.1", "0.2"]}
    assert (study.metric, study.mode) == ("val/loss", "min")


def test_a_reinforcement_learner_without_a_finished_episode_has_not_diverged(tmp_path):
    lines = [
        {
            "episode_reward_mean": math.nan if step < 3 else step,
            "info": {"learner": {"default_policy": {"kl": 0.1}}},
            "hist_stats": {"episode_reward": [1, 2]},
            "timesteps_total": 100 * step,
            "num_healthy_workers": 2,
        }
        for step in range(5)
    ]
    study = read(tmp_path, [{"config": {"lr": lr}, "lines": lines} for lr in (1, 2)])
    assert study.trials["outcome"].tolist() == ["completed"] * 2
    assert (study.metric, study.mode) == ("episode_reward_mean", "max")


def test_truth_number_text_and_none_are_four_levels(tmp_path):
    study = read(tmp_path, scored([{"x": x} for x in (True, 1, "1", None)] * 2))
    assert axes_of(study) == {"x": ["none", "true", "1", '"1"']}


def test_a_nested_setting_that_changed_is_named_by_its_path(tmp_path):
    lines = [{"acc": 0.1 * n, "config": {"optim": {"lr": 0.1 * n, "name": "sgd"}}} for n in (1, 2, 3)]
    study = read(tmp_path, [{"config": {"optim": {"lr": 0.3, "name": "sgd"}}, "lines": lines}])
    assert any("changed while they trained" in gap and ": optim/lr;" in gap for gap in study.gaps)


def test_seeds_drawn_at_random_are_no_axis(tmp_path):
    study = read(tmp_path, scored([{"dropout": n % 2 / 2, "seed": 7919 * n} for n in range(12)]))
    assert axes_of(study) == {"dropout": ["0", "0.5"]}


def test_a_number_and_a_text_of_another_form_of_it_are_two_levels(tmp_path):
    study = read(tmp_path, scored([{"lr": lr} for lr in (0.001, "1e-3")] * 2))
    assert axes_of(study) == {"lr": ["0.001", "1e-3"]}


def test_lists_of_dictionaries_are_levels(tmp_path):
    study = read(tmp_path, scored([{"layers": [{"units": 4}] * n} for n in (1, 2, 1, 2)]))
    assert sorted(axes_of(study)["layers"], key=len) == ['[{"units": 4}]', '[{"units": 4}, {"units": 4}]']


def test_an_older_record_counts_where_the_newest_is_broken(tmp_path):
    folder = write_experiment(tmp_path / "e", scored([{"lr": 1}], lambda _: 0.5))
    (folder / "experiment_state-2027-01-01_00-00-00.json").write_text("{")
    study = load_study(folder)
    assert study.trials["outcome"].tolist() == ["completed"]
    assert any("2027" in gap for gap in study.gaps)


def test_an_error_of_one_word_is_its_type(tmp_path):
    trial = {"config": {}, "lines": accuracies(0.1), "status": "ERROR", "error": "Traceback\n\nKeyboardInterrupt\n"}
    assert read(tmp_path, [trial]).trials["error_type"].tolist() == ["KeyboardInterrupt"]


def test_lines_of_one_epoch_are_all_kept(tmp_path):
    lines = [{"acc": acc, "epoch": epoch} for acc, epoch in [(0.1, 0), (0.4, 0), (0.3, 1), (0.2, 1)]]
    study = read(tmp_path, [{"config": {}, "lines": lines}])
    assert study.epochs["acc"].tolist() == [0.1, 0.4, 0.3, 0.2]


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("MSE", "min"),
        ("R2", "max"),
        ("val/mIoU", "max"),
        ("NegLogLoss", "max"),
        ("validation_0-logloss", "min"),
        ("eval_err", "min"),
        ("mean_loss", "min"),
        ("mean_accuracy", "max"),
        ("cross_entropy", "min"),
        ("neg_rmse", "max"),
        ("bleu", "max"),
        ("ROC_AUC", "max"),
        ("timesteps_per_s", "max"),
        ("average_precision", "max"),
    ],
)
def test_the_better_end_of_a_metric_by_its_name(name, mode):
    assert mode_of(name) == mode


def test_infinite_and_then_missing_is_diverged_from_the_infinite_on(tmp_path):
    lines = [{"acc": 0.1, "loss": loss} for loss in (1.0, 2.0, math.inf, None)]
    row = read(tmp_path, [{"config": {}, "lines": lines}]).trials.iloc[0]
    assert (row["outcome"], row["outcome_epoch"]) == ("diverged", 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.0e-02", 0.01), ("np.float64(0.5)", 0.5), ("Array(0.25, dtype=float32)", 0.25), ("  3 ", 3), ("+.5", 0.5)],
)
def test_numbers_in_other_libraries_forms(tmp_path, text, value):
    assert read(tmp_path, [{"config": {}, "lines": [{"loss": text}]}]).epochs["loss"].tolist() == [value]


def test_two_seeds_within_parts_of_a_configuration_are_the_seed(tmp_path):
    configs = [{"data": {"seed": a}, "model": {"seed": b}, "x": x} for a, b, x in product([0, 1], [0, 1], [1, 2])]
    study = read(tmp_path, scored(configs))
    assert axes_of(study) == {"x": ["1", "2"]}
    assert study.trials["seed"].nunique() == 4


def test_settings_are_from_the_lines_where_params_json_is_gone(tmp_path):
    folder = write_experiment(tmp_path / "e", scored([{"a": {"b": 1}}, {"a": {"b": 2}}]), status=None)
    for path in folder.glob("*/params.json"):
        path.unlink()
    assert axes_of(load_study(folder)) == {"a/b": ["1", "2"]}


def test_an_empty_result_json_leaves_the_table_to_be_read(tmp_path):
    trial = {"config": {}, "lines": [], "csv": "acc,training_iteration\n0.5,1\n"}
    assert read(tmp_path, [trial]).epochs["acc"].tolist() == [0.5]


@pytest.mark.parametrize("odd", [10**400, math.inf, -math.inf, "", " ", "\n", [], {}, [None], "nan", "None"])
def test_odd_values_of_settings_are_levels(tmp_path, odd):
    study = read(tmp_path, scored([{"x": x} for x in (odd, 1, odd, 1)]))
    (names,) = axes_of(study).values()
    assert len(names) == 2
    assert build(study)


def test_nan_as_a_setting_is_not_recorded(tmp_path):
    assert axes_of(read(tmp_path, scored([{"x": x, "y": x} for x in (math.nan, 1, 2)]))) == {
        "x": ["1", "2"],
        "y": ["1", "2"],
    }


def test_trials_that_ray_left_running_still_run(tmp_path):
    study = read(tmp_path, scored([{"x": 1}, {"x": 2}]), status="RUNNING")
    assert study.trials["outcome"].tolist() == ["running"] * 2


@pytest.mark.parametrize("name", ["optimizer.lr", "two words", "", "a/b", "-x", "=y", "名前", "x" * 300, "class"])
def test_odd_names_of_settings_are_axes(tmp_path, name):
    study = read(tmp_path, scored([{name: value} for value in (1, 2, 1, 2)]))
    assert axes_of(study) == {name: ["1", "2"]}


def test_a_report_of_odd_folders_many_levels_and_names_that_differ_by_case(tmp_path):
    trials = scored([{"lr": n % 30, "LR": n % 2, "Lr": ["a", "b"][n // 2 % 2]} for n in range(90)])
    for number, trial in enumerate(trials):
        trial["folder"] = f"#{number} 100%? [x]=<y>&z;"
    folder = write_experiment(tmp_path / "e", trials)
    page = write_report(load_study(folder).folder)
    tables = {path.name.lower() for path in (page.parent / "tables").iterdir()}
    assert len(tables) == len(list((page.parent / "tables").iterdir()))
    assert json.loads((folder / STATE).read_text())["trial_data"]
