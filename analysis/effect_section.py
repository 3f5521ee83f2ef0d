"""The page's part on what each level does to the metric and to divergence, in sentences and as a table."""

import math

import pandas as pd

from analysis.comparisons import compare
from analysis.designs import Design, design_of
from analysis.factors import Factor
from analysis.load import Study
from analysis.page import Items, Section, Table, Text
from analysis.wording import count, show

SHOWN = (
    *("what", "axis", "level_a", "level_b", "kind", "difference", "low", "high", "p", "p_holm", "decided"),
    *("num_pairs", "num_a", "num_b", "num_left_out", "first_epoch", "last_epoch", "probability_a_better", "method"),
    "reason",
)
CAPTION = (
    "Level a less level b. Pairs are equal in all other settings and in their seed, and compared after as many epochs"
    " as both measured; a pair of which one diverged or failed is left out of the metric. Intervals are 95 %, each for"
    " itself; p_holm is corrected over the whole table, and decided means p_holm below 0.05 in a design that answers."
    " Where trials were pruned, the share of diverged trials is too low by what pruning took away."
)


def effect_section(study: Study, factors: list[Factor]) -> Section:
    """Empty where nothing can be compared."""
    design = design_of(study.study["options"], study.trials)
    found = compare(study.trials, study.epochs, factors, study.metric, study.mode, design)
    if found.empty:
        return Section("What the settings do", [])
    table = Table("comparisons", CAPTION, found[list(SHOWN)].dropna(axis="columns", how="all"))
    return Section("What the settings do", [Text(design_sentence(design)), Items(told(found, study.metric)), table])


def design_sentence(design: Design) -> str:
    if design.answers:
        return "Settings were chosen without a look at results and no trial was stopped early: differences are effects."
    return f"Differences here are associations, not effects: {design.reason}."


def told(found: pd.DataFrame, metric: str) -> list[str]:
    """A sentence for each comparison that has a number, interactions only where they are decided."""
    single = ~found["axis"].str.contains(" x ") | found["decided"]
    return [sentence(row, metric) for row in found[single & found["difference"].notna()].to_dict("records")]


def sentence(row: dict, metric: str) -> str:
    unit = metric if row["what"] == metric else "share of diverged trials"
    more = "higher" if row["difference"] >= 0 else "lower"
    interval = "" if math.isnan(row["low"]) else f" (95 % CI {show(row['low'], 'dice')} to {show(row['high'], 'dice')}"
    paired = f", {count(int(row['num_pairs']), 'pair')})" if row["is_paired"] else ", unpaired)"
    interval = f"{interval}{paired}" if interval else " (no interval: too few independent values, or no spread)"
    end = "" if row["decided"] or row["kind"] != "effect" else f": the data do not say{needed(row)}"
    return (
        f"{row['axis']}: the {unit} of {row['level_a']} is {show(abs(row['difference']), 'dice')} {more} than that of"
        f" {row['level_b']}{at(row)}{interval}{end}."
    )


def at(row: dict) -> str:
    """The epochs after which the two were compared."""
    first, last = row["first_epoch"], row["last_epoch"]
    if math.isnan(last):
        return ""
    return f" at epoch {int(last)}" if first == last else f" at epochs {int(first)} to {int(last)}"


def needed(row: dict) -> str:
    number = row["num_units_more"]
    if math.isnan(number) or number == 0:
        return ""
    more = count(int(number), f"more {row['unit'].removesuffix('s')}", f"more {row['unit']}")
    return f"; if this is the true difference, {more} would"
