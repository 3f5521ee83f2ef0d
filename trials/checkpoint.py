"""What a run needs to go on as if it had never stopped, and the best weights it has had. Never unpickles objects."""

import dataclasses
from pathlib import Path
from typing import Any

import torch

from trials.config import TrialConfig
from trials.numerics.whole_files import replacement

FOLDER, LAST, BEST = "checkpoints", "last.pt", "best.pt"
ARCHITECTURE = ("model", "in_channels", "width", "upsample", "attention", "head")
MAY_CHANGE = ("data_root", "device", "num_workers", "checkpoint_every")  # and the run is still the same


def save(path: Path, content: dict[str, Any]) -> None:
    """Written beside its place and moved there, so that no half checkpoint is ever read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacement(path) as partial:
        torch.save(content, partial)


def load(path: Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU. FileNotFoundError or ValueError, naming the file, where there is none."""
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path.absolute()}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  torch raises many kinds for a file that is not its own
        raise ValueError(f"{path}: not a checkpoint that can be read ({type(error).__name__})") from None
    if not isinstance(content, dict) or not {"config", "model"} <= set(content):
        raise ValueError(f"{path}: not a checkpoint of this project (no config and model in it)")
    return content


def find_best(place: Path) -> Path:
    """The best weights' file for a checkpoint file, a run's folder or a folder of checkpoints.

    Raises FileNotFoundError, which says where one would lie, for a place without one.
    """
    if place.is_file():
        return place
    candidates = [place / BEST, place / FOLDER / BEST, *sorted(place.glob(f"checkpoint_*/{BEST}"), reverse=True)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if not place.exists():
        raise FileNotFoundError(f"no {place.absolute()}; it names a checkpoint file or the folder of a run")
    if (place / "config.json").is_file() or (place / "params.json").is_file():
        raise FileNotFoundError(f"no checkpoint in {place.absolute()}: no epoch of this run is kept")
    raise FileNotFoundError(
        f"no checkpoint in {place.absolute()}; "
        f"a run's folder holds {FOLDER}/{BEST}, a study's trial checkpoint_*/{BEST}"
    )


def check_same_run(saved: dict[str, Any], config: TrialConfig, path: Path) -> None:
    """Raises ValueError where the checkpoint is of another architecture, or of another run."""
    saved, now = TrialConfig.from_dict(saved).to_dict(), config.to_dict()
    names = list(dict.fromkeys((*now, *saved)))
    differ = [name for name in names if name not in MAY_CHANGE and saved.get(name) != now.get(name)]
    if not differ:
        return
    if "code" in differ:
        raise ValueError(f"{path} is of another run: its own code is not this one's (sha256 differs)")
    kind = "architecture" if set(differ) & set(ARCHITECTURE) else "run"
    listed = ", ".join(f"{name}={saved.get(name)!r} there, {now.get(name)!r} here" for name in differ)
    raise ValueError(f"{path} is of another {kind}: {listed}")


def config_of(content: dict[str, Any], **changed: Any) -> TrialConfig:
    """The configuration a checkpoint was made under, with some fields changed."""
    return dataclasses.replace(TrialConfig.from_dict(content["config"]), **changed)
