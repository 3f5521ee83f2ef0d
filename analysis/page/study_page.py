"""A study's report as data: the sections of the page in their order, and the record of every number in it."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import count as count_from

from analysis.load.factors import Factor, factors_of
from analysis.load.study import Study
from analysis.page.alerts import alerts
from analysis.page.answer import facts_of, sentences
from analysis.page.blocks import Block, Items, Page, Picture, Section, Table, Text
from analysis.page.comparability import comparability_gaps
from analysis.page.headline import asked_about, headline
from analysis.page.sections.curves import curves_section
from analysis.page.sections.divergence import divergence_section
from analysis.page.sections.effects import effect_section, level_tables
from analysis.page.sections.gaps import bests_gaps, plan_gaps, untrained_gaps
from analysis.page.sections.guards import guard_section
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
from analysis.page.wording import count, size_text
from analysis.stats.comparisons import compare
from analysis.stats.designs import design_of
from analysis.stats.ranking import rank_trials, without_a_step

SCHEMA_VERSION = 1  # of report.json
LONGEST_NAME = 80  # characters of a file's name, its ending aside; some disks take 143 bytes
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
    told_of = found.loc[found["what"].eq(study.metric) & found["difference"].notna(), "axis"]
    said = [*headline(study, factors, found, design), *sentences(facts, factors, set(told_of))]
    said = [" ".join([*said[:1], *filter(None, [study.guess])]), *said[1:]]
    incomparable = comparability_gaps(study.metric, study)
    said = [*incomparable, *said]
    shown, whose, picture_gap = best_examples(study.folder, ranked)
    untrained = untrained_gaps(without_a_step(ranked, study.epochs))
    gaps = [*incomparable, *study.gaps, *factor_gaps, *plan_gaps(facts), *bests_gaps(ranked), *untrained]
    gaps += filter(None, [picture_gap])
    parts = trial_parts(study, ranked)
    warnings = alerts(study, ranked)
    sections = [
        Section("Read this first", [Items(warnings)] if warnings else []),
        Section("The answer so far", [Items(said)]),
        effect_section(found, design, study.metric, study.mode, level_tables(ranked, factors, study.metric)),
        guard_section(study, factors),
        importance_section(study, factors),
        asked_section(study, factors),
        curves_section(study, factors),
        ranking_section(ranked, factors, study.metric),
        divergence_section(study, factors),
        search_section(study, ranked, factors),
        predictions_section(study, ranked, asked_factor(study, factors), (shown, whose, picture_gap)),
        outcomes_section(study.trials, facts),
        trial_section(parts, ranked, factors, study.metric, study.folder),
        Section("What is missing", [Items(gaps) if gaps else Text("Nothing: each trial has its results and its end.")]),
        made_section(study),
    ]
    name, sized = str(study.study.get("name") or study.folder.name), named_apart(with_size(sections, study))
    question = str(study.study["space"].get("question") or "The question of this study is not recorded.")
    page = Page(f"Study {name}", question, status(study, facts), [section for section in sized if section.blocks])
    told = {part: study.study[part] for part in ("data", "options", "provenance")}
    return page, {
        "schema_version": SCHEMA_VERSION,
        "study": name,
        "folder": study.folder.name,
        "facts": facts,
        "alerts": warnings,
        "sentences": said,
        "gaps": gaps,
        "trials": {part.folder: part_record(part) for part in parts},
    } | told


def with_size(sections: list[Section], study: Study) -> list[Section]:
    """Every caption says how large the images are, and were: a score of enlarged images is another score.

    Not of an experiment made by others, which may know no images.
    """
    data = study.study["data"]
    if not study.is_ours:
        return sections
    images = f" Images: {data.get('name') or 'unknown'} data, {size_text(data, study.trials)}."
    return [
        Section(
            section.title,
            [
                replace(block, caption=block.caption + images) if isinstance(block, Table | Picture) else block
                for block in section.blocks
            ],
        )
        for section in sections
    ]


def named_apart(sections: list[Section]) -> list[Section]:
    """Tables and pictures whose names are their files': short, and told apart even where a disk knows no capitals."""
    taken = {Table: set(), Picture: set()}
    return [replace(section, blocks=[with_own_name(block, taken) for block in section.blocks]) for section in sections]


def with_own_name(block: Block, taken: dict[type, set[str]]) -> Block:
    names = taken.get(type(block))
    if names is None:
        return block
    short = block.name[:LONGEST_NAME]
    numbered = (short if number == 1 else f"{short}_{number}" for number in count_from(1))
    name = next(each for each in numbered if each.lower() not in names)
    names.add(name.lower())
    return replace(block, name=name)


def status(study: Study, facts: dict) -> str:
    planned = f" of {facts['num_planned']} planned" if facts["num_planned"] is not None else ""
    last = study.epochs["timestamp"].max()
    known = study.state != "finished" and 0 < last < LATEST
    heard = f" (last result {at(datetime.fromtimestamp(last, UTC))})" if known else ""
    started = f"{count(facts['num_trials'], 'trial')}{planned} started, {facts['num_measured']} with results"
    return f"{study.folder.name}: {STATES[study.state]}{heard}; {started}. Report of {at(datetime.now(UTC))}."


def at(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC")


def asked_factor(study: Study, factors: list[Factor]) -> Factor | None:
    """The first axis with levels that the study asks about."""
    asked = asked_about(study, factors)
    return next((factor for factor in factors if factor.kind == "choice" and factor.name in asked), None)
