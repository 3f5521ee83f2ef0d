"""A user's own code is tried out before anything starts: one step and one evaluation on the CPU, with random images."""

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from trials.config import OWN_FIELDS, TrialConfig
from trials.data.mask_files import BACKGROUND, BORDER, PET
from trials.losses import Loss
from trials.own import DOCS, OwnError, find, is_own, load, named_errors, read_files, short
from trials.parts import build_augment, build_loss, build_model, build_optimizer, build_schedule, takes_logits

MOST_IMAGES = 2


def with_own_code(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The values with the files that they name as FILE.py:NAME read, relative to the folder, and put beside them.

    `head` becomes "logits" where it is not given and a user's loss takes them. Raises OwnError where that cannot be.
    """
    named = {name: values[name] for name in OWN_FIELDS if is_own(values.get(name))}
    code = read_files(find(reference, [folder]) for reference in named.values())
    settled = {**values, **{name: short(reference) for name, reference in named.items()}}
    if code:
        settled["code"] = {name: file.to_dict() for name, file in code.items()}
    if "loss" in named and "head" not in values and takes_logits(settled["loss"], TrialConfig.from_dict(settled)):
        settled["head"] = "logits"
    return settled


def rehearse(config: TrialConfig) -> list[str]:
    """Takes one step with the user's own parts of the configuration, if it has any; gives what should be said of them.

    Raises OwnError, naming file and line, for what cannot be run or gives what it should not. Random numbers are left
    as they were.
    """
    own = config.own_parts()
    if not own:
        return []
    try:
        with torch.random.fork_rng(devices=[]), named_errors():
            torch.manual_seed(config.seed)
            if is_own(config.augment):
                _check_augment(config)
            return _one_step(config)
    except OwnError:
        raise
    except Exception as error:  # in a library, of what the user's code made
        text = str(error).partition("\n")[0]
        raise OwnError(f"{', '.join(own.values())}: {type(error).__name__}: {text}") from error


def check_own_settings(configs: Iterable[TrialConfig]) -> None:
    """Raises OwnError for a setting `own.NAME` that no part of any of these configurations has a parameter for."""
    read, files, unread = set(), set(), set()
    for config in configs:
        unread |= set(config.own)
        for reference in config.own_parts().values():
            read |= set(inspect.signature(load(reference, config.code)).parameters)
            files.add(reference)
    if "config" in read:  # it may read any
        return
    if unread := sorted(unread - read):
        takes = ", ".join(sorted(read)) or "none"
        those = f"{', '.join(sorted(files))} take {takes}" if files else "no code of your own is used"
        raise OwnError(f"own.{unread[0]} is read by nothing: {those} ({DOCS})")


def _one_step(config: TrialConfig) -> list[str]:
    num = min(config.batch_size, MOST_IMAGES)
    images = torch.randn(num, config.in_channels, config.image_size, config.image_size)
    targets = (torch.rand(num, 1, config.image_size, config.image_size) > 0.5).float()
    model = build_model(config).train()
    if not any(True for _ in model.parameters()):
        raise OwnError(f"{config.model} has no parameters to train")
    outputs = model(images)
    notes = _notes(config, outputs)
    value = _checked_loss(config, build_loss(config), outputs.float(), targets)
    optimizer = build_optimizer(config, model.parameters())
    if not isinstance(optimizer, Optimizer):
        raise OwnError(f"{config.optimizer} gives a {type(optimizer).__name__}; wanted: a torch.optim.Optimizer")
    schedule = build_schedule(config, optimizer, num_steps=10)
    if not isinstance(schedule, LRScheduler):
        raise OwnError(f"{config.schedule} gives a {type(schedule).__name__}; wanted: a schedule of torch.optim")
    value.backward()
    optimizer.step()
    schedule.step()
    with torch.inference_mode():
        model.eval()(images)
    return notes


def _notes(config: TrialConfig, outputs: Tensor) -> list[str]:
    logits = outputs if config.head == "logits" else torch.logit(outputs)
    if is_own(config.model) and bool((logits >= 0).all()) and bool((logits <= 1).all()):
        return [f"{config.model} gives values from 0 to 1 only; they are taken for logits: leave out its sigmoid"]
    return []


def _checked_loss(config: TrialConfig, loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    value = loss(outputs, targets, torch.ones_like(targets))
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise OwnError(f"{config.loss} gives {got}; wanted: a tensor of one number")
    if not value.requires_grad:
        raise OwnError(f"{config.loss} gives a number without a gradient; it must be made of the outputs by torch")
    return value


def _check_augment(config: TrialConfig) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (config.image_size, config.image_size, config.in_channels), np.uint8)
    trimap = rng.integers(1, 4, (config.image_size, config.image_size)).astype(np.uint8)
    made = build_augment(config)(image.copy(), trimap.copy(), 0)
    if not isinstance(made, tuple) or len(made) != 2 or not all(isinstance(each, np.ndarray) for each in made):
        raise OwnError(f"{config.augment} gives {type(made).__name__}; wanted: the changed image and the changed mask")
    for array, like, what in ((made[0], image, "image"), (made[1], trimap, "mask")):
        if array.shape != like.shape or array.dtype != like.dtype:
            raise OwnError(
                f"{config.augment} makes an {what} of {array.dtype} {list(array.shape)}; "
                f"wanted: {like.dtype} {list(like.shape)}"
            )
    if foreign := set(np.unique(made[1]).tolist()) - {PET, BACKGROUND, BORDER}:
        raise OwnError(
            f"{config.augment} makes a mask with {sorted(foreign)}; "
            f"a mask holds {PET} object, {BACKGROUND} background, {BORDER} border"
        )
