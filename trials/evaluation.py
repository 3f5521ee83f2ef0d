"""A network on a split of the data, without autocast and without augmentation; and its masks, written down."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

from trials.data.loader import Batch
from trials.losses import Loss, bce_loss, score
from trials.metrics import overlap_per_image, soft_batch_dice
from trials.numerics.whole_files import replacement

BEST_MASKS, BEST_SCORES = "best_validation.safetensors", "best_validation.csv"


@dataclass(frozen=True)
class Evaluation:
    """loss, bce: mean over images; dice_soft: mean over batches; dice, iou: each image's, float64 N.

    uninformed_loss: what the loss would be if every output said 0.5.
    masks_packed: uint8 N,ceil(H*W/8), np.packbits of each predicted mask.
    """

    loss: float
    uninformed_loss: float
    bce: float
    dice_soft: float
    dice: np.ndarray
    iou: np.ndarray
    masks_packed: np.ndarray


@torch.inference_mode()
def evaluate(model: nn.Module, batches: Iterable[Batch], loss: Loss) -> Evaluation | None:
    """The scores on these pictures, one batch at least; None where the network's output is not finite."""
    model.eval()
    losses, uninformed, bces, soft, dice, iou, masks, sizes = [], [], [], [], [], [], [], []
    for batch in batches:
        outputs = model(batch.images)
        if not torch.isfinite(outputs).all():  # binary cross entropy refuses NaN
            return None
        scored = score(outputs, batch.targets, batch.valid, loss.head)
        predicted = scored.probabilities > 0.5
        overlap = overlap_per_image(predicted, batch.targets, batch.valid)
        losses.append(loss.of(scored).item())
        uninformed.append(loss.uninformed(batch.targets, batch.valid).item())
        bces.append(bce_loss(scored).item())
        soft.append(soft_batch_dice(scored.probabilities, batch.targets, batch.valid).item())
        dice.append(overlap.dice.cpu().numpy())
        iou.append(overlap.iou.cpu().numpy())
        masks.append(np.packbits(predicted.flatten(1).cpu().numpy(), axis=1))
        sizes.append(len(predicted))
    return Evaluation(
        loss=float(np.average(losses, weights=sizes)),
        uninformed_loss=float(np.average(uninformed, weights=sizes)),
        bce=float(np.average(bces, weights=sizes)),
        dice_soft=float(np.mean(soft)),
        dice=np.concatenate(dice),
        iou=np.concatenate(iou),
        masks_packed=np.concatenate(masks),
    )


def write_best_validation(folder: Path, evaluation: Evaluation, names: Sequence[str], epoch: int, size_px: int) -> None:
    """best_validation.safetensors (packed masks) and best_validation.csv (name, dice, iou), whole or not at all."""
    masks, scores = folder / BEST_MASKS, folder / BEST_SCORES
    metadata = {"epoch": str(epoch), "height_px": str(size_px), "width_px": str(size_px)}
    with replacement(masks) as partial:
        save_file({"masks_packed": evaluation.masks_packed}, str(partial), metadata)
    with replacement(scores) as partial:
        write_scores(partial, zip(names, evaluation.dice, evaluation.iou, strict=True))


def remove_best_validation(folder: Path) -> None:
    """What `write_best_validation` wrote of an epoch that is the best no more."""
    for name in (BEST_MASKS, BEST_SCORES):
        (folder / name).unlink(missing_ok=True)


def write_scores(path: Path, rows) -> None:
    """A CSV table of (name, dice, iou)."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "dice", "iou"])
        writer.writerows([name, f"{dice:.6f}", f"{iou:.6f}"] for name, dice, iou in rows)
