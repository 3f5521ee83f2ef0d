"""Two levels of an axis compared, as a row of comparisons.COLUMNS: in the metric, and in divergence. Pure."""

from math import nan

import numpy as np
import pandas as pd

from analysis.load.contract import BROKEN
from analysis.load.factors import Factor, levels
from analysis.stats import intervals
from analysis.stats.designs import Design
from analysis.stats.estimates import (
    Judged,
    entries,
    num_trials_more,
    paired_mean,
    paired_shares,
    unpaired_mean,
    unpaired_shares,
)
from analysis.stats.outcomes import divergence_known
from analysis.stats.pairing import (
    FEWEST_PAIRS,
    Sides,
)
from analysis.stats.reached import Reached, paired_values, unpaired_values

FEWEST_TRIALS = 3  # a level, unpaired
FEWEST_BROKEN, FEWEST_STARTED = 5, 20  # runs, and pairs or trials; of fewer no interval as started holds


def metric_row(
    trials: pd.DataFrame, reached: Reached, sides: Sides, metric: str, design: Design, factors: list[Factor]
) -> dict:
    """A row of COLUMNS: the difference of two levels in the metric, over pairs where enough trials pair."""
    row = start_row(trials, metric, sides, design)
    judge = paired_row if sides.is_paired else unpaired_row
    return row | judge(trials, reached, sides, factors)


def start_row(trials: pd.DataFrame, what: str, sides: Sides, design: Design) -> dict:
    """What a row of COLUMNS has before anything is estimated: names, counts of trials by side, of those that broke
    (BROKEN) and of those of which it is not known."""
    row = {"what": what, "axis": sides.axis, "level_a": sides.a, "level_b": sides.b, "kind": design.word}
    row |= {"is_interaction": False, "is_paired": sides.is_paired, "reason": "", "agree": None}
    for side, own in (("a", sides.all_a), ("b", sides.all_b)):
        ends = trials["outcome"][own["place"]]
        row |= {f"num_{side}": len(own), f"num_broken_{side}": int(ends.isin(BROKEN).sum())}
        row |= {f"num_unknown_{side}": int((~divergence_known(trials.loc[own["place"]])).sum())}
    return row


def paired_row(trials: pd.DataFrame, reached: Reached, sides: Sides, factors: list[Factor]) -> dict:
    """The two estimates over pairs, as columns of COLUMNS; a reason in their place where too few pairs finished."""
    finished, started = paired_values(trials, reached, sides.pairs)
    whole = len(sides.pairs.drop_duplicates(["setting", "seed"]))
    found, all_of = (entries(each.assign(value=each["value_a"] - each["value_b"])) for each in (finished, started))
    more = {"num_pairs": len(found), "num_left_out": whole - len(found), "num_seeds": num_seeds(found)}
    more |= {"num_settings": found["cell"].nunique()}
    as_started = {}
    num_broken = int(trials["outcome"][pd.unique(started[["a", "b"]].to_numpy().ravel())].isin(BROKEN).sum())
    if num_broken and len(all_of) >= FEWEST_PAIRS:
        judged = paired_mean(all_of, sides.num_seeds)
        as_started = started_numbers(judged, all_of["value_a"], all_of["value_b"], num_broken, len(all_of))
    if len(found) < FEWEST_PAIRS:
        return more | as_started | {"reason": f"both runs finished in fewer than {FEWEST_PAIRS} pairs"}
    more |= {"only_where": only_where(trials, factors, finished["a"], sides.pairs["a"])}
    more |= {"first_epoch": found["epoch"].min(), "last_epoch": found["epoch"].max()}
    more |= values_of(found["value_a"], found["value_b"])
    more |= {"probability_a_better": better_in_pairs(found["value"], reached.mode)}
    more |= numbers_of(paired_mean(found, sides.num_seeds))
    return more | as_started | {"agree": agreement(more, as_started)}


def unpaired_row(trials: pd.DataFrame, reached: Reached, sides: Sides, factors: list[Factor]) -> dict:
    """The two estimates over trials; the weaker of both is tested, since those that finished are not alike."""
    both = {"a": sides.all_a.assign(cell=sides.all_a["setting"]), "b": sides.all_b.assign(cell=sides.all_b["setting"])}
    values = unpaired_values(trials, reached, both)
    a, b = (values["finished"][values["finished"]["side"] == side] for side in "ab")
    row = {"is_paired": False, "num_left_out": len(sides.all_a) + len(sides.all_b) - len(a) - len(b)}
    if min(len(a), len(b)) < FEWEST_TRIALS:
        reason = f"fewer than {FEWEST_PAIRS} pairs, and fewer than {FEWEST_TRIALS} measured trials a level"
        return row | {"reason": reason, "num_a": len(a), "num_b": len(b)}
    judged = unpaired_mean(a, b)
    row |= numbers_of(judged) | trials_more(judged, a, b)
    row |= {"first_epoch": a["epoch"].min(), "last_epoch": a["epoch"].max(), "num_a": len(a), "num_b": len(b)}
    row |= values_of(a["value"], b["value"]) | {"num_seeds": num_seeds(pd.concat([a, b]))}
    row |= {"probability_a_better": better_of_all(a["value"].to_numpy(), b["value"].to_numpy(), reached.mode)}
    num_broken = int(trials["outcome"][values["started"]["place"]].isin(BROKEN).sum())
    if not num_broken:
        return row
    all_a, all_b = (values["started"][values["started"]["side"] == side] for side in "ab")
    judged, num = unpaired_mean(all_a, all_b), len(all_a) + len(all_b)
    as_started = started_numbers(judged, all_a["value"], all_b["value"], num_broken, num)
    row |= as_started | {"agree": agreement(row, as_started)}
    return row | {"p": float(np.fmax(row["p"], as_started["started_p"])) if np.isfinite(row["p"]) else nan}


def num_seeds(ran: pd.DataFrame) -> int:
    """How many different seeds the rows have, by their column seed; 0 where none is recorded (seed "")."""
    return ran["seed"][ran["seed"] != ""].nunique()


def trials_more(judged: Judged, a: pd.DataFrame, b: pd.DataFrame) -> dict:
    """How many trials more the difference needs, of both levels; a and b: a row a trial that was measured."""
    return {"num_units_more": num_trials_more(judged.estimate, len(a), len(b)), "unit": "trials"}


def started_numbers(judged: Judged, a: pd.Series, b: pd.Series, num_broken: int, num: int) -> dict:
    """The estimate as started; its interval only where enough broke among enough."""
    estimate, is_enough = judged.estimate, num_broken >= FEWEST_BROKEN and num >= FEWEST_STARTED
    low, high = (estimate.low, estimate.high) if is_enough else (nan, nan)
    numbers = {"difference": estimate.value, "low": low, "high": high, "p": estimate.p}
    return {f"started_{name}": value for name, value in (numbers | values_of(a, b)).items()}


def values_of(a: pd.Series, b: pd.Series) -> dict:
    """Means of the two sides."""
    return {"value_a": float(a.mean()), "value_b": float(b.mean())}


def agreement(row: dict, as_started: dict) -> bool | None:
    """Whether both estimates point the same way; None where there is one."""
    return bool(row["difference"] * as_started["started_difference"] >= 0) if as_started else None


def only_where(trials: pd.DataFrame, factors: list[Factor], kept: pd.Series, paired: pd.Series) -> str:
    """What all pairs that are left have in common, and not all pairs had: "amp=false". Empty where nothing."""
    found = []
    for factor in (each for each in factors if each.kind == "choice"):
        level = levels(trials, factor)
        if level[kept].nunique(dropna=False) == 1 and level[paired].nunique() > 1:
            found.append(f"{factor.name}={level[kept].iloc[0]}")
    return ", ".join(found)


def numbers_of(judged: Judged) -> dict:
    """The estimate's columns; num_units_more: how many more units in all would show the difference, were it true."""
    estimate = judged.estimate
    needed = intervals.num_units_needed(estimate)
    is_open = not (estimate.low > 0 or estimate.high < 0)
    no_interval = "too few independent values, or no spread among them" if np.isnan(estimate.low) else ""
    return {
        "difference": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "p": estimate.p,
        "p_least": estimate.p_least,
        "num_units": estimate.num_units,
        "num_units_more": max(0, needed - estimate.num_units) if needed is not None and is_open else nan,
        "unit": judged.unit,
        "population": judged.population,
        "method": estimate.method,
        "reason": no_interval or judged.note,
    }


def better_in_pairs(differences: pd.Series, mode: str) -> float:
    """Share of pairs in which a is better, a tie counting half (Agarwal et al. 2021)."""
    gained = differences if mode == "max" else -differences
    return float(((gained > 0) + 0.5 * (gained == 0)).mean())


def better_of_all(a: np.ndarray, b: np.ndarray, mode: str) -> float:
    """The same over all pairs of one of a [n] with one of b [m] (Mann-Whitney)."""
    a, b = (a, b) if mode == "max" else (-a, -b)
    ordered = np.sort(b)
    below, upto = np.searchsorted(ordered, a, "left"), np.searchsorted(ordered, a, "right")
    return float((below + upto).mean() / (2 * len(b)))


def divergence_row(trials: pd.DataFrame, sides: Sides, design: Design) -> dict:
    """The share of trials that diverged or froze, of those whose end is known.

    Where trials were pruned it is too low by what pruning took away.
    """
    row = start_row(trials, "divergence", sides, design)
    bad, known = trials["outcome"].isin(BROKEN), divergence_known(trials)
    if sides.is_paired:
        pairs = sides.pairs
        is_known = known[pairs["a"]].to_numpy() & known[pairs["b"]].to_numpy()
        found = pairs[is_known].assign(**{side: bad[pairs[side][is_known]].to_numpy(float) for side in "ab"})
        found = entries(found)
        row |= {"num_pairs": len(found), "num_seeds": num_seeds(found), "num_settings": found["cell"].nunique()}
        row |= {"num_left_out": len(pairs.drop_duplicates(["setting", "seed"])) - len(found)}
        if len(found) < FEWEST_PAIRS:
            return row | {"reason": f"the end of both runs is known in fewer than {FEWEST_PAIRS} pairs"}
        judged = paired_shares(found, sides.num_seeds)
        return row | dict(zip(("value_a", "value_b"), judged.values, strict=True)) | numbers_of(judged)
    a, b = (own.assign(cell=own["setting"])[known[own["place"]].to_numpy()] for own in (sides.all_a, sides.all_b))
    a, b = (own.assign(value=bad[own["place"]].to_numpy(float)) for own in (a, b))
    row |= {"num_left_out": len(sides.all_a) + len(sides.all_b) - len(a) - len(b)}
    if not len(a) or not len(b):
        return row | {"reason": "no trial of a level has a known end"}
    judged = unpaired_shares(a, b)
    more = {} if judged.unit == "trials" else trials_more(judged, a, b)
    return row | values_of(a["value"], b["value"]) | numbers_of(judged) | more
