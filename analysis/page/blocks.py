"""What a page is made of, as data: sections of text, tables, figures and parts that fold away."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from analysis.figures.canvas import Drawn
from analysis.load.factors import NAMES
from analysis.load.labels import cut
from analysis.page.sparklines import Sparkline
from analysis.page.wording import show, show_setting
from analysis.page.words import head

MOST_WORDS = 300  # characters of a cell that is no setting


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    items: list[str]


@dataclass(frozen=True)
class Pairs:
    """Names and their values, a few."""

    pairs: Mapping[str, object]


@dataclass(frozen=True)
class Command:
    """Something to type, and what it does."""

    about: str  # what it does
    text: str  # to be pasted into a shell


@dataclass(frozen=True)
class Link:
    """A link to a file or folder of the study."""

    text: str
    path: str  # relative to the report's folder


@dataclass(frozen=True)
class Curves:
    """A trial's small curves."""

    panels: Sequence[Sparkline]
    caption: str


class Shown(NamedTuple):
    """A number of a table in words: +1.2 Dice points."""

    text: str
    exact: float  # by which the column is sorted


@dataclass(frozen=True)
class Table:
    """A table of the page, which is a file in tables/ as well."""

    name: str  # of tables/<name>.csv, which has every column of the frame
    caption: str
    frame: pd.DataFrame
    settings: Sequence[str] = ()  # columns of settings, whose values are shown in full
    choices: Sequence[str] = ()  # those of them whose levels a click filters the page by
    columns: Sequence[str] = ()  # that the page shows, in this order; none named: all
    heads: Mapping[str, str] = field(default_factory=dict)  # column -> its head, where words.HEADS has another
    axis: str = ""  # the axis of which the column `level` has the levels
    page: pd.DataFrame | None = None  # what the page shows in place of the frame

    @property
    def view(self) -> pd.DataFrame:
        """What the page shows: of the columns named those that are there."""
        frame = self.frame if self.page is None else self.page
        return frame[[name for name in self.columns if name in frame]] if self.columns else frame

    def head(self, column: str) -> str:
        return self.heads.get(column) or head(column)

    def shown(self, value: object, column: str) -> str:
        """A cell's text; what is said in words is whole, unless somebody wrote a page."""
        if isinstance(value, Shown):
            return value.text
        if column in self.settings:
            return show_setting(value)
        if column == "axis":
            return NAMES.get(str(value), str(value))
        return cut(value, MOST_WORDS) if isinstance(value, str) else show(value, column)


@dataclass(frozen=True)
class Picture:
    """A figure with its caption, which is a file in figures/ as well."""

    name: str  # of figures/<name>.png and .svg
    caption: str
    alt: str  # what it shows, for those who do not see it
    drawn: Drawn = field(repr=False)


@dataclass(frozen=True)
class Beside:
    """Figures that stand beside each other where there is room."""

    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Details:
    """Blocks that fold away under their title."""

    title: str
    blocks: Sequence["Block"]
    trial: str = ""  # cells of a column `trial` that say so link to it
    anchor: str = ""  # its id on the page; trials have one
    mark: str = ""  # a class of page.css: a trial's outcome
    levels: Mapping[str, str] = field(default_factory=dict)  # axis -> level, of a trial


Block = Text | Items | Pairs | Command | Link | Curves | Table | Picture | Beside | Details


@dataclass(frozen=True)
class Section:
    """A part of the page. It folds away under its title and `about`, what is inside, unless it is of the answer."""

    title: str
    blocks: Sequence[Block]
    about: str = ""
    is_open: bool = False

    @property
    def anchor(self) -> str:
        return slug(self.title)


@dataclass(frozen=True)
class Page:
    """All that a report says, whatever its form."""

    title: str
    question: str
    status: str  # one line
    sections: list[Section]
    refresh_s: float | None = None  # the page loads itself anew that often; None: never

    def blocks(self, kind: type) -> list:
        """Those of a kind, also of figures that stand beside each other."""
        return [block for section in self.sections for block in flat(section.blocks) if isinstance(block, kind)]


def flat(blocks: Sequence[Block]) -> Iterator[Block]:
    """The blocks, figures that stand beside each other one by one."""
    for block in blocks:
        if isinstance(block, Beside):
            yield from block.pictures
        else:
            yield block


def slug(text: str) -> str:
    """Text as an id: which-trials-diverged."""
    return re.sub(r"[^\w-]+", "-", text.lower()).strip("-") or "-"


def caption(table: Table, most: int) -> str:
    """A table's caption; where it has more than `most` rows, with how many of them are shown."""
    if len(table.view) <= most:
        return table.caption
    return f"{table.caption} The first {most} of {len(table.view)} rows; all are in tables/{table.name}.csv."
