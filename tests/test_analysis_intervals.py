"""Intervals and p values against scipy, by enumeration, and what too few values give."""

import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from analysis.stats import intervals
from analysis.stats.estimates import flipped_signs

VALUES = np.array([0.012, 0.004, 0.019, -0.003, 0.008])
OF_MEAN = intervals.t_estimate(float(VALUES.mean()), float(stats.sem(VALUES)), 4, 5, "t")


def test_the_interval_of_a_mean_is_scipys():
    expected = stats.ttest_1samp(VALUES, 0).confidence_interval(0.95)
    assert (OF_MEAN.low, OF_MEAN.high) == pytest.approx((expected.low, expected.high))


def test_the_p_of_a_mean_is_scipys():
    assert OF_MEAN.p == pytest.approx(stats.ttest_1samp(VALUES, 0).pvalue)


def test_the_unpaired_interval_is_scipys_welch():
    other = np.array([0.001, 0.03, -0.02, 0.011])
    result = stats.ttest_ind(VALUES, other, equal_var=False)
    expected, found = result.confidence_interval(0.95), intervals.difference_estimate(VALUES, other)
    assert (found.low, found.high, found.p) == pytest.approx((expected.low, expected.high, result.pvalue))


@pytest.mark.parametrize(("error", "df"), [(0.1, 0), (0.0, 4), (math.nan, 4)])
def test_without_degrees_of_freedom_or_spread_there_is_no_interval(error, df):
    found = intervals.t_estimate(0.3, error, df, 5, "t")
    assert math.isnan(found.low)
    assert math.isnan(found.p)


def test_the_difference_of_shares_is_newcombes_own_example():
    # 56 of 70 less 48 of 80: 0.0524 to 0.3339 (Newcombe 1998, table II, method 10)
    found = intervals.share_difference(56, 70, 48, 80)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


@pytest.mark.parametrize(("a", "num_a", "b", "num_b"), [(0, 5, 0, 9), (5, 5, 9, 9), (0, 5, 9, 9), (1, 1, 0, 1)])
def test_the_difference_of_none_or_all_lies_in_its_interval(a, num_a, b, num_b):
    found = intervals.share_difference(a, num_a, b, num_b)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0.2


def test_shares_of_nothing_have_no_difference():
    assert math.isnan(intervals.share_difference(0, 0, 3, 4).value)


# the first is Newcombe's own method in the R package contingencytables (its test), the others are printed in
# Fagerland, Lydersen and Laake 2017, table 8.6, and in Altman et al. 2000, page 53
@pytest.mark.parametrize(
    ("table", "low", "high"),
    [((59, 6, 16, 80), -0.1186, -0.0046), ((1, 1, 7, 12), -0.507, -0.026), ((14, 5, 0, 22), 0.011, 0.226)],
)
def test_the_difference_of_paired_shares_is_newcombes(table, low, high):
    assert intervals.paired_share_interval(*table) == pytest.approx((low, high), abs=6e-4)


def test_the_paired_interval_covers_in_all_outcomes_of_ten_pairs():
    tables = [each for each in itertools.product(range(11), repeat=4) if sum(each) == 10]
    low, high = np.array([intervals.paired_share_interval(*table) for table in tables]).T
    covered = []
    for shares in np.random.default_rng(0).dirichlet([0.7] * 4, 400):
        truth = shares[1] - shares[2]
        held = (low <= truth) & (truth <= high)
        covered.append(stats.multinomial.pmf(tables, 10, shares)[held].sum())
    assert np.mean(covered) > 0.957  # Agresti and Min's, which was here before: 0.953, and 0.918 in the worst 5 %
    assert np.quantile(covered, 0.05) > 0.93


@pytest.mark.parametrize(("only_a", "only_b"), list(itertools.product(range(6), repeat=2)))
def test_flipping_the_signs_of_pairs_is_mcnemars_exact_test(only_a, only_b):
    found, least = flipped_signs(np.array([1.0] * only_a + [-1.0] * only_b + [0.0] * 3))
    assert found == pytest.approx(mcnemar([[2, only_a], [only_b, 1]], exact=True).pvalue)
    assert least <= found


def test_holms_correction_is_stepwise():
    assert intervals.holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])


def test_a_missing_p_is_not_of_the_family():
    assert intervals.holm(np.array([0.01, np.nan, 0.04]))[0] == pytest.approx(0.02)


def test_a_family_without_a_p_has_no_correction():
    assert intervals.holm(np.array([])).tolist() == []
    assert np.isnan(intervals.holm(np.array([np.nan]))).all()


@pytest.mark.parametrize(("effect", "num"), [(50, 2), (0.5, 34), (1, 10), (2, 5), (0.001, None)])
def test_the_number_of_units_is_that_of_the_noncentral_t(effect, num):
    spread = intervals.t_estimate(effect, 1 / math.sqrt(6), 5, 6, "t")  # standard deviation 1
    assert intervals.num_units_needed(spread) == num


def test_the_number_of_units_needed_gives_at_least_the_power_it_promises():
    found = OF_MEAN
    num = intervals.num_units_needed(found)
    rng = np.random.default_rng(0)
    drawn = rng.normal(found.value, found.standard_deviation, size=(4000, num))
    power = np.mean(stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05)
    assert power > intervals.POWER - 0.02


def test_starting_the_report_does_not_wait_for_statsmodels():
    slow = {"statsmodels.stats", "lifelines", "optuna", "sklearn"}  # seaborn looks for statsmodels' version
    code = f"import sys, analysis.report; sys.exit(bool({slow} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
