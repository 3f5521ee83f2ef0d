"""Many tensors copied side by side: a whole state in a few operations, where one for each would cost a step's tenth."""

from collections.abc import Mapping
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from trials.numerics.finite import all_finite

Kind = tuple[torch.device, torch.dtype]


class StateCopy:
    """A copy of some tensors, renewed by `renew`; one block for each device and dtype, the tensors in their order.

    A tensor that is dense in another order (channels last) is copied in that order, without being rearranged.
    """

    def __init__(self, tensors: Mapping[str, Tensor]):
        groups: dict[Kind, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            groups.setdefault((tensor.device, tensor.dtype), {})[name] = tensor.detach()
        self._kinds = list(groups)
        self._sources = [[as_vector(tensor) for tensor in group.values()] for group in groups.values()]
        self._blocks = [torch.cat(values_of(sources)) for sources in self._sources]
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
                name: in_shape_of(tensor, piece) for (name, tensor), piece in zip(group.items(), pieces, strict=True)
            }

    def renew(self, unless: Tensor | None = None) -> None:
        """Copies the tensors as they are now. unless: a bool scalar; where true, those on its device stay."""
        for sources, block in zip(self._sources, self._blocks, strict=True):
            if unless is None or block.device != unless.device:
                torch.cat(values_of(sources), out=block)
            else:
                block.copy_(torch.where(unless, block, torch.cat(values_of(sources))))

    def subtract(self, other: "StateCopy") -> Tensor:
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
        """The Euclidean norm of each copy, in the order of `copies`: [n], not waited for.

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


def memory_order(tensor: Tensor) -> list[int] | None:
    """The dimensions of a tensor of any shape from the widest stride to the narrowest.

    None where the tensor's memory has holes or overlaps.
    """
    order = sorted(range(tensor.dim()), key=lambda dim: (-tensor.stride(dim), -tensor.shape[dim]))
    return order if tensor.permute(order).is_contiguous() else None


def as_vector(tensor: Tensor) -> Tensor:
    """All values [n] in the order of memory, sharing it; the tensor in its shape where that is not possible."""
    order = memory_order(tensor)
    return tensor if order is None else tensor.permute(order).view(-1)


def values_of(sources: list[Tensor]) -> list[Tensor]:
    """Each source as [n]; those that share no memory with their tensor are copied out now."""
    return [source if source.dim() == 1 else source.reshape(-1) for source in sources]


def in_shape_of(tensor: Tensor, vector: Tensor) -> Tensor:
    """What `as_vector` gave, as a view in the tensor's shape."""
    order = memory_order(tensor)
    if order is None:
        return vector.view(tensor.shape)
    back = sorted(range(len(order)), key=lambda place: order[place])
    return vector.view([tensor.shape[dim] for dim in order]).permute(back)
