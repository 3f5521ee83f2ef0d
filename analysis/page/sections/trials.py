"""The section "Trials": a part a trial that folds away, with its links and commands."""

import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analysis.load.columns import setting_of
from analysis.load.contract import BROKEN
from analysis.load.factors import Factor
from analysis.load.labels import label
from analysis.page import words
from analysis.page.blocks import Block, Command, Curves, Details, Link, Pairs, Section, Text, slug
from analysis.page.sparklines import sparkline
from analysis.page.trial_record import CURVES, TrialPart, diagnosis, evidence, is_own, shared_settings
from analysis.page.wording import count, is_missing, show, show_setting
from analysis.page.words import OUTCOMES
from analysis.stats.outcomes import unknown_divergences


def trial_section(
    parts: list[TrialPart], ranked: pd.DataFrame, factors: list[Factor], metric: str, folder: Path
) -> Section:
    """What all trials share, and a part for each; factors: the axes, which stand first in it."""
    if not parts:
        return Section("Trials", [])
    shared = shared_settings(parts)
    names = [factor.name for factor in factors]
    told = "A part for each trial, the best first: how it ended and why, settings, curves, the command that re-runs it."
    blocks: list[Block] = [Text(told + left_out(parts, ranked))]
    if shared:
        title = f"{count(len(shared), 'setting')} that all of them share"
        blocks.append(Details(title, [Pairs(settings_pairs(shared))]))
    alike = Counter(part.name for part in parts)  # a copied folder has the name of its original
    for part in parts:
        anchor = f"trial-{slug(part.name if alike[part.name] == 1 else part.folder)}"
        inner = part_blocks(part, shared, names, metric, folder)
        levels = {
            name: str(label(part.row[name])) for name in names if name in part.row and not is_missing(part.row[name])
        }
        blocks.append(Details(headline(part, metric), inner, part.name, anchor, part.outcome, levels))
    return Section("Trials", blocks, "of each: settings, curves, diagnosis, the command that re-runs it")


def left_out(parts: list[TrialPart], ranked: pd.DataFrame) -> str:
    """How many trials have no part, and whether some of them diverged; nothing where all have one."""
    rest = len(ranked) - len(parts)
    if not rest:
        return ""
    bad = int(ranked["outcome"].isin(BROKEN).sum()) - sum(part.outcome in BROKEN for part in parts)
    shown = {part.folder for part in parts}
    unknown = sum(unknown_divergences(ranked[~ranked["folder"].isin(shown)]).values())
    of_them = f", {bad} of them diverged or frozen" if bad else "" if unknown else ", none of them diverged"
    of_them += f", of {unknown} it is not known whether they diverged" if unknown else ""
    return (
        f" {count(rest, 'trial has', 'trials have')} no part here{of_them}: the best and the diverged come first,"
        " all are in tables/trials.csv and tables/epochs.csv."
    )


def part_blocks(part: TrialPart, shared: dict, names: list[str], metric: str, folder: Path) -> list[Block]:
    """What a trial's part holds; shared: settings that stand above all parts, names: columns that stand first."""
    own = {key: value for key, value in part.settings.items() if key not in shared}
    first = {name: part.settings[name] for name in map(setting_of, names) if name in part.settings}
    unknown = Text("Its settings are not known: no file that can be read has them.")
    return [
        Text(ending(part, metric)),
        *why(part),
        Pairs(settings_pairs(first | own)) if part.settings else unknown,
        *curve_drawings(part, metric),
        *commands(part, folder),
        *links(part),
    ]


def settings_pairs(settings: Mapping[str, object]) -> dict[str, str]:
    return {name: show_setting(value) for name, value in settings.items()}


def headline(part: TrialPart, metric: str) -> str:
    """a1b2c_00003 · rank 2 · best val_dice 0.9012 · diverged: a saturated head"""
    rank, best = part.row.get("rank"), part.row.get(f"best_{metric}")
    scored = [f"rank {rank}", f"best {metric} {show(best, metric)}"] if pd.notna(rank) else ["no score"]
    cause = part.account.get("cause")
    after = ": " if part.outcome in BROKEN else " after "
    outcome = words.outcome(part.outcome) + (f"{after}{words.cause(str(cause))}" if cause else "")
    return " · ".join([part.name, *scored, outcome])


def ending(part: TrialPart, metric: str) -> str:
    """How it ended, in a sentence or two."""
    row = part.row
    seen = [f"in epoch {show(row['outcome_epoch'])}"] if pd.notna(row.get("outcome_epoch")) else []
    seen += [f"step {show(row['outcome_step'])}"] if pd.notna(row.get("outcome_step")) else []
    shown = words.event(row.get("outcome_where"))
    meaning = OUTCOMES.get(part.outcome, "no known outcome")
    sentence = f"{words.outcome(part.outcome).capitalize()} ({meaning})"
    sentence += f", {', '.join(seen)}" if seen and part.outcome != "completed" else ""
    sentence += f": {shown}." if shown and part.outcome in BROKEN else "."
    sentence += survived(part)
    error = [str(row[name]) for name in ("error_type", "error_text") if pd.notna(row.get(name))]
    sentence += f" {': '.join(error)}." if error else ""
    if pd.notna(row.get("best_epoch")):
        sentence += (
            f" Best {metric} {show(row[f'best_{metric}'], metric)} at epoch {row['best_epoch']}"
            f" of {row['num_epochs']} measured."
        )
    return sentence


def survived(part: TrialPart) -> str:
    """Of a run that met an event and did not end by it."""
    if not part.account or part.outcome in BROKEN:
        return ""
    seen = words.event(part.account.get("where"))
    return f" It went on after an event in epoch {show(part.account.get('epoch'))}{': ' + seen if seen else ''}."


def why(part: TrialPart) -> list[Block]:
    """The diagnosis and its evidence; or, of a trial that diverged, that there is none."""
    told, facts = diagnosis(part.account), evidence(part.account)
    if not told:
        return [Text("Why it diverged is not recorded: no divergence.json.")] if part.outcome in BROKEN else []
    return [Pairs(worded(told)), *([Details("Evidence", [Pairs(facts)])] if facts else [])]


def worded(told: Mapping[str, object]) -> dict[str, object]:
    """The diagnosis with words for the names of causes, of what is to blame, and of phases."""
    of = {"cause": words.cause, "blame": words.blame, "phase": words.phase}
    return {name: of[name](str(value)) if name in of else value for name, value in told.items()}


def curve_drawings(part: TrialPart, metric: str) -> list[Block]:
    """Its metric and its losses as small curves, or that there is no curve."""
    last = max((points[-1][0] for points in part.curves.values() if points), default=1)
    losses = {name: part.curves.get(name, []) for name in CURVES}
    panels = [
        (sparkline({metric: part.curves.get(metric, [])}, metric, last_epoch=last), f"{metric} by epoch"),
        (sparkline(losses, "loss", last_epoch=last), "Losses by epoch: train_loss a line, val_loss dashed"),
    ]
    drawn = [(panel, told) for panel, told in panels if panel]
    if not drawn:
        return [Text("No finite epoch: there is no curve.")]
    return [Curves([panel for panel, _ in drawn], ". ".join(told for _, told in drawn) + ".")]


def commands(part: TrialPart, folder: Path) -> list[Block]:
    """What re-runs the trial, and the step at which it diverged, where that is possible."""
    made: list[Block] = []
    if part.command:
        made.append(Command("Re-runs it alone, from the code's folder:", part.command))
    if part.capsule:
        path = from_here(folder / part.folder / part.capsule)
        trust = ["--trust-code"] if any(map(is_own, part.settings.values())) else []
        text = shlex.join(["python", "-m", "trials.replay", path.as_posix(), "--why", *trust])
        made.append(Command("Re-runs the step at which it diverged, and says why:", text))
    return made


def from_here(path: Path) -> Path:
    """Relative where it lies below the folder the report is made from: results/NAME/..."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def links(part: TrialPart) -> list[Block]:
    """Relative to report/, so that they hold where the study's folder is moved."""
    made: list[Block] = [Link(f"Its folder, {part.folder}", f"../{part.folder}/")] if part.is_here else []
    if part.capsule:
        made.append(Link("Its capsule", f"../{part.folder}/{part.capsule}/"))
    elif part.outcome in BROKEN and part.is_ours:
        made.append(Text("Its capsule is not here."))
    return made
