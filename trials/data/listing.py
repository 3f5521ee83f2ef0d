"""Which files of a folder are pictures, by name; and what of it is left out, and why."""

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from trials.wording import some

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".npy")
ARRAY_SUFFIX = ".npy"  # of numpy: images of any number of channels
SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
HEIC_SUFFIXES = (".heic", ".heif", ".hif")
HEIC_HINT = "HEIC is not read; convert it to JPEG or PNG, for one with `heif-convert a.heic a.jpg`"


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder by name (without ending, Unicode NFC), and (file name, reason) of what is left out."""

    files: dict[str, Path]
    left_out: tuple[tuple[str, str], ...]

    def notes(self) -> list[str]:
        """A sentence for each reason for which files were left out."""
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.left_out:
            by_reason.setdefault(reason, []).append(name)
        return [f"{len(names)} left out, {reason}: {some(names)}" for reason, names in by_reason.items()]


def list_pictures(directory: Path, *, full_names: bool = False) -> Listing:
    """The pictures of a folder, in the order of their names; with `full_names` twins (a.jpg, a.png) keep their endings.

    Raises FileNotFoundError where there is no folder, no picture, or (without `full_names`) two of one name.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"no folder {directory.absolute()}")
    files, left_out = [], []
    for path in sorted(directory.iterdir()):
        if reason := _reason_to_leave_out(path):
            left_out.append((path.name, reason))
        else:
            files.append(path)
    if not files:
        others = "".join(f"; {note}" for note in Listing({}, tuple(left_out)).notes())
        raise FileNotFoundError(f"no image in {directory.absolute()}; read are {', '.join(IMAGE_SUFFIXES)}{others}")
    return Listing(_by_name(directory, files, full_names), tuple(left_out))


def _reason_to_leave_out(path: Path) -> str | None:
    if path.name.startswith(".") or path.name.lower() in SYSTEM_FILES:
        return "hidden or an operating system's own"
    if path.is_dir():
        return "a folder"
    if path.suffix.lower() in HEIC_SUFFIXES:
        return HEIC_HINT
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return f"not a picture by its ending ({', '.join(IMAGE_SUFFIXES)})"
    return None


def _by_name(directory: Path, files: list[Path], full_names: bool) -> dict[str, Path]:
    stems = [unicodedata.normalize("NFC", path.stem) for path in files]
    first = {stem: path for stem, path in zip(reversed(stems), reversed(files), strict=True)}
    twins = {stem for stem, path in zip(stems, files, strict=True) if first[stem] != path}
    if twins and not full_names:
        named = some(path.name for stem, path in zip(stems, files, strict=True) if stem in twins)
        raise FileNotFoundError(f"{directory}: two files of one name but other endings: {named}; leave one of them")
    names = [path.name if stem in twins else stem for stem, path in zip(stems, files, strict=True)]
    return dict(sorted(zip(names, files, strict=True)))
