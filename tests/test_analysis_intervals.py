"""Intervals and p values against scipy, and what too few values give."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis import intervals

VALUES = np.array([0.012, 0.004, 0.019, -0.003, 0.008])


def test_the_interval_of_a_mean_is_scipys():
    expected = stats.ttest_1samp(VALUES, 0).confidence_interval(0.95)
    found = intervals.mean_estimate(VALUES)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_p_of_a_mean_is_scipys():
    assert intervals.mean_estimate(VALUES).p == pytest.approx(stats.ttest_1samp(VALUES, 0).pvalue)


def test_the_unpaired_interval_is_scipys_welch():
    other = np.array([0.001, 0.03, -0.02, 0.011])
    result = stats.ttest_ind(VALUES, other, equal_var=False)
    expected, found = result.confidence_interval(0.95), intervals.difference_estimate(VALUES, other)
    assert (found.low, found.high, found.p) == pytest.approx((expected.low, expected.high, result.pvalue))


def test_one_value_gives_no_interval():
    assert math.isnan(intervals.mean_estimate(VALUES[:1]).low)


def test_values_without_spread_give_no_interval():
    assert math.isnan(intervals.mean_estimate(np.full(5, 0.3)).low)


def test_the_difference_of_shares_is_newcombes_own_example():
    # 56 of 70 less 48 of 80: 0.0524 to 0.3339 (Newcombe 1998, table II, method 10)
    found = intervals.share_difference(56, 70, 48, 80)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_paired_shares_have_mcnemars_exact_p():
    assert intervals.paired_share_difference(5, 0, 24).p == pytest.approx(2 * 0.5**5)


def test_holms_correction_is_stepwise():
    assert intervals.holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])


def test_a_missing_p_is_not_of_the_family():
    assert intervals.holm(np.array([0.01, np.nan, 0.04]))[0] == pytest.approx(0.02)


def test_the_number_of_units_needed_gives_at_least_the_power_it_promises():
    found = intervals.mean_estimate(VALUES)
    num = intervals.num_units_needed(found)
    rng = np.random.default_rng(0)
    drawn = rng.normal(found.value, found.standard_deviation, size=(4000, num))
    power = np.mean(stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05)
    assert power > intervals.POWER - 0.02
