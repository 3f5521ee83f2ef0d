"""A comparison as a sentence: which level against which, by how much, over what, and whether it is significant.

A difference of the metric is told from the better level: more of a score, less of a loss.
"""

import math

import pandas as pd

from analysis.load.factors import NAMES
from analysis.page.wording import count, gap_text
from analysis.stats.comparisons import ALPHA
from analysis.stats.designs import Design


def design_sentence(design: Design) -> str:
    """Whether differences between levels may be read as effects: the one place that says so."""
    if design.answers:
        return (
            "Settings were chosen without looking at results, and no trial was stopped early: differences between"
            " levels are effects."
        )
    return f"Differences between levels are associations, not effects: {design.reason}."


def metric_sentence(row: dict, metric: str, mode: str) -> str:
    """batch size 8 against 16: +7.2 Dice points at epoch 1 (95 % CI -17.7 to +32.1; 3 against 6 trials, not paired)"""
    better, worse, sign = ahead(row, mode)
    shown = f"{signed(sign * row['difference'], metric)}{at(row)}{where(row)}"
    numbers = [*interval(sign, row, metric), counted(row, better == row["level_a"])]
    clauses = [finished(row), started(sign, row, metric), unknown(row), verdict(row)]
    return joined(f"{named(row['axis'])} {better} against {worse}: {shown} ({'; '.join(numbers)})", clauses)


def divergence_sentence(row: dict) -> str:
    """upsampling deconv against bilinear: 92 % against 67 % of trials diverged, +25 percentage points (95 % CI ...)"""
    sign = 1 if row["difference"] >= 0 else -1
    first, second = ("a", "b") if sign > 0 else ("b", "a")
    shares = f"{100 * row[f'value_{first}']:.0f} % against {100 * row[f'value_{second}']:.0f} % of trials diverged"
    levels = f"{named(row['axis'])} {row[f'level_{first}']} against {row[f'level_{second}']}"
    numbers = [*interval(sign, row, ""), counted(row, sign > 0)]
    shown = f"{shares}, {points(sign * row['difference'])} percentage points ({'; '.join(numbers)})"
    return joined(f"{levels}: {shown}", [left_out(row), unknown(row), verdict(row)])


def joined(start: str, clauses: list[str]) -> str:
    return "; ".join([start, *filter(None, clauses)]) + "."


def named(axis: str) -> str:
    return NAMES.get(axis, axis)


def ahead(row: dict, mode: str) -> tuple[str, str, int]:
    """The better level, the worse, and the sign that turns level a less level b into better less worse."""
    a_first = (row["difference"] >= 0) == (mode == "max")
    return (row["level_a"], row["level_b"], 1) if a_first else (row["level_b"], row["level_a"], -1)


def signed(value: float, metric: str, *, unit: bool = True) -> str:
    return f"{'+' if value >= 0 else '-'}{gap_text(abs(value), metric, unit=unit)}"


def points(share: float) -> str:
    return f"{100 * share:+.0f}"


def interval(sign: int, row: dict, metric: str, name: str = "") -> list[str]:
    """Its 95 % interval in the sentence's direction; metric "": of shares. Nothing where there is none."""
    low, high = (row[f"{name}{bound}"] for bound in ("low", "high"))
    if math.isnan(low):
        return []
    low, high = (low, high) if sign > 0 else (-high, -low)
    shown = [signed(bound, metric, unit=False) if metric else points(bound) for bound in (low, high)]
    return [f"95 % CI {shown[0]} to {shown[1]}"]


def at(row: dict) -> str:
    """At which epochs the trials were compared; nothing where that is not known."""
    first, last = row["first_epoch"], row["last_epoch"]
    if math.isnan(last):
        return ""
    return f" at epoch {int(last)}" if first == last else f" at epochs {int(first)} to {int(last)}"


def where(row: dict) -> str:
    """In which settings, and under which seeds."""
    population = row.get("population")
    return f", {population}" if isinstance(population, str) and population else ""


def counted(row: dict, a_first: bool = True) -> str:
    """Over what: 12 pairs of 6 seeds; 3 against 6 trials, not paired, in the order in which the levels are named."""
    if not row["is_paired"]:
        first, second = ("num_a", "num_b") if a_first else ("num_b", "num_a")
        return f"{int(row[first])} against {int(row[second])} trials, not paired"
    of = f" of {count(int(row['num_seeds']), 'seed')}" if row["num_seeds"] else ""  # 0: not recorded
    return f"{count(int(row['num_pairs']), 'pair')}{of}"


def number(row: dict, name: str) -> int:
    """A count of the row; 0 where it has none."""
    value = row.get(name)
    return 0 if value is None or pd.isna(value) else int(value)


def left_out(row: dict) -> str:
    """Without how many pairs or trials a share of diverged trials is."""
    what = number(row, "num_left_out")
    return f"{count(what, 'pair' if row['is_paired'] else 'trial')} of which this is not known left out" if what else ""


def finished(row: dict) -> str:
    """Which pairs or trials it is without, and what those that are left have in common."""
    num_out = number(row, "num_left_out")
    if not num_out:
        return ""
    if not row["is_paired"]:
        left = count(num_out, "trial is", "trials are")
        return f"{left} left out that diverged, froze, failed or did not come to that epoch"
    common = row.get("only_where")
    rest = f", and what remains has {common} alone" if isinstance(common, str) and common else ""
    left = count(num_out, "pair is", "pairs are")
    return f"{left} left out of which a run diverged, froze, failed or measured nothing{rest}"


def started(sign: int, row: dict, metric: str) -> str:
    """The other estimate, of all runs as they were started."""
    difference = row.get("started_difference")
    if difference is None or pd.isna(difference):
        return ""
    bounds = interval(sign, row, metric, "started_")
    shown = f"{signed(sign * difference, metric)}{f' ({bounds[0]})' if bounds else ''}"
    against = ", which points the other way" if row.get("agree") is False else ""
    return f"as started, with runs that diverged or froze at their worst: {shown}{against}"


def unknown(row: dict) -> str:
    """Of how many trials of both levels it is not known whether they diverged."""
    both = number(row, "num_unknown_a") + number(row, "num_unknown_b")
    return f"of {count(both, 'trial')} it is not known whether they diverged" if both else ""


def verdict(row: dict) -> str:
    """What may be concluded."""
    note = row["reason"] if isinstance(row["reason"], str) else ""
    if row["kind"] != "effect":
        return "an association, not an effect"
    if math.isnan(row["low"]):
        return f"no interval: {note}" if note else "no interval"
    tests = count(number(row, "num_tests"), "test")
    if row["decided"]:
        return f"significant: p < 0.05 after Holm's correction for {tests}"
    if row.get("agree") is False:
        return "the two disagree, so nothing is concluded"
    if note:
        return note
    if row["p"] < ALPHA > row["p_least"]:
        return f"significant on its own, but not after Holm's correction for {tests}"
    if row["p_least"] >= ALPHA:
        return f"not significant: of so few the exact test cannot give less than p = {row['p_least']:.2g}"
    if row["low"] > 0 or row["high"] < 0:  # t's interval, and the p of another test, or of the estimate as started
        return f"not significant: p = {row['p']:.2g}"
    return f"not significant{needed(row)}"


def needed(row: dict) -> str:
    """How many more units would show a difference of this size; nothing where that is not known."""
    more = number(row, "num_units_more")
    units = count(more, f"more {row['unit'].removesuffix('s')}", f"more {row['unit']}")
    return f" (a difference of this size would take {units} to show)" if more else ""
