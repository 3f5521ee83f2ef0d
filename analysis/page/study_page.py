"""A study's report as data: the sections of the page in their order, and the record of every number in it."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import count as count_from

import pandas as pd

from analysis.load.factors import factors_of
from analysis.load.study import Study
from analysis.page.alerts import alerts
from analysis.page.answer import facts_of
from analysis.page.blocks import Beside, Block, Items, Page, Picture, Section, Table, Text
from analysis.page.comparability import comparability_gaps
from analysis.page.first_screen import (
    answer_of,
    asked_factor,
    divided_by,
    first_blocks,
    first_figures,
    lifted,
    title_of,
)
from analysis.page.sections.curves import curves_section
from analysis.page.sections.divergence import divergence_section
from analysis.page.sections.effects import effect_section, level_tables
from analysis.page.sections.gaps import bests_gaps, plan_gaps, untrained_gaps
from analysis.page.sections.guards import guard_findings, guard_section
from analysis.page.sections.importances import importance_section
from analysis.page.sections.origin import asked_section, made_section
from analysis.page.sections.outcomes import outcomes_section
from analysis.page.sections.predictions import (
    best_examples,
    predictions_section,
)
from analysis.page.sections.ranking import ranking_section
from analysis.page.sections.search import search_section
from analysis.page.sections.trials import trial_section
from analysis.page.trial_record import part_record, trial_parts
from analysis.page.wording import capital, count, data_line
from analysis.stats.comparisons import compare
from analysis.stats.designs import design_of
from analysis.stats.ranking import rank_trials, without_a_step

SCHEMA_VERSION = 1  # of report.json
LONGEST_NAME = 80  # characters of a file's name, its ending aside; some disks take 143 bytes
NOTHING_MISSING = "Nothing: each trial has its results and its end."
LATEST = 4e9  # s since 1970: a later time stamp is none
STATES = {
    "finished": "finished",
    "interrupted": "interrupted",
    "running": "not finished: still running, or killed",
    "unknown": "whether finished is not recorded",
}


def build(study: Study) -> tuple[Page, dict]:
    """The page, and for report.json what it says outside of its tables and figures."""
    factors, factor_gaps = factors_of(study.study, study.trials)
    ranked = rank_trials(study.trials, study.epochs, study.metric, study.mode)
    facts = facts_of(study, factors, ranked)
    design = design_of(study.study["options"], study.trials)
    found = compare(study.trials, study.epochs, factors, study.metric, study.mode, design)
    asked, guards = asked_factor(study, factors), guard_findings(study, factors)
    said = answer_of(study, factors, facts, found, design, guards)
    best = best_examples(study.folder, ranked)
    parts, warnings = trial_parts(study, ranked), alerts(study, ranked)
    gaps = all_gaps(study, facts, ranked, [*factor_gaps, *filter(None, [best[2]])])
    levels = level_tables(ranked, factors, study.metric, study.mode)
    first, others = divided_by(levels, asked)
    sections = [
        effect_section(found, design, study.metric, study.mode, others),
        guard_section(guards, study.metric),
        importance_section(study, factors),
        curves_section(study, factors),
        divergence_section(study, factors),
        ranking_section(ranked, factors, study.metric),
        search_section(study, ranked, factors),
        predictions_section(study, ranked, asked, best),
        outcomes_section(study.trials, facts),
        trial_section(parts, ranked, factors, study.metric, study.folder),
        Section("What is missing", [Items(gaps) if gaps else Text(NOTHING_MISSING)], count(len(gaps), "gap")),
        asked_section(study, factors),
        made_section(study),
    ]
    sections, figures = lifted(sections, first_figures(study, asked))
    sections = [
        Section("Read this first", [Items(warnings)] if warnings else [], is_open=True),
        Section(title_of(study), first_blocks(said, first, figures), is_open=True),
        Section(
            "What the answer rests on", [Items(said.rest)] if said.rest else [], "the study, its trials, its seeds"
        ),
        *sections,
    ]
    name = str(study.study.get("name") or study.folder.name)
    question = str(study.study["space"].get("question") or "The question of this study is not recorded.")
    kept = [section for section in named_apart(sections) if section.blocks]
    told = {part: study.study[part] for part in ("data", "options", "provenance")}
    return Page(f"Study {name}", question, status(study, facts), kept), {
        "schema_version": SCHEMA_VERSION,
        "study": name,
        "folder": study.folder.name,
        "facts": facts,
        "alerts": warnings,
        "sentences": [*said.top, *said.rest],
        "gaps": gaps,
        "trials": {part.folder: part_record(part) for part in parts},
    } | told


def all_gaps(study: Study, facts: dict, ranked: pd.DataFrame, others: list[str]) -> list[str]:
    """What is missing, each once."""
    untrained = untrained_gaps(without_a_step(ranked, study.epochs))
    own = [*comparability_gaps(study.metric, study), *study.gaps]
    return [*own, *plan_gaps(facts), *bests_gaps(ranked), *untrained, *others]


def named_apart(sections: list[Section]) -> list[Section]:
    """Tables and pictures whose names are their files': short, and told apart even where a disk knows no capitals."""
    taken = {Table: set(), Picture: set()}
    return [replace(section, blocks=[with_own_name(block, taken) for block in section.blocks]) for section in sections]


def with_own_name(block: Block, taken: dict[type, set[str]]) -> Block:
    """The block under a name that none before it has, small and large letters being the same.

    taken: by kind of block the names so far, to which its own is added.
    """
    if isinstance(block, Beside):
        return Beside([with_own_name(picture, taken) for picture in block.pictures])
    names = taken.get(type(block))
    if names is None:
        return block
    short = block.name[:LONGEST_NAME]
    numbered = (short if number == 1 else f"{short}_{number}" for number in count_from(1))
    name = next(each for each in numbered if each.lower() not in names)
    names.add(name.lower())
    return replace(block, name=name)


def status(study: Study, facts: dict) -> str:
    """In one line: the state of the study, on which data, and when the page was made."""
    planned = f" of {facts['num_planned']} planned" if facts["num_planned"] is not None else ""
    last = study.epochs["timestamp"].max()
    known = study.state != "finished" and 0 < last < LATEST
    heard = f" (last result {at(datetime.fromtimestamp(last, UTC))})" if known else ""
    started = f"{count(facts['num_trials'], 'trial')}{planned} started, {facts['num_measured']} with results"
    data = f" {capital(data_line(study.study['data'], study.trials))}." if study.is_ours else ""
    made = f"Report of {at(datetime.now(UTC))}."
    return f"{study.folder.name}: {STATES[study.state]}{heard}; {started}.{data} {made}"


def at(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC")
