"""Many tensors copied side by side: a whole state in a few operations, where one for each would cost a step's tenth."""

from collections.abc import Mapping
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

Kind = tuple[torch.device, torch.dtype]


class Flat:
    """A copy of some tensors, renewed by `take`; one block for each device and dtype, the tensors in their order."""

    def __init__(self, tensors: Mapping[str, Tensor]):
        groups: dict[Kind, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            groups.setdefault((tensor.device, tensor.dtype), {})[name] = tensor.detach()
        self._kinds = list(groups)
        self._sources = [[tensor.view(-1) for tensor in group.values()] for group in groups.values()]
        self._blocks = [torch.cat(sources) for sources in self._sources]
        self.unconditional: list[str] = []  # on the CPU, where the others are not: `unless` would have to be waited for
        self.copies: dict[str, Tensor] = {}  # by name, views into the blocks
        self._starts: list[list[int]] = []  # where each tensor begins in its block
        devices = {device.type for device, _ in groups}
        for group, block in zip(groups.values(), self._blocks, strict=True):
            if block.device.type == "cpu" and len(devices) > 1:
                self.unconditional += group
            sizes = [tensor.numel() for tensor in group.values()]
            self._starts.append([0, *accumulate(sizes[:-1])])
            pieces = block.split(sizes)
            self.copies |= {
                name: piece.view(tensor.shape) for (name, tensor), piece in zip(group.items(), pieces, strict=True)
            }

    def take(self, unless: Tensor | None = None) -> None:
        """Copies the tensors as they are now. unless: a bool scalar; where true, those on its device stay."""
        for sources, block in zip(self._sources, self._blocks, strict=True):
            if unless is None or block.device != unless.device:
                torch.cat(sources, out=block)
            else:
                block.copy_(torch.where(unless, block, torch.cat(sources)))

    def subtract(self, other: "Flat") -> Tensor:
        """Takes another's copies off its own; the other holds the same tensors, and first of each kind.

        Gives the Euclidean norm of all values that were taken off, a scalar.
        """
        others = dict(zip(other._kinds, other._blocks, strict=True))
        norms = []
        for kind, block in zip(self._kinds, self._blocks, strict=True):
            same = others[kind][: block.numel()]
            block.sub_(same)
            norms.append(torch.linalg.vector_norm(same))
        return torch.linalg.vector_norm(torch.stack(norms))

    def norms(self) -> Tensor:
        """The Euclidean norm of each copy, in the order of `copies`: a vector, not waited for.

        The tensors are floating-point, and none is empty.
        """
        if any(block.device.type != "cpu" or block.dtype != torch.float32 for block in self._blocks):
            return torch.stack(torch._foreach_norm(list(self.copies.values())))
        with np.errstate(over="ignore", invalid="ignore"):  # such norms are infinite or NaN, as torch's are
            squares = [  # one call for each block, where torch on a CPU would make one for each tensor
                np.add.reduceat(np.square(block.numpy()), starts)
                for block, starts in zip(self._blocks, self._starts, strict=True)
            ]
            return torch.from_numpy(np.sqrt(np.concatenate(squares)))

    def is_finite(self) -> Tensor:
        """Whether all values of the copy, if it has any, are finite: a bool scalar, not waited for."""
        finite = [all_finite(block) for block in self._blocks]
        return torch.stack(finite).all() if finite else torch.tensor(True)


def all_finite(values: Tensor) -> Tensor:
    """Whether all values are finite: a bool scalar, not waited for. One pass: NaN is both least and largest."""
    least, largest = torch.aminmax(values.detach())
    limit = torch.finfo(values.dtype).max
    return (least >= -limit) & (largest <= limit)
