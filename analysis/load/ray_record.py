"""What Ray's experiment_state-*.json say of the trials of an experiment. Text only: what Ray has pickled stays shut."""

import json
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from analysis.load.json_files import is_number, parsed, read_object
from analysis.load.measurements import number_of
from analysis.load.metric import NO_METRICS
from analysis.load.trial import RAY_KEYS, flat

STATES = "experiment_state-*.json"
PICKLED = "CLOUDPICKLE_FALLBACK"
PARTS = ("config", "last_result", "metric_analysis", "stopping_criterion")  # of a trial, each a dictionary
UNFINISHED = ("RUNNING", "PAUSED", "PENDING")


@dataclass(frozen=True)
class TrialRecord:
    """What Ray recorded of one trial."""

    trial: str  # Ray's id
    status: str | None = None  # TERMINATED, ERROR, RUNNING ...
    config: dict = field(default_factory=dict)
    last_result: dict = field(default_factory=dict)
    extremes: dict = field(default_factory=dict)  # measurement -> max, min, avg, last ...
    folder: str | None = None  # its name in the experiment's
    error: str | None = None
    stopping: dict = field(default_factory=dict)  # measurement -> the value at which Ray was told to stop

    def measurements(self) -> dict[str, dict[str, float]]:
        """Its finite last, lowest and highest values of each measurement."""
        last = {name: {"last": value} for name, value in flat(self.last_result).items()}
        found = {}
        for name, values in (last | self.extremes).items():
            numbers = {key: number_of(values.get(key)) for key in ("last", "min", "max")}
            finite = {key: value for key, value in numbers.items() if value is not None and math.isfinite(value)}
            if finite and not is_rays_own(name):
                found[name] = finite
        return found

    def best(self, metric: str, mode: str) -> float | None:
        """The lowest or highest value (mode) of a metric that Ray recorded, else its last; None for none."""
        own = self.measurements().get(metric, {})
        return own.get(mode, own.get("last"))


@dataclass(frozen=True)
class ExperimentRecord:
    """What Ray recorded of an experiment: of its trials, and by which metric it chose."""

    trials: dict[str, TrialRecord] = field(default_factory=dict)  # by id
    metric: str | None = None
    mode: str | None = None

    def measurements(self) -> list[str]:
        """The names of all measurements of its trials, in the order in which they are met."""
        return list(dict.fromkeys(name for each in self.trials.values() for name in each.measurements()))

    def of_folder(self, name: str) -> TrialRecord | None:
        return next((each for each in self.trials.values() if each.folder == name), None)

    def of_config(self, config: dict) -> TrialRecord | None:
        """The only trial of these settings."""
        found = [each for each in self.trials.values() if each.config == config]
        return found[0] if len(found) == 1 and config else None


def read_record(paths: Iterable[Path]) -> tuple[ExperimentRecord, list[str]]:
    """All sessions together, what a later one says counting more; and a gap for each file that cannot be read."""
    trials, metric, order, gaps = {}, None, None, []
    for path in sorted(paths, key=lambda path: path.name):
        state, problem = read_object(path)
        if problem:
            gaps.append(f"{path.name} {problem}: what Ray recorded of the trials in it is unknown.")
        entries = state.get("trial_data") or state.get("checkpoints") or []  # the latter by Ray 1
        for entry in entries if isinstance(entries, list) else []:
            found = trial_record(entry_of(entry))
            if found is not None:
                trials[found.trial] = found
                order = order or score_order(entry_of(entry))
        runner = state.get("runner_data")
        said = runner.get("_metric") if isinstance(runner, dict) else None
        metric = said if isinstance(said, str) else metric
    named, mode = order or (None, None)
    return ExperimentRecord(trials, metric or named, mode if metric in (None, named) else None), gaps


def is_rays_own(name: str) -> bool:
    return name.split("/")[0] in (*RAY_KEYS, *NO_METRICS, "epoch")


def entry_of(entry: object) -> dict:
    """One trial's dictionary: Ray 1 writes it, or its JSON; Ray 2 two texts, what it is and how it goes."""
    parts = entry if isinstance(entry, list) else [entry]
    found = {}
    for part in parts:
        value = parsed(part) if isinstance(part, str) else part
        found |= value if isinstance(value, dict) else {}
    return found


def trial_record(entry: dict) -> TrialRecord | None:
    """The record of one trial's dictionary; None without an id, and empty in parts of another type."""
    if not isinstance(entry.get("trial_id"), str):
        return None
    parts = {key: entry[key] if isinstance(entry.get(key), dict) else {} for key in PARTS}
    path = entry.get("relative_logdir") or entry.get("logdir")
    error = entry.get("error_msg")
    return TrialRecord(
        trial=entry["trial_id"],
        status=entry["status"] if isinstance(entry.get("status"), str) else None,
        config=opened(parts["config"]),
        last_result=parts["last_result"],
        extremes={name: each for name, each in parts["metric_analysis"].items() if isinstance(each, dict)},
        folder=PurePosixPath(path).name if isinstance(path, str) else None,
        error=error if isinstance(error, str) else None,
        stopping={name: value for name, value in parts["stopping_criterion"].items() if is_number(value)},
    )


def opened(value: object) -> object:
    """A value without what was pickled: in its place a mark that is the same for the same bytes."""
    if isinstance(value, list):
        return [opened(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("_type") == PICKLED:
        return f"<pickled object {zlib.crc32(json.dumps(value).encode()):08x}>"
    return {key: opened(each) for key, each in value.items()}


def score_order(entry: dict) -> tuple[str, str] | None:
    """Metric and mode by which Ray 1 was told to keep checkpoints: "min-val_loss" keeps the lowest."""
    said = entry.get("checkpoint_score_attr")
    if not isinstance(said, str) or said in ("", "training_iteration"):
        return None
    return (said.removeprefix("min-"), "min") if said.startswith("min-") else (said, "max")
