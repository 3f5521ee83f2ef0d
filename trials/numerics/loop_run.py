"""A user's own loop as a `Run`: its network, optimisers and scaler built afresh, and the loss that it was given."""

import copy
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves, tree_map

from trials.numerics.capsule import Capsule
from trials.numerics.explaining.rerun import on_device, to_train_mode
from trials.numerics.finite import can_be_non_finite
from trials.numerics.precision import autocast_in_force
from trials.numerics.run import StepLoss, StepSettings, Training
from trials.numerics.training_state import put_together
from trials.numerics.watching.observer import graph_of, outer_calls, outermost

Build = Callable[[torch.device], Training]
LossOf = Callable[[Any, Any], Tensor]


def bare(network: nn.Module) -> nn.Module:
    """The network inside torch.compile's and the data-parallel wrappers."""
    while True:
        inner = getattr(network, "_orig_mod", None) or (
            network.module if isinstance(network, nn.parallel.DistributedDataParallel | nn.DataParallel) else None
        )
        if not isinstance(inner, nn.Module):
            return network
        network = inner


def is_compiled(networks: Mapping[str, nn.Module]) -> bool:
    """Whether one of the networks, or a part of it, goes through torch.compile."""
    return any(
        hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
        for network in networks.values()
        for module in network.modules()
    )


def whole(networks: Mapping[str, nn.Module]) -> nn.Module:
    """One module that holds all of them, under their names; one alone is itself."""
    if list(networks) == [""]:
        return bare(networks[""])
    return nn.ModuleDict({name: bare(network) for name, network in networks.items()})


def rebuilt(training: Training) -> Build:
    """Copies of a live training, made on the device asked for; the live one is not touched and not held twice."""

    def build(device: torch.device) -> Training:
        memo: dict[int, Any] = {}
        for tensor in (*training.model.parameters(), *training.model.buffers()):
            moved = tensor.detach().to(device, copy=True)
            is_weight = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(moved, requires_grad=tensor.requires_grad) if is_weight else moved
        for optimizer in training.optimizers:
            memo[id(optimizer.state)] = type(optimizer.state)(dict)  # what the capsule holds comes in its place
        model, optimizers = copy.deepcopy((training.model, training.optimizers), memo)
        if hasattr(model, "_compiled_call_impl"):
            model._compiled_call_impl = None
        return Training(model, optimizers, like(training.scaler, device))

    return build


def like(scaler: GradScaler | None, device: torch.device) -> GradScaler | None:
    """A new scaler with the same rules; its scale comes from the capsule."""
    if scaler is None:
        return None
    rules = scaler.state_dict()
    made = GradScaler(device.type, growth_factor=rules["growth_factor"], backoff_factor=rules["backoff_factor"])
    made.set_growth_interval(rules["growth_interval"])
    return made


def built_by(build: Callable[[], Any], capsule: Capsule) -> Build:
    """From a user's own function: the model alone, or (model, optimiser), each alone or several."""

    def made(device: torch.device) -> Training:
        parts = build()
        model, *rest = parts if isinstance(parts, tuple) else (parts,)
        network = whole(dict(model) if isinstance(model, Mapping) and not isinstance(model, nn.Module) else {"": model})
        network.to(device)
        given = rest[0] if rest else plain_optimizer(network, capsule)
        optimizers = tuple(given) if isinstance(given, list | tuple) else (given,)
        scaled = capsule.facts["settings"]["is_scaled"]
        return Training(network, optimizers, GradScaler(device.type) if scaled else None)

    return made


def plain_optimizer(network: nn.Module, capsule: Capsule) -> Optimizer:
    """One of torch's, told by the names of what it kept: Adam(W), or SGD; groups as in the capsule.

    Raises ValueError where the capsule's is none of these: then build() must give it.
    """
    groups = capsule.state.facts["optimizer_groups"]
    kinds = {"betas": torch.optim.AdamW, "nesterov": torch.optim.SGD}
    kind = next((kind for name, kind in kinds.items() if groups and name in groups[0]), None)
    if kind is None or len(groups) != 1:
        raise ValueError("the optimiser of this capsule is not told by it; let build() give (model, optimizer)")
    return kind(network.parameters(), lr=1e-3)


class LoopRun:
    """A `Run` (run.py) whose loss the user gives: (model, batch) -> a scalar."""

    def __init__(self, build: Build, loss: LossOf, *, loss_in_autocast: bool = True, factor: float = 1.0):
        self._build, self._loss = build, loss
        self.loss_in_autocast = loss_in_autocast  # else the network alone runs in it
        self.puts_finite = False  # 0.5 in place of outputs that are not finite: no loss refuses that
        self.factor = factor  # of the loop's loss over the given one: 1 / n where n batches are accumulated

    def build(self, device: torch.device) -> Training:
        """See `Run`."""
        return self._build(device)

    def loss(self, model: nn.Module, batch: Any, settings: StepSettings) -> StepLoss:
        """See `Run`. Raises TypeError where the loss is no scalar, ValueError where it opens autocast itself.

        What the loss raises is passed on, but where the outputs are not finite: binary cross entropy refuses those, and
        the loss is NaN then.
        """
        with self._outputs_of(model, settings) as outputs, ExitStack() as stack:
            if self.loss_in_autocast:
                stack.enter_context(settings.autocast(device_of(model)))
            try:
                value = self._loss(model, batch)
            except (RuntimeError, ValueError):
                if all(bool(torch.isfinite(output).all()) for output in outputs):
                    raise
                value = torch.stack([output.float().sum() for output in outputs]).sum() * torch.nan
        if not isinstance(value, Tensor) or value.numel() != 1:
            kind = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"loss(model, batch) gave {kind}; it must give a scalar tensor")
        value = value.reshape(()) * self.factor if self.factor != 1 else value.reshape(())
        flags = [torch.isfinite(output).all() for output in outputs]
        is_measured = torch.stack(flags).all() if flags else torch.tensor(True, device=value.device)
        return StepLoss(value, torch.where(is_measured, value.detach(), torch.nan), tuple(outputs))

    @contextmanager
    def _outputs_of(self, model: nn.Module, settings: StepSettings) -> Any:
        """The floating-point tensors of the network's last call, filled while it is entered."""
        networks = dict(model.items()) if isinstance(model, nn.ModuleDict) else {"": model}
        outputs: list[Tensor] = []
        stack = ExitStack()

        def enter() -> None:
            if not self.loss_in_autocast:
                stack.enter_context(settings.autocast(device_of(model)))
            check_autocast(model, settings)

        def leave(result: Any) -> Any:
            stack.close()
            result = tree_map(finite_instead, result) if self.puts_finite else result
            outputs[:] = [leaf for leaf in tree_leaves(result) if can_be_non_finite(leaf)]
            return result

        with stack, outer_calls(outermost(networks), enter, leave):
            yield outputs


def finite_instead(value: Any) -> Any:
    """A tensor with 0.5 for what is not finite; anything else as it is."""
    return torch.nan_to_num(value, nan=0.5, posinf=0.5, neginf=0.5) if can_be_non_finite(value) else value


def device_of(model: nn.Module) -> str:
    """The type of the device that the model lies on."""
    return next(model.parameters()).device.type


def check_autocast(model: nn.Module, settings: StepSettings) -> None:
    """Raises ValueError where another autocast is in force than the one asked for."""
    found = autocast_in_force(device_of(model))
    if (found[0] if found else None) != settings.dtype:
        raise ValueError(
            "loss(model, batch) opens autocast itself, so the step cannot be tried in another precision; "
            "leave autocast out of it: it is opened around the call"
        )


def calibrated(run: LoopRun, capsule: Capsule, settings: StepSettings, device: torch.device) -> str | None:
    """Finds whether the loop's loss ran under autocast, and its factor; in words where the loss given is another one.

    The graph of the loss is compared with the recorded one, and its value with the loop's. Raises what the loss raises.
    """
    wanted = tuple(capsule.facts.get("loss_graph") or ())
    places = (True, False) if settings.dtype is not None else (True,)
    found: dict[bool, tuple[tuple[str, ...], float]] = {}
    refused: Exception | None = None
    for inside in places:
        run.loss_in_autocast = inside
        try:
            found[inside] = _graph_and_value(run, capsule, settings, device)
        except (RuntimeError, ValueError) as error:  # CUDA refuses binary cross entropy under autocast, for one
            refused = refused or error
    if refused and not found:
        raise refused
    same = [inside for inside, (graph, _) in found.items() if graph == wanted]
    run.loss_in_autocast = (same or list(found))[0]
    return _compare_values(run, capsule, found[run.loss_in_autocast][1])


def _graph_and_value(
    run: LoopRun, capsule: Capsule, settings: StepSettings, device: torch.device
) -> tuple[tuple[str, ...], float]:
    """Of the first captured batch's loss."""
    training = run.build(device)
    put_together(training, capsule.state)
    to_train_mode(training.model, capsule.facts.get("eval_modules", ()))
    run.puts_finite = True
    try:
        loss = run.loss(training.model, on_device(capsule.batches[0], device), settings)
    finally:
        run.puts_finite = False
    return graph_of(loss.loss, loss.outputs), float(loss.loss.detach())


def _compare_values(run: LoopRun, capsule: Capsule, value: float) -> str | None:
    """Sets the run's factor where the loop divided its loss by the number of batches; in words where it is another."""
    recorded = [own[0] for own in capsule.facts["losses"] if len(own) == 1 and own[0] is not None]
    if not recorded or not 0 < abs(value) < float("inf"):
        return None
    ratio, num = recorded[0] / value, len(capsule.batches)
    if abs(ratio * num - 1) < 0.01:
        run.factor = 1 / num
        return None
    if abs(ratio - 1) < 0.05:
        return None
    return f"the loss given is {value:.4g} for the captured batch, the loop's was {recorded[0]:.4g}: they differ"
