"""What is kept of a divergence: the state before it, the state before its first sign, and the batch; to be run again.

A capsule is a folder: capsule.json, state.safetensors (before the step of the event), first_state.safetensors (before
the first abnormal step, where there was one), batch.safetensors, outputs.safetensors (what the network gave for it),
and validation.safetensors where the validation showed the event. The batches between first sign and event are named by
seed, epoch and index. Its size is bounded by twice the weights with their optimiser's copies, one batch with its
outputs, and MAX_VALIDATION images. Nothing in it is pickled.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trials.data.loader import Batch

if TYPE_CHECKING:
    from trials.config import TrialConfig
    from trials.state import State

SCHEMA_VERSION, READABLE = 4, (2, 3, 4)
STATE, FIRST_STATE, BATCH, FACTS = "state.safetensors", "first_state.safetensors", "batch.safetensors", "capsule.json"
VALIDATION, OUTPUTS = "validation.safetensors", "outputs.safetensors"
NEEDED = ("config", "where", "event", "state", "first_state", "num_steps", "num_threads", "device", "trace", "sha256")
PLACES = ("capsule", "checkpoints/capsule", "checkpoint_*/capsule")  # below the folders a user may name instead
AGAIN = "copy it anew from where the run wrote it, or make another: the same configuration diverges again"
MAX_VALIDATION = 32  # images
VALIDATED = ("buffers", "val_loss", "val_outputs")  # events of which the validation images tell


@dataclass(frozen=True)
class Kept:
    """A state: its tensors by name, and what is not a tensor, as JSON can hold it."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def tensors_of(state: "State") -> dict[str, Tensor]:
    """Every tensor that a step depends on and changes, by name; not copied."""
    tensors = {f"model.{name}": tensor for name, tensor in state.model.state_dict().items()}
    for index, slots in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items() if isinstance(value, Tensor)}
    if state.scaler.is_enabled():  # get_scale() would wait for the device
        tensors |= {"scaler.scale": state.scaler._scale, "scaler.growth_tracker": state.scaler._growth_tracker}
    return tensors


def facts_of(state: "State") -> dict[str, Any]:
    """What a step depends on and is no tensor; does not wait for the device."""
    return {
        "optimizer_groups": [
            {name: value for name, value in group.items() if name != "params"} for group in state.optimizer.param_groups
        ],
        "scheduler": state.scheduler.state_dict(),
        "epoch": state.epoch,
        "step": state.step,
        "best_val_loss": state.best_val_loss if state.best_val_loss < float("inf") else None,
    }


def put_together(state: "State", kept: Kept) -> None:
    """Makes the state what was taken apart, torch's random numbers included."""
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "scaler": {}, "rng": {}}
    for name, tensor in kept.tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    state.model.load_state_dict(parts["model"])
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        index, _, slot = name.partition(".")
        slots.setdefault(int(index), {})[slot] = tensor.clone()
    own = state.optimizer.state_dict()["param_groups"]
    groups = [
        {**group, "params": mine["params"]} for group, mine in zip(kept.facts["optimizer_groups"], own, strict=True)
    ]
    state.optimizer.load_state_dict({"state": slots, "param_groups": groups})
    state.scheduler.load_state_dict(kept.facts["scheduler"])
    if state.scaler.is_enabled():
        scale, tracker = float(parts["scaler"]["scale"]), int(parts["scaler"]["growth_tracker"])
        state.scaler.load_state_dict({**state.scaler.state_dict(), "scale": scale, "_growth_tracker": tracker})
    torch.set_rng_state(parts["rng"]["cpu"])
    state.epoch, state.step = kept.facts["epoch"], kept.facts["step"]
    best = kept.facts["best_val_loss"]
    state.best_val_loss = float("inf") if best is None else best


@dataclass(frozen=True)
class Capsule:
    """A capsule that was read back."""

    config: "TrialConfig"
    where: str
    state: Kept
    first_state: Kept | None
    batch: Batch
    validation: Batch | None
    outputs: Tensor | None  # of the network in the event's step, [B, 1, H, W]; None in capsules before version 4
    facts: Mapping[str, Any]


def write(
    folder: Path,
    state: Kept,
    first: Kept | None,
    batch: Batch,
    validation: Batch | None,
    outputs: Tensor | None,
    facts: Mapping[str, Any],
) -> None:
    """Writes the capsule; its content hash goes into capsule.json. One that was cut short before is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_file(contiguous(state.tensors), folder / STATE)
    if first:
        save_file(contiguous(first.tensors), folder / FIRST_STATE)
    save_file(contiguous(vars(batch)), folder / BATCH)
    if validation:
        save_file(contiguous(vars(validation)), folder / VALIDATION)
    if outputs is not None:
        save_file(contiguous({"outputs": outputs}), folder / OUTPUTS)
    told = {
        "schema_version": SCHEMA_VERSION,
        **facts,
        "state": state.facts,
        "first_state": first.facts if first else None,
    }
    told = json.loads(json.dumps(told, allow_nan=False))  # as it will be read: tuples are lists
    written = {**told, "sha256": content_hash(folder, told)}
    (folder / FACTS).write_text(json.dumps(written, indent=2, allow_nan=False) + "\n")


def read(folder: Path) -> Capsule:
    """Raises FileNotFoundError or ValueError, naming the file and what to do, where it is no capsule or not whole."""
    from trials.config import TrialConfig

    facts = _read_facts(folder)
    needed = [STATE, BATCH, *([FIRST_STATE] if facts["first_state"] else [])]
    if missing := [name for name in needed if not (folder / name).is_file()]:
        raise FileNotFoundError(f"{folder.absolute()} is not whole: no {', '.join(missing)}; {AGAIN}")
    if facts["sha256"] != content_hash(folder, facts):
        raise ValueError(f"{folder.absolute()} is not as it was written (sha256 differs); {AGAIN}")
    validation, outputs = folder / VALIDATION, folder / OUTPUTS
    return Capsule(
        config=TrialConfig.from_dict(facts["config"]),
        where=facts["where"],
        state=Kept(load_file(folder / STATE), facts["state"]),
        first_state=Kept(load_file(folder / FIRST_STATE), facts["first_state"]) if facts["first_state"] else None,
        batch=Batch(**load_file(folder / BATCH)),
        validation=Batch(**load_file(validation)) if validation.is_file() else None,
        outputs=load_file(outputs)["outputs"] if outputs.is_file() else None,
        facts=facts,
    )


def _read_facts(folder: Path) -> dict[str, Any]:
    path = folder / FACTS
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder.absolute()}; a capsule is a folder that holds {FACTS}")
    if not path.is_file():
        inside = sorted(place.parent for pattern in PLACES for place in folder.glob(f"{pattern}/{FACTS}"))
        hint = f"one lies in {inside[-1]}" if inside else "a run that diverged has one in checkpoints/capsule"
        raise FileNotFoundError(f"no capsule in {folder.absolute()}: it has no {FACTS}; {hint}")
    try:
        facts = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path.absolute()} is not JSON ({error}); {AGAIN}") from None
    version = facts.get("schema_version") if isinstance(facts, dict) else None
    if version not in READABLE:
        raise ValueError(f"{path.absolute()}: schema_version {version}; this version reads {READABLE}; {AGAIN}")
    if missing := [name for name in NEEDED if name not in facts]:
        raise ValueError(f"{path.absolute()} is not whole: no {', '.join(missing)}; {AGAIN}")
    return facts


def content_hash(folder: Path, facts: Mapping[str, Any]) -> str:
    """SHA-256 over the capsule's facts, but for the hash itself, and tensors."""
    digest = hashlib.sha256()
    if facts["schema_version"] > 2:  # before, of the tensors alone
        told = {name: value for name, value in facts.items() if name != "sha256"}
        digest.update(json.dumps(told, sort_keys=True).encode())
    for name in (STATE, FIRST_STATE, BATCH, VALIDATION, OUTPUTS):
        if (folder / name).is_file():
            digest.update(name.encode())
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU and each in memory of its own, as safetensors wants it."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
