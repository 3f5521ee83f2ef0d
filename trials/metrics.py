"""How well a batch is segmented, as settled from the Lab 2 report ("What it leaves open")."""

from dataclasses import dataclass

import torch
from torch import Tensor

SOFT_DICE_SMOOTH = 1e-8  # the Lab 2 report's s


@dataclass(frozen=True)
class Overlap:
    """Dice and IoU of each image, float64 [B]."""

    dice: Tensor
    iou: Tensor


def overlap_per_image(predicted: Tensor, targets: Tensor, valid: Tensor) -> Overlap:
    """Masks as bool B,... -> Dice and IoU of each image over its valid pixels; empty against empty is 1."""
    predicted, targets, valid = (mask.bool().flatten(1) for mask in (predicted, targets, valid))
    # int64: float32 stops counting at 2**24 pixels, 64 masks of 512 x 512
    both = (predicted & targets & valid).sum(1, dtype=torch.int64)
    total = (predicted & valid).sum(1, dtype=torch.int64) + (targets & valid).sum(1, dtype=torch.int64)
    either = total - both
    empty = total == 0
    dice = torch.where(empty, 1.0, 2.0 * both.double() / total.clamp(min=1))
    iou = torch.where(empty, 1.0, both.double() / either.clamp(min=1))
    return Overlap(dice, iou)


def soft_batch_dice(probabilities: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """The Lab 2 report's Dice: probabilities not thresholded, all pixels of the batch at once; a float64 scalar."""
    probabilities, targets, valid = probabilities.double(), targets.double(), valid.double()
    overlap = (probabilities * targets * valid).sum()
    total = ((probabilities + targets) * valid).sum()
    return (2 * overlap + SOFT_DICE_SMOOTH) / (total + SOFT_DICE_SMOOTH)
