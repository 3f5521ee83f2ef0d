"""The page's part on learning curves: which figures there are, from which frames, and what their captions say."""

import pandas as pd

from analysis.figures import canvas
from analysis.figures import curves as curve_figures
from analysis.figures.canvas import colours_of
from analysis.load.factors import Factor, compared_factors
from analysis.load.study import Study
from analysis.page.blocks import Picture, Section, Text, slug
from analysis.page.wording import count
from analysis.stats.curves import (
    CurveFrames,
    curve_ends,
    curves,
    medians,
    num_without_curve,
    some_of,
)

MOST_LINES = 300  # in a figure
HOW_TO_READ = (
    "A thin line is a trial. A bold line is the median, up to the last epoch that at least half of the trials reached,"
    " and at every epoch of the same trials; the band is their middle half."
)
MARKS = {  # of the ends of lines, where a trial of this outcome is there
    "diverged": " A cross is the last finite epoch of a diverged trial.",
    "pruned": " A dot is the last epoch of a stopped trial.",
}
LOSSES = ("train_loss", "val_loss")


def curve_pictures(
    trials: pd.DataFrame, epochs: pd.DataFrame, factors: list[Factor], metric: str = "val_dice"
) -> list[Picture]:
    """Figures of Dice, the metric and the losses for each factor with levels to compare, else one of each for all."""
    found = []
    for factor in compared_factors(trials, factors) or [None]:
        colours = colours_of(trials, factor, factors)
        found += metric_picture(trials, epochs, factor, colours, "val_dice")
        losses = loss_picture(trials, epochs, factor, colours)
        if metric != "val_dice" and not (losses and metric in LOSSES):
            found += metric_picture(trials, epochs, factor, colours, metric)
        found += losses
    return found


def curve_frames(trials: pd.DataFrame, epochs: pd.DataFrame, factor: Factor | None, metric: str) -> CurveFrames:
    """What one figure is drawn from: at most MOST_LINES lines, and medians of all trials."""
    found = curves(trials, epochs, factor, metric)
    shown = some_of(found, MOST_LINES)
    return CurveFrames(
        shown,
        medians(found, trials, factor),
        curve_ends(shown, trials),
        num_left_out=found["folder"].nunique() - shown["folder"].nunique(),
        num_without=num_without_curve(found, trials),
    )


def metric_picture(
    trials: pd.DataFrame, epochs: pd.DataFrame, factor: Factor | None, colours: dict, metric: str
) -> list[Picture]:
    """The figure of one metric; none where no trial has a line."""
    frames = curve_frames(trials, epochs, factor, metric)
    if frames.lines.empty:
        return []
    name, by = names_of(factor)
    label = "val_dice [0 to 1]" if metric == "val_dice" else metric
    title = factor.axis_title if factor else ""
    drawn = canvas.drawn(curve_figures.draw_metric, frames, colours=colours, title=title, label=label)
    what = f"Validation Dice{by}" if metric == "val_dice" else f"{metric}{by}"
    caption = f"{what}.{not_drawn(frames)}"
    return [Picture(f"{slug(metric)}_by_{slug(name)}", caption, last_medians(frames.medians, f"{metric}{by}"), drawn)]


def loss_picture(trials: pd.DataFrame, epochs: pd.DataFrame, factor: Factor | None, colours: dict) -> list[Picture]:
    """The losses of training and of validation beside each other; none where one of them has no line."""
    frames = [curve_frames(trials, epochs, factor, metric) for metric in LOSSES]
    if any(each.lines.empty for each in frames):
        return []
    name, by = names_of(factor)
    drawn = canvas.drawn(
        curve_figures.draw_losses, frames, panels=2, colours=colours, title=factor.axis_title if factor else ""
    )
    alt = " ".join(last_medians(each.medians, metric + by) for each, metric in zip(frames, LOSSES, strict=True))
    caption = f"Training and validation loss{by}.{not_drawn(frames[1])}"
    return [Picture(f"losses_by_{slug(name)}", caption, alt, drawn)]


def names_of(factor: Factor | None) -> tuple[str, str]:
    """How a factor is called in a file's name and in a caption; without a factor: all trials."""
    return ("trial", ", all trials") if factor is None else (factor.name, f" by {factor.title}")


def not_drawn(frames: CurveFrames) -> str:
    """How many trials are not drawn, and why, for a caption."""
    absent, more = frames.num_without, frames.num_left_out
    told = f" {count(absent, 'trial')} diverged before any finite epoch and cannot be drawn." if absent else ""
    sampled = f" Lines of {MOST_LINES} trials, chosen by chance; medians and bands are of all {more + MOST_LINES}."
    return told + (sampled if more else "")


def last_medians(medians: pd.DataFrame, what: str) -> str:
    """The figure in words: where each level's median ends, and of how many trials it is.

    medians: columns level, epoch, median, num_trials and num_begun.
    """
    last = medians.groupby("level", sort=False).tail(1)
    parts = [
        f"{row.level} {row.median:.4g} at epoch {row.epoch} ({row.num_trials} of {count(row.num_begun, 'trial')})"
        for row in last.itertuples()
    ]
    return f"Learning curves of {what}. Medians: {'; '.join(parts)}."


def how_to_read(trials: pd.DataFrame) -> str:
    """What the lines are, and the marks of those outcomes that are there; trials: column outcome."""
    return HOW_TO_READ + "".join(text for outcome, text in MARKS.items() if trials["outcome"].eq(outcome).any())


def curves_section(study: Study, factors: list[Factor]) -> Section:
    """How to read learning curves, and their figures; or why there is none."""
    pictures = curve_pictures(study.trials, study.epochs, factors, study.metric)
    is_lost = study.epochs.empty and study.trials["best_in_record"].notna().any()
    lost = "The lines of no trial can be read, so there is no curve to draw: only last and best values are recorded."
    nothing = Text(lost if is_lost else "No trial has a finite epoch yet: there is no curve to draw.")
    about = f"{count(len(pictures), 'figure')} by setting"
    return Section("Learning curves", [Text(how_to_read(study.trials)), *pictures] if pictures else [nothing], about)
