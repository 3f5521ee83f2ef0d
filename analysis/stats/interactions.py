"""Whether the difference that one axis makes depends on another, as rows of comparisons.COLUMNS. Pure."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from analysis.load.factors import Factor, compared_factors, present_levels
from analysis.stats.comparison_rows import num_seeds, numbers_of, start_row, values_of
from analysis.stats.designs import Design
from analysis.stats.estimates import (
    entries,
    paired_mean,
)
from analysis.stats.pairing import (
    FEWEST_PAIRS,
    Sides,
    numbered,
    two_sides,
)
from analysis.stats.reached import Reached, paired_values

MOST_INTERACTIONS = 15


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
