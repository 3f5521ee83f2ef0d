"""The bridge from one run to Ray Tune: a trial reports an epoch's metrics and its checkpoint."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import torch
from pyarrow.fs import FileSelector
from ray import tune

from trials import checkpoint
from trials.config import TrialConfig
from trials.numerics.explaining.record import CAPSULE
from trials.numerics.explaining.record import FILE as ACCOUNT
from trials.numerics.whole_files import write_whole
from trials.outcome import line_of
from trials.own import named_errors
from trials.scores import objective
from trials.training import EpochMetrics, run

HISTORY = "history.json"  # the epochs behind the state in a checkpoint

OBJECTIVE = "objective"  # what scheduler and search look at (trials/scores.py); it is no measurement


def train_trial(params: dict[str, Any]) -> None:
    """One trial; `params` are a TrialConfig's fields."""
    config = TrialConfig.from_dict(params)
    num_cpus = tune.get_context().get_trial_resources().required_resources.get("CPU", 1)
    for limit in (torch.set_num_threads, cv2.setNumThreads):  # a worker that is used again keeps the last trial's
        limit(max(1, int(num_cpus)))
    torch.cuda.empty_cache()  # nothing without a GPU
    with tempfile.TemporaryDirectory(prefix="segstudy-") as place:
        out = Path(place) / "run"
        newest = tune.get_checkpoint()
        found = _bring_back(newest, out)
        history_file = out / HISTORY
        epoch = checkpoint.load(out / checkpoint.LAST)["epoch"] if found else 0
        history = json.loads(history_file.read_text())[:epoch] if found else []
        if newest and found and found > PurePosixPath(newest.path).name:  # Ray may not know of its last epochs
            for num in range(1, epoch + 1):
                tune.report(report_line(history[:num], config.metric))
        for metrics in _with_lines_named(run(config, out=out, resume=found is not None)):
            history.append(line_of(metrics))
            if metrics.diverged_cause:  # for the trial's log in the dashboard
                print((out / ACCOUNT).read_text())
            if metrics.saved and (out / checkpoint.LAST).is_file():  # there is something to resume from
                write_whole(history_file, json.dumps(history))
            tune.report(report_line(history, config.metric), checkpoint=_checkpoint_of(out, metrics))


def _with_lines_named(epochs: Iterator[EpochMetrics]) -> Iterator[EpochMetrics]:
    """The same epochs; an error within a user's own code names its line, and is one that Ray can pickle."""
    with named_errors():
        yield from epochs


def _checkpoint_of(out: Path, metrics: EpochMetrics) -> tune.Checkpoint | None:
    """What Ray is to keep of the epoch: all where it was saved, else its weights without the state if it is the best.

    Ray keeps the newest of each kind (see `_run_config`): a copy of the whole state at every epoch is what fills disks.
    """
    if metrics.saved:
        return tune.Checkpoint.from_directory(out)
    if metrics.best_epoch != metrics.epoch:
        return None
    best = out.with_name("best")
    shutil.rmtree(best, ignore_errors=True)
    left_out = shutil.ignore_patterns(checkpoint.LAST, HISTORY, CAPSULE)
    shutil.copytree(out, best, ignore=left_out, copy_function=os.link)  # links: nothing is written twice
    return tune.Checkpoint.from_directory(best)


def report_line(history: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    """The last line as it was measured, and the objective, always finite: a scheduler never stops a NaN, and a search
    never learns of one.
    """
    return {**history[-1], OBJECTIVE: objective(history, metric)}


def _bring_back(newest: tune.Checkpoint | None, out: Path) -> str | None:
    """Copies the trial's state into `out` from the newest checkpoint that holds it, and gives that one's name.

    None where none holds a state.

    Ray names the newest of all, which may hold the best weights alone, or be gone where the study was killed between
    the writing of a checkpoint and that of Ray's record of it. Those beyond Ray's record come last: their lines in
    result.json may not have been written, and the last of them may have been cut short.
    """
    if newest is None:
        return None
    folder, recorded = PurePosixPath(newest.path).parent, PurePosixPath(newest.path).name
    listed = newest.filesystem.get_file_info(FileSelector(str(folder), allow_not_found=True))
    names = sorted((info.base_name for info in listed if info.base_name.startswith("checkpoint_")), reverse=True)
    for name in sorted(names, key=lambda name: name > recorded):  # stable: newest first in both
        shutil.rmtree(out, ignore_errors=True)
        with tune.Checkpoint(str(folder / name), newest.filesystem).as_directory() as saved:
            shutil.copytree(saved, out)
        if _is_whole(out):
            return name
    shutil.rmtree(out, ignore_errors=True)
    return None


def _is_whole(out: Path) -> bool:
    """Whether there is a state to go on from, with the epochs behind it."""
    try:
        json.loads((out / HISTORY).read_text())
        checkpoint.load(out / checkpoint.LAST)
    except (OSError, ValueError):
        return False
    return True
