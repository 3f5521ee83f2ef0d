"""What a user's own training step does, seen from outside: outputs, losses, autocast, updates.

Forward hooks on the network, wrappers around the scaler's `scale` and `step`, the optimisers' step hooks, and
torch.autograd.backward are in place only while a step is entered; afterwards every object is as it was.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from trials.numerics.finite import can_be_non_finite
from trials.numerics.precision import autocast_in_force

MAX_GRAPH_NODES = 200  # of the loss's graph that are compared
GONE_BELOW = 2.0**-23  # two of float16's smallest steps: half of it is one, a quarter of it nothing


@dataclass
class Observed:
    """One step, as far as it has come. Tensors stay on their device; outputs keep their shapes, others are scalars."""

    outputs: tuple[Tensor, ...] = ()  # of the last call of the network: its floating-point tensors
    losses: list[Tensor] = field(default_factory=list)  # those that were differentiated, before they were scaled
    vanished: list[Tensor] = field(default_factory=list)  # of each output, the share of gradients that vanish in half
    autocast: tuple[torch.dtype, bool] | None = None  # in force when the network was called: dtype, CUDA's lists
    graph: tuple[str, ...] = ()  # autograd's nodes between the last loss and the network
    attempted: set[int] = field(default_factory=set)  # optimisers by index: GradScaler was asked for their step
    updated: set[int] = field(default_factory=set)  # their step was taken


class Observer:
    """Of one training loop; `entered` surrounds each step and gives what is seen in it.

    before_update is called once a step, before the first optimiser changes anything.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        optimizers: tuple[Optimizer, ...],
        scaler: GradScaler | None,
        device: torch.device,
    ):
        self._watched = outermost(networks)
        self._optimizers, self._scaler, self._device = optimizers, scaler, device

    @contextmanager
    def entered(self, before_update: Callable[[], None], *, with_graph: bool) -> Iterator[Observed]:
        """with_graph: the loss's graph is noted as well, which costs a look at each of its nodes."""
        seen = Observed()
        is_noted: list[None] = []  # whether before_update was called

        def announce() -> None:
            if not is_noted:
                is_noted.append(None)
                before_update()

        handles = []
        for index, optimizer in enumerate(self._optimizers):
            handles.append(optimizer.register_step_pre_hook(lambda *_: announce()))
            handles.append(optimizer.register_step_post_hook(lambda *_, index=index: seen.updated.add(index)))
        inner = torch.autograd.backward
        torch.autograd.backward = partial(self._backward, seen, inner, with_graph)  # what Tensor.backward calls
        calls = outer_calls(self._watched, partial(self._enter, seen), partial(self._leave, seen))
        with calls, self._wrapped_scaler(seen, announce, with_graph):
            try:
                yield seen
            finally:
                torch.autograd.backward = inner
                for handle in handles:
                    handle.remove()

    def _enter(self, seen: Observed) -> None:
        seen.autocast = autocast_in_force(self._device.type)

    def _leave(self, seen: Observed, outputs: Any) -> None:
        if not torch.is_grad_enabled():
            return
        seen.outputs = tuple(leaf for leaf in tree_leaves(outputs) if can_be_non_finite(leaf))
        for output in seen.outputs:
            if output.requires_grad and output.dtype == torch.float16:
                output.register_hook(lambda gradient: seen.vanished.append(vanished_share(gradient)))

    @contextmanager
    def _wrapped_scaler(self, seen: Observed, announce: Callable[[], None], with_graph: bool) -> Iterator[None]:
        scaler = self._scaler
        if scaler is None:
            yield
            return
        scale, step = scaler.scale, scaler.step
        own = {name: vars(scaler)[name] for name in ("scale", "step") if name in vars(scaler)}

        def noted_scale(outputs: Any) -> Any:
            for loss in tree_leaves(outputs):
                self._note_loss(seen, loss, with_graph)
            return scale(outputs)

        def noted_step(optimizer: Optimizer, *args: Any, **named: Any) -> Any:
            if optimizer in self._optimizers:
                seen.attempted.add(self._optimizers.index(optimizer))
                announce()
            return step(optimizer, *args, **named)

        scaler.scale, scaler.step = noted_scale, noted_step  # type: ignore[method-assign]
        try:
            yield
        finally:
            del scaler.scale, scaler.step
            vars(scaler).update(own)

    def _backward(
        self, seen: Observed, inner: Callable, with_graph: bool, tensors: Any, *args: Any, **named: Any
    ) -> Any:
        if self._scaler is None or not self._scaler.is_enabled():
            for loss in tree_leaves(tensors):
                self._note_loss(seen, loss, with_graph)
        return inner(tensors, *args, **named)

    def _note_loss(self, seen: Observed, loss: Any, with_graph: bool) -> None:
        if isinstance(loss, Tensor) and loss.numel() == 1:
            seen.losses.append(loss.detach().reshape(()))
            if with_graph:
                seen.graph = graph_of(loss, seen.outputs)


def outermost(networks: Mapping[str, nn.Module]) -> list[nn.Module]:
    """The networks and their direct children that have weights: a loop may call a child instead of the whole."""
    found: dict[int, nn.Module] = {}
    for network in networks.values():
        for module in (network, *network.children()):
            if any(True for _ in module.parameters()):
                found.setdefault(id(module), module)
    return list(found.values())


@contextmanager
def outer_calls(modules: list[nn.Module], before: Callable[[], None], after: Callable[[Any], Any]) -> Iterator[None]:
    """Calls `before` and `after` around each call of one of these modules that is not made within another's.

    after gets what the module gave; what it returns, if not None, takes that one's place.
    """
    depth = 0

    def enter(*_: Any) -> None:
        nonlocal depth
        if depth == 0:
            before()
        depth += 1

    def leave(module: nn.Module, inputs: Any, outputs: Any) -> Any:
        nonlocal depth
        depth -= 1
        return after(outputs) if depth == 0 else None

    handles = [module.register_forward_pre_hook(enter) for module in modules]
    handles += [module.register_forward_hook(leave, always_call=True) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def vanished_share(gradient: Tensor) -> Tensor:
    """The share, a scalar, of a gradient of any shape that float16 can hardly tell from zero, or not at all.

    A value that is not finite is not among them.
    """
    return (gradient.detach().abs() <= GONE_BELOW).float().mean()


def graph_of(loss: Tensor, outputs: tuple[Tensor, ...]) -> tuple[str, ...]:
    """The names of autograd's nodes from the loss, a scalar, back to the outputs, of any shape; breadth first."""
    ends = {output.grad_fn for output in outputs}
    names: list[str] = []
    queue, known = [loss.grad_fn], set()
    while queue and len(names) < MAX_GRAPH_NODES:
        node = queue.pop(0)
        if node is None or node in ends or node in known:
            continue
        known.add(node)
        names.append(type(node).__name__)
        queue += [each for each, _ in node.next_functions]
    return tuple(names)
