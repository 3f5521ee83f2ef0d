"""BatchNorm's running statistics beside the batches': what validation would be with others."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trials.numerics.capsule import Capsule
from trials.numerics.explaining.remedies import Remedy
from trials.numerics.explaining.rerun import on_device, restored, take_step
from trials.numerics.run import Knowledge, Run, StepSettings
from trials.numerics.watching.health import highest_loss

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


def validated(
    capsule: Capsule, run: Run, known: Knowledge, device: torch.device, usual_loss: float | None
) -> Validated:
    """Takes the step, then validates on the capsule's validation batch. usual_loss: of training, before it."""
    images, training_batch = on_device(capsule.validation, device), on_device(capsule.batches[-1], device)
    training = restored(capsule, run, device)
    take_step(training, capsule, run, known.settings)
    model = training.model
    norms: Norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    norms = {name: norm for name, norm in norms.items() if norm.track_running_stats}
    saved = {name: statistics_of(norm) for name, norm in norms.items()}
    running = loss_of(model.eval(), images, run)
    of_batch = loss_of(model.train(), images, run)
    right = batch_statistics(model, norms, images, run)
    recalibrated = loss_with(model, norms, batch_statistics(model, norms, training_batch, run), images, run)
    put(norms, saved)
    alone = {name: loss_with(model, norms, {**saved, name: right[name]}, images, run) for name in norms}
    finite = {name: loss for name, loss in alone.items() if math.isfinite(loss)}
    best = min(finite, key=lambda name: finite[name], default=None)
    best_val_loss = capsule.state.facts.get("best_val_loss")
    return Validated(
        best=usual_loss if best_val_loss is None else best_val_loss,
        uninformed=known.uninformed_loss,
        running=running,
        of_batch=of_batch,
        recalibrated=recalibrated,
        module=best,
        with_module_right=finite[best] if best else math.nan,
    )


def statistics_of(norm: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor]:
    """Running mean and variance, each of shape C, copied."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean.clone(), norm.running_var.clone()


def put(norms: Norms, statistics: dict[str, tuple[Tensor, Tensor]]) -> None:
    """Makes these, each of shape C, the running statistics."""
    for name, (mean, variance) in statistics.items():
        assert norms[name].running_mean is not None
        assert norms[name].running_var is not None
        norms[name].running_mean.copy_(mean)  # type: ignore[union-attr]  # asserted
        norms[name].running_var.copy_(variance)  # type: ignore[union-attr]  # asserted


@torch.no_grad()
def batch_statistics(model: nn.Module, norms: Norms, batch: Any, run: Run) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance, each C, that each BatchNorm sees in training on this batch; they become its running ones.

    The loss of the run is computed for it, so that any shape of batch will do.
    """
    momenta = {name: norm.momentum for name, norm in norms.items()}
    for norm in norms.values():
        norm.reset_running_stats()
        norm.momentum = 1.0
    model.train()
    run.loss(model, batch, StepSettings())
    for name, norm in norms.items():
        norm.momentum = momenta[name]
    return {name: statistics_of(norm) for name, norm in norms.items()}


def loss_with(
    model: nn.Module, norms: Norms, statistics: dict[str, tuple[Tensor, Tensor]], batch: Any, run: Run
) -> float:
    """The loss in evaluation, a scalar, under these running statistics."""
    put(norms, statistics)
    return loss_of(model.eval(), batch, run)


@torch.no_grad()
def loss_of(model: nn.Module, batch: Any, run: Run) -> float:
    """The loss without autocast, as validation has it; NaN where outputs are not finite."""
    return float(run.loss(model, batch, StepSettings()).measured)
