"""What keeps a run healthy; each guard is a TrialConfig field, and so an axis of a space."""

from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

ON_DIVERGENCE = ("stop", "continue", "rollback")


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


def clip(scaler: GradScaler, optimizer: Optimizer, max_norm: float) -> None:
    """Clips the gradients' norm, after they are unscaled; 0 leaves them alone.

    Before, it would be the scaled norm; and an infinite one would turn the rest into NaN (here the step is skipped).
    """
    if max_norm > 0:
        scaler.unscale_(optimizer)
        clip_unscaled(optimizer, max_norm)


def clip_unscaled(optimizer: Optimizer, max_norm: float) -> None:
    """Clips the norm of gradients that are unscaled already; 0 leaves them alone."""
    if max_norm > 0:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(parameters, max_norm)


def was_skipped(scaler: GradScaler, optimizer: Optimizer) -> bool:
    """Whether GradScaler skipped the optimiser's step, asked between its step() and its update().

    step() has waited for the device to learn this; asking again costs nothing more.
    """
    return scaler.is_enabled() and any(float(found) for found in scaler._found_inf_per_device(optimizer).values())


def keep_above(scaler: GradScaler, floor: float, scale: float) -> float:
    """Raises the loss scale, which is `scale` now, to the floor where it fell below, and gives it.

    Apex, DeepSpeed and Megatron have a floor, torch has not.
    """
    if floor <= scale:
        return scale
    scaler.update(new_scale=floor)
    return floor
