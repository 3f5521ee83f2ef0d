"""Builds the Tuner of a study, new or taken up again, and runs it."""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import optuna
import ray
import torch
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, ResultGrid, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial

from search_spaces import Space
from search_spaces.space import Value
from study.grid import grid
from study.monitoring import OutcomeWriter, Progress, ResultLines
from study.options import Options
from study.search import make_searcher
from study.stopping import SCHEDULERS
from study.trainable import train_trial
from trials.config import TrialConfig

T = TypeVar("T")
START_TRIES = 3
TOO_SLOW = ("timed out during startup", "Failed to start the dashboard")  # Ray's own words


@dataclass(frozen=True)
class Study:
    """One study, ready to be run: its place and all that was settled."""

    folder: Path
    space: Space
    config: TrialConfig  # what every trial starts from
    options: Options

    @property
    def num_trials(self) -> int:
        """Every configuration under every seed."""
        return self.options.samples * self.options.seeds

    @property
    def first(self) -> list[dict[str, Value]]:
        """Configurations that are tried before the search's own: the baseline; or all that a grid has, and no other."""
        if self.options.search == "grid":
            return grid(self.space, self.options.points, self.options.samples)
        return [dict(self.space.baseline)]


def connect(address: str | None) -> str:
    """Connects to the Ray cluster at the address, or starts one here; gives the dashboard's URL.

    Raises ValueError where there is no cluster, or none can be started.
    """
    os.environ.setdefault(
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1"
    )  # JSON alone: CSV drops keys, TensorBoardX drops NaN
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its banner would stand above our table
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray sends nothing home unless its user says so
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    num_gpus = None if address else torch.cuda.device_count()  # Ray may see one that torch cannot use
    start = partial(
        ray.init,
        address=address or "local",  # else Ray would join any cluster that it finds running here
        num_gpus=num_gpus,
        include_dashboard=None if address else True,
        logging_level=logging.ERROR,
        log_to_driver=False,
        runtime_env={"env_vars": worker_environment()},
    )
    try:
        context = patiently(start)
    except Exception as error:  # Ray raises a bare one where its processes do not come up in time
        place = f"no Ray cluster was reached at --address {address}" if address else "Ray could not be started"
        raise ValueError(f"{place}: {first_line(error)}") from error
    return f"http://{context.dashboard_url}" if context.dashboard_url else "none"


def first_line(error: Exception) -> str:
    """What Ray says before it repeats its logs."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def patiently(start: Callable[[], T]) -> T:
    """What `start` gives. Ray gives its processes 30 s to come up, unchangeably; a busy machine may need more tries."""
    for _ in range(START_TRIES - 1):
        try:
            return start()
        except Exception as error:  # Ray raises a bare one for this; its text alone tells
            if not any(words in str(error) for words in TOO_SLOW):
                raise
            ray.shutdown()
    return start()


def worker_environment() -> dict[str, str]:
    """What a worker must know before it imports anything."""
    passed = {name: os.environ[name] for name in ("SEGSTUDY_CACHE",) if name in os.environ}
    return {"NO_ALBUMENTATIONS_UPDATE": "1", **passed}


def resources(options: Options, config: TrialConfig) -> dict[str, float]:
    """CPUs and GPUs of one trial; a GPU where the cluster has one and nothing else was said."""
    gpus = options.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if ray.cluster_resources().get("GPU", 0) >= 1 and config.device != "cpu" else 0.0
    return {"cpu": options.cpus_per_trial, "gpu": gpus}


def run_study(study: Study) -> ResultGrid:
    """Runs the study, or what is left of it, to its end, its time's end or Ctrl-C."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what matters is in the table and in outcome.json
    is_begun = check_record(study.folder)
    with checkpoint_places_held(study.folder):
        tuner = _restored_tuner(study) if is_begun else _new(study)
        with stopped_by_ctrl_c():
            return tuner.fit()


@contextmanager
def stopped_by_ctrl_c() -> Iterator[None]:
    """Ctrl-C, or a scheduler's SIGTERM, asks Ray to stop and to save where it is; a second one ends at once."""

    def stop(number: int, frame: object) -> None:
        print("\nstopping, and saving what there is; Ctrl-C again ends at once", file=sys.stderr)
        for each in before:
            signal.signal(each, signal.default_int_handler)
        signal.raise_signal(signal.SIGUSR1)  # Ray listens to it as to Ctrl-C, but without a word

    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def check_resources(study: Study) -> None:
    """Raises ValueError where no trial could ever start; Ray would wait for ever."""
    if study.config.device == "cuda" and not ray.cluster_resources().get("GPU"):
        raise ValueError("device='cuda', but the cluster has no GPU; allowed here: auto, cpu (--set device=cpu)")
    for name, amount in resources(study.options, study.config).items():
        have = ray.cluster_resources().get(name.upper(), 0)
        if amount > have:
            raise ValueError(f"a trial asks for {amount:g} {name}s, and there are {have:g} (--{name}s-per-trial)")


def check_record(folder: Path) -> bool:
    """Whether Ray has a record of the study to go on from; without one it begins anew, in the same folder.

    Raises ValueError where the record cannot be read.
    """
    states = sorted(folder.glob("experiment_state-*.json"))
    if not states or not (folder / "tuner.pkl").is_file():
        return False
    try:
        json.loads(states[-1].read_text())
    except json.JSONDecodeError as error:  # Ray would start over without a word, and over what is there
        raise ValueError(
            f"{states[-1]}: Ray's record of the study cannot be read ({error}); move it away to go on from an older one"
        ) from None
    return True


def _new(study: Study) -> Tuner:
    options = study.options
    searcher = make_searcher(
        study.space,
        options.search,
        options.mode,
        study.first,
        num_seeds=options.seeds,
        epochs=study.config.epochs,
    )
    return Tuner(
        tune.with_resources(train_trial, resources(options, study.config)),
        param_space=_constants(study),
        tune_config=TuneConfig(
            search_alg=searcher,
            scheduler=SCHEDULERS[options.scheduler](options.mode, study.config.epochs),
            num_samples=study.num_trials,
            max_concurrent_trials=options.concurrent or default_concurrency(study),
            time_budget_s=options.time_budget_s,
            reuse_actors=True,  # a fresh worker spends seconds on importing torch
            trial_dirname_creator=trial_folder_name,
        ),
        run_config=_run_config(study),
    )


@contextmanager
def checkpoint_places_held(folder: Path) -> Iterator[None]:
    """While it is entered, empty folders bear the names of older checkpoints of the study's trials that have not ended.

    Ray fails a trial whose recorded checkpoint is gone, as it is where a newer one had replaced it right before a kill,
    and Ray had not written its record anew. The trial itself then finds the newer one.
    """
    for trial in {path.parent for path in folder.glob("*/checkpoint_*") if not (path.parent / "outcome.json").exists()}:
        newest = max(int(path.name.rpartition("_")[2]) for path in trial.glob("checkpoint_*"))
        for number in range(newest):
            (trial / f"checkpoint_{number:06d}").mkdir(exist_ok=True)
    try:
        yield
    finally:
        for path in folder.glob("*/checkpoint_*"):
            if not any(path.iterdir()):
                path.rmdir()


def _restored_tuner(study: Study) -> Tuner:
    return Tuner.restore(
        str(study.folder),
        tune.with_resources(train_trial, resources(study.options, study.config)),
        resume_unfinished=True,
        restart_errored=False,
    )


def _run_config(study: Study) -> RunConfig:
    options, epochs = study.options, study.config.epochs
    writer = OutcomeWriter(epochs)
    shown = (*study.space.axes, "seed")
    progress = Progress(writer, shown, options.metric, options.mode, study.num_trials, epochs)
    return RunConfig(
        name=study.folder.name,
        storage_path=str(study.folder.parent),
        callbacks=[ResultLines(), writer, progress],
        # the newest that was saved whole, and the newest of all, which may hold the best weights alone
        checkpoint_config=CheckpointConfig(num_to_keep=1, checkpoint_score_attribute="saved"),
        failure_config=FailureConfig(max_failures=0),
        verbose=0,
    )


def _constants(study: Study) -> dict[str, Any]:
    """Every field; the searcher lays its choices over them. Fields of axes that do not exist keep their default."""
    return study.config.to_dict()


def default_concurrency(study: Study) -> int:
    """As many trials as the cluster's resources hold."""
    wanted, have = resources(study.options, study.config), ray.cluster_resources()
    return int(min(have[name.upper()] // amount for name, amount in wanted.items() if amount > 0))


def trial_folder_name(trial: Trial) -> str:
    """Number and id: 00003_1a2b3c4d."""
    number = (trial.experiment_tag or "0").split("_")[0]
    return f"{int(number):05d}_{trial.trial_id}"
