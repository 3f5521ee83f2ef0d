"""What keeps a run healthy; each guard is a TrialConfig field, and so an axis of a space."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from trials.numerics.training_state import clip_unscaled

ON_DIVERGENCE = ("stop", "continue", "rollback")


def clip(scaler: GradScaler, optimizer: Optimizer, max_norm: float) -> None:
    """Clips the gradients' norm, after they are unscaled; 0 leaves them alone.

    Before, it would be the scaled norm; and an infinite one would turn the rest into NaN (here the step is skipped).
    """
    if max_norm > 0:
        scaler.unscale_(optimizer)
        clip_unscaled((optimizer,), max_norm)


@contextmanager
def counted_steps(optimizer: Optimizer) -> Iterator[list[None]]:
    """A list that is empty still after GradScaler.step() where that skipped the optimiser's step.

    step() has waited for the device to decide it; asking GradScaler again would wait once more.
    """
    taken: list[None] = []
    handle = optimizer.register_step_post_hook(lambda *_: taken.append(None))
    try:
        yield taken
    finally:
        handle.remove()


def keep_above(scaler: GradScaler, floor: float) -> None:
    """Raises the loss scale to the floor where it fell below, on the device; 0: no floor.

    Apex, DeepSpeed and Megatron have a floor, torch has not.
    """
    if floor > 0 and scaler.is_enabled():
        scaler._scale.clamp_(min=floor)
