"""A report as data (sections of text, tables and figures), and its two forms: one HTML file, and Markdown."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import pandas as pd

from analysis.style import CSS, SORT
from analysis.wording import show

MOST_ROWS_HTML, MOST_ROWS_MARKDOWN = 500, 20  # of a table; the rest stands in tables/*.csv


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Items:
    items: list[str]


@dataclass(frozen=True)
class Table:
    name: str  # of tables/<name>.csv
    caption: str
    frame: pd.DataFrame


@dataclass(frozen=True)
class Picture:
    name: str  # of figures/<name>.png
    caption: str
    alt: str  # what it shows, for those who do not see it
    png: bytes = field(repr=False)


@dataclass(frozen=True)
class Section:
    title: str
    blocks: Sequence[Text | Items | Table | Picture]


@dataclass(frozen=True)
class Page:
    title: str
    status: str  # one line under the title
    sections: list[Section]

    def blocks(self, kind: type) -> list:
        return [block for section in self.sections for block in section.blocks if isinstance(block, kind)]


def html(page: Page) -> str:
    body = "\n".join(
        f"<section>\n<h2>{escape(section.title)}</h2>\n" + "\n".join(map(html_block, section.blocks)) + "\n</section>"
        for section in page.sections
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(page.title)}</title>
<style>{CSS}</style>
</head>
<body>
<h1>{escape(page.title)}</h1>
<p class="status">{escape(page.status)}</p>
{body}
<script>{SORT}</script>
</body>
</html>
"""


def html_block(block: Text | Items | Table | Picture) -> str:
    match block:
        case Text(text):
            return f"<p>{escape(text)}</p>"
        case Items(items):
            return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
        case Picture(name, caption, alt, png):
            data = base64.b64encode(png).decode()
            return (
                f'<figure id="{escape(name)}"><img src="data:image/png;base64,{data}" alt="{escape(alt)}">'
                f"<figcaption>{escape(caption)}</figcaption></figure>"
            )
        case Table():
            return html_table(block)


def html_table(table: Table) -> str:
    frame = table.frame.head(MOST_ROWS_HTML)
    numeric = {name: is_numeric(frame[name]) for name in frame}
    marks = {name: ' class="number"' if numeric[name] else "" for name in frame}
    head = "".join(
        f'<th scope="col"{marks[name]}><button type="button">{breakable(name)}</button></th>' for name in frame
    )
    rows = [dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False, name=None)]
    body = "\n".join(
        "<tr>" + "".join(html_cell(value, name, marks[name]) for name, value in row.items()) + "</tr>" for row in rows
    )
    name = escape(table.name)
    return (
        f'<figure id="{name}"><figcaption id="about-{name}">{escape(caption(table, MOST_ROWS_HTML))}</figcaption>\n'
        f'<div class="table" tabindex="0" role="region" aria-labelledby="about-{name}"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div></figure>"
    )


def breakable(name: str) -> str:
    """A column's name, which may break after an underscore."""
    return escape(str(name)).replace("_", "_<wbr>")


def html_cell(value: object, name: str, mark: str) -> str:
    """A cell shows the rounded value and sorts by the exact one."""
    shown = show(value, name)
    exact = "" if shown == "–" else str(value)
    return f'<td{mark} data-value="{escape(exact)}">{escape(shown)}</td>'


def caption(table: Table, most: int) -> str:
    if len(table.frame) <= most:
        return table.caption
    return f"{table.caption} The first {most} of {len(table.frame)} rows; all are in tables/{table.name}.csv."


def is_numeric(column: pd.Series) -> bool:
    present = column.dropna()
    return (
        len(present) > 0
        and present.map(lambda value: isinstance(value, int | float) and value is not True and value is not False).all()
    )


def markdown(page: Page) -> str:
    parts = [f"# {inline(page.title)}", inline(page.status)]
    for section in page.sections:
        parts += [f"## {inline(section.title)}", *map(markdown_block, section.blocks)]
    return "\n\n".join(parts) + "\n"


def markdown_block(block: Text | Items | Table | Picture) -> str:
    match block:
        case Text(text):
            return inline(text)
        case Items(items):
            return "\n".join(f"- {inline(item)}" for item in items)
        case Picture(name, caption_, alt, _):
            return f"![{inline(alt)}](figures/{name}.png)\n\n*{inline(caption_)}*"
        case Table(name, _, frame):
            shown = frame.head(MOST_ROWS_MARKDOWN)
            rows = [
                [show(value, column) for column, value in zip(frame.columns, row, strict=True)]
                for row in shown.itertuples(index=False, name=None)
            ]
            lines = [[str(column) for column in frame.columns], ["---"] * len(frame.columns), *rows]
            grid = "\n".join(
                "| " + " | ".join(inline(cell) if cell != "---" else cell for cell in line) + " |" for line in lines
            )
            return f"{inline(caption(block, MOST_ROWS_MARKDOWN))}\n\n{grid}"


def inline(text: str) -> str:
    """Text that Markdown takes as it stands."""
    for mark in "\\`*_|<>[]":
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())
