"""What is saved of a divergence: the state before it, the state before its first sign, and the batch; to be run again.

A capsule is a folder: capsule.json, state.safetensors (before the step of the event), first_state.safetensors (before
the first abnormal step, where there was one), batch.safetensors, outputs.safetensors (what the network gave for it),
and validation.safetensors where the validation showed the event. A trial names the batches between first sign and
event by seed, epoch and index. Its size is bounded by twice the weights with their optimiser's copies, one step's
batches with their outputs, and the validation images. Nothing in it is pickled.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from trials.numerics import structure
from trials.numerics.training_state import SavedState

SCHEMA_VERSION, READABLE = 4, (2, 3, 4)
STATE, FIRST_STATE, BATCH, FACTS = "state.safetensors", "first_state.safetensors", "batch.safetensors", "capsule.json"
VALIDATION, OUTPUTS = "validation.safetensors", "outputs.safetensors"
NEEDED = ("config", "where", "event", "state", "first_state", "num_steps", "num_threads", "device", "trace", "sha256")
PLACES = ("capsule", "checkpoints/capsule", "checkpoint_*/capsule")  # below the folders a user may name instead
AGAIN = "copy it anew from where the run wrote it, or make another: the same run diverges again"
MAX_VALIDATION = 32  # images
VALIDATED = ("buffers", "val_loss", "val_outputs")  # events of which the validation images tell


@dataclass(frozen=True)
class Capsule:
    """A capsule that was read back. Tensors lie on the CPU, in the shapes that they had in the run."""

    where: str
    state: SavedState
    first_state: SavedState | None
    batches: tuple[Any, ...]  # of the step: one, or more where gradients were accumulated
    validation: Any | None  # a batch
    outputs: tuple[Tensor, ...] | None  # of the network for the last batch; None in capsules before version 4
    facts: Mapping[str, Any]


def write(
    folder: Path,
    state: SavedState,
    first: SavedState | None,
    batches: Sequence[Any],
    validation: Any | None,
    outputs: tuple[Tensor, ...] | None,
    facts: Mapping[str, Any],
) -> None:
    """Writes the capsule; its content hash goes into capsule.json. One that was cut short before is replaced.

    batches, validation: tensors of any shape in any structure; one batch that is a mapping of tensors is written under
    their own names. outputs: in the shapes that the network gave.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_file(contiguous(state.tensors), folder / STATE)
    if first:
        save_file(contiguous(first.tensors), folder / FIRST_STATE)
    structures = {
        "batch_structure": _write_batch(folder / BATCH, batches[0] if is_flat(batches) else list(batches)),
        "validation_structure": None if validation is None else _write_batch(folder / VALIDATION, validation),
    }
    if outputs:
        names = ["outputs", *(f"outputs.{index}" for index in range(1, len(outputs)))]
        save_file(contiguous(dict(zip(names, outputs, strict=True))), folder / OUTPUTS)
    content = {
        "schema_version": SCHEMA_VERSION,
        **facts,
        **{name: each for name, each in structures.items() if each is not None},
        "state": state.facts,
        "first_state": first.facts if first else None,
    }
    content = json.loads(json.dumps(content, allow_nan=False, default=_plain))  # as it will be read: tuples are lists
    written = {**content, "sha256": content_hash(folder, content)}
    (folder / FACTS).write_text(json.dumps(written, indent=2, allow_nan=False) + "\n")


def is_flat(batches: Sequence[Any]) -> bool:
    """Whether this is one batch that a file of named tensors can hold as it is."""
    only = batches[0]
    return len(batches) == 1 and isinstance(only, dict) and all(isinstance(value, Tensor) for value in only.values())


def _write_batch(path: Path, batch: Any) -> Any | None:
    """Its structure; None where the names of the file's tensors say it all."""
    if is_flat([batch]):
        save_file(contiguous({str(name): tensor for name, tensor in batch.items()}), path)
        return None
    tensors, described = structure.taken_apart(batch)
    save_file(contiguous(tensors), path)
    return described


def _read_batch(path: Path, described: Any | None) -> Any:
    tensors = load_file(path)
    return tensors if described is None else structure.put_back(described, tensors)


def _read_outputs(path: Path) -> tuple[Tensor, ...]:
    tensors = load_file(path)
    return tuple(tensors[name] for name in sorted(tensors, key=lambda name: int(name.partition(".")[2] or 0)))


def _plain(value: Any) -> Any:
    """For JSON: what an optimiser's groups hold beside numbers and texts."""
    return value.tolist() if isinstance(value, Tensor) else str(value)


def read(folder: Path) -> Capsule:
    """Raises FileNotFoundError or ValueError, naming the file and what to do, where it is no capsule or not whole."""
    facts = _read_facts(folder)
    needed = [STATE, BATCH, *([FIRST_STATE] if facts["first_state"] else [])]
    if missing := [name for name in needed if not (folder / name).is_file()]:
        raise FileNotFoundError(f"{folder.absolute()} is not whole: no {', '.join(missing)}; {AGAIN}")
    if facts["sha256"] != content_hash(folder, facts):
        raise ValueError(f"{folder.absolute()} is not as it was written (sha256 differs); {AGAIN}")
    described = facts.get("batch_structure")
    batch = _read_batch(folder / BATCH, described)
    validation, outputs = folder / VALIDATION, folder / OUTPUTS
    return Capsule(
        where=facts["where"],
        state=SavedState(load_file(folder / STATE), facts["state"]),
        first_state=SavedState(load_file(folder / FIRST_STATE), facts["first_state"]) if facts["first_state"] else None,
        batches=(batch,) if described is None else tuple(batch),
        validation=_read_batch(validation, facts.get("validation_structure")) if validation.is_file() else None,
        outputs=_read_outputs(outputs) if outputs.is_file() else None,
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
        hashed = {name: value for name, value in facts.items() if name != "sha256"}
        digest.update(json.dumps(hashed, sort_keys=True).encode())
    for name in (STATE, FIRST_STATE, BATCH, VALIDATION, OUTPUTS):
        if (folder / name).is_file():
            digest.update(name.encode())
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU and each in memory of its own, in its shape, as safetensors wants it."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
