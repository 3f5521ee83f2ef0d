"""A study's report as data: the sections of the page in their order, and the record of every number in it."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import count as count_from

import pandas as pd

from analysis.alerts import alerts
from analysis.answer import facts_of, sentences
from analysis.comparable import comparability_gaps
from analysis.comparisons import compare
from analysis.designs import design_of
from analysis.divergence_section import divergence_section
from analysis.effect_section import effect_section
from analysis.effects import (
    failures,
    level_summary,
    outcome_counts,
    rank_trials,
    ranking_table,
    settings_columns,
    without_a_step,
)
from analysis.factors import Factor, factors_of, numbers
from analysis.figures import (
    HOW_TO_READ,
    best_examples,
    curve_pictures,
    example_frame,
    example_picture,
    range_pictures,
    side_by_side_pictures,
)
from analysis.guard_section import guard_section
from analysis.headline import asked_about, headline
from analysis.importance_section import importance_section
from analysis.load import Study
from analysis.page import Block, Items, Page, Picture, Section, Table, Text, slug
from analysis.pictures import Example
from analysis.search_section import search_section
from analysis.subsets import SUBSETS_ABOUT, subset_scores
from analysis.trial_parts import part_record, trial_parts
from analysis.trial_section import trial_section
from analysis.wording import count, data_line, listed, show, size_text

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


def asked_section(study: Study, factors: list[Factor]) -> Section:
    space = study.study["space"]
    blocks = [Text(f"Data: {data_line(study.study['data'], study.trials)}.")] if study.is_ours else []
    rows = [
        {
            "axis": factor.name,
            "kind": factor.kind,
            "values": axis_values(space, factor, study.trials),
            "only_where": "=".join(factor.condition) if factor.condition else "",
        }
        for factor in factors
    ]
    frame = pd.DataFrame(rows, columns=["axis", "kind", "values", "only_where"])
    frame = frame if frame["only_where"].any() else frame.drop(columns="only_where")
    return Section("What was asked", [*blocks, Table("axes", "What varied.", frame)] if rows else blocks)


def axis_values(space: dict, factor: Factor, trials: pd.DataFrame) -> str:
    """The levels; of a range its ends, or those of the trials where no space names them."""
    if factor.kind == "choice":
        return ", ".join(factor.levels)
    axes, values = space.get("axes"), numbers(trials, factor.name)
    axis = axes.get(factor.name) if isinstance(axes, dict) else {"low": values.min(), "high": values.max()}
    return f"{show((axis or {}).get('low'))} to {show((axis or {}).get('high'))}"


def level_tables(ranked: pd.DataFrame, factors: list[Factor], metric: str) -> list[Table]:
    summaries = [(factor, level_summary(ranked, factor, metric)) for factor in factors if factor.kind == "choice"]
    return [
        Table(
            f"levels_{slug(factor.name)}",
            f"By {factor.title}: median, lowest and highest of the trials' best"
            f" {metric}; pruned and diverged trials count with what they had reached.",
            summary,
        )
        for factor, summary in summaries
        if len(summary)
    ]


def curves_section(study: Study, factors: list[Factor]) -> Section:
    pictures = curve_pictures(study.trials, study.epochs, factors, study.metric)
    is_lost = study.epochs.empty and study.trials["best_in_record"].notna().any()
    lost = "The lines of no trial can be read, so there is no curve to draw: only last and best values are recorded."
    nothing = Text(lost if is_lost else "No trial has a finite epoch yet: there is no curve to draw.")
    return Section("Learning curves", [Text(HOW_TO_READ), *pictures] if pictures else [nothing])


def ranking_section(ranked: pd.DataFrame, factors: list[Factor], metric: str) -> Section:
    if ranked.empty:
        return Section("Ranking", [])
    caption = (
        f"All {count(len(ranked), 'trial')} by their best {metric}; without a rank: no finite score."
        " images_per_s is the median over epochs; duration_s the time so far where a trial has not ended."
    )
    table = Table("ranking", caption, ranking_table(ranked, factors, metric), settings_columns(ranked, factors))
    return Section("Ranking", [table, *range_pictures(ranked, factors, metric)])


def asked_factor(study: Study, factors: list[Factor]) -> Factor | None:
    """The first axis with levels that the study asks about."""
    asked = asked_about(study, factors)
    return next((factor for factor in factors if factor.kind == "choice" and factor.name in asked), None)


def predictions_section(
    study: Study, ranked: pd.DataFrame, asked: Factor | None, best: tuple[list[Example], str, str]
) -> Section:
    shown, whose, gap = best
    if not shown:
        return Section("Predictions", [Text(gap)])
    beside = side_by_side_pictures(study.folder, ranked, asked) if asked else []
    subsets = subset_scores(study.folder, ranked, asked)
    more = [*beside, *([Table("subsets", SUBSETS_ABOUT, subsets)] if len(subsets) else [])]
    caption = "The validation images shown: the best, the median and the worst, and the worst of each hard case."
    table = Table("predictions", caption, example_frame(shown))
    return Section("Predictions", [example_picture(shown, whose), table, *more])


def outcomes_section(trials: pd.DataFrame, facts: dict) -> Section:
    counts, failed = outcome_counts(trials, facts["num_planned"]), failures(trials)
    blocks = [Table("outcomes", "How the trials ended.", counts)] if len(counts) else []
    blocks += [Table("failures", "Trials that ended by an error, and what it said.", failed)] if len(failed) else []
    return Section("How the trials ended", blocks)


def plan_gaps(facts: dict) -> list[str]:
    missing = facts["outcomes"].get("not started", 0)
    yet = " yet" if facts["state"] == "running" else ""
    return [f"{count(missing, 'planned trial has', 'planned trials have')} not started{yet}."] if missing else []


def untrained_gaps(trials: pd.DataFrame) -> list[str]:
    """Scores of networks that no step had changed."""
    if trials.empty:
        return []
    names = listed([str(name) for name in trials["trial"].head(20)])
    more = f", and {len(trials) - 20} more" if len(trials) > 20 else ""
    return [
        f"{count(len(trials), 'trial has', 'trials have')} a best score of untrained weights, as no step had been"
        f" taken by then: {names}{more}."
    ]


def bests_gaps(ranked: pd.DataFrame) -> list[str]:
    """Where a trial's own record of its best says another number than its epochs."""
    if "best_val_dice" not in ranked:
        return []
    recorded, computed = pd.to_numeric(ranked["recorded_best_val_dice"]), ranked["best_val_dice"].astype(float)
    apart = ranked[(recorded - computed).abs().gt(1e-6) | (recorded.notna() & computed.isna())]
    if apart.empty:
        return []
    told = [
        f"{trial} ({show(said, 'dice')} recorded, {show(found, 'dice')} found)"
        for trial, said, found in zip(apart["trial"], recorded[apart.index], computed[apart.index], strict=True)
    ][:20]
    more = f", and {len(apart) - 20} more" if len(apart) > 20 else ""
    return [
        f"{count(len(apart), 'trial has', 'trials have')} another best val_dice in outcome.json than in the epochs"
        f" that can be read, which this report uses: {', '.join(told)}{more}."
    ]


def made_section(study: Study) -> Section:
    """Command, commit, versions, hardware, options: as study.json has them."""
    record, origin = study.study, study.study["provenance"]
    dirty = {True: " with uncommitted changes", False: ""}.get(origin.get("dirty") is True, "")
    commit = f"{origin['commit']}{dirty}" if origin.get("commit") else None
    rows = {
        "command": origin.get("command"),
        "commit": commit,
        "created": record.get("created"),
        "finished": record.get("finished") or ("not yet" if study.state in ("running", "interrupted") else None),
    }
    for part in ("versions", "hardware"):
        values = origin.get(part)
        named = isinstance(values, dict)
        rows |= {f"{part}: {key}": value for key, value in values.items()} if named else {part: values}
    rows |= {f"option: {key}": value for key, value in record["options"].items()}
    rows |= {f"fixed: {key}": value for key, value in record["fixed"].items()}
    frame = pd.DataFrame([{"what": key, "value": value_text(key, value)} for key, value in rows.items()])
    return Section("How this was made", [Table("origin", "What study.json records.", frame)])


def value_text(name: str, value: object) -> str:
    """An option that was left open is not set; of the origin, what is not there was not recorded."""
    if value is not None:
        return show(value)
    return "not set" if name.startswith(("option: ", "fixed: ")) else "not recorded"
