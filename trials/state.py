"""What training changes: the state, those who watch it, and how both are written down and read back."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from trials import checkpoint
from trials.config import TrialConfig
from trials.data.loader import DRAWS
from trials.evaluation import Evaluation, remove_best_validation, write_best_validation
from trials.losses import Loss
from trials.models import Network
from trials.numerics.run import Training
from trials.numerics.training_state import RunningStatistics
from trials.numerics.watching.health import READ_LATE, Health
from trials.numerics.watching.monitor import Monitor
from trials.numerics.watching.recorder import Recorder
from trials.optimizers import COPIES, MOST_COPIES
from trials.parts import build_loss, build_model, build_optimizer, build_schedule

STATE_BYTES_A_RUN = 5e9  # of states written over a whole run, where `checkpoint_every` leaves open how often
SAVE_AFTER_S = 120.0  # trained since the last state was written: an interruption costs this at most, and an epoch
COUNTERS = (
    "epoch",
    "step",
    "best_epoch",
    "best_value",
    "best_val_loss",
    "best_train_loss",
    "high_val_epochs",
    "num_rollbacks",
    "seconds",
)


@dataclass
class State:
    """What training changes, and what a checkpoint holds; and the loss, which stays as it is."""

    model: Network
    optimizer: Optimizer
    scheduler: LRScheduler
    scaler: GradScaler
    loss: Loss
    epoch: int = 0  # finished epochs
    step: int = 0  # steps over the whole run, skipped ones too
    best_epoch: int = 0
    best_value: float | None = None  # of the metric that the configuration asks for
    best_val_loss: float = math.inf
    best_train_loss: float = math.inf
    high_val_epochs: int = 0  # in a row until now, with a validation loss beyond max_val_loss_ratio
    num_rollbacks: int = 0
    seconds: float = 0.0  # trained so far, validation and checkpoints included
    saved_seconds: float = 0.0  # of those, before the last checkpoint

    @property
    def training(self) -> Training:
        """The part that a step changes, as the instrument knows it."""
        return Training(self.model, (self.optimizer,), self.scaler if self.scaler.is_enabled() else None)


@dataclass
class Watch:
    """What looks on while a run trains."""

    health: Health
    monitor: Monitor
    statistics: RunningStatistics | None  # guarded, or not
    recorder: Recorder
    largest: dict[str, dict[int, float]] = field(default_factory=dict)  # each layer's largest activation, by epoch
    loss_scale: float | None = None  # as the host knows it; None without AMP
    batch_index: int = 0  # of the step's batch in its epoch


def pick_device(wanted: str) -> torch.device:
    """The device for `config.device`; raises ValueError where cuda is wanted and there is none."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda', but torch sees no CUDA device; allowed here: auto, cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def new_state(config: TrialConfig, device: torch.device, num_steps: int) -> State:
    """An untrained network and all that trains it; weights from torch's global generator."""
    model = build_model(config).to(device)
    optimizer = build_optimizer(config, model.parameters())
    scaler = GradScaler(
        device.type,
        init_scale=config.loss_scale_init,
        growth_interval=config.loss_scale_growth_interval,
        enabled=config.amp,
    )
    if config.amp:
        scaler._lazy_init_scale_growth_tracker(device)  # else its scale is a tensor only from the first step on
    return State(model, optimizer, build_schedule(config, optimizer, num_steps), scaler, build_loss(config))


def new_watch(state: State, device: torch.device, config: TrialConfig) -> Watch:
    """Nothing seen yet."""
    health = new_health(device)
    return Watch(
        health=health,
        monitor=Monitor(state.model, device, config.head),
        statistics=RunningStatistics(state.model) if config.guard_statistics else None,
        recorder=new_recorder(state, health),
        loss_scale=config.loss_scale_init if config.amp else None,
    )


def start_again(watch: Watch, state: State, config: TrialConfig) -> None:
    """After a rollback: what was seen of the state that is gone no longer counts; health begins anew each epoch."""
    watch.recorder = new_recorder(state, watch.health)
    watch.monitor.skipped_run = 0
    watch.loss_scale = state.scaler.get_scale() if config.amp else None


def new_recorder(state: State, health: Health) -> Recorder:
    """Nothing recorded yet."""
    return Recorder(state.training, steps_late=health.read_every - 1, seen=health.seen)


def new_health(device: torch.device) -> Health:
    """On a CPU the host may look at every step; elsewhere each look waits for the device, and is taken seldom."""
    return Health(device, read_every=1 if device.type == "cpu" else READ_LATE)


def restore(state: State, watch: Watch, path: Path, config: TrialConfig) -> None:
    """Puts the state back to what the checkpoint holds, random numbers and thread count included."""
    content = checkpoint.load(path)
    checkpoint.check_same_run(content["config"], config, path)
    state.model.load_state_dict(content["model"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.scheduler.load_state_dict(content["scheduler"])
    state.scaler.load_state_dict(content["scaler"])
    for name in COUNTERS:
        setattr(state, name, content.get(name, getattr(state, name)))  # older checkpoints have fewer
    state.saved_seconds = state.seconds
    if "best_val_dice" in content and state.best_epoch:  # an older one, whose only metric it was
        state.best_value = content["best_val_dice"]
    watch.largest, watch.monitor.skipped_run = _by_epoch(content.get("largest", {})), content.get("skipped_run", 0)
    watch.loss_scale = state.scaler.get_scale() if config.amp else None
    if "recorder" in content:  # not in an older one
        watch.recorder.take_up(content["recorder"], next(state.model.parameters()).device)
    torch.set_num_threads(content["num_threads"])
    torch.set_rng_state(content["rng"])
    if torch.cuda.is_available() and len(content["cuda_rng"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(content["cuda_rng"])


def _by_epoch(largest: dict[str, Any]) -> dict[str, dict[int, float]]:
    """As older checkpoints had it, a list with a value for each epoch, too."""
    return {name: dict(enumerate(own, 1)) if isinstance(own, list) else own for name, own in largest.items()}


def save_interval(config: TrialConfig, num_parameters: int) -> int:
    """Epochs after which the last state is written: every one for a small network, 10 for the Lab 2 report's UNet.

    Its state is a quarter of a gigabyte, 47 GB in 200 epochs, and Ray copies what is written.
    """
    run_bytes = config.epochs * 4 * num_parameters * (1 + COPIES.get(config.optimizer, MOST_COPIES))
    return config.checkpoint_every or max(1, math.ceil(run_bytes / STATE_BYTES_A_RUN))


def is_due(state: State, config: TrialConfig) -> bool:
    """Whether the last state is to be written after this epoch: its number says so, or the time trained since."""
    interval = save_interval(config, sum(parameter.numel() for parameter in state.model.parameters()))
    is_numbered = state.epoch % interval == 0 or state.epoch == config.epochs
    return is_numbered or state.seconds - state.saved_seconds >= SAVE_AFTER_S


def keep_best(out: Path, state: State, config: TrialConfig, best: Evaluation | None, names: list[str]) -> None:
    """Writes the weights, masks and scores of this epoch, the best so far; None: its outputs were not finite."""
    out.mkdir(parents=True, exist_ok=True)
    if best:
        write_best_validation(out, best, names, state.epoch, config.image_size)
    else:
        remove_best_validation(out)
    checkpoint.save(out / checkpoint.BEST, _best_content(state, config))


def keep_last(out: Path, state: State, watch: Watch, config: TrialConfig) -> None:
    """Writes the last state, from which a run goes on."""
    checkpoint.save(out / checkpoint.LAST, _last_content(state, watch, config))
    state.saved_seconds = state.seconds


def _best_content(state: State, config: TrialConfig) -> dict[str, Any]:
    return {
        "config": config.to_dict(),
        "model": state.model.state_dict(),
        "epoch": state.best_epoch,
        "metric": config.metric,
        "value": state.best_value,
    }


def _last_content(state: State, watch: Watch, config: TrialConfig) -> dict[str, Any]:
    return {
        "config": config.to_dict(),
        "draws": DRAWS,
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "scheduler": state.scheduler.state_dict(),
        "scaler": state.scaler.state_dict(),
        **{name: getattr(state, name) for name in COUNTERS},
        "largest": watch.largest,
        "skipped_run": watch.monitor.skipped_run,
        "recorder": watch.recorder.content(),
        "num_threads": torch.get_num_threads(),
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
