"""What a configuration names, built: network, loss, optimiser, schedule, augmentation, data.

Parts take what they need and no configuration: beside what the caller gives (outputs, parameters, ...) each names the
settings it wants as parameters, and gets them by these names.
"""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from trials.config import TrialConfig
from trials.data.augment import AUGMENTS, Augment
from trials.data.loader import Batch, TrainLoader, check_batch_size, first_images, split_indices
from trials.data.prepared import Prepared, is_prepared, prepare
from trials.data.sources import DATASETS, Source
from trials.losses import GRADIENT_BOUNDS, LOSSES, Loss
from trials.models import ATTENTIONS, HEADS, MODELS, UPSAMPLERS, Network
from trials.optimizers import OPTIMIZERS, SCHEDULES


def filled(part: Callable, config: TrialConfig, num_given: int = 0) -> Callable:
    """The part with every setting that it names as a parameter; the first `num_given` are left to the caller."""
    names = list(inspect.signature(part).parameters)[num_given:]
    return partial(part, **{name: config if name == "config" else getattr(config, name) for name in names})


def build_model(config: TrialConfig) -> Network:
    """The network that the configuration describes, with weights from torch's global generator."""
    return MODELS[config.model](
        width=config.width,
        upsampler=UPSAMPLERS[config.upsample],
        attention=ATTENTIONS[config.attention],
        activation=HEADS[config.head](),
    )


def build_loss(config: TrialConfig) -> Loss:
    """The loss with its settings and its gradient's bound."""
    bound = GRADIENT_BOUNDS.get(config.loss)
    bound = filled(bound, config, num_given=2) if bound else None
    return Loss(filled(LOSSES[config.loss], config, num_given=1), bound, config.head)


def build_optimizer(config: TrialConfig, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The optimiser of these parameters."""
    return filled(OPTIMIZERS[config.optimizer], config, num_given=1)(parameters)


def build_schedule(config: TrialConfig, optimizer: Optimizer, num_steps: int) -> LRScheduler:
    """The schedule, which is stepped once a batch, num_steps times in the run."""
    return filled(SCHEDULES[config.schedule], config, num_given=2)(optimizer, num_steps)


def build_augment(config: TrialConfig) -> Augment:
    """The augmentation of a training picture."""
    return filled(AUGMENTS[config.augment], config)()


def data_source(config: TrialConfig) -> Source:
    """The data set as it lies on disk. Raises what its function in trials/data/sources.py raises."""
    return filled(DATASETS[config.data], config)()


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
