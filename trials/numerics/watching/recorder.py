"""Keeps, while a run goes on, what a capsule would need if its next step were the last good one."""

import math
from collections import deque
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trials.data.loader import DRAWS, Batch
from trials.numerics import capsule
from trials.numerics.capsule import Kept, facts_of, tensors_of
from trials.numerics.watching.health import Divergence, Health
from trials.numerics.watching.state_copy import Flat
from trials.outcome import finite_or_none

if TYPE_CHECKING:
    from trials.config import TrialConfig
    from trials.state import State

HEALED_AFTER = 200  # good steps after which an abnormal one no longer counts as the first sign of what comes
TRACE_STEPS = 256  # how many of the last steps a capsule tells of
SPIKE = 10.0  # an update this many times larger than usual is abnormal
USUAL_AFTER = 20  # steps after which there is a usual size
RENEW_NORMS_EVERY = 16  # steps; the size of single weight tensors is needed to a few percent only


@dataclass(frozen=True)
class Step:
    """One step of the trace; tensors stay on the device until a capsule is written."""

    step: int
    epoch: int
    index: int  # of the batch in its epoch, from 0
    lr: float
    loss: Tensor
    loss_scale: float | None
    skipped: bool
    updates: Tensor  # norm of the step's change of each parameter tensor
    weights: Tensor  # and the norm of the tensor itself, at most RENEW_NORMS_EVERY steps before
    update_ratio: Tensor  # norm of the whole change over the norm of all weights before


@dataclass(frozen=True)
class Updated:
    """What a step did to the weights; scalars on the device."""

    update_ratio: Tensor  # norm of the change over the norm of the weights
    weights_finite: Tensor  # after it, as the next
    buffers_finite: Tensor


class Recorder:
    """`before_step`, `before_update` and `after_step` surround each training step.

    They wait for the device under AMP alone, where GradScaler waits at each step, too.
    What the optimiser changes is copied right before it does, so that both find it in the processor's cache.
    reads_late: the host learns of an event only some steps later (float32 on a GPU). The copy then stops by itself
    where `health` has noted one, and the last steps' batches are remembered.
    """

    def __init__(self, health: Health, *, reads_late: bool = False):
        self._health, self._reads_late = health, reads_late
        self._buffers: Flat | None = None  # before the forward pass
        self._flat: Flat | None = None  # all else, before the update
        self._identity: tuple = ()
        self._seen: Tensor | None = None  # whether `health` had noted an event before the step
        self._recent: deque[tuple[dict[str, Any], Batch, Tensor]] = deque(maxlen=health.read_every + 1)
        self._outputs: deque[tuple[int, Tensor]] = deque(maxlen=health.read_every + 1)  # by step
        self._trace: deque[Step] = deque(maxlen=TRACE_STEPS)
        self._good_steps = 0
        self._usual: float | None = None  # update ratio
        self._stopped = False
        self.first: Kept | None = None  # the state before the first abnormal step

    def before_step(self, state: "State", batch: Batch, epoch: int, index: int) -> None:
        """The step has not begun; `state.step` is its number already. epoch from 1, index from 0."""
        if self._stopped and self._buffers is not None:  # a resumed run has none yet
            return
        self._place = {"step": state.step, "epoch": epoch, "batch": index}
        self._seen = self._health.seen() if self._reads_late else None
        if self._buffers is None:
            self._watch_buffers(dict(state.model.named_buffers()))
        else:
            self._buffers.take(unless=self._seen)
        facts = {**facts_of(state), "batch": index}
        self._recent.append((facts, batch, torch.get_rng_state()))
        self._lr = state.optimizer.param_groups[0]["lr"]

    def _watch_buffers(self, buffers: dict[str, Tensor]) -> None:
        self._buffers = Flat({f"model.{name}": buffer for name, buffer in buffers.items()})
        self._statistics = Flat({name: buffer for name, buffer in buffers.items() if buffer.is_floating_point()})

    def outputs(self, outputs: Tensor, step: int) -> None:
        """Remembers what the network gave, for a replay to be compared with."""
        if not self._stopped:
            self._outputs.append((step, outputs.detach()))

    def before_update(self, state: "State") -> None:
        """The gradients are there; weights, optimiser and scaler are still as they were before the step."""
        if self._stopped and self._flat is not None:
            return
        is_new = self._flat is None or self._identity != identity(state)
        if not is_new:
            self._flat.take(unless=self._seen)
        elif self._flat is None or self._seen is None or not self._seen:  # else it is the state after the event
            self._renew(state)

    def _renew(self, state: "State") -> None:
        """The optimiser has made or replaced tensors of its own."""
        weights = {f"model.{name}": parameter for name, parameter in state.model.named_parameters()}
        others = {name: tensor for name, tensor in tensors_of(state).items() if not name.startswith("model.")}
        self._flat = Flat({**weights, **others})  # the weights first: see Flat.subtract
        self._identity = identity(state)
        self._change = Flat(weights)
        self._before = [self._flat.copies[name] for name in self._change.copies]
        self._age = 0  # steps since then: see RENEW_NORMS_EVERY

    def after_step(self, loss: Tensor, loss_scale: float | None, skipped: bool) -> Updated:
        """Notes the step and gives what it did to the weights."""
        assert self._flat is not None
        self._change.take()
        size = self._change.subtract(self._flat)
        updates = self._change.norms()
        length = torch.linalg.vector_norm(updates)
        ratio = length / size
        if self._age % RENEW_NORMS_EVERY == 0:
            self._weights = torch.stack(torch._foreach_norm(self._before))
        self._age += 1
        if self._stopped:
            ratio = torch.full_like(ratio, math.nan)  # the copy is that of the event: there is nothing to compare with
        else:
            place = self._place
            self._trace.append(
                Step(
                    place["step"],
                    place["epoch"],
                    place["batch"],
                    self._lr,
                    loss.detach(),
                    loss_scale,
                    skipped,
                    updates,
                    self._weights,
                    ratio,
                )
            )
            self._watch_signs(skipped, None if self._reads_late else float(ratio))
        if self._reads_late or not math.isfinite(float(length)):
            weights_finite = self._change.is_finite()
        else:
            weights_finite = torch.ones_like(length, dtype=torch.bool)
        self._statistics.take()
        return Updated(ratio, weights_finite, self._statistics.is_finite())

    def _watch_signs(self, skipped: bool, ratio: float | None) -> None:
        """A skipped step or a sudden update is a sign, until HEALED_AFTER good ones have followed the last."""
        spike = ratio is not None and self._usual is not None and not ratio <= SPIKE * self._usual
        if skipped or (spike and len(self._trace) > USUAL_AFTER):
            self._good_steps = 0
            if self.first is None:
                self.first = self._kept(self._recent[-1])
            return
        if ratio and math.isfinite(ratio):
            self._usual = ratio if self._usual is None else 0.95 * self._usual + 0.05 * ratio
        self._good_steps += 1
        if self._good_steps >= HEALED_AFTER:
            self.first = None

    def content(self) -> dict[str, Any]:
        """What a resumed run needs to tell of the steps before as if it had never stopped; for a checkpoint."""
        first = {"tensors": self.first.tensors, "facts": self.first.facts} if self.first else None
        trace = {field.name: [getattr(step, field.name) for step in self._trace] for field in fields(Step)}
        if self._trace:  # a thousand small tensors would make the checkpoint twice as slow
            trace |= {name: torch.stack(column) for name, column in trace.items() if isinstance(column[0], Tensor)}
        own = {"good_steps": self._good_steps, "usual": self._usual, "stopped": self._stopped}
        return {"trace": trace, "first": first, **own}

    def take_up(self, content: dict[str, Any], device: torch.device) -> None:
        """Goes on from there."""
        self._good_steps, self._usual, self._stopped = content["good_steps"], content["usual"], content["stopped"]
        self.first = Kept(**content["first"]) if content["first"] else None
        trace = content["trace"]
        columns = [column.to(device) if isinstance(column, Tensor) else column for column in trace.values()]
        for values in zip(*columns, strict=True):
            self._trace.append(Step(**dict(zip(trace, values, strict=True))))

    def stop(self) -> None:
        """Keeps what it has: the event was at the last step."""
        self._stopped = True

    def _kept(self, moment: tuple[dict[str, Any], Batch, Tensor]) -> Kept:
        assert self._flat is not None
        assert self._buffers is not None
        facts, _, rng = moment
        copies = {**self._buffers.copies, **self._flat.copies}
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in copies.items()}
        if self._reads_late:  # counters on the host went on after the event
            late = self._recent[-1][0]["step"] - facts["step"]
            tensors |= {name: tensors[name] - late for name in self._flat.unconditional if name.endswith(".step")}
        return Kept({**tensors, "rng.cpu": rng}, facts)

    def write(
        self, folder: Path, config: "TrialConfig", event: Divergence, num_steps: int, validation: Batch | None
    ) -> None:
        """Writes the capsule of the event. num_steps: of the whole run."""
        moments = {moment[0]["step"]: moment for moment in self._recent}
        moment = moments.get(event.step, self._recent[-1])
        trace = [step for step in self._trace if step.step <= moment[0]["step"]]
        before = [step for step in trace if step.step < moment[0]["step"]]
        is_earlier = self.first is not None and self.first.facts["step"] < moment[0]["step"]
        facts = {
            "config": config.to_dict(),
            "where": event.where,
            "event": place_of(moment[0]),
            "first_sign": place_of(self.first.facts)
            if self.first
            else None,  # the batches from there to the event follow from the configuration's seed
            "num_steps": num_steps,
            "num_threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "draws": DRAWS,
            "device": moment[1].images.device.type,
            "trace": trace_lines(trace),
            "jumps": jumps(before, [name.removeprefix("model.") for name in self._change.copies]),
        }
        first = self.first if is_earlier else None
        outputs = dict(self._outputs).get(moment[0]["step"])
        capsule.write(folder, self._kept(moment), first, moment[1], validation, outputs, facts)


def place_of(facts: dict[str, Any]) -> dict[str, int]:
    """Step and epoch, from 1, and the batch in its epoch, from 0, of a state before a step."""
    return {"step": facts["step"], "epoch": facts["epoch"] + 1, "batch": facts["batch"]}


def identity(state: "State") -> tuple:
    """Changes where the optimiser or the scaler have other tensors than before."""
    first = next(iter(state.optimizer.state.values()), {})
    return (
        len(state.optimizer.state),
        *(id(value) for value in first.values()),
        id(getattr(state.scaler, "_scale", None)),
    )


def trace_lines(trace: list[Step]) -> list[dict[str, Any]]:
    """The trace as JSON can hold it; what is not finite is null."""
    return [
        {
            "step": step.step,
            "epoch": step.epoch,
            "batch": step.index,
            "lr": step.lr,
            "loss": finite_or_none(float(step.loss)),
            "loss_scale": step.loss_scale,
            "skipped": step.skipped,
            "update_ratio": finite_or_none(step.update_ratio.item()),
        }
        for step in trace
    ]


def jumps(trace: list[Step], names: list[str]) -> dict[str, float | None]:
    """For each weight tensor its largest update ratio in the trace over its median one; null where not finite.

    Biases are left out: they start at or near 0, where every ratio is large.
    """
    if not trace:
        return {}
    ratios = torch.stack([step.updates / step.weights for step in trace]).double().cpu()
    ratios = torch.nan_to_num(ratios, nan=math.inf)
    result: dict[str, float | None] = {}
    for index, name in enumerate(names):
        usual = median(ratios[:, index].tolist())
        if usual > 0 and not name.endswith("bias"):
            result[name] = finite_or_none(float(ratios[:, index].max()) / usual)
    return result
