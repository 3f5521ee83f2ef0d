"""Cumulative incidence of divergence: against enumeration, against lifelines, and what each trial counts as."""

import itertools
import math
import warnings

import numpy as np
import pandas as pd
import pytest
from lifelines import AalenJohansenFitter, KaplanMeierFitter

from analysis.load.factors import Factor
from analysis.stats.intervals import share_interval
from analysis.stats.survival import (
    CENSORED,
    DIVERGED,
    PRUNED,
    Ends,
    cumulative_incidence,
    ends_of,
    epochs_spent,
    survival_table,
    variance,
    without_pruning,
)

AMP = Factor("amp", "choice", ("false", "true"))


def ends(*pairs) -> Ends:
    return Ends(np.array([epoch for epoch, _ in pairs]), np.array([how for _, how in pairs]))


def drawn(num: int, rng: np.random.Generator, hows=(DIVERGED, PRUNED, CENSORED)) -> Ends:
    return Ends(rng.integers(1, 8, num), rng.choice(hows, num))


def redistributed(sample: Ends) -> float:
    """The incidence by another way (Efron 1967): who is censored leaves his weight to those who are there later."""
    order = {DIVERGED: 0, PRUNED: 1, CENSORED: 2}
    units = sorted(zip(sample.epoch, sample.how, strict=True), key=lambda unit: (unit[0], order[unit[1]]))
    weights, total = [1 / len(units)] * len(units), 0.0
    for place, (_, how) in enumerate(units):
        later = range(place + 1, len(units))
        if how == DIVERGED:
            total += weights[place]
        elif how == CENSORED:
            for other in later:
                weights[other] += weights[place] / len(later)
    return total


@pytest.mark.parametrize("seed", range(20))
def test_the_incidence_agrees_with_redistribution_to_the_right(seed):
    sample = drawn(12, np.random.default_rng(seed))
    assert cumulative_incidence(sample)["incidence"].iloc[-1] == pytest.approx(redistributed(sample))


def test_every_sample_of_three_without_censoring_gives_the_plain_share():
    units = list(itertools.product((1, 2), (DIVERGED, PRUNED)))
    for chosen in itertools.product(units, repeat=3):
        share = sum(how == DIVERGED for _, how in chosen) / 3
        assert cumulative_incidence(ends(*chosen))["incidence"].iloc[-1] == pytest.approx(share)


@pytest.mark.parametrize("seed", range(10))
def test_without_censoring_the_variance_is_the_binomial_one(seed):
    sample = drawn(30, np.random.default_rng(seed), (DIVERGED, PRUNED))
    found = cumulative_incidence(sample)
    counts = found[["num_diverged", "num_pruned", "num_at_risk"]].to_numpy().T
    left = counts[0] + counts[1]
    before = np.concatenate([[1.0], np.cumprod(1 - left / counts[2])[:-1]])
    share = found["incidence"].iloc[-1]
    place = len(found) - 1
    told = variance(place, found["incidence"].to_numpy(), before, counts[0], left, counts[2])
    assert told == pytest.approx(share * (1 - share) / 30)


def test_without_competing_events_it_is_kaplan_and_meier():
    sample = drawn(40, np.random.default_rng(3), (DIVERGED, CENSORED))
    fitted = KaplanMeierFitter().fit(sample.epoch, sample.how == DIVERGED)
    found = cumulative_incidence(sample)
    expected = 1 - fitted.survival_function_.loc[found["epoch"], "KM_estimate"].to_numpy()
    assert found["incidence"].to_numpy() == pytest.approx(expected)


def test_without_competing_events_the_interval_is_near_lifelines():
    sample = drawn(40, np.random.default_rng(3), (DIVERGED, CENSORED))
    fitted = KaplanMeierFitter().fit(sample.epoch, sample.how == DIVERGED)
    found = cumulative_incidence(sample).set_index("epoch").loc[3]
    low, high = fitted.confidence_interval_.loc[3]  # of survival; ours is on the incidence's scale
    assert found["high"] == pytest.approx(1 - low, abs=0.03)
    assert found["low"] == pytest.approx(1 - high, abs=0.03)


def test_with_untied_times_it_agrees_with_lifelines_aalen_and_johansen():
    rng = np.random.default_rng(4)
    sample = Ends(rng.permutation(np.arange(1, 41)), rng.choice((DIVERGED, PRUNED, CENSORED), 40))
    code = np.select([sample.how == DIVERGED, sample.how == PRUNED], [1, 2], 0)
    fitted = AalenJohansenFitter().fit(sample.epoch, code, event_of_interest=1)
    expected = fitted.cumulative_density_.loc[cumulative_incidence(sample)["epoch"]].to_numpy().ravel()
    assert cumulative_incidence(sample)["incidence"].to_numpy() == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_what_would_diverge_without_pruning_is_kaplan_and_meiers(seed):
    sample = drawn(20, np.random.default_rng(seed))
    fitted = KaplanMeierFitter().fit(sample.epoch, sample.how == DIVERGED)
    assert without_pruning(sample) == pytest.approx(1 - fitted.survival_function_.iloc[-1, 0])


def test_pruning_counted_as_censoring_raises_the_rate():
    sample = ends((1, PRUNED), (1, PRUNED), (2, DIVERGED), (3, CENSORED))
    assert cumulative_incidence(sample)["incidence"].iloc[-1] == pytest.approx(0.25)
    assert without_pruning(sample) == pytest.approx(0.5)


def test_nothing_diverged_has_an_interval_from_zero():
    last = cumulative_incidence(ends(*[(5, CENSORED)] * 10)).iloc[-1]
    assert (last["incidence"], last["low"]) == (0, 0)
    assert 0.2 < last["high"] < 0.35


def test_an_incidence_of_zero_has_the_interval_of_those_still_known():
    sample = ends(*[(1, CENSORED)] * 8, *[(5, CENSORED)] * 2)
    found = cumulative_incidence(sample).set_index("epoch")
    assert found["num_known"].to_dict() == {1: 10, 5: 2}
    assert found["high"].to_dict() == pytest.approx({1: share_interval(0, 10)[1], 5: share_interval(0, 2)[1]})


def test_a_pruned_trial_is_known_never_to_diverge():
    last = cumulative_incidence(ends(*[(1, PRUNED)] * 8, *[(5, CENSORED)] * 2)).iloc[-1]
    assert last["high"] == pytest.approx(share_interval(0, 10)[1])


def test_an_incidence_of_one_has_the_interval_of_those_that_diverged():
    last = cumulative_incidence(ends(*[(1, CENSORED)] * 8, *[(5, DIVERGED)] * 2)).iloc[-1]
    assert (last["incidence"], last["low"]) == (1, pytest.approx(share_interval(2, 2)[0]))


@pytest.mark.parametrize("hazard", [0.02, 0.1, 0.2, 0.3, 0.4, 0.45])
def test_the_interval_covers_in_all_outcomes_of_ten_trials_of_which_six_are_censored_early(hazard):
    """Nothing diverges in epoch 1, after which six trials are censored; the other four diverge in epoch 2 or do not."""
    covered = 0.0
    for num in range(5):
        last = cumulative_incidence(ends(*[(1, CENSORED)] * 6, *[(2, DIVERGED)] * num, *[(2, CENSORED)] * (4 - num)))
        chance = math.comb(4, num) * hazard**num * (1 - hazard) ** (4 - num)
        covered += chance * (last["low"].iloc[-1] <= hazard <= last["high"].iloc[-1])
    assert covered > 0.93


def test_no_trial_gives_no_row():
    assert cumulative_incidence(ends()).empty


def trials(*outcomes) -> pd.DataFrame:
    """(outcome, num_epochs, outcome_epoch)"""
    rows = [
        {
            "trial": str(place),
            "outcome": how,
            "num_epochs": num,
            "outcome_epoch": said,
            "epochs": 9,
            "amp": place % 2 > 0,
        }
        for place, (how, num, said) in enumerate(outcomes)
    ]
    return pd.DataFrame(rows)


def test_a_diverged_trial_ends_in_the_epoch_that_broke():
    assert ends_of(trials(("diverged", 3, 4))).epoch.tolist() == [4]


def test_a_diverged_trial_whose_epoch_is_not_recorded_ends_after_those_it_trained():
    assert ends_of(trials(("diverged", 3, None))).epoch.tolist() == [4]


def test_a_frozen_trial_counts_as_diverged_and_a_failed_one_as_censored():
    assert ends_of(trials(("frozen", 3, 4), ("failed", 3, 4))).how.tolist() == [DIVERGED, CENSORED]


def test_the_table_has_a_row_a_level():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = survival_table(trials(("completed", 9, 9), ("diverged", 3, 4)), [AMP])
    assert found["incidence"].tolist() == [0, 1]


def test_trials_whose_divergence_is_unknown_are_counted_and_censored():
    ended = [("completed", 9, 9), ("diverged", 3, 4), ("failed", 2, 3), ("running", 3, None), ("out_of_memory", 0, 1)]
    found = survival_table(trials(*ended), [AMP]).set_index("level")
    assert found["num_trials"].to_dict() == {"false": 3, "true": 2}
    assert found["num_unknown"].to_dict() == {"false": 2, "true": 1}
    assert found["high"]["false"] == pytest.approx(share_interval(0, 1)[1])  # one trial came to epoch 9


def test_a_level_of_which_no_trial_began_is_not_silent():
    found = survival_table(trials(("completed", 9, 9), ("failed", 0, 1)), [AMP]).set_index("level")
    assert (found["num_unknown"]["true"], found["low"]["true"], found["high"]["true"]) == (1, 0, 1)


def test_epochs_saved_are_those_left_of_the_plan():
    found = epochs_spent(trials(("diverged", 3, 4)).assign(outcome_first_epoch=2)).iloc[0]
    assert (found["epochs_after"], found["epochs_saved"]) == (2, 5)
