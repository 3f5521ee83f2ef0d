"""study.json: what was asked, on which data, with which code and machine; and the study's other files of its own."""

import json
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from safetensors.numpy import save_file

from search_spaces import Space
from study.options import Options
from trials.config import TrialConfig
from trials.data.loader import split_indices, written_masks
from trials.numerics.whole_files import write_whole
from trials.parts import prepared_data

SCHEMA_VERSION = 2  # 1: a diverged trial's last line holds substitutes for what was not measured
FILE = "study.json"
PACKAGES = ("segstudy", "torch", "torchvision", "albumentations", "ray", "optuna", "numpy", "pandas", "seaborn")


def new_manifest(name: str, space: Space, config: TrialConfig, options: Options, num_trials: int) -> dict[str, Any]:
    """study.json of a study that begins now; `data` is added when the data are there."""
    varied = set(space.axes) | {"seed"}
    files = [f"{name} {file.sha256[:12]}" for name, file in sorted(config.code.items())]
    code = {"code": ", ".join(files)} if files else {}  # for people; the configuration has the text
    return {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "created": now(),
        "finished": None,
        "interrupted": False,
        "space": space.to_dict(),
        "options": {**options.to_dict(), "epochs": config.epochs},
        "config": config.to_dict(),
        "fixed": {**{key: value for key, value in config.to_dict().items() if key not in (*varied, "code")}, **code},
        "num_trials": num_trials,
        "provenance": provenance(),
    }


def read(folder: Path) -> dict[str, Any]:
    """study.json of a folder. Raises FileNotFoundError or ValueError, naming the file, where it is none of ours."""
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(f"no study in {folder.absolute()}: it has no {FILE}")
    try:
        manifest = json.loads(path.read_text())
        found = manifest["schema_version"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a study's manifest ({type(error).__name__}: {error})") from None
    if found != SCHEMA_VERSION:
        raise ValueError(
            f"{path}: schema_version {found}, and this version runs {SCHEMA_VERSION}: a study is resumed by the "
            f"version that began it; python analysis/report.py {folder} reads it as it is"
        )
    return manifest


def config_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """The configuration that every trial starts from, as TrialConfig reads it."""
    if "config" in manifest:
        return manifest["config"]
    return {**manifest["fixed"], **manifest["space"]["baseline"]}  # of a study begun by an older version


def write(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes study.json, whole or not at all."""
    write_json(folder / FILE, manifest)


def write_json(path: Path, content: Any) -> None:
    """Strict JSON, whole or not at all. Raises ValueError for NaN and infinity."""
    write_whole(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_validation(folder: Path, config: TrialConfig) -> None:
    """The validation images (uint8 N,H,W,C) and masks (uint8 N,H,W): the report needs neither torch nor the data."""
    prepared = prepared_data(config)
    indices = split_indices(prepared, "val", config.val_limit)
    masks = written_masks(prepared.trimaps_NHW[indices], config.border)
    images = np.ascontiguousarray(prepared.images_NHWC[indices])
    save_file({"images": images, "masks": masks}, str(folder / "validation.safetensors"))
    listed = [{"name": prepared.names[i], "hard_cases": list(prepared.hard_cases[i])} for i in indices]
    write_json(folder / "validation.json", listed)


def now() -> str:
    """The time as text, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance() -> dict[str, Any]:
    """Commit, versions, hardware and command."""
    commit = _git("rev-parse", "HEAD") if _is_clone() else None
    return {
        "commit": commit,
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")) if commit else None,
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "hardware": hardware(),
        "command": shlex.join(["python", "-m", "study.run", *sys.argv[1:]]),
    }


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and GPUs of this machine."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "cpu": _cpu_model() or platform.machine(),
        "num_cpus": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }


def _cpu_model() -> str | None:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _is_clone() -> bool:
    """Whether this package lies in a clone of its own repository; installed, it may lie within somebody else's."""
    top = _git("rev-parse", "--show-toplevel")
    return top is not None and Path(top).resolve() == Path(__file__).resolve().parents[1]


def _git(*arguments: str) -> str | None:
    try:
        found = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or not a clone
    return found.stdout.strip()
