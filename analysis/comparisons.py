"""Frames -> frames: what each level of an axis does to the metric and to divergence, against each other level. Pure.

A pair is two trials equal in every setting that varies and in their seed, but for one axis. Both are compared with the
best they had reached after as many epochs as both measured: never epoch 2 of one against epoch 60 of the other. A pair
of which one diverged or failed has no value to compare and is counted instead; divergence is a comparison of its own.

What an interval counts as independent (`unit_estimate`): the seeds, each averaged over the settings, where every
setting ran under the same three seeds or more (a seed that favours a level in all settings cannot make it too short);
else the differences within settings, pooled; with one seed, the settings.
"""

from collections.abc import Iterator
from itertools import combinations, pairwise
from math import nan

import numpy as np
import pandas as pd

from analysis import intervals
from analysis.designs import Design
from analysis.factors import Factor, label, levels, present_levels
from analysis.intervals import Estimate

MOST_LEVELS = 5  # of an axis: ten pairs of levels; beyond, only neighbours in the space's order
MOST_INTERACTIONS = 15
FEWEST_PAIRS = 3
FEWEST_TRIALS = 3  # a level, unpaired
ALPHA = 0.05
FARTHEST = 2**32  # more epochs than any run has
BROKEN = ("diverged", "frozen", "failed", "out_of_memory")
COLUMNS = (
    *("what", "axis", "level_a", "level_b", "kind", "is_paired", "difference", "low", "high", "p", "p_least"),
    *(
        "p_holm",
        "decided",
        "num_pairs",
        "num_seeds",
        "num_a",
        "num_b",
        "first_epoch",
        "last_epoch",
        "num_left_out",
        "only_where",
        "value_a",
        "value_b",
    ),
    *("probability_a_better", "num_units", "num_units_more", "unit", "method", "reason"),
)


class Reached:
    """The best value of a metric that each trial had reached by an epoch."""

    def __init__(self, epochs: pd.DataFrame, metric: str, mode: str):
        values = pd.to_numeric(epochs[metric], errors="coerce") if metric in epochs else pd.Series(nan, epochs.index)
        measured = ~epochs["diverged"].astype(bool) & np.isfinite(values)
        code, names = pd.factorize(epochs.loc[measured, "folder"])
        found = pd.DataFrame({"code": code, "epoch": epochs.loc[measured, "epoch"].to_numpy("int64")})
        found = found.assign(value=values[measured].to_numpy(float)).sort_values(["code", "epoch"], kind="stable")
        grouped = found.groupby("code", sort=False)["value"]
        self._best = (grouped.cummax() if mode == "max" else grouped.cummin()).to_numpy()
        self._keys = found["code"].to_numpy("int64") * FARTHEST + found["epoch"].to_numpy()
        self._codes = pd.Series(np.arange(len(names)), index=pd.Index(names))
        self.last = pd.Series(found.groupby("code")["epoch"].max().to_numpy(), index=pd.Index(names))  # by folder

    def at(self, folders: pd.Series, epochs: pd.Series) -> np.ndarray:
        """The best value until those epochs, each one that the trial had measured or gone past."""
        keys = self._codes.reindex(folders).to_numpy("int64") * FARTHEST + epochs.to_numpy("int64")
        return self._best[np.searchsorted(self._keys, keys, "right") - 1]


def compare(
    trials: pd.DataFrame, epochs: pd.DataFrame, factors: list[Factor], metric: str, mode: str, design: Design
) -> pd.DataFrame:
    """Every comparison of the study as a row of COLUMNS: of the metric, of divergence, and interactions of two axes.

    A difference is level a less level b. p_holm is corrected over all rows that could tell: an exact test whose
    least possible p is 0.05 or more is left out (Tarone 1990, Biometrics 46). `decided` needs p_holm < 0.05 and a
    design that answers. For an interaction level_a and level_b name the two differences whose difference it is.
    """
    table = settings_table(trials, factors)
    reached = Reached(epochs, metric, mode)
    rows = []
    for factor in compared_factors(trials, factors):
        for a, b in level_pairs(present_levels(trials, factor)):
            sides = two_sides(trials, table, factor, a, b)
            rows.append(metric_row(trials, reached, sides, metric, design, factors))
            rows.append(divergence_row(trials, sides, design))
    rows += [interaction_row(*each, reached, metric, design) for each in crossed(trials, table, factors)]
    return decided(pd.DataFrame(rows, columns=list(COLUMNS)))


def decided(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with p_holm and `decided`; num_tests, how many p values p_holm is corrected for.

    The rows are all tests of a page: no other part of it brings a p value of its own (tests/test_analysis_family.py).
    """
    could_tell = frame["p_least"] < ALPHA  # else it cannot be claimed whatever comes, and costs the others nothing
    p = frame["p"].where(could_tell).to_numpy(float)
    corrected = intervals.holm(p)
    is_decided = (corrected < ALPHA) & (frame["kind"] == "effect")
    return frame.assign(p_holm=corrected, decided=is_decided, num_tests=int(np.isfinite(p).sum()))


def compared_factors(trials: pd.DataFrame, factors: list[Factor]) -> list[Factor]:
    return [factor for factor in factors if factor.kind == "choice" and len(present_levels(trials, factor)) > 1]


def level_pairs(names: list[str]) -> list[tuple[str, str]]:
    return list(combinations(names, 2)) if len(names) <= MOST_LEVELS else list(pairwise(names))


def settings_table(trials: pd.DataFrame, factors: list[Factor]) -> pd.DataFrame:
    """Each trial's labels of all axes, an inactive one as "-", and its seed; what trials are paired by."""
    active = {factor.name: levels(trials, factor) for factor in factors}
    exact = {  # a range's values as they are: two learning rates may share a label
        factor.name: active[factor.name].where(
            active[factor.name].isna(), trials[factor.name].astype(str) if factor.name in trials else nan
        )
        for factor in factors
        if factor.kind != "choice"
    }
    seed = trials["seed"].map(label) if "seed" in trials else pd.Series("", index=trials.index)
    return pd.DataFrame({**active, **exact}, index=trials.index).fillna("-").astype(str).assign(seed=seed)


class Sides:
    """The trials of two levels of an axis: all of them, and those that pair."""

    def __init__(self, axis: str, a: str, b: str, all_a: pd.Index, all_b: pd.Index, pairs: pd.DataFrame):
        self.axis, self.a, self.b, self.all_a, self.all_b, self.pairs = axis, a, b, all_a, all_b, pairs

    @property
    def is_paired(self) -> bool:
        return len(self.pairs) >= FEWEST_PAIRS


def two_sides(trials: pd.DataFrame, table: pd.DataFrame, factor: Factor, a: str, b: str) -> Sides:
    """Pairs are a frame with columns a, b (places in trials), cell (of the other settings) and seed."""
    level = levels(trials, factor)
    dependent = [name for name in table if name not in (factor.name, "seed")]
    cell = table.groupby(dependent, sort=False).ngroup() if dependent else pd.Series(0, index=table.index)
    keyed = pd.DataFrame({"cell": cell, "seed": table["seed"], "place": table.index})
    all_a, all_b = keyed[level == a], keyed[level == b]
    once = [side.drop_duplicates(["cell", "seed"]) for side in (all_a, all_b)]
    pairs = once[0].merge(once[1], on=["cell", "seed"], suffixes=("_a", "_b"))
    pairs = pairs.rename(columns={"place_a": "a", "place_b": "b"})
    return Sides(factor.name, a, b, pd.Index(all_a["place"]), pd.Index(all_b["place"]), pairs)


def metric_row(
    trials: pd.DataFrame, reached: Reached, sides: Sides, metric: str, design: Design, factors: list[Factor]
) -> dict:
    row = start_row(metric, sides, design)
    found = paired_values(trials, reached, sides.pairs) if sides.is_paired else None
    if found is not None and len(found) >= FEWEST_PAIRS:
        estimate, unit = unit_estimate(found["cell"], found["seed"], found["value_a"] - found["value_b"])
        better = probability_better(found["value_a"], found["value_b"])
        more = {"num_pairs": len(found), "num_seeds": found["seed"].nunique(), "unit": unit}
        more |= {"num_left_out": len(sides.pairs) - len(found)}
        more |= {"only_where": only_where(trials, factors, found["a"], sides.pairs["a"])}
    else:
        found, left_out = unpaired_values(trials, reached, sides)
        a, b = (found.loc[found["side"] == side, "value"].to_numpy() for side in "ab")
        if min(len(a), len(b)) < FEWEST_TRIALS:
            reason = f"fewer than {FEWEST_PAIRS} pairs, and fewer than {FEWEST_TRIALS} measured trials a level"
            return row | {"reason": reason, "num_left_out": left_out, "num_a": len(a), "num_b": len(b)}
        estimate, better = intervals.difference_estimate(a, b), probability_better_unpaired(a, b)
        more = {"is_paired": False, "num_a": len(a), "num_b": len(b), "unit": "trials", "num_left_out": left_out}
        found = pd.DataFrame({"epoch": found["epoch"], "value_a": pd.Series(a), "value_b": pd.Series(b)})
    values = {
        f"value_{side}": intervals.interquartile_mean(found[f"value_{side}"].dropna().to_numpy()) for side in "ab"
    }
    span = {"first_epoch": found["epoch"].min(), "last_epoch": found["epoch"].max(), "probability_a_better": better}
    return row | more | values | span | numbers_of(estimate)


def only_where(trials: pd.DataFrame, factors: list[Factor], kept: pd.Series, paired: pd.Series) -> str:
    """What all pairs that are left have in common, and those that broke had not: "amp=false". Empty where nothing."""
    found = []
    for factor in (each for each in factors if each.kind == "choice"):
        level = levels(trials, factor)
        if level[kept].nunique() == 1 and level[paired].nunique() > 1:
            found.append(f"{factor.name}={level[kept].iloc[0]}")
    return ", ".join(found)


def start_row(what: str, sides: Sides, design: Design) -> dict:
    same = {"axis": sides.axis, "level_a": sides.a, "level_b": sides.b, "kind": design.word, "reason": ""}
    return {"what": what, **same, "is_paired": sides.is_paired, "num_a": len(sides.all_a), "num_b": len(sides.all_b)}


def numbers_of(estimate: Estimate) -> dict:
    needed = intervals.num_units_needed(estimate)
    is_open = not (estimate.low > 0 or estimate.high < 0)
    return {
        "difference": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "p": estimate.p,
        "p_least": estimate.p_least,
        "num_units": estimate.num_units,
        "num_units_more": max(0, needed - estimate.num_units) if needed is not None and is_open else nan,
        "method": estimate.method,
        "reason": "" if not np.isnan(estimate.low) else "too few independent values, or no spread among them",
    }


def paired_values(trials: pd.DataFrame, reached: Reached, pairs: pd.DataFrame) -> pd.DataFrame:
    """Columns cell, seed, epoch, value_a, value_b of the pairs that can be compared; broken trials leave theirs out."""
    outcome, folder = trials["outcome"], trials["folder"]
    usable = ~outcome[pairs["a"]].isin(BROKEN).to_numpy() & ~outcome[pairs["b"]].isin(BROKEN).to_numpy()
    last = [reached.last.reindex(folder[pairs[side]]).to_numpy(float) for side in "ab"]
    epoch = np.minimum(*last)
    kept = usable & np.isfinite(epoch)
    found = pairs[kept].assign(epoch=epoch[kept].astype("int64"))
    for side in "ab":
        found[f"value_{side}"] = reached.at(folder[found[side]], found["epoch"])
    return found


def unpaired_values(trials: pd.DataFrame, reached: Reached, sides: Sides) -> tuple[pd.DataFrame, int]:
    """Columns side, epoch, value at the last epoch that all of both levels measured, and how many were left out."""
    places = pd.DataFrame({"place": [*sides.all_a, *sides.all_b]})
    places["side"] = ["a"] * len(sides.all_a) + ["b"] * len(sides.all_b)
    folder = trials["folder"][places["place"]]
    last = reached.last.reindex(folder).to_numpy(float)
    kept = ~trials["outcome"][places["place"]].isin(BROKEN).to_numpy() & np.isfinite(last)
    if not kept.any():
        return pd.DataFrame({"side": [], "epoch": [], "value": []}), len(places)
    found = places[kept].assign(epoch=int(last[kept].min()))
    found["value"] = reached.at(folder[kept], found["epoch"])
    return found.reset_index(drop=True), int((~kept).sum())


def unit_estimate(cells: pd.Series, seeds: pd.Series, values: pd.Series) -> tuple[Estimate, str]:
    """The mean of values [n] with a t interval over what is independent, and its name: seeds, pairs or settings."""
    frame = pd.DataFrame({"cell": cells.to_numpy(), "seed": seeds.to_numpy(), "value": values.to_numpy(float)})
    num_seeds, num_cells = frame["seed"].nunique(), frame["cell"].nunique()
    if num_seeds >= FEWEST_PAIRS and len(frame) == num_seeds * num_cells:
        return intervals.mean_estimate(frame.groupby("seed")["value"].mean().to_numpy(), "t over seeds"), "seeds"
    grouped = frame.groupby("cell")["value"]
    sizes, means = grouped.size().to_numpy(), grouped.mean().to_numpy()
    df = int((sizes - 1).sum())
    if df < 2:
        return intervals.mean_estimate(means, "t over settings"), "settings"
    pooled = float(((frame["value"] - grouped.transform("mean")) ** 2).sum()) / df
    error = float(np.sqrt(pooled * (1 / sizes).sum())) / num_cells
    method = "t, pooled within settings"
    return intervals.t_estimate(float(means.mean()), error, df, len(frame), method), "pairs"


def probability_better(a: pd.Series, b: pd.Series) -> float:
    """Share of pairs in which a is above b, a tie counting half (Agarwal et al. 2021)."""
    return float(((a > b) + 0.5 * (a == b)).mean())


def probability_better_unpaired(a: np.ndarray, b: np.ndarray) -> float:
    """The same over all pairs of one with another (Mann-Whitney)."""
    ordered = np.sort(b)
    below, upto = np.searchsorted(ordered, a, "left"), np.searchsorted(ordered, a, "right")
    return float((below + upto).mean() / (2 * len(b)))


def divergence_row(trials: pd.DataFrame, sides: Sides, design: Design) -> dict:
    """The share of trials that diverged or froze. Where trials were pruned it is too low by what pruning took away."""
    bad = trials["outcome"].isin(["diverged", "frozen"])
    row = start_row("divergence", sides, design)
    num_a, num_b = int(bad[sides.all_a].sum()), int(bad[sides.all_b].sum())
    shares = {"value_a": num_a / len(sides.all_a), "value_b": num_b / len(sides.all_b)}
    if sides.is_paired:
        a, b = bad[sides.pairs["a"]].to_numpy(), bad[sides.pairs["b"]].to_numpy()
        counts = [int(cell.sum()) for cell in (a & b, a & ~b, b & ~a, ~a & ~b)]
        estimate = intervals.paired_share_difference(*counts)
        found = {"num_pairs": len(a), "num_seeds": sides.pairs["seed"].nunique(), "unit": "pairs", "num_left_out": 0}
    else:
        estimate = intervals.share_difference(num_a, len(sides.all_a), num_b, len(sides.all_b))
        found = {"unit": "trials", "num_left_out": 0}
    return row | shares | found | numbers_of(estimate)


def crossed(trials: pd.DataFrame, table: pd.DataFrame, factors: list[Factor]) -> Iterator[tuple]:
    """For pairs of axes of two levels each: the trials, the sides of the first axis, the second and its levels."""
    two = [each for each in compared_factors(trials, factors) if len(present_levels(trials, each)) == 2]
    for first, second in list(combinations(two, 2))[:MOST_INTERACTIONS]:
        a, b = present_levels(trials, first)
        sides = two_sides(trials, table, first, a, b)
        if sides.is_paired:
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
    """How much larger the difference of the first axis is at one level of the second than at the other."""
    row = start_row(metric, sides, design) | {
        "axis": f"{sides.axis} x {second.name}",
        "level_a": f"{sides.a} - {sides.b} at {names[0]}",
        "level_b": f"{sides.a} - {sides.b} at {names[1]}",
    }
    found = paired_values(trials, reached, sides.pairs)
    found = found.assign(at=table.loc[found["a"], second.name].to_numpy(), value=found["value_a"] - found["value_b"])
    others = [name for name in table if name not in (sides.axis, second.name, "seed")]
    rest = table.groupby(others, sort=False).ngroup() if others else pd.Series(0, index=table.index)
    found["rest"] = rest.loc[found["a"]].to_numpy()
    halves = [found[found["at"] == name][["rest", "seed", "epoch", "value"]] for name in names]
    both = halves[0].merge(halves[1], on=["rest", "seed"], suffixes=("_1", "_2"))
    if len(both) < FEWEST_PAIRS:
        return row | {"reason": f"fewer than {FEWEST_PAIRS} pairs at both levels of {second.name}"}
    estimate, unit = unit_estimate(both["rest"], both["seed"], both["value_1"] - both["value_2"])
    row |= {"num_pairs": len(both), "num_seeds": both["seed"].nunique(), "unit": unit, "is_paired": True}
    row |= {"value_a": float(both["value_1"].mean()), "value_b": float(both["value_2"].mean())}
    row |= {"first_epoch": both["epoch_1"].min(), "last_epoch": both["epoch_1"].max()}
    return row | {"num_left_out": len(found) - 2 * len(both)} | numbers_of(estimate)
