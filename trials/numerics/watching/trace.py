"""The last steps of a training: loss, loss scale, and how far each weight tensor moved."""

import math
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from trials.numerics.finite import finite_or_none


@dataclass(frozen=True)
class Step:
    """One step of the trace. Tensors stay on the device until a capsule is written: scalars, and [weight tensors]."""

    step: int
    epoch: int | None
    index: int | None  # of the batch in its epoch, from 0
    lr: float
    loss: Tensor
    loss_scale: Tensor | float | None  # after the step; None without a GradScaler
    skipped: bool
    updates: Tensor  # norm of the step's change of each parameter tensor
    weights: Tensor  # and the norm of the tensor itself, at most RENEW_NORMS_EVERY steps before
    update_ratio: Tensor  # norm of the whole change over the norm of all weights before


def trace_lines(trace: list[Step]) -> list[dict[str, Any]]:
    """The trace as JSON can hold it; what is not finite is null."""
    return [
        {
            "step": step.step,
            "epoch": step.epoch,
            "batch": step.index,
            "lr": float(step.lr),
            "loss": finite_or_none(float(step.loss)),
            "loss_scale": None if step.loss_scale is None else finite_or_none(float(step.loss_scale)),
            "skipped": step.skipped,
            "update_ratio": finite_or_none(step.update_ratio.item()),
        }
        for step in trace
    ]


def jumps(trace: list[Step], names: list[str]) -> dict[str, float | None]:
    """For each weight tensor its largest update ratio in the trace over its median one; null where not finite.

    Biases are left out: they start at or near 0, where every ratio is large.
    """
    if not trace:
        return {}
    ratios = torch.stack([step.updates / step.weights for step in trace]).double().cpu()
    ratios = torch.nan_to_num(ratios, nan=math.inf)
    result: dict[str, float | None] = {}
    for index, name in enumerate(names):
        usual = median(ratios[:, index].tolist())
        if usual > 0 and not name.endswith("bias"):
            result[name] = finite_or_none(float(ratios[:, index].max()) / usual)
    return result
