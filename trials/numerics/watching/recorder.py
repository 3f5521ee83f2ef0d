"""Keeps a copy of the training state from just before the current step, so that it can be run again if it diverges."""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trials.numerics import capsule
from trials.numerics.finite import can_be_non_finite
from trials.numerics.run import Training
from trials.numerics.training_state import SavedState, facts_of, scaler_tensors, tensors_of
from trials.numerics.watching.health import Divergence
from trials.numerics.watching.state_copy import StateCopy
from trials.numerics.watching.trace import Step, jumps, trace_lines

HEALED_AFTER = 200  # good steps after which an abnormal one no longer counts as the first sign of what comes
TRACE_STEPS = 256  # how many of the last steps a capsule tells of
SPIKE = 10.0  # an update this many times larger than usual is abnormal
USUAL_AFTER = 20  # steps after which there is a usual size
RENEW_NORMS_EVERY = 16  # steps; the size of single weight tensors is needed to a few percent only


@dataclass
class Moment:
    """A step's beginning: what is no tensor of the state, and, in any shapes, what went into the step and came out."""

    facts: dict[str, Any]
    batches: list[Any]  # more than one where gradients are accumulated
    rng: dict[str, Tensor]  # of the host and, where it is used, of the device
    outputs: tuple[Tensor, ...] = field(default=())  # what the network gave for the last batch


@dataclass(frozen=True)
class Updated:
    """What a step did to the weights; scalars on the device."""

    update_ratio: Tensor  # norm of the change over the norm of the weights
    weights_finite: Tensor  # after it, as the next
    buffers_finite: Tensor


class Recorder:
    """`before_step`, `before_update` and `after_step` surround each training step; none waits for the device.

    What the optimiser changes is copied right before it does, so that both find it in the processor's cache.
    steps_late: how many steps later the host may learn of an event. Where it is not 0, the copy stops by itself once
    `seen` (a bool scalar on the device: something is noted) is true, and the last steps' batches are remembered.
    At the first abnormal step after many good ones the copy is brought to the host, which does wait.
    """

    def __init__(self, training: Training, *, steps_late: int = 0, seen: Callable[[], Tensor] | None = None):
        self._training = training
        self._is_late = steps_late > 0
        self._ask_seen = seen
        self._buffers: StateCopy | None = None  # before the forward pass
        self._state: StateCopy | None = None  # all else, before the update
        self._identity: tuple = ()
        self._earlier: deque[tuple[int, StateCopy]] = deque(maxlen=2)  # copies that were in use before these steps
        self._has_numbers = False  # the optimiser keeps values of parameters that are no tensors
        self._seen: Tensor | None = None  # whether an event had been noted before the step
        self._recent: deque[Moment] = deque(maxlen=steps_late + 2 if steps_late else 2)
        self._trace: deque[Step] = deque(maxlen=TRACE_STEPS)
        self._good_steps = 0
        self._usual: float | None = None  # update ratio
        self._stopped = False
        self.first: SavedState | None = None  # the state before the first abnormal step

    def before_step(self, batch: Any, facts: Mapping[str, Any]) -> None:
        """The step has not begun. facts: its step (from 1), epoch, batch (its index), and what else a re-run needs."""
        if self._stopped and self._buffers is not None:  # a resumed run has none yet
            return
        self._seen = self._ask_seen() if self._is_late and self._ask_seen else None
        if self._buffers is None:
            self._watch_buffers()
        else:
            self._buffers.renew(unless=self._seen)
        own = facts_of(self._training.optimizers, with_numbers=self._has_numbers)
        self._recent.append(Moment({**own, **facts}, [batch], self._rng()))
        self._lr = self._training.optimizers[0].param_groups[0]["lr"]

    def add_batch(self, batch: Any) -> None:
        """The gradients of another batch are added before the update."""
        if not self._stopped:
            self._recent[-1].batches.append(batch)

    def _rng(self) -> dict[str, Tensor]:
        rng = {"rng.cpu": torch.get_rng_state()}
        if next(self._training.model.parameters()).is_cuda:
            rng["rng.cuda"] = torch.cuda.get_rng_state()  # of the host's books: no waiting
        return rng

    def _watch_buffers(self) -> None:
        buffers = dict(self._training.model.named_buffers())
        self._buffers = StateCopy({f"model.{name}": buffer for name, buffer in buffers.items()})
        self._statistics = StateCopy({name: own for name, own in buffers.items() if can_be_non_finite(own)})

    def outputs(self, outputs: tuple[Tensor, ...]) -> None:
        """Remembers what the network gave, in any shapes, for a re-run to be compared with."""
        if not self._stopped:
            self._recent[-1].outputs = tuple(output.detach() for output in outputs)

    def before_update(self) -> None:
        """The gradients are there; weights, optimisers and scaler are still as they were before the step."""
        if self._stopped and self._state is not None:
            return
        is_new = self._state is None or self._identity != identity(self._training)
        if not is_new:
            self._state.renew(unless=self._seen)
        else:
            self._renew()

    def _renew(self) -> None:
        """The optimiser has made or replaced tensors of its own.

        The copy before is not thrown away yet: an event that the host does not know of may lie before this step.
        """
        if self._is_late and self._state is not None:
            self._earlier.append((self._recent[-1].facts["step"], self._state))
        weights = {f"model.{name}": parameter for name, parameter in self._training.model.named_parameters()}
        others = {name: own for name, own in tensors_of(self._training).items() if not name.startswith("model.")}
        self._state = StateCopy({**weights, **others})  # the weights first: see StateCopy.subtract
        self._identity = identity(self._training)
        self._has_numbers = bool(facts_of(self._training.optimizers)["optimizer_numbers"])
        self._change = StateCopy({name: own for name, own in weights.items() if can_be_non_finite(own)})
        self._before = [self._state.copies[name] for name in self._change.copies]
        self._age = 0  # steps since then: see RENEW_NORMS_EVERY

    def after_step(self, loss: Tensor, loss_scale: Tensor | float | None, skipped: bool) -> Updated:
        """Notes the step and gives what it did to the weights. loss, loss_scale: scalars; skipped: by GradScaler."""
        assert self._state is not None
        self._change.renew()
        size = self._change.subtract(self._state)
        updates = self._change.norms()
        length = torch.linalg.vector_norm(updates)
        ratio = length / size
        if self._age % RENEW_NORMS_EVERY == 0:
            self._weights = torch.stack(torch._foreach_norm(self._before))
        self._age += 1
        if self._stopped:
            ratio = torch.full_like(ratio, math.nan)  # the copy is that of the event: there is nothing to compare with
        else:
            self._note(loss.detach(), loss_scale, skipped, updates, ratio)
        if self._is_late or not math.isfinite(float(length)):
            weights_finite = self._change.is_finite()
        else:
            weights_finite = torch.ones_like(length, dtype=torch.bool)
        self._statistics.renew()
        return Updated(ratio, weights_finite, self._statistics.is_finite())

    def _note(
        self, loss: Tensor, loss_scale: Tensor | float | None, skipped: bool, updates: Tensor, ratio: Tensor
    ) -> None:
        """A line of the trace, and whether the step is a sign."""
        place = self._recent[-1].facts
        where = place["step"], epoch_of(place), place["batch"]
        self._trace.append(Step(*where, self._lr, loss, loss_scale, skipped, updates, self._weights, ratio))
        self._watch_signs(skipped, None if self._is_late else float(ratio))

    def _watch_signs(self, skipped: bool, ratio: float | None) -> None:
        """A skipped step or a sudden update is a sign, until HEALED_AFTER good ones have followed the last."""
        spike = ratio is not None and self._usual is not None and not ratio <= SPIKE * self._usual
        if skipped or (spike and len(self._trace) > USUAL_AFTER):
            self._good_steps = 0
            if self.first is None:
                self.first = self._saved(self._recent[-1])
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
            trace |= {name: torch.stack(own) for name, own in trace.items() if all(isinstance(v, Tensor) for v in own)}
        own = {"good_steps": self._good_steps, "usual": self._usual, "stopped": self._stopped}
        return {"trace": trace, "first": first, **own}

    def take_up(self, content: dict[str, Any], device: torch.device) -> None:
        """Goes on from there."""
        self._good_steps, self._usual, self._stopped = content["good_steps"], content["usual"], content["stopped"]
        self.first = SavedState(**content["first"]) if content["first"] else None
        trace = content["trace"]
        columns = [column.to(device) if isinstance(column, Tensor) else column for column in trace.values()]
        for values in zip(*columns, strict=True):
            self._trace.append(Step(**dict(zip(trace, values, strict=True))))

    def stop(self) -> None:
        """Keeps what it has: the event was at the last step."""
        self._stopped = True

    def _saved(self, moment: Moment) -> SavedState:
        assert self._state is not None
        assert self._buffers is not None
        step = moment.facts["step"]
        state = next((copy for until, copy in self._earlier if step < until), self._state)
        tensors = {name: own.detach().cpu().clone() for name, own in (self._buffers.copies | state.copies).items()}
        if self._is_late and state is self._state:  # counters on the host went on after the event
            last = self._recent[-1].facts["step"]
            late = sum(step <= line.step < last and not line.skipped for line in self._trace)
            tensors |= {name: tensors[name] - late for name in state.unconditional if name.endswith(".step")}
        return SavedState({**tensors, **moment.rng}, moment.facts)

    def stop_before(self, *, is_open: bool) -> None:
        """Stops after an event. is_open: the gradients of the last steps still wait for their update."""
        if is_open:  # an error or an accumulated batch: the update, before which a copy is taken, did not come
            self.before_update()
        self.stop()

    def is_last(self, moment: Moment) -> bool:
        """Whether this is the last step that has begun."""
        return moment is self._recent[-1]

    def batches_before(self, moment: Moment) -> list[Any]:
        """Those of the steps before that are still remembered."""
        earlier = [each for each in self._recent if each.facts["step"] < moment.facts["step"]]
        return [batch for each in earlier for batch in each.batches]

    def moment_of(self, step: int) -> Moment:
        """The beginning of the step; of the last one where it is not remembered."""
        earlier = [moment for moment in self._recent if moment.facts["step"] <= step]
        return earlier[-1] if earlier else self._recent[-1]

    def write(self, folder: Path, event: Divergence, facts: Mapping[str, Any], validation: Any | None = None) -> None:
        """Writes the capsule of the event. facts: what the run adds; validation: a batch that showed the event."""
        moment = self.moment_of(event.step)
        trace = [step for step in self._trace if step.step <= moment.facts["step"]]
        before = [step for step in trace if step.step < moment.facts["step"]]
        is_earlier = self.first is not None and self.first.facts["step"] < moment.facts["step"]
        content = {
            **facts,
            "where": event.where,
            "event": place_of(moment.facts),
            "first_sign": place_of(self.first.facts) if self.first else None,
            "num_threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "device": next(self._training.model.parameters()).device.type,
            "trace": trace_lines(trace),
            "jumps": jumps(before, [name.removeprefix("model.") for name in self._change.copies]),
        }
        first = self.first if is_earlier else None
        capsule.write(folder, self._saved(moment), first, moment.batches, validation, moment.outputs, content)


def epoch_of(facts: Mapping[str, Any]) -> int | None:
    """The epoch of a step, from 1, where epochs are counted; the facts say how many are finished."""
    return None if facts["epoch"] is None else facts["epoch"] + 1


def place_of(facts: Mapping[str, Any]) -> dict[str, int | None]:
    """Step and epoch, from 1, and the batch in its epoch, from 0, of a state before a step."""
    return {"step": facts["step"], "epoch": epoch_of(facts), "batch": facts["batch"]}


def identity(training: Training) -> tuple:
    """Changes where the optimisers or the scaler have other tensors than before."""
    slots = [next(iter(optimizer.state.values()), {}) for optimizer in training.optimizers]
    return (
        *(len(optimizer.state) for optimizer in training.optimizers),
        *(id(value) for own in slots for value in own.values() if isinstance(value, Tensor)),
        *(id(tensor) for tensor in scaler_tensors(training.scaler).values()),
    )
