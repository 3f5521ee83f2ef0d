"""Frames -> frames: who is best, what each level of a factor reached, how far seeds lie apart. Pure."""

import zlib

import numpy as np
import pandas as pd

from analysis.load.contract import BROKEN
from analysis.load.factors import Factor, levels, numbers, present_levels, settings_columns
from analysis.load.labels import label
from analysis.stats.outcomes import divergence_known
from analysis.stats.scores import best_epochs


def name_hash(folder: object) -> int:
    """Of a trial's folder: for a sample, or a spread, that is always the same."""
    return zlib.crc32(str(folder).encode())


def rank_trials(trials: pd.DataFrame, epochs: pd.DataFrame, metric: str, mode: str) -> pd.DataFrame:
    """All rows of trials, the best first, with columns rank, best_<metric> and best_epoch; those without a measurement
    last, unranked."""
    score = f"best_{metric}"
    merged = trials.merge(best_epochs(epochs, metric, mode), on="folder", how="left")
    merged[score] = merged[score].astype(float).fillna(numbers(merged, "best_in_record"))  # of trials without lines
    merged = merged.sort_values([score, "folder"], ascending=[mode == "min", True], na_position="last")
    merged = merged.reset_index(drop=True)
    scored = merged[score].notna()
    rank = pd.Series(np.arange(1, len(merged) + 1), index=merged.index).where(scored).astype("Int64")
    return merged.assign(rank=rank, best_epoch=merged["best_epoch"].astype("Int64"))


def without_a_step(ranked: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """The rows of trials whose best epoch came before a single step was taken: that is the first weights' score."""
    if not {"num_steps", "num_skipped_steps"} <= set(epochs):
        return ranked.iloc[:0]
    taken = (epochs["num_steps"] - epochs["num_skipped_steps"]).where(~epochs["rolled_back"])
    until = epochs["epoch"] <= epochs["folder"].map(ranked.set_index("folder")["best_epoch"]).astype(float)
    steps = taken[until].groupby(epochs["folder"]).sum(min_count=1)
    return ranked[ranked["folder"].map(steps).eq(0)]


def ranking_table(ranked: pd.DataFrame, factors: list[Factor], metric: str) -> pd.DataFrame:
    """The columns of the ranking that a reader sees: rank, trial, settings, score, end and cost; a row a trial."""
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
                "num_diverged": int(group["outcome"].isin(BROKEN).sum()),
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


def seed_spread(ranked: pd.DataFrame, factors: list[Factor], metric: str) -> pd.DataFrame:
    """Columns num_seeds and spread (in units of the metric), a row a setting that ran with several seeds: how far apart
    the best of its seeds are."""
    score, names = f"best_{metric}", settings_columns(ranked, factors)
    if "seed" not in ranked:
        return pd.DataFrame({"num_seeds": [], "spread": []})
    keys = ranked[names].map(label).astype(str).agg(" ".join, axis=1) if names else ""
    measured = ranked[ranked[score].notna()].assign(settings=keys)
    groups = measured.groupby("settings").agg(num_seeds=("seed", "nunique"), low=(score, "min"), high=(score, "max"))
    several = groups[groups["num_seeds"] > 1]
    return several.assign(spread=(several["high"] - several["low"]).astype(float))[["num_seeds", "spread"]]
