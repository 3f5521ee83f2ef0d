"""The figures of a report: which there are, from which frames each is drawn, and what its caption says."""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis import charts
from analysis.curves import ALL, CurveFrames, curve_ends, curve_factors, curves, medians, num_without_curve, some_of
from analysis.effects import divergence_known, name_hash
from analysis.factors import Factor, levels, numbers, present_levels
from analysis.page import Picture, slug
from analysis.pictures import Example, NoPicture, draw_examples, draw_side_by_side, examples, paired_examples
from analysis.records import is_number
from analysis.search_course import boundary
from analysis.wording import count, level_text, listed, show
from analysis.words import BAD

IN_THE_FIRST_REPORT = {("model", "dice"): 3, ("model", "loss"): 4, ("upsample", "dice"): 6, ("upsample", "loss"): 7}
MOST_LINES = 300  # in a figure
MOST_BESIDE = 3  # levels whose predictions stand beside each other
HOW_TO_READ = (
    "Thin: one trial each. Bold: the median of the trials that trained that long, dotted once less than half of them"
    " are left; as trials are stopped, it can move by that alone. Band: the middle half of the trials."
    " A cross is the last finite epoch of a diverged trial,"
    " a dot the end of a pruned one."
)
LOSSES = ("train_loss", "val_loss")


def curve_pictures(
    trials: pd.DataFrame, epochs: pd.DataFrame, factors: list[Factor], metric: str = "val_dice"
) -> list[Picture]:
    """Figures of Dice, the metric and the losses for each factor with levels to compare, else one of each for all."""
    found = []
    for factor in curve_factors(trials, factors) or [None]:
        colours = colours_of(trials, factor, factors)
        found += metric_picture(trials, epochs, factor, colours, "val_dice")
        losses = loss_picture(trials, epochs, factor, colours)
        if metric != "val_dice" and not (losses and metric in LOSSES):
            found += metric_picture(trials, epochs, factor, colours, metric)
        found += losses
    return found


def colours_of(trials: pd.DataFrame, factor: Factor | None, factors: list[Factor]) -> dict:
    """The same level has the same colour in every figure of the page."""
    if factor is None:
        return charts.palette([ALL], 0)
    choices = [each.name for each in factors if each.kind == "choice"]
    return charts.palette(present_levels(trials, factor), choices.index(factor.name))


def curve_frames(trials: pd.DataFrame, epochs: pd.DataFrame, factor: Factor | None, metric: str) -> CurveFrames:
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
    frames = curve_frames(trials, epochs, factor, metric)
    if frames.lines.empty:
        return []
    name, by = names_of(factor)
    label = "val_dice [0 to 1]" if metric == "val_dice" else metric
    title = factor.axis_title if factor else ""
    drawn = charts.drawn(charts.draw_metric, frames, colours=colours, title=title, label=label)
    what = f"Validation Dice{by}{like(name, 'dice')}" if metric == "val_dice" else f"{metric}{by}"
    caption = f"{what}.{not_drawn(frames)}"
    return [Picture(f"{slug(metric)}_by_{slug(name)}", caption, last_medians(frames.medians, f"{metric}{by}"), drawn)]


def loss_picture(trials: pd.DataFrame, epochs: pd.DataFrame, factor: Factor | None, colours: dict) -> list[Picture]:
    frames = [curve_frames(trials, epochs, factor, metric) for metric in LOSSES]
    if any(each.lines.empty for each in frames):
        return []
    name, by = names_of(factor)
    drawn = charts.drawn(
        charts.draw_losses, frames, panels=2, colours=colours, title=factor.axis_title if factor else ""
    )
    alt = " ".join(last_medians(each.medians, metric + by) for each, metric in zip(frames, LOSSES, strict=True))
    caption = f"Training and validation loss{by}{like(name, 'loss')}.{not_drawn(frames[1])}"
    return [Picture(f"losses_by_{slug(name)}", caption, alt, drawn)]


def names_of(factor: Factor | None) -> tuple[str, str]:
    return ("trial", ", all trials") if factor is None else (factor.name, f" by {factor.title}")


def like(name: str, what: str) -> str:
    number = IN_THE_FIRST_REPORT.get((name, what))
    return f" (as figure {number} of the first report)" if number else ""


def not_drawn(frames: CurveFrames) -> str:
    absent, more = frames.num_without, frames.num_left_out
    told = f" {count(absent, 'trial')} diverged before any finite epoch and cannot be drawn." if absent else ""
    sampled = f" Lines of {MOST_LINES} trials, chosen by chance; medians and bands are of all {more + MOST_LINES}."
    return told + (sampled if more else "")


def last_medians(medians: pd.DataFrame, what: str) -> str:
    """The figure in words: where each level's median stood last with at least half of its trials, and with how many."""
    last = medians[medians["most"]].groupby("level", sort=False).tail(1)
    parts = [
        f"{row.level} {row.median:.4g} at epoch {row.epoch} ({row.num_trials} of {count(row.num_begun, 'trial')})"
        for row in last.itertuples()
    ]
    return f"Learning curves of {what}. The median while at least half of the trials are in it: {'; '.join(parts)}."


def range_pictures(ranked: pd.DataFrame, factors: list[Factor], metric: str) -> list[Picture]:
    """The best score of each trial against each numeric range (the learning rate first)."""
    points = [(factor, best_points(ranked, factor, factors, metric)) for factor in range_factors(factors)]
    return [best_picture(ranked, factor, found, factors, metric) for factor, found in points if len(found)]


def range_factors(factors: list[Factor]) -> list[Factor]:
    """Axes with numbers to put on an axis: the ranges, and the learning rate even where it is a choice."""
    found = [factor for factor in factors if factor.kind != "choice" or factor.name == "lr"]
    return sorted(found, key=lambda factor: factor.name != "lr")


def best_points(ranked: pd.DataFrame, factor: Factor, factors: list[Factor], metric: str) -> pd.DataFrame:
    """Columns x, value, level (of the first factor with levels to compare), outcome; a row a measured trial."""
    by = colouring(ranked, factors)
    level = pd.Series(ALL, index=ranked.index) if by is None else levels(ranked, by)
    points = {"x": numbers(ranked, factor.name), "value": numbers(ranked, f"best_{metric}"), "level": level}
    return pd.DataFrame(points | {"outcome": ranked["outcome"]}).dropna()


def colouring(trials: pd.DataFrame, factors: list[Factor]) -> Factor | None:
    return next(iter(curve_factors(trials, [factor for factor in factors if factor.name != "lr"])), None)


def best_picture(
    ranked: pd.DataFrame, factor: Factor, points: pd.DataFrame, factors: list[Factor], metric: str
) -> Picture:
    by = colouring(ranked, factors)
    drawn = charts.drawn(
        charts.draw_best_against,
        points,
        colours=colours_of(ranked, by, factors),
        metric=metric,
        name=factor.axis_title,
        log=is_log(factor, points["x"]),
        title=by.axis_title if by else "",
    )
    best = points.iloc[0]
    told = f"The best {metric} of {count(len(points), 'trial')} against {factor.title}"
    return Picture(
        f"best_{slug(metric)}_against_{slug(factor.name)}",
        f"{told}; a pruned or diverged trial counts with what it had reached.",
        f"{told}. The best of them is {best['value']:.4f}, at {best['x']:.4g}.",
        drawn,
    )


def is_log(factor: Factor, values: pd.Series) -> bool:
    return (factor.kind == "log_uniform" or factor.name == "lr") and bool((values > 0).all())


def divergence_picture(trials: pd.DataFrame, factors: list[Factor]) -> list[Picture]:
    """Where in the space trials diverged: learning rate against another axis. None where the rate is no axis."""
    lr = next((factor for factor in factors if factor.name == "lr"), None)
    places, ticks, title = outcome_places(trials, factors)
    bad = places.loc[places["outcome"].isin(BAD), "x"]
    known = places[places["is_known"]]
    if lr is None or bad.empty:
        return []
    log = is_log(lr, places["x"])
    alone = all(factor.name == "lr" for factor in factors)  # the other axis is the epochs then, which are an outcome
    edge = boundary(known.iloc[:0] if alone else known, log=log, is_choice=bool(ticks))
    drawn = charts.drawn(charts.draw_outcomes, places, edge, name=lr.axis_title, ticks=ticks, ylabel=title, log=log)
    spread = " Points of one level are spread a little, to be told apart." if ticks else ""
    alt = (
        f"Of {count(len(known), 'trial')} of which it is known, {len(bad)} diverged, at learning rates from"
        f" {bad.min():.3g} to {bad.max():.3g}."
    )
    line = ""
    if len(edge):
        line = " Black: where half of the trials diverge, by logistic regression."
        alt += f" One in two diverges at learning rates of {edge['x'].min():.3g} to {edge['x'].max():.3g}."
    return [Picture("outcomes", f"How trials ended, by learning rate and {title}.{spread}{line}", alt, drawn)]


def outcome_places(trials: pd.DataFrame, factors: list[Factor]) -> tuple[pd.DataFrame, list[str], str]:
    """Columns x (learning rate), y, outcome, is_known (whether it diverged); the names of y's places if it is a
    choice; y's title."""
    ranges = [factor.name for factor in factors if factor.kind != "choice"]
    known = {factor.name: factor for factor in factors if factor.name != "lr"}
    other = next((known[name] for name in ["batch_size", *ranges, *known] if name in known), None)
    ticks = present_levels(trials, other) if other and other.kind == "choice" else []
    if other is None:
        y = numbers(trials, "num_epochs")
    elif other.kind == "choice":
        spread = trials["folder"].map(lambda folder: name_hash(folder) % 101 / 101 - 0.5).astype(float) * 0.5
        y = levels(trials, other).map({level: place for place, level in enumerate(ticks)}).astype(float) + spread
    else:
        y = numbers(trials, other.name)
    places = pd.DataFrame({"x": numbers(trials, "lr"), "y": y, "outcome": trials["outcome"]})
    places = places.assign(is_known=divergence_known(trials)).dropna()
    return places, ticks, other.axis_title if other else "epochs trained"


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
    drawn = charts.drawn(
        lambda axes: draw_examples(shown, np.atleast_2d(axes)),
        rows=len(shown),
        panels=3,
        height_in=2.05 * len(shown) + 0.3,
    )
    told = "; ".join(f"{each.reason}: {each.name}, Dice {each.dice:.3f}" for each in shown)
    return Picture(
        "predictions",
        f"Predictions of {whose} (as figure 5 of the first report). Orange: the prediction."
        " Blue: the mask, its outline dashed over the prediction. Grey: pixels that no score counts.",
        f"Image, prediction and mask of {told}.",
        drawn,
    )


def side_by_side_pictures(study: Path, ranked: pd.DataFrame, factor: Factor) -> list[Picture]:
    """What the best trials of a factor's first levels see of the same images; none where one left no predictions."""
    level = levels(ranked, factor)
    scored = ranked["rank"].notna()
    best = [ranked[scored & (level == name)].head(1) for name in present_levels(ranked, factor)[:MOST_BESIDE]]
    best = [row.iloc[0] for row in best if len(row)]
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
    rows = [seen.examples for seen in found]
    drawn = charts.drawn(
        lambda axes: draw_side_by_side(rows, np.atleast_2d(axes), titles=titles),
        rows=len(rows[0]),
        panels=len(found) + 1,
        height_in=1.95 * len(rows[0]) + 0.8,
    )
    told = "; ".join(
        f"{row[0].reason}: " + ", ".join(f"{name} {each.dice:.3f}" for name, each in zip(names, row, strict=True))
        for row in zip(*rows, strict=True)
    )
    whose = listed(
        [
            f"{name} (trial {row['trial']} at epoch {seen.epoch} of the {length} it trained, mean Dice"
            f" {seen.mean_dice:.3f})"
            for name, row, seen, length in zip(names, best, found, lengths, strict=True)
        ]
    )
    uneven = " They did not train equally long, so the pictures differ by that, too." if len(set(lengths)) > 1 else ""
    return [
        Picture(
            f"predictions_by_{slug(factor.name)}",
            f"The same images as the best trials of each level see them: {whose}. They are the best, the median and the"
            f" worst image of the first of these.{uneven}",
            f"Dice of the same images, {told}.",
            drawn,
        )
    ]


def trained(trial: pd.Series) -> str:
    """How many epochs a trial trained, in words."""
    return show(trial["num_epochs"]) if is_number(trial["num_epochs"]) else "an unknown number"


def example_frame(shown: list[Example]) -> pd.DataFrame:
    rows = [{"shown_as": each.reason, "name": each.name, "dice": each.dice} for each in shown]
    return pd.DataFrame(rows, columns=["shown_as", "name", "dice"])
