"""The same faults planted into a plain training loop of a network that is not ours, under segstudy.watch.

The network is segmentation_models_pytorch's Unet with a resnet18 of three stages and no pretrained weights. A fault
names modules of our networks; here it meets their counterparts: the module of the same type at the same share of the
way through. A late fault is planted after WARM_UP steps, whatever its number is; one that only validation shows after
as many as with ours, since it is measured by the best loss before. A running mean that is too high is planted too low:
here a ReLU follows each BatchNorm and would only be silent.
"""

import math
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from benchmarks.faults.fault import BASE, STEPS_AFTER, Fault, Truth, make
from trials.config import TrialConfig
from trials.data.loader import Batch
from trials.losses import Loss
from trials.numerics.explaining.record import DivergenceRecord
from trials.numerics.precision import autocast
from trials.numerics.watch import Watch
from trials.optimizers import advance
from trials.parts import (
    build_loss,
    build_model,
    build_optimizer,
    build_schedule,
    prepared_data,
    train_loader,
    validation_images,
)

WARM_UP = 16
HEALTHY = "healthy"
VALIDATED = ("running_stats_explosion", HEALTHY)  # runs in which validation is told to the watch
HEAD = "segmentation_head"
FAR = 100.0  # a running mean that a fault has put there
TOO_HIGH = ("running_mean_channel_offset", "running_stats_of_other_domain")
CPU = torch.device("cpu")


def network(head: str) -> nn.Module:
    """Images B,3,H,W -> B,1,H,W: probabilities or logits."""
    sizes = dict(encoder_weights=None, encoder_depth=3, decoder_channels=(16, 8, 8))
    model = smp.Unet("resnet18", activation="sigmoid" if head == "sigmoid" else None, **sizes)
    model.encoder.layer3 = model.encoder.layer4 = nn.Identity()  # never run at this depth, and most of the weights
    return model


class Renamed:
    """A network whose modules answer to the names that ours have."""

    def __init__(self, network: nn.Module, names: dict[str, str]):
        self._network, self._names = network, names

    def get_submodule(self, name: str) -> nn.Module:
        """The counterpart of our module."""
        return self._network.get_submodule(self._names[name])

    def __call__(self, images: Tensor) -> Tensor:
        return self._network(images)

    def __deepcopy__(self, memo: dict) -> "Renamed":
        return Renamed(deepcopy(self._network, memo), self._names)


@dataclass
class LoopState:
    """What faults may change."""

    model: Renamed
    optimizer: Optimizer
    scheduler: LRScheduler
    scaler: GradScaler
    step: int


def counterparts(ours: nn.Module, theirs: nn.Module) -> dict[str, str]:
    """Each convolution and each BatchNorm of ours: the one of theirs at the same share of the way."""
    names: dict[str, str] = {}
    for kinds in ((nn.Conv2d, nn.ConvTranspose2d), (nn.BatchNorm2d,)):
        mine, other = (
            [name for name, each in net.named_modules() if isinstance(each, kinds) and not name.startswith(skipped)]
            for net, skipped in ((ours, ("head",)), (theirs, (HEAD,)))
        )
        for place, name in enumerate(mine):
            names[name] = other[round(place / (len(mine) - 1) * (len(other) - 1))]
    return names | {"head.0": f"{HEAD}.0", "head": HEAD}


def can_be_planted(fault: Fault) -> bool:
    """Whether the network has what the fault needs: its convolutions have no bias, and each weight has a gradient."""
    return fault.kind not in ("conv_bias_grows", "adam_epsilon_zero")


def truth_of(fault: Fault) -> dict[str, str | None]:
    """What a perfect diagnoser says of the fault here."""
    names = names_of(TrialConfig.from_dict({**BASE, **fault.config}))
    return {"cause": fault.cause, "phase": fault.phase, "module": names.get(fault.module) if fault.module else None}


def names_of(config: TrialConfig) -> dict[str, str]:
    """The counterparts of the modules of the network that the configuration names."""
    return counterparts(build_model(config), network(config.head))


def planted_in_loop(fault: Fault, out: Path) -> DivergenceRecord | None:
    """Trains in a plain loop with the fault; None where the watch saw nothing. No remedies are searched for."""
    config = TrialConfig.from_dict({**BASE, **fault.config})
    torch.manual_seed(config.seed)
    with fault.around():
        watch = trained(fault, config, out)
        loss = build_loss(config)
        if not watch.broken:
            return None
        return watch.explain(lambda net, batch: loss_of(loss, net(batch["images"]), batch), budget_s=0.0).record


def trained(fault: Fault, config: TrialConfig, out: Path) -> Watch:
    """The watch of a plain loop that ran until it broke, or to STEPS_AFTER steps after the fault."""
    model, names = network(config.head), names_of(config)
    optimizer = build_optimizer(config, model.parameters())
    scaler = GradScaler("cpu", init_scale=config.loss_scale_init, enabled=config.amp)
    if config.amp:
        scaler._lazy_init_scale_growth_tracker(CPU)  # a fault may change the scale before the first step
    prepared = prepared_data(config)
    loader = train_loader(config, prepared, CPU)
    scheduler = build_schedule(config, optimizer, config.epochs * len(loader))
    first = 1 if fault.cause in VALIDATED else max(1, fault.first_step - WARM_UP)
    state = LoopState(Renamed(model, names), optimizer, scheduler, scaler, first - 1)
    watch = Watch(model, optimizer, scaler=scaler, out=out, max_val_loss_ratio=config.max_val_loss_ratio)
    validation = validation_images(config, prepared, 32, CPU)
    _train(fault, config, model, state, watch, loader, validation, build_loss(config))
    return watch


def healthy_in_loop(fields: dict[str, Any], out: Path) -> str | None:
    """What the watch saw in a run without a fault, validation included; None where it saw nothing."""
    fault = make(Truth("healthy", HEALTHY, None), 1, lambda state, batch: batch, **fields)
    config = TrialConfig.from_dict({**BASE, **fault.config, "max_val_loss_ratio": 3.0})
    torch.manual_seed(config.seed)
    event = trained(fault, config, out).event
    return f"{event.where} at step {event.step}" if event else None


def loss_of(loss: Loss, outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """The loss of a batch's outputs, in float32."""
    return loss(outputs.float(), batch["targets"], batch["valid"])


def _train(
    fault: Fault,
    config: TrialConfig,
    model: nn.Module,
    state: LoopState,
    watch: Watch,
    loader: Any,
    validation: Batch,
    loss: Loss,
) -> None:
    """Until it breaks, or STEPS_AFTER steps after the fault began. An error of the loss ends it, as in any loop."""
    dtype = torch.float16 if config.amp else None
    batches = (batch for epoch in range(1, config.epochs + 1) for batch in loader.batches(epoch))
    model.train()
    for batch in batches:
        state.step += 1
        if state.step >= fault.first_step:
            batch = fault.plant(state, batch)
            if fault.kind in TOO_HIGH:
                mean = state.model.get_submodule(fault.module).running_mean
                mean.copy_(torch.where(mean > FAR, -mean, mean))
        try:
            with watch.step(vars(batch)):
                state.optimizer.zero_grad()
                with autocast("cpu", dtype):
                    outputs = model(batch.images)
                value = loss_of(loss, outputs, vars(batch))
                state.scaler.scale(value).backward()
                state.scaler.step(state.optimizer)
                state.scaler.update()
        except (RuntimeError, ValueError):
            return
        advance(state.scheduler)
        if fault.cause in VALIDATED and state.step % len(loader) == 0:
            watch.validation(_validation_loss(model, validation, loss), vars(validation))
        if watch.broken or state.step >= fault.first_step + STEPS_AFTER:
            return


@torch.no_grad()
def _validation_loss(model: nn.Module, batch: Batch, loss: Loss) -> float:
    model.eval()
    outputs = model(batch.images)
    model.train()
    return float(loss_of(loss, outputs, vars(batch))) if torch.isfinite(outputs).all() else math.nan
