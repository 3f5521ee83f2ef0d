"""How a run ended, as data: outcome.json in its folder. None there means that it was interrupted, or still runs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from trials.measurements import EpochMetrics
from trials.numerics.explaining.record import DivergenceRecord
from trials.numerics.finite import finite_or_none
from trials.numerics.whole_files import write_whole
from trials.scores import is_broken

SCHEMA_VERSION = 2  # 1: the best was always of val_dice, and was called best_val_dice
OUTCOMES = ("completed", "pruned", "diverged", "frozen", "out_of_memory", "failed", "interrupted")
INTERRUPTED = 130  # the exit code of a command that Ctrl-C ended
BROKEN = ("diverged", "frozen")  # numerically
RAISED = ("out_of_memory", "failed")  # an error ended the run
AT_ITS_END = ("completed", *BROKEN)  # nothing is left to resume
EVENT = ("step", "where", "cause")
OUT_OF_MEMORY_MARKS = ("OutOfMemoryError", "MemoryError", "out of memory", "DefaultCPUAllocator: can't allocate memory")


@dataclass(frozen=True)
class Outcome:
    """One of OUTCOMES, where it came to its end, and the best it had."""

    outcome: str
    epoch: int = 0  # the last one reported
    step: int | None = None  # of the first event, over the whole run, where it diverged or froze
    where: str | None = None  # what showed it (trials/numerics/watching/health.py, Divergence)
    cause: str | None = None  # of it (trials/numerics/explaining/rules.py)
    error_type: str | None = None
    error_text: str | None = None
    metric: str | None = None  # that the run was to be best by
    best_epoch: int = 0
    best_value: float | None = None  # of the metric
    duration_s: float | None = None
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """Strict JSON."""
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Outcome":
        """What was written, by this version or the first; fields of a later version left out.

        Raises ValueError where it is not JSON, or no outcome.
        """
        known = {field.name for field in fields(cls)}
        told = json.loads(text)
        if not isinstance(told, dict) or "outcome" not in told:
            raise ValueError("no outcome in it")
        if "best_val_dice" in told:
            told = {"metric": "val_dice", "best_value": told["best_val_dice"], **told}
        return cls(**{name: value for name, value in told.items() if name in known})


def outcome_of(
    last: Mapping[str, Any],
    epochs: int,
    duration_s: float | None = None,
    record: DivergenceRecord | None = None,
    *,
    metric: str,
) -> Outcome:
    """The outcome that a run's last metrics tell: diverged, frozen, completed, or pruned before its last epoch.

    metric: the one that the run's configuration names. record: the run's divergence.json. It explains the first
    event; a run that went on may have ended with another.
    """
    best = last.get("best_value", last.get("best_val_dice"))  # the latter in a line of the first version
    kind = _kind(last, epochs)
    if kind == "completed" and record and best is None:  # each of its epochs was rolled back
        kind = "frozen" if record.where == "frozen" else "diverged"
    event = {key: last.get(f"diverged_{key}") for key in EVENT}
    if record and kind in BROKEN:
        event = {"step": record.event.step, "where": record.where, "cause": record.diagnosis.cause}
    return Outcome(
        outcome=kind,
        epoch=int(last.get("epoch", 0)),
        **{key: event[key] for key in EVENT},
        metric=metric,
        best_epoch=int(last.get("best_epoch", 0)),
        best_value=best,
        duration_s=duration_s,
    )


def _kind(last: Mapping[str, Any], epochs: int) -> str:
    if is_broken(last):
        return "diverged" if last.get("diverged") else "frozen"
    return "completed" if int(last.get("epoch", 0)) >= epochs else "pruned"


def error_outcome(
    error_type: str, error_text: str, last: Mapping[str, Any], duration_s: float | None, *, metric: str
) -> Outcome:
    """The outcome of a run that raised: out_of_memory or failed."""
    seen = outcome_of(last, epochs=0, metric=metric)
    text = f"{error_type}: {error_text}"
    kind = "out_of_memory" if any(mark in text for mark in OUT_OF_MEMORY_MARKS) else "failed"
    return Outcome(
        outcome=kind,
        epoch=seen.epoch,
        error_type=error_type,
        error_text=error_text,
        metric=metric,
        best_epoch=seen.best_epoch,
        best_value=seen.best_value,
        duration_s=duration_s,
    )


def line_of(metrics: EpochMetrics) -> dict[str, Any]:
    """An epoch's metrics as they are written down: what was not measured, or is not finite, is None."""
    return {key: finite_or_none(value) for key, value in asdict(metrics).items()}


def write_json_line(path: Path, line: Mapping[str, Any]) -> None:
    """Appends an epoch's line, strict JSON."""
    with path.open("a") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")


def keep_lines_until(path: Path, epoch: int) -> None:
    """Drops the lines of later epochs, which a resumed run will write again, and a line that was cut short."""
    if path.is_file():
        kept = [line for line, metrics in whole_lines(path.read_text()) if metrics["epoch"] <= epoch]
        write_whole(path, "".join(line + "\n" for line in kept))


def whole_lines(text: str) -> list[tuple[str, Any]]:
    """Those of a log that were not cut short, each with what it holds."""
    found = []
    for line in text.splitlines():
        try:
            found.append((line, json.loads(line)))
        except json.JSONDecodeError:
            continue
    return found
