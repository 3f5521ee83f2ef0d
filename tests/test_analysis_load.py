"""Files -> frames: what a broken, running or resumed study still tells, and that its gaps are said."""

import json
import math

import pytest
from analysis_fixtures import STUDY, Trial, completed, diverged_line, line, outcome, trial_folder, write_study

from analysis.load.folders import NotAStudy
from analysis.load.study import load_study


def gap(study, words):
    """The one gap that has these words."""
    (found,) = [text for text in study.gaps if words in text]
    return found


def test_a_study_has_a_row_for_each_trial_and_each_epoch(tmp_path):
    study = load_study(write_study(tmp_path, [completed([0.5, 0.6]), completed([0.7], lr=0.01)]))
    assert study.trials["trial"].tolist() == ["a1b2c_00000", "a1b2c_00001"]
    assert study.trials["lr"].tolist() == [0.001, 0.01]
    assert study.epochs[["epoch", "val_dice"]].to_numpy().tolist() == [[1, 0.5], [2, 0.6], [1, 0.7]]


def test_a_complete_study_has_no_gaps(tmp_path):
    assert load_study(write_study(tmp_path, [completed([0.5, 0.6])])).gaps == []


def test_of_a_repeated_epoch_the_last_line_is_kept(tmp_path):
    lines = [line(1, 0.1), line(2, 0.2), line(2, 0.9), line(3, 0.3)]
    study = load_study(write_study(tmp_path, [Trial(lines=lines, outcome=outcome("completed"))]))
    assert study.epochs["val_dice"].tolist() == [0.1, 0.9, 0.3]
    assert "1 trial has repeated epochs" in gap(study, "repeated")


def test_a_cut_last_line_is_left_out_and_said(tmp_path):
    study = load_study(write_study(tmp_path, [Trial(lines=[line(1, 0.1), '{"epoch": 2, "val_d'])]))
    assert study.epochs["epoch"].tolist() == [1]
    assert "cut short (left out): a1b2c_00000" in gap(study, "cut short")


def test_a_line_that_is_not_json_is_left_out_and_said(tmp_path):
    garbage = ["\x00garbage\n", "[1]\n", "[" * 9999 + "\n"]
    study = load_study(write_study(tmp_path, [Trial(lines=[*garbage, line(1, 0.1)])]))
    assert study.epochs["epoch"].tolist() == [1]
    assert "a1b2c_00000" in gap(study, "not JSON objects")


def test_bare_nan_and_infinity_are_read_as_such_and_said(tmp_path):
    study = load_study(write_study(tmp_path, [Trial(lines=[line(1, 0.1, val_loss=math.nan, train_loss=math.inf)])]))
    assert "NaN" in (trial_folder(tmp_path, 0) / "result.json").read_text()
    assert math.isnan(study.epochs["val_loss"][0])
    assert study.epochs["train_loss"][0] == math.inf
    assert "a1b2c_00000" in gap(study, "NaN or infinite")


@pytest.mark.parametrize("epoch", [None, "2", 1.5, True, pytest.param(10**400, id="huge")])
def test_a_line_without_a_whole_epoch_is_left_out_and_said(tmp_path, epoch):
    study = load_study(write_study(tmp_path, [Trial(lines=[line(1, 0.1) | {"epoch": epoch}, line(3, 0.3)])]))
    assert study.epochs["epoch"].tolist() == [3]
    assert gap(study, "without a whole epoch number")


@pytest.mark.parametrize("value", ["much", pytest.param(10**400, id="huge")])
def test_a_measurement_that_is_no_number_is_left_out_and_said(tmp_path, value):
    study = load_study(write_study(tmp_path, [Trial(lines=[line(1, 0.1, val_loss=value)])]))
    assert math.isnan(study.epochs["val_loss"][0])
    assert gap(study, "not numbers")


def test_an_empty_result_file_is_a_trial_without_results(tmp_path):
    study = load_study(write_study(tmp_path, [Trial(), completed([0.5])]))
    assert gap(study, "no results yet") == "1 trial has no results yet: a1b2c_00000."
    assert len(study.trials) == 2


def test_a_new_measurement_becomes_a_column(tmp_path):
    study = load_study(write_study(tmp_path, [Trial(lines=[line(1, 0.1, grad_norm=3.5)])]))
    assert study.epochs["grad_norm"].tolist() == [3.5]


def test_rays_own_keys_are_no_measurements(tmp_path):
    study = load_study(write_study(tmp_path, [completed([0.1])]))
    assert not {"hostname", "config", "pid"} & set(study.epochs)


def test_a_trial_without_outcome_is_interrupted_in_a_finished_study(tmp_path):
    study = load_study(write_study(tmp_path, [Trial(lines=[line(1, 0.1)])]))
    assert study.trials["outcome"].tolist() == ["interrupted"]
    assert gap(study, "no outcome.json")


def test_a_trial_without_outcome_is_running_in_an_open_study(tmp_path):
    study = load_study(write_study(tmp_path, [Trial(lines=[line(1, 0.1)])], study=STUDY | {"finished": None}))
    assert study.state == "running"
    assert study.trials["outcome"].tolist() == ["running"]


def test_a_diverged_line_says_the_outcome_where_outcome_json_is_missing(tmp_path):
    lines = [line(1, 0.1), diverged_line(2, 0.1, step=9, where="weights")]
    row = load_study(write_study(tmp_path, [Trial(lines=lines)])).trials.iloc[0]
    end = row[["outcome", "outcome_epoch", "outcome_step", "outcome_where"]].to_list()
    assert end == ["diverged", 2, 9, "weights"]
    assert row["num_epochs"] == 1


def test_a_divergence_that_outcome_json_does_not_know_is_said(tmp_path):
    study = load_study(write_study(tmp_path, [Trial(lines=[diverged_line(1, 0.1)], outcome=outcome("pruned", 1))]))
    assert study.trials["outcome"].tolist() == ["diverged"]
    assert gap(study, "does not know")


def test_settings_come_from_result_json_where_params_json_is_broken(tmp_path):
    write_study(tmp_path, [completed([0.5], lr=0.02)])
    (trial_folder(tmp_path, 0) / "params.json").write_text('{"lr": 0.0')
    study = load_study(tmp_path)
    assert study.trials["lr"].tolist() == [0.02]
    assert "settings taken from result.json" in gap(study, "params.json")


def test_an_unreadable_outcome_is_said(tmp_path):
    write_study(tmp_path, [completed([0.5])])
    (trial_folder(tmp_path, 0) / "outcome.json").write_text("")
    assert "cannot be read" in gap(load_study(tmp_path), "outcome.json")


def test_without_study_json_the_trials_are_read_and_the_lack_is_said(tmp_path):
    study = load_study(write_study(tmp_path, [completed([0.5])], study=None))
    assert len(study.trials) == 1
    assert study.state == "unknown"
    assert "still running" in gap(study, "study.json is missing")


def test_study_json_of_the_wrong_shape_is_read_as_far_as_it_goes(tmp_path):
    study = load_study(write_study(tmp_path, [completed([0.5])], study={"name": "odd", "options": [1], "created": 5}))
    assert study.metric == "val_dice"
    assert gap(study, "study.json lacks") == "study.json lacks space, options, fixed, data, provenance."


def test_another_metric_leaves_what_was_asked_as_it_was(tmp_path):
    folder = write_study(tmp_path, [completed([0.5])])
    asked = load_study(folder).study["options"]
    other = load_study(folder, metric="val_loss")
    assert (other.metric, other.mode) == ("val_loss", "min")
    assert other.study["options"] == asked


def test_half_a_recorded_metric_is_completed(tmp_path):
    study = load_study(write_study(tmp_path, [completed([0.5])], study=STUDY | {"options": {"metric": "val_loss"}}))
    assert (study.metric, study.mode) == ("val_loss", "min")


def test_a_problem_of_many_trials_is_one_gap(tmp_path):
    study = load_study(write_study(tmp_path, [Trial(outcome=outcome("failed")) for _ in range(25)]))
    assert study.gaps[0].startswith("25 trials have no results yet: a1b2c_00000, ")
    assert "and 5 more" in study.gaps[0]


def test_a_folder_without_study_and_trials_is_no_study(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(NotAStudy, match=r"it has no study\.json, .* and no folder in it has a params\.json"):
        load_study(tmp_path)


def test_a_study_that_has_not_started_a_trial_is_a_study(tmp_path):
    study = load_study(write_study(tmp_path, [], study=STUDY | {"finished": None}))
    assert study.trials.empty
    assert study.epochs.empty


def test_nothing_is_unpickled(tmp_path):
    (tmp_path / "tuner.pkl").write_bytes(b"cos\nsystem\n(S'touch %b'\ntR." % str(tmp_path / "harm").encode())
    load_study(write_study(tmp_path, [completed([0.5])]))
    assert not (tmp_path / "harm").exists()


def test_a_broken_test_json_is_said(tmp_path):
    write_study(tmp_path, [completed([0.5])])
    (tmp_path / "test.json").write_text(json.dumps([1]))
    assert "is not a JSON object" in gap(load_study(tmp_path), "test.json")
