"""Files -> frames: a study's folder as it is, every gap stated. Reads JSON only; opens no pickle."""

from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.columns import EPOCH_COLUMNS, TRIAL_COLUMNS, seed_of
from analysis.records import MISSING, parsed, read_object
from analysis.trial_files import TEXTS, Columns, read_trial

TRIAL_FILES = ("params.json", "result.json")  # a folder with one of them is a trial's
PARTS = ("space", "options", "fixed", "data", "provenance")  # of study.json, each a dictionary
NO_METRICS = (
    "loss_scale",
    "images_per_s",
    "time_total_s",
    "timestamp",
    "diverged_step",
)  # numbers that nobody asks to be best
LIKELY = ("dice", "accuracy", "score", "iou", "auc", "f1", "loss")  # in the name of a metric
MANY = 2000  # trials that are worth the start of processes
EPOCH_TYPES = {"epoch": int, "diverged": bool}  # TEXTS are objects, all others floats


class NotAStudy(ValueError):
    """The folder holds neither a study.json nor a trial."""


class NoMetric(ValueError):
    """No trial has measured it."""


@dataclass(frozen=True)
class Study:
    folder: Path
    study: dict  # study.json; its PARTS are there, empty where the file lacks them
    test: dict | None  # test.json
    trials: pd.DataFrame  # a row a trial folder: its settings and its end
    epochs: pd.DataFrame  # a row a trial and epoch; where `diverged`, the metrics are substitutes, not measurements
    gaps: list[str]  # what is missing or was left out, in sentences
    metric: str  # what the trials are ranked by
    mode: str  # "min" or "max": which end of it is best

    @property
    def state(self) -> str:
        return state_of(self.study)


def load_study(folder: Path, metric: str | None = None, mode: str | None = None) -> Study:
    """metric, mode: instead of those that the study was asked for. Raises ValueError where there is no such metric."""
    folders = trial_folders(folder)
    if not folders and not (folder / "study.json").is_file():
        raise NotAStudy(
            f"{folder} is not a study: it has no study.json, and no folder in it has a params.json or a result.json"
        )
    study, gaps = read_study(folder)
    test, problem = read_object(folder / "test.json")
    if problem not in (None, MISSING):
        gaps.append(f"test.json {problem}: no test score.")
    statuses = {} if "created" in study else rays_statuses(folder)
    read = read_trials(folders, open_study=state_of(study) == "running", statuses=statuses)
    trials = frame([trial for trial, _ in read], TRIAL_COLUMNS)
    gaps += trial_gaps(trials)
    trials, seed_gap = (trials, []) if "created" in study else seed_of(trials)
    gaps += seed_gap
    trials["gaps"] = ["; ".join(problems) for problems in trials["gaps"]]
    epochs = together(trials, [epochs for _, epochs in read])
    metric, mode, guessed = choose_metric(study["options"], epochs, metric, mode)
    return Study(folder, study, test or None, trials, epochs, gaps + guessed, metric, mode)


def choose_metric(
    options: dict, epochs: pd.DataFrame, metric: str | None, mode: str | None
) -> tuple[str, str, list[str]]:
    """Metric and mode as given, as recorded in study.json's options, or else a guess, which is a gap."""
    measured = [name for name in epochs if name not in NO_METRICS and epochs[name].dtype == float]
    measured = [name for name in measured if epochs[name].notna().any()]
    if metric is not None and metric not in measured:
        raise NoMetric(f"--metric {metric!r} was not measured; measured are {', '.join(measured) or 'nothing'}")
    recorded = options.get("metric")
    if metric is not None or recorded or "val_dice" in measured or not measured:
        chosen = str(metric or recorded or "val_dice")
        known = options.get("mode") if chosen == recorded else None
        return chosen, mode or (known if known in ("min", "max") else mode_of(chosen)), []
    guess = min(measured, key=likelihood)
    mode = mode or mode_of(guess)
    others = ", ".join(name for name in measured if name != guess) or "none"
    gap = (
        f"The metric is not recorded: {guess} is shown, {mode} counts as best; --metric NAME and --mode min|max choose"
        f" (also measured: {others})."
    )
    return guess, mode, [gap]


def likelihood(name: str) -> tuple[int, bool]:
    """The lower the likelier to be what a study is about: by LIKELY, validation before training."""
    place = next((place for place, word in enumerate(LIKELY) if word in name), len(LIKELY))
    return place, not any(word in name for word in ("val", "eval", "test"))


def mode_of(metric: str) -> str:
    return "min" if any(word in metric for word in ("loss", "error", "bce", "perplexity")) else "max"


def rays_statuses(folder: Path) -> dict[str, str]:
    """Trial id -> TERMINATED, ERROR ..., as the last record of an experiment that was not made here has it."""
    records = sorted(folder.glob("experiment_state-*.json"))
    record = read_object(records[-1])[0] if records else {}
    found = {}
    for entry in record.get("trial_data") or []:
        state = parsed(entry[0]) if isinstance(entry, list) and entry and isinstance(entry[0], str) else None
        if isinstance(state, dict):
            found[str(state.get("trial_id"))] = str(state.get("status"))
    return found


def read_trials(folders: list[Path], *, open_study: bool, statuses: Mapping[str, str]) -> list[tuple[dict, Columns]]:
    read = partial(read_trial, open_study=open_study, statuses=statuses)
    if len(folders) < MANY:
        return [read(folder) for folder in folders]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return list(pool.map(read, folders, chunksize=100))


def is_study(folder: Path) -> bool:
    return folder.is_dir() and ((folder / "study.json").is_file() or bool(trial_folders(folder)))


def trial_folders(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.is_dir() and any((path / name).is_file() for name in TRIAL_FILES)
    )


def read_study(folder: Path) -> tuple[dict, list[str]]:
    record, problem = read_object(folder / "study.json")
    parts = {part: record[part] if isinstance(record.get(part), dict) else {} for part in PARTS}
    if problem:
        return parts, [
            f"study.json {problem}: the question, the plan, the data and the origin of this study are"
            " unknown, and so is whether it is still running."
        ]
    lacking = [part for part in PARTS if not isinstance(record.get(part), dict)]
    gaps = [f"study.json lacks {', '.join(lacking)}."] if lacking else []
    return {"created": None} | record | parts, gaps


def state_of(study: dict) -> str:
    """finished, interrupted, running (by the record: a killed study looks the same) or unknown."""
    if "created" not in study:
        return "unknown"
    if study.get("interrupted"):
        return "interrupted"
    return "finished" if study.get("finished") else "running"


def trial_gaps(trials: pd.DataFrame) -> list[str]:
    """Each problem once, with the trials that have it."""
    sharing = defaultdict(list)
    for trial, problems in zip(trials["trial"], trials["gaps"], strict=True):
        for problem in problems:
            sharing[problem].append(trial)
    return [
        f"{len(names)} {'trial has' if len(names) == 1 else 'trials have'} {problem}: {named(names)}."
        for problem, names in sharing.items()
    ]


def named(trials: list[str], most: int = 20) -> str:
    rest = f", and {len(trials) - most} more (column gaps of tables/trials.csv)" if len(trials) > most else ""
    return ", ".join(trials[:most]) + rest


def frame(rows: list[dict], first: tuple[str, ...]) -> pd.DataFrame:
    """Values as they were read (None is not NaN, 16 is not 16.0), the columns of `first` always there."""
    names = list(dict.fromkeys([*first, *(key for row in rows for key in row)]))
    return pd.DataFrame(rows, columns=names, dtype=object)


def together(trials: pd.DataFrame, columns: list[Columns]) -> pd.DataFrame:
    """A row a trial and epoch: measurements as floats, NaN where a trial lacks one."""
    lengths = [len(own["epoch"]) for own in columns]
    named = {name: np.repeat(trials[name].to_numpy(object), lengths) for name in ("folder", "trial")}
    names = dict.fromkeys([*EPOCH_COLUMNS, *(name for own in columns for name in own)])
    return pd.DataFrame(named | {name: column(name, columns, lengths) for name in names if name not in named})


def column(name: str, columns: list[Columns], lengths: list[int]) -> np.ndarray:
    kind = EPOCH_TYPES.get(name, object if name in TEXTS else float)
    empty = None if kind is object else np.nan
    parts = [
        own[name] if name in own else np.full(length, empty, kind) for own, length in zip(columns, lengths, strict=True)
    ]
    return np.concatenate(parts) if parts else np.empty(0, kind)
