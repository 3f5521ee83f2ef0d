"""The loss scale below which no gradient survives in float16, from the loss that a run trains with."""

from trials.data.loader import Batch
from trials.losses import Loss

SMALLEST_BOUND = 0.25  # of a Loss, times the number of pixels


def gradients_vanish(loss_scale: float, batch: Batch, loss: Loss, *, min_loss_scale: float, amp_dtype: str) -> bool:
    """Whether the loss scale is so low that the run has diverged. min_loss_scale: 0: what the loss says."""
    if min_loss_scale > 0 or amp_dtype != "float16":
        return loss_scale <= min_loss_scale
    if loss_scale * SMALLEST_BOUND > batch.targets.numel() * 2.0**-23:
        return False  # whatever the loss and the targets are: the device is not waited for
    return loss_scale <= lowest_loss_scale(batch, loss)


def lowest_loss_scale(batch: Batch, loss: Loss) -> float:
    """The loss scale at which not even the largest gradient that a pixel of the batch can have survives in float16.

    It is two of float16's smallest steps (2**-24) there, so that half of it is one and a quarter of it nothing. 0 for
    a loss that states no bound (trials/losses.py).
    """
    return 2.0**-23 / loss.bound(batch.targets, batch.valid) if loss.bound else 0.0
