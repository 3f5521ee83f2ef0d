"""A capsule's step, taken again: as it was, under the tracer, or otherwise (another precision, scale, guard)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from trials.config import TrialConfig
from trials.guards import RunningStatistics, clip_unscaled, was_skipped
from trials.numerics import capsule
from trials.numerics.capsule import Capsule, Kept
from trials.numerics.explaining.operator_tracer import FirstBad, Range, Tracer, range_of
from trials.numerics.watching.health import Health, non_finite_state
from trials.outcome import finite_or_none
from trials.parts import build_loss
from trials.state import State, new_state
from trials.step import forward


@dataclass(frozen=True)
class Taken:
    """What a step did."""

    first: FirstBad | None  # None: not traced, or every operation made finite values out of finite ones
    outputs: Range
    loss: float | None  # None where it is not finite, or that of outputs or targets that are not
    scale: float | None  # the loss scale of the step; None without AMP
    skipped: bool  # by GradScaler
    state_not_finite: str | None  # weights or buffers after the step
    num_wrong_saturated: int  # outputs of a sigmoid head that are exactly 0 or 1 and on the wrong side
    gradients: dict[str, Tensor] = field(repr=False, compare=False)  # unscaled and clipped, as the optimiser got them
    updates: dict[str, Tensor] = field(repr=False, compare=False)  # changes of the weights, in the model's order
    output_values: Tensor = field(repr=False, compare=False)  # of the network, [B, 1, H, W]

    @property
    def is_finite(self) -> bool:
        """Outputs, loss, weights and buffers, and the step was taken."""
        bad = self.outputs.num_not_finite or self.loss is None or self.state_not_finite
        return not bad and not self.skipped


def restored(
    kept: Capsule,
    changes: dict[str, Any] | None = None,
    device: torch.device | None = None,
    of: Kept | None = None,
) -> State:
    """The state before the event's step, or the one given; under a configuration with some fields changed."""
    config = replace(kept.config, **(changes or {}))
    torch.backends.cudnn.allow_tf32 = config.tf32
    state = new_state(config, device or torch.device("cpu"), num_steps=kept.facts["num_steps"])
    capsule.put_together(state, of or kept.state)
    return state


def take_again(
    kept: Capsule,
    *,
    changes: dict[str, Any] | None = None,
    loss_scale: float | None = None,
    float32_modules: frozenset[str] = frozenset(),
    traced: bool = False,
    device: torch.device | None = None,
) -> Taken:
    """The event's step from the state before it.

    changes: TrialConfig fields that are other than they were. float32_modules: names of leaf modules outside autocast.
    """
    device = device or torch.device("cpu")
    state = restored(kept, changes, device)
    if loss_scale is not None and state.scaler.is_enabled():
        state.scaler.update(new_scale=loss_scale)
    config = replace(kept.config, **(changes or {}))
    return take(state, kept, config, Tracer(state.model) if traced else None, float32_modules)


def take(
    state: State, kept: Capsule, config: TrialConfig, tracer: Tracer | None, float32_modules: frozenset[str]
) -> Taken:
    """One step from this state on the capsule's batch; the state is afterwards what the step made of it."""
    device = next(state.model.parameters()).device
    images, targets, valid = (part.to(device) for part in vars(kept.batch).values())
    health = Health(device)
    statistics = RunningStatistics(state.model) if config.guard_statistics else None
    weights = dict(state.model.named_parameters())
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    phase = partial(_set_phase, tracer)
    state.model.train()
    scale = state.scaler.get_scale()
    with tracer or nullcontext():
        with tracer.named() if tracer else nullcontext(), in_float32(state.model, float32_modules):
            outputs = forward(state.model, images, config)
        phase("loss")
        finite = health.finite_outputs(outputs, state.step)
        loss = build_loss(config)(finite, health.usable_targets(targets, state.step), valid)
        measured = health.watch_loss(loss, state.step)
        phase("backward")
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(loss).backward()
        phase("unscale")
        state.scaler.unscale_(state.optimizer)
        clip_unscaled(state.optimizer, config.clip_norm)
        gradients = {n: torch.zeros_like(w) if w.grad is None else w.grad.clone() for n, w in weights.items()}
        phase("optimizer_step")
        state.scaler.step(state.optimizer)
    skipped = was_skipped(state.scaler, state.optimizer)
    if skipped and statistics:
        statistics.put_back()
    outputs = outputs.detach()
    wrong = ((outputs == 0) & (targets > 0.5)) | ((outputs == 1) & (targets < 0.5))
    return Taken(
        first=tracer.first if tracer else None,
        outputs=range_of(outputs),
        loss=finite_or_none(float(measured)),
        scale=scale if config.amp else None,
        skipped=skipped,
        state_not_finite=non_finite_state(state.model),
        num_wrong_saturated=int((wrong & (valid > 0)).sum()) if config.head == "sigmoid" else 0,
        gradients=gradients,
        updates={name: weight.detach() - before[name] for name, weight in weights.items()},
        output_values=outputs,
    )


def _set_phase(tracer: Tracer | None, phase: str) -> None:
    if tracer:
        tracer.phase = phase


def leaf_modules(model: nn.Module) -> list[str]:
    """Full names of the modules that compute, in the order of the network's definition."""
    return [name for name, module in model.named_modules() if not list(module.children())]


@contextmanager
def in_float32(model: nn.Module, names: frozenset[str]) -> Iterator[None]:
    """Runs these modules outside autocast, on float32 inputs; what they give stays float32."""
    modules = [model.get_submodule(name) for name in names]
    try:
        for module in modules:
            module.forward = partial(_forward_in_float32, module.forward)  # type: ignore[method-assign]
        yield
    finally:
        for module in modules:
            del module.forward


def _forward_in_float32(inner: Any, *inputs: Tensor) -> Tensor:
    with _no_autocast(inputs[0].device.type):
        return inner(*(tensor.float() for tensor in inputs))


def _no_autocast(device_type: str) -> AbstractContextManager:
    """Switches off what trials.numerics.precision.autocast switched on."""
    return torch._C.DisableTorchFunction() if device_type == "cpu" else torch.autocast(device_type, enabled=False)
