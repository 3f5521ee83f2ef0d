"""Which folders are an experiment's trials, and where the experiment is that somebody meant."""

from collections.abc import Iterator
from pathlib import Path

from analysis.load.ray_record import STATES

TRIAL_FILES = ("params.json", "result.json", "progress.csv")  # a folder with one of them is a trial's
DEEPEST = 4  # folders below an experiment in which its trials are looked for
MOST_LOOKED_AT = 2000  # folders
MOST_NAMED = 10  # experiments in a message
NOT_LOOKED_INTO = ("report",)


class NotAStudy(ValueError):
    """The folder holds neither a study.json nor a trial nor Ray's record of trials."""


def is_study(folder: Path) -> bool:
    """Whether the folder has a study.json, Ray's record of an experiment, or a trial's folder in it."""
    return folder.is_dir() and (
        (folder / "study.json").is_file() or has_record(folder) or any(map(is_trial, folders_in(folder)))
    )


def is_trial(folder: Path) -> bool:
    return any((folder / name).is_file() for name in TRIAL_FILES)


def has_record(folder: Path) -> bool:
    return next(folder.glob(STATES), None) is not None


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, by name, without NOT_LOOKED_INTO; none where it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in NOT_LOOKED_INTO)
    except OSError:
        return []


def trial_folders(folder: Path) -> list[Path]:
    """The trials' folders: those in it, and where Ray's record is there those in folders within, and itself.

    Not those of another experiment within.
    """
    found = [path for path in folders_in(folder) if is_trial(path)]
    if (folder / "study.json").is_file() or not has_record(folder):
        return found
    return [folder] * is_trial(folder) + sorted({*found, *within(folder)})


def within(folder: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """The trials' folders at most `depth` folders below, not those of another experiment."""
    for path in folders_in(folder):
        if is_trial(path):
            yield path
        elif depth > 1 and not has_record(path) and not (path / "study.json").is_file():
            yield from within(path, depth - 1)


def state_files(folder: Path, trials: list[Path]) -> list[Path]:
    """Ray's records: beside the trials, or where there is none in the trials' own folders."""
    found = sorted(folder.glob(STATES))
    return found or sorted(path for trial in trials for path in trial.glob(STATES))


def require_study(folder: Path) -> None:
    """Raises NotAStudy, naming the experiments above or below that may have been meant."""
    if is_study(folder):
        return
    is_part = is_trial(folder) or folder.name.startswith("checkpoint")
    above = next((path for path in list(folder.parents)[:DEEPEST] if is_part and is_study(path)), None)
    if above is not None:
        raise NotAStudy(f"{folder} is a part of an experiment, not an experiment; take {above}")
    below = experiments_below(folder)
    if below:
        more = f" and {len(below) - MOST_NAMED} more" if len(below) > MOST_NAMED else ""
        named = ", ".join(str(path) for path in below[:MOST_NAMED])
        raise NotAStudy(f"{folder} is not one experiment; take one of those in it: {named}{more}")
    raise NotAStudy(
        f"{folder} is not a study: it has no study.json, no {STATES} of Ray, and no folder in it has a params.json,"
        " a result.json or a progress.csv"
    )


def experiments_below(folder: Path) -> list[Path]:
    """The nearest experiments in a folder and in the folders in it, breadth first."""
    found, level, looked_at = [], [folder], 0
    for _ in range(DEEPEST):
        deeper = []
        for path in (inner for each in level for inner in folders_in(each)):
            looked_at += 1
            if looked_at > MOST_LOOKED_AT:
                return found
            (found if is_study(path) else deeper).append(path)
        level = deeper
    return found
