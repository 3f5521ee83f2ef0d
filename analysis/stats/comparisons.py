"""Frames -> frames: what each level of an axis does to the metric and to divergence, against each other level. Pure.

A pair is two trials equal in every setting that both levels have, and in their seed (pairing.py). Both are compared
with the best they had reached after as many epochs as both measured. Where runs broke a row has two estimates
(scores.py): `difference`, where both runs finished, which is what is tested, and `started_difference`, as started.

Why the first is tested: a pair shows the same setting and seed under both levels, so the pairs that finished under both
are alike on both sides; and how often runs break is tested in a row of its own. As started, one broken run outweighs
fifty differences of Dice, and few broken runs give no interval that holds (benchmarks/coverage.py). It answers which
level to choose, so nothing is `decided` against it: not if it points the other way; and without pairs, where those that
finished are not alike, only if both tests agree.
"""

from collections.abc import Iterator
from itertools import combinations
from math import nan

import numpy as np
import pandas as pd

from analysis.load.contract import BROKEN
from analysis.load.factors import Factor, compared_factors, levels, present_levels
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
    level_pairs,
    numbered,
    settings_table,
    two_sides,
)
from analysis.stats.reached import Reached, paired_values, unpaired_values

MOST_INTERACTIONS = 15
FEWEST_TRIALS = 3  # a level, unpaired
FEWEST_BROKEN, FEWEST_STARTED = 5, 20  # runs, and pairs or trials; of fewer no interval as started holds
ALPHA = 0.05
COLUMNS = (
    *(
        "what",
        "axis",
        "level_a",
        "level_b",
        "kind",
        "is_interaction",
        "crossed",  # of an interaction: the first axis and its two levels, the second and its two; else nan
        "is_paired",
        "difference",
        "low",
        "high",
        "p",
        "p_least",
    ),
    *("p_holm", "decided", "num_pairs", "num_seeds", "num_settings", "num_a", "num_b"),
    *("num_broken_a", "num_broken_b", "num_unknown_a", "num_unknown_b"),  # of num_a and num_b trials
    *("first_epoch", "last_epoch", "num_left_out", "only_where", "value_a", "value_b", "probability_a_better"),
    *("started_difference", "started_low", "started_high", "started_p", "started_value_a", "started_value_b", "agree"),
    *("num_units", "num_units_more", "unit", "population", "method", "reason"),
)


def compare(
    trials: pd.DataFrame, epochs: pd.DataFrame, factors: list[Factor], metric: str, mode: str, design: Design
) -> pd.DataFrame:
    """Every comparison of the study as a row of COLUMNS: of the metric, of divergence, and interactions of two axes.

    A difference is level a less level b, in units of the metric, or of the share of trials that diverged (0 to 1).
    p_holm is corrected over all rows that could tell: an exact test whose least possible p is 0.05 or more is left out
    (Tarone 1990, Biometrics 46). `decided` needs p_holm < 0.05, a design that answers, and an estimate as started that
    does not disagree (`agree` is None where nothing broke). `population` says where the difference holds. For an
    interaction level_a and level_b name the differences whose difference it is.
    """
    table = settings_table(trials, factors)
    reached = Reached(epochs, metric, mode)
    rows = along(factors, trials, table, reached, factors, metric, design)
    rows += [interaction_row(*each, reached, metric, design) for each in crossings(trials, table, factors)]
    return decided(pd.DataFrame(rows, columns=list(COLUMNS)))


def compare_along(
    axis: Factor,
    trials: pd.DataFrame,
    epochs: pd.DataFrame,
    factors: list[Factor],
    metric: str,
    mode: str,
    design: Design,
) -> pd.DataFrame:
    """The rows of compare for one of the factors alone, where a page compares nothing else: p_holm is over these."""
    table, reached = settings_table(trials, factors), Reached(epochs, metric, mode)
    rows = along([axis], trials, table, reached, factors, metric, design)
    return decided(pd.DataFrame(rows, columns=list(COLUMNS)))


def along(
    axes: list[Factor],
    trials: pd.DataFrame,
    table: pd.DataFrame,
    reached: Reached,
    factors: list[Factor],
    metric: str,
    design: Design,
) -> list[dict]:
    """Rows of COLUMNS: of each two levels of each of the axes, in the metric and in divergence.

    table: rows of pairing.settings_table, by all factors.
    """
    rows = []
    for axis in compared_factors(trials, axes):
        for a, b in level_pairs(present_levels(trials, axis)):
            sides = two_sides(trials, table, axis, a, b)
            rows += [metric_row(trials, reached, sides, metric, design, factors), divergence_row(trials, sides, design)]
    return rows


def decided(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with p_holm and `decided`; num_tests, how many p values p_holm is corrected for.

    The rows are all tests of a page: no other part of it brings a p value of its own (tests/test_analysis_family.py).
    """
    could_tell = frame["p_least"] < ALPHA  # else it cannot be claimed whatever comes, and costs the others nothing
    p = frame["p"].where(could_tell).to_numpy(float)
    corrected = intervals.holm(p)
    disagrees = frame["agree"].eq(False)
    is_decided = (corrected < ALPHA) & (frame["kind"] == "effect") & ~disagrees
    return frame.assign(p_holm=corrected, decided=is_decided, num_tests=int(np.isfinite(p).sum()))


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


def crossings(trials: pd.DataFrame, table: pd.DataFrame, factors: list[Factor]) -> Iterator[tuple]:
    """For pairs of axes of two levels each, the first MOST_INTERACTIONS of them: trials, table, the sides of the first
    axis, the second axis and its levels; what interaction_row takes. table: rows of pairing.settings_table."""
    two = [each for each in compared_factors(trials, factors) if len(present_levels(trials, each)) == 2]
    for first, second in list(combinations(two, 2))[:MOST_INTERACTIONS]:
        a, b = present_levels(trials, first)
        sides = two_sides(trials, table, first, a, b)
        exists = all(
            set(table.loc[own["place"], second.name]) >= set(present_levels(trials, second))
            for own in (sides.all_a, sides.all_b)
        )
        if sides.is_paired and exists:
            yield trials, table, sides, second, present_levels(trials, second)


def interaction_row(
    trials: pd.DataFrame,
    table: pd.DataFrame,
    sides: Sides,
    second: Factor,
    names: list[str],
    reached: Reached,
    metric: str,
    design: Design,
) -> dict:
    """A row of COLUMNS: how much more the first axis makes at one level of the second than at the other.

    table: a row a trial, as pairing.settings_table gives it; names: the two levels of the second axis.
    """
    row = start_row(trials, metric, sides, design) | {
        "is_interaction": True,
        "crossed": (sides.axis, sides.a, sides.b, second.name, *names),
        "axis": f"{sides.axis} x {second.name}",
        "level_a": f"{sides.a} - {sides.b} at {names[0]}",
        "level_b": f"{sides.a} - {sides.b} at {names[1]}",
    }
    found, _ = paired_values(trials, reached, sides.pairs)
    found = found.assign(
        value=found["value_a"] - found["value_b"],
        at=table.loc[found["a"], second.name].to_numpy(),
        **settings_of_pairs(table.drop(columns=[sides.axis, second.name, "seed"]), found),
    )
    keys = ["cell", "setting", "seed"]
    halves = [entries(found[found["at"] == name][[*keys, "epoch", "value"]]) for name in names]
    both = halves[0].merge(halves[1], on=keys, suffixes=("_1", "_2"))
    row |= {"num_pairs": len(both), "num_left_out": len(found) - 2 * len(both), "num_seeds": num_seeds(both)}
    if len(both) < FEWEST_PAIRS:
        return row | {"reason": f"fewer than {FEWEST_PAIRS} pairs at both levels of {second.name}"}
    row |= {"num_settings": both["cell"].nunique(), "is_paired": True}
    row |= values_of(both["value_1"], both["value_2"])
    compared_at = both[["epoch_1", "epoch_2"]].to_numpy()
    row |= {"first_epoch": compared_at.min(), "last_epoch": compared_at.max()}
    return row | numbers_of(paired_mean(both.assign(value=both["value_1"] - both["value_2"]), sides.num_seeds))


def settings_of_pairs(table: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, np.ndarray]:
    """The columns cell and setting of pairs, each [pairs], by the columns of table (a row a trial): a cell is what both
    sides of a pair share, a setting has also what only one of them has. pairs: columns a and b, places in table."""
    a, b = (table.loc[pairs[side]].reset_index(drop=True) for side in "ab")
    shared = [name for name in table if a[name].equals(b[name])]
    both = a.join(b, rsuffix=" of b")
    return {"cell": numbered(a, shared).to_numpy(), "setting": numbered(both, list(both)).to_numpy()}
