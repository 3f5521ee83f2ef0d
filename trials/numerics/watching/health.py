"""Looks for what makes a run diverged or frozen, without waiting for the device at every step."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trials.losses import Loss
from trials.numerics.watching.state_copy import all_finite

if TYPE_CHECKING:
    from trials.config import TrialConfig
    from trials.data.loader import Batch

NEVER = torch.iinfo(torch.int64).max
READ_LATE = 16  # steps between two looks from the host where each look would wait for the device
FROZEN_AFTER = 8  # skipped steps in a row: the first ones of a sane run, whose loss scale may begin too high, are fewer
SMALLEST_BOUND = 0.25  # of a Loss, times the number of pixels
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


class Health:
    """Watches an epoch at every step without waiting; `first_divergence` is asked whenever the host may wait."""

    def __init__(self, device: torch.device, read_every: int = 1):
        self.read_every = read_every
        self._device = device
        self._is_host = device.type == "cpu"  # where a look costs no waiting
        self.start_epoch()

    def start_epoch(self) -> None:
        """Forgets what was noted: a run that goes on after an event may have healed."""
        self._first = {where: torch.tensor(NEVER, device=self._device) for where in PLACES}
        self._measured = torch.tensor(True, device=self._device)

    def usable_targets(self, targets: Tensor, step: int) -> Tensor:
        """The targets with 0 for what is not within 0..1: binary cross entropy raises there, on CUDA past saving."""
        least, largest = torch.aminmax(targets)
        are_usable = (least >= 0) & (largest <= 1)  # False for NaN
        self._measured = self._measured & are_usable
        self._note("targets", are_usable, step)
        if self._is_host and are_usable:
            return targets
        return torch.where((targets >= 0) & (targets <= 1), targets, 0.0)

    def finite_outputs(self, outputs: Tensor, step: int) -> Tensor:
        """The outputs with 0.5 for what is not finite: binary cross entropy raises on NaN, on CUDA past saving.

        Their gradient is NaN then, as that of a loss that does not raise would be.
        """
        are_finite = self._measured = all_finite(outputs)
        self._note("outputs", are_finite, step)
        if self._is_host and are_finite:
            return outputs
        whole = torch.where(are_finite, 1.0, torch.nan)
        return _ScaledGradient.apply(torch.where(torch.isfinite(outputs), outputs, 0.5), whole)

    def watch_loss(self, loss: Tensor, step: int) -> Tensor:
        """Remembers the step if the loss is not finite. Gives the loss, NaN where it is that of a substitute."""
        loss = torch.where(self._measured, loss.detach(), torch.nan)
        self._note("loss", torch.isfinite(loss) | ~self._measured, step)
        return loss

    def watch_state(self, weights_finite: Tensor, buffers_finite: Tensor, step: int) -> None:
        """Remembers the step if a weight or a buffer is not finite after it."""
        self._note("weights", weights_finite, step)
        self._note("buffers", buffers_finite, step)

    def may_read(self, step: int) -> bool:
        """Whether this is a step at which the host may wait for the device."""
        return step % self.read_every == 0

    def seen(self) -> Tensor:
        """Whether anything was noted yet: a bool scalar on the device."""
        return torch.stack(list(self._first.values())).min() != NEVER

    def first_divergence(self) -> Divergence | None:
        """The earliest step noted so far; what comes first in PLACES where several are of one step."""
        steps = dict(zip(self._first, torch.stack(list(self._first.values())).tolist(), strict=True))
        where = min(steps, key=lambda name: steps[name])
        return None if steps[where] == NEVER else Divergence(steps[where], where)

    def _note(self, where: str, finite: Tensor, step: int) -> None:
        if self._is_host and finite:
            return
        bad_step = torch.where(finite, NEVER, step)
        self._first[where] = torch.minimum(self._first[where], bad_step)


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


def gradients_vanish(loss_scale: float, batch: "Batch", loss: Loss, config: "TrialConfig") -> bool:
    """Whether the loss scale is so low that the run has diverged."""
    if config.min_loss_scale > 0 or config.amp_dtype != "float16":
        return loss_scale <= config.min_loss_scale
    if loss_scale * SMALLEST_BOUND > batch.targets.numel() * 2.0**-23:
        return False  # whatever the loss and the targets are: the device is not waited for
    return loss_scale <= lowest_loss_scale(batch, loss)


def lowest_loss_scale(batch: "Batch", loss: Loss) -> float:
    """The loss scale at which not even the largest gradient that a pixel of the batch can have survives in float16.

    It is two of float16's smallest steps (2**-24) there, so that half of it is one and a quarter of it nothing. 0 for
    a loss that states no bound (trials/losses.py).
    """
    return 2.0**-23 / loss.bound(batch.targets, batch.valid) if loss.bound else 0.0


def highest_loss(best: float, uninformed: float, ratio: float) -> float:
    """The highest loss that is not too high: `ratio` times the best, but never below that of outputs of 0.5 everywhere.

    Without that floor, a run whose best is 0.002 would be called diverged at 0.0065, while it predicts well.
    """
    return max(ratio * best, uninformed)


def non_finite_state(model: nn.Module) -> str | None:
    """ "weights" or "buffers" if one of them holds a value that is not finite."""
    for where, tensors in (("weights", model.parameters()), ("buffers", model.buffers())):
        finite = [torch.isfinite(tensor).all() for tensor in tensors if tensor.is_floating_point()]
        if finite and not torch.stack(finite).all():
            return where
    return None
