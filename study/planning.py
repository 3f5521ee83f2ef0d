"""What a study would take, before it is started: trials, disk and memory."""

from dataclasses import dataclass, replace

import torch
from torch.autograd.graph import saved_tensors_hooks

from search_spaces import Space
from search_spaces.space import Choice
from study.options import Options, largest_batch
from trials.config import TrialConfig
from trials.models import build_model
from trials.optimizers import COPIES
from trials.sources import DATASETS

NUM_PETS = 7349
TORCH_BYTES = 600e6  # a process with torch and Ray in it, measured on Linux
BYTES_PER_PIXEL = 4  # three colours and a trimap, in the cache


@dataclass(frozen=True)
class Plan:
    """Upper estimates for the largest trial of the space."""

    num_trials: int
    num_epochs_most: int  # over all trials, if none is stopped early
    num_parameters: int
    trial_memory_bytes: float
    trial_disk_bytes: float
    cache_bytes: float

    def to_text(self, options: Options) -> str:
        """A few lines for the terminal."""
        return "\n".join(
            [
                f"trials            {self.num_trials} ({options.samples} configurations x {options.seeds} seeds)",
                f"epochs            at most {self.num_epochs_most} (scheduler {options.scheduler} stops trials early)"
                if options.scheduler != "none"
                else f"epochs            {self.num_epochs_most}",
                f"largest network   {self.num_parameters:,} parameters",
                f"memory a trial    about {_gb(self.trial_memory_bytes)}, the process itself included",
                f"disk              about {_gb(self.num_trials * self.trial_disk_bytes)} for checkpoints, "
                f"{_gb(self.cache_bytes)} for the prepared pictures",
            ]
        )


def plan(space: Space, config: TrialConfig, options: Options, num_trials: int) -> Plan:
    """The estimate; builds each network of the space without memory of its own (torch's meta device)."""
    candidates = [replace(variant, batch_size=largest_batch(space, config)) for variant in _variants(space, config)]
    costs = [(_training_bytes(candidate), candidate) for candidate in candidates]
    (weights, activations), _ = max(costs, key=lambda cost: sum(cost[0]))
    copies = max(COPIES[candidate.optimizer] for candidate in candidates)
    heaviest = max(weight for (weight, _), _ in costs)
    to_download = config.data == "pets" and not config.data_root
    num_images = NUM_PETS if to_download else len(DATASETS[config.data](config).names)
    return Plan(
        num_trials=num_trials,
        num_epochs_most=num_trials * config.epochs,
        num_parameters=round(heaviest / 4),
        trial_memory_bytes=TORCH_BYTES + weights * (2 + copies) + activations,
        trial_disk_bytes=heaviest * (2 + copies),  # last.pt with the optimiser's copies, and best.pt
        cache_bytes=num_images * config.image_size**2 * BYTES_PER_PIXEL,
    )


def _variants(space: Space, config: TrialConfig) -> list[TrialConfig]:
    """Every network and optimiser of the space."""
    variants = [config]
    for name in ("model", "upsample", "attention", "width", "optimizer"):
        axis = space.axes.get(name)
        if axis is not None:
            values = axis.values if isinstance(axis, Choice) else (axis.high,)
            variants = [replace(variant, **{name: value}) for variant in variants for value in values]
    return variants


def _training_bytes(config: TrialConfig) -> tuple[int, int]:
    """(weights, activations kept for the backward pass) in float32."""
    saved: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved[id(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.device("meta"):
        model = build_model(config)
        images_BCHW = torch.empty(config.batch_size, 3, config.image_size, config.image_size)
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            outputs = model(images_BCHW)  # alive while `saved` is summed: ids stay unique
            activations = sum(saved.values())
    del outputs
    return sum(parameter.nbytes for parameter in model.parameters()), activations


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.0f} MB"
