"""Each layer's distance to half precision's limits: its output, and the gradient with respect to it."""

import json
import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from trials.numerics.finite import can_be_non_finite, finite_or_none

FILE = "layers.jsonl"  # beside the checkpoints
SHARES_OF = 2  # images of a batch: counting is dearer than the largest value
HALF_MAX = 65504.0  # the largest float16
HALF_SMALLEST_NORMAL = 2.0**-14  # below it float16 loses digits, below 2**-25 everything


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

    def _see(self, name: str, module: nn.Module, inputs: tuple, outputs: Any) -> None:
        output = next((leaf for leaf in tree_leaves(outputs) if can_be_non_finite(leaf)), None)
        if output is None:
            return
        if output.dim() == 0:  # a loss
            return
        self._activations.pop(name, None)
        self._activations[name] = measured(output.detach())  # in the order in which they ran
        if output.requires_grad:
            output.register_hook(lambda gradient: self._gradients.update({name: measured(gradient)}))

    @property
    def order(self) -> list[str]:
        """The layers in the order in which they ran last."""
        return list(self._activations)

    def rows(self) -> list[LayerRow]:
        """A row for each layer that ran; a gradient that never came counts as zero."""
        names = list(self._activations)
        if not names:
            return []
        nothing = self._activations[names[0]].new_tensor([0.0, 1.0, 0.0])
        parts = [torch.cat([self._activations[name], self._gradients.get(name, nothing)]) for name in names]
        return [LayerRow(name, self._step, *row) for name, row in zip(names, torch.stack(parts).tolist(), strict=True)]


def measured(values: Tensor) -> Tensor:
    """Values of any shape with a first dimension -> float32 [3]: largest magnitude, shares of zeros and of subnormals.

    Subnormal is what float16 cannot hold with all its digits. NaN and inf show in the first.
    The largest is that of the whole batch, the shares those of its first SHARES_OF images.
    """
    least, largest = torch.aminmax(values)
    some = values[:SHARES_OF].abs()
    num_zero, num_tiny = (some == 0).sum(), (some < HALF_SMALLEST_NORMAL).sum()
    shares = torch.stack([num_zero, num_tiny - num_zero]) / some.numel()
    return torch.cat([torch.maximum(largest, -least).float().view(1), shares.float()])


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


def append_layers(folder: Path, layers: Iterable[LayerRow], epoch: int | None) -> None:
    """The rows, into layers.jsonl in the folder. epoch: None where epochs are not counted."""
    with (folder / FILE).open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in layer_lines(layers, epoch))


def layer_lines(layers: Iterable[LayerRow], epoch: int | None) -> list[dict[str, Any]]:
    """Rows for layers.jsonl; what is not finite is null."""
    return [{"epoch": epoch} | {name: finite_or_none(value) for name, value in asdict(row).items()} for row in layers]
