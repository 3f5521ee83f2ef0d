"""Watches the numbers of a run: gradients, updates, saturated outputs, and each layer's distance to half's limits.

Every value stays on the device until the epoch ends. Outputs and skipped steps are watched at every step; what costs
more (norms, layers) at one step of SAMPLE_EVERY.
"""

import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor, nn

from trials.outcome import finite_or_none

SAMPLE_EVERY = 128  # steps of an epoch, the first included
SHARES_OF = 2  # images of a batch: counting is dearer than the largest value
HALF_MAX = 65504.0  # the largest float16
HALF_SMALLEST_NORMAL = 2.0**-14  # below it float16 loses digits, below 2**-25 everything
FORECAST_EPOCHS = 8  # how many epochs a forecast looks back
FORECAST_LIMIT = 1000  # and the farthest it says


@dataclass(frozen=True)
class LayerRow:
    """One layer at one sampled step: its output, and the gradient with respect to it (see `measured`)."""

    layer: str
    step: int
    activation_max: float
    activation_zero_share: float
    activation_subnormal_share: float  # not zero, but below float16's smallest normal
    gradient_max: float  # of the scaled loss
    gradient_zero_share: float
    gradient_subnormal_share: float


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
        """The step's outputs, as the head gave them."""
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

    def before_update(self, scale: float) -> None:
        """Between backward and the optimiser's step; gradients are still multiplied by `scale`."""
        if self._sampled:
            gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
            self._grad_norms.append(total_norm(gradients) / scale)

    def after_update(self, skipped: bool, update_ratio: Tensor) -> None:
        """After the optimiser's step, taken or skipped; update_ratio: norm of the change over that of the weights."""
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


class LayerProbe(AbstractContextManager):
    """Measures every layer's output, and the gradient with respect to it, while it is entered."""

    def __init__(self, layers: dict[str, nn.Module], step: int):
        self._layers, self._step = layers, step
        self._activations: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}

    def __enter__(self) -> "LayerProbe":
        self._handles = [
            module.register_forward_hook(partial(self._see, name)) for name, module in self._layers.items()
        ]
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _see(self, name: str, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        self._activations[name] = measured(output.detach())
        if output.requires_grad:
            output.register_hook(lambda gradient: self._gradients.update({name: measured(gradient)}))

    def rows(self) -> list[LayerRow]:
        """A row for each layer that ran; a gradient that never came counts as zero."""
        nothing = torch.tensor([0.0, 1.0, 0.0])
        return [
            LayerRow(name, self._step, *activation.tolist(), *self._gradients.get(name, nothing).tolist())
            for name, activation in self._activations.items()
        ]


def measured(values: Tensor) -> Tensor:
    """float32 [largest magnitude, share of zeros, share of float16's subnormals]; NaN and inf show in the first.

    The largest is that of the whole batch, the shares those of its first SHARES_OF images.
    """
    least, largest = torch.aminmax(values)
    some = values[:SHARES_OF].abs()
    num_zero, num_tiny = (some == 0).sum(), (some < HALF_SMALLEST_NORMAL).sum()
    shares = torch.stack([num_zero, num_tiny - num_zero]) / some.numel()
    return torch.cat([torch.maximum(largest, -least).float().view(1), shares.float()])


def total_norm(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """Euclidean norm of all values together, a scalar on their device; no square overflows."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors, dtype=torch.float64)))


def finite_mean(values: list[Tensor]) -> float | None:
    """The mean of the finite ones; None where there is none."""
    finite = [number for number in torch.stack(values).tolist() if math.isfinite(number)] if values else []
    return sum(finite) / len(finite) if finite else None


def tightest(layers: Iterable[LayerRow]) -> LayerRow | None:
    """The layer with the largest activation; one that is not finite counts as beyond all."""
    return max(layers, key=lambda row: _largest(row.activation_max), default=None)


def largest_by_layer(layers: Iterable[LayerRow]) -> dict[str, float]:
    """Each layer's largest activation over the rows; infinite where one was not finite."""
    largest: dict[str, float] = {}
    for row in layers:
        largest[row.layer] = max(largest.get(row.layer, 0.0), _largest(row.activation_max))
    return largest


def _largest(activation_max: float) -> float:
    return activation_max if math.isfinite(activation_max) else math.inf


def first_overflow(largest: Mapping[str, Mapping[int, float]], epoch: int) -> tuple[str | None, float | None]:
    """The layer that reaches float16's limit first, and in how many epochs from this one; None, None."""
    found = {layer: left for layer, own in largest.items() if (left := epochs_until_overflow(own, epoch)) is not None}
    layer = min(found, key=lambda name: found[name], default=None)
    return (layer, found[layer]) if layer is not None else (None, None)


def epochs_until_overflow(largest: Mapping[int, float], epoch: int) -> float | None:
    """In how many epochs from this one a layer's largest activation reaches float16's limit, if it grows on as it did.

    largest: by epoch; those that are not finite, or older than FORECAST_EPOCHS, are left out. A straight line through
    the logarithms; None where there are fewer than four, where it does not grow, or where it is farther away than
    FORECAST_LIMIT.
    """
    recent = {
        at: value
        for at, value in largest.items()
        if epoch - FORECAST_EPOCHS < at <= epoch and math.isfinite(value) and value > 0
    }
    if len(recent) < 4:
        return None
    epochs = torch.tensor(list(recent), dtype=torch.float64)
    logs = torch.tensor(list(recent.values()), dtype=torch.float64).log2()
    slope = ((epochs - epochs.mean()) * (logs - logs.mean())).sum() / ((epochs - epochs.mean()) ** 2).sum()
    if slope <= 0:
        return None
    left = float((math.log2(HALF_MAX) - logs[-1]) / slope + epochs[-1]) - epoch
    return max(0.0, left) if left <= FORECAST_LIMIT else None


def layer_lines(watched: Watched, epoch: int) -> list[dict]:
    """Rows for layers.jsonl; what is not finite is null."""
    return [
        {"epoch": epoch} | {name: finite_or_none(value) for name, value in asdict(row).items()}
        for row in watched.layers
    ]
