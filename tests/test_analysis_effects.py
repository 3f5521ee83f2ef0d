"""Frames -> frames: ranking, levels, outcomes, curves."""

import math

import pytest
from analysis_fixtures import STUDY, Trial, completed, diverged_line, line, outcome, write_study

from analysis.load.factors import Factor, compared_factors, factors_of, levels, present_levels
from analysis.load.labels import label
from analysis.load.study import load_study
from analysis.page.sections.curves import curve_frames, last_medians
from analysis.stats.curves import curve_ends, curves, medians, num_without_curve
from analysis.stats.outcomes import divergences, outcome_counts
from analysis.stats.places import outcome_places
from analysis.stats.ranking import level_summary, rank_trials, seed_spread, without_a_step
from analysis.stats.scores import best_epochs

MODEL = Factor("model", "choice", ("unet", "resnet34_unet"))


def ranked_of(tmp_path, trials, metric="val_dice", mode="max"):
    study = load_study(write_study(tmp_path, trials))
    return rank_trials(study.trials, study.epochs, metric, mode)


def test_trials_are_ranked_by_their_best_epoch(tmp_path):
    ranked = ranked_of(tmp_path, [completed([0.5, 0.4]), completed([0.2, 0.9, 0.3])])
    assert ranked[["trial", "best_val_dice", "best_epoch"]].to_numpy().tolist() == [
        ["a1b2c_00001", 0.9, 2],
        ["a1b2c_00000", 0.5, 1],
    ]


def test_the_earliest_of_equal_epochs_is_the_best(tmp_path):
    assert ranked_of(tmp_path, [completed([0.5, 0.7, 0.7])])["best_epoch"].tolist() == [2]


def test_a_metric_to_be_small_is_ranked_upwards(tmp_path):
    ranked = ranked_of(tmp_path, [completed([0.5]), completed([0.9])], metric="val_loss", mode="min")
    assert ranked["trial"].tolist() == ["a1b2c_00001", "a1b2c_00000"]


def test_a_diverged_line_is_no_best(tmp_path):
    study = load_study(write_study(tmp_path, [Trial(lines=[line(1, 0.4), diverged_line(2, 0.8)])]))
    assert best_epochs(study.epochs, "val_dice", "max")["best_val_dice"].tolist() == [0.4]


def test_nan_is_no_best(tmp_path):
    ranked = ranked_of(tmp_path, [Trial(lines=[line(1, 0.4), line(2, math.nan), line(3, math.inf)])])
    assert ranked["best_val_dice"].tolist() == [0.4]


def test_a_pruned_trial_is_ranked_by_what_it_reached(tmp_path):
    pruned = Trial(lines=[line(1, 0.7)], outcome=outcome("pruned", 1))
    assert ranked_of(tmp_path, [completed([0.5, 0.6]), pruned])["outcome"].tolist() == ["pruned", "completed"]


def test_a_trial_without_results_comes_last_without_rank(tmp_path):
    ranked = ranked_of(tmp_path, [Trial(), completed([0.5])])
    assert ranked["trial"].tolist() == ["a1b2c_00001", "a1b2c_00000"]
    assert ranked["rank"].isna().tolist() == [False, True]


def test_a_level_has_the_median_of_its_measured_trials_and_counts_all(tmp_path):
    trials = [completed([value]) for value in (0.2, 0.6, 0.7)] + [Trial(lines=[diverged_line(1, 0.1)])]
    (row,) = level_summary(ranked_of(tmp_path, trials), MODEL, "val_dice").to_dict("records")
    assert (row["level"], row["num_trials"], row["num_measured"]) == ("unet", 4, 3)
    assert (row["median_best_val_dice"], row["num_diverged"]) == (0.6, 1)


def test_levels_stand_in_the_order_of_the_space(tmp_path):
    ranked = ranked_of(tmp_path, [completed([0.5], model="resnet34_unet"), completed([0.4], model="unet")])
    assert level_summary(ranked, MODEL, "val_dice")["level"].tolist() == ["unet", "resnet34_unet"]


def test_a_conditional_factor_counts_only_where_its_condition_holds(tmp_path):
    ranked = ranked_of(tmp_path, [completed([0.5], amp=True), completed([0.4], amp=False)])
    factor = Factor("amp_dtype", "choice", ("float16", "bfloat16"), ("amp", "true"))
    assert level_summary(ranked, factor, "val_dice")["num_trials"].tolist() == [1]


def test_null_is_a_level_and_a_setting_not_recorded_is_none(tmp_path):
    trials = [completed([0.5], clip=None), completed([0.5], clip=1), completed([0.5])]
    frame = load_study(write_study(tmp_path, trials)).trials
    assert levels(frame, Factor("clip", "choice")).isna().tolist() == [False, False, True]
    assert present_levels(frame, Factor("clip", "choice", ("1", "none"))) == ["1", "none"]


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (16, "16"), (16.0, "16"), (1e-3, "0.001"), (None, "none")])
def test_a_value_has_one_label(value, text):
    assert label(value) == text


def test_without_recorded_axes_the_settings_that_differ_are_the_axes(tmp_path):
    trials = [completed([0.5], model=["unet", "resnet34_unet"][n % 2], lr=10.0**-n, seed=n) for n in range(9)]
    study = load_study(write_study(tmp_path, trials, study=None))
    factors, gaps = factors_of(study.study, study.trials)
    assert [(factor.name, factor.kind) for factor in factors] == [("model", "choice"), ("lr", "log_uniform")]
    assert "not recorded" in gaps[0]


def test_planned_trials_that_never_started_are_counted(tmp_path):
    counts = outcome_counts(load_study(write_study(tmp_path, [completed([0.5])])).trials, 3)
    assert dict(zip(counts["outcome"], counts["num_trials"], strict=True)) == {"completed": 1, "not started": 2}


def test_divergences_stand_in_order_of_time(tmp_path):
    trials = [Trial(lines=[diverged_line(n, 0.1)]) for n in (3, 1, 2)] + [completed([0.5])]
    found = divergences(load_study(write_study(tmp_path, trials)).trials, [MODEL])
    assert found["epoch"].tolist() == [1, 2, 3]


def test_the_spread_of_seeds_is_that_within_one_setting(tmp_path):
    trials = [completed([0.5], seed=0), completed([0.6], seed=1), completed([0.1], seed=0, model="resnet34_unet")]
    spread = seed_spread(ranked_of(tmp_path, trials), [MODEL], "val_dice")
    assert spread["spread"].tolist() == [pytest.approx(0.1)]


def test_curves_leave_out_diverged_lines_and_nan(tmp_path):
    study = load_study(write_study(tmp_path, [Trial(lines=[line(1, 0.4), line(2, math.nan), diverged_line(3, 0.4)])]))
    assert curves(study.trials, study.epochs, MODEL, "val_dice")["epoch"].tolist() == [1]


def test_a_median_is_of_the_same_trials_at_every_epoch(tmp_path):
    pruned = [Trial(lines=[line(1, value)], outcome=outcome("pruned", 1)) for value in (0.1, 0.2)]
    whole = [completed([0.3, 0.6]), completed([0.5, 0.8])]
    study = load_study(write_study(tmp_path, [*pruned, *whole]))
    found = medians(curves(study.trials, study.epochs, None, "val_dice"), study.trials, None)
    rows = found[["epoch", "median", "num_trials", "num_begun"]].to_numpy().tolist()
    assert rows == [[1, 0.4, 2, 4], [2, 0.7, 2, 4]]


def test_a_median_ends_where_more_than_half_have_left(tmp_path):
    pruned = [Trial(lines=[line(1, value)], outcome=outcome("pruned", 1)) for value in (0.1, 0.2)]
    study = load_study(write_study(tmp_path, [*pruned, completed([0.3, 0.6])]))
    found = medians(curves(study.trials, study.epochs, None, "val_dice"), study.trials, None)
    assert found[["epoch", "median", "num_trials"]].to_numpy().tolist() == [[1, 0.2, 3]]


def test_trials_that_diverged_before_a_measurement_count_among_those_that_began(tmp_path):
    broken = [Trial(lines=[diverged_line(1, 0.1)], outcome=outcome("diverged", 1)) for _ in range(3)]
    frozen = Trial(lines=[diverged_line(1, 0.1)], outcome=outcome("frozen", 1))
    study = load_study(write_study(tmp_path, [*broken, frozen, completed([0.3, 0.6])]))
    frames = curve_frames(study.trials, study.epochs, None, "val_dice")
    assert frames.medians.empty
    assert frames.num_without == 4


def test_the_figure_in_words_says_how_many_are_left_of_how_many(tmp_path):
    pruned = [Trial(lines=[line(1, value)], outcome=outcome("pruned", 1)) for value in (0.1, 0.2)]
    study = load_study(write_study(tmp_path, [*pruned, completed([0.3, 0.6])]))
    found = medians(curves(study.trials, study.epochs, None, "val_dice"), study.trials, None)
    assert "all trials 0.2 at epoch 1 (3 of 3 trials)" in last_medians(found, "val_dice")


def test_a_diverged_curve_ends_at_its_last_finite_epoch(tmp_path):
    study = load_study(write_study(tmp_path, [Trial(lines=[line(1, 0.4), line(2, 0.5), diverged_line(3, 0.4)])]))
    ends = curve_ends(curves(study.trials, study.epochs, None, "val_dice"), study.trials)
    assert ends[["epoch", "value", "outcome"]].to_numpy().tolist() == [[2, 0.5, "diverged"]]


def test_a_trial_that_diverged_at_once_is_counted_as_not_drawn(tmp_path):
    study = load_study(write_study(tmp_path, [Trial(lines=[diverged_line(1, 0.4)]), completed([0.5])]))
    assert num_without_curve(curves(study.trials, study.epochs, None, "val_dice"), study.trials) == 1


def test_only_choices_with_two_levels_present_get_curves(tmp_path):
    trials = [completed([0.5], batch_size=8), completed([0.5], batch_size=16)]
    study = load_study(write_study(tmp_path, trials))
    factors, _ = factors_of(STUDY, study.trials)
    assert [factor.name for factor in compared_factors(study.trials, factors)] == ["batch_size"]


def test_a_score_of_weights_that_no_step_changed_is_found(tmp_path):
    skipped = Trial(lines=[line(1, 0.5, num_skipped_steps=32), line(2, 0.4)], outcome=outcome("completed", 2))
    study = load_study(write_study(tmp_path, [completed([0.3, 0.4]), skipped]))
    ranked = rank_trials(study.trials, study.epochs, "val_dice", "max")
    assert list(without_a_step(ranked, study.epochs)["trial"]) == ["a1b2c_00001"]


def test_a_failed_trial_is_not_known_to_have_converged(tmp_path):
    trials = [completed([0.5], lr=1e-3), Trial(lines=[line(1, 0.4)], outcome=outcome("failed", 2))]
    study = load_study(write_study(tmp_path, trials))
    places, _, _ = outcome_places(study.trials, [Factor("lr", "log_uniform")])
    assert places.set_index("outcome")["is_known"].to_dict() == {"completed": True, "failed": False}
