"""The answer to the space's question: what wins, by how much, what diverges, why, and what would cure it."""

import math
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from analysis.load.contract import BROKEN
from analysis.load.factors import Factor, compared_factors, levels, present_levels
from analysis.load.study import Study
from analysis.page import words
from analysis.page.differences import counted, interval, metric_sentence, named, points, signed, verdict
from analysis.page.verdict import clearest_first
from analysis.page.wording import count, level_text, listed
from analysis.stats.designs import Design
from analysis.stats.guards import GUARDS
from analysis.stats.outcomes import divergence_known

MOST_ASKED, MOST_OTHERS = 3, 2  # sentences on the axes that were asked about, and on others
FEWEST_ALIKE = 3  # diverged trials with a level in common before that is worth a sentence


def headline(
    study: Study, factors: list[Factor], found: pd.DataFrame, design: Design, guards: Sequence[str] = ()
) -> list[str]:
    """Sentences made of the comparisons and of the diverged trials, what is significant first; none if neither speaks.

    guards: what runs did after an event; a space that asks about guards is answered by it before all else.
    """
    asked = asked_about(study, factors)
    guarded = guards if set(asked) & set(GUARDS) else []
    scores = [*metric_sentences(found, asked, study, design), *interaction_sentences(found, study)]
    broken = broken_sentences(study, factors, found)
    decided = found["decided"] & found["what"].eq(study.metric)
    rest = [*scores, *broken] if decided.any() or not broken else [*broken, *scores]
    return [*guarded, *rest]


def broken_sentences(study: Study, factors: list[Factor], found: pd.DataFrame) -> list[str]:
    """Where trials diverged, why, and what would have cured them; none where none did."""
    asked = asked_about(study, factors)
    return [
        *divergence_sentences(study.trials, factors, found, asked),
        *cause_sentences(study.trials),
        *cure_sentences(study.trials),
    ]


def asked_about(study: Study, factors: list[Factor]) -> list[str]:
    """The axes that the space asks about, else those that its name has (older records); all where it names none."""
    space = study.study["space"]
    asked = (
        space.get("asks") if isinstance(space.get("asks"), list) else words_of(str(space.get("name") or ""), factors)
    )
    return [factor.name for factor in factors if factor.name in asked] or [factor.name for factor in factors]


def words_of(name: str, factors: list[Factor]) -> list[str]:
    """The axes whose names or titles are in the name of a space: upsample_amp, networks."""
    spaced = f"_{name.replace('-', '_')}_"
    return [factor.name for factor in factors if f"_{factor.name}_" in spaced or factor.title in name]


def metric_sentences(found: pd.DataFrame, asked: list[str], study: Study, design: Design) -> list[str]:
    """The asked axes' differences whatever they say, the others' only where they are decided; the clearest first.

    An association whose interval holds zero is no answer to anything: of those it is said how many there are.
    """
    rows = clearest_first(found, study.metric)
    unclear = pd.Series(not design.answers, rows.index) & ~(rows["low"].gt(0) | rows["high"].lt(0))
    if len(rows) and unclear.all():
        return [unclear_sentence(rows, study.metric, "No setting is")]
    is_asked = rows["axis"].isin(asked)
    without = [
        unclear_sentence(rows[rows["axis"] == axis], study.metric, f"{named(axis).capitalize()} is not")
        for axis in asked
        if not is_asked.all() and (rows["axis"] == axis).any() and unclear[rows["axis"] == axis].all()
    ]
    first = rows[is_asked & ~unclear].head(MOST_ASKED)
    others = rows[~is_asked & rows["decided"]].head(MOST_OTHERS)
    chosen = pd.concat([first, others]).to_dict("records")
    return [*without, *(metric_sentence(row, study.metric, study.mode) for row in chosen)]


def unclear_sentence(rows: pd.DataFrame, metric: str, what: str) -> str:
    """Where nothing compared can be told from no difference; rows: these comparisons.

    what: "No setting is", or an axis that "is not".
    """
    none = f"of {len(rows)} differences between levels none has a"
    none = "the difference between its levels has no" if len(rows) == 1 else none
    return f"{what} clearly associated with a better {metric}: {none} 95 % interval that leaves out zero."


def interaction_sentences(found: pd.DataFrame, study: Study) -> list[str]:
    """The clearest decided interaction of two axes."""
    rows = found[(found["what"] == study.metric) & found["is_interaction"].eq(True) & found["decided"]]
    return [
        interaction_text(row, study.metric) for row in rows.sort_values("p", kind="stable").head(1).to_dict("records")
    ]


def interaction_text(row: dict, metric: str) -> str:
    """An interaction in a sentence; row: one of compare's."""
    axis, better, worse, other, first, second = row["crossed"]
    at_first, at_second = (signed(row[f"value_{side}"], metric) for side in "ab")
    return (
        f"The difference between {axis} {better} and {worse} depends on {other} (significant after Holm's"
        f" correction): {at_first} at {other}={first}, {at_second} at {other}={second}."
    )


def divergence_sentences(
    trials: pd.DataFrame, factors: list[Factor], found: pd.DataFrame, asked: list[str]
) -> list[str]:
    """Where the diverged trials lie: a level they all share, and how they divide over the asked axes.

    Counted are the trials of which it is known whether they diverged. An association is left out where no interval of
    the axis leaves out zero.
    """
    trials = trials[divergence_known(trials)]
    bad = trials["outcome"].isin(BROKEN)
    if not bad.any():
        return []
    compared = compared_factors(trials, factors)
    alike = {} if bad.sum() < FEWEST_ALIKE else shared_levels(trials, compared, bad)
    rest = [factor for factor in compared if factor.name not in alike]
    shared = {each.name: alike[each.name] for each in compared if each.name in alike and is_clear(found, each)}
    inside = pd.Series(True, trials.index)
    told = []
    for factor, level in ((each, shared[each.name]) for each in compared if each.name in shared):
        here = levels(trials, factor) == level
        inside &= here
        told.append(
            f"All {int(bad.sum())} trials that diverged had {level_text(factor.name, level)}: {int(bad.sum())} of"
            f" {int(here.sum())} with it, 0 of {int((~here).sum())} without{decided_text(found, factor.name)}."
        )
    for factor in [each for each in rest if each.name in asked and is_clear(found, each)]:
        told += divided(trials[inside], factor, bad, found, given=shared)
    return told


def is_clear(found: pd.DataFrame, factor: Factor) -> bool:
    """Whether how divergence divides over an axis is an effect, or an association whose interval leaves out zero."""
    rows = found[(found["what"] == "divergence") & (found["axis"] == factor.name)]
    return bool((rows["kind"].eq("effect") | rows["low"].gt(0) | rows["high"].lt(0)).any())


def shared_levels(trials: pd.DataFrame, factors: list[Factor], bad: pd.Series) -> dict[str, str]:
    """By axis, the level that all bad trials have, where they have one in common; bad: which of the trials diverged."""
    found = {}
    for factor in factors:
        own = levels(trials, factor)[bad]
        if own.notna().all() and own.nunique() == 1:
            found[factor.name] = str(own.iloc[0])
    return found


def divided(trials: pd.DataFrame, factor: Factor, bad: pd.Series, found: pd.DataFrame, given: dict) -> list[str]:
    """bilinear diverged in 5 of 24 trials, deconv in 0 of 24; nothing where there are not two levels."""
    level = levels(trials, factor)
    counts = [
        (name, int((bad[trials.index] & (level == name)).sum()), int((level == name).sum()))
        for name in present_levels(trials, factor)
    ]
    if len(counts) < 2:
        return []
    counts.sort(key=lambda each: -each[1] / max(each[2], 1))
    first, *others = counts
    start = f"{level_text(factor.name, first[0])} diverged in {first[1]} of {count(first[2], 'trial')}"
    rest = [f"{level_text(factor.name, name)} in {number} of {total}" for name, number, total in others]
    within = f" (of those with {listed([level_text(*each) for each in given.items()])})" if given else ""
    return [f"{', '.join([start, *rest])}{within}{'' if given else decided_text(found, factor.name)}."]


def decided_text(found: pd.DataFrame, axis: str) -> str:
    """Of an axis with two levels: the interval of the difference in shares, and whether it is significant."""
    rows = found[(found["what"] == "divergence") & (found["axis"] == axis)]
    if len(rows) != 1 or math.isnan(rows["low"].iloc[0]):
        return ""
    row = rows.to_dict("records")[0]
    sign = 1 if row["difference"] >= 0 else -1
    bounds = interval(sign, row, "")[0]
    return f" ({points(abs(row['difference']))} percentage points, {bounds}, {counted(row, sign > 0)}; {verdict(row)})"


def cause_sentences(trials: pd.DataFrame) -> list[str]:
    """Why trials diverged, where their records say so."""
    bad = trials[trials["outcome"].isin(BROKEN)]
    recorded = bad["outcome_cause"].dropna()
    if recorded.empty:
        return []
    silent = len(bad) - len(recorded)
    unknown = f"; not recorded for {count(silent, 'trial')}" if silent else ""
    counts = [(words.cause(str(name)), int(number)) for name, number in recorded.value_counts().items()]
    if len(counts) == 1:
        return [f"The cause was {counts[0][0]}{in_all(counts[0][1])}{unknown}."]
    return [f"Causes: {listed([f'{name} ({number})' for name, number in counts])}{unknown}."]


def in_all(number: int) -> str:
    return {1: "", 2: " in both"}.get(number, f" in all {number}")


def cure_sentences(trials: pd.DataFrame) -> list[str]:
    """Under which remedies the captured step succeeds: in every trial, else the one that works most often."""
    bad = trials[trials["outcome"].isin(BROKEN) & trials["outcome_cause"].notna()]
    counts, gaps = (Counter(names_in(bad[column])) for column in ("outcome_remedies", "outcome_untried"))
    total = len(bad)
    if not counts:
        return gap_sentences(gaps, total)
    rerun = "We re-ran the step at which " + ("the trial" if total == 1 else f"each of the {total} trials") + " broke"
    always = sorted(name for name, number in counts.items() if number == total)

    def tries(name: str) -> int:
        return total - gaps[name]

    def known(name: str) -> str:
        return "" if tries(name) == total else f" of the {tries(name)} in which it was tried"

    if not always:
        name, number = max(sorted(counts.items()), key=lambda each: each[1])
        none = "no remedy is known to work for all" if gaps else "no remedy works for all"
        seen = f"{words.remedy(name)} works in {number}{known(name) or f' of {total}'}"
        return [f"{rerun}: {none}; {seen}.", *gap_sentences(gaps, total)]
    often = [name for name, number in counts.most_common() if tries(name) / 2 < number < total]
    also = "".join(f", with {words.remedy(name)} in {counts[name]}{known(name)}" for name in often[:1])
    names = listed([words.remedy(name) for name in always], "or")
    return [f"{rerun}: with {names} it succeeds{in_all(total)}{also}.", *gap_sentences(gaps, total)]


def names_in(column: pd.Series) -> list[str]:
    """The names of all cells, which hold them separated by commas."""
    return [name for names in column.fillna("") for name in str(names).split(", ") if name]


def gap_sentences(gaps: Counter, total: int) -> list[str]:
    """What the search for remedies had no time for, so that nothing is known of it."""
    if not gaps:
        return []
    untried = [
        f"{words.remedy(name)}{'' if total == 1 else f' in {number} of {total}'}" for name, number in gaps.items()
    ]
    return [f"The search for remedies was cut short (diagnosis_budget_s): not tried were {listed(untried)}."]
