"""The page's part on predictions: of the best trial, and of the same images under the levels of an axis."""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.figures import canvas
from analysis.figures.predictions import draw_examples, draw_side_by_side
from analysis.load.factors import Factor, levels, numbers, present_levels
from analysis.load.json_files import is_number
from analysis.load.predictions import Example, NoPicture, examples, paired_examples
from analysis.load.study import Study
from analysis.page.blocks import Picture, Section, Table, Text, slug
from analysis.page.wording import level_text, listed, show
from analysis.stats.importances import MOST_FOR_FANOVA
from analysis.stats.subsets import subset_scores

MOST_BESIDE = 3  # levels whose predictions stand beside each other
BESIDE = ("median", "worst")  # images that are shown of several trials
SUBSETS_ABOUT = (
    "Mean Dice on images with thin structures, or of the background's colours, at the best epoch of each completed"
    " trial. Trials that did not complete, or left no scores, are left out, which may favour the level that has many of"
    f" them. Of more than {MOST_FOR_FANOVA} trials a fixed sample is read."
)


def best_examples(folder: Path, ranked: pd.DataFrame) -> tuple[list[Example], str, str]:
    """Examples of the best trial that left predictions, whose they are, and a gap where a better trial left none."""
    failed = []
    for trial in ranked[ranked["rank"].notna()].head(5).itertuples():
        try:
            shown, epoch = examples(folder, folder / str(trial.folder))
        except NoPicture as reason:
            failed.append(f"{trial.trial} ({reason})")
            continue
        gap = f"No predictions can be shown of: {listed(failed)}." if failed else ""
        return shown, f"trial {trial.trial} (rank {trial.rank}) at its best epoch, {epoch}", gap
    return [], "", f"No predictions can be shown{' of: ' + listed(failed) if failed else ': no trial has a score'}."


def example_picture(shown: list[Example], whose: str) -> Picture:
    """Image, prediction and mask of each example."""
    drawn = canvas.drawn(
        lambda axes: draw_examples(shown, np.atleast_2d(axes)),
        rows=len(shown),
        panels=3,
        height_in=2.05 * len(shown) + 0.3,
    )
    told = "; ".join(f"{each.reason}: {each.name}, Dice {each.dice:.3f}" for each in shown)
    return Picture(
        "predictions",
        f"Predictions of {whose}. Yellow: the prediction. Light blue:"
        " the mask, its outline dashed over the prediction. Grey: pixels that no score counts.",
        f"Image, prediction and mask of {told}.",
        drawn,
    )


def side_by_side_pictures(study: Path, ranked: pd.DataFrame, factor: Factor) -> list[Picture]:
    """What the best trials of a factor's first levels see of the same images; none where one left no predictions."""
    level = levels(ranked, factor)
    best = comparable_trials(ranked, factor)
    if len(best) < 2:
        return []
    try:
        found = paired_examples(study, [study / str(row["folder"]) for row in best])
    except NoPicture:
        return []
    names = [level_text(factor.name, str(level[row.name])) for row in best]
    lengths = [trained(row) for row in best]
    titles = [
        f"{name}\nepoch {seen.epoch} of {length}\nDice {seen.mean_dice:.3f}"
        for name, seen, length in zip(names, found, lengths, strict=True)
    ]
    rows = [[each for each in seen.examples if each.reason in BESIDE] for seen in found]
    drawn = canvas.drawn(
        lambda axes: draw_side_by_side(rows, np.atleast_2d(axes), titles=titles),
        rows=len(rows[0]),
        panels=len(found) + 1,
        height_in=1.95 * len(rows[0]) + 0.8,
    )
    told = "; ".join(
        f"{row[0].reason}: " + ", ".join(f"{name} {each.dice:.3f}" for name, each in zip(names, row, strict=True))
        for row in zip(*rows, strict=True)
    )
    whose = listed([f"{name} (trial {row['trial']})" for name, row in zip(names, best, strict=True)])
    trials = [
        f"{name} (trial {row['trial']} at epoch {seen.epoch} of the {length} it trained, mean Dice"
        f" {seen.mean_dice:.3f})"
        for name, row, seen, length in zip(names, best, found, lengths, strict=True)
    ]
    uneven = " They did not train equally long, which is a part of the difference." if len(set(lengths)) > 1 else ""
    return [
        Picture(
            f"predictions_by_{slug(factor.name)}",
            f"The same images, by {whose}. They are the median and the worst image of the first.{uneven}",
            f"Dice of the same images, {told}; by {listed(trials)}.",
            drawn,
        )
    ]


def comparable_trials(ranked: pd.DataFrame, factor: Factor) -> list[pd.Series]:
    """The best trial of each of the first levels, of those that trained the longest that all levels did; where no
    number of epochs is common to them, the best whatever they trained."""
    scored = ranked[ranked["rank"].notna()]
    level = levels(scored, factor)
    sides = [scored[level == name] for name in present_levels(ranked, factor)[:MOST_BESIDE]]
    sides = [side for side in sides if len(side)]
    common = set.intersection(*(set(numbers(side, "num_epochs").dropna()) for side in sides)) if sides else set()
    alike = [side[numbers(side, "num_epochs") == max(common)] for side in sides] if common else sides
    return [side.iloc[0] for side in alike]


def trained(trial: pd.Series) -> str:
    """How many epochs a trial trained, in words."""
    return show(trial["num_epochs"]) if is_number(trial["num_epochs"]) else "an unknown number"


def example_frame(shown: list[Example]) -> pd.DataFrame:
    """Columns shown_as, name and dice, a row an example."""
    rows = [{"shown_as": each.reason, "name": each.name, "dice": each.dice} for each in shown]
    return pd.DataFrame(rows, columns=["shown_as", "name", "dice"])


def predictions_section(
    study: Study, ranked: pd.DataFrame, asked: Factor | None, best: tuple[list[Example], str, str]
) -> Section:
    """Of the best trial, of the same images under the levels of the asked axis, and of hard cases.

    best: what best_examples gave.
    """
    shown, whose, gap = best
    if not shown:
        return Section("Predictions", [Text(gap)])
    beside = side_by_side_pictures(study.folder, ranked, asked) if asked else []
    subsets = subset_scores(study.folder, ranked, asked)
    more = [
        *beside,
        *([Table("subsets", SUBSETS_ABOUT, subsets, axis=asked.name if asked else "")] if len(subsets) else []),
    ]
    caption = "The validation images shown: the best, the median and the worst, and the worst of each hard case."
    table = Table("predictions", caption, example_frame(shown))
    return Section("Predictions", [example_picture(shown, whose), table, *more], f"of {whose}")
