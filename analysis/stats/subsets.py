"""Hard cases on their own: what trials score on images with thin structures, or of the background's colours."""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.load.factors import Factor, levels
from analysis.load.json_files import read_json
from analysis.load.predictions import FILES, kept_in, read_scores
from analysis.stats.importances import sampled

REST = "neither"  # images that bear no label


def subset_scores(study: Path, ranked: pd.DataFrame, factor: Factor | None) -> pd.DataFrame:
    """Columns kind, level, num_images (most that a trial has a score of), num_trials, num_left_out, mean_dice; empty
    where no image is labelled as a hard case."""
    kinds = kinds_of(study / "validation.json")
    if not kinds:
        return pd.DataFrame()
    trials = sampled(ranked)
    level = levels(trials, factor) if factor else pd.Series("all trials", trials.index)
    rows = [
        {"kind": kind, "level": level[place], "num_images": number, "dice": mean}
        for place, folder in trials.loc[trials["outcome"] == "completed", "folder"].items()
        for kind, number, mean in means_of(study / str(folder), kinds)
    ]
    if not rows:
        return pd.DataFrame()
    grouped = pd.DataFrame(rows).dropna().groupby(["kind", "level"], sort=False)
    found = grouped.agg(
        num_images=("num_images", "max"), num_trials=("dice", "size"), mean_dice=("dice", "mean")
    ).reset_index()
    left_out = found["level"].map(level.value_counts()) - found["num_trials"]
    return found[["kind", "level", "num_images", "num_trials"]].assign(
        num_left_out=left_out.astype(int), mean_dice=found["mean_dice"]
    )


def kinds_of(path: Path) -> dict[str, set[str]]:
    """Kind -> names of its images, those without a kind as REST; empty where there is no kind at all."""
    labels, problem = read_json(path)
    if problem or not isinstance(labels, list):
        return {}
    found: dict[str, set[str]] = {}
    for label in (each for each in labels if isinstance(each, dict)):
        cases = [case for case in label.get("hard_cases") or [] if isinstance(case, str)]
        for case in cases or [REST]:
            found.setdefault(case, set()).add(str(label.get("name")))
    return found if set(found) - {REST} else {}


def means_of(trial: Path, kinds: dict[str, set[str]]) -> list[tuple[str, int, float]]:
    """Of one trial, a kind, how many of its images have a score, and their mean; nothing where it left no scores that
    can be read."""
    try:
        scores = read_scores(kept_in(trial) / FILES[1]).set_index("name")["dice"]
    except (OSError, KeyError, TypeError, ValueError):
        return []
    scores = scores[np.isfinite(scores)]
    own = {kind: scores[scores.index.isin(names)] for kind, names in sorted(kinds.items())}
    return [(kind, len(values), float(values.mean())) for kind, values in own.items()]
