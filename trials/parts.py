"""What a configuration names, built: network, loss, optimiser, schedule, augmentation, data.

Parts take what they need and no configuration: beside what the caller gives (outputs, parameters, ...) each names the
settings it wants as parameters, and gets them by these names. So do a user's own (trials/own.py, docs/own.md).
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from trials.config import FIELDS, TrialConfig
from trials.data.augment import AUGMENTS, Augment, Pipeline
from trials.data.loader import Batch, TrainLoader, check_batch_size, first_images, split_indices
from trials.data.prepared import Prepared, is_prepared, prepare
from trials.data.sources import DATASETS, Source, folder_channels
from trials.losses import GRADIENT_BOUNDS, LOSSES, Loss, Scored
from trials.models import ATTENTIONS, HEADS, MODELS, UPSAMPLERS, Network
from trials.models.own_network import OwnNetwork
from trials.optimizers import OPTIMIZERS, SCHEDULES
from trials.own import OwnError, arguments, is_own, load, named_errors


def with_settings(name: str, known: Mapping[str, Callable], config: TrialConfig, num_given: int = 0) -> Callable:
    """The part of this name, ours or FILE.py:NAME, with every setting that it names as a parameter.

    The first `num_given` parameters are left to the caller. Raises OwnError for a user's part that cannot be had.
    """
    part = load(name, config.code) if is_own(name) else known[name]
    return partial(part, **arguments(part, settings_of(config), num_given, name))


def settings_of(config: TrialConfig) -> dict[str, Any]:
    """What a part's parameters may be called: every field, a user's own settings, and `config`, all of them."""
    return {**{name: getattr(config, name) for name in FIELDS}, **config.own, "config": config}


def build_model(config: TrialConfig) -> Network:
    """The network that the configuration describes, with weights from torch's global generator.

    Raises OwnError where a user's own cannot be made, or is no module.
    """
    if is_own(config.model):
        with named_errors():
            network = with_settings(config.model, {}, config)()
        if not isinstance(network, nn.Module):
            raise OwnError(f"{config.model} gives a {type(network).__name__}; wanted: a torch.nn.Module")
        return OwnNetwork(config.model, network, HEADS[config.head]())
    return MODELS[config.model](
        in_channels=config.in_channels,
        width=config.width,
        upsampler=UPSAMPLERS[config.upsample],
        attention=ATTENTIONS[config.attention],
        activation=HEADS[config.head](),
    )


def build_loss(config: TrialConfig) -> Loss:
    """The loss with its settings and its gradient's bound, which a user's own has none of."""
    if is_own(config.loss):
        return Loss(_own_loss(config), None, config.head)
    bound = with_settings(config.loss, GRADIENT_BOUNDS, config, num_given=2) if config.loss in GRADIENT_BOUNDS else None
    return Loss(with_settings(config.loss, LOSSES, config, num_given=1), bound, config.head)


def _own_loss(config: TrialConfig) -> Callable[[Scored], torch.Tensor]:
    """A user's loss of outputs and targets, and of `valid` where it has such a parameter."""
    part = with_settings(config.loss, {}, config, num_given=2)
    names = list(inspect.signature(load(config.loss, config.code)).parameters)
    if takes_logits(config.loss, config) and config.head != "logits":
        raise OwnError(
            f"{config.loss} takes logits, and head={config.head} gives probabilities: --set head=logits, or call its "
            "first parameter `probabilities`"
        )
    if config.border == "ignore" and "valid" not in names:
        raise OwnError(f"border=ignore leaves pixels out, and {config.loss} has no parameter `valid` that tells which")

    def of(scored: Scored) -> torch.Tensor:
        outputs = scored.probabilities if names[0] == "probabilities" else scored.outputs
        return part(outputs, scored.targets, **({"valid": scored.valid} if "valid" in names else {}))

    return of


def takes_logits(loss: str, config: TrialConfig) -> bool:
    """Whether a user's loss takes logits: unless its first parameter is called `probabilities`.

    Raises OwnError where it has fewer than two parameters, or cannot be had.
    """
    names = list(inspect.signature(load(loss, config.code)).parameters)
    if len(names) < 2:
        raise OwnError(f"{loss} has {len(names)} parameters; wanted: outputs, targets, and settings by their names")
    return names[0] != "probabilities"


def build_optimizer(config: TrialConfig, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The optimiser of these parameters."""
    return with_settings(config.optimizer, OPTIMIZERS, config, num_given=1)(parameters)


def build_schedule(config: TrialConfig, optimizer: Optimizer, num_steps: int) -> LRScheduler:
    """The schedule, which is stepped once a batch, num_steps times in the run."""
    return with_settings(config.schedule, SCHEDULES, config, num_given=2)(optimizer, num_steps)


def build_augment(config: TrialConfig) -> Augment:
    """The augmentation of a training picture."""
    made = with_settings(config.augment, AUGMENTS, config)()
    if not is_own(config.augment):
        return made
    if isinstance(made, list):
        return Pipeline(made)

    def own_augment(image_HWC: np.ndarray, trimap_HW: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        return made(image_HWC, trimap_HW, np.random.default_rng(seed))

    return own_augment


def data_source(config: TrialConfig) -> Source:
    """The data set as it lies on disk. Raises what its function in trials/data/sources.py raises."""
    return with_settings(config.data, DATASETS, config)()


def data_channels(config: TrialConfig) -> int:
    """How many channels the images have as they lie on disk: of data=folder 1 where all are grey, else 3, or n.

    Raises ValueError where some have others than the rest. Only the files' heads are read.
    """
    return folder_channels(config.data_root) if config.data == "folder" else 3


def prepared_data(config: TrialConfig) -> Prepared:
    """The data set at the configuration's image size. Raises what `prepare` raises (trials/data/prepared.py)."""
    return prepare(data_source(config), config.data, config.image_size)


def is_data_prepared(config: TrialConfig) -> bool:
    """Whether the data set is in the cache at this size; one that is still to be downloaded is not."""
    if config.data == "pets" and not config.data_root:
        return False
    return is_prepared(data_source(config), config.data, config.image_size)


def train_loader(config: TrialConfig, prepared: Prepared, device: torch.device) -> TrainLoader:
    """The training split, shuffled and augmented. Raises ValueError where the batch or the limit is beyond it."""
    return TrainLoader(
        prepared,
        split_indices(prepared, "train", config.train_limit),
        build_augment(config),
        batch_size=config.batch_size,
        images_per_epoch=config.images_per_epoch,
        border=config.border,
        seed=config.seed,
        num_workers=config.num_workers,
        device=device,
    )


def validation_images(config: TrialConfig, prepared: Prepared, num: int, device: torch.device) -> Batch:
    """The first `num` pictures that validate, unaugmented."""
    return first_images(prepared, split_indices(prepared, "val", config.val_limit), num, config.border, device)


def describe(config: TrialConfig) -> dict[str, Any]:
    """What the configuration trains on, as JSON can hold it: sizes in px, the number of images of each split, notes.

    Raises what `prepare` raises, and ValueError for an empty split or a batch or limit beyond the data.
    """
    prepared = prepared_data(config)
    train = split_indices(prepared, "train", config.train_limit)
    check_batch_size(config.batch_size, len(train))
    return {
        "name": config.data,
        "source_size_px": list(prepared.source_size_px),
        "image_size_px": config.image_size,
        "num_train": len(train),
        "num_val": len(split_indices(prepared, "val", config.val_limit)),
        "num_test": int(np.count_nonzero(prepared.splits == "test")),
        "border": config.border,
        "notes": list(prepared.notes),
    }
