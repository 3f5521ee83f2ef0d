"""Sentences of comparisons, from rows written by hand: which estimate, over what, and what it comes to."""

import re
from math import nan

import pytest

from analysis.page.differences import divergence_sentence, metric_sentence

ROW = {
    "axis": "batch_size",
    "level_a": "16",
    "level_b": "8",
    "kind": "effect",
    "is_paired": True,
    "difference": -0.072,
    "low": -0.321,
    "high": 0.177,
    "p": 0.4,
    "p_least": 0.0,
    "decided": False,
    "num_tests": 12,
    "num_pairs": 6,
    "num_seeds": 3,
    "num_a": 3,
    "num_b": 6,
    "num_left_out": 0,
    "first_epoch": 1,
    "last_epoch": 1,
    "num_units_more": nan,
    "unit": "seeds",
    "reason": "",
}


def test_the_better_level_comes_first_with_sign_interval_and_counts():
    assert metric_sentence(ROW, "val_dice", "max") == (
        "batch size 8 against 16: +7.2 Dice points at epoch 1 (95 % CI -17.7 to +32.1; 6 pairs of 3 seeds); not"
        " significant."
    )


@pytest.mark.parametrize(
    ("mode", "said"),
    [("max", "batch size 8 against 16: .*; 6 against 3 trials"), ("min", "batch size 16 against 8: .*; 3 against 6")],
)
def test_without_pairs_the_trials_of_each_side_are_counted_in_the_order_of_the_levels(mode, said):
    assert re.search(said, metric_sentence(ROW | {"is_paired": False}, "val_dice", mode))


def test_less_of_a_loss_is_better():
    told = metric_sentence(ROW, "val_loss", "min")
    assert told.startswith("batch size 16 against 8: -0.072 of val_loss at epoch 1 (95 % CI -0.321 to +0.177")


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({"decided": True}, "; significant: p < 0.05 after Holm's correction for 12 tests."),
        ({"high": -0.01, "p": 0.03}, "; significant on its own, but not after Holm's correction for 12 tests."),
        ({"high": -0.01, "p": 0.062}, "; not significant: p = 0.062."),  # t's interval, and an exact test
        (
            {"high": -0.01, "p": 0.1, "p_least": 0.1},
            "; not significant: of so few the exact test cannot give less than p = 0.1.",
        ),
        ({"num_units_more": 4}, "; not significant (a difference of this size would take 4 more seeds to show)."),
        ({"kind": "association"}, "; an association, not an effect."),
        ({"low": nan, "high": nan, "reason": "too few"}, "(6 pairs of 3 seeds); no interval: too few."),
        ({"reason": "it varies"}, "; it varies."),
        (
            {"started_difference": 0.1, "started_low": nan, "started_high": nan, "agree": False},
            "; the two disagree, so nothing is concluded.",
        ),
    ],
)
def test_what_may_be_concluded_is_said_last(changed, verdict):
    assert metric_sentence(ROW | changed, "val_dice", "max").endswith(verdict)


def test_both_estimates_are_given_where_runs_broke():
    broke = {"num_left_out": 2, "only_where": "amp=false", "agree": False}
    broke |= {
        "started_difference": 0.3,
        "started_low": 0.1,
        "started_high": 0.5,
        "num_unknown_a": 1,
        "num_unknown_b": nan,
    }
    told = metric_sentence(ROW | broke, "val_dice", "max")
    assert (
        "; 2 pairs are left out of which a run diverged, froze, failed or measured nothing, and what remains has"
        " amp=false alone; "
    ) in told
    assert (
        "; as started, with runs that diverged or froze at their worst: -30.0 Dice points (95 % CI -50.0 to -10.0)"
        in told
    )
    assert "which points the other way" in told
    assert "of 1 trial it is not known whether they diverged" in told


def test_without_pairs_a_pruned_trial_that_came_to_the_epoch_is_not_said_to_have_finished():
    told = metric_sentence(ROW | {"is_paired": False, "num_left_out": 1}, "val_dice", "max")
    assert "; 1 trial is left out that diverged, froze, failed or did not come to that epoch; " in told


def test_a_difference_of_divergence_names_both_shares():
    row = ROW | {"difference": 0.25, "low": -0.1, "high": 0.5, "value_a": 0.9166, "value_b": 0.6666, "num_left_out": 3}
    assert divergence_sentence(row) == (
        "batch size 16 against 8: 92 % against 67 % of trials diverged, +25 percentage points (95 % CI -10 to +50; 6"
        " pairs of 3 seeds); 3 pairs of which this is not known left out; not significant."
    )
