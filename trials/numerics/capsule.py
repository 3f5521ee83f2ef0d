"""What is kept of a divergence: the state before it, the state before its first sign, and the batch; to be run again.

A capsule is a folder: capsule.json, state.safetensors (before the step of the event), first_state.safetensors (before
the first abnormal step, where there was one), batch.safetensors. Its size is bounded by twice the weights with their
optimiser's copies and one batch. Nothing in it is pickled.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trials.data import Batch

if TYPE_CHECKING:
    from trials.config import TrialConfig
    from trials.state import State

SCHEMA_VERSION = 1
STATE, FIRST_STATE, BATCH, FACTS = "state.safetensors", "first_state.safetensors", "batch.safetensors", "capsule.json"
HEALED_AFTER = 200  # good steps after which a skipped one no longer counts as the first sign of what comes


class Snapshot:
    """The state before a step, in memory of its own that is used again: a copy of weights, buffers and optimiser."""

    def __init__(self):
        self._tensors: dict[str, Tensor] = {}
        self.facts: dict[str, Any] = {}

    def take(self, state: "State") -> None:
        """Copies what the step may change. Takes no memory but at its first calls; does not wait for the device."""
        tensors, self.facts = taken_apart(state)
        if self._tensors.keys() != tensors.keys():
            self._tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}
            return
        on_device = [name for name, tensor in tensors.items() if tensor.dtype == torch.float32 and tensor.dim() > 0]
        torch._foreach_copy_([self._tensors[name] for name in on_device], [tensors[name] for name in on_device])
        for name in tensors.keys() - set(on_device):
            self._tensors[name].copy_(tensors[name])

    def on_cpu(self) -> "Kept":
        """A copy that stays as it is."""
        return Kept({name: tensor.detach().cpu().clone() for name, tensor in self._tensors.items()}, self.facts)


@dataclass(frozen=True)
class Kept:
    """A state: its tensors by name, and what is not a tensor, as JSON can hold it."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def taken_apart(state: "State") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything that a step depends on and changes: tensors by name, and the rest."""
    tensors = {f"model.{name}": tensor for name, tensor in state.model.state_dict().items()}
    optimizer = state.optimizer.state_dict()
    for index, slots in optimizer["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items() if isinstance(value, Tensor)}
    facts = {
        "optimizer_groups": optimizer["param_groups"],
        "scheduler": state.scheduler.state_dict(),
        "scaler": state.scaler.state_dict(),
        "epoch": state.epoch,
        "step": state.step,
    }
    return tensors, facts


def put_together(state: "State", kept: Kept) -> None:
    """Makes the state what was taken apart."""
    model = {name.removeprefix("model."): tensor for name, tensor in kept.tensors.items() if name.startswith("model.")}
    state.model.load_state_dict(model)
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in kept.tensors.items():
        if name.startswith("optimizer."):
            _, index, slot = name.split(".")
            slots.setdefault(int(index), {})[slot] = tensor
    state.optimizer.load_state_dict({"state": slots, "param_groups": kept.facts["optimizer_groups"]})
    state.scheduler.load_state_dict(kept.facts["scheduler"])
    state.scaler.load_state_dict(kept.facts["scaler"])
    state.epoch, state.step = kept.facts["epoch"], kept.facts["step"]


class Recorder:
    """Keeps, while a run goes on, what a capsule would need if its next step were the last good one."""

    def __init__(self):
        self._before = Snapshot()
        self._batch: Batch | None = None
        self._good_steps = 0
        self.first: Kept | None = None  # the state before the first abnormal step

    def before_step(self, state: "State", batch: Batch) -> None:
        """The step has not begun; `state.step` is its number already."""
        self._before.take(state)
        self._batch = batch

    def after_step(self, skipped: bool) -> None:
        """A skipped step is a sign, until HEALED_AFTER good ones have followed the last."""
        if skipped:
            self._good_steps = 0
            self.first = self.first or self._before.on_cpu()
            return
        self._good_steps += 1
        if self._good_steps >= HEALED_AFTER:
            self.first = None

    def write(self, folder: Path, config: "TrialConfig", where: str, num_steps: int) -> str:
        """Writes the capsule of an event at the last step; gives its content hash. num_steps: of the whole run."""
        assert self._batch is not None
        kept = self._before.on_cpu()
        folder.mkdir(parents=True, exist_ok=True)
        save_file(contiguous(kept.tensors), folder / STATE)
        if self.first:
            save_file(contiguous(self.first.tensors), folder / FIRST_STATE)
        batch = {"images": self._batch.images, "targets": self._batch.targets, "valid": self._batch.valid}
        save_file(contiguous({name: tensor.cpu() for name, tensor in batch.items()}), folder / BATCH)
        facts = {
            "schema_version": SCHEMA_VERSION,
            "config": config.to_dict(),
            "where": where,
            "state": kept.facts,
            "first_state": self.first.facts if self.first else None,
            "num_steps": num_steps,
            "num_threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "device": self._batch.images.device.type,
        }
        facts["sha256"] = content_hash(folder)
        (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n")
        return facts["sha256"]


@dataclass(frozen=True)
class Capsule:
    """A capsule that was read back."""

    config: "TrialConfig"
    where: str
    state: Kept
    first_state: Kept | None
    batch: Batch
    facts: Mapping[str, Any]


def read(folder: Path) -> Capsule:
    """Raises FileNotFoundError or ValueError, naming the folder, where it is no capsule or is not whole."""
    from trials.config import TrialConfig

    if not (folder / FACTS).is_file():
        raise FileNotFoundError(f"no capsule in {folder.absolute()}: it has no {FACTS}")
    facts = json.loads((folder / FACTS).read_text())
    if facts["sha256"] != content_hash(folder):
        raise ValueError(f"{folder}: its tensors are not those that {FACTS} was written for (sha256 differs)")
    batch = load_file(folder / BATCH)
    first = Kept(load_file(folder / FIRST_STATE), facts["first_state"]) if facts["first_state"] else None
    return Capsule(
        config=TrialConfig.from_dict(facts["config"]),
        where=facts["where"],
        state=Kept(load_file(folder / STATE), facts["state"]),
        first_state=first,
        batch=Batch(batch["images"], batch["targets"], batch["valid"]),
        facts=facts,
    )


def content_hash(folder: Path) -> str:
    """SHA-256 over the capsule's tensors."""
    digest = hashlib.sha256()
    for name in (STATE, FIRST_STATE, BATCH):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each in memory of its own, as safetensors wants it."""
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
