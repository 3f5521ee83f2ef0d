"""The page as Markdown, for a pull request: short, its figures linked."""

from analysis.page.blocks import (
    Beside,
    Block,
    Command,
    Curves,
    Details,
    Items,
    Link,
    Page,
    Pairs,
    Picture,
    Section,
    Table,
    Text,
)
from analysis.page.blocks import caption as caption_of
from analysis.page.wording import show

MOST_ROWS = 20  # of a table, and of a section's parts; the rest stands in tables/*.csv and in report.html


def markdown(page: Page) -> str:
    """The page as one text."""
    parts = [f"# {inline(page.title)}", *([f"**{inline(page.question)}**"] if page.question else [])]
    parts.append(inline(page.status))
    for section in page.sections:
        parts += [f"## {inline(section.title)}", *section_parts(section)]
    return "\n\n".join(parts) + "\n"


def section_parts(section: Section) -> list[str]:
    """Its blocks; what folds away and can be linked to on the page is a line here, and only the first of them."""
    folded = [block for block in section.blocks if is_part(block)]
    told = [markdown_block(block) for block in section.blocks if not is_part(block)]
    lines = [f"- {inline(each.title)}" for each in folded[:MOST_ROWS]]
    others = f", and the other {len(folded) - MOST_ROWS} parts," if len(folded) > MOST_ROWS else ""
    more = [f"What each holds{others} is in report.html."] if folded else []
    return [*told, *(["\n".join(lines)] if lines else []), *more]


def is_part(block: Block) -> bool:
    """A trial's."""
    return isinstance(block, Details) and bool(block.anchor)


def markdown_block(block: Block) -> str:
    """A block as Markdown, its texts escaped."""
    match block:
        case Text(text):
            return inline(text)
        case Items(items):
            return "\n".join(f"- {inline(item)}" for item in items)
        case Pairs(pairs):
            return "\n".join(f"- {inline(name)}: {inline(show(value, name))}" for name, value in pairs.items())
        case Command(about, text):
            return f"{inline(about)}\n\n    {text}"
        case Link(text, target):
            return f"[{inline(text)}](<{target}>)"
        case Curves(_, caption):
            return inline(caption)
        case Beside(pictures):
            return "\n\n".join(map(markdown_block, pictures))
        case Details(title, blocks):
            return "\n\n".join([inline(title), *map(markdown_block, blocks)])
        case Picture(name, caption, alt, _):
            return f"![{inline(alt)}](figures/{name}.png)\n\n*{inline(caption)}*"
        case Table():
            return markdown_table(block)


def markdown_table(table: Table) -> str:
    """The caption, the heads and the first MOST_ROWS rows."""
    columns = list(table.view)
    rows = [
        [table.shown(value, column) for column, value in zip(columns, row, strict=True)]
        for row in table.view.head(MOST_ROWS).itertuples(index=False, name=None)
    ]
    head = [row_of([table.head(column) for column in columns]), "| " + " | ".join(["---"] * len(columns)) + " |"]
    return "\n".join([inline(caption_of(table, MOST_ROWS)), "", *head, *map(row_of, rows)])


def row_of(cells: list[str]) -> str:
    return "| " + " | ".join(map(inline, cells)) + " |"


def inline(text: str) -> str:
    """Text that Markdown takes as it stands."""
    for mark in "\\`*_|<>[]$#~&":
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())
