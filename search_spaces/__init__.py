"""What may vary: one file a question. A new one is a file here and its name in the tuple below."""

import runpy
from pathlib import Path

from search_spaces import amp, full, networks, optimizer, remedies, smoke, upsample
from search_spaces.space import Choice, IntRange, LogUniform, Space, Uniform, space_from_dict

__all__ = ["SPACES", "Choice", "IntRange", "LogUniform", "Space", "Uniform", "load_space", "space_from_dict"]

SPACES = {module.SPACE.name: module.SPACE for module in (upsample, amp, networks, optimizer, remedies, full, smoke)}


def load_space(name_or_file: str) -> Space:
    """The space of that name, or the SPACE that the Python file at that path defines.

    Raises ValueError for an unknown name, FileNotFoundError for a path without a file, TypeError for a file
    whose SPACE is missing or not a Space.
    """
    if name_or_file in SPACES:
        return SPACES[name_or_file]
    if not name_or_file.endswith(".py"):
        raise ValueError(
            f"unknown space {name_or_file!r}; known: {', '.join(SPACES)} (search_spaces/), or the path of a .py file"
        )
    path = Path(name_or_file)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path.absolute()}; --space takes {', '.join(SPACES)} or a .py file")
    space = runpy.run_path(str(path)).get("SPACE")
    if not isinstance(space, Space):
        raise TypeError(f"{path}: SPACE is {space!r}; the file must define SPACE = Space(...) (search_spaces/space.py)")
    return space
