"""Looks for non-finite outputs, losses, weights and buffers, without waiting for the device at every step."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

NEVER = torch.iinfo(torch.int64).max
READ_EVERY = {"cpu": 1, "cuda": 16}  # steps between two looks from the host; reading a CUDA tensor waits for the GPU


@dataclass(frozen=True)
class Divergence:
    """The first non-finite value: the step (counted over the whole run, from 1) and what held it."""

    step: int
    where: str  # outputs, loss, weights or buffers


class Health:
    """Watches a run; `finite_outputs` and `watch_loss` at every step, `first_divergence` whenever the host may wait."""

    def __init__(self, device: torch.device):
        self._read_every = READ_EVERY.get(device.type, 16)
        self._first = {where: torch.tensor(NEVER, device=device) for where in ("outputs", "loss")}

    def finite_outputs(self, outputs: Tensor, step: int) -> Tensor:
        """The outputs with 0.5 for what is not finite: binary cross entropy raises on NaN, on CUDA past saving."""
        finite = torch.isfinite(outputs)
        self._note("outputs", finite.all(), step)
        return torch.where(finite, outputs, 0.5)

    def watch_loss(self, loss: Tensor, step: int) -> None:
        """Remembers the step if the loss is not finite."""
        self._note("loss", torch.isfinite(loss.detach()), step)

    def may_read(self, step: int) -> bool:
        """Whether this is a step at which the host may wait for the device."""
        return step % self._read_every == 0

    def first_divergence(self) -> Divergence | None:
        """The earliest step noted so far; outputs before loss where both are of one step."""
        steps = {where: int(first) for where, first in self._first.items()}
        where = min(steps, key=lambda name: steps[name])
        return None if steps[where] == NEVER else Divergence(steps[where], where)

    def _note(self, where: str, finite: Tensor, step: int) -> None:
        bad_step = torch.where(finite, NEVER, step)
        self._first[where] = torch.minimum(self._first[where], bad_step)


def non_finite_state(model: nn.Module) -> str | None:
    """ "weights" or "buffers" if one of them holds a value that is not finite."""
    for where, tensors in (("weights", model.parameters()), ("buffers", model.buffers())):
        finite = [torch.isfinite(tensor).all() for tensor in tensors if tensor.is_floating_point()]
        if finite and not torch.stack(finite).all():
            return where
    return None
