"""Which pictures train, validate and test: by a user's table, or by the order of names; and names that look grouped."""

import csv
import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from trials.data.listing import IMAGE_SUFFIXES
from trials.wording import some

SPLITS = ("train", "val", "test")
HELD_OUT_SHARE = 0.1  # of the pictures, each for val and test, where groups are given
FORM = "a CSV with a first line `name,split` (train, val, test) or `name,group`"
# patient001_slice01, 12-3, IMG_20200101_004: a number, a separator, more that ends in a number
GROUPED = re.compile(r"(\D*\d+)[_\-. ]+.*\d\D*")
# scan_slice7, a-frame-12
PART_OF_GROUP = re.compile(r"(.+?)[_\-. ]*(?:slice|frame|tile|patch|crop|view)[_\-. ]*\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """A line of a user's table: its number in the file, the picture's name, its split and its group, where given."""

    line: int
    name: str
    split: str | None
    group: str | None


@dataclass(frozen=True)
class Split:
    """The split of each name that has one, and what a user should know of how it came about."""

    split_of: dict[str, str]
    notes: tuple[str, ...] = ()


def every_tenth(names: list[str], special: dict[int, str]) -> dict[str, str]:
    """Each name's split by its position in each ten; `special` names the positions that do not train."""
    return {name: special.get(index % 10, "train") for index, name in enumerate(names)}


def by_table(names: list[str], path: Path) -> Split:
    """The split that a user's CSV gives these names. A group is never on both sides.

    Raises FileNotFoundError, or ValueError that names the line and what is allowed.
    """
    rows = read_table(path)
    known = set(names)
    row_of = {row.name: row for row in rows if row.name in known}
    if not row_of:
        raise ValueError(
            f"{path}: names none of the {len(names)} pictures; it has {rows[0].name}, they are {some(names)}"
        )
    unknown = [row.name for row in rows if row.name not in known]
    missing = [name for name in names if name not in row_of]
    notes = [f"the split was read from {path}"]
    if unknown:
        notes.append(f"{len(unknown)} names of {path.name} are no pair in images/ and masks/: {some(unknown)}")
    if missing:
        notes.append(f"{len(missing)} pairs are not in {path.name} and are not used: {some(missing)}")
    chosen = [row_of[name] for name in names if name in row_of]
    if chosen[0].split is not None:
        split_of = {row.name: row.split for row in chosen if row.split is not None}
    else:
        split_of = _by_group({row.name: row.group for row in chosen if row.group is not None}, path)
    return Split(split_of, tuple(notes))


def read_table(path: Path) -> list[Row]:
    """The lines of a user's CSV, separated by comma, semicolon or tab.

    Raises FileNotFoundError where there is none, and ValueError, naming the line and what is allowed.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"split_file: no file {path.absolute()}; it names {FORM}, in the folder of data_root or as a whole path"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not text in UTF-8 ({error}); save it as CSV in UTF-8") from None
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    lines = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    header = [cell.strip().lower() for cell in next(lines, [])]
    if "name" not in header or not {"split", "group"} & set(header):
        raise ValueError(f"{path}: line 1 is {first.strip()!r}; it is {FORM}")
    rows: dict[str, Row] = {}
    for cells in lines:
        if any(cell.strip() for cell in cells):
            row = _row(path, lines.line_num, dict(zip(header, cells, strict=False)), header)
            if (other := rows.get(row.name)) and (other.split, other.group) != (row.split, row.group):
                raise ValueError(f"{path}: lines {other.line} and {row.line} give {row.name!r} differently; leave one")
            rows[row.name] = row
    if not rows:
        raise ValueError(f"{path}: no line after the first; it is {FORM}")
    _check_groups(path, list(rows.values()))
    return list(rows.values())


def names_look_grouped(names: list[str]) -> str | None:
    """A sentence, where several names seem to be of one patient or film, which a split by names tears apart."""
    groups: dict[str, list[str]] = {}
    for name in names:
        if matched := PART_OF_GROUP.fullmatch(name) or GROUPED.fullmatch(name):
            groups.setdefault(matched[1], []).append(name)
    together = [members for members in groups.values() if len(members) > 1]
    if len(together) < 2 or sum(map(len, together)) < len(names) / 2:
        return None
    return (
        f"the names look like {len(groups)} groups ({some(together[0], 2)}): if these are of one patient or film, "
        f"pictures of one lie in train and in val or test, and scores come out too high; "
        f"--set split_file=FILE takes {FORM}, which keeps each group on one side"
    )


def _row(path: Path, line: int, cells: dict[str, str], header: list[str]) -> Row:
    given = {key: (cells.get(key) or "").strip() for key in ("name", "split", "group")}
    for key in ("name", "split", "group"):
        if key in header and not given[key]:
            raise ValueError(f"{path}: line {line} has no {key}; it is {FORM}")
    split = given["split"].lower() or None
    if split and split not in SPLITS:
        raise ValueError(f"{path}: line {line} has split={given['split']!r}; allowed: {', '.join(SPLITS)}")
    return Row(line, _without_ending(given["name"]), split, given["group"] or None)


def _without_ending(name: str) -> str:
    path = Path(name)
    name = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
    return unicodedata.normalize("NFC", name)


def _check_groups(path: Path, rows: list[Row]) -> None:
    """Raises ValueError where a table of both splits and groups has a group on two sides."""
    first: dict[str, Row] = {}
    for row in rows:
        if row.group is None or row.split is None:
            continue
        other = first.setdefault(row.group, row)
        if other.split != row.split:
            raise ValueError(
                f"{path}: lines {other.line} and {row.line} have group {row.group!r} in {other.split} and in "
                f"{row.split}; a group is on one side only"
            )


def _by_group(group_of: dict[str, str], path: Path) -> dict[str, str]:
    """Whole groups to val and test, each about a tenth of the pictures, the others to train; always the same ones."""
    members: dict[str, list[str]] = {}
    for name, group in group_of.items():
        members.setdefault(group, []).append(name)
    if len(members) < len(SPLITS):
        raise ValueError(f"{path}: {len(members)} groups; train, val and test need one each, at least")
    order = sorted(members, key=lambda group: hashlib.sha256(group.encode()).hexdigest())
    split_of_group: dict[str, str] = {}
    for split in ("val", "test"):
        room = max(1, round(HELD_OUT_SHARE * len(group_of)))
        free = [group for group in order if group not in split_of_group]
        chosen = []
        for group in free:
            if len(members[group]) <= room and len(free) - len(chosen) > (2 if split == "val" else 1):
                chosen.append(group)
                room -= len(members[group])
        chosen = chosen or [min(free, key=lambda group: len(members[group]))]
        split_of_group |= dict.fromkeys(chosen, split)
    return {name: split_of_group.get(group, "train") for name, group in group_of.items()}
