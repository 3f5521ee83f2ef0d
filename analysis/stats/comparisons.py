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

import numpy as np
import pandas as pd

from analysis.load.factors import Factor, compared_factors, present_levels
from analysis.stats import intervals
from analysis.stats.comparison_rows import divergence_row, metric_row
from analysis.stats.designs import Design
from analysis.stats.interactions import crossings, interaction_row
from analysis.stats.pairing import level_pairs, settings_table, two_sides
from analysis.stats.reached import Reached

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
