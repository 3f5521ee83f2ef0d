"""When a layer that grows will pass float16's limit, from its largest activations so far."""

import math
from collections.abc import Mapping

import torch

from trials.numerics.watching.layers import HALF_MAX

FORECAST_EPOCHS = 8  # how many epochs a forecast looks back
FORECAST_LIMIT = 1000  # and the farthest it says


def first_overflow(largest: Mapping[str, Mapping[int, float]], epoch: int) -> tuple[str | None, float | None]:
    """The layer that reaches float16's limit first, and in how many epochs from this one; None, None."""
    found = {layer: left for layer, own in largest.items() if (left := epochs_until_overflow(own, epoch)) is not None}
    layer = min(found, key=lambda name: found[name], default=None)
    return (layer, found[layer]) if layer is not None else (None, None)


def epochs_until_overflow(largest: Mapping[int, float], epoch: int) -> float | None:
    """In how many epochs from this one a layer's largest activation reaches float16's limit, if it grows on as it did.

    largest: by epoch; those that are not finite, or older than FORECAST_EPOCHS, are left out. A straight line through
    the logarithms; None where there are fewer than four, where it does not grow, or where it is farther away than
    FORECAST_LIMIT.
    """
    recent = {
        at: value
        for at, value in largest.items()
        if epoch - FORECAST_EPOCHS < at <= epoch and math.isfinite(value) and value > 0
    }
    if len(recent) < 4:
        return None
    epochs = torch.tensor(list(recent), dtype=torch.float64)
    logs = torch.tensor(list(recent.values()), dtype=torch.float64).log2()
    slope = ((epochs - epochs.mean()) * (logs - logs.mean())).sum() / ((epochs - epochs.mean()) ** 2).sum()
    if slope <= 0:
        return None
    left = float((math.log2(HALF_MAX) - logs[-1]) / slope + epochs[-1]) - epoch
    return max(0.0, left) if left <= FORECAST_LIMIT else None
