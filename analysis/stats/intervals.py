"""Estimates with their 95 % intervals and p values, from arrays. Too few values give no interval, never a false one.

Few values get t intervals: a percentile bootstrap of 3 to 10 differences covers too seldom (benchmarks/coverage.py).
statsmodels is imported where it is used: that takes more than half a second, and most of `--help` needs none of it.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
POWER = 0.8
MOST_UNITS = 100_000  # more than that is not worth saying
NORMAL_QUANTILE = float(stats.norm.ppf(0.5 + LEVEL / 2))


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; nan where the data do not give one."""

    value: float
    low: float
    high: float
    p: float  # two-sided, of the hypothesis that the true value is 0
    df: float  # degrees of freedom
    num_units: int  # what the interval counts as independent
    standard_deviation: float  # of one unit
    method: str
    p_least: float = 0.0  # the least p that an exact test can give at these counts


NOTHING = Estimate(math.nan, math.nan, math.nan, math.nan, 0, 0, math.nan, "none")


def t_estimate(mean: float, standard_error: float, df: float, num_units: int, method: str) -> Estimate:
    """Student's t (1908) around a mean. No interval without degrees of freedom, or without any spread."""
    if df < 1 or not standard_error > 0:
        return Estimate(mean, math.nan, math.nan, math.nan, df, num_units, math.nan, method)
    low, high = stats.t.interval(LEVEL, df, mean, standard_error)
    p = 2 * stats.t.sf(abs(mean) / standard_error, df)
    deviation = standard_error * math.sqrt(num_units)
    return Estimate(mean, float(low), float(high), float(p), df, num_units, deviation, method)


def difference_estimate(a: np.ndarray, b: np.ndarray) -> Estimate:
    """Mean of a [n] less mean of b [m], unpaired, unequal variances (Welch 1947, Biometrika 34)."""
    if len(a) < 2 or len(b) < 2:
        return NOTHING
    errors = float(stats.sem(a)), float(stats.sem(b))
    spread = sum(error**4 / (len(values) - 1) for error, values in zip(errors, (a, b), strict=True))
    df = math.hypot(*errors) ** 4 / spread if spread > 0 else 0
    mean = float(np.mean(a) - np.mean(b))
    return t_estimate(mean, math.hypot(*errors), df, min(len(a), len(b)), "Welch's t over trials")


def share_interval(number: float, total: float) -> tuple[float, float]:
    """Of a share (Wilson 1927); 0 to 1 where nothing was counted."""
    from statsmodels.stats.proportion import proportion_confint

    if total == 0:
        return 0.0, 1.0
    low, high = proportion_confint(min(max(number, 0.0), total), total, alpha=1 - LEVEL, method="wilson")
    return float(low), float(high)


def share_difference(a: int, num_a: int, b: int, num_b: int) -> Estimate:
    """Share of a less share of b, independent: Newcombe's hybrid score interval (1998, Stat Med 17:873, method 10),
    Fisher's exact p."""
    from statsmodels.stats.proportion import confint_proportions_2indep

    if not num_a or not num_b:
        return NOTHING
    low, high = confint_proportions_2indep(a, num_a, b, num_b, method="newcomb", compare="diff", alpha=1 - LEVEL)
    p = fisher(a, num_a, b, num_b)
    most_a, most_b = min(a + b, num_a), min(a + b, num_b)
    least = min(fisher(most_a, num_a, a + b - most_a, num_b), fisher(a + b - most_b, num_a, most_b, num_b))
    name, num_units = "Newcombe, Fisher's exact p", min(num_a, num_b)
    return Estimate(a / num_a - b / num_b, float(low), float(high), p, math.inf, num_units, math.nan, name, least)


def fisher(a: int, num_a: int, b: int, num_b: int) -> float:
    """Two-sided p of Fisher's exact test."""
    return float(stats.fisher_exact([[a, num_a - a], [b, num_b - b]]).pvalue)


def paired_share_interval(both: float, only_a: float, only_b: float, neither: float) -> tuple[float, float]:
    """Of a difference of shares over pairs: method 10 of Newcombe (1998, Stat Med 17:2635), from the counts.

    The two Wilson intervals, joined with the correlation of the two sides, which is corrected for continuity.
    (statsmodels 0.15 has none for pairs.) Counts need not be whole: those of dependent pairs are scaled down.
    """
    num_pairs = both + only_a + only_b + neither
    a, b = both + only_a, both + only_b
    share_a, share_b = a / num_pairs, b / num_pairs
    (low_a, high_a), (low_b, high_b) = share_interval(a, num_pairs), share_interval(b, num_pairs)
    phi, value = correlation(both, only_a, only_b, neither), share_a - share_b
    low = value - joined(share_a - low_a, high_b - share_b, phi)
    high = value + joined(high_a - share_a, share_b - low_b, phi)
    return max(-1.0, low), min(1.0, high)


def correlation(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Phi of a 2 x 2 table, a positive one corrected for continuity; 0 where a side is all or none."""
    sides = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if not sides:
        return 0.0
    excess, half = both * neither - only_a * only_b, (both + only_a + only_b + neither) / 2
    return (max(excess - half, 0.0) if excess > 0 else excess) / math.sqrt(sides)


def joined(one: float, other: float, phi: float) -> float:
    """Half a width from two half widths whose values are correlated."""
    return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down correction (1979) of p values [n], as [n]; nan stays, and does not count into the family."""
    from statsmodels.stats.multitest import multipletests

    corrected, known = np.full(len(p), np.nan), ~np.isnan(p)
    if known.any():
        corrected[known] = multipletests(p[known], method="holm")[1]
    return corrected


def num_units_needed(estimate: Estimate) -> int | None:
    """Units a t interval needs to leave out 0 with POWER, were the true value the one seen; None if unknown."""
    from statsmodels.stats.power import TTestPower

    if not (estimate.standard_deviation > 0) or estimate.value == 0 or math.isnan(estimate.value):
        return None
    effect = abs(estimate.value) / estimate.standard_deviation
    sizes, power = range(2, MOST_UNITS + 1), TTestPower().power
    # one-sided: of a large effect statsmodels' two-sided power is nan, and the other tail adds nothing at this power
    place = bisect_left(sizes, POWER, key=lambda num: float(power(effect, num, (1 - LEVEL) / 2, alternative="larger")))
    return sizes[place] if place < len(sizes) else None
