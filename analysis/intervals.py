"""Estimates with their 95 % intervals and p values, from arrays. Too few values give no interval, never a false one.

Few values get t intervals: a percentile bootstrap of 3 to 10 differences covers too seldom (benchmarks/coverage.py).
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
POWER = 0.8
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
    half = stats.t.ppf(0.5 + LEVEL / 2, df) * standard_error
    p = 2 * stats.t.sf(abs(mean) / standard_error, df)
    deviation = standard_error * math.sqrt(num_units)
    return Estimate(mean, mean - half, mean + half, float(p), df, num_units, deviation, method)


def mean_estimate(values: np.ndarray, method: str = "t") -> Estimate:
    """Mean of independent values [n]; n < 2 gives no interval."""
    num = len(values)
    if num == 0:
        return NOTHING
    error = float(np.std(values, ddof=1)) / math.sqrt(num) if num > 1 else math.nan
    return t_estimate(float(np.mean(values)), error, num - 1, num, method)


def difference_estimate(a: np.ndarray, b: np.ndarray) -> Estimate:
    """Mean of a less mean of b, unpaired, unequal variances (Welch 1947, Biometrika 34)."""
    if len(a) < 2 or len(b) < 2:
        return NOTHING
    parts = [float(np.var(values, ddof=1)) / len(values) for values in (a, b)]
    total = sum(parts)
    spread = sum(part**2 / (len(values) - 1) for part, values in zip(parts, (a, b), strict=True))
    df = total**2 / spread if spread > 0 else 0
    mean = float(np.mean(a) - np.mean(b))
    return t_estimate(mean, math.sqrt(total), df, min(len(a), len(b)), "Welch's t over trials")


def studentised_bootstrap(values: np.ndarray, rng: np.random.Generator, num_resamples: int = 2000) -> Estimate:
    """Bootstrap-t interval of a mean [n] (Efron and Tibshirani 1993, chapter 12); for 10 values or more."""
    num = len(values)
    if num < 3 or np.ptp(values) == 0:
        return mean_estimate(values, "bootstrap-t")
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(num)
    drawn = values[rng.integers(num, size=(num_resamples, num))]
    errors = np.std(drawn, axis=1, ddof=1) / math.sqrt(num)
    usable = errors > 0
    roots = (drawn.mean(axis=1)[usable] - mean) / errors[usable]
    least, most = np.quantile(roots, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    p = min(1.0, 2 * min(np.mean(roots >= mean / error), np.mean(roots <= mean / error)))
    return Estimate(mean, mean - most * error, mean - least * error, p, num - 1, num, error * num**0.5, "bootstrap-t")


def interquartile_mean(values: np.ndarray) -> float:
    """Mean of the middle half (Agarwal et al. 2021, arXiv 2108.13264); nan of nothing."""
    return float(stats.trim_mean(values, 0.25)) if len(values) else math.nan


def interquartile_mean_interval(
    values: np.ndarray, strata: np.ndarray, rng: np.random.Generator, num_resamples: int = 2000
) -> tuple[float, float]:
    """Percentile interval of the interquartile mean, resampled within strata [n]; for 20 values or more, else nan."""
    if len(values) < 20:
        return math.nan, math.nan
    drawn = np.empty((num_resamples, len(values)))
    for stratum in np.unique(strata):
        place = np.flatnonzero(strata == stratum)
        drawn[:, place] = values[place[rng.integers(len(place), size=(num_resamples, len(place)))]]
    found = stats.trim_mean(drawn, 0.25, axis=1)
    low, high = np.quantile(found, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(low), float(high)


def share_interval(number: int, total: int) -> tuple[float, float]:
    """Of a share (Wilson 1927); 0 to 1 where nothing was counted."""
    if total == 0:
        return 0.0, 1.0
    found = stats.binomtest(number, total).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def share_difference(a: int, num_a: int, b: int, num_b: int) -> Estimate:
    """Share of a less share of b, independent: Newcombe's hybrid score interval (1998, method 10), Fisher's exact p."""
    if not num_a or not num_b:
        return NOTHING
    p_a, p_b = a / num_a, b / num_b
    (low_a, high_a), (low_b, high_b) = share_interval(a, num_a), share_interval(b, num_b)
    value = p_a - p_b
    low = value - math.hypot(p_a - low_a, high_b - p_b)
    high = value + math.hypot(high_a - p_a, p_b - low_b)
    p = fisher(a, num_a, b, num_b)
    most_a, most_b = min(a + b, num_a), min(a + b, num_b)
    least = min(fisher(most_a, num_a, a + b - most_a, num_b), fisher(a + b - most_b, num_a, most_b, num_b))
    name = "Newcombe, Fisher's exact p"
    return Estimate(value, low, high, p, math.inf, min(num_a, num_b), math.nan, name, least)


def fisher(a: int, num_a: int, b: int, num_b: int) -> float:
    """Two-sided p of Fisher's exact test."""
    return float(stats.fisher_exact([[a, num_a - a], [b, num_b - b]]).pvalue)


def paired_share_difference(only_a: int, only_b: int, num_pairs: int) -> Estimate:
    """Share of a less share of b over pairs, from the discordant ones: Agresti and Min (2005), exact McNemar p."""
    if not num_pairs:
        return NOTHING
    total, a, b = num_pairs + 2, only_a + 0.5, only_b + 0.5
    middle = (a - b) / total
    half = NORMAL_QUANTILE * math.sqrt((a + b) - (a - b) ** 2 / total) / total
    discordant = only_a + only_b
    p = float(stats.binomtest(only_a, discordant).pvalue) if discordant else 1.0
    value = (only_a - only_b) / num_pairs
    low, high = max(-1.0, middle - half), min(1.0, middle + half)
    least = min(1.0, 2 * 0.5**discordant)
    return Estimate(value, low, high, p, math.inf, num_pairs, math.nan, "Agresti-Min, exact McNemar p", least)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down correction (1979) of p values [n]; nan stays, and does not count into the family."""
    corrected = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * (len(order) - np.arange(len(order)))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(order) else steps
    return corrected


def num_units_needed(estimate: Estimate) -> int | None:
    """Units a t interval needs to leave out 0 with POWER, were the true value the one seen; None if unknown."""
    if not (estimate.standard_deviation > 0) or estimate.value == 0 or math.isnan(estimate.value):
        return None
    ratio = estimate.standard_deviation / abs(estimate.value)
    if not math.isfinite(ratio):
        return None
    num = 2
    while num < 100_000:
        df = num - 1
        needed = ((stats.t.ppf(0.5 + LEVEL / 2, df) + stats.t.ppf(POWER, df)) * ratio) ** 2
        if num >= needed:
            return num
        num = max(num + 1, min(math.ceil(needed), num * 2))
    return None
