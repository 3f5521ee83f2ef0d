"""The page's part on what each level does to the metric and to divergence, in sentences and as a table."""

import pandas as pd

from analysis.load.factors import Factor
from analysis.page.blocks import Details, Items, Section, Shown, Table, Text, slug
from analysis.page.differences import (
    counted,
    design_sentence,
    divergence_sentence,
    interval,
    metric_sentence,
    named,
    points,
    signed,
    verdict,
)
from analysis.page.wording import count, early_text
from analysis.stats.designs import Design
from analysis.stats.ranking import level_summary

TITLE = "What the settings do"
SHOWN = (
    *("what", "axis", "level_a", "level_b", "kind", "difference", "low", "high", "p", "p_holm", "decided"),
    *("started_difference", "started_low", "started_high", "agree", "population", "num_pairs", "num_a", "num_b"),
    *("num_left_out", "num_broken_a", "num_broken_b", "num_unknown_a", "num_unknown_b", "only_where"),
    *("first_epoch", "last_epoch", "probability_a_better", "method", "reason"),
)
READABLE = ("comparison", "of", "difference", "95 % CI", "p", "over", "conclusion")
DIFFERENCE = (
    "The difference is that of the level named first{finished}. Pairs are runs with the same seed and the same other"
    " settings. {tests} tables/comparisons.csv has more: counts, epochs, the estimates as started, methods."
)
FINISHED = ", from runs that did not diverge, freeze or fail"
TESTED = "p is corrected by Holm's method for {tests}, all that this page makes."
UNTESTED = "There are too few runs for a test."
METHOD = (
    "Two runs of a pair are compared after as many epochs as both measured; where there are no pairs, trials are"
    " compared at the last epoch that at least three quarters of each level's trials reached. Each interval is a 95 %"
    " interval by itself. Significant: p < 0.05 after Holm's correction, in a study that was randomised or a full grid,"
    " without early stopping. A test that could not fall below 0.05 at its counts has no p. p also has to hold against"
    " how much the difference varies between settings (from 6 settings on)."
)
BROKE = (
    " As started: a run that diverged or froze counts with the worst value it measured, or with the metric's worst;"
    " fewer than 5 broken runs, or fewer than 20 pairs, give no interval as started. Nothing is significant where the"
    " estimate as started has the other sign, and without pairs p has to hold as started too. Shares of diverged trials"
    " are of the trials whose end is known; where trials were stopped early, they are too low by what stopping took"
    " away."
)


def effect_section(found: pd.DataFrame, design: Design, metric: str, mode: str, level_tables: list[Table]) -> Section:
    """Of the comparisons; only the levels' tables where nothing can be compared."""
    if found.empty:
        return Section(TITLE, level_tables)
    tests = int(found["num_tests"].iloc[0])
    tested = TESTED.format(tests=count(tests, "test")) if tests else UNTESTED
    table = Table(
        "comparisons",
        DIFFERENCE.format(tests=tested, finished=FINISHED if broke(found) else ""),
        found[list(SHOWN)].dropna(axis="columns", how="all"),
        page=readable(found, metric),
    )
    inside = [Items(lines(found, metric, mode)), Text(METHOD + (BROKE if broke(found) else ""))]
    blocks = [Text(design_sentence(design)), table, Details("Each comparison in a sentence, and the method", inside)]
    return Section(TITLE, [*blocks, *level_tables], about(found, design))


def about(found: pd.DataFrame, design: Design) -> str:
    """12 comparisons, 2 significant"""
    known = found[found["difference"].notna()]
    significant = f"{int(known['decided'].sum())} significant" if design.answers else "associations, not effects"
    return f"{count(len(known), 'comparison')}, {significant}"


def readable(found: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Columns READABLE, a row a comparison that has a number, in words.

    Those of divergence only where something diverged.
    """
    rows = found[found["difference"].notna()]
    rows = rows[rows["what"].eq(metric) | broke(found)]
    return pd.DataFrame([readable_row(row, metric) for row in rows.to_dict("records")], columns=list(READABLE))


def broke(found: pd.DataFrame) -> bool:
    """Whether a run broke on either side of any comparison, a row of found."""
    return bool(found[["num_broken_a", "num_broken_b"]].to_numpy(float).sum() > 0)


def readable_row(row: dict, metric: str) -> dict:
    """A comparison in words, by the names in READABLE; its difference is sorted by the number."""
    of_metric = row["what"] == metric
    shown = signed(row["difference"], metric) if of_metric else f"{points(row['difference'])} percentage points"
    bounds = interval(1, row, metric if of_metric else "")
    return {
        "comparison": f"{named(row['axis'])}: {row['level_a']} less {row['level_b']}",
        "of": row["what"] if of_metric else "diverged trials",
        "difference": Shown(shown, row["difference"]),
        "95 % CI": bounds[0].removeprefix("95 % CI ") if bounds else None,
        "p": row["p_holm"],
        "over": counted(row),
        "conclusion": verdict(row) if row["kind"] == "effect" else "an association",
    }


def lines(found: pd.DataFrame, metric: str, mode: str) -> list[str]:
    """A sentence for each comparison that has a number; interactions stand in the table."""
    shown = found[~found["is_interaction"].eq(True) & found["difference"].notna()]
    of_metric = [metric_sentence(row, metric, mode) for row in shown[shown["what"].eq(metric)].to_dict("records")]
    shares = shown[shown["what"].ne(metric) & broke(found)]
    alike = shares["difference"].eq(0)
    compared = f"In {count(int(alike.sum()), 'comparison')} the share of diverged trials is the same on both sides"
    rest = [f"{compared}; the table has the intervals."] if alike.any() else []
    return [*of_metric, *map(divergence_sentence, shares[~alike].to_dict("records")), *rest]


def level_tables(ranked: pd.DataFrame, factors: list[Factor], metric: str, mode: str) -> list[Table]:
    """A table for each choice of which a level is there."""
    choices = [factor for factor in factors if factor.kind == "choice"]
    return [table for factor in choices for table in level_table(ranked, factor, metric, mode)]


def level_table(ranked: pd.DataFrame, factor: Factor, metric: str, mode: str) -> list[Table]:
    """A row a level; none where no trial has a level. Divergence is counted where a trial diverged."""
    summary, best = level_summary(ranked, factor, metric), "highest" if mode == "max" else "lowest"
    if summary.empty:
        return []
    known = summary["num_trials"] - summary["num_unknown"]
    ends = zip(summary["num_diverged"], known, strict=True)
    shown = summary.assign(diverged=[Shown(f"{bad} of {of}", bad / max(of, 1)) for bad, of in ends])
    counts = "diverged" if summary["num_diverged"].any() else "num_trials"
    return [
        Table(
            f"levels_{slug(factor.name)}",
            f"By the best {metric} of each trial{early_text(ranked)}.",
            summary,
            columns=("level", f"median_best_{metric}", best, counts),
            heads={"level": factor.title, f"median_best_{metric}": f"median {metric}", best: f"best {metric}"},
            axis=factor.name,
            page=shown,
        )
    ]
