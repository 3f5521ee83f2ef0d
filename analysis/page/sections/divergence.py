"""The page's part on divergence: which trials, when (by setting), where (by layer), why (by cause), at what cost."""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.figures import canvas, divergence
from analysis.figures.canvas import colours_of
from analysis.figures.places import draw_outcomes
from analysis.load.contract import BROKEN
from analysis.load.factors import Factor, compared_factors, levels, numbers, present_levels, settings_columns
from analysis.load.layers import Headroom, read_headroom
from analysis.load.study import Study
from analysis.page import words
from analysis.page.blocks import Items, Picture, Section, Shown, Table, Text, slug
from analysis.page.wording import count, listed, show, unknown_text
from analysis.stats.outcomes import divergences, unknown_divergences
from analysis.stats.places import is_log, outcome_places
from analysis.stats.search_history import boundary
from analysis.stats.survival import epochs_spent, incidence_by, survival_table

TITLE = "Which trials diverged, when and why"
MOST_PICTURES = 4  # of incidence: the axes with the widest gap between the intervals of two levels
MOST_STRIPS = 3  # one a cause, the commonest first
MOST_TRACES = 200
NAIVE = (
    "A trial that was stopped early can no longer diverge, so these shares are lower than they would be had no trial"
    ' been stopped. "Had none been stopped" estimates that, if the stopped trials were as likely to diverge as the'
    " others."
)
TABLE_ABOUT = (
    "The share of trials that have diverged or frozen by the last epoch of any trial of the level (Aalen-Johansen in"
    " discrete time). A trial of which it is not known whether it would have diverged counts until its last whole"
    " epoch. Whether levels differ is tested in the part on what the settings do."
)
SPENT_ABOUT = (
    "The epochs that each trial trained after its first abnormal step, and the planned epochs that were saved because"
    " it was ended when it broke."
)


def divergence_section(study: Study, factors: list[Factor]) -> Section:
    """Empty where no trial diverged or froze."""
    trials, found = study.trials, divergences(study.trials, factors)
    unknown = unknown_divergences(trials)
    if found.empty:
        return Section(TITLE, [])
    rest = f" (not known of {sum(unknown.values())}: {unknown_text(unknown)})" if unknown else ""
    caption = (
        "The earliest first. Remedies are settings under which the step at which the trial broke, re-run by itself, is"
        " finite and agrees with float32; a whole run was not tried."
    )
    return Section(
        TITLE,
        [
            *when_blocks(trials, factors),
            *divergence_picture(trials, factors),
            *cause_tables(trials, factors),
            *strip_pictures(study),
            *scale_picture(study),
            divergence_table(found, caption, trials, factors),
            *spent_blocks(trials),
        ],
        f"{len(found)} of {count(len(trials), 'trial')}{rest}; by setting, layer and cause",
    )


def divergence_picture(trials: pd.DataFrame, factors: list[Factor]) -> list[Picture]:
    """Where in the space trials diverged: learning rate against another axis. None where the rate is no axis."""
    lr = next((factor for factor in factors if factor.name == "lr"), None)
    places, ticks, title = outcome_places(trials, factors)
    bad = places.loc[places["outcome"].isin(BROKEN), "x"]
    known = places[places["is_known"]]
    if lr is None or bad.empty:
        return []
    log = is_log(lr, places["x"])
    alone = all(factor.name == "lr" for factor in factors)  # the other axis is the epochs then, which are an outcome
    edge = boundary(known.iloc[:0] if alone else known, log=log, is_choice=bool(ticks))
    drawn = canvas.drawn(draw_outcomes, places, edge, name=lr.axis_title, ticks=ticks, ylabel=title, log=log)
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


def divergence_table(found: pd.DataFrame, caption: str, trials: pd.DataFrame, factors: list[Factor]) -> Table:
    """The page's columns in words; the file has the names as they were recorded.

    found: rows of stats' divergences.
    """
    worded = {
        "where": words.event,
        "cause": words.cause,
        "remedies": lambda names: listed([words.remedy(name) for name in names.split(", ") if name], "or"),
    }
    shown = {
        name: found[name].map(lambda value, of=of: of(value) if isinstance(value, str) else value)
        for name, of in worded.items()
        if name in found
    }
    settings = settings_columns(trials, factors)
    return Table(
        "divergences",
        caption,
        found,
        settings,
        choices=[factor.name for factor in factors if factor.kind == "choice"],
        columns=("trial", "epoch", "where", "cause", "module", "remedies", *settings),
        heads={factor.name: factor.title for factor in factors} | {"where": "what showed it"},
        page=found.assign(**shown),
    )


def incidence_table(table: pd.DataFrame) -> Table:
    """The interval in one column; what stopping and unknown ends change only where there are any."""
    bounds = zip(table["low"], table["high"], strict=True)
    unstopped = table.get("without_pruning", table["incidence"])
    shown = table.assign(
        without_pruning=[share_shown(share) for share in unstopped],
        incidence=[share_shown(share) for share in table["incidence"]],
        interval=[f"{low:.0%} to {high:.0%}" for low, high in bounds],
    )
    stopped = ["without_pruning"] if table["num_pruned"].any() else []
    unknown = ["num_unknown"] if table["num_unknown"].any() else []
    return Table(
        "incidence",
        TABLE_ABOUT,
        table,
        columns=("axis", "level", "num_trials", "num_diverged", "incidence", "interval", *stopped, *unknown),
        heads={"incidence": "share", "interval": "95 % CI"},
        page=shown,
    )


def share_shown(share: float) -> Shown:
    return Shown("–" if np.isnan(share) else f"{share:.0%}", share)


def when_blocks(trials: pd.DataFrame, factors: list[Factor]) -> list:
    """Pictures of the incidence, and its table with the note on pruning where it matters."""
    table = survival_table(trials, factors)
    if table.empty:
        return []
    by_name = {factor.name: factor for factor in factors}
    bounds = table.groupby("axis", sort=False).agg(low=("low", "max"), high=("high", "min"))
    apart = (bounds["low"] - bounds["high"]).sort_values(ascending=False, kind="stable")
    pictures = [incidence_picture(trials, by_name[name], factors, table) for name in apart.index[:MOST_PICTURES]]
    note = [Text(NAIVE)] if table["num_pruned"].any() else []
    return [*note, *pictures, incidence_table(table)]


def incidence_picture(trials: pd.DataFrame, factor: Factor, factors: list[Factor], table: pd.DataFrame) -> Picture:
    """The share of trials that have diverged, by the levels of a factor; table: rows of survival_table."""
    colours = colours_of(trials, factor, factors)
    drawn = canvas.drawn(
        divergence.draw_incidence, incidence_by(trials, factor), colours=colours, title=factor.axis_title
    )
    own = table[(table["axis"] == factor.name) & table["incidence"].notna()].to_dict("records")
    told = [
        f"{row['level']} {row['incidence']:.0%} ({row['low']:.0%} to {row['high']:.0%})"
        f" by epoch {int(row['last_epoch'])}"
        for row in own
    ]
    return Picture(
        f"incidence_by_{slug(factor.name)}",
        f"The share of trials that have diverged, by {factor.title}, with its 95 % band.",
        f"Cumulative incidence of divergence by {factor.title}: {'; '.join(told)}.",
        drawn,
    )


def cause_tables(trials: pd.DataFrame, factors: list[Factor]) -> list[Table]:
    """How many diverged of which cause, by level. None where no account tells a cause."""
    bad = trials[trials["outcome"].isin(BROKEN) & trials["outcome_cause"].notna()]
    if bad.empty:
        return []
    rows = []
    for factor in compared_factors(trials, factors):
        level = levels(bad, factor)
        for name in present_levels(trials, factor):
            counted = bad.loc[level == name, "outcome_cause"].value_counts()
            rows.append({"axis": factor.name, "level": name} | {str(cause): int(n) for cause, n in counted.items()})
    if not rows:
        return []
    table = pd.DataFrame(rows)
    causes = sorted(set(table) - {"axis", "level"}, key=lambda name: -table[name].sum())
    table[causes] = table[causes].fillna(0).astype(int)
    heads = {cause: words.cause(cause) for cause in causes}
    return [Table("causes", "Why: trials by cause, for each level.", table[["axis", "level", *causes]], heads=heads)]


def strip_pictures(study: Study) -> list[Picture]:
    """Of each cause the earliest trial whose layers were recorded, as a strip of its layers over the epochs."""
    bad = study.trials[study.trials["outcome"].isin(BROKEN)]
    order = bad["outcome_cause"].fillna("no recorded cause").value_counts().index[:MOST_STRIPS]
    found = []
    for cause in order:
        own = bad[bad["outcome_cause"].fillna("no recorded cause") == cause]
        for trial in own.assign(at=numbers(own, "outcome_epoch")).sort_values("at", kind="stable").to_dict("records"):
            module = trial["outcome_module"] if isinstance(trial["outcome_module"], str) else None
            headroom = read_headroom(study.folder / trial["folder"], module)
            if headroom is not None:
                found.append(strip_picture(headroom, trial["trial"], str(cause)))
                break
    return found


def strip_picture(headroom: Headroom, trial: str, cause: str) -> Picture:
    """A trial's layers over the epochs, and which of them the diagnosis names."""
    height_in = min(8.0, 1.6 + 0.115 * len(headroom.layers))
    drawn = canvas.drawn(divergence.draw_headroom, headroom, height_in=height_in)
    least = np.nanmin(headroom.bits)
    place = int(np.argmax(np.any(headroom.bits == least, axis=1)))
    bad = f" The diagnosis names {headroom.first_bad}, in bold." if headroom.first_bad else ""
    nearest = (
        "past float16's largest number" if np.isneginf(least) else f"{least:.1f} doublings below it at the nearest"
    )
    return Picture(
        f"headroom_{Path(cause).name.replace(' ', '_')}",
        f"Where: the layers of trial {trial} ({cause.replace('_', ' ')}) in the order of the forward pass, by how far"
        f" their largest activation is from 65,504, float16's largest number.{bad}",
        f"Headroom of {len(headroom.layers)} layers over epochs {headroom.epochs[0]} to {headroom.epochs[-1]};"
        f" {headroom.layers[place]} comes {nearest}.{bad}",
        drawn,
    )


def scale_picture(study: Study) -> list[Picture]:
    """Loss scale and share of skipped steps over the epochs, of trials under float16 AMP; the diverged ones first."""
    traces = scale_traces(study.trials, study.epochs)
    if traces.empty:
        return []
    drawn = canvas.drawn(divergence.draw_scales, traces, rows=2, height_in=5.0)
    ends = traces.groupby("folder").tail(1)
    low, high, bad = ends["loss_scale"].min(), ends["loss_scale"].max(), int(ends["outcome"].isin(BROKEN).sum())
    first = f" At most {MOST_TRACES} are drawn, those that diverged first." if len(ends) == MOST_TRACES else ""
    return [
        Picture(
            "loss_scale",
            "Loss scale and skipped steps, of the trials that had a loss scale. Where the scale keeps falling, the"
            f" gradient is not finite at any scale.{first}",
            f"Of {count(len(ends), 'trial')} with a loss scale {bad} diverged; their last scales are {low:.4g} to"
            f" {high:.4g}.",
            drawn,
        )
    ]


def scale_traces(trials: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Columns folder, outcome, epoch, loss_scale, skipped_share of at most MOST_TRACES trials."""
    columns = ["folder", "outcome", "epoch", "loss_scale", "skipped_share"]
    if not {"loss_scale", "num_skipped_steps", "num_steps"} <= set(epochs):
        return pd.DataFrame(columns=columns)
    found = epochs[epochs["loss_scale"] > 0]
    outcome = trials.set_index("folder")["outcome"]
    bad = outcome.isin(BROKEN)
    names = [*outcome.index[bad], *outcome.index[~bad]]
    having = set(found["folder"])
    kept = [name for name in names if name in having][:MOST_TRACES]
    found = found[found["folder"].isin(kept)]
    share = found["num_skipped_steps"] / found["num_steps"].where(found["num_steps"] > 0)
    return found.assign(outcome=found["folder"].map(outcome), skipped_share=share)[columns]


def spent_blocks(trials: pd.DataFrame) -> list:
    """What divergence cost and stopping saved, in a sentence and a table."""
    spent = epochs_spent(trials)
    told = []
    if spent["epochs_after"].notna().any():
        known = spent["epochs_after"].dropna()
        told.append(
            f"{count(int(known.sum()), 'epoch')} of {count(len(known), 'trial')} came after the first abnormal step"
            f" (median {show(float(known.median()))} a trial)"
        )
    if spent["epochs_saved"].notna().any():
        told.append(f"ending them where they broke saved {count(int(spent['epochs_saved'].sum()), 'planned epoch')}")
    sentence = [Items([f"{listed(told).capitalize()}."])] if told else []
    return [*sentence, Table("epochs_spent", SPENT_ABOUT, spent)] if told else []
