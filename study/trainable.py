"""The bridge from one run to Ray Tune: a trial reports an epoch's metrics and its checkpoint."""

import math
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from ray import tune

from trials.config import TrialConfig
from trials.training import EpochMetrics, run

# What a metric is worth at its worst, where a trial diverged before it had one. 100 is the bound of BCE in torch.
WORST = {
    "train_loss": 100.0,
    "val_loss": 100.0,
    "val_bce": 100.0,
    "val_dice": 0.0,
    "val_dice_soft": 0.0,
    "val_iou": 0.0,
    "best_val_dice": 0.0,
}
METRIC_MODES = {name: "min" if worst else "max" for name, worst in WORST.items() if name != "best_val_dice"}


def train_trial(params: dict[str, Any]) -> None:
    """One trial; `params` are a TrialConfig's fields."""
    config = TrialConfig.from_dict(params)
    num_cpus = tune.get_context().get_trial_resources().required_resources.get("CPU", 1)
    torch.set_num_threads(max(1, int(num_cpus)))  # a worker that is used again keeps the last trial's
    with tempfile.TemporaryDirectory(prefix="segstudy-") as place:
        out = Path(place)
        resume = _bring_back(tune.get_checkpoint(), out)
        history: list[EpochMetrics] = []
        for metrics in run(config, out=out, resume=resume):
            history.append(metrics)
            checkpoint = tune.Checkpoint.from_directory(place) if any(out.iterdir()) else None
            tune.report(searchable(history), checkpoint=checkpoint)


def searchable(history: Iterable[EpochMetrics]) -> dict[str, Any]:
    """The last epoch's metrics with the trial's worst finite value for each that is not finite.

    Neither ASHA nor Optuna can do anything with NaN: ASHA never stops such a trial, Optuna never learns of it.
    """
    rows = [asdict(metrics) for metrics in history]
    return {name: _worst(name, rows) if _is_missing(value) else value for name, value in rows[-1].items()}


def _worst(name: str, rows: list[dict[str, Any]]) -> float:
    finite = [row[name] for row in rows if not _is_missing(row[name])]
    if not finite:
        return WORST[name]
    return max(finite) if METRIC_MODES.get(name) == "min" else min(finite)


def _is_missing(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _bring_back(checkpoint: tune.Checkpoint | None, out: Path) -> bool:
    if checkpoint is None:
        return False
    with checkpoint.as_directory() as saved:
        shutil.copytree(saved, out, dirs_exist_ok=True)
    return True
