"""The state of a training, taken apart into named tensors and put together again; and what guards parts of it."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from trials.numerics.run import Training


@dataclass(frozen=True)
class SavedState:
    """A state: its tensors by name, in their shapes, and what is not a tensor, as JSON can hold it."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def tensors_of(training: Training) -> dict[str, Tensor]:
    """Every tensor that a step depends on and changes, by name; not copied, and the device is not waited for.

    In the shapes that they have: model.NAME; optimizer.INDEX.SLOT, the index that of the parameter over all optimisers;
    scaler.scale and scaler.growth_tracker. A parameter that two modules share appears once.
    """
    tensors: dict[str, Tensor] = {f"model.{name}": tensor for name, tensor in training.model.named_parameters()}
    tensors |= {f"model.{name}": tensor for name, tensor in training.model.named_buffers()}
    for index, slots in _slots(training.optimizers):
        tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items() if isinstance(value, Tensor)}
    return tensors | scaler_tensors(training.scaler)


def scaler_tensors(scaler: GradScaler | None) -> dict[str, Tensor]:
    """The scale and the growth tracker, scalars; get_scale() would wait for the device."""
    if scaler is None or not scaler.is_enabled() or scaler._scale is None or scaler._growth_tracker is None:
        return {}
    return {"scaler.scale": scaler._scale, "scaler.growth_tracker": scaler._growth_tracker}


def _slots(optimizers: Iterable[Optimizer]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The optimiser's own values of each parameter that it has some of, with the parameter's index."""
    for index, (optimizer, parameter) in enumerate(_optimized(optimizers)):
        if parameter in optimizer.state:
            yield index, optimizer.state[parameter]


def _optimized(optimizers: Iterable[Optimizer]) -> list[tuple[Optimizer, Tensor]]:
    return [
        (optimizer, parameter)
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]


def optimized_names(training: Training) -> list[str]:
    """The model's names of the parameters in the optimisers' order; "" for one that is not the model's."""
    names = {id(parameter): name for name, parameter in training.model.named_parameters()}
    return [names.get(id(parameter), "") for _, parameter in _optimized(training.optimizers)]


def facts_of(optimizers: Iterable[Optimizer], *, with_numbers: bool = True) -> dict[str, Any]:
    """Of the optimisers what a step depends on and is no tensor; does not wait for the device.

    with_numbers: what they keep of each parameter as a plain number is looked for, too.
    """
    groups = [
        {name: _plain(value) for name, value in group.items() if name != "params"}
        for optimizer in optimizers
        for group in optimizer.param_groups
    ]
    numbers = {
        str(index): {name: value for name, value in slots.items() if isinstance(value, int | float | bool)}
        for index, slots in (_slots(optimizers) if with_numbers else ())
    }
    return {"optimizer_groups": groups, "optimizer_numbers": {key: own for key, own in numbers.items() if own}}


def _plain(value: Any) -> Any:
    """A tensor (a learning rate, for one) stays one until the capsule is written."""
    return value.detach().clone() if isinstance(value, Tensor) else value


def put_together(training: Training, saved: SavedState) -> None:
    """Makes the training what was taken apart, torch's random numbers included.

    Raises ValueError, naming them, where the model has other parameters or buffers than the state.
    """
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "scaler": {}, "rng": {}}
    for name, tensor in saved.tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    _fill_model(training.model, parts["model"])
    _fill_optimizers(training.optimizers, parts["optimizer"], saved.facts)
    if training.scaler is not None and training.scaler.is_enabled() and parts["scaler"]:
        _fill_scaler(training.scaler, float(parts["scaler"]["scale"]), int(parts["scaler"]["growth_tracker"]))
    torch.set_rng_state(parts["rng"]["cpu"])
    if "cuda" in parts["rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(parts["rng"]["cuda"])


@torch.no_grad()
def _fill_model(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    missing = [name for name in missing if own[name].numel()]
    shapes = [name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape]
    wrong = [name for name in shapes if isinstance(own[name], nn.Parameter)]
    if missing or unknown or wrong:
        parts = (("only here", missing), ("only in the capsule", unknown), ("of another shape", wrong))
        listed = "; ".join(f"{word}: {', '.join(names[:4])}" for word, names in parts if names)
        raise ValueError(f"the model is not the captured one ({listed}); build it as the run did")
    for name, tensor in own.items():
        if name in shapes:  # a buffer that is made while the network runs
            module, _, leaf = name.rpartition(".")
            model.get_submodule(module)._buffers[leaf] = tensors[name].to(tensor.device)
        elif name in tensors:
            tensor.copy_(tensors[name])


def _fill_optimizers(optimizers: Iterable[Optimizer], tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    slots: dict[int, dict[str, Any]] = {}
    for index, numbers in facts.get("optimizer_numbers", {}).items():
        slots.setdefault(int(index), {}).update(numbers)
    for name, tensor in tensors.items():
        index, _, slot = name.partition(".")
        slots.setdefault(int(index), {})[slot] = tensor.clone()
    groups, first = list(facts["optimizer_groups"]), 0
    for optimizer in optimizers:
        own = optimizer.state_dict()["param_groups"]
        num = sum(len(group["params"]) for group in own)
        if len(groups) < len(own):
            raise ValueError("the optimiser has more parameter groups than the captured one; build it as the run did")
        filled = [{**groups.pop(0), "params": group["params"]} for group in own]
        state = {index - first: slot for index, slot in slots.items() if first <= index < first + num}
        optimizer.load_state_dict({"state": state, "param_groups": filled})
        first += num


def _fill_scaler(scaler: GradScaler, scale: float, tracker: int) -> None:
    if scaler._scale is None:  # it makes its tensors at its first use
        scaler._lazy_init_scale_growth_tracker(torch.device(scaler._device))
    scaler.load_state_dict({**scaler.state_dict(), "scale": scale, "_growth_tracker": tracker})
    scaler.update(new_scale=scale)  # which also forgets a step that was taken before


class RunningStatistics:
    """BatchNorm's running statistics, which one overflowing forward pass poisons although GradScaler skips its step.

    (pytorch issue 88474.) `save` before the forward pass, `put_back` where the step was skipped.
    """

    def __init__(self, model: nn.Module):
        self._buffers = [
            buffer
            for module in model.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
            for buffer in module.buffers()
        ]
        self._saved = [buffer.clone() for buffer in self._buffers]

    def save(self) -> None:
        """Remembers the statistics as they are."""
        self._copy(self._buffers, self._saved)

    def put_back(self) -> None:
        """Forgets what came since."""
        self._copy(self._saved, self._buffers)

    @staticmethod
    def _copy(sources: list[Tensor], targets: list[Tensor]) -> None:
        for source, target in zip(sources, targets, strict=True):
            target.copy_(source)


def clip_unscaled(optimizers: Iterable[Optimizer], max_norm: float) -> None:
    """Clips the norm of gradients that are unscaled already, all optimisers' together; 0 leaves them alone."""
    if max_norm > 0:
        nn.utils.clip_grad_norm_([parameter for _, parameter in _optimized(optimizers)], max_norm)


def cosine(one: Iterable[Tensor], other: Iterable[Tensor]) -> float:
    """The cosine between two lists of tensors of the same shapes, each as one long vector; NaN where one is zero."""
    one, other = list(one), list(other)
    dot = sum(float((a.double() * b.double()).sum()) for a, b in zip(one, other, strict=True))
    norms = [math.sqrt(sum(float(t.double().square().sum()) for t in tensors)) for tensors in (one, other)]
    return dot / (norms[0] * norms[1]) if all(norm > 0 for norm in norms) else math.nan
