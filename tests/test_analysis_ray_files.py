"""What others' experiments of Ray hold, and where: lines, tables, records, folders; how their trials ended."""

import json
import math

import pytest
from foreign_fixtures import STATE, accuracies, scored, write_experiment

from analysis.load.factors import Factor, factors_of
from analysis.load.folders import NotAStudy
from analysis.load.measurements import broken_from, number_of
from analysis.load.metric import NoMetric, mode_of
from analysis.load.study import load_study
from analysis.report import main
from analysis.stats.comparisons import compare
from analysis.stats.designs import design_of
from analysis.stats.ranking import rank_trials

LR = {"lr": 0.1}


def experiment(tmp_path, *trials, **how):
    """An experiment of trials that are told by their lines."""
    made = [{"config": {"lr": place}} | trial for place, trial in enumerate(trials)]
    return write_experiment(tmp_path / "experiment", made, **how)


def losses(*values):
    return [{"loss": value} for value in values]


def outcomes(folder):
    return load_study(folder).trials["outcome"].tolist()


def bests(study):
    ranked = rank_trials(study.trials, study.epochs, study.metric, study.mode)
    return ranked.set_index("trial")[f"best_{study.metric}"].sort_index().tolist()


# What orders lines


def test_training_iteration_orders_lines_whatever_they_call_epoch(tmp_path):
    lines = [{"loss": loss, "epoch": epoch} for loss, epoch in [(3, 0.5), (2, 1.0), (1, 1.0)]]
    epochs = load_study(experiment(tmp_path, {"lines": lines})).epochs
    assert epochs["epoch"].tolist() == [1, 2, 3]
    assert epochs["loss"].tolist() == [3, 2, 1]
    assert epochs["reported_epoch"].tolist() == [0.5, 1.0, 1.0]


def test_lines_without_an_iteration_count_in_their_order(tmp_path):
    lines = [line | {"training_iteration": None} for line in losses(3, 2)]
    study = load_study(experiment(tmp_path, {"lines": lines}))
    assert study.epochs["epoch"].tolist() == [1, 2]
    assert any("the order of the lines counts" in gap for gap in study.gaps)


# Numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("tensor(0.53)", 0.53),
        ("tensor(9.0000, device='cuda:0')", 9.0),
        ("tensor(0.25, grad_fn=<NllLossBackward0>)", 0.25),
        ("tensor([0.5], dtype=torch.float16)", 0.5),
        ("np.float32(1e-3)", 0.001),
        ("<tf.Tensor: shape=(), dtype=float32, numpy=0.5>", 0.5),
        ("0.25", 0.25),
        ("-inf", -math.inf),
        ("tensor([0.5, 0.6])", None),
        ("2026-11-27", None),
        ("much", None),
        (None, None),
    ],
)
def test_a_text_that_says_a_number_is_that_number(text, value):
    assert number_of(text) == value


def test_numbers_as_text_are_measurements(tmp_path):
    study = load_study(experiment(tmp_path, {"lines": losses("tensor(0.5)", "tensor(0.25)")}))
    assert study.epochs["loss"].tolist() == [0.5, 0.25]


def test_a_measurement_that_cannot_be_read_is_named_with_a_value(tmp_path):
    lines = [line | {"phase": "warm-up"} for line in losses(0.5)]
    study = load_study(experiment(tmp_path, {"lines": lines}, {"lines": lines}))
    assert any("not numbers under phase (left out), such as 'warm-up': ab12c_00000, ab12c" in gap for gap in study.gaps)


# The metric and its direction


@pytest.mark.parametrize("metric", ["rmse", "val_rmse", "mean_squared_error", "test/mae", "ppl", "valLoss", "wer"])
def test_of_an_error_less_is_better(metric):
    assert mode_of(metric) == "min"


@pytest.mark.parametrize("metric", ["accuracy", "neg_mean_squared_error", "reward_mean", "log_likelihood", "f1"])
def test_of_a_score_more_is_better(metric):
    assert mode_of(metric) == "max"


def test_a_guessed_direction_stands_in_the_first_line(tmp_path):
    folder = experiment(tmp_path, {"lines": [{"rmse": 3}, {"rmse": 2}]}, {"lines": [{"rmse": 4}, {"rmse": 1}]})
    assert main([str(folder)]) == 0
    first = json.loads((folder / "report/report.json").read_text())["sentences"][0]
    assert "ab12c_00001" in first
    assert "That rmse is what counts, and that lower is better, is a guess" in first


def test_the_metric_of_rays_record_is_taken(tmp_path):
    folder = experiment(tmp_path, {"lines": [{"eval": {"loss": 1, "acc": 0.5}}]})
    record = json.loads((folder / STATE).read_text()) | {"runner_data": {"_metric": "eval/loss"}}
    (folder / STATE).write_text(json.dumps(record))
    study = load_study(folder)
    assert (study.metric, study.mode) == ("eval/loss", "min")
    assert study.guess == "That lower eval/loss is better is a guess from its name: --mode says otherwise."


def test_a_verdict_with_a_guess_beside_it_is_said_once(tmp_path):
    configs = [{"kind": kind, "seed": seed} for seed in range(4) for kind in ("svm", "forest")]
    write_experiment(tmp_path, scored(configs, lambda place: place % 2 + place**2 / 100))
    main([str(tmp_path)])
    text = (tmp_path / "report/report.md").read_text()
    assert text.count("reached a better val\\_acc than those with") == 1
    assert "is a guess from names" in text


def test_the_direction_of_ray_1s_record_is_no_guess(tmp_path):
    folder = experiment(tmp_path, {"lines": [{"quality": 1}]}, status=None)
    entry = {"trial_id": "ab12c_00000", "status": "TERMINATED", "checkpoint_score_attr": "min-quality"}
    (folder / STATE).write_text(json.dumps({"checkpoints": [entry]}))
    study = load_study(folder)
    assert (study.metric, study.mode, study.guess) == ("quality", "min", "")


@pytest.mark.parametrize("name", ["acc", "eval/acc", "eval.acc", "Acc"])
def test_a_metric_is_known_by_the_end_of_its_path(tmp_path, name):
    folder = experiment(tmp_path, {"lines": [{"eval": {"loss": 1, "acc": 0.5}}]})
    assert load_study(folder, metric=name).metric == "eval/acc"


def test_a_name_that_fits_two_metrics_is_refused_with_both(tmp_path):
    folder = experiment(tmp_path, {"lines": [{"eval": {"loss": 1}, "train": {"loss": 2}}]})
    with pytest.raises(NoMetric, match="any of eval/loss, train/loss"):
        load_study(folder, metric="loss")


# Divergence


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ([1, math.nan, math.nan], 1),
        ([1, 2, math.inf], 2),
        ([1, math.nan, None], 1),
        ([1, math.nan, 2], None),
        ([math.nan, math.nan, 1], None),
        ([math.nan, math.nan], None),
        ([1, None, None], None),
        ([1, math.nan, 2, math.nan, 3, math.nan], None),  # measured every second line
        ([1, math.nan, 2, math.nan, math.nan], 3),
    ],
)
def test_broken_is_what_was_finite_and_stays_otherwise(values, place):
    assert broken_from(values) == place


def test_a_strangers_trial_diverged_where_a_measurement_stays_nan(tmp_path):
    lines = [{"acc": 0.5, "loss": 1}, {"acc": 0.5, "loss": "nan"}, {"acc": 0.5, "loss": "tensor(nan)"}]
    row = load_study(experiment(tmp_path, {"lines": lines})).trials.iloc[0]
    assert row[["outcome", "outcome_epoch", "outcome_where"]].tolist() == ["diverged", 2, "loss is not finite"]


def test_an_episode_that_has_not_ended_is_no_divergence(tmp_path):
    lines = [{"reward": math.nan}, {"reward": math.nan}, {"reward": 3.0}]
    assert outcomes(experiment(tmp_path, {"lines": lines})) == ["completed"]


def test_a_diverged_trial_that_then_failed_keeps_its_error(tmp_path):
    trial = {"lines": losses(1, math.nan), "status": "ERROR", "error": "Traceback\nValueError: no"}
    row = load_study(experiment(tmp_path, trial)).trials.iloc[0]
    assert row[["outcome", "error_type", "error_text"]].tolist() == ["diverged", "ValueError", "no"]


# How trials ended


def test_trials_that_a_scheduler_stopped_were_not_trained_to_the_end(tmp_path):
    folder = experiment(tmp_path, *({"lines": losses(*range(number))} for number in (1, 3, 9)))
    study = load_study(folder)
    assert study.trials["outcome"].tolist() == ["pruned", "pruned", "completed"]
    assert any("2 trials have an end before that of others" in gap for gap in study.gaps)


def test_a_trial_as_long_as_its_own_setting_says_was_trained_to_its_end(tmp_path):
    trials = [{"config": {"num_epochs": number}, "lines": losses(*range(number))} for number in (2, 4, 8)]
    assert outcomes(experiment(tmp_path, *trials)) == ["completed"] * 3


def test_a_trial_whose_function_ended_was_trained_to_its_end(tmp_path):
    short = {"lines": losses(1), "runtime": {"last_result": {"done": True, "training_iteration": 1}}}
    assert outcomes(experiment(tmp_path, short, {"lines": losses(2, 1)})) == ["completed"] * 2


def test_a_trial_that_met_what_it_was_to_stop_at_was_trained_to_its_end(tmp_path):
    met = {"lines": [{"acc": 0.9}], "runtime": {"last_result": {"acc": 0.9}, "stopping_criterion": {"acc": 0.8}}}
    assert outcomes(experiment(tmp_path, met, {"lines": accuracies(0.1, 0.2)})) == ["completed"] * 2


def test_an_error_is_told_even_where_it_left_no_text(tmp_path):
    row = load_study(experiment(tmp_path, {"lines": losses(1), "status": "ERROR"})).trials.iloc[0]
    assert row["outcome"] == "failed"
    assert "ERROR" in row["error_text"]


def test_a_level_all_of_whose_trials_failed_is_compared_with_none(tmp_path):
    """Whether they would have diverged is unknown."""
    fine, failed = {"lines": losses(1)}, {"lines": losses(1), "status": "ERROR"}
    study = load_study(experiment(tmp_path, *(trial | {"config": {"x": x}} for x, trial in enumerate([fine, failed]))))
    factors, _ = factors_of(study.study, study.trials)
    found = compare(study.trials, study.epochs, factors, "loss", "min", design_of({}, study.trials))
    assert found.loc[found["what"] == "divergence", "reason"].tolist() == ["no trial of a level has a known end"]


def test_an_error_of_an_attempt_that_was_repeated_is_no_failure(tmp_path):
    study = load_study(experiment(tmp_path, {"lines": losses(1), "error": "ValueError: once"}))
    assert study.trials["outcome"].tolist() == ["completed"]
    assert any("an error.txt of an attempt that Ray repeated" in gap for gap in study.gaps)


def test_settings_that_changed_within_a_trial_are_said(tmp_path):
    lines = [{"loss": 1, "config": {"lr": lr, "f": f"<f at 0x7f0{lr}aaa>"}} for lr in (1, 2)]
    study = load_study(experiment(tmp_path, {"lines": lines}))
    assert any("settings that changed while they trained" in gap and ": lr; the last" in gap for gap in study.gaps)
    assert study.trials["lr"].tolist() == [2]


# Files


TABLE = "loss,note,training_iteration,config/lr\n1.0,a,1,0.5\n,a,2,0.5\nnan,a,3,0.5\n"


def test_lines_are_from_progress_csv_where_there_is_no_result_json(tmp_path):
    study = load_study(experiment(tmp_path, {"csv": TABLE}))
    assert study.epochs["epoch"].tolist() == [1, 2, 3]
    assert study.trials[["outcome", "outcome_epoch"]].iloc[0].tolist() == ["diverged", 3]


def test_settings_are_from_progress_csv_where_nothing_else_has_them(tmp_path):
    folder = experiment(tmp_path, {"csv": TABLE}, status=None)
    next(folder.glob("*/params.json")).unlink()
    assert load_study(folder).trials["lr"].tolist() == [0.5]


def test_a_cut_line_of_progress_csv_is_left_out_and_said(tmp_path):
    study = load_study(experiment(tmp_path, {"csv": TABLE + '0.5,"a'}))
    assert len(study.epochs) == 3
    assert any("progress.csv that cannot be read" in gap for gap in study.gaps)


def state_of(*entries, key="trial_data"):
    return json.dumps({key: list(entries)})


def entry(name, **more):
    last = {"training_iteration": 5, "loss": 0.4, "time_total_s": 7.0}
    spread = {"loss": {"min": 0.3, "max": 2.0, "last": 0.4}, "time_total_s": {"min": 1, "max": 7, "last": 7.0}}
    own = {"trial_id": name, "status": "TERMINATED", "config": {"lr": int(name)}, "last_result": last}
    return own | {"metric_analysis": spread} | more


@pytest.mark.parametrize("key", ["trial_data", "checkpoints"])
@pytest.mark.parametrize("form", [lambda own: own, json.dumps, lambda own: [json.dumps(own), "{}"]])
def test_trials_whose_folders_are_gone_are_read_from_rays_record(tmp_path, key, form):
    (tmp_path / STATE).write_text(state_of(form(entry("1")), form(entry("2", status="ERROR")), key=key))
    study = load_study(tmp_path)
    assert study.trials["outcome"].tolist() == ["completed", "failed"]
    assert study.trials["lr"].tolist() == [1, 2]
    assert (study.metric, bests(study)) == ("loss", [0.3, 0.3])
    assert study.trials["num_epochs"].tolist() == [0, 0]
    assert any("2 trials have no lines that can be read" in gap and "no curves" in gap for gap in study.gaps)


def test_without_lines_it_is_not_known_whether_trials_diverged(tmp_path):
    (tmp_path / STATE).write_text(state_of(entry("1"), entry("2")))
    study = load_study(tmp_path)
    found = compare(
        study.trials, study.epochs, [Factor("lr", "choice", ("1", "2"))], "loss", "min", design_of({}, study.trials)
    )
    assert found["reason"].tolist()[1] == "no trial of a level has a known end"
    assert found[["num_unknown_a", "num_unknown_b"]].iloc[0].tolist() == [1, 1]


def test_a_report_of_rays_record_alone(tmp_path):
    (tmp_path / STATE).write_text(state_of(entry("1"), entry("2"), entry("3")))
    assert main([str(tmp_path), "--out", str(tmp_path / "elsewhere")]) == 0
    text = (tmp_path / "elsewhere/report.md").read_text()
    assert "loss 0.3000 in an epoch that is not recorded" in text
    assert "The lines of no trial can be read" in text
    assert not (tmp_path / "report").exists()


def test_all_records_of_an_experiment_count_the_later_more(tmp_path):
    first, second = [entry("1"), entry("2")], [entry("2", status="ERROR"), entry("3")]
    (tmp_path / "experiment_state-2026-01-01_00-00-00.json").write_text(state_of(*first))
    (tmp_path / "experiment_state-2026-01-02_00-00-00.json").write_text(state_of(*second))
    trials = load_study(tmp_path).trials.set_index("trial")["outcome"]
    assert trials.to_dict() == {"1": "completed", "2": "failed", "3": "completed"}


def test_a_broken_record_is_said(tmp_path):
    folder = experiment(tmp_path, {"lines": losses(1)})
    (folder / STATE).write_text('{"trial_data": [')
    assert any(f"{STATE} cannot be read" in gap for gap in load_study(folder).gaps)


def test_a_last_value_that_is_nan_in_rays_record_is_a_divergence(tmp_path):
    broken = {"loss": {"min": 0.3, "max": 2.0, "last": math.nan}}
    (tmp_path / STATE).write_text(state_of(entry("1", metric_analysis=broken)))
    assert outcomes(tmp_path) == ["diverged"]


def test_what_ray_has_pickled_is_a_mark(tmp_path):
    pickled = [{"_type": "CLOUDPICKLE_FALLBACK", "value": value} for value in ("80054e2e", "80054e2f")]
    entries = [entry(str(n), config={"f": {"g": pickled[n]}}) for n in (0, 1)]
    (tmp_path / STATE).write_text(state_of(*entries))
    found = load_study(tmp_path).trials["f/g"]
    assert found.str.startswith("<pickled object ").all()
    assert found.nunique() == 2


# Folders


def test_trials_in_folders_within_an_experiment_are_its_trials(tmp_path):
    trials = [{"folder": f"group_{n}/sub/trial_{n}", "lines": losses(1)} for n in (0, 1)]
    folder = experiment(tmp_path, *trials)
    assert load_study(folder).trials["folder"].tolist() == ["group_0/sub/trial_0", "group_1/sub/trial_1"]


def test_a_folder_above_is_told_which_experiments_to_take(tmp_path):
    for name in ("one", "two"):
        experiment(tmp_path / "above" / name, {"lines": losses(1)})
    with pytest.raises(NotAStudy, match=r"take one of those in it: .*one/experiment, .*two/experiment"):
        load_study(tmp_path)


def test_a_trials_folder_is_told_which_experiment_to_take(tmp_path):
    folder = experiment(tmp_path, {"lines": losses(1)})
    with pytest.raises(NotAStudy, match=rf"take {folder}$"):
        load_study(next(folder.glob("train_*")))


def test_a_folder_of_settings_that_the_record_does_not_know_is_left_out_and_said(tmp_path):
    folder = experiment(tmp_path, {"lines": losses(1)})
    (folder / "stray").mkdir()
    (folder / "stray/params.json").write_text('{"lr": 99}')
    study = load_study(folder)
    assert len(study.trials) == 1
    assert any("does not know them: stray" in gap for gap in study.gaps)


def test_a_report_that_cannot_be_written_says_where_else_it_may_go(tmp_path, capsys):
    folder = experiment(tmp_path, {"lines": losses(1)})
    (folder / "report").write_text("a file")
    assert main([str(folder)]) == 2
    assert "--out DIR" in capsys.readouterr().err
