"""What is finite, on the device without waiting for it; and how JSON holds what is not."""

import math
from typing import Any

import torch
from torch import Tensor, nn


def finite_or_none(value: Any) -> Any:
    """None for the floats that strict JSON cannot hold; everything else as it is."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def all_finite(values: Tensor) -> Tensor:
    """Whether all values are finite: a bool scalar, not waited for. One pass: NaN is both least and largest."""
    least, largest = torch.aminmax(values.detach())
    limit = torch.finfo(values.dtype).max
    return (least >= -limit) & (largest <= limit)


def can_be_non_finite(value: object) -> bool:
    """Whether this is a tensor of floats that holds at least one value."""
    return isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 0


def non_finite_state(model: nn.Module) -> str | None:
    """ "weights" or "buffers" if one of them holds a value that is not finite."""
    for where, tensors in (("weights", model.parameters()), ("buffers", model.buffers())):
        finite = [torch.isfinite(tensor).all() for tensor in tensors if tensor.is_floating_point()]
        if finite and not torch.stack(finite).all():
            return where
    return None
