"""A training step under a tracer at operator level: the first operation with finite inputs and an output that is not.

Each operation of the forward and the backward pass goes by; modules are known by their full names, in the backward
pass through the numbers that autograd gave to the operations of the forward pass. An operation belongs to the
innermost module that is running: a layer, or a module that computes between its layers (attention's products, say).
"""

import bisect
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trials.numerics.finite import can_be_non_finite

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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Range":
        """What JSON made of it."""
        return cls(**{**values, "shape": tuple(values["shape"])})


@dataclass(frozen=True)
class FirstBad:
    """The first operation that made a value that is not finite out of finite ones."""

    phase: str
    module: str | None  # full name; None outside the network
    op: str
    inputs: tuple[Range, ...]
    outputs: tuple[Range, ...]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FirstBad":
        """What JSON made of it."""
        ranges = {part: tuple(Range.from_dict(each) for each in values[part]) for part in ("inputs", "outputs")}
        return cls(**{**values, **ranges})


@dataclass
class Modules:
    """Which module an operation belongs to: by the open modules in forward, by its number in backward."""

    open: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)  # autograd's number at each change of module, ascending
    names: list[str | None] = field(default_factory=list)

    def change(self) -> None:
        """Notes which module is open from autograd's next number on."""
        self.starts.append(torch.autograd._get_sequence_nr())
        self.names.append(self.innermost)

    @property
    def innermost(self) -> str | None:
        """The module that is running; None for the whole network itself, and outside it."""
        return (self.open[-1] or None) if self.open else None

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
        self.phase = "forward"  # one of PHASES (rules.py); what follows the network's forward pass is the loss
        self.first: FirstBad | None = None
        self._model = model
        self._modules = Modules()

    @contextmanager
    def named(self) -> Iterator[None]:
        """Surrounds forward pass and loss, so that operations know their module."""
        self.phase = "forward"
        handles = []
        for name, module in self._model.named_modules():
            is_network = any(True for _ in module.parameters())
            enter = partial(self._enter, name, is_network)
            handles.append(module.register_forward_pre_hook(lambda *_, enter=enter: enter()))
            handles.append(module.register_forward_hook(lambda *_: self._leave()))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._modules.change()

    def _enter(self, name: str, is_network: bool) -> None:
        if is_network or self._modules.open:  # else it may be the loss itself, a module without weights
            self.phase = "forward"
        self._modules.open.append(name)
        self._modules.change()

    def _leave(self) -> None:
        self._modules.open.pop()
        self._modules.change()
        if not self._modules.open:
            self.phase = "loss"

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        if self.first or name in SILENT:
            return func(*args, **kwargs)
        before = [tensor for tensor in tree_leaves((args, kwargs)) if can_be_non_finite(tensor)]
        is_meant = not before or any(is_infinite(value) for value in tree_leaves((args, kwargs)))
        if is_meant or not all(is_finite(tensor) for tensor in before):
            return func(*args, **kwargs)  # a constant is meant; what was wrong already is not this operation's doing
        inputs = tuple(range_of(tensor) for tensor in before)  # taken before an operation in place changes them
        outputs = func(*args, **kwargs)
        changed = before if func._schema.is_mutable or writes_statistics(name) else []
        after = [tensor for tensor in (*tree_leaves(outputs), *changed) if can_be_non_finite(tensor)]
        if not all(is_finite(tensor) for tensor in after):
            module = self._modules.of_backward() if self.phase == "backward" else self._modules.innermost
            self.first = FirstBad(self.phase, module, name.removeprefix("aten::"), inputs, tuple(map(range_of, after)))
        return outputs


def writes_statistics(name: str) -> bool:
    """Whether an operation changes BatchNorm's running statistics, which its schema does not say."""
    return "batch_norm" in name and "backward" not in name


def is_infinite(value: object) -> bool:
    """Whether this is a number that is not finite: attention masks with -inf on purpose."""
    return isinstance(value, float) and not math.isfinite(value)


def is_finite(tensor: Tensor) -> bool:
    """Whether all values of a tensor of any shape are finite."""
    return bool(torch.isfinite(tensor).all())


def range_of(tensor: Tensor) -> Range:
    """The range of a tensor of any shape, without its values."""
    finite = tensor.detach()[torch.isfinite(tensor.detach())].double()
    low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (None, None)
    num_bad = tensor.numel() - finite.numel()
    return Range(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), low, high, num_bad)
