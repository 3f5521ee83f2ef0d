"""The answer to the question in one sentence: whether the asked axis makes a difference, and which way."""

import math

import pandas as pd

from analysis.load.factors import Factor, present_levels
from analysis.load.study import Study
from analysis.page.differences import ahead, at, signed
from analysis.page.wording import capital, level_text, listed
from analysis.stats.designs import Design


def verdict_sentences(study: Study, asked: Factor | None, found: pd.DataFrame, design: Design) -> list[str]:
    """One sentence on the asked axis, by the comparison that is clearest; none where there is no axis to answer for."""
    if asked is None:
        return []
    names = present_levels(study.trials, asked)
    known = clearest_first(found, study.metric)
    known = known[known["axis"].eq(asked.name)]
    if known.empty:
        return []
    row = known.to_dict("records")[0]
    better, worse, sign = ahead(row, study.mode)
    levels = level_text(asked.name, better), level_text(asked.name, worse)
    by = f"{signed(sign * row['difference'], study.metric)}{at(row)}"
    if row["decided"]:
        return [f"{capital(levels[0])} gives a better {study.metric} than {levels[1]}: {by}."]
    apart = row["low"] > 0 or row["high"] < 0
    if design.answers or not apart:
        return [
            f"{capital(asked.title)}: no clear winner in {study.metric} between {listed(names)}{between(row, study)}."
        ]
    return [
        f"Trials with {levels[0]} reached a better {study.metric} than those with {levels[1]}: {by}. That is an"
        f" association; {asked.title} need not be the reason."
    ]


def uncompared_sentences(study: Study, asked: Factor | None, found: pd.DataFrame) -> list[str]:
    """Why the levels of the asked axis cannot be compared; none where they can, or where there are no two."""
    if asked is None or len(present_levels(study.trials, asked)) < 2:
        return []
    rows = by_levels(found, study.metric)
    rows = rows[rows["axis"].eq(asked.name)]
    if rows["difference"].notna().any():
        return []
    why = next((reason for reason in rows["reason"].dropna() if reason), "")
    return [f"{capital(asked.title)} cannot be compared yet{': ' + why if why else ''}."]


def by_levels(found: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows of found that compare two levels of an axis by the metric."""
    return found[found["what"].eq(metric) & ~found["is_interaction"].eq(True)]


def clearest_first(found: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows of found that by_levels gives and that have a difference: the decided ones first, then by p."""
    rows = by_levels(found, metric)
    rows = rows[rows["difference"].notna()]
    return rows.assign(open=~rows["decided"]).sort_values(["open", "p"], kind="stable")


def between(row: dict, study: Study) -> str:
    """How large the difference may be, of the two levels whose difference is the clearest."""
    if math.isnan(row["low"]):
        return ""
    low, high = (signed(row[bound], study.metric, unit=bound == "high") for bound in ("low", "high"))
    return f" ({row['level_a']} less {row['level_b']}{at(row)}: 95 % CI {low} to {high})"
