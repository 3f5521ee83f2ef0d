"""Watches the numbers of a run: gradients, updates, saturated outputs, and each layer's distance to half's limits.

Every value stays on the device until the epoch ends. Outputs and skipped steps are watched at every step; what costs
more (norms, layers) at one step of SAMPLE_EVERY.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trials.numerics.watching.layers import LayerProbe, LayerRow

SAMPLE_EVERY = 128  # steps of an epoch, the first included


@dataclass(frozen=True)
class Watched:
    """An epoch, as the monitor saw it."""

    grad_norm: float | None  # mean over sampled steps, unscaled, of all weights together; None where none was finite
    update_ratio: float | None  # norm of a step's change of the weights over their norm, mean over steps
    saturated_share: float  # probabilities that are exactly 0 or 1
    longest_skipped_run: int  # steps skipped in a row, from earlier epochs too
    layers: tuple[LayerRow, ...]


class Monitor:
    """One run's; `sample` surrounds each training step, `epoch_ended` gives what was seen since the last call."""

    def __init__(self, model: nn.Module, device: torch.device, head: str = "sigmoid"):
        self._head = head
        self._layers = {name: module for name, module in model.named_modules() if not list(module.children())}
        self._parameters = list(model.parameters())
        self._device = device
        self.skipped_run = 0  # steps skipped in a row until now
        self.start_epoch()

    def start_epoch(self) -> None:
        """Forgets what was seen; the next step is sampled."""
        self._num_steps = 0
        self._longest_skipped_run = 0
        self._saturated = torch.zeros((), dtype=torch.float64, device=self._device)
        self._num_outputs = 0
        self._grad_norms: list[Tensor] = []
        self._update_ratios: list[Tensor] = []
        self._probes: list[LayerProbe] = []

    def sample(self, step: int) -> "AbstractContextManager[object]":
        """Surrounds forward and backward of a step; watches the layers if the step is sampled."""
        self._sampled = self._num_steps % SAMPLE_EVERY == 0
        self._num_steps += 1
        if not self._sampled:
            return nullcontext()
        self._probes.append(LayerProbe(self._layers, step))
        return self._probes[-1]

    def outputs(self, outputs: Tensor) -> None:
        """The step's outputs, of any shape, as the head gave them."""
        self._num_outputs += outputs.numel()
        if self._device.type == "cpu" and self._is_within(torch.stack(torch.aminmax(outputs.detach()))):
            return  # the host may look, and the whole count costs five times as much
        probabilities = self._probabilities(outputs.detach())
        self._saturated += outputs.numel() - torch.count_nonzero(probabilities * (1 - probabilities))

    def _is_within(self, extremes: Tensor) -> bool:
        """Whether neither the least nor the largest output is saturated; False for NaN."""
        least, largest = self._probabilities(extremes).tolist()
        return least > 0 and largest < 1

    def _probabilities(self, outputs: Tensor) -> Tensor:
        """As the loss sees them: it takes logits in float32, in half they would be 1 from 8.3 on."""
        return outputs if self._head == "sigmoid" else torch.sigmoid(outputs.float())

    def before_update(self, scale: Tensor | float) -> None:
        """Between backward and the optimiser's step; gradients are still multiplied by `scale`, a scalar."""
        if self._sampled:
            gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
            self._grad_norms.append(total_norm(gradients) / scale)

    def after_update(self, skipped: bool, update_ratio: Tensor) -> None:
        """After the optimiser's step, taken or skipped; update_ratio: a scalar, the change's norm over the weights'."""
        self.skipped_run = self.skipped_run + 1 if skipped else 0
        self._longest_skipped_run = max(self._longest_skipped_run, self.skipped_run)
        self._update_ratios.append(update_ratio)

    def epoch_ended(self) -> Watched:
        """What was seen since the last epoch; the only call that waits for the device."""
        watched = Watched(
            grad_norm=finite_mean(self._grad_norms),
            update_ratio=finite_mean(self._update_ratios),
            saturated_share=float(self._saturated) / max(1, self._num_outputs),
            longest_skipped_run=self._longest_skipped_run,
            layers=tuple(row for probe in self._probes for row in probe.rows()),
        )
        self.start_epoch()
        return watched


def total_norm(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """Euclidean norm of all values together, a scalar on their device; no square overflows."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors, dtype=torch.float64)))


def finite_mean(values: list[Tensor]) -> float | None:
    """The mean of the finite ones of these scalars; None where there is none."""
    finite = [number for number in torch.stack(values).tolist() if math.isfinite(number)] if values else []
    return sum(finite) / len(finite) if finite else None
