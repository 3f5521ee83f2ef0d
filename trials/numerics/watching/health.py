"""Looks for what makes a run diverged or frozen, without waiting for the device at every step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trials.numerics.finite import all_finite

NEVER = torch.iinfo(torch.int64).max
READ_LATE = 16  # steps between two looks from the host where each look would wait for the device
FROZEN_AFTER = 8  # skipped steps in a row: the first ones of a sane run, whose loss scale may begin too high, are fewer
PLACES = ("targets", "outputs", "loss", "weights", "buffers")  # the order in which one step reaches them
EVENTS = (*PLACES, "val_outputs", "loss_scale", "skipped_steps", "val_loss", "frozen")  # of Divergence.where


@dataclass(frozen=True)
class Divergence:
    """The step (counted over the whole run, from 1) and what went wrong there.

    where: not finite: targets (or outside 0..1), outputs, loss, weights, buffers, val_outputs; too low: loss_scale; too
    many: skipped_steps; too high: val_loss; no step taken for an epoch, and for FROZEN_AFTER steps: frozen.
    """

    step: int
    where: str


class FirstSteps:
    """For each place the first step at which something there was not finite, on the device.

    looks: whether the host looks at each value, which is free on a CPU and costs a wait elsewhere.
    """

    def __init__(self, places: tuple[str, ...], device: torch.device, *, looks: bool):
        self._looks = looks
        self._steps = {where: torch.tensor(NEVER, device=device) for where in places}

    def note(self, where: str, is_good: Tensor, step: int) -> None:
        """Remembers the step if it was the first bad one. is_good: a bool scalar."""
        if self._looks and is_good:
            return
        self._steps[where] = torch.minimum(self._steps[where], torch.where(is_good, NEVER, step))

    def values(self) -> Tensor:
        """The first bad step of each place, int64 [places], NEVER where there was none."""
        return torch.stack(list(self._steps.values()))

    def seen(self) -> Tensor:
        """Whether anything was noted yet: a bool scalar on the device."""
        return self.values().min() != NEVER

    def first(self, values: list[int]) -> Divergence | None:
        """The earliest of what `values` gave, on the host; what comes first in the places where steps are equal."""
        steps = dict(zip(self._steps, values, strict=True))
        where = min(steps, key=lambda name: steps[name])
        return None if steps[where] >= NEVER else Divergence(int(steps[where]), where)


class Health:
    """Watches an epoch at every step without waiting; `first_divergence` is asked whenever the host may wait."""

    def __init__(self, device: torch.device, read_every: int = 1):
        self.read_every = read_every
        self._device = device
        self._is_host = device.type == "cpu"  # where a look costs no waiting
        self.start_epoch()

    def start_epoch(self) -> None:
        """Forgets what was noted: a run that goes on after an event may have healed."""
        self._first = FirstSteps(PLACES, self._device, looks=self._is_host)
        self._measured = torch.tensor(True, device=self._device)

    def usable_targets(self, targets: Tensor, step: int) -> Tensor:
        """The targets, of any shape, with 0 for what is not within 0..1.

        Binary cross entropy raises there, on CUDA past saving.
        """
        least, largest = torch.aminmax(targets)
        are_usable = (least >= 0) & (largest <= 1)  # False for NaN
        self._measured = self._measured & are_usable
        self._note("targets", are_usable, step)
        if self._is_host and are_usable:
            return targets
        return torch.where((targets >= 0) & (targets <= 1), targets, 0.0)

    def finite_outputs(self, outputs: Tensor, step: int) -> Tensor:
        """The outputs, of any shape, with 0.5 for what is not finite.

        Binary cross entropy raises on NaN, on CUDA past saving.

        Their gradient is NaN then, as that of a loss that does not raise would be.
        """
        are_finite = self._measured = all_finite(outputs)
        self._note("outputs", are_finite, step)
        if self._is_host and are_finite:
            return outputs
        whole = torch.where(are_finite, 1.0, torch.nan)
        return _ScaledGradient.apply(torch.where(torch.isfinite(outputs), outputs, 0.5), whole)

    def watch_loss(self, loss: Tensor, step: int) -> Tensor:
        """Remembers the step if the loss, a scalar, is not finite. Gives the loss, NaN where it is a substitute's."""
        loss = torch.where(self._measured, loss.detach(), torch.nan)
        self._note("loss", torch.isfinite(loss) | ~self._measured, step)
        return loss

    def watch_state(self, weights_finite: Tensor, buffers_finite: Tensor, step: int) -> None:
        """Remembers the step if a weight or a buffer is not finite after it. Both are bool scalars."""
        self._note("weights", weights_finite, step)
        self._note("buffers", buffers_finite, step)

    def may_read(self, step: int) -> bool:
        """Whether this is a step at which the host may wait for the device."""
        return step % self.read_every == 0

    def seen(self) -> Tensor:
        """Whether anything was noted yet: a bool scalar on the device."""
        return self._first.seen()

    def first_divergence(self) -> Divergence | None:
        """The earliest step noted so far; what comes first in PLACES where several are of one step."""
        return self._first.first(self._first.values().tolist())

    def _note(self, where: str, finite: Tensor, step: int) -> None:
        self._first.note(where, finite, step)


class _ScaledGradient(torch.autograd.Function):
    """The values as they are; their gradient times a factor."""

    @staticmethod
    def forward(ctx, values, factor):
        ctx.save_for_backward(factor)
        return values.view_as(values)

    @staticmethod
    def backward(ctx, *gradients):
        (factor,) = ctx.saved_tensors
        return gradients[0] * factor.to(gradients[0].dtype), None


def earliest(*events: Divergence | None) -> Divergence | None:
    """The event of the lowest step, of several the first named; None where there is none."""
    return min((event for event in events if event), key=lambda event: event.step, default=None)


def highest_loss(best: float, uninformed: float, ratio: float) -> float:
    """The highest loss that is not too high: `ratio` times the best, but never below that of outputs of 0.5 everywhere.

    Without that floor, a run whose best is 0.002 would be called diverged at 0.0065, while it predicts well.
    """
    return max(ratio * best, uninformed)
