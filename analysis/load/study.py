"""Files -> frames: a study's folder as it is, every gap stated. Reads JSON only; opens no pickle."""

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.load.columns import EPOCH_COLUMNS, TRIAL_COLUMNS, seed_of
from analysis.load.folders import require_study, state_files, trial_folders
from analysis.load.foreign_trials import is_left_out, is_our_trial, read_foreign, read_recorded, stopped_early
from analysis.load.json_files import MISSING, current, is_number, read_object
from analysis.load.metric import NO_METRICS, choose
from analysis.load.ray_record import ExperimentRecord, read_record
from analysis.load.trial import SUCH_AS, TEXTS, Columns, read_trial

PARTS = ("space", "options", "fixed", "data", "provenance")  # of study.json, each a dictionary
ITERATIONS = "Ray's training_iteration counts as the epoch; a trial may make several of it in an epoch."
MANY = 2000  # trials that are worth the start of processes
EPOCH_TYPES = {"epoch": int, "diverged": bool, "rolled_back": bool}  # TEXTS are objects, all others floats


@dataclass(frozen=True)
class Study:
    """A study as its folder has it: frames, what they leave out, and the metric by which its trials are ranked."""

    folder: Path
    study: dict  # study.json; its PARTS are there, empty where the file lacks them
    test: dict | None  # test.json
    trials: pd.DataFrame  # a row a trial folder: its settings and its end
    epochs: pd.DataFrame  # a row a trial and epoch; which of them count: analysis/stats/scores.py
    gaps: list[str]  # what is missing or was left out, in sentences
    metric: str  # what the trials are ranked by
    mode: str  # "min" or "max": which end of it is best
    is_ours: bool = True  # made by this project; else by Ray alone
    guess: str = ""  # what of metric and mode is a guess, as a sentence; empty where they were recorded or asked for

    @property
    def state(self) -> str:
        return state_of(self.study)

    @property
    def num_planned(self) -> int | None:
        """How many trials were planned; None where that is not recorded."""
        number = self.study.get("num_trials")
        return int(number) if is_number(number) else None


def load_study(folder: Path, metric: str | None = None, mode: str | None = None) -> Study:
    """A study, or an experiment of Ray Tune, from its folder; what cannot be read of it stands in its gaps.

    metric, mode: instead of those that the study was asked for. Raises NotAStudy where the folder holds none, and
    NoMetric where no trial measured the metric; both are ValueErrors.
    """
    require_study(folder)
    folders = trial_folders(folder)
    study, gaps = read_study(folder)
    test, problem = read_object(folder / "test.json")
    if problem not in (None, MISSING):
        gaps.append(f"test.json {problem}: no test score.")
    is_ours = "created" in study or any(map(is_our_trial, folders))
    record = ExperimentRecord()
    if is_ours:
        read = read_trials(folders, partial(read_trial, open_study=state_of(study) == "running"))
    else:
        read, record, more = read_ray(folder, folders)
        gaps += more
    trials = frame([trial for trial, _ in read], TRIAL_COLUMNS)
    gaps += trial_gaps(trials)
    trials, seed_gap = (trials, []) if is_ours else seed_of(trials)
    trials["gaps"] = ["; ".join(problems) for problems in trials["gaps"]]
    epochs = together(trials, [epochs for _, epochs in read])
    options = study["options"]
    recorded = (options.get("metric"), options.get("mode")) if is_ours else (record.metric, record.mode)
    measured = list(dict.fromkeys([*measurements_in(epochs), *record.measurements()]))
    choice = choose(measured, (metric, mode), recorded, is_ours=is_ours)
    if not is_ours:
        trials["best_in_record"] = recorded_bests(trials, record, choice.metric, choice.mode)
    gaps += [*seed_gap, *choice.gaps]
    return Study(folder, study, test or None, trials, epochs, gaps, choice.metric, choice.mode, is_ours, choice.guess)


def measurements_in(epochs: pd.DataFrame) -> list[str]:
    """The columns that may be asked for as the metric."""
    names = [name for name in epochs if name not in NO_METRICS and epochs[name].dtype == float]
    return [name for name in names if epochs[name].notna().any()]


def read_trials(folders: list[Path], read: Callable[[Path], tuple[dict, Columns]]) -> list[tuple[dict, Columns]]:
    """The row and the epochs of each trial's folder; of MANY folders or more in several processes."""
    if len(folders) < MANY:
        return [read(folder) for folder in folders]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return list(pool.map(read, folders, chunksize=100))


def read_ray(folder: Path, folders: list[Path]) -> tuple[list[tuple[dict, Columns]], ExperimentRecord, list[str]]:
    """The trials of an experiment that was not made here: of the folders that are left, then of Ray's record alone."""
    record, gaps = read_record(state_files(folder, folders))
    strangers = [path for path in folders if record.trials and is_left_out(path, record)]
    if strangers:
        names = named([path.name for path in strangers])
        gaps.append(f"Left out, as they hold no results and Ray's record does not know them: {names}.")
    folders = [path for path in folders if path not in strangers]
    read = read_trials(folders, partial(read_foreign, root=folder, record=record))
    known = {row["trial"] for row, _ in read}
    read += [read_recorded(each) for name, each in record.trials.items() if name not in known]
    stopped_early([row for row, _ in read], record)
    gaps += [ITERATIONS] if any(row["num_epochs"] for row, _ in read) else []
    return read, record, gaps


def recorded_bests(trials: pd.DataFrame, record: ExperimentRecord, metric: str, mode: str) -> list[float | None]:
    """Of trials without lines, the best that Ray's record has of the metric; None for all others."""
    found = []
    for trial, number in zip(trials["trial"], trials["num_epochs"], strict=True):
        own = record.trials.get(trial) if number == 0 else None
        found.append(own.best(metric, mode) if own else None)
    return found


def read_study(folder: Path) -> tuple[dict, list[str]]:
    """study.json, with its PARTS as dictionaries whatever it holds, and what is wrong with it, in sentences."""
    record, problem = read_object(folder / "study.json")
    parts = {part: record[part] if isinstance(record.get(part), dict) else {} for part in PARTS}
    if problem:
        return parts, [
            f"study.json {problem}: the question, the plan, the data and the origin of this study are"
            " unknown, and so is whether it is still running."
        ]
    parts |= {part: current(parts[part]) for part in ("options", "fixed")}
    parts["space"] = current_space(parts["space"])
    lacking = [part for part in PARTS if not isinstance(record.get(part), dict)]
    gaps = [f"study.json lacks {', '.join(lacking)}."] if lacking else []
    return {"created": None} | record | parts, gaps


def current_space(space: dict) -> dict:
    """The space with its levels by the names that this version writes."""
    renamed = {part: current(space[part]) for part in ("fixed", "baseline") if isinstance(space.get(part), dict)}
    axes = space.get("axes")
    for name, axis in axes.items() if isinstance(axes, dict) else ():
        if isinstance(axis, dict) and isinstance(axis.get("values"), list):
            values = [current({name: value})[name] for value in axis["values"]]
            renamed["axes"] = {**renamed.get("axes", axes), name: {**axis, "values": values}}
    return {**space, **renamed}


def state_of(study: dict) -> str:
    """finished, interrupted, running (by the record: a killed study looks the same) or unknown."""
    if "created" not in study:
        return "unknown"
    if study.get("interrupted"):
        return "interrupted"
    return "finished" if study.get("finished") else "running"


def trial_gaps(trials: pd.DataFrame) -> list[str]:
    """Each problem once, with the trials that have it."""
    sharing, samples = defaultdict(list), {}
    for trial, problems in zip(trials["trial"], trials["gaps"], strict=True):
        for problem in problems:
            said, such_as, sample = problem.partition(SUCH_AS)
            samples.setdefault(said, such_as + sample)
            sharing[said].append(trial)
    return [
        f"{len(names)} {'trial has' if len(names) == 1 else 'trials have'} {said}{samples[said]}: {named(names)}."
        for said, names in sharing.items()
    ]


def named(trials: list[str], most: int = 20) -> str:
    """Names in a sentence, at most so many and how many more there are."""
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
    """One measurement of all trials, one below the other: [n] epochs, NaN or None where a trial lacks it."""
    kind = EPOCH_TYPES.get(name, object if name in TEXTS else float)
    empty = None if kind is object else np.nan
    parts = [
        own[name] if name in own else np.full(length, empty, kind) for own, length in zip(columns, lengths, strict=True)
    ]
    return np.concatenate(parts) if parts else np.empty(0, kind)
