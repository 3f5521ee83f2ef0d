"""A difference of two levels with its interval, from paired or unpaired values: what is independent, and for whom.

The metric, in pairs: seeds are random, the settings are those that ran; a p value also has to hold against how much
the difference varies from setting to setting. Divergence, in pairs: many settings diverge under every seed or under
none, so settings are what is independent; of fewer than FEWEST_SETTINGS it says only what other seeds do in these.
Without pairs: settings were drawn, and each was run under all seeds.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from analysis.stats import intervals
from analysis.stats.intervals import Estimate
from analysis.stats.random_effects import Crossed, Layout, crossed, layout, layout_of, seed_effects

FEWEST_SETTINGS = 6  # whose signs, flipped in all ways, can have a p below 0.05
NUM_FLIPS = 9999
MOST_AT_ONCE = 10**6  # numbers, of the samples that are drawn
ROUNDING = 1e-9  # of a value: a spread below it is none
VARIES = "significant in these settings on average, but the difference varies too much from one setting to another"


@dataclass(frozen=True)
class Judged:
    """An estimate of a difference, with what it counts as independent and in which settings it holds."""

    estimate: Estimate
    unit: str  # what counts as independent: seeds, settings, pairs, trials
    population: str  # where the difference holds
    note: str = ""
    values: tuple[float, float] | None = None  # of the levels, where their difference is the estimate's value


def entries(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a cell, setting and seed: of what was run more than once the mean of each column of numbers."""
    keys = ["cell", "setting", "seed"]
    if not frame.duplicated(keys).any():
        return frame
    return frame.groupby(keys, sort=False, as_index=False).mean(numeric_only=True)


def paired_mean(frame: pd.DataFrame, num_seeds: int) -> Judged:
    """The mean of column value, a row a cell, setting and seed; num_seeds: planned, whatever is left of them."""
    found = crossed(layout_of(frame), frame["value"].to_numpy(float))
    by_seed = num_seeds > 1
    variance = found.variance if found.num_seeds > 1 or not by_seed else math.nan  # one seed is left: no spread of them
    name = "seeds" if by_seed else "settings"
    error = spread_or_none(variance, frame["value"])
    is_whole = len(frame) == found.num_settings * found.num_seeds
    method = f"t over {name}{'' if is_whole else ', with pairs missing (Satterthwaite)'}"
    units = found.num_seeds if by_seed else found.num_cells
    estimate = intervals.t_estimate(found.mean, error, found.df, units, method)
    where = population(found.num_cells, frame["seed"], num_seeds, is_general=not by_seed)
    p = p_between_settings(found) if by_seed and not math.isnan(estimate.p) else 0.0
    note = VARIES if estimate.p < 1 - intervals.LEVEL <= p else ""
    return Judged(replace(estimate, p=max(p, estimate.p)) if p else estimate, name, where, note)


def p_between_settings(found: Crossed) -> float:
    """p that the mean is 0 in settings like these, from FEWEST_SETTINGS on; else 0: nothing is asked of it."""
    if found.num_cells < FEWEST_SETTINGS:
        return 0.0
    total, df = found.general()
    if not total > 0:
        return 1.0
    return float(2 * stats.t.sf(abs(found.mean) / math.sqrt(total), df))


def spread_or_none(variance: float, values: pd.Series) -> float:
    """The standard error; nan where it is no more than rounding."""
    error = math.sqrt(variance) if variance > 0 else math.nan
    return error if error > ROUNDING * float(values.abs().max()) else math.nan


def population(num_cells: int, seed: pd.Series, num_seeds: int, *, is_general: bool) -> str:
    """In which settings, and under which seeds, the difference is what was estimated."""
    these = "this setting" if num_cells == 1 else f"these {num_cells} settings"
    if is_general and num_cells > 1:
        these = f"settings like these {num_cells}"
    return f"in {these}{'' if num_seeds > 1 else of_seed(seed)}"


def of_seed(seed: pd.Series) -> str:
    return ", seeds not recorded" if seed.eq("").all() else ", at one seed"


def paired_shares(frame: pd.DataFrame, num_seeds: int) -> Judged:
    """Share of column a less share of column b (0 to 1), a row a cell, setting and seed: t over units, p by flips of
    their signs.

    Where all units are alike there is no spread: then Newcombe's interval for as many pairs as there are units.
    """
    ran, a, b = layout_of(frame), frame["a"].to_numpy(float), frame["b"].to_numpy(float)
    by_setting = ran.num_cells >= FEWEST_SETTINGS or num_seeds < 2
    name = "settings" if by_setting else "seeds"
    of_units, error, df = units_of(ran, a - b, by_setting=by_setting)
    num, values = len(of_units), (float(ran.weight @ a), float(ran.weight @ b))  # each setting counts alike
    value = values[0] - values[1]
    exact = "exact McNemar p" if num == len(frame) else "p by sign flips"
    method = f"t over {name}, {exact}"
    p, least = mcnemars_test(a, b) if num == len(frame) else flipped_signs(of_units)
    if num > 1 and error > ROUNDING:
        estimate = intervals.t_estimate(value, error, df, num, method)
        low, high = max(-1.0, estimate.low), min(1.0, estimate.high)
        estimate = replace(estimate, low=low, high=high, p=p, p_least=least)
    else:
        both = float(ran.weight @ (a * b))
        table = (both, values[0] - both, values[1] - both, 1 - sum(values) + both)
        low, high = intervals.paired_share_interval(*(num * max(each, 0.0) for each in table))
        method = f"Newcombe for {num} pairs ({name}), {exact}"
        estimate = Estimate(value, low, high, p, math.inf, num, math.nan, method, least)
    where = population(ran.num_cells, frame["seed"], num_seeds, is_general=by_setting)
    return Judged(estimate, name, where, values=values)


def units_of(ran: Layout, value: np.ndarray, *, by_setting: bool) -> tuple[np.ndarray, float, float]:
    """Each unit's part in the mean of differences [units], the standard error of the mean and its degrees of freedom.

    value: the differences [n], as they stand in `ran`; a unit is a setting (a cell of `ran`), or else a seed.
    """
    of_units = np.bincount(ran.cell_of[ran.setting] if by_setting else ran.seed, ran.weight * value)
    if by_setting:
        num = len(of_units)
        return of_units, math.sqrt(num * float(of_units.var(ddof=1))) if num > 1 else math.nan, num - 1
    found = crossed(ran, value)
    return of_units, math.sqrt(max(found.variance, 0.0)), found.df


def mcnemars_test(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """McNemar's exact p, and the least p that it can give, of independent pairs a [n], b [n] of 0 and 1.

    The same as flipped_signs of their differences, exact for any number of them.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    only_a, only_b = int(np.sum(a > b)), int(np.sum(b > a))
    p = float(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue)
    return p, min(1.0, 2 * 0.5 ** (only_a + only_b))


def flipped_signs(values: np.ndarray) -> tuple[float, float]:
    """Two-sided p that independent values [n] are as likely of either sign (all flips, or 9,999), and the least p."""
    values = values[np.abs(values) > ROUNDING]
    if len(values) < 2:
        return 1.0, 1.0
    found = stats.permutation_test(
        (values,),
        np.sum,
        permutation_type="samples",
        n_resamples=NUM_FLIPS,
        batch=max(1, MOST_AT_ONCE // len(values)),
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue), 2 * 0.5 ** len(values)


def unpaired_mean(a: pd.DataFrame, b: pd.DataFrame) -> Judged:
    """Mean of a less mean of b; frames with columns cell (a configuration), seed and value, a row a trial.

    The seeds of a configuration are not independent trials, and a seed is the same for all configurations.
    """
    (a, b), unit, where = independent(a, b)
    means = [side.groupby("cell", sort=False)["value"].mean().to_numpy() for side in (a, b)]
    if min(map(len, means)) < 2:  # how much configurations of that level differ is not known
        return Judged(replace(intervals.NOTHING, value=float(means[0].mean() - means[1].mean())), unit, where)
    seeds = {seed: place for place, seed in enumerate(sorted(set(a["seed"]) & set(b["seed"])))}
    if unit == "trials" or len(seeds) < 2:
        return Judged(intervals.difference_estimate(*means), unit, where)
    sides = []
    for side in (side[side["seed"].isin(seeds)] for side in (a, b)):
        cell = pd.factorize(side["cell"])[0]
        ran = layout(cell, cell, side["seed"].map(seeds).to_numpy())
        sides += [ran, side["value"].to_numpy(float)]
    mean, variance, df = clustered(*sides)
    error = spread_or_none(variance, pd.concat([a, b])["value"])
    units, method = min(len(each) for each in means), "t over configurations and seeds (Satterthwaite)"
    return Judged(intervals.t_estimate(mean, error, df, units, method), unit, where)


def clustered(ran_a: Layout, a: np.ndarray, ran_b: Layout, b: np.ndarray) -> tuple[float, float, float]:
    """Mean of a [n] less mean of b [m], its variance and degrees of freedom: configurations of each level by
    themselves, and under seeds that are the same for both (and have the same numbers)."""
    found = [crossed(ran_a, a), crossed(ran_b, b)]
    apart = seed_effects(ran_a, a) - seed_effects(ran_b, b)
    by_seed = float(apart.var(ddof=1)) / len(apart)
    variance = by_seed + sum(each.between for each in found)
    parts = by_seed**2 / (len(apart) - 1) + sum(each.between_parts for each in found)
    return found[0].mean - found[1].mean, variance, max(1.0, variance**2 / parts) if parts > 0 else 0.0


def independent(a: pd.DataFrame, b: pd.DataFrame) -> tuple[list[pd.DataFrame], str, str]:
    """The frames with one row a configuration (cell) and seed, what is independent in them, and where this holds.

    a, b: columns cell, seed and value, a row a trial. Trials whose seed is not recorded are each by themselves; where
    both are of the same configuration, and of no other, the seeds are independent.
    """
    sides = [
        entries(
            side.assign(cell=side["cell"].where(side["seed"] != "", -1 - np.arange(len(side))), setting=side["cell"])
        )
        for side in (a, b)
    ]
    if pd.concat(sides)["cell"].nunique() < 2:
        alone = [side.assign(cell=np.arange(len(side))) for side in sides]
        seed = pd.concat(sides)["seed"]
        return alone, "trials", f"in this setting{'' if seed.nunique() > 1 else of_seed(seed)}"
    seed = pd.concat(sides)["seed"]
    where = f"in settings drawn like these{'' if seed.nunique() > 1 else of_seed(seed)}"
    is_each = all(len(side) == side["cell"].nunique() for side in sides)
    return sides, "trials" if is_each else "configurations", where


def unpaired_shares(a: pd.DataFrame, b: pd.DataFrame) -> Judged:
    """Share of a less share of b, frames with columns cell, seed and value (0 or 1), a row a trial.

    Newcombe's interval and Fisher's p of trials, or t of configurations under several seeds each, with p by permuting
    them (and t's, which knows of a seed's luck with a level).
    """
    sides, unit, where = independent(a, b)
    shares = [side.groupby("cell", sort=False)["value"].mean().to_numpy() for side in sides]
    numbers, some = [len(side) for side in shares], [int((side > 0).sum()) for side in shares]
    of_some = intervals.share_difference(some[0], numbers[0], some[1], numbers[1])
    if all(np.isin(side, (0, 1)).all() for side in shares):  # a trial each, or all seeds alike
        return Judged(of_some, unit, where)
    if min(numbers) < 2:  # one configuration ran several times under one seed: how much its share varies is not known
        return Judged(replace(intervals.NOTHING, value=float(shares[0].mean() - shares[1].mean())), unit, where)
    found = unpaired_mean(a, b).estimate
    p = stats.permutation_test(
        shares,
        lambda one, other, axis: one.mean(axis=axis) - other.mean(axis=axis),
        vectorized=True,
        n_resamples=NUM_FLIPS,
        batch=max(1, MOST_AT_ONCE // sum(numbers)),
        rng=np.random.default_rng(0),
    ).pvalue
    low, high = max(-1.0, found.low), min(1.0, found.high)
    method = "t over configurations and seeds, p by permutation or t's if that is larger"
    return Judged(
        replace(found, low=low, high=high, p=float(np.fmax(p, found.p)), p_least=of_some.p_least, method=method),
        unit,
        where,
    )


def num_trials_more(estimate: Estimate, num_a: int, num_b: int) -> float:
    """How many more trials, in all, would show the difference with intervals.POWER, were it true and halved evenly.

    nan where the interval leaves out 0 already, or no number would do.
    """
    from statsmodels.stats.power import TTestIndPower

    if not (estimate.low <= 0 <= estimate.high) or not estimate.value:
        return math.nan
    error = (estimate.high - estimate.low) / 2 / float(stats.t.ppf(0.5 + intervals.LEVEL / 2, estimate.df))
    effect = abs(estimate.value) / (error / math.sqrt(1 / num_a + 1 / num_b))
    sizes, power = range(2, intervals.MOST_UNITS + 1), TTestIndPower().power
    half = (1 - intervals.LEVEL) / 2
    place = bisect_left(sizes, intervals.POWER, key=lambda num: float(power(effect, num, half, alternative="larger")))
    return max(0, 2 * sizes[place] - num_a - num_b) if place < len(sizes) else math.nan
