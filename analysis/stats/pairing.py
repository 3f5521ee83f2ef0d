"""Which trials are compared with which: two levels of an axis, equal in every other setting and in the seed. Pure."""

from dataclasses import dataclass
from itertools import combinations, pairwise
from math import nan

import pandas as pd

from analysis.load.factors import Factor, levels
from analysis.load.labels import label

MOST_LEVELS = 5  # of an axis: ten pairs of levels; beyond, only neighbours in the space's order
FEWEST_PAIRS = 3
INACTIVE = "-"


@dataclass(frozen=True)
class Sides:
    """The trials of two levels of an axis: all of them, and those that pair.

    pairs: columns a, b (places in trials), cell (the settings that both levels have), setting (also those that only one
    of them has) and seed. all_a, all_b: columns place, cell, setting, seed.
    """

    axis: str
    a: str
    b: str
    all_a: pd.DataFrame
    all_b: pd.DataFrame
    pairs: pd.DataFrame

    @property
    def is_paired(self) -> bool:
        """Whether FEWEST_PAIRS pairs are there, over several seeds or over as many settings."""
        found = self.pairs.drop_duplicates(["cell", "seed"])
        return len(found) >= FEWEST_PAIRS and (self.num_seeds > 1 or found["cell"].nunique() >= FEWEST_PAIRS)

    @property
    def num_seeds(self) -> int:
        return self.pairs["seed"].nunique()


def level_pairs(names: list[str]) -> list[tuple[str, str]]:
    """Every two levels; of more than MOST_LEVELS only neighbours."""
    return list(combinations(names, 2)) if len(names) <= MOST_LEVELS else list(pairwise(names))


def settings_table(trials: pd.DataFrame, factors: list[Factor]) -> pd.DataFrame:
    """A row a trial, by which trials are paired: a column an axis, "-" where it is inactive, and column seed."""
    active = {factor.name: levels(trials, factor) for factor in factors}
    exact = {  # a range's values as they are: two learning rates may share a label
        factor.name: active[factor.name].where(
            active[factor.name].isna(), trials[factor.name].astype(str) if factor.name in trials else nan
        )
        for factor in factors
        if factor.kind != "choice"
    }
    seed = trials["seed"].map(label).fillna("") if "seed" in trials else pd.Series("", index=trials.index)
    return pd.DataFrame({**active, **exact}, index=trials.index).fillna(INACTIVE).astype(str).assign(seed=seed)


def two_sides(trials: pd.DataFrame, table: pd.DataFrame, factor: Factor, a: str, b: str) -> Sides:
    """The trials of levels a and b of a factor, and the pairs of them. table: a row a trial, from settings_table.

    A setting that exists only under one of the two levels (a type of mixed precision) is no part of the pairing: each
    trial that has it pairs with the one that cannot have it. Repeated runs pair in their order.
    """
    level = levels(trials, factor)
    others = [name for name in table if name not in (factor.name, "seed")]
    absent = {side: table.loc[level == side, others].eq(INACTIVE).all() for side in (a, b)}
    own = {a: [name for name in others if absent[b][name] and not absent[a][name]]}
    own[b] = [name for name in others if absent[a][name] and not absent[b][name]]
    shared = [name for name in others if name not in own[a] + own[b]]
    keyed = pd.DataFrame({"cell": numbered(table, shared), "seed": table["seed"], "place": table.index})
    both_branch = bool(own[a] and own[b])  # each level has settings of its own: their runs pair in order
    sides = []
    for name in (a, b):
        side = keyed[level == name]
        side = side.assign(own=numbered(table.loc[side.index], [] if both_branch else own[name]))
        sides.append(side.assign(repeat=side.groupby(["cell", "own", "seed"]).cumcount()))
    pairs = sides[0].merge(sides[1], on=["cell", "seed", "repeat"], suffixes=("_a", "_b"))
    pairs["setting"] = pairs.groupby(["cell", "own_a", "own_b"], sort=False).ngroup()
    pairs = pairs.rename(columns={"place_a": "a", "place_b": "b"})[["a", "b", "cell", "setting", "seed"]]
    whole = numbered(table, others)
    all_a, all_b = (side.assign(setting=whole[side.index])[["place", "cell", "setting", "seed"]] for side in sides)
    return Sides(factor.name, a, b, all_a, all_b, pairs)


def numbered(table: pd.DataFrame, names: list[str]) -> pd.Series:
    """A number for each combination of the columns' values, from 0 on; 0 for every row where no column is named."""
    return table.groupby(names, sort=False).ngroup() if names else pd.Series(0, index=table.index)
