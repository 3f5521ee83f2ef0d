"""The page's part on what each level does to the metric and to divergence, in sentences and as a table."""

import math

import pandas as pd

from analysis.designs import Design
from analysis.headline import at, needed, units_text
from analysis.page import Items, Section, Table, Text
from analysis.wording import count, gap_text

TITLE = "What the settings do"
SHOWN = (
    *("what", "axis", "level_a", "level_b", "kind", "difference", "low", "high", "p", "p_holm", "decided"),
    *(
        "num_pairs",
        "num_a",
        "num_b",
        "num_left_out",
        "only_where",
        "first_epoch",
        "last_epoch",
        "probability_a_better",
        "method",
    ),
    "reason",
)
CAPTION = (
    "Level a less level b. Pairs are equal in all other settings and in their seed, and compared after as many epochs"
    " as both measured; a pair of which one diverged or failed is left out of the metric. Intervals are 95 %, each for"
    " itself. {family}"
    " Where trials were pruned, the share of diverged trials is too low by what pruning took away."
)


FAMILY = (
    "p_holm is p after Holm's correction for {tests}, all that this page makes (of the metric, of divergence and of"
    " interactions; a test that could not fall below 0.05 at its counts is not counted and has no p_holm). decided:"
    " p_holm below 0.05 in a study that was randomised or a full grid, without early stopping."
)


def effect_section(found: pd.DataFrame, design: Design, metric: str, level_tables: list[Table]) -> Section:
    """Of the comparisons; only the levels' tables where nothing can be compared."""
    if found.empty:
        return Section(TITLE, level_tables)
    about = CAPTION.format(family=FAMILY.format(tests=count(int(found["num_tests"].iloc[0]), "test")))
    table = Table("comparisons", about, found[list(SHOWN)].dropna(axis="columns", how="all"))
    return Section(TITLE, [Text(design_sentence(design)), Items(told(found, metric)), table, *level_tables])


def design_sentence(design: Design) -> str:
    if design.answers:
        return "Settings were chosen without a look at results and no trial was stopped early: differences are effects."
    return f"Differences here are associations, not effects: {design.reason}."


def told(found: pd.DataFrame, metric: str) -> list[str]:
    """A sentence for each comparison that has a number, interactions only where they are decided."""
    single = ~found["axis"].str.contains(" x ") | found["decided"]
    shown = found[single & found["difference"].notna()]
    alike = shown["what"].ne(metric) & shown["difference"].eq(0)
    if alike.sum() < 2:
        return [sentence(row, metric) for row in shown.to_dict("records")]
    counted = f"In {alike.sum()} comparisons the share of diverged trials is the same on both sides"
    return [
        *(sentence(row, metric) for row in shown[~alike].to_dict("records")),
        f"{counted}; the table has their intervals.",
    ]


def sentence(row: dict, metric: str) -> str:
    is_metric = row["what"] == metric
    more = "higher" if row["difference"] >= 0 else "lower"
    low, high = (size_of(row[bound], metric, is_metric) for bound in ("low", "high"))
    interval = "" if math.isnan(row["low"]) else f"95 % CI {low} to {high}, "
    why = "" if interval else f" (no interval: {row['reason']})"
    end = "" if row["decided"] or row["kind"] != "effect" else f": the data do not say{needed(row)}"
    return (
        f"{row['axis']}: the {metric if is_metric else 'share of diverged trials'} of {row['level_a']} is"
        f" {size_of(abs(row['difference']), metric, is_metric, unit=True)} {more} than that of {row['level_b']}"
        f"{at(row) if is_metric else ''} ({interval}{units_text(row)}){why}{end}."
    )


def size_of(value: float, metric: str, is_metric: bool, *, unit: bool = False) -> str:
    if is_metric:
        return gap_text(value, metric, unit=unit)
    return f"{100 * value:.0f} percentage points" if unit else f"{100 * value:.0f}"
