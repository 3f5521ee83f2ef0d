"""What a planted fault is, and the run that each of them is planted into."""

import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trials.config import TrialConfig
from trials.data.loader import Batch
from trials.state import State
from trials.step import forward

Plant = Callable[[State, Batch], Batch]
Change = Callable[[State], None]

BASE: Mapping[str, Any] = dict(
    data="pets",
    data_root=str(Path(__file__).resolve().parents[3] / "shared"),
    model="unet",
    width=4,
    image_size=32,
    train_limit=128,
    val_limit=32,
    batch_size=8,
    augment="flip",
    schedule="constant",
    lr=2e-3,
    device="cpu",
    max_val_loss_ratio=1e6,  # only the running statistics' faults, with a ratio of their own, end at an epoch's end
)
LAST_EARLY_STEP = 10
STEPS_AFTER = 90  # trained on after a fault began


@dataclass(frozen=True)
class Fault:
    """A fault and what a perfect diagnoser says of it; None where that is not judged."""

    name: str
    kind: str  # the mechanism planted
    cause: str
    phase: str | None  # data, forward, loss, backward, unscale, optimizer_step, running_statistics
    module: str | None  # dotted name of the leaf module, or a prefix of it
    config: Mapping[str, Any]  # over BASE
    first_step: int  # from 1, over the whole run
    plant: Plant  # before each training step from first_step on; may change the state, gives the batch to train on
    around: Callable[[], AbstractContextManager] = nullcontext  # entered while the run and its diagnosis last

    @property
    def model(self) -> str:
        """The network's name."""
        return {**BASE, **self.config}["model"]

    @property
    def when(self) -> str:
        """Into an untrained network, or into one that has trained."""
        return _when(self.first_step)


@dataclass(frozen=True)
class Truth:
    """What all faults of one kind have in common."""

    kind: str
    cause: str
    phase: str | None
    module: str | None = None


def make(
    truth: Truth,
    first_step: int,
    plant: Plant,
    place: str = "",
    around: Callable[[], AbstractContextManager] = nullcontext,
    **config: Any,
) -> Fault:
    """The fault, named after its kind, network, place, precision and time; with a seed and epochs of its own."""
    fields = {**BASE, **config}
    steps_an_epoch = -(-(fields.get("images_per_epoch") or fields["train_limit"]) // fields["batch_size"])
    precision = "amp" if fields.get("amp") else "float32"
    name = "/".join(part for part in (truth.kind, fields["model"], place, precision, _when(first_step)) if part)
    own = {"seed": zlib.crc32(name.encode()) % 1000, "epochs": -(-(first_step + STEPS_AFTER) // steps_an_epoch)}
    return Fault(name, truth.kind, truth.cause, truth.phase, truth.module, own | config, first_step, plant, around)


def _when(first_step: int) -> str:
    return "early" if first_step <= LAST_EARLY_STEP else "late"


def each_step(change: Change) -> Plant:
    """Changes the state before every step, with autograd looking away; the batch stays."""

    def plant(state: State, batch: Batch) -> Batch:
        with torch.no_grad():
            change(state)
        return batch

    return plant


def once(first_step: int, change: Change) -> Plant:
    """Changes the state before the first step only."""
    return each_step(lambda state: change(state) if state.step == first_step else None)


def scale_module(name: str, factor: float) -> Change:
    """Multiplies the weight and the bias of a module."""

    def change(state: State) -> None:
        for parameter in state.model.get_submodule(name).parameters():
            parameter.mul_(factor)

    return change


@torch.no_grad()
def outputs_of(state: State, batch: Batch, config: Mapping[str, Any]) -> Tensor:
    """What the step that comes will give for the batch; computed on a copy, since BatchNorm counts what it sees."""
    return forward(deepcopy(state.model), batch.images, TrialConfig.from_dict({**BASE, **config}))
