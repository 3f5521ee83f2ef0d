"""One training run, epoch by epoch. Knows nothing of Ray or of where results go."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from trials import checkpoint
from trials.config import TrialConfig
from trials.data import Batch, TrainLoader, prepare, split_indices
from trials.evaluation import Evaluation, evaluate, write_best_validation
from trials.health import Divergence, Health, non_finite_state
from trials.losses import LOSSES, score
from trials.models import build_model
from trials.optimizers import OPTIMIZERS, SCHEDULES, advance
from trials.precision import autocast

AMP_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
NAN = float("nan")


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch showed. Where it diverged, what could not be measured is NaN and it is the run's last."""

    epoch: int  # from 1
    train_loss: float
    val_loss: float
    val_dice: float  # per image, thresholded at 0.5, mean over images
    val_dice_soft: float  # the report's: soft, over a batch's pixels, mean over batches
    val_iou: float
    val_bce: float  # comparable across losses
    lr: float  # of the epoch's last step
    loss_scale: float | None  # None without AMP
    num_steps: int
    num_skipped_steps: int  # of those, left out by GradScaler
    diverged: bool
    diverged_step: int | None  # over the whole run, from 1
    diverged_where: str | None  # outputs, loss, weights or buffers
    best_epoch: int
    best_val_dice: float
    images_per_s: float  # in training, loading included
    epoch_s: float  # validation and checkpoints included


@dataclass
class State:
    """What training changes, and what a checkpoint holds."""

    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    scaler: GradScaler
    epoch: int = 0  # finished epochs
    step: int = 0  # steps over the whole run, skipped ones too
    best_epoch: int = 0
    best_val_dice: float = -1.0


@dataclass(frozen=True)
class TrainedEpoch:
    """The training part of an epoch."""

    loss: float  # NaN where it diverged
    lr: float  # of the last step
    num_steps: int
    num_skipped_steps: int
    divergence: Divergence | None
    images_per_s: float


def run(config: TrialConfig, *, out: Path | None = None, resume: bool = False) -> Iterator[EpochMetrics]:
    """Trains and validates, one EpochMetrics an epoch; ends after `config.epochs`, or at once where it diverged.

    out: a folder that gets last.pt, best.pt and the best epoch's validation masks and scores, written before their
    epoch is yielded. resume: go on from out/last.pt, with the numbers that an uninterrupted run gives: bit for bit
    on a CPU, under the thread count that was saved and is set again.
    """
    device = pick_device(config.device)
    torch.backends.cudnn.allow_tf32 = config.tf32
    prepared = prepare(config)
    loader = TrainLoader(prepared, config, device)
    val_indices = split_indices(prepared, "val", config.val_limit)
    torch.manual_seed(config.seed)
    state = new_state(config, device, num_steps=config.epochs * len(loader))
    if resume:
        if out is None:
            raise ValueError("resume=True needs out, the folder of the run that goes on")
        restore(state, out / checkpoint.LAST, config)
    for epoch in range(state.epoch + 1, config.epochs + 1):
        started = time.perf_counter()
        trained = train_epoch(state, loader, epoch, config, device)
        evaluation = None if trained.divergence else evaluate(state.model, prepared, val_indices, config, device)
        divergence = trained.divergence or _divergence_after_epoch(state, evaluation)
        state.epoch = epoch
        if evaluation and not divergence:
            improved = _note_best(state, evaluation)
            if out is not None:
                names = [prepared.names[index] for index in val_indices]
                _keep(out, state, config, evaluation if improved else None, names)
        yield _metrics(state, config, trained, evaluation, divergence, time.perf_counter() - started)
        if divergence:
            return


def pick_device(wanted: str) -> torch.device:
    """The device for `config.device`; raises ValueError where cuda is wanted and there is none."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda', but torch sees no CUDA device; allowed here: auto, cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def new_state(config: TrialConfig, device: torch.device, num_steps: int) -> State:
    """An untrained network and all that trains it; weights from torch's global generator."""
    model = build_model(config).to(device)
    optimizer = OPTIMIZERS[config.optimizer](model.parameters(), config)
    scaler = GradScaler(
        device.type,
        init_scale=config.loss_scale_init,
        growth_interval=config.loss_scale_growth_interval,
        enabled=config.amp,
    )
    return State(model, optimizer, SCHEDULES[config.schedule](optimizer, config, num_steps), scaler)


def train_epoch(
    state: State, loader: TrainLoader, epoch: int, config: TrialConfig, device: torch.device
) -> TrainedEpoch:
    """One pass over the training split; ends early where an output or the loss is not finite."""
    state.model.train()
    health = Health(device)
    started, first_step = time.perf_counter(), state.step
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    num_images, num_skipped, scale = 0, 0, state.scaler.get_scale()
    lr = 0.0
    for batch in loader.batches(epoch):
        state.step += 1
        lr = state.optimizer.param_groups[0]["lr"]
        loss = train_step(state, batch, health, config)
        scale, scale_before = state.scaler.get_scale(), scale
        num_skipped += scale < scale_before  # GradScaler lowers its scale exactly when it skips
        loss_sum += loss.detach().double() * len(batch.images)
        num_images += len(batch.images)
        if health.may_read(state.step) and health.first_divergence():
            break
    divergence = health.first_divergence()
    return TrainedEpoch(
        loss=NAN if divergence else float(loss_sum) / num_images,
        lr=lr,
        num_steps=state.step - first_step,
        num_skipped_steps=num_skipped,
        divergence=divergence,
        images_per_s=num_images / (time.perf_counter() - started),
    )


def train_step(state: State, batch: Batch, health: Health, config: TrialConfig) -> torch.Tensor:
    """Forward under autocast, loss in float32 outside, backward, step (report, "Training"); the loss, a scalar."""
    with autocast(batch.images.device.type, AMP_DTYPES[config.amp_dtype] if config.amp else None):
        outputs = state.model(batch.images)
    outputs = health.finite_outputs(outputs, state.step)
    loss = LOSSES[config.loss](score(outputs, batch.targets, batch.valid, config.head), config)
    health.watch_loss(loss, state.step)
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()
    state.scaler.step(state.optimizer)
    state.scaler.update()
    advance(state.scheduler)
    return loss


def restore(state: State, path: Path, config: TrialConfig) -> None:
    """Puts the state back to what the checkpoint holds, random numbers and thread count included."""
    content = checkpoint.load(path)
    checkpoint.check_same_run(content["config"], config, path)
    state.model.load_state_dict(content["model"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.scheduler.load_state_dict(content["scheduler"])
    state.scaler.load_state_dict(content["scaler"])
    state.epoch, state.step = content["epoch"], content["step"]
    state.best_epoch, state.best_val_dice = content["best_epoch"], content["best_val_dice"]
    torch.set_num_threads(content["num_threads"])
    torch.set_rng_state(content["rng"])
    if torch.cuda.is_available() and len(content["cuda_rng"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(content["cuda_rng"])


def _note_best(state: State, evaluation: Evaluation) -> bool:
    """Whether this epoch is the best so far; if so the state says so."""
    val_dice = float(evaluation.dice.mean())
    if val_dice <= state.best_val_dice:
        return False
    state.best_epoch, state.best_val_dice = state.epoch, val_dice
    return True


def _keep(out: Path, state: State, config: TrialConfig, best: Evaluation | None, names: list[str]) -> None:
    """Writes the last state; and the best epoch's weights, masks and scores where this epoch is the best."""
    out.mkdir(parents=True, exist_ok=True)
    if best:
        write_best_validation(out, best, names, state.epoch, config.image_size)
        checkpoint.save(out / checkpoint.BEST, _best_content(state, config))
    checkpoint.save(out / checkpoint.LAST, _last_content(state, config))


def _best_content(state: State, config: TrialConfig) -> dict[str, Any]:
    return {
        "config": config.to_dict(),
        "model": state.model.state_dict(),
        "epoch": state.best_epoch,
        "val_dice": state.best_val_dice,
    }


def _last_content(state: State, config: TrialConfig) -> dict[str, Any]:
    return {
        "config": config.to_dict(),
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "scheduler": state.scheduler.state_dict(),
        "scaler": state.scaler.state_dict(),
        "epoch": state.epoch,
        "step": state.step,
        "best_epoch": state.best_epoch,
        "best_val_dice": state.best_val_dice,
        "num_threads": torch.get_num_threads(),
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _divergence_after_epoch(state: State, evaluation: Evaluation | None) -> Divergence | None:
    where = non_finite_state(state.model) or ("outputs" if evaluation is None else None)
    return Divergence(state.step, where) if where else None


def _metrics(
    state: State,
    config: TrialConfig,
    trained: TrainedEpoch,
    evaluation: Evaluation | None,
    divergence: Divergence | None,
    epoch_s: float,
) -> EpochMetrics:
    return EpochMetrics(
        epoch=state.epoch,
        train_loss=trained.loss,
        val_loss=evaluation.loss if evaluation else NAN,
        val_dice=float(evaluation.dice.mean()) if evaluation else NAN,
        val_dice_soft=evaluation.dice_soft if evaluation else NAN,
        val_iou=float(evaluation.iou.mean()) if evaluation else NAN,
        val_bce=evaluation.bce if evaluation else NAN,
        lr=trained.lr,
        loss_scale=state.scaler.get_scale() if config.amp else None,
        num_steps=trained.num_steps,
        num_skipped_steps=trained.num_skipped_steps,
        diverged=divergence is not None,
        diverged_step=divergence.step if divergence else None,
        diverged_where=divergence.where if divergence else None,
        best_epoch=state.best_epoch,
        best_val_dice=state.best_val_dice if state.best_epoch else NAN,
        images_per_s=trained.images_per_s,
        epoch_s=epoch_s,
    )
