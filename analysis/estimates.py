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

from analysis import intervals
from analysis.intervals import Estimate
from analysis.random_effects import crossed

FEWEST_SETTINGS = 6  # whose signs, flipped in all ways, can have a p below 0.05
NUM_FLIPS = 9999
ROUNDING = 1e-9  # of a value: a spread below it is none
VARIES = "significant in these settings on average, but the difference varies too much from one setting to another"


@dataclass(frozen=True)
class Judged:
    estimate: Estimate
    unit: str  # what counts as independent: seeds, settings, pairs, trials
    population: str  # where the difference holds
    note: str = ""


def entries(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a setting and seed: the mean of what was run more than once."""
    keys = ["cell", "setting", "seed"]
    if not frame.duplicated(keys).any():
        return frame
    return frame.groupby(keys, sort=False, as_index=False).mean(numeric_only=True)


def paired_mean(frame: pd.DataFrame, num_seeds: int) -> Judged:
    """The mean of `value`, a row a setting and seed; num_seeds: that were planned, whatever is left of them."""
    found = crossed(frame)
    by_seed = num_seeds > 1
    variance = found.variance if found.num_seeds > 1 or not by_seed else math.nan  # one seed is left: no spread of them
    name = "seeds" if by_seed else "settings"
    error = spread_or_none(variance, frame["value"])
    is_whole = len(frame) == frame["setting"].nunique() * found.num_seeds
    method = f"t over {name}{'' if is_whole else ', with pairs missing (Satterthwaite)'}"
    units = found.num_seeds if by_seed else found.num_cells
    estimate = intervals.t_estimate(found.mean, error, found.df, units, method)
    where = population(found.num_cells, num_seeds, is_general=not by_seed)
    if not by_seed or found.num_cells < FEWEST_SETTINGS or math.isnan(estimate.p):
        return Judged(estimate, name, where)
    total, df = found.general()
    p = float(2 * stats.t.sf(abs(found.mean) / math.sqrt(total), df))
    note = VARIES if estimate.p < 1 - intervals.LEVEL <= p else ""
    return Judged(replace(estimate, p=max(p, estimate.p)), name, where, note)


def spread_or_none(variance: float, values: pd.Series) -> float:
    """The standard error; nan where it is no more than rounding."""
    error = math.sqrt(variance) if variance > 0 else math.nan
    return error if error > ROUNDING * float(values.abs().max()) else math.nan


def population(num_cells: int, num_seeds: int, *, is_general: bool) -> str:
    """In which settings, and under which seeds, the difference is what was estimated."""
    these = "this setting" if num_cells == 1 else f"these {num_cells} settings"
    if is_general and num_cells > 1:
        these = f"settings like these {num_cells}"
    return f"in {these}{'' if num_seeds > 1 else ', at one seed'}"


def paired_shares(frame: pd.DataFrame, num_seeds: int) -> Judged:
    """Share of `a` less share of `b` (0 to 1), a row a setting and seed: t over units, p by flips of their signs.

    Where all units are alike there is no spread: then Newcombe's interval for as many pairs as there are units.
    """
    frame = frame.assign(value=frame["a"] - frame["b"])
    found = crossed(frame)
    by_setting = found.num_cells >= FEWEST_SETTINGS or num_seeds < 2
    unit, name = ("cell", "settings") if by_setting else ("seed", "seeds")
    share = 1 / frame.groupby("cell")["setting"].transform("nunique") / found.num_cells
    weight = share / frame.groupby("setting")["seed"].transform("size")
    of_units = (weight * frame["value"]).groupby(frame[unit], sort=False).sum().to_numpy()
    num, method = len(of_units), f"t over {name}, p by sign flips"
    p, least = flipped_signs(of_units)
    if by_setting:
        value, error, df = float(of_units.sum()), float(np.std(of_units, ddof=1) * math.sqrt(num)), num - 1
    else:
        value, error, df = found.mean, math.sqrt(max(found.variance, 0.0)), found.df
    if num > 1 and error > ROUNDING:
        estimate = intervals.t_estimate(value, error, df, num, method)
        low, high = max(-1.0, estimate.low), min(1.0, estimate.high)
        estimate = replace(estimate, low=low, high=high, p=p, p_least=least)
    else:
        both, a, b = (float((weight * each).sum()) for each in (frame["a"] * frame["b"], frame["a"], frame["b"]))
        table = (both, a - both, b - both, 1 - a - b + both)
        low, high = intervals.paired_share_interval(*(num * max(each, 0.0) for each in table))
        method = f"Newcombe for {num} pairs ({name}), p by sign flips"
        estimate = Estimate(value, low, high, p, math.inf, num, math.nan, method, least)
    return Judged(estimate, name, population(found.num_cells, num_seeds, is_general=by_setting))


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
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue), 2 * 0.5 ** len(values)


def unpaired_mean(a: pd.DataFrame, b: pd.DataFrame) -> Judged:
    """Mean of a less mean of b; frames with columns cell (a configuration), seed and value.

    The seeds of a configuration are not independent trials, and a seed is the same for all configurations.
    """
    (a, b), unit, where = independent(a, b)
    means = [side.groupby("cell", sort=False)["value"].mean().to_numpy() for side in (a, b)]
    seeds = sorted(set(a["seed"]) & set(b["seed"]))
    if unit == "trials" or len(seeds) < 2:
        return Judged(intervals.difference_estimate(*means), unit, where)
    found = [crossed(side) for side in (a, b)]
    by_seed = seed_variance([a, b], seeds)
    total = by_seed + sum(each.between for each in found)
    parts = by_seed**2 / (len(seeds) - 1) + sum(each.between_parts for each in found)
    df = max(1.0, total**2 / parts) if parts > 0 else 0.0
    error = spread_or_none(total, pd.concat([a, b])["value"])
    units, method = min(each.num_cells for each in found), "t over configurations and seeds (Satterthwaite)"
    return Judged(intervals.t_estimate(found[0].mean - found[1].mean, error, df, units, method), unit, where)


def independent(a: pd.DataFrame, b: pd.DataFrame) -> tuple[list[pd.DataFrame], str, str]:
    """The frames with one row a configuration (cell) and seed, what is independent in them, and where this holds.

    Trials whose seed is not recorded are each by themselves; of a single configuration, the seeds are independent.
    """
    sides = [
        entries(
            side.assign(cell=side["cell"].where(side["seed"] != "", -1 - np.arange(len(side))), setting=side["cell"])
        )
        for side in (a, b)
    ]
    if min(side["cell"].nunique() for side in sides) < 2:
        alone = [side.assign(cell=np.arange(len(side))) for side in sides]
        return alone, "trials", "in this setting"
    several = pd.concat(sides)["seed"].nunique() > 1
    where = f"in settings drawn like these{'' if several else ', at one seed'}"
    is_each = all(len(side) == side["cell"].nunique() for side in sides)
    return sides, "trials" if is_each else "configurations", where


def seed_variance(sides: list[pd.DataFrame], seeds: list) -> float:
    """Of the difference of two means, from how it changes from seed to seed; configurations taken out."""
    effects = []
    for side in sides:
        rest = side["value"] - side.groupby("cell")["value"].transform("mean")
        effects.append(rest.groupby(side["seed"]).mean().reindex(seeds))
    return float((effects[0] - effects[1]).var(ddof=1)) / len(seeds)


def unpaired_shares(a: pd.DataFrame, b: pd.DataFrame) -> Judged:
    """Share of a less share of b (`value` 0 or 1): Newcombe's interval and Fisher's p of trials, or t of configurations
    under several seeds each, with p by permuting them."""
    sides, unit, where = independent(a, b)
    shares = [side.groupby("cell", sort=False)["value"].mean().to_numpy() for side in sides]
    numbers, some = [len(side) for side in shares], [int((side > 0).sum()) for side in shares]
    of_some = intervals.share_difference(some[0], numbers[0], some[1], numbers[1])
    if all(np.isin(side, (0, 1)).all() for side in shares):  # a trial each, or all seeds alike
        return Judged(of_some, unit, where)
    found = unpaired_mean(a, b).estimate
    p = stats.permutation_test(
        shares,
        lambda one, other, axis: one.mean(axis=axis) - other.mean(axis=axis),
        vectorized=True,
        n_resamples=NUM_FLIPS,
        rng=np.random.default_rng(0),
    ).pvalue
    low, high = max(-1.0, found.low), min(1.0, found.high)
    method = "t over configurations and seeds, p by permutation"
    return Judged(replace(found, low=low, high=high, p=float(p), p_least=of_some.p_least, method=method), unit, where)


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
