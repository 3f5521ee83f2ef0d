"""What may vary: one file a question. A new one is a file here and its name in the tuple below."""

import runpy
import traceback
from difflib import get_close_matches
from pathlib import Path

from search_spaces import amp, full, networks, optimizer, remedies, smoke, upsample
from search_spaces.space import Choice, IntRange, LogUniform, Space, Uniform, space_from_dict

__all__ = ["SPACES", "Choice", "IntRange", "LogUniform", "Space", "Uniform", "load_space", "space_from_dict"]

SPACES = {module.SPACE.name: module.SPACE for module in (upsample, amp, networks, optimizer, remedies, full, smoke)}


def load_space(name_or_file: str) -> Space:
    """The space of that name, or the SPACE that the Python file at that path defines.

    Raises ValueError for an unknown name and for a file that cannot be run, naming the line; FileNotFoundError for a
    path without a file, TypeError for a file whose SPACE is missing or not a Space.
    """
    if name_or_file in SPACES:
        return SPACES[name_or_file]
    if not name_or_file.endswith(".py"):
        close = get_close_matches(name_or_file, SPACES, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ValueError(
            f"unknown space {name_or_file!r}; {hint}known: {', '.join(SPACES)} (search_spaces/), "
            "or the path of a .py file"
        )
    path = Path(name_or_file)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path.absolute()}; --space takes {', '.join(SPACES)} or a .py file")
    try:
        space = runpy.run_path(str(path)).get("SPACE")
    except (Exception, SystemExit) as error:  # a user's own code may raise anything
        raise ValueError(f"{path}{_line_of(error, path)}: {type(error).__name__}: {_first_line(error)}") from error
    if not isinstance(space, Space):
        raise TypeError(f"{path}: SPACE is {space!r}; the file must define SPACE = Space(...) (search_spaces/space.py)")
    return space


def _line_of(error: BaseException, path: Path) -> str:
    """ ", line N" of the file in which the error arose; nothing where it says none."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def _first_line(error: BaseException) -> str:
    return str(error.msg if isinstance(error, SyntaxError) else error).partition("\n")[0]
