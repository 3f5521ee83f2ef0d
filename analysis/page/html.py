"""The page as one HTML file, by the templates beside this module; they escape every text that they are given."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.load.labels import label
from analysis.page.blocks import Details, Page, Shown, Table, caption, slug
from analysis.page.wording import show

TEMPLATES = Path(__file__).parent / "templates"
MOST_ROWS_HTML = 500  # of a table; the rest stands in tables/*.csv
MOST_COLUMNS_UPRIGHT = 9  # a table of more is printed on a page laid crosswise


@dataclass(frozen=True)
class Cell:
    """What a cell shows; `exact` is what it is sorted by, where that differs."""

    text: str
    exact: str | None
    is_number: bool
    anchor: str = ""  # of the trial that it names
    axis: str = ""  # of which it is a level; a click on it filters the page
    level: str = ""


@dataclass(frozen=True)
class Grid:
    """A table as the page shows it."""

    heads: list[tuple[str, bool]]  # and whether the column holds numbers
    rows: list[list[Cell]]
    caption: str
    is_wide: bool


@cache
def environment() -> Environment:
    """Jinja's environment with the filters that the templates use, made once."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "kind": lambda block: type(block).__name__,
        "slug": slug,
        "show": show,
        "address": lambda path: quote(path, errors="replace"),
        "base64": lambda data: base64.b64encode(data).decode(),
    }
    return made


def html(page: Page) -> str:
    """One file: styles, script and figures are inside it."""
    anchors = {block.trial: block.anchor for block in page.blocks(Details) if block.trial}
    return (
        environment()
        .get_template("page.html")
        .render(
            page=page,
            style=(TEMPLATES / "page.css").read_text(),
            script=(TEMPLATES / "page.js").read_text(),
            grid=lambda table: grid(table, anchors),
        )
    )


def grid(table: Table, anchors: Mapping[str, str]) -> Grid:
    """anchors: by the names of the trials that have a part on the page."""
    frame = table.view.head(MOST_ROWS_HTML)
    numeric = {name: is_numeric(frame[name]) for name in frame}
    records = [dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False, name=None)]
    return Grid(
        heads=[(table.head(name), numeric[name]) for name in frame],
        rows=[[cell(table, row, name, numeric[name], anchors) for name in row] for row in records],
        caption=caption(table, MOST_ROWS_HTML),
        is_wide=len(frame.columns) > MOST_COLUMNS_UPRIGHT,
    )


def cell(table: Table, row: Mapping[str, object], name: str, is_number: bool, anchors: Mapping[str, str]) -> Cell:
    """A cell of a row (column -> value): its text, what it is sorted by, and what a click on it does."""
    value = row[name]
    shown = table.shown(value, name)
    exact = "" if shown == "–" else str(value.exact if isinstance(value, Shown) else value)
    axis = name if name in table.choices else ""
    if name == "level":
        axis = table.axis or str(row.get("axis", ""))
    anchor = anchors.get(value, "") if name == "trial" and isinstance(value, str) else ""
    level = str(label(value)) if axis and exact else ""
    return Cell(shown, exact if exact != shown else None, is_number, anchor, axis if level else "", level)


def is_numeric(column: pd.Series) -> bool:
    """Whether the column holds numbers alone, and one at least; truth values are none."""
    present = column.dropna()
    return (
        len(present) > 0
        and present.map(
            lambda value: isinstance(value, int | float | Shown) and value is not True and value is not False
        ).all()
    )
