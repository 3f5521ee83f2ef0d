"""The record of a divergence, divergence.json: when, where and why, what would have prevented it, and what it cost."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from trials.numerics import capsule as capsules
from trials.numerics.capsule import Capsule
from trials.numerics.explaining.diagnose import diagnose
from trials.numerics.explaining.diagnosis import Diagnosis
from trials.numerics.run import Knowledge, Run
from trials.numerics.whole_files import write_whole

SCHEMA_VERSION = 2  # 1: a remedy that there was no time for was missing
FILE, CAPSULE = "divergence.json", "capsule"  # beside the checkpoints


@dataclass(frozen=True)
class Place:
    """A step and its epoch, both from 1; the epoch is None where none are counted."""

    step: int
    epoch: int | None


@dataclass(frozen=True)
class DivergenceRecord:
    """A run's first event."""

    where: str  # what showed it: Divergence.where (watching/health.py)
    event: Place
    first_sign: Place | None  # the first abnormal step before it; None where the event was the first
    diagnosis: Diagnosis
    on_divergence: str  # what the run does at an event: stop, continue or rollback
    capsule_sha256: str
    seconds_before: float  # trained until the event
    diagnosis_s: float
    seconds_after: float = 0.0  # trained on after it
    notes: tuple[str, ...] = ()  # what could not be known, and with which help it could, in sentences

    def to_dict(self) -> dict[str, Any]:
        """As divergence.json holds it."""
        verdict = self.diagnosis.to_dict()
        place = {"where": self.where, "epoch": self.event.epoch, "step": self.event.step}
        first = {"epoch": self.first_sign.epoch, "step": self.first_sign.step} if self.first_sign else None
        return {
            "schema_version": SCHEMA_VERSION,
            **{name: verdict.pop(name) for name in ("cause", "blame")},
            **place,
            **{name: verdict.pop(name) for name in ("phase", "module", "op")},
            "first_sign": first,
            **verdict,
            "on_divergence": self.on_divergence,
            "capsule": {"folder": CAPSULE, "sha256": self.capsule_sha256},
            "seconds_before": self.seconds_before,
            "diagnosis_s": self.diagnosis_s,
            "seconds_after": self.seconds_after,
            **({"notes": list(self.notes)} if self.notes else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DivergenceRecord":
        """What `to_dict` gave, in this version or an older one. Raises KeyError where it is no such record."""
        first = values["first_sign"]
        return cls(
            where=values["where"],
            event=Place(values["step"], values["epoch"]),
            first_sign=Place(first["step"], first["epoch"]) if first else None,
            diagnosis=Diagnosis.from_dict(values),
            on_divergence=values["on_divergence"],
            capsule_sha256=values["capsule"]["sha256"],
            seconds_before=values["seconds_before"],
            diagnosis_s=values["diagnosis_s"],
            seconds_after=values["seconds_after"],
            notes=tuple(values.get("notes", ())),
        )

    def write(self, folder: Path) -> None:
        """Writes divergence.json, whole or not at all."""
        write_whole(folder / FILE, json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")

    def after(self, seconds: float) -> "DivergenceRecord":
        """The same, of a run that trained on for so long."""
        return replace(self, seconds_after=self.seconds_after + seconds)


def read(folder: Path) -> DivergenceRecord | None:
    """The record in a folder; None where there is none."""
    path = folder / FILE
    return DivergenceRecord.from_dict(json.loads(path.read_text())) if path.is_file() else None


def explain(
    out: Path,
    run: Run,
    known: Knowledge,
    *,
    budget_s: float,
    device: torch.device,
    seconds_before: float = 0.0,
    on_divergence: str = "stop",
) -> DivergenceRecord:
    """Diagnoses the capsule in `out` on the device, and writes divergence.json beside it.

    On the CPU where the device has no room beside the run; undetermined, with the error, where the step raises.
    """
    started = time.perf_counter()
    captured = capsules.read(out / CAPSULE)
    with torch_left_alone():
        found = _diagnosed(captured, run, known, budget_s, device)
    record = record_of(captured, found, time.perf_counter() - started, seconds_before, on_divergence)
    record.write(out)
    return record


@contextmanager
def torch_left_alone() -> Iterator[None]:
    """Puts random numbers and thread count back: building networks draws from them, and the run may go on."""
    rng, threads = torch.get_rng_state(), torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_rng_state(rng)
        torch.set_num_threads(threads)


def record_of(
    captured: Capsule,
    found: Diagnosis,
    diagnosis_s: float,
    seconds_before: float,
    on_divergence: str,
    notes: tuple[str, ...] = (),
) -> DivergenceRecord:
    """The record of a capsule's event."""
    event, first = captured.facts["event"], captured.facts["first_sign"]
    return DivergenceRecord(
        where=captured.where,
        event=Place(event["step"], event["epoch"]),
        first_sign=Place(first["step"], first["epoch"]) if first else None,
        diagnosis=found,
        on_divergence=on_divergence,
        capsule_sha256=captured.facts["sha256"],
        seconds_before=seconds_before,
        diagnosis_s=diagnosis_s,
        notes=notes,
    )


def _diagnosed(captured: Capsule, run: Run, known: Knowledge, budget_s: float, device: torch.device) -> Diagnosis:
    for place in dict.fromkeys((device, torch.device("cpu"))):
        try:
            return diagnose(captured, run, known, budget_s, place)
        except (RuntimeError, ValueError) as error:  # of the captured step; the run's own end must still be recorded
            text = f"{type(error).__name__}: {error}"
    return Diagnosis.impossible(text)
