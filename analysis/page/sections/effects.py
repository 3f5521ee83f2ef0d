"""The page's part on what each level does to the metric and to divergence, in sentences and as a table."""

import pandas as pd

from analysis.load.factors import Factor
from analysis.page.blocks import Items, Section, Table, Text, slug
from analysis.page.differences import divergence_sentence, metric_sentence
from analysis.page.wording import count
from analysis.stats.designs import Design
from analysis.stats.ranking import level_summary


def level_tables(ranked: pd.DataFrame, factors: list[Factor], metric: str) -> list[Table]:
    summaries = [(factor, level_summary(ranked, factor, metric)) for factor in factors if factor.kind == "choice"]
    return [
        Table(
            f"levels_{slug(factor.name)}",
            f"By {factor.title}: median, lowest and highest of the trials' best"
            f" {metric}; pruned and diverged trials count with what they had reached.",
            summary,
        )
        for factor, summary in summaries
        if len(summary)
    ]


TITLE = "What the settings do"
SHOWN = (
    *("what", "axis", "level_a", "level_b", "kind", "difference", "low", "high", "p", "p_holm", "decided"),
    *("started_difference", "started_low", "started_high", "agree", "population", "num_pairs", "num_a", "num_b"),
    *("num_left_out", "num_broken_a", "num_broken_b", "num_unknown_a", "num_unknown_b", "only_where"),
    *("first_epoch", "last_epoch", "probability_a_better", "method", "reason"),
)
CAPTION = (
    "Level a less level b. Pairs are equal in their seed and in all settings that both levels have, and compared after"
    " as many epochs as both measured; without pairs, trials are compared at the last epoch that at least three"
    " quarters of each level's trials came to. difference, low and high: of runs that did not diverge, freeze or fail;"
    " num_left_out counts the pairs (or trials) that are left out of it. started_*: as started, where a run that"
    " diverged or froze counts as the worst value it measured, or the metric's worst; agree says whether both point the"
    " same way; fewer than 5 broken runs, or 20 pairs, give no interval as started. Intervals are"
    " 95 %, each for itself, for the settings that population names. Shares of diverged trials are of those whose end"
    " is known: num_unknown_* failed, ran out of memory, were interrupted or still run. probability_a_better: how often"
    " a was better than b, in the metric's direction. {family}"
    " Where trials were pruned, the share of diverged trials is too low by what pruning took away."
)
FAMILY = (
    "p_holm is p after Holm's correction for {tests}, all that this page makes (of the metric, of divergence and of"
    " interactions; a test that could not fall below 0.05 at its counts is not counted and has no p_holm). decided:"
    " p_holm below 0.05 in a study that was randomised or a full grid, without early stopping, and the estimate as"
    " started not of the other sign. p also has to hold against how much the difference varies between settings (from"
    " 6 settings on), and without pairs as started too."
)


def effect_section(found: pd.DataFrame, design: Design, metric: str, mode: str, level_tables: list[Table]) -> Section:
    """Of the comparisons; only the levels' tables where nothing can be compared."""
    if found.empty:
        return Section(TITLE, level_tables)
    about = CAPTION.format(family=FAMILY.format(tests=count(int(found["num_tests"].iloc[0]), "test")))
    table = Table("comparisons", about, found[list(SHOWN)].dropna(axis="columns", how="all"))
    return Section(TITLE, [Text(design_sentence(design)), Items(lines(found, metric, mode)), table, *level_tables])


def design_sentence(design: Design) -> str:
    if design.answers:
        return (
            "Settings were chosen without a look at results and no scheduler stopped trials: differences are effects."
        )
    return f"Differences here are associations, not effects: {design.reason}."


def lines(found: pd.DataFrame, metric: str, mode: str) -> list[str]:
    """A sentence for each comparison that has a number; interactions stand in the table."""
    shown = found[~found["is_interaction"].eq(True) & found["difference"].notna()]
    of_metric = [metric_sentence(row, metric, mode) for row in shown[shown["what"].eq(metric)].to_dict("records")]
    shares = shown[shown["what"].ne(metric)]
    alike = shares["difference"].eq(0)
    compared = f"In {count(int(alike.sum()), 'comparison')} the share of diverged trials is the same on both sides"
    rest = [f"{compared}; the table has the intervals."] if alike.any() else []
    return [*of_metric, *map(divergence_sentence, shares[~alike].to_dict("records")), *rest]
