"""A user's own code in a configuration: FILE.py:NAME in place of one of our names (docs/own.md).

The file's text is part of the configuration, so that every machine, a resume and a replay run what the run began with.
It is run as a module whose name holds the text's hash: two versions of a file never meet.
"""

import argparse
import hashlib
import inspect
import linecache
import math
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

from trials.numerics.whole_files import write_whole

REFERENCE = re.compile(r"(.+\.py):([A-Za-z_]\w*)")
SETTING = re.compile(r"own\.([A-Za-z_]\w*)")
MODULE = "own_code_"  # what the names of modules made of users' files begin with
GIVEN = ("valid",)  # parameters that are no settings, wherever they stand: of a loss
FOLDER = "own"  # of a study or a run: copies of the files, to be read
DOCS = "docs/own.md"
Value = bool | int | float | str


class OwnError(ValueError):
    """A user's own code cannot be run, or gives what it should not; the text names the file and, if known, the line."""


@dataclass(frozen=True)
class OwnFile:
    """A user's file as it was when a run or study was asked for; path: where it lay then."""

    text: str
    path: str = ""

    @property
    def sha256(self) -> str:
        """Of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def to_dict(self) -> dict[str, str]:
        """As JSON can hold it."""
        return {"sha256": self.sha256, "path": self.path, "text": self.text}

    @classmethod
    def from_dict(cls, data: Any, name: str) -> "OwnFile":
        """What `to_dict` gave. Raises ValueError where the text is not the one that was written down."""
        if not isinstance(data, Mapping) or not isinstance(data.get("text"), str):
            raise ValueError(f"code: {name} has no text")
        file = cls(data["text"], str(data.get("path", "")))
        if data.get("sha256") not in (None, file.sha256):
            raise ValueError(f"code: the text of {name} is not as it was written down (sha256 differs)")
        return file


class OwnSettings(dict[str, Value]):
    """The settings `own.NAME` by their names: `config.own["depth"]`, or `config.own.depth`."""

    def __getattr__(self, name: str) -> Value:
        if name in self:
            return self[name]
        raise AttributeError(f"own.{name} is not set; --set own.{name}=VALUE sets it ({DOCS})")


def is_own(value: object) -> TypeGuard[str]:
    """Whether a setting's value names a file of a user's: FILE.py:NAME."""
    return isinstance(value, str) and REFERENCE.fullmatch(value) is not None


def parts_of(reference: str) -> tuple[str, str]:
    """FILE.py and NAME."""
    matched = REFERENCE.fullmatch(reference)
    assert matched is not None, reference
    return matched[1], matched[2]


def short(reference: str) -> str:
    """The reference as a configuration holds it: without folders, the same on every machine."""
    file, name = parts_of(reference)
    return f"{Path(file).name}:{name}"


def without_folder(value: Any) -> Any:
    """A setting's value; one that names a file of a user's as a configuration holds it."""
    return short(value) if is_own(value) else value


def without_folders(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, those that name a file of a user's as a configuration holds them."""
    return {name: without_folder(value) for name, value in values.items()}


def find(reference: str, folders: Sequence[Path]) -> Path:
    """The file that the reference names, in the first of the folders that has it; OwnError where none has."""
    file, _ = parts_of(reference)
    path = next((folder / file for folder in folders if (folder / file).is_file()), None)
    if path is None:
        places = " or ".join(str(folder.absolute()) for folder in folders)
        raise OwnError(f"{reference}: there is no file {file} in {places}")
    return path


def read_files(paths: Iterable[Path]) -> dict[str, OwnFile]:
    """These files by their names without folders.

    Raises OwnError for a file that cannot be run alone elsewhere, and for two of one name.
    """
    files: dict[str, OwnFile] = {}
    for path in paths:
        found = OwnFile(_text_of(path), str(path.absolute()))
        other = files.setdefault(path.name, found)
        if other.text != found.text:
            raise OwnError(f"{other.path} and {found.path} are two files of one name; rename one of them")
        _check_stands_alone(found, path)
    return files


def parse_setting(text: str) -> Value:
    """The value of an own setting from its text: true, false, a whole number, a real one, else the text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if math.isfinite(value):
            return value
    return text


def named_files(files: Mapping[str, OwnFile], values: Iterable[object]) -> dict[str, OwnFile]:
    """Those of the files that one of the values names."""
    named = {parts_of(value)[0] for value in values if is_own(value)}
    return {name: file for name, file in files.items() if name in named}


def changes_since(files: Mapping[str, OwnFile]) -> list[str]:
    """A sentence for each file that is not any more what the run or study began with."""
    said = []
    for name, file in files.items():
        path = Path(file.path)
        if file.path and path.is_file() and _text_of(path) != file.text:
            now = OwnFile(_text_of(path)).sha256
            said.append(
                f"{path} has changed since (sha256 {file.sha256[:12]} then, {now[:12]} now): what runs is the copy of "
                f"{name} that was made then"
            )
    return said


def write_copies(folder: Path, files: Mapping[str, OwnFile]) -> None:
    """The files, to be read, in the folder `own` of a study or a run; what runs is the text in the configuration."""
    for name, file in files.items():
        (folder / FOLDER).mkdir(exist_ok=True)
        write_whole(folder / FOLDER / name, file.text)


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """--trust-code, of the commands that run what lies in a run's folder."""
    parser.add_argument(
        "--trust-code", action="store_true", help="run the code of its own that the run's folder brings (docs/own.md)"
    )


def check_trusted(files: Mapping[str, OwnFile], is_trusted: bool, place: Path) -> None:
    """Raises OwnError where files would be run that came with a run's folder and nobody vouched for them."""
    if files and not is_trusted:
        listed = ", ".join(f"{name} (sha256 {file.sha256[:12]})" for name, file in files.items())
        raise OwnError(
            f"{place} brings code of its own, {listed}, which would be run on this machine: read it (the run's folder "
            f"has a copy in {FOLDER}/), then say --trust-code"
        )


def load(reference: str, files: Mapping[str, OwnFile]) -> Callable:
    """What the reference names. Raises OwnError where its file cannot be run, or has no such function or class."""
    file, name = parts_of(reference)
    if file not in files:
        raise OwnError(f"{reference}: the configuration holds no {file}")
    module = _module(file, files[file])
    thing = getattr(module, name, None)
    if not callable(thing):
        defined = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        what = f"{name} is a {type(thing).__name__}" if hasattr(module, name) else f"it has no {name}"
        raise OwnError(f"{reference}: {what}; functions and classes in it: {', '.join(defined) or 'none'}")
    return thing


def arguments(part: Callable, settings: Mapping[str, Any], num_given: int, reference: str) -> dict[str, Any]:
    """The settings that a function or class names as parameters; the first `num_given`, and GIVEN, are the caller's.

    Raises OwnError, naming the parameter, for one without a default that no setting has the name of.
    """
    chosen = {}
    for parameter in list(inspect.signature(part).parameters.values())[num_given:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name in GIVEN:
            continue
        if parameter.name in settings:
            chosen[parameter.name] = settings[parameter.name]
        elif parameter.default is parameter.empty:
            raise OwnError(
                f"{reference}{_line_of_definition(part)}: nothing gives its parameter {parameter.name!r}; "
                f"a parameter is a setting's name, `config` for all of them, or --set own.{parameter.name}=VALUE"
            )
    return chosen


@contextmanager
def named_errors() -> Iterator[None]:
    """What is raised within a user's code names its file and line, as an OwnError."""
    try:
        yield
    except OwnError:
        raise
    except Exception as error:
        if place := place_of(error):
            raise OwnError(f"{place}: {type(error).__name__}: {_first_line(error)}") from error
        raise


def place_of(error: BaseException) -> str | None:
    """ "mine.py, line 7, in forward" where the error's way leads through a user's code; of several the innermost."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_globals.get("__name__", "").startswith(MODULE):
            return f"{frame.f_code.co_filename}, line {line}, in {frame.f_code.co_qualname}"
    return None


def _module(name: str, file: OwnFile) -> ModuleType:
    full_name = f"{MODULE}{Path(name).stem}_{file.sha256[:12]}"
    if full_name in sys.modules:
        return sys.modules[full_name]
    shown = file.path if file.path and Path(file.path).is_file() else name
    module = ModuleType(full_name)
    module.__file__ = shown
    linecache.cache[shown] = (len(file.text), None, file.text.splitlines(keepends=True), shown)  # for tracebacks
    sys.modules[full_name] = module
    try:
        exec(compile(file.text, shown, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        del sys.modules[full_name]
        is_syntax = isinstance(error, SyntaxError) and error.filename == shown
        place = f"{shown}, line {error.lineno}" if is_syntax else place_of(error) or shown
        raise OwnError(f"{place}: {type(error).__name__}: {_first_line(error)}") from error
    return module


def _check_stands_alone(file: OwnFile, path: Path) -> None:
    """Raises OwnError where the file imports another beside it, which would not be there on other machines."""
    for number, line in enumerate(file.text.splitlines(), start=1):
        matched = re.match(r"\s*(?:from\s+(\.*)([\w.]*)\s+import\b|import\s+()([\w.]+))", line)
        if not matched:
            continue
        dots, name = matched[1] or "", (matched[2] or matched[4] or "").partition(".")[0]
        beside = path.parent / name
        is_ours = name in ("trials", "search_spaces", "study", "analysis", "segstudy")
        if dots or (not is_ours and (beside.with_suffix(".py").is_file() or (beside / "__init__.py").is_file())):
            raise OwnError(
                f"{path}, line {number}: imports {dots}{name}, which lies beside it; a file of one's own is copied "
                "alone: put all into one file, or install the other as a package"
            )


def _line_of_definition(part: Callable) -> str:
    code = getattr(part.__init__ if inspect.isclass(part) else part, "__code__", None)
    return f", line {code.co_firstlineno}" if code else ""


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise OwnError(f"{path}: not text in UTF-8 ({error})") from None


def _first_line(error: BaseException) -> str:
    return str(error.msg if isinstance(error, SyntaxError) else error).partition("\n")[0]
