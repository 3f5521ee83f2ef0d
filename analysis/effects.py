"""Frames -> frames: who is best, what each level of a factor reached, how the trials ended. Pure."""

import zlib

import numpy as np
import pandas as pd

from analysis.factors import Factor, label, levels, numbers, present_levels
from analysis.trial_scores import best_epochs
from analysis.words import BAD, OUTCOMES


def name_hash(folder: object) -> int:
    """Of a trial's folder: for a sample, or a spread, that is always the same."""
    return zlib.crc32(str(folder).encode())


def rank_trials(trials: pd.DataFrame, epochs: pd.DataFrame, metric: str, mode: str) -> pd.DataFrame:
    """All trials, the best first, with rank, best_<metric>, best_epoch; those without a measurement last, unranked."""
    score = f"best_{metric}"
    merged = trials.merge(best_epochs(epochs, metric, mode), on="folder", how="left")
    merged[score] = merged[score].astype(float).fillna(numbers(merged, "best_in_record"))  # of trials without lines
    merged = merged.sort_values([score, "folder"], ascending=[mode == "min", True], na_position="last")
    merged = merged.reset_index(drop=True)
    scored = merged[score].notna()
    rank = pd.Series(np.arange(1, len(merged) + 1), index=merged.index).where(scored).astype("Int64")
    return merged.assign(rank=rank, best_epoch=merged["best_epoch"].astype("Int64"))


def without_a_step(ranked: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """The trials whose best epoch came before a single step was taken: their score is that of the first weights."""
    if not {"num_steps", "num_skipped_steps"} <= set(epochs):
        return ranked.iloc[:0]
    taken = (epochs["num_steps"] - epochs["num_skipped_steps"]).where(~epochs["rolled_back"])
    until = epochs["epoch"] <= epochs["folder"].map(ranked.set_index("folder")["best_epoch"]).astype(float)
    steps = taken[until].groupby(epochs["folder"]).sum(min_count=1)
    return ranked[ranked["folder"].map(steps).eq(0)]


def ranking_table(ranked: pd.DataFrame, factors: list[Factor], metric: str) -> pd.DataFrame:
    names = [
        "rank",
        "trial",
        *settings_columns(ranked, factors),
        f"best_{metric}",
        "best_epoch",
        "outcome",
        "num_epochs",
        "seed",
        "images_per_s",
        "duration_s",
    ]
    return ranked[[name for name in dict.fromkeys(names) if name in ranked]]


def level_summary(ranked: pd.DataFrame, factor: Factor, metric: str) -> pd.DataFrame:
    """One row a level: trials, those measured, those diverged or frozen, and the median and range of their bests."""
    score, level = f"best_{metric}", levels(ranked, factor)
    rows = []
    for name in present_levels(ranked, factor):
        group = ranked[level == name]
        values = group[score].dropna().astype(float)
        rows.append(
            {
                "level": name,
                "num_trials": len(group),
                "num_measured": len(values),
                f"median_{score}": values.median() if len(values) else np.nan,
                "lowest": values.min() if len(values) else np.nan,
                "highest": values.max() if len(values) else np.nan,
                "num_pruned": int((group["outcome"] == "pruned").sum()),
                "num_diverged": int(group["outcome"].isin(BAD).sum()),
                "num_unknown": int((~divergence_known(group)).sum()),  # whether they would have diverged
            }
        )
    return pd.DataFrame(
        rows,
        columns=[
            "level",
            "num_trials",
            "num_measured",
            f"median_{score}",
            "lowest",
            "highest",
            "num_pruned",
            "num_diverged",
            "num_unknown",
        ],
    )


def outcome_counts(trials: pd.DataFrame, planned: int | None) -> pd.DataFrame:
    """How many trials ended how, those not started included where the plan is known."""
    counts = trials["outcome"].value_counts().to_dict()
    if planned is not None and planned > len(trials):
        counts["not started"] = planned - len(trials)
    order = [*OUTCOMES, *sorted(set(counts) - set(OUTCOMES))]
    rows = [
        {"outcome": name, "num_trials": int(counts[name]), "meaning": OUTCOMES.get(name, "no known outcome")}
        for name in order
        if name in counts
    ]
    return pd.DataFrame(rows, columns=["outcome", "num_trials", "meaning"])


def divergence_known(trials: pd.DataFrame) -> pd.Series:
    """Whether it is known of each trial if it diverged: it did, or it ended otherwise and its curve was read."""
    ended = trials["outcome"].isin(["completed", "pruned"]) & ~numbers(trials, "num_epochs").eq(0)
    return trials["outcome"].isin(BAD) | ended


def unknown_divergences(trials: pd.DataFrame) -> dict[str, int]:
    """How many trials it is not known of, by how they ended: {"failed": 2, "completed without a curve": 1}."""
    counts = trials.loc[~divergence_known(trials), "outcome"].value_counts()
    order = [*OUTCOMES, *sorted(set(counts.index) - set(OUTCOMES))]
    ended = {name: f"{name} without a curve" for name in ("completed", "pruned")}
    return {ended.get(name, name.replace("_", " ")): int(counts[name]) for name in order if name in counts}


WHY = ("outcome_cause", "outcome_blame", "outcome_phase", "outcome_module", "outcome_remedies", "outcome_untried")


def divergences(trials: pd.DataFrame, factors: list[Factor]) -> pd.DataFrame:
    """The diverged and frozen trials, the earliest first: settings, when and where it was seen, and why, if told."""
    found = trials[trials["outcome"].isin(BAD)]
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
    found = trials.loc[trials["outcome"].isin(BAD), "outcome_cause"]
    return {str(cause): int(number) for cause, number in found.value_counts().items()}


def common_remedies(trials: pd.DataFrame) -> list[str]:
    """What worked in the captured step of every trial that has an account of its divergence."""
    bad = trials["outcome"].isin(BAD) & trials["outcome_cause"].notna()
    told = trials.loc[bad, "outcome_remedies"].fillna("")
    sets = [set(names.split(", ")) - {""} for names in told]
    return sorted(set.intersection(*sets)) if sets else []


def failures(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials that ended by an error or for want of memory, with what they said."""
    found = trials[trials["outcome"].isin(["failed", "out_of_memory"]) | trials["error_type"].notna()]
    return found[["trial", "outcome", "outcome_epoch", "error_type", "error_text"]].rename(
        columns={"outcome_epoch": "epoch"}
    )


def seed_spread(ranked: pd.DataFrame, factors: list[Factor], metric: str) -> pd.DataFrame:
    """The settings that ran with several seeds: how far apart the best of the seeds are."""
    score, names = f"best_{metric}", settings_columns(ranked, factors)
    if "seed" not in ranked:
        return pd.DataFrame({"num_seeds": [], "spread": []})
    keys = ranked[names].map(label).astype(str).agg(" ".join, axis=1) if names else ""
    measured = ranked[ranked[score].notna()].assign(settings=keys)
    groups = measured.groupby("settings").agg(num_seeds=("seed", "nunique"), low=(score, "min"), high=(score, "max"))
    several = groups[groups["num_seeds"] > 1]
    return several.assign(spread=(several["high"] - several["low"]).astype(float))[["num_seeds", "spread"]]


def settings_columns(trials: pd.DataFrame, factors: list[Factor]) -> list[str]:
    return [factor.name for factor in factors if factor.name in trials]


def sortable(column: pd.Series) -> pd.Series:
    return column if column.name == "folder" else pd.to_numeric(column, errors="coerce")
