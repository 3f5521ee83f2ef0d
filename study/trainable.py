"""The bridge from one run to Ray Tune: a trial reports an epoch's metrics and its checkpoint."""

import json
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import torch
from pyarrow.fs import FileType
from ray import tune

from trials.checkpoint import LAST
from trials.config import TrialConfig
from trials.numerics.account import FILE as ACCOUNT
from trials.training import run

# What a metric is worth at its worst, where a trial diverged before it had one. 100 is the bound of BCE in torch.
WORST = {
    "train_loss": 100.0,
    "val_loss": 100.0,
    "val_bce": 100.0,
    "val_dice": 0.0,
    "val_dice_soft": 0.0,
    "val_iou": 0.0,
}
METRIC_MODES = {name: "min" if worst else "max" for name, worst in WORST.items()}


def train_trial(params: dict[str, Any]) -> None:
    """One trial; `params` are a TrialConfig's fields."""
    config = TrialConfig.from_dict(params)
    num_cpus = tune.get_context().get_trial_resources().required_resources.get("CPU", 1)
    for limit in (torch.set_num_threads, cv2.setNumThreads):  # a worker that is used again keeps the last trial's
        limit(max(1, int(num_cpus)))
    torch.cuda.empty_cache()  # nothing without a GPU
    with tempfile.TemporaryDirectory(prefix="segstudy-") as place:
        out = Path(place)
        resume = _bring_back(tune.get_checkpoint(), out)
        history_file = out / "history.json"
        history = json.loads(history_file.read_text()) if resume else []
        for metrics in run(config, out=out, resume=resume):
            history.append(searchable([*history, asdict(metrics)]))
            if metrics.diverged_cause:  # for the trial's log in the dashboard
                print((out / ACCOUNT).read_text())
            if (out / LAST).is_file():  # there is something to resume from
                history_file.write_text(json.dumps(history))
            checkpoint = tune.Checkpoint.from_directory(place) if any(out.iterdir()) else None
            tune.report(history[-1], checkpoint=checkpoint)


def searchable(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The last epoch's metrics with the trial's worst finite value for each that is not finite.

    Neither ASHA nor Optuna can do anything with NaN: ASHA never stops such a trial, Optuna never learns of it.
    """
    return {name: _worst(name, rows) if _is_missing(value) else value for name, value in rows[-1].items()}


def _worst(name: str, rows: Sequence[Mapping[str, Any]]) -> float:
    finite = [row[name] for row in rows if not _is_missing(row[name])]
    if not finite:
        return WORST[name]
    return max(finite) if METRIC_MODES.get(name) == "min" else min(finite)


def _is_missing(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _bring_back(checkpoint: tune.Checkpoint | None, out: Path) -> bool:
    """Copies the trial's checkpoint into `out`; False where there is none."""
    if checkpoint is None:
        return False
    if not _is_there(checkpoint):  # killed between the writing of a checkpoint and that of Ray's record of it
        newest = sorted(Path(checkpoint.path).parent.glob("checkpoint_*/history.json"))
        if not newest:
            return False
        checkpoint = tune.Checkpoint(str(newest[-1].parent))
    with checkpoint.as_directory() as saved:
        shutil.copytree(saved, out, dirs_exist_ok=True)
    return True


def _is_there(checkpoint: tune.Checkpoint) -> bool:
    assert checkpoint.filesystem is not None  # Ray finds it by the path
    return checkpoint.filesystem.get_file_info(f"{checkpoint.path}/history.json").type != FileType.NotFound
