"""A training step under a tracer at operator level: the first operation with finite inputs and an output that is not.

Each operation of the forward and the backward pass goes by; modules are known by their full names, in the backward
pass through the numbers that autograd gave to the operations of the forward pass.
"""

import bisect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Operations that hand numbers on or make room for them; what they pass on was wrong before.
SILENT = {"aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty", "aten::detach", "aten::alias"}


@dataclass(frozen=True)
class Range:
    """The finite values of a tensor, and how many are not."""

    dtype: str
    shape: tuple[int, ...]
    low: float | None  # None where no value is finite
    high: float | None
    num_not_finite: int


@dataclass(frozen=True)
class FirstBad:
    """The first operation that made a value that is not finite out of finite ones."""

    phase: str
    module: str | None  # full name; None outside the network
    op: str
    inputs: tuple[Range, ...]
    outputs: tuple[Range, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


@dataclass
class Modules:
    """Which module an operation belongs to: by the open modules in forward, by its number in backward."""

    open: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)  # autograd's number at each change of module, ascending
    names: list[str | None] = field(default_factory=list)

    def change(self) -> None:
        """Notes which module is open from autograd's next number on."""
        self.starts.append(torch.autograd._get_sequence_nr())
        self.names.append(self.open[-1] if self.open else None)

    def of_backward(self) -> str | None:
        """The module whose operation is being differentiated."""
        node = torch._C._current_autograd_node()
        if node is None:
            return None
        place = bisect.bisect_right(self.starts, node._sequence_nr()) - 1
        return self.names[place] if place >= 0 else None


class Tracer(TorchDispatchMode):
    """Looks at every operation while it is entered, until it has found the first bad one."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.phase = "forward"
        self.first: FirstBad | None = None
        self._model = model
        self._modules = Modules()

    @contextmanager
    def named(self) -> Iterator[None]:
        """Surrounds the forward pass, so that operations know their module."""
        handles = []
        for name, module in self._model.named_modules():
            if not list(module.children()):
                handles.append(module.register_forward_pre_hook(lambda *_, name=name: self._enter(name)))
                handles.append(module.register_forward_hook(lambda *_: self._leave()))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._modules.change()

    def _enter(self, name: str) -> None:
        self._modules.open.append(name)
        self._modules.change()

    def _leave(self) -> None:
        self._modules.open.pop()
        self._modules.change()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        if self.first or name in SILENT:
            return func(*args, **kwargs)
        before = [tensor for tensor in tree_leaves((args, kwargs)) if is_real(tensor)]
        if not before or not all(is_finite(tensor) for tensor in before):
            return func(*args, **kwargs)  # a constant is meant; what was wrong already is not this operation's doing
        inputs = tuple(range_of(tensor) for tensor in before)  # taken before an operation in place changes them
        outputs = func(*args, **kwargs)
        changed = before if func._schema.is_mutable or writes_statistics(name) else []
        after = [tensor for tensor in (*tree_leaves(outputs), *changed) if is_real(tensor)]
        if not all(is_finite(tensor) for tensor in after):
            module = self._modules.of_backward() if self.phase == "backward" else self._open_module()
            self.first = FirstBad(self.phase, module, name.removeprefix("aten::"), inputs, tuple(map(range_of, after)))
        return outputs

    def _open_module(self) -> str | None:
        return self._modules.open[-1] if self._modules.open else None


def writes_statistics(name: str) -> bool:
    """Whether an operation changes BatchNorm's running statistics, which its schema does not say."""
    return "batch_norm" in name and "backward" not in name


def is_real(value: object) -> bool:
    """Whether this is a tensor that can hold what is not finite."""
    return isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 0


def is_finite(tensor: Tensor) -> bool:
    """Whether all its values are finite."""
    return bool(torch.isfinite(tensor).all())


def range_of(tensor: Tensor) -> Range:
    """The tensor's range, without its values."""
    finite = tensor.detach()[torch.isfinite(tensor.detach())].double()
    low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (None, None)
    num_bad = tensor.numel() - finite.numel()
    return Range(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), low, high, num_bad)


def cosine(one: list[Tensor], other: list[Tensor]) -> float:
    """The cosine between two lists of tensors, each taken as one long vector; NaN where one of them is zero."""
    dot = sum(float((a.double() * b.double()).sum()) for a, b in zip(one, other, strict=True))
    norms = [math.sqrt(sum(float(t.double().square().sum()) for t in tensors)) for tensors in (one, other)]
    return dot / (norms[0] * norms[1]) if all(norm > 0 for norm in norms) else math.nan
