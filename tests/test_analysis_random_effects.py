"""Means of differences in which seeds and settings are random, against least squares and textbook t."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.stats.estimates import flipped_signs, paired_mean, paired_shares, unpaired_mean
from analysis.stats.random_effects import crossed, layout_of

RNG = np.random.default_rng(7)


def frame(values, kept=None):
    """A row for each setting (row of values) and seed (column) that is kept."""
    setting, seed = np.nonzero(np.ones(values.shape, bool) if kept is None else kept)
    return pd.DataFrame({"cell": setting, "setting": setting, "seed": seed, "value": values[setting, seed]})


def test_of_a_whole_grid_it_is_t_over_seeds():
    values = RNG.standard_normal((5, 4))
    expected = stats.ttest_1samp(values.mean(axis=0), 0)
    found = paired_mean(frame(values), 4).estimate
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.p == pytest.approx(expected.pvalue)


def test_with_pairs_missing_the_mean_is_that_of_least_squares():
    values, kept = RNG.standard_normal((4, 5)), RNG.random((4, 5)) < 0.7
    rows = frame(values, kept)
    design = np.column_stack([np.eye(4)[rows["setting"]], np.eye(5)[rows["seed"]]])
    fitted = np.linalg.lstsq(design, rows["value"], rcond=None)[0]
    assert crossed(layout_of(rows), rows["value"].to_numpy()).mean == pytest.approx(
        fitted[:4].mean() + fitted[4:].mean()
    )


def test_the_variance_is_right_on_average_whatever_is_missing():
    kept = np.ones((4, 5), bool)
    kept[[0, 1, 1, 2, 3], [0, 0, 4, 2, 3]] = False
    ran = layout_of(frame(np.zeros((4, 5)), kept))
    found = []
    for _ in range(4000):
        values = 0.7 * RNG.standard_normal(5) + RNG.standard_normal((4, 5))
        found.append(crossed(ran, values[kept]))
    assert np.mean([each.variance for each in found]) == pytest.approx(np.var([each.mean for each in found]), rel=0.1)


def test_other_settings_are_less_certain_where_settings_differ():
    noise = RNG.standard_normal((8, 5))
    alike, apart = noise, noise + 5 * np.arange(8)[:, None]
    for values, bound in ((alike, 4.0), (apart, np.inf)):
        rows = frame(values)
        found = crossed(layout_of(rows), rows["value"].to_numpy())
        assert found.variance <= found.general()[0] < bound * max(found.variance, 0.05)
    assert found.general()[0] == pytest.approx(found.variance + 25 * np.var(np.arange(8), ddof=1) / 8, rel=0.2)


def test_one_seed_left_of_several_gives_no_interval():
    assert np.isnan(paired_mean(frame(RNG.standard_normal((5, 1))), 3).estimate.low)


def test_with_one_seed_settings_are_what_varies():
    values = RNG.standard_normal((6, 1))
    found = paired_mean(frame(values), 1)
    assert found.unit == "settings"
    assert found.estimate.p == pytest.approx(stats.ttest_1samp(values[:, 0], 0).pvalue)
    assert found.population == "in settings like these 6, at one seed"


def test_seeds_that_are_not_recorded_are_said_to_be_so():
    rows = frame(RNG.standard_normal((6, 1))).assign(seed="")
    assert paired_mean(rows, 1).population == "in settings like these 6, seeds not recorded"


def shares(a, b):
    rows = frame(np.asarray(a, float))
    return rows.assign(a=rows["value"], b=frame(np.asarray(b, float))["value"]).drop(columns="value")


def test_sign_flips_of_pairs_are_mcnemars_test():
    values = np.array([1.0, 1, 1, 1, 1, -1, 0, 0])
    assert flipped_signs(values)[0] == pytest.approx(stats.binomtest(5, 6).pvalue)


def test_fewer_than_six_settings_speak_of_themselves_only():
    a, b = RNG.random((2, 8)) < 0.8, RNG.random((2, 8)) < 0.2
    found = paired_shares(shares(a, b), 8)
    assert (found.unit, found.population) == ("seeds", "in these 2 settings")
    a, b = RNG.random((6, 8)) < 0.8, RNG.random((6, 8)) < 0.2
    found = paired_shares(shares(a, b), 8)
    assert (found.unit, found.population) == ("settings", "in settings like these 6")


def test_shares_that_never_differ_still_have_an_interval():
    found = paired_shares(shares(np.zeros((8, 3)), np.zeros((8, 3))), 3).estimate
    assert (found.value, found.p) == (0, 1)
    assert -0.5 < found.low < -0.2
    assert found.high == pytest.approx(-found.low)


def test_luck_of_a_seed_is_in_the_interval_of_a_random_search():
    """Levels are alike but for a seed's luck, which many configurations cannot average out."""
    luck, held = 0.02, []
    for _ in range(200):
        sides = []
        for place in range(2):
            of_seed = luck * RNG.standard_normal(3)
            values = 0.001 * RNG.standard_normal((20, 3)) + of_seed
            sides.append(frame(values).assign(cell=lambda rows, place=place: rows["setting"] + 100 * place))
        found = unpaired_mean(*sides).estimate
        held.append(found.low <= 0 <= found.high)
    assert np.mean(held) > 0.9
