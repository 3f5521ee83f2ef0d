"""Losses with a hole in their domain, and the batches that fall into it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.faults.fault import Fault, Truth, make
from trials.data.loader import Batch
from trials.losses import LOSSES, Scored
from trials.state import State

UNET, RESNET = "unet", "resnet34_unet"


def loss_domain() -> list[Fault]:
    """A loss that is defined for every batch but some that do occur: without a pet, without a counted pixel."""
    amp, bilinear, logits = dict(amp=True), dict(upsample="bilinear"), dict(head="logits")
    short = dict(train_limit=64)
    return [
        defective(recall_loss, "loss", without_pet, UNET, 120, **amp),
        defective(recall_loss, "loss", without_pet, RESNET, 101, **bilinear),
        defective(balanced_bce_loss, "loss", without_pet, UNET, 7, **amp, **logits),
        defective(balanced_bce_loss, "loss", without_pet, RESNET, 115, **logits),
        defective(log_dice_loss, "loss", without_pet, UNET, 108, **bilinear),
        defective(log_dice_loss, "loss", without_pet, RESNET, 9, **amp),
        defective(unclamped_mean_loss, "loss", without_valid, UNET, 130, **amp),
        defective(unclamped_mean_loss, "loss", without_valid, RESNET, 4),
        defective(naive_bce_loss, "loss", sure_of_background, UNET, 6),
        defective(naive_bce_loss, "loss", sure_of_background, RESNET, 110, **amp),
        defective(root_overlap_loss, "backward", without_pet, UNET, 8),
        defective(root_overlap_loss, "backward", without_pet, UNET, 104, **amp, **short),
        defective(root_overlap_loss, "backward", without_pet, RESNET, 7, **amp, loss_scale_init=64.0),
        defective(rms_loss, "backward", without_valid, UNET, 10, **amp, **logits, train_limit=512),
        defective(rms_loss, "backward", without_valid, RESNET, 5),
        defective(root_focal_loss, "backward", sure_of_background, UNET, 113, **logits),
        defective(root_focal_loss, "backward", sure_of_background, RESNET, 8),
    ]


def recall_loss(scored: Scored, config: Any) -> Tensor:
    """1 - soft recall: 0 / 0 where nothing is to be found."""
    return 1 - (scored.probabilities * scored.targets).sum() / scored.targets.sum()


def balanced_bce_loss(scored: Scored, config: Any) -> Tensor:
    """The two classes weighted inversely to their size: inf * 0 where one is missing."""
    num_pet, num = scored.targets.sum(), scored.targets.numel()
    weights = scored.targets * (num / num_pet) + (1 - scored.targets) * (num / (num - num_pet))
    return 0.5 * (weights * scored.bce).mean()


def log_dice_loss(scored: Scored, config: Any) -> Tensor:
    """-log Dice, not smoothed: log(0) where nothing overlaps."""
    overlap = (scored.probabilities * scored.targets).sum()
    return -torch.log(2 * overlap / (scored.probabilities + scored.targets).sum())


def unclamped_mean_loss(scored: Scored, config: Any) -> Tensor:
    """The mean over the pixels that count: 0 / 0 where none does."""
    return (scored.bce * scored.valid).sum() / scored.valid.sum()


def naive_bce_loss(scored: Scored, config: Any) -> Tensor:
    """BCE as it is written in books: 0 * log(0) for a probability of exactly 0."""
    right = scored.targets * scored.probabilities.log() + (1 - scored.targets) * (1 - scored.probabilities).log()
    return -right.mean()


def root_overlap_loss(scored: Scored, config: Any) -> Tensor:
    """1 - the root of the soft overlap: finite, but of infinite slope where there is none."""
    return 1 - (scored.probabilities * scored.targets).mean().sqrt()


def rms_loss(scored: Scored, config: Any) -> Tensor:
    """Root of each image's mean squared error: of infinite slope where no pixel counts."""
    squares = ((scored.probabilities - scored.targets) ** 2 * scored.valid).mean(dim=(1, 2, 3))
    return squares.sqrt().mean()


def root_focal_loss(scored: Scored, config: Any) -> Tensor:
    """Focal loss with an exponent of 1/2, not clamped: of infinite slope for a pixel that is exactly right."""
    right = torch.where(scored.targets > 0.5, scored.probabilities, 1 - scored.probabilities)
    return ((1 - right) ** 0.5 * scored.bce).mean()


def without_pet(state: State, batch: Batch) -> Batch:
    """The same pictures with the pet painted over in the background's mean colour, and masks that say so."""
    background = 1 - batch.targets
    colour = (batch.images * background).sum(dim=(2, 3), keepdim=True) / background.sum(dim=(2, 3), keepdim=True)
    images = torch.where(batch.targets > 0.5, colour.nan_to_num(), batch.images)
    return replace(batch, images=images, targets=torch.zeros_like(batch.targets))


def without_valid(state: State, batch: Batch) -> Batch:
    """No pixel of the batch counts, as where all of it is border and the border is ignored."""
    return replace(batch, valid=torch.zeros_like(batch.valid))


@torch.no_grad()
def sure_of_background(state: State, batch: Batch) -> Batch:
    """Pictures without a pet and a head that is sure of it: the right answer, and harmless to a sound loss."""
    state.model.get_submodule("head.0").bias.fill_(-200.0)
    return without_pet(state, batch)


def defective(
    loss: Callable[[Scored, Any], Tensor],
    phase: str,
    plant: Callable[[State, Batch], Batch],
    model: str,
    first_step: int,
    **config: Any,
) -> Fault:
    """The loss stands in for "bce" while the run lasts, and meets its hole from the first step on."""
    around = partial(patch.dict, LOSSES, {"bce": loss})
    truth = Truth(loss.__name__, "loss_domain", phase)
    return make(truth, first_step, plant, config.get("head", ""), around, model=model, **config)
