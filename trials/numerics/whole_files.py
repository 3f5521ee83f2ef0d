"""Files that are there whole or not at all, however a process ends while it writes them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """Gives a path beside this one to write to; what was written takes the place of this one at the end.

    Where writing is broken off, what was there before stays, and nothing else.
    """
    partial = path.with_name(f".{path.name}.part{os.getpid()}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a text, as UTF-8, or bytes in place of what the file held."""
    with replacement(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
