"""Builds the Tuner of a study, new or taken up again, and runs it."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import ray
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, ResultGrid, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial
from ray.tune.logger import JsonLoggerCallback

from search_spaces import Space
from search_spaces.space import Value
from study.monitoring import OutcomeWriter, Progress
from study.options import Options
from study.search import make_searcher
from study.stopping import SCHEDULERS
from study.trainable import train_trial
from trials.config import TrialConfig


@dataclass(frozen=True)
class Study:
    """One study, ready to be run: its place and all that was settled."""

    folder: Path
    space: Space
    config: TrialConfig  # what every trial starts from
    options: Options
    first: list[dict[str, Value]]  # configurations that are tried before the search's own
    num_trials: int


def connect(address: str | None) -> str:
    """Connects to the Ray cluster at the address, or starts one here; gives the dashboard's URL."""
    os.environ.setdefault(
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1"
    )  # JSON alone: CSV drops keys, TensorBoardX drops NaN
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray sends nothing home unless its user says so
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    context = ray.init(
        address=address,
        include_dashboard=None if address else True,
        logging_level=logging.ERROR,
        log_to_driver=False,
        runtime_env={"env_vars": worker_environment()},
    )
    return f"http://{context.dashboard_url}" if context.dashboard_url else "none"


def worker_environment() -> dict[str, str]:
    """What a worker must know before it imports anything."""
    passed = {name: os.environ[name] for name in ("SEGSTUDY_CACHE",) if name in os.environ}
    return {"NO_ALBUMENTATIONS_UPDATE": "1", **passed}


def resources(options: Options) -> dict[str, float]:
    """CPUs and GPUs of one trial; a GPU where the cluster has one and nothing else was said."""
    gpus = options.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if ray.cluster_resources().get("GPU", 0) >= 1 else 0.0
    return {"cpu": options.cpus_per_trial, "gpu": gpus}


def run_study(study: Study, *, resume: bool) -> ResultGrid:
    """Runs the study, or what is left of it, to its end, its time's end or Ctrl-C."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what matters is in the table and in outcome.json
    tuner = _restored(study) if resume else _new(study)
    return tuner.fit()


def _new(study: Study) -> Tuner:
    options = study.options
    searcher = make_searcher(
        study.space,
        options.search,
        options.metric,
        options.mode,
        study.first,
        num_seeds=options.seeds,
        epochs=study.config.epochs,
    )
    return Tuner(
        tune.with_resources(train_trial, resources(options)),
        param_space=_constants(study),
        tune_config=TuneConfig(
            search_alg=searcher,
            scheduler=SCHEDULERS[options.scheduler](options.metric, options.mode, study.config.epochs),
            num_samples=study.num_trials,
            max_concurrent_trials=options.concurrent or default_concurrency(options),
            time_budget_s=options.time_budget_s,
            reuse_actors=True,  # a fresh worker spends seconds on importing torch
            trial_dirname_creator=trial_folder_name,
        ),
        run_config=_run_config(study),
    )


def _restored(study: Study) -> Tuner:
    return Tuner.restore(
        str(study.folder),
        tune.with_resources(train_trial, resources(study.options)),
        resume_unfinished=True,
        restart_errored=False,
        param_space=_constants(study),
    )


def _run_config(study: Study) -> RunConfig:
    options, epochs = study.options, study.config.epochs
    writer = OutcomeWriter(epochs)
    progress = Progress(writer, tuple(study.space.axes), options.metric, options.mode, study.num_trials, epochs)
    return RunConfig(
        name=study.folder.name,
        storage_path=str(study.folder.parent),
        callbacks=[JsonLoggerCallback(), writer, progress],
        checkpoint_config=CheckpointConfig(num_to_keep=1),  # each holds the last state and the best weights
        failure_config=FailureConfig(max_failures=0),
        verbose=0,
    )


def _constants(study: Study) -> dict[str, Any]:
    """Every field; the searcher lays its choices over them. Fields of axes that do not exist keep their default."""
    return study.config.to_dict()


def default_concurrency(options: Options) -> int:
    """As many trials as the cluster's resources hold."""
    wanted, have = resources(options), ray.cluster_resources()
    fits = [have.get(name.upper(), 0) // amount for name, amount in wanted.items() if amount > 0]
    return max(1, int(min(fits)))


def trial_folder_name(trial: Trial) -> str:
    """Number and id: 00003_1a2b3c4d."""
    number = (trial.experiment_tag or "0").split("_")[0]
    return f"{int(number):05d}_{trial.trial_id}"
