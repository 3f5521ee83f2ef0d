"""The first screen of a study's page: the answer in a few sentences, one table and three figures."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from analysis.load.factors import Factor
from analysis.load.study import Study
from analysis.page.answer import best_sentences, sentences
from analysis.page.blocks import Beside, Block, Items, Picture, Section, Table, flat, slug
from analysis.page.comparability import comparability_gaps
from analysis.page.headline import asked_about, broken_sentences, headline
from analysis.page.sections.guards import GuardFindings, guard_sentences
from analysis.page.verdict import uncompared_sentences, verdict_sentences
from analysis.stats.designs import Design

THIN_AND_BOLD = "Thin lines are trials; a bold line is the median of the same trials at every epoch."
KINDS = {"outcomes": "incidence"}  # a figure that stands for one of another kind, where that is not there


class Answer(NamedTuple):
    """The sentences of the first screen, and those on what they rest on."""

    top: list[str]
    rest: list[str]


def answer_of(
    study: Study, factors: list[Factor], facts: dict, found: pd.DataFrame, design: Design, guards: GuardFindings
) -> Answer:
    """The verdict, where and why trials diverged, the best trial; a space that asks about guards begins with these."""
    asked = asked_factor(study, factors)
    guarded = guard_sentences(guards, len(study.trials))
    verdict = verdict_sentences(study, asked, found, design)
    whole = headline(study, factors, found, design, guarded)
    first = [each for each in whole if each in guarded] or verdict
    broken = broken_sentences(study, factors, found)
    compared = found.loc[found["what"].eq(study.metric) & found["difference"].notna(), "axis"]
    others = sentences(facts, factors, set(compared))
    best = best_sentences(facts)[:1]
    top = list(dict.fromkeys([*first, *broken, *best, *uncompared_sentences(study, asked, found)])) or others[:1]
    rest = [each for each in dict.fromkeys([*verdict, *whole, *others]) if each not in (*top, *best)]
    guessed = [" ".join([*top[:1], *filter(None, [study.guess])]), *top[1:]]
    return Answer([*comparability_gaps(study.metric, study), *guessed], rest)


def title_of(study: Study) -> str:
    return "The answer" if study.state == "finished" else "The answer so far"


def first_figures(study: Study, asked: Factor | None) -> list[str]:
    """Names of the figures of the question: curves, divergence, predictions by the asked axis, and their stand-ins."""
    by = slug(asked.name) if asked else "trial"
    return [f"{slug(study.metric)}_by_{by}", f"incidence_by_{by}", f"predictions_by_{by}", "outcomes"]


def lifted(sections: list[Section], names: list[str]) -> tuple[list[Section], list[Picture]]:
    """The sections without the figures of these names, and these: of each kind (what stands before _by_) the first."""
    pictures = [block for section in sections for block in flat(section.blocks) if isinstance(block, Picture)]
    there = {picture.name: picture for picture in pictures}
    chosen = {}
    for name in (each for each in names if each in there):
        chosen.setdefault(KINDS.get(name) or name.split("_by_")[0], there[name])
    taken = {picture.name for picture in chosen.values()}
    curve = names[0].split("_by_")[0]
    if curve in chosen:
        chosen[curve] = replace(chosen[curve], caption=f"{chosen[curve].caption} {THIN_AND_BOLD}")
    return [replace(each, blocks=without(each.blocks, taken)) for each in sections], list(chosen.values())


def without(blocks: Sequence[Block], taken: set[str]) -> list[Block]:
    """The blocks but for the pictures of these names."""
    return [block for block in blocks if not (isinstance(block, Picture) and block.name in taken)]


def first_blocks(said: Answer, tables: list[Table], figures: list[Picture]) -> list[Block]:
    """The verdict, the table and then what else there is to say, so that a phone shows numbers at once."""
    more = [Items(said.top[1:])] if said.top[1:] else []
    return [Items(said.top[:1]), *tables, *more, *([Beside(figures)] if figures else [])]


def divided_by(levels: list[Table], asked: Factor | None) -> tuple[list[Table], list[Table]]:
    """The table of the asked axis's levels, and the others'."""
    name = asked.name if asked else None
    return [each for each in levels if each.axis == name], [each for each in levels if each.axis != name]


def asked_factor(study: Study, factors: list[Factor]) -> Factor | None:
    """The first axis with levels that the study asks about."""
    asked = asked_about(study, factors)
    return next((factor for factor in factors if factor.kind == "choice" and factor.name in asked), None)
