"""Two studies beside each other: what differs between them, and what that does where their trials pair."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from analysis.load.contract import BROKEN
from analysis.load.factors import Factor, factors_of, relabelled
from analysis.load.study import Study
from analysis.load.trial import FLAGS
from analysis.page.blocks import Items, Page, Section, Table, Text
from analysis.page.comparability import comparability_gaps
from analysis.page.headline import divided, metric_sentences
from analysis.page.sections.curves import curve_pictures, how_to_read
from analysis.page.sections.divergence import when_blocks
from analysis.page.sections.effects import effect_section
from analysis.page.wording import count, listed, show
from analysis.stats.comparisons import compare_along
from analysis.stats.designs import Design, design_of
from analysis.stats.outcomes import divergence_known, outcome_counts
from analysis.stats.pairing import settings_table
from analysis.stats.ranking import rank_trials
from analysis.stats.scores import measured

STUDY = "study"  # the axis by which the two differ
PARTS = ("space", "options", "fixed", "data")  # of study.json: what may differ
SCHEMA_VERSION = 1  # of compare.json


def build_comparison(one: Study, other: Study) -> tuple[Page, dict]:
    """The page that sets them side by side, and for compare.json what it says outside of its tables and figures."""
    names = names_of(one.folder, other.folder)
    both = together(one, other, names)
    axis = Factor(STUDY, "choice", names)
    factors = [axis, *(relabelled(factor, both.trials) for factor in shared_factors(one, other))]
    design = design_of_both(one, other)
    found = compare_along(axis, both.trials, both.epochs, factors, both.metric, both.mode, design)
    known = both.trials[divergence_known(both.trials)]
    bad = known["outcome"].isin(BROKEN)
    said = [
        *metric_sentences(found, [STUDY], both, design),
        *(divided(known, axis, bad, found, {}) if bad.any() else []),
        *pairing_sentences(both.trials, factors),
        *data_sentences(one, other),
        *comparability_gaps(both.metric, one, other),
        *metric_gaps(one, other, names),
    ]
    sections = [
        Section("The answer", [Items(said or ["Nothing can be compared yet."])], is_open=True),
        Section("What differs", differences(one, other, names), "options, settings, data and versions"),
        effect_section(found, design, both.metric, both.mode, []),
        Section("How they ended", [Table("outcomes", "How the trials of each ended.", ended(one, other, names))]),
        Section("Learning curves", curve_blocks(both, axis)),
        Section("Divergence", when_blocks(both.trials, [axis]) if bad.any() else []),
        Section("What is missing", missing(one, other, names)),
    ]
    title = f"{names[0]} and {names[1]}"
    page = Page(title, question(one, other), status(one, other, names), [each for each in sections if each.blocks])
    return page, {"schema_version": SCHEMA_VERSION, "studies": list(names), "sentences": said}


def names_of(one: Path, other: Path) -> tuple[str, str]:
    """The folders' names, with as much of the path before as tells them apart."""
    a, b = list(one.parts), list(other.parts)
    for length in range(1, max(len(a), len(b)) + 1):
        names = "/".join(a[-length:]), "/".join(b[-length:])
        if names[0] != names[1]:
            return names
    return f"{names[0]} (first)", f"{names[1]} (second)"


def together(one: Study, other: Study, names: tuple[str, str]) -> Study:
    """One study whose trials are those of both; of two names, for their folders may have the same."""
    pairs = list(zip((one, other), names, strict=True))
    trials, epochs = (
        pd.concat([told(getattr(study, what), name) for study, name in pairs], ignore_index=True)
        for what in ("trials", "epochs")
    )
    flags = {name: epochs[name].astype(bool) for name in FLAGS}
    return replace(one, trials=trials, epochs=epochs.assign(**flags), test=None, is_ours=one.is_ours and other.is_ours)


def told(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows with the study's name before their folders'; those of trials also have it in a column of its own."""
    named = frame.assign(folder=[f"{name}/{folder}" for folder in frame["folder"]])
    return named.assign(**{STUDY: name}) if "outcome" in frame else named


def shared_factors(one: Study, other: Study) -> list[Factor]:
    """The axes of both, those of the first as they are there: trials pair where all of them are equal."""
    found = {}
    for study in (other, one):
        found |= {factor.name: factor for factor in factors_of(study.study, study.trials)[0]}
    return [factor for factor in found.values() if factor.name != STUDY]


def design_of_both(one: Study, other: Study) -> Design:
    """An answer only where both give one; the reasons of both."""
    designs = [design_of(study.study["options"], study.trials) for study in (one, other)]
    reasons = dict.fromkeys(design.reason for design in designs if design.reason)
    return Design(", and in the other study ".join(reasons))


def pairing_sentences(trials: pd.DataFrame, factors: list[Factor]) -> list[str]:
    """How many settings the studies share."""
    settings = settings_table(trials, factors).drop(columns=STUDY)
    keys = pd.Series(list(settings.itertuples(index=False, name=None)), trials.index)
    own = {name: set(keys[trials[STUDY] == name]) for name in factors[0].levels}
    a, b = own.values()
    shared = len(a & b)
    return [
        f"{count(shared, 'setting')} with the same seed ran in both"
        f" ({len(a - b)} in the first alone, {len(b - a)} in the second alone)."
    ]


def data_sentences(one: Study, other: Study) -> list[str]:
    """That the studies' data differ, or are not recorded; nothing where they are the same."""
    a, b = one.study["data"], other.study["data"]
    if not a or not b:
        return ["Whether both used the same data is not recorded: a score on other images is another score."]
    if a == b:
        return []
    return ["Their data differ, as the table below lists: a score on other images is another score."]


def metric_gaps(one: Study, other: Study, names: tuple[str, str]) -> list[str]:
    """Where the second study was asked for another metric, or did not measure that of the first."""
    is_measured = len(measured(other.epochs, one.metric)) > 0
    if other.metric == one.metric and other.mode == one.mode and is_measured:
        return []
    asked = f"{names[1]} was asked for {other.metric} ({other.mode} is best)"
    without = "" if is_measured else f", and measured no {one.metric}"
    return [f"Both are compared by {one.metric} ({one.mode} is best), as {names[0]} was asked; {asked}{without}."]


def differences(one: Study, other: Study, names: tuple[str, str]) -> list:
    """Options, fixed settings, data and versions that are not the same."""
    rows = []
    for part in PARTS:
        a, b = (study.study[part] for study in (one, other))
        rows += [(f"{part}: {key}", a.get(key), b.get(key)) for key in dict.fromkeys([*a, *b])]
    origin = [study.study["provenance"] for study in (one, other)]
    rows.append(("planned trials", *(study.study.get("num_trials") for study in (one, other))))
    rows += [(name, *(each.get(name) for each in origin)) for name in ("commit", "dirty", "hardware")]
    versions = [each.get("versions") if isinstance(each.get("versions"), dict) else {} for each in origin]
    rows += [(f"version: {key}", *(each.get(key) for each in versions)) for key in versions[0] | versions[1]]
    differ = [(name, show(a), show(b)) for name, a, b in rows if a != b]
    silent = [name for name, study in zip(names, (one, other), strict=True) if "created" not in study.study]
    if silent:
        return [Text(f"What differs is not known: {listed(silent)} left no study.json that can be read.")]
    if not differ:
        return [Text("Nothing that study.json records differs: one is a repetition of the other.")]
    caption = "What study.json records otherwise. A difference between the studies may come from any of these."
    return [Table("differences", caption, pd.DataFrame(differ, columns=["what", *names]))]


def ended(one: Study, other: Study, names: tuple[str, str]) -> pd.DataFrame:
    """A row an outcome, a column a study; below, the best of each, of how many trials, and how long they trained."""
    counts = [outcome_counts(study.trials, None).set_index("outcome")["num_trials"] for study in (one, other)]
    rows = dict.fromkeys([*counts[0].index, *counts[1].index])
    frame = pd.DataFrame(
        {name: [int(own.get(row, 0)) for row in rows] for name, own in zip(names, counts, strict=True)}
    )
    frame = frame.set_index(pd.Index(list(rows))).astype(object)
    for study, name in zip((one, other), names, strict=True):
        ranked = rank_trials(study.trials, study.epochs, one.metric, one.mode)
        best = pd.to_numeric(ranked[f"best_{one.metric}"])
        frame.loc[f"trials with a finite {one.metric}", name] = int(best.notna().sum())
        frame.loc["most epochs of a trial", name] = show(pd.to_numeric(study.trials["num_epochs"]).max())
        frame.loc[f"best {one.metric}", name] = show(best.max() if one.mode == "max" else best.min(), one.metric)
        frame.loc["the best at epoch", name] = show(ranked["best_epoch"].iloc[0] if len(ranked) else None)
        frame.loc["test Dice of the best", name] = show((study.test or {}).get("test_dice"), "dice")
    return frame.reset_index(names="outcome")


def curve_blocks(both: Study, axis: Factor) -> list:
    """The curves by study, and how to read them; nothing where there are none."""
    pictures = curve_pictures(both.trials, both.epochs, [axis], both.metric)
    return [Text(how_to_read(both.trials)), *pictures] if pictures else []


def missing(one: Study, other: Study, names: tuple[str, str]) -> list:
    """The gaps of both studies, and how many planned trials have not started."""
    pairs = list(zip((one, other), names, strict=True))
    gaps = [f"{name}: {gap}" for study, name in pairs for gap in study.gaps]
    for study, name in pairs:
        never = (study.num_planned or 0) - len(study.trials)
        if never > 0:
            gaps.append(f"{name}: {count(never, 'planned trial has', 'planned trials have')} not started.")
    return [Items(gaps)] if gaps else [Text("Nothing: each trial of both has its results and its end.")]


def question(one: Study, other: Study) -> str:
    """The questions of both; one where they are the same."""
    asked = dict.fromkeys(str(study.study["space"].get("question") or "not recorded") for study in (one, other))
    return " / ".join(asked)


def planned(study: Study) -> str:
    """How many trials were planned, where there are not so many; else nothing."""
    return f" of {study.num_planned}" if study.num_planned not in (None, len(study.trials)) else ""


def status(one: Study, other: Study, names: tuple[str, str]) -> str:
    """How many trials each study has, and whether it has finished, in one line."""
    parts = [
        f"{name}: {study.state}, {count(len(study.trials), 'trial')}{planned(study)}"
        for study, name in zip((one, other), names, strict=True)
    ]
    return "; ".join(parts) + "."
