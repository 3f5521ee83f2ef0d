"""Many tensors copied side by side: a whole state in a few operations, where one for each would cost a step's tenth."""

from collections.abc import Mapping

import torch
from torch import Tensor

Kind = tuple[torch.device, torch.dtype]


class Flat:
    """A copy of some tensors, renewed by `take`; one block for each device and dtype, the tensors in their order."""

    def __init__(self, tensors: Mapping[str, Tensor]):
        groups: dict[Kind, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            groups.setdefault((tensor.device, tensor.dtype), {})[name] = tensor.detach()
        self._names = {kind: list(group) for kind, group in groups.items()}
        self._sources = [[tensor.view(-1) for tensor in group.values()] for group in groups.values()]
        self._blocks = [torch.cat(sources) for sources in self._sources]
        self.unconditional: list[str] = []  # on the CPU, where the others are not: `unless` would have to be waited for
        self.copies: dict[str, Tensor] = {}  # by name, views into the blocks
        devices = {device.type for device, _ in groups}
        for group, block in zip(groups.values(), self._blocks, strict=True):
            if block.device.type == "cpu" and len(devices) > 1:
                self.unconditional += group
            pieces = block.split([tensor.numel() for tensor in group.values()])
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

    def minus(self, other: "Flat") -> list[Tensor]:
        """The copy less another's, a tensor for each of its own; the other holds the same ones first of each kind."""
        others = dict(zip(other._names, other._blocks, strict=True))
        found = {}
        for (kind, names), block, sources in zip(self._names.items(), self._blocks, self._sources, strict=True):
            pieces = (block - others[kind][: block.numel()]).split([source.numel() for source in sources])
            found |= zip(names, pieces, strict=True)
        return [found[name] for name in self.copies]

    def norm(self) -> Tensor:
        """Euclidean norm of all values together, a scalar."""
        return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(block) for block in self._blocks]))

    def is_finite(self) -> Tensor:
        """Whether all values of the copy are finite: a bool scalar, not waited for."""
        return torch.stack([all_finite(block) for block in self._blocks]).all()


def all_finite(values: Tensor) -> Tensor:
    """Whether all values are finite: a bool scalar, not waited for. One pass: NaN is both least and largest."""
    least, largest = torch.aminmax(values.detach())
    return torch.isfinite(least) & torch.isfinite(largest)
