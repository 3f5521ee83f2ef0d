"""A report as data (sections of text, tables, figures and parts that fold away), and its form as one HTML file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from analysis.figures.canvas import Drawn
from analysis.load.labels import cut
from analysis.page.wording import show, show_setting

MOST_WORDS = 300  # characters of a cell that is no setting


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Items:
    items: list[str]


@dataclass(frozen=True)
class Pairs:
    """Names and their values, a few."""

    pairs: Mapping[str, object]


@dataclass(frozen=True)
class Command:
    about: str  # what it does
    text: str  # to be pasted into a shell


@dataclass(frozen=True)
class Link:
    text: str
    path: str  # relative to the report's folder


@dataclass(frozen=True)
class Drawing:
    svg: str  # markup of our own, with its words for those who do not see it
    caption: str


@dataclass(frozen=True)
class Table:
    name: str  # of tables/<name>.csv
    caption: str
    frame: pd.DataFrame
    settings: Sequence[str] = ()  # columns of settings, whose values are shown in full

    def shown(self, value: object, column: str) -> str:
        """A cell's text; what is said in words is whole, unless somebody wrote a page."""
        if column in self.settings:
            return show_setting(value)
        return cut(value, MOST_WORDS) if isinstance(value, str) else show(value, column)


@dataclass(frozen=True)
class Picture:
    name: str  # of figures/<name>.png and .svg
    caption: str
    alt: str  # what it shows, for those who do not see it
    drawn: Drawn = field(repr=False)


@dataclass(frozen=True)
class Details:
    """Blocks that fold away under their title."""

    title: str
    blocks: Sequence["Block"]
    trial: str = ""  # cells of a column `trial` that say so link to it
    anchor: str = ""  # its id on the page; trials have one
    mark: str = ""  # a class of style.py: a trial's outcome


Block = Text | Items | Pairs | Command | Link | Drawing | Table | Picture | Details


@dataclass(frozen=True)
class Section:
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    title: str
    question: str
    status: str  # one line
    sections: list[Section]
    refresh_s: float | None = None  # the page loads itself anew that often; None: never

    def blocks(self, kind: type) -> list:
        return [block for section in self.sections for block in section.blocks if isinstance(block, kind)]


def slug(text: str) -> str:
    """Text as an id: which-trials-diverged."""
    return re.sub(r"[^\w-]+", "-", text.lower()).strip("-") or "-"


def caption(table: Table, most: int) -> str:
    if len(table.frame) <= most:
        return table.caption
    return f"{table.caption} The first {most} of {len(table.frame)} rows; all are in tables/{table.name}.csv."
