"""Frames -> frames: how the trials ended, of which it is known whether they diverged, when and why. Pure."""

import pandas as pd

from analysis.load.contract import BROKEN, OUTCOMES, WHOLE
from analysis.load.factors import Factor, numbers, settings_columns

WHY = ("outcome_cause", "outcome_blame", "outcome_phase", "outcome_module", "outcome_remedies", "outcome_untried")


def outcome_counts(trials: pd.DataFrame, planned: int | None) -> pd.DataFrame:
    """Columns outcome and num_trials: how many trials ended how, those not started included where `planned`, the number
    of trials of the plan, is known."""
    counts = trials["outcome"].value_counts().to_dict()
    if planned is not None and planned > len(trials):
        counts["not started"] = planned - len(trials)
    order = [*OUTCOMES, *sorted(set(counts) - set(OUTCOMES))]
    rows = [{"outcome": name, "num_trials": int(counts[name])} for name in order if name in counts]
    return pd.DataFrame(rows, columns=["outcome", "num_trials"])


def divergence_known(trials: pd.DataFrame) -> pd.Series:
    """Whether it is known of each trial if it diverged: it did, or it ended otherwise and its curve was read."""
    ended = trials["outcome"].isin(WHOLE) & ~numbers(trials, "num_epochs").eq(0)
    return trials["outcome"].isin(BROKEN) | ended


def unknown_divergences(trials: pd.DataFrame) -> dict[str, int]:
    """How many trials it is not known of, by how they ended: {"failed": 2, "completed without a curve": 1}."""
    counts = trials.loc[~divergence_known(trials), "outcome"].value_counts()
    order = [*OUTCOMES, *sorted(set(counts.index) - set(OUTCOMES))]
    ended = {name: f"{name} without a curve" for name in WHOLE}
    return {ended.get(name, name.replace("_", " ")): int(counts[name]) for name in order if name in counts}


def divergences(trials: pd.DataFrame, factors: list[Factor]) -> pd.DataFrame:
    """A row a diverged or frozen trial, the earliest first: columns for its settings, when and where it was seen, and
    why, where that is known."""
    found = trials[trials["outcome"].isin(BROKEN)]
    found = found.assign(outcome_epoch=event_epochs(found).astype(object))
    found = found.sort_values(["outcome_epoch", "outcome_step", "folder"], key=sortable, na_position="last")
    seen = ["outcome_epoch", "outcome_step", "outcome_where"]
    why = [name for name in WHY if name in found and found[name].notna().any()]
    names = ["trial", *settings_columns(trials, factors), "seed", *seen, *why]
    found = found[[name for name in dict.fromkeys(names) if name in found]]
    return found.rename(columns={name: name.removeprefix("outcome_") for name in (*seen, *why)})


def event_epochs(trials: pd.DataFrame) -> pd.Series:
    """When trials diverged or froze, as the account says, else the last epoch that they came to."""
    told = numbers(trials, "outcome_event_epoch")
    return told.fillna(numbers(trials, "outcome_epoch"))


def causes(trials: pd.DataFrame) -> dict[str, int]:
    """How many diverged trials have which cause, the commonest first; those without an account are left out."""
    found = trials.loc[trials["outcome"].isin(BROKEN), "outcome_cause"]
    return {str(cause): int(number) for cause, number in found.value_counts().items()}


def common_remedies(trials: pd.DataFrame) -> list[str]:
    """What worked in the captured step of every trial that has an account of its divergence."""
    bad = trials["outcome"].isin(BROKEN) & trials["outcome_cause"].notna()
    told = trials.loc[bad, "outcome_remedies"].fillna("")
    sets = [set(names.split(", ")) - {""} for names in told]
    return sorted(set.intersection(*sets)) if sets else []


def failures(trials: pd.DataFrame) -> pd.DataFrame:
    """Columns trial, outcome, epoch, error_type and error_text: trials that ended by an error or for want of memory,
    with what they said."""
    found = trials[trials["outcome"].isin(["failed", "out_of_memory"]) | trials["error_type"].notna()]
    return found[["trial", "outcome", "outcome_epoch", "error_type", "error_text"]].rename(
        columns={"outcome_epoch": "epoch"}
    )


def sortable(column: pd.Series) -> pd.Series:
    return column if column.name == "folder" else pd.to_numeric(column, errors="coerce")
