"""BatchNorm's running statistics beside the batches': what validation would be with others."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trials.data.loader import Batch
from trials.numerics.capsule import Capsule
from trials.numerics.explaining.remedies import Remedy
from trials.numerics.explaining.rerun import restored, take
from trials.numerics.watching.health import highest_loss
from trials.parts import build_loss

FAR = 2.0  # the statistics are to blame where the right ones at least halve the loss
Norms = dict[str, nn.modules.batchnorm._BatchNorm]


@dataclass(frozen=True)
class Validated:
    """The validation loss after the step under each kind of statistics, NaN where outputs are not finite."""

    best: float | None  # of the epochs before; in the first epoch the usual loss in training
    uninformed: float  # if every output said 0.5
    running: float
    of_batch: float  # each image batch normalised by itself
    recalibrated: float  # running statistics taken anew from the training batch
    module: str | None  # the one BatchNorm whose statistics, put right alone, help the most
    with_module_right: float

    def remedy(self, max_ratio: float) -> Remedy:
        """Statistics taken anew: judged by the validation, since the step itself is right."""
        finite = math.isfinite(self.recalibrated)
        worked = finite and self.recalibrated <= self._limit(max_ratio) if self.best is not None else None
        return Remedy("recalibrated_statistics", {}, finite, None, None, worked)

    def _limit(self, max_ratio: float) -> float:
        return -math.inf if self.best is None else highest_loss(self.best, self.uninformed, max_ratio)

    def is_explosion(self, max_ratio: float) -> bool:
        """Whether the statistics alone are to blame."""
        cured = min((loss for loss in (self.of_batch, self.recalibrated) if math.isfinite(loss)), default=math.nan)
        is_far = not math.isfinite(self.running) or FAR * cured < self.running
        return cured <= self._limit(max_ratio) and is_far


def validated(kept: Capsule, device: torch.device, usual_loss: float | None) -> Validated:
    """Takes the step, then validates on the capsule's validation images. usual_loss: of training, before it."""
    assert kept.validation is not None
    images = Batch(*(part.to(device) for part in vars(kept.validation).values()))
    training = kept.batch.images.to(device)
    state = restored(kept, device=device)
    take(state, kept, kept.config, None, frozenset())
    model = state.model
    norms: Norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    saved = {name: statistics_of(norm) for name, norm in norms.items()}
    running = loss_of(model.eval(), images, kept)
    of_batch = loss_of(model.train(), images, kept)
    right = batch_statistics(model, norms, images.images)
    recalibrated = loss_with(model, norms, batch_statistics(model, norms, training), images, kept)
    put(norms, saved)
    alone = {name: loss_with(model, norms, {**saved, name: right[name]}, images, kept) for name in norms}
    finite = {name: loss for name, loss in alone.items() if math.isfinite(loss)}
    best = min(finite, key=lambda name: finite[name], default=None)
    return Validated(
        best=usual_loss if kept.state.facts["best_val_loss"] is None else kept.state.facts["best_val_loss"],
        uninformed=float(build_loss(kept.config).uninformed(images.targets, images.valid)),
        running=running,
        of_batch=of_batch,
        recalibrated=recalibrated,
        module=best,
        with_module_right=finite[best] if best else math.nan,
    )


def statistics_of(norm: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor]:
    """Running mean and variance, copied."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean.clone(), norm.running_var.clone()


def put(norms: Norms, statistics: dict[str, tuple[Tensor, Tensor]]) -> None:
    """Makes these the running statistics."""
    for name, (mean, variance) in statistics.items():
        assert norms[name].running_mean is not None
        assert norms[name].running_var is not None
        norms[name].running_mean.copy_(mean)  # type: ignore[union-attr]  # asserted
        norms[name].running_var.copy_(variance)  # type: ignore[union-attr]  # asserted


@torch.no_grad()
def batch_statistics(model: nn.Module, norms: Norms, images: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """What each BatchNorm sees in training on these images; the model's running statistics become these."""
    momenta = {name: norm.momentum for name, norm in norms.items()}
    for norm in norms.values():
        norm.reset_running_stats()
        norm.momentum = 1.0
    model.train()
    model(images)
    for name, norm in norms.items():
        norm.momentum = momenta[name]
    return {name: statistics_of(norm) for name, norm in norms.items()}


def loss_with(
    model: nn.Module, norms: Norms, statistics: dict[str, tuple[Tensor, Tensor]], images: Batch, kept: Capsule
) -> float:
    """The loss in evaluation under these running statistics."""
    put(norms, statistics)
    return loss_of(model.eval(), images, kept)


@torch.no_grad()
def loss_of(model: nn.Module, images: Batch, kept: Capsule) -> float:
    """The loss without autocast, as validation has it; NaN where outputs are not finite."""
    outputs = model(images.images)
    if not torch.isfinite(outputs).all():
        return math.nan
    return float(build_loss(kept.config)(outputs, images.targets, images.valid))
