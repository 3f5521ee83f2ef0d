"""What a study would take, before it is started: trials, memory, what is kept on disk and what is written in all."""

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
from torch.autograd.graph import saved_tensors_hooks

from search_spaces import Choice, Space
from search_spaces.space import Value
from study.combinations import combinations, involved_axes, waited_for
from study.options import Options
from study.preconditions import existing
from trials.config import TrialConfig
from trials.data.prepared import cache_folder
from trials.numerics.capsule import MAX_VALIDATION
from trials.numerics.watching.monitor import SAMPLE_EVERY
from trials.optimizers import COPIES, MOST_COPIES
from trials.own import is_own
from trials.parts import build_model, data_source, is_data_prepared
from trials.rehearsal import MOST_IMAGES
from trials.state import save_interval
from trials.wording import count

NUM_PETS = {"train": 3312, "val": 368, "test": 3669}  # where they are still to be downloaded
TORCH_BYTES = 750e6  # a process that has imported study.trainable: 707 MB resident, measured on Linux without a GPU
RAY_BYTES = 1.5e9  # an allowance for Ray's own processes, on the machine where a study is started; not measured
MASK_BYTES = 1  # a pixel, in the cache, beside a byte a channel
MASK_CHANNELS = 2  # of a batch, float32, beside those of its images: target and validity
LAYER_ROW_BYTES, RESULT_BYTES, HISTORY_BYTES = 240, 2100, 1300  # a line of layers.jsonl, result.json, history.json
MODEL_FIELDS = ("model", "in_channels", "upsample", "attention", "head", "width", "image_size", "batch_size")
VARIED = (*MODEL_FIELDS, "optimizer", "on_divergence")  # what the estimate depends on


class Network(NamedTuple):
    """What of a network counts, in float32."""

    num_parameters: int
    num_buffers: int  # values in them
    num_layers: int
    activation_bytes: float  # kept for the backward pass of a batch


@dataclass(frozen=True)
class Cost:
    """What one trial takes, in bytes."""

    num_parameters: int
    memory: float  # the process itself included
    device_memory: float  # the part of it that lies on a GPU where there is one
    explaining: float  # more memory, while a divergence is explained
    kept: float  # on disk at its end
    capsule: float  # more on disk, if it diverges
    written: float  # over its whole run, by the trial and by Ray
    save_interval: int  # epochs


@dataclass(frozen=True)
class Plan:
    """Upper estimates: every trial is taken for the largest of the space, and to run to its end."""

    num_trials: int
    num_epochs_most: int
    trial: Cost
    cache_bytes: float  # of the prepared pictures
    cache_missing_bytes: float  # those that are still to be written
    study_bytes: float  # validation pictures and Ray's records, once a study
    num_together: int  # trials at a time, at most

    @property
    def kept_bytes(self) -> float:
        """On disk at the study's end, capsules and the prepared pictures aside."""
        return self.study_bytes + self.num_trials * self.trial.kept

    @property
    def written_bytes(self) -> float:
        """Over the whole study."""
        return self.study_bytes + self.cache_missing_bytes + self.num_trials * self.trial.written

    @property
    def memory_bytes(self) -> float:
        """Of this machine: the trials that run together, and Ray."""
        return RAY_BYTES + self.num_together * (self.trial.memory + self.trial.explaining)

    def to_text(self, options: Options) -> str:
        """A few lines for the terminal."""
        trial = self.trial
        stops = f" (scheduler {options.scheduler} stops trials early)" if options.scheduler != "none" else ""
        of_each = f"{count(options.samples, 'configuration')} x {count(options.seeds, 'seed')}"
        every = f"every {trial.save_interval} epochs" if trial.save_interval > 1 else "every epoch"
        there = "already there" if not self.cache_missing_bytes else f"{_gb(self.cache_missing_bytes)} still to be made"
        return "\n".join(
            [
                f"trials            {self.num_trials} ({of_each})",
                f"epochs            {'at most ' if stops else ''}{self.num_epochs_most}{stops}",
                f"largest network   {trial.num_parameters:,} parameters",
                f"memory a trial    about {_gb(trial.memory)}, of it {_gb(trial.device_memory)} on a GPU if there is "
                f"one; {_gb(trial.explaining)} more while a divergence is explained",
                f"memory in all     about {_gb(self.memory_bytes)} for {count(self.num_together, 'trial')} at a time "
                "and Ray",
                f"disk              about {_gb(self.kept_bytes)} for {count(self.num_trials, 'trial')}, and "
                f"{_gb(trial.capsule)} for each that diverges",
                f"prepared pictures {_gb(self.cache_bytes)} in {cache_folder()}, {there}",
                f"written in all    about {_gb(self.written_bytes)}: the state {every}, the weights at each better "
                f"epoch, and Ray's copy of both",
            ]
        )

    def shortages(self, results: Path) -> list[str]:
        """A sentence for each thing of which this machine has too little."""
        said = []
        kept = self.kept_bytes + self.num_trials * self.trial.capsule
        here, cache = existing(results), existing(cache_folder())
        is_one = here.stat().st_dev == cache.stat().st_dev
        needed = {here: kept + (self.cache_missing_bytes if is_one else 0)}
        if not is_one:
            needed[cache] = self.cache_missing_bytes
        for place, num_bytes in needed.items():
            if num_bytes > (free := shutil.disk_usage(place).free):
                said.append(
                    f"the disk of {place} has {_gb(free)} free, and up to {_gb(num_bytes)} would be needed; "
                    f"--results names another place, SEGSTUDY_CACHE one for the prepared pictures"
                )
        if self.memory_bytes > (memory := psutil.virtual_memory().total) and not torch.cuda.is_available():
            said.append(
                f"this machine has {_gb(memory)} of memory, and about {_gb(self.memory_bytes)} would be needed; "
                f"--concurrent {max(1, self.num_together // 2)}, a smaller batch_size, width or image_size take less"
            )
        return said


def plan(space: Space, config: TrialConfig, options: Options, num_trials: int) -> Plan:
    """The estimate; builds each network of the space without memory of its own (torch's meta device)."""
    num_images = _num_images(config)
    variants = list(_variants(space, config))
    costs = _costs(variants, num_images)
    sizes = {variant.image_size for variant in variants}
    most = {name: max(getattr(cost, name) for cost in costs) for name in Cost.__dataclass_fields__}
    num_val = config.val_limit or num_images["val"]
    cache = {size: sum(num_images.values()) * size**2 * (config.in_channels + MASK_BYTES) for size in sizes}
    missing = [size for size in sizes if not is_data_prepared(replace(config, image_size=size))]
    fitting = int(max(1, (psutil.cpu_count() or 1) // options.cpus_per_trial))
    return Plan(
        num_trials=num_trials,
        num_epochs_most=num_trials * config.epochs,
        trial=Cost(**{**most, "save_interval": min(cost.save_interval for cost in costs)}),
        cache_bytes=sum(cache.values()),
        cache_missing_bytes=sum(cache[size] for size in missing),
        study_bytes=num_val * config.image_size**2 * (config.in_channels + MASK_BYTES) + 50e3 * (1 + num_trials),
        num_together=min(num_trials, options.concurrent or fitting),
    )


def num_better_epochs(epochs: int) -> int:
    """About how many epochs are the best so far: all of a short run, fewer and fewer of a long one."""
    return min(epochs, math.ceil(3 * math.sqrt(epochs)))


def _costs(variants: list[TrialConfig], num_images: dict[str, int]) -> list[Cost]:
    """Of every variant but for attention and head, which weigh little; of the heaviest of those with these, too."""
    alike: dict[TrialConfig, list[TrialConfig]] = {}
    for variant in variants:
        alike.setdefault(replace(variant, attention="none", head="sigmoid"), []).append(variant)
    costs = {key: _cost(group[0], num_images) for key, group in alike.items()}
    heaviest = max(costs, key=lambda key: costs[key].memory)
    return [*costs.values(), *(_cost(variant, num_images) for variant in alike[heaviest])]


def _cost(config: TrialConfig, num_images: dict[str, int]) -> Cost:
    of_network = {name: getattr(config, name) for name in MODEL_FIELDS}
    network = _network(TrialConfig(**of_network, own=config.own, code=config.code))
    num_parameters = network.num_parameters
    weights = 4 * num_parameters
    state = weights * (1 + COPIES.get(config.optimizer, MOST_COPIES)) + 4 * network.num_buffers
    batch = config.batch_size * config.image_size**2 * (config.in_channels + MASK_CHANNELS) * 4
    num_train = config.train_limit or num_images["train"]
    steps = math.ceil(min(config.images_per_epoch or num_train, num_train) / config.batch_size)
    masks = (config.val_limit or num_images["val"]) * config.image_size**2 / 8
    layers = network.num_layers * math.ceil(steps / SAMPLE_EVERY) * LAYER_ROW_BYTES  # an epoch
    best = weights + 4 * network.num_buffers + masks
    interval = save_interval(config, num_parameters)
    num_saves = math.ceil(config.epochs / interval)
    logs = config.epochs * (layers + HISTORY_BYTES)
    training = state + weights + network.activation_bytes + batch  # and the gradients
    recorder = state + weights + 2 * batch  # before the step; the change; the last two batches
    rollback = state if config.on_divergence == "rollback" else 0.0
    capsule = 2 * state + batch + MAX_VALIDATION * config.image_size**2 * (config.in_channels + MASK_CHANNELS) * 4
    better = num_better_epochs(config.epochs) - num_better_epochs(config.epochs) // interval
    return Cost(
        num_parameters=num_parameters,
        memory=TORCH_BYTES + training + recorder + state + rollback,  # with the state before the first sign
        device_memory=training + recorder + rollback,
        explaining=capsule + 2 * state,  # the capsule, and the step under two settings
        kept=state + 2 * best + 2 * logs + config.epochs * RESULT_BYTES,
        capsule=capsule + state,  # and the first sign's state in the checkpoint
        written=num_saves * (2 * state + best + logs / 2)
        + num_better_epochs(config.epochs) * best
        + better * (best + logs / 2)
        + config.epochs * (layers + RESULT_BYTES),
        save_interval=interval,
    )


def _variants(space: Space, config: TrialConfig) -> Iterator[TrialConfig]:
    """Every network and optimiser of the space, at its largest width, image and batch."""
    values = {name: _largest(space, name) for name in involved_axes(space, (*VARIED, *own_axes(space)))}
    fixed = {**config.to_dict(), **{name: value for name, value in space.fixed.items() if name not in space.axes}}
    for chosen in combinations(space, values):
        yield TrialConfig.from_dict({**fixed, **chosen})


def own_axes(space: Space) -> list[str]:
    """The axes that are settings of a user's own code: a network may read any of them."""
    return [name for name in space.axes if name.startswith("own.")]


def _largest(space: Space, name: str) -> list[Value]:
    axis = space.axes[name]
    numbers = axis.values if isinstance(axis, Choice) else (axis.high,)
    if not all(type(value) in (int, float) for value in numbers):
        return list(numbers)
    return list(dict.fromkeys([max(numbers), *waited_for(space, name)]))  # type: ignore[type-var]  numbers, as seen


@lru_cache(maxsize=256)
def _network(config: TrialConfig) -> Network:
    """Of a configuration's network, whatever else it says. A user's own may not run without memory of its own."""
    try:
        return _measure(config, config.batch_size, "meta")
    except Exception:  # a user's code may raise anything
        if not is_own(config.model):
            raise
        return _measure(config, min(config.batch_size, MOST_IMAGES), "cpu")


def _measure(config: TrialConfig, num_images: int, device: str) -> Network:
    saved: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        saved[id(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.random.fork_rng(devices=[]), torch.device(device):
        model = build_model(config)
        images_BCHW = torch.empty(num_images, config.in_channels, config.image_size, config.image_size)
        with saved_tensors_hooks(note, lambda tensor: tensor):
            outputs = model(images_BCHW)  # alive while `saved` is summed: ids stay unique
            activations = sum(saved.values()) * config.batch_size / num_images
    del outputs
    layers = sum(1 for module in model.modules() if not list(module.children()))
    parameters, buffers = sum(p.numel() for p in model.parameters()), sum(b.numel() for b in model.buffers())
    return Network(parameters, buffers, layers, activations)


def _num_images(config: TrialConfig) -> dict[str, int]:
    if config.data == "pets" and not config.data_root:
        return NUM_PETS
    return data_source(config).num_images


def _gb(num_bytes: float) -> str:
    if num_bytes >= 1e12:
        return f"{num_bytes / 1e12:.1f} TB"
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"
