"""A captured step, run again: as it was, under the tracer, or under other settings."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.utils._pytree import tree_map

from trials.numerics.capsule import Capsule
from trials.numerics.explaining.operator_tracer import FirstBad, Range, Tracer, range_of
from trials.numerics.finite import finite_or_none, non_finite_state
from trials.numerics.precision import no_autocast
from trials.numerics.run import Run, StepSettings, Training
from trials.numerics.training_state import RunningStatistics, SavedState, clip_unscaled, put_together

CPU = torch.device("cpu")


@dataclass(frozen=True)
class StepResult:
    """What a step did. Gradients and updates are in the shapes of the weights, outputs in those that they came in."""

    first: FirstBad | None  # None: not traced, or every operation made finite values out of finite ones
    outputs: Range | None  # of the tensor with the most values that are not finite; None where the network gave none
    loss: float | None  # the last batch's; None where it is not finite, or that of outputs or targets that are not
    scale: float | None  # the loss scale of the step; None without a GradScaler
    skipped: bool  # by GradScaler
    state_not_finite: str | None  # weights or buffers after the step
    num_wrong_saturated: int  # outputs that are exactly 0 or 1, and whose gradient is not finite
    gradients: dict[str, Tensor] = field(repr=False, compare=False)  # unscaled and clipped, as the optimiser got them
    updates: dict[str, Tensor] = field(repr=False, compare=False)  # changes of the weights, in the model's order
    output_values: tuple[Tensor, ...] = field(repr=False, compare=False)  # what the network gave for the last batch

    @property
    def is_finite(self) -> bool:
        """Outputs, loss, weights and buffers, and the step was taken."""
        bad = (self.outputs and self.outputs.num_not_finite) or self.loss is None or self.state_not_finite
        return not bad and not self.skipped


def restored(capsule: Capsule, run: Run, device: torch.device = CPU, of: SavedState | None = None) -> Training:
    """The training before the event's step, or in the state given."""
    training = run.build(device)
    put_together(training, of or capsule.state)
    return training


def rerun(
    capsule: Capsule, run: Run, settings: StepSettings, *, device: torch.device = CPU, traced: bool = False
) -> StepResult:
    """The event's step from the state before it, under these settings."""
    training = restored(capsule, run, device)
    return take_step(training, capsule, run, settings, Tracer(training.model) if traced else None)


def take_step(
    training: Training, capsule: Capsule, run: Run, settings: StepSettings, tracer: Tracer | None = None
) -> StepResult:
    """One step from this training's state on the capsule's batches; it is afterwards what the step made of it."""
    model, optimizers = training.model, training.optimizers
    scaler = training.scaler if settings.is_scaled else None
    if scaler is not None and settings.loss_scale is not None:
        scaler.update(new_scale=settings.loss_scale)
    scale = scaler.get_scale() if scaler is not None else None
    statistics = RunningStatistics(model) if settings.guard_statistics else None
    weights = dict(model.named_parameters())
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    to_train_mode(model, capsule.facts.get("eval_modules", ()))
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    with tracer or nullcontext():
        seen = [_accumulate(model, batch, run, settings, scaler, tracer) for batch in capsule.batches]
        _enter_phase(tracer, "unscale")
        for optimizer in optimizers if scaler is not None else ():
            scaler.unscale_(optimizer)
        clip_unscaled(optimizers, settings.clip_norm)
        gradients = {n: torch.zeros_like(w) if w.grad is None else w.grad.clone() for n, w in weights.items()}
        _enter_phase(tracer, "optimizer_step")
        skipped = _update(optimizers, scaler)
    if skipped and statistics:
        statistics.put_back()
    outputs, measured, _ = seen[-1]
    return StepResult(
        first=tracer.first if tracer else None,
        outputs=worst_range(outputs),
        loss=finite_or_none(float(measured)),
        scale=scale,
        skipped=skipped,
        state_not_finite=non_finite_state(model),
        num_wrong_saturated=sum(num for _, _, num in seen),
        gradients=gradients,
        updates={name: weight.detach() - before[name] for name, weight in weights.items()},
        output_values=outputs,
    )


def to_train_mode(model: nn.Module, eval_modules: Any) -> None:
    """Training mode, but for the modules that the run had in evaluation mode (a frozen BatchNorm, for one)."""
    model.train()
    for name in eval_modules:
        model.get_submodule(name).training = False


def _accumulate(
    model: nn.Module,
    batch: Any,
    run: Run,
    settings: StepSettings,
    scaler: GradScaler | None,
    tracer: Tracer | None,
) -> tuple[tuple[Tensor, ...], Tensor, int]:
    """Forward and backward of one batch: outputs, the measured loss, and how many outputs are wrongly saturated."""
    moved = on_device(batch, next(model.parameters()).device)
    with tracer.named() if tracer else nullcontext(), in_float32(model, settings.float32_modules):
        loss = run.loss(model, moved, settings)
    gradients: dict[int, Tensor] = {}
    for index, output in enumerate(loss.outputs):
        if output.requires_grad:
            output.register_hook(lambda gradient, index=index: gradients.update({index: gradient}))
    _enter_phase(tracer, "backward")
    (scaler.scale(loss.loss) if scaler is not None else loss.loss).backward()
    outputs = tuple(output.detach() for output in loss.outputs)
    with torch.no_grad():
        wrong = sum(num_wrong_saturated(outputs[index], gradient) for index, gradient in gradients.items())
    return outputs, loss.measured.detach(), wrong


def on_device(batch: Any, device: torch.device) -> Any:
    """The batch with its tensors on the device."""

    def moved(leaf: Any) -> Any:
        if isinstance(leaf, SimpleNamespace):
            return SimpleNamespace(**on_device(vars(leaf), device))
        return leaf.to(device) if isinstance(leaf, Tensor) else leaf

    return tree_map(moved, batch)


def _enter_phase(tracer: Tracer | None, phase: str) -> None:
    if tracer:
        tracer.phase = phase


def _update(optimizers: tuple[Optimizer, ...], scaler: GradScaler | None) -> bool:
    """The optimisers' step; whether GradScaler skipped one of them."""
    if scaler is None:
        for optimizer in optimizers:
            optimizer.step()
        return False
    for optimizer in optimizers:
        scaler.step(optimizer)
    return any(float(is_inf) for optimizer in optimizers for is_inf in scaler._found_inf_per_device(optimizer).values())


def num_wrong_saturated(outputs: Tensor, gradient: Tensor) -> int:
    """How many probabilities (all outputs are within 0 to 1) are exactly 0 or 1 and have a gradient that is not finite.

    outputs, gradient: of one shape, any.

    Such an output is on the wrong side of its target: binary cross entropy has a slope of 1e12 over the number of
    values there, which half precision cannot hold at any usual loss scale.
    """
    if not outputs.numel() or not bool(((outputs >= 0) & (outputs <= 1)).all()):
        return 0
    return int((((outputs == 0) | (outputs == 1)) & ~torch.isfinite(gradient)).sum())


def worst_range(outputs: tuple[Tensor, ...]) -> Range | None:
    """The range of the tensor, of any shape, with the most values that are not finite; of several the first."""
    return max((range_of(each) for each in outputs), key=lambda each: each.num_not_finite, default=None)


def leaf_modules(model: nn.Module) -> list[str]:
    """Full names of the modules that hold no others, in the order of the network's definition."""
    return [name for name, module in model.named_modules() if not list(module.children())]


@contextmanager
def in_float32(model: nn.Module, names: frozenset[str]) -> Iterator[None]:
    """Runs these modules outside autocast, on float32 inputs; what they give stays float32."""
    modules = [model.get_submodule(name) for name in names]
    own = [vars(module).get("forward") for module in modules]
    try:
        for module in modules:
            module.forward = partial(_forward_in_float32, module.forward)  # type: ignore[method-assign]
        yield
    finally:
        for module, forward in zip(modules, own, strict=True):
            del module.forward
            if forward is not None:  # somebody had put one there before
                module.forward = forward  # type: ignore[method-assign]


def _forward_in_float32(inner: Any, *inputs: Any, **named: Any) -> Any:
    tensors: list[Tensor] = []
    tree_map(lambda leaf: tensors.append(leaf) if isinstance(leaf, Tensor) else None, (inputs, named))
    with no_autocast(tensors[0].device.type if tensors else "cpu"):
        return inner(*tree_map(_widened, inputs), **tree_map(_widened, named))


def _widened(value: Any) -> Any:
    is_half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if is_half else value
