"""The page as one HTML file."""

import base64
from collections.abc import Mapping
from html import escape
from urllib.parse import quote

import pandas as pd

from analysis.page.blocks import (
    Block,
    Command,
    Details,
    Drawing,
    Items,
    Link,
    Page,
    Pairs,
    Picture,
    Table,
    Text,
    caption,
    slug,
)
from analysis.page.style import CSS, SCRIPT
from analysis.page.wording import show

MOST_ROWS_HTML = 500  # of a table; the rest stands in tables/*.csv
MOST_COLUMNS_UPRIGHT = 9  # a table of more is printed on a page laid crosswise


def html(page: Page) -> str:
    anchors = {block.trial: block.anchor for block in page.blocks(Details) if block.trial}
    titles = [(section.title, slug(section.title)) for section in page.sections]
    contents = "".join(f'<li><a href="#{anchor}">{escape(title)}</a></li>' for title, anchor in titles)
    body = "\n".join(
        f'<section id="{slug(section.title)}">\n<h2>{escape(section.title)}</h2>\n'
        + "\n".join(html_block(block, anchors) for block in section.blocks)
        + "\n</section>"
        for section in page.sections
    )
    refresh = f'\n<meta http-equiv="refresh" content="{page.refresh_s:g}">' if page.refresh_s else ""
    question = f'<p class="question">{escape(page.question)}</p>' if page.question else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">{refresh}
<title>{escape(page.title)}</title>
<style>{CSS}</style>
</head>
<body>
<nav aria-label="Contents"><ol>{contents}</ol></nav>
<main>
<h1>{escape(page.title)}</h1>
{question}
<p class="status">{escape(page.status)}</p>
{body}
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def html_block(block: Block, anchors: Mapping[str, str]) -> str:
    match block:
        case Text(text):
            return f"<p>{escape(text)}</p>"
        case Items(items):
            return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
        case Pairs(pairs):
            cells = (
                f"<div><dt>{breakable(name)}<dd>{escape(show(value, name))}</div>" for name, value in pairs.items()
            )
            return f"<dl>{''.join(cells)}</dl>"
        case Command(about, text):
            return f"<p>{escape(about)}</p><pre>{escape(text)}</pre>"
        case Link(text, path):
            return f'<p><a href="{quote(path, errors="replace")}">{escape(text)}</a></p>'
        case Drawing(svg, caption):
            return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
        case Details():
            return html_details(block, anchors)
        case Picture():
            return html_picture(block)
        case Table():
            return html_table(block, anchors)


def html_details(details: Details, anchors: Mapping[str, str]) -> str:
    mark = f' id="{details.anchor}"' if details.anchor else ""
    inner = "\n".join(html_block(block, anchors) for block in details.blocks)
    return (
        f'<details{mark} class="{slug(details.mark)}"><summary>{escape(details.title)}</summary>\n{inner}\n</details>'
    )


def html_picture(picture: Picture) -> str:
    data = base64.b64encode(picture.drawn.webp).decode()
    return (
        f'<figure id="figure-{escape(picture.name)}">'
        f'<img src="data:image/webp;base64,{data}" alt="{escape(picture.alt)}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def html_table(table: Table, anchors: Mapping[str, str]) -> str:
    frame = table.frame.head(MOST_ROWS_HTML)
    numeric = {name: is_numeric(frame[name]) for name in frame}
    marks = {name: ' class="number"' if numeric[name] else "" for name in frame}
    head = "".join(
        f'<th scope="col"{marks[name]}><button type="button">{breakable(name)}</button></th>' for name in frame
    )
    rows = [dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False, name=None)]
    body = "\n".join(
        f"<tr>{''.join(html_cell(table, *cell, marks, anchors) for cell in row.items())}</tr>" for row in rows
    )
    name, wide = escape(table.name), ' class="wide"' if len(frame.columns) > MOST_COLUMNS_UPRIGHT else ""
    return (
        f'<figure id="table-{name}"{wide}><figcaption class="about" id="about-{name}">'
        f"{escape(caption(table, MOST_ROWS_HTML))}</figcaption>\n"
        f'<div class="table" tabindex="0" role="region" aria-labelledby="about-{name}"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div></figure>"
    )


def breakable(name: str) -> str:
    """A column's name, which may break after an underscore."""
    return escape(str(name)).replace("_", "_<wbr>")


def html_cell(table: Table, name: str, value: object, marks: Mapping[str, str], anchors: Mapping[str, str]) -> str:
    """A cell shows the rounded value and sorts by the exact one, which stands beside it where it differs."""
    shown = table.shown(value, name)
    exact = "" if shown == "–" else str(value)
    data = f' data-value="{escape(exact)}"' if exact != shown else ""
    inner = escape(shown)
    if name == "trial" and value in anchors:
        inner = f'<a href="#{anchors[value]}">{inner}</a>'
    return f"<td{marks[name]}{data}>{inner}</td>"


def is_numeric(column: pd.Series) -> bool:
    present = column.dropna()
    return (
        len(present) > 0
        and present.map(lambda value: isinstance(value, int | float) and value is not True and value is not False).all()
    )
