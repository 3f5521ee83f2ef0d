"""Why a user's own loop broke: its capsule run again with the loss that the user gives, and all of it in words."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trials.numerics import capsule as capsules
from trials.numerics.capsule import Capsule
from trials.numerics.explaining.diagnose import diagnose, not_finite_batch
from trials.numerics.explaining.diagnosis import Diagnosis, Facts
from trials.numerics.explaining.record import DivergenceRecord, record_of, torch_left_alone
from trials.numerics.explaining.rerun import rerun
from trials.numerics.explaining.text import compared, in_words
from trials.numerics.loop_run import Build, LoopRun, calibrated
from trials.numerics.run import Knowledge, StepSettings
from trials.numerics.structure import largest_by_name, left_out

FAR_ABOVE = 100.0  # a batch's largest value over that of the batches before


@dataclass(frozen=True)
class Explanation:
    """A divergence's record beside what the capsule says; str() gives it in words."""

    record: DivergenceRecord
    capsule: Path
    facts: dict[str, Any]  # of the capsule
    repeated: str | None  # how exactly the step repeated the recorded one, in words; None where it was not run again

    def __str__(self) -> str:
        return in_words(self.record, self.facts, self.capsule, self.repeated)


def explain_capsule(
    folder: Path,
    build: Build,
    loss: Callable[[Any, Any], Tensor] | None,
    *,
    budget_s: float,
    device: torch.device,
    is_written: bool = True,
) -> Explanation:
    """Diagnoses a capsule. loss: (model, batch) -> a scalar. is_written: divergence.json is written beside it."""
    started = time.perf_counter()
    captured = capsules.read(folder)
    with torch_left_alone():
        torch.set_num_threads(captured.facts["num_threads"])
        found, notes, repeated = diagnosed(captured, build, loss, budget_s, device)
    seconds, seconds_before = time.perf_counter() - started, captured.facts.get("seconds_before", 0.0)
    record = record_of(captured, found, seconds, seconds_before, "stop", tuple(notes))
    if is_written:
        record.write(folder.parent)
    return Explanation(record, folder, dict(captured.facts), repeated)


def diagnosed(
    captured: Capsule, build: Build, loss: Callable[[Any, Any], Tensor] | None, budget_s: float, device: torch.device
) -> tuple[Diagnosis, list[str], str | None]:
    """What running the step again shows, what could not be known, and how exactly it repeated the recorded one.

    loss: (model, batch) -> a scalar; what it raises is told in the diagnosis.
    """
    known, notes = knowledge_of(captured), gaps(captured)
    problem = known.batch_problem or not_finite_batch(captured)
    if why_not := obstacle(captured):
        notes.append(why_not)
    elif loss is None:
        notes.append(
            "the step was not run again, since no loss was given: cause, first bad operation and remedies need "
            "explain(loss=lambda model, batch: ...)"
        )
    else:
        run = LoopRun(build, loss)
        for place in dict.fromkeys((device, torch.device("cpu"))):
            try:
                notes += [note for note in (calibrated(run, captured, known.settings, place),) if note]
                found = diagnose(captured, run, known, budget_s, place)
                return found, notes, compared(captured, rerun(captured, run, known.settings, device=place))
            except (RuntimeError, ValueError, TypeError, AttributeError, KeyError) as error:  # of the user's loss
                text = f"{type(error).__name__}: {error}"
        if not problem:
            return Diagnosis.impossible(text), notes, None
        notes.append(f"running the step again raised {text}")
    facts = Facts(event=captured.where, batch=problem)
    if problem:
        return Diagnosis("bad_data", "data", "data", facts=facts), notes, None
    return Diagnosis("undetermined", "unknown", facts=facts), notes, None


def knowledge_of(captured: Capsule) -> Knowledge:
    """What the loop's observer noted."""
    facts = captured.facts
    return Knowledge(
        settings=StepSettings.from_dict(facts["settings"]),
        head=tuple(facts.get("head") or ()),
        batch_problem=far_above(captured),
        max_val_loss_ratio=facts.get("max_val_loss_ratio", 3.0),
    )


def far_above(captured: Capsule) -> str | None:
    """A tensor of the batch that reaches far beyond those of the batches before, in words."""
    usual = captured.facts.get("usual_largest", {})
    for name, largest in largest_by_name(list(captured.batches)).items():
        if name in usual and largest > FAR_ABOVE * max(usual[name], 1.0):
            return f"{name} reaches {largest:g}; in the batches before it reached {usual[name]:g}"
    return None


def obstacle(captured: Capsule) -> str | None:
    """Why this step cannot be run again whatever is given; None where it can."""
    if any(len(own) > 1 for own in captured.facts["losses"]):
        return (
            "the step was not run again: it has several backward passes (a generator's and a discriminator's, say), "
            "and one loss cannot repeat them"
        )
    if not captured.facts["is_whole"]:
        return "the step was not run again: it accumulates more batches than a capsule keeps"
    return None


def gaps(captured: Capsule) -> list[str]:
    """What the loop did not let us see, in sentences."""
    notes = []
    if captured.facts.get("headroom") is None:
        notes.append("no layer was measured: hooks on the layers of a compiled network are not called")
    described = captured.facts.get("batch_structure")
    if described and (types := sorted(set(left_out(described)))):
        notes.append(f"the batch held values that a capsule cannot keep, and that are None now: {', '.join(types)}")
    return notes
