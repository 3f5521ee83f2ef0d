"""Losses on float32 outputs, outside autocast. A new one is a function and a line in LOSSES.

A line in GRADIENT_BOUNDS says how large its gradient can be; without one, no loss scale counts as too low for it.

Each takes a `Scored` batch and gives one number; what else it takes are settings of these names (trials/parts.py).
Pixels with `valid` 0 (the border, where it is ignored) take no part.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

DICE_LOSS_SMOOTH = 1.0  # keeps the gradient of an empty batch finite


@dataclass(frozen=True)
class Scored:
    """A batch's outputs beside its targets; every field is float32 B,1,H,W."""

    outputs: Tensor  # of the head: probabilities or logits
    probabilities: Tensor
    bce: Tensor  # binary cross entropy of each pixel
    targets: Tensor  # 1 = pet
    valid: Tensor  # 0 = pixel not counted


def score(outputs: Tensor, targets: Tensor, valid: Tensor, head: str) -> Scored:
    """Outputs of the head (probabilities or logits, B,1,H,W, any float dtype) beside their targets.

    The outputs must be finite: binary cross entropy refuses NaN (trials/numerics/watching/health.py looks before).
    """
    outputs = outputs.float()
    if head == "sigmoid":
        bce = F.binary_cross_entropy(outputs, targets, reduction="none")
        return Scored(outputs, outputs, bce, targets, valid)
    bce = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
    return Scored(outputs, torch.sigmoid(outputs), bce, targets, valid)


def bce_loss(scored: Scored) -> Tensor:
    """Mean binary cross entropy (the Lab 2 report's loss), a scalar."""
    return (scored.bce * scored.valid).sum() / scored.valid.sum().clamp(min=1)


def dice_loss(scored: Scored) -> Tensor:
    """1 - soft Dice over all pixels of the batch, a scalar (Milletari et al. 2016, arXiv 1606.04797)."""
    overlap = (scored.probabilities * scored.targets * scored.valid).sum()
    total = ((scored.probabilities + scored.targets) * scored.valid).sum()
    return 1 - (2 * overlap + DICE_LOSS_SMOOTH) / (total + DICE_LOSS_SMOOTH)


def bce_dice_loss(scored: Scored) -> Tensor:
    """The sum of both, a scalar."""
    return bce_loss(scored) + dice_loss(scored)


def focal_loss(scored: Scored, focal_gamma: float) -> Tensor:
    """BCE weighted by (1 - probability of the truth) ** focal_gamma, a scalar (Lin et al. 2017, arXiv 1708.02002)."""
    right = torch.where(scored.targets > 0.5, scored.probabilities, 1 - scored.probabilities)
    wrong = (1 - right).clamp(min=1e-6)  # at 0 the slope of a root is infinite, and times a BCE of 0 it is NaN
    weight = wrong**focal_gamma * scored.valid
    return (weight * scored.bce).sum() / scored.valid.sum().clamp(min=1)


def hard_bce_loss(scored: Scored, hard_fraction: float) -> Tensor:
    """Mean BCE of the hardest `hard_fraction` of the batch's pixels, a scalar.

    Online hard example mining (Shrivastava et al. 2016, arXiv 1604.03540).
    """
    bce = (scored.bce * scored.valid).flatten()
    return bce.topk(num_hard(scored.valid, hard_fraction)).values.mean()


def num_hard(valid: Tensor, hard_fraction: float) -> int:
    """How many pixels of valid (B,1,H,W) `hard_bce_loss` takes, at least one."""
    return max(1, round(hard_fraction * int(valid.sum())))


LOSSES = {
    "bce": bce_loss,
    "dice": dice_loss,
    "bce_dice": bce_dice_loss,
    "focal": focal_loss,
    "hard_bce": hard_bce_loss,
}


@dataclass(frozen=True)
class Loss:
    """A loss with its settings.

    of: `Scored` -> a scalar. bound: what the gradient with respect to any logit of a batch cannot exceed, whatever the
    network says, a number above 0, from targets and valid B,1,H,W; None where the loss states none. head: of the
    outputs that it takes.
    """

    of: Callable[[Scored], Tensor]
    bound: Callable[[Tensor, Tensor], float] | None
    head: str

    def __call__(self, outputs: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
        """Of the head's finite outputs, targets and valid, each B,1,H,W -> a scalar."""
        return self.of(score(outputs, targets, valid, self.head))

    def uninformed(self, targets: Tensor, valid: Tensor) -> Tensor:
        """The loss where every output says 0.5; B,1,H,W -> a scalar."""
        outputs = torch.full_like(targets, 0.5 if self.head == "sigmoid" else 0.0)
        return self(outputs, targets, valid)


def bce_bound(targets: Tensor, valid: Tensor) -> float:
    """p - t over the number of pixels; p is the probability of the logit, t its target (targets and valid: B,1,H,W)."""
    return 1 / max(1.0, float(valid.sum()))


def dice_bound(targets: Tensor, valid: Tensor) -> float:
    """p (1 - p), at most 1/4, times a slope of at most 2 / (sum of p and t); p may be 0 everywhere else.

    targets, valid: B,1,H,W.
    """
    return 0.5 / (float((targets * valid).sum()) + DICE_LOSS_SMOOTH)


def bce_dice_bound(targets: Tensor, valid: Tensor) -> float:
    """The sum of both; targets, valid: B,1,H,W."""
    return bce_bound(targets, valid) + dice_bound(targets, valid)


def focal_bound(targets: Tensor, valid: Tensor, focal_gamma: float) -> float:
    """The slope of -w**gamma log(1 - w) by the logit, w the probability of the wrong class; largest at or before 1.

    targets, valid: B,1,H,W.
    """
    wrong = torch.linspace(0, 1, 1001, dtype=torch.float64)
    right, gamma = 1 - wrong, focal_gamma
    slope = wrong**gamma * (wrong - gamma * torch.xlogy(right, right))
    return float(slope.max()) * bce_bound(targets, valid)


def hard_bce_bound(targets: Tensor, valid: Tensor, hard_fraction: float) -> float:
    """As BCE, over the pixels that are taken; targets, valid: B,1,H,W."""
    return 1 / num_hard(valid, hard_fraction)


# Each takes targets and valid B,1,H,W, and its loss's settings: see Loss.bound.
GRADIENT_BOUNDS: dict[str, Callable[..., float]] = {
    "bce": bce_bound,
    "dice": dice_bound,
    "bce_dice": bce_dice_bound,
    "focal": focal_bound,
    "hard_bce": hard_bce_bound,
}
