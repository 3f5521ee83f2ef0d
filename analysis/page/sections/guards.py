"""The page's part on what the guards did: for each, how many runs met an event, how many lived, what they scored."""

from dataclasses import dataclass

import pandas as pd

from analysis.load.contract import BROKEN
from analysis.load.factors import Factor
from analysis.load.study import Study
from analysis.page.blocks import Items, Section, Table
from analysis.page.wording import count, show
from analysis.stats.guards import fates, guard_table, guards_of

TITLE = "What the guards did"
CAPTION = (
    "An event: values were not finite, or the loss scale, the skipped steps or the validation loss passed their limits."
    " Of the runs that met one, those that lived on were validated in the last planned epoch with a finite loss and"
    " trained weights; those cut short were stopped by the scheduler, failed or were interrupted. Medians are of"
    " {metric} in the last epoch."
)


@dataclass(frozen=True)
class GuardFindings:
    """The table of what runs did with and without each guard, empty where none varied, and its sentences."""

    table: pd.DataFrame
    sentences: list[str]


def guard_findings(study: Study, factors: list[Factor]) -> GuardFindings:
    """What the study's guards did, as a table and in sentences."""
    guards = guards_of(study.trials, factors)
    if not guards:
        return GuardFindings(pd.DataFrame(), [])
    table = guard_table(study.trials, study.epochs, guards, study.metric)
    return GuardFindings(table, [*told(table, study.metric), *flagged(study)])


def guard_section(found: GuardFindings, metric: str) -> Section:
    """Nothing where no guard was switched on in some runs and off in others."""
    if found.table.empty:
        return Section(TITLE, [])
    return Section(
        TITLE,
        [Items(found.sentences), Table("guards", CAPTION.format(metric=metric), found.table)],
        f"{int(found.table['num_with_event'].max())} runs met an event",
    )


def guard_sentences(found: GuardFindings, num_runs: int) -> list[str]:
    """For the answer: nothing where no guard was varied, or where no run met an event to be guarded from."""
    if len(found.table) and not found.table["num_with_event"].any():
        runs = count(num_runs, "run")
        return [f"None of the {runs} met an event, so this study cannot tell what the guards are worth."]
    return found.sentences


def flagged(study: Study) -> list[str]:
    """Of runs that lived and are called diverged all the same."""
    lived = fates(study.trials, study.epochs, study.metric)["fate"].eq("lived")
    number = int((lived & study.trials["outcome"].isin(BROKEN)).sum())
    if not number:
        return []
    runs = "A run that lived" if number == 1 else f"{number} runs that lived"
    return [
        f"{runs} still passed a limit in the last epoch, so the rest of this page calls"
        f" {'it' if number == 1 else 'them'} diverged."
    ]


def told(table: pd.DataFrame, metric: str) -> list[str]:
    """No guard first; each guard alone where a run had it alone, else with the others.

    table: rows of guard_table.
    """
    names = set(table["guards"])
    rows = [
        row for row in table.to_dict("records") if f"{row['guards'].removesuffix(', any others')} alone" not in names
    ]
    none = [] if "none" in names else ["No run was without a guard, so there is none to compare with."]
    return [*(sentence(row, metric) for row in rows), *none]


def sentence(row: dict, metric: str) -> str:
    """With clip_norm=1 alone: 3 of 4 runs met an event; 2 of these lived to the last epoch (val_dice 0.7000 there)."""
    with_it = "Without a guard" if row["guards"] == "none" else f"With {row['guards']}"
    met, lived, cut = row["num_with_event"], row["num_lived"], row["num_cut"]
    start = f"{with_it}, {met} of {count(row['num_trials'], 'run')} met an event"
    clean = f"median {metric} of those that met none: {show(row['median_end_without_event'], metric)}"
    rest = "" if pd.isna(row["median_end_without_event"]) else f"; {clean}"
    if not met:
        return f"{start}{rest}."
    end = "" if pd.isna(row["median_end_after_event"]) else f", with a median {metric} of"
    end += f" {show(row['median_end_after_event'], metric)} there" if end else ""
    unknown = f" ({cut} cut short, so not known)" if cut else ""
    return f"{start}; {of_these(lived, met)} lived to the last epoch{end}{unknown}{rest}."


def of_these(lived: int, met: int) -> str:
    """How many of the runs that met an event lived, in words."""
    if lived == 0:
        return "none of these"
    return f"{lived} of these {met}" if lived < met else f"all {met}" if met > 1 else "it"
