"""The files of a report: each is written whole or not at all, the page last."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.csv

from analysis.load.json_files import read_object
from analysis.page import blocks
from analysis.page.html import html
from analysis.page.markdown import markdown

LARGE = 100_000  # rows of a table
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet takes for a formula


class CannotWrite(OSError):
    """The report has no place where it may be written."""


def write_page(target: Path, name: str, made: blocks.Page, record: dict, more: dict[str, pd.DataFrame]) -> Path:
    """`name`.html, .md and .json, its tables with all their rows, those of `more`, and its figures.

    Gives the path of the page. Raises CannotWrite.
    """
    tables = {table.name: table for table in made.blocks(blocks.Table)}
    pictures = {picture.name: picture for picture in made.blocks(blocks.Picture)}
    frames = {key: table.frame for key, table in tables.items()} | more
    for key, frame in frames.items():
        write(target / "tables" / f"{key}.csv", csv_of(frame))
    for key, picture in pictures.items():
        write(target / "figures" / f"{key}.png", picture.drawn.png)
        write(target / "figures" / f"{key}.svg", picture.drawn.svg)
    remove_outdated(target, name, {"tables": set(frames), "figures": set(pictures)})
    record |= {
        "status": made.status,
        "tables": {
            key: {"caption": table.caption, "rows": table.frame.to_dict("records")} for key, table in tables.items()
        },
        "figures": {key: {"caption": picture.caption, "alt": picture.alt} for key, picture in pictures.items()},
    }
    write(target / f"{name}.json", json.dumps(strict(record), indent=1, allow_nan=False).encode())
    write(target / f"{name}.md", markdown(made).encode(errors="replace"))
    write(target / f"{name}.html", html(made).encode(errors="replace"))
    return target / f"{name}.html"


def csv_of(frame: pd.DataFrame) -> bytes:
    """A frame's rows as CSV; large ones by Arrow, ten times as fast as pandas, with truth values in small letters."""
    is_large = len(frame) >= LARGE

    def text_of(value: object) -> object:
        return str(harmless(value)) if is_large else harmless(value)

    texts = frame.select_dtypes(object)
    frame = frame.assign(**{name: texts[name].map(text_of, na_action="ignore") for name in texts})
    frame = frame.rename(columns=harmless)
    if not is_large:
        return frame.to_csv(index=False).encode(errors="replace")
    target = io.BytesIO()
    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    pyarrow.csv.write_csv(table, target, pyarrow.csv.WriteOptions(quoting_style="needed"))
    return target.getvalue()


def harmless(value: object) -> object:
    """Text that a spreadsheet would run as a formula, with a mark before it that makes it text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) and not is_numeral(value) else value


def is_numeral(text: str) -> bool:
    """Whether the text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def write(path: Path, content: bytes) -> None:
    """Raises CannotWrite."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise CannotWrite(f"cannot write {path} ({error.strerror}); --out DIR puts the report elsewhere") from error


def remove_outdated(target: Path, page_name: str, kept: dict[str, set[str]]) -> None:
    """Removes the tables and figures that the last report lists and this one does not have; nothing else."""
    last, _ = read_object(target / f"{page_name}.json")
    for kind, suffix in (("tables", ".csv"), ("figures", ".png"), ("figures", ".svg")):
        listed = last.get(kind) if isinstance(last.get(kind), dict) else {}
        for name in set(listed) - kept[kind]:
            (target / kind / f"{Path(name).name}{suffix}").unlink(missing_ok=True)


def strict(value: object) -> object:
    """The value as strict JSON has it: no NaN, no infinity (null), no numpy."""
    if isinstance(value, dict):
        return {str(key): strict(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [strict(each) for each in value]
    if isinstance(value, np.generic):
        return strict(value.item())
    if value is pd.NA or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return value
