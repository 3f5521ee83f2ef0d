"""What is seen while a study runs: a live table on the terminal; and the record of how each trial ended."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.air.constants import EXPR_RESULT_FILE
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.logger import JsonLoggerCallback
from rich.console import Console
from rich.live import Live
from rich.table import Table

from trials.numerics.explaining.record import FILE as RECORD
from trials.numerics.explaining.record import DivergenceRecord
from trials.numerics.whole_files import write_whole
from trials.outcome import Outcome, error_outcome, keep_lines_until, outcome_of, whole_lines

ROWS_SHOWN = 15  # the best trials; a terminal is not endless


class ResultLines(JsonLoggerCallback):
    """result.json, a line an epoch: the epochs that a resumed trial repeats replace the lines that they had."""

    def log_trial_start(self, trial: Trial) -> None:
        """Opens the file, and sees how far it goes."""
        super().log_trial_start(trial)
        lines = whole_lines(self._path(trial).read_text())
        self._epochs = {**getattr(self, "_epochs", {}), trial: lines[-1][1]["epoch"] if lines else 0}

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Appends the line, in place of those from its epoch on."""
        if trial not in self._trial_files:
            self.log_trial_start(trial)
        if result["epoch"] <= self._epochs[trial]:
            self._trial_files[trial].close()
            keep_lines_until(self._path(trial), result["epoch"] - 1)
            self._trial_files[trial] = self._path(trial).open("at")
        super().log_trial_result(iteration, trial, _without_code(result))
        self._epochs[trial] = result["epoch"]

    @staticmethod
    def _path(trial: Trial) -> Path:
        return Path(trial.local_path) / EXPR_RESULT_FILE


def _without_code(result: dict[str, Any]) -> dict[str, Any]:
    """The line without the text of a user's own files, which params.json has: it would be written at every epoch."""
    return {**result, "config": {name: value for name, value in result["config"].items() if name != "code"}}


class OutcomeWriter(Callback):
    """Writes outcome.json into the folder of each trial that ends; a trial without one was interrupted."""

    def __init__(self, epochs: int):
        self._epochs = epochs
        self.outcomes: dict[str, Outcome] = {}  # by trial
        self._started: set[str] = set()  # since this study was begun or resumed

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info) -> None:
        """Remembers it: a trial that ended before a resume keeps the outcome it has."""
        self._started.add(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info) -> None:
        """completed, pruned, diverged or frozen; with the record of what went wrong on its way."""
        self._write(trial, self._outcome(trial, self._bring_record(trial)))

    def _outcome(self, trial: Trial, record: DivergenceRecord | None = None) -> Outcome:
        last = trial.last_result
        return outcome_of(last, self._epochs, last.get("time_total_s"), record, metric=trial.config["metric"])

    @staticmethod
    def _bring_record(trial: Trial) -> DivergenceRecord | None:
        """Copies divergence.json out of the trial's checkpoint, wherever that lies, into its folder; its content."""
        checkpoint = trial.checkpoint
        if checkpoint is None or checkpoint.filesystem is None or not trial.local_path:
            return None
        try:
            with checkpoint.filesystem.open_input_stream(f"{checkpoint.path}/{RECORD}") as file:
                content = file.read()
        except FileNotFoundError:
            return None  # nothing went wrong in it
        write_whole(Path(trial.local_path) / RECORD, content)
        return DivergenceRecord.from_dict(json.loads(content))

    def on_step_end(self, iteration: int, trials: list[Trial], **info) -> None:
        """interrupted: trials that Ray ended without a word, since the study's time was up."""
        for trial in trials:
            if trial.is_finished() and trial.trial_id in self._started - set(self.outcomes):
                self._write(trial, replace(self._outcome(trial), outcome="interrupted"))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info) -> None:
        """out_of_memory or failed, with the error's text."""
        # Ray's own readers look in the study's storage, where the file is not yet
        path = trial.pickled_error_file
        error = cloudpickle.loads(Path(path).read_bytes()) if path else RuntimeError("Ray recorded no error")
        cause = getattr(error, "cause", None) or error  # RayTaskError wraps what the trial raised
        last = trial.last_result
        told = type(cause).__name__, str(cause), last, last.get("time_total_s")
        self._write(trial, error_outcome(*told, metric=trial.config["metric"]))

    def _write(self, trial: Trial, outcome: Outcome) -> None:
        self.outcomes[trial.trial_id] = outcome
        if trial.local_path:  # Ray copies this folder to the study's storage, wherever that is
            write_whole(Path(trial.local_path) / "outcome.json", outcome.to_json())


class Progress(Callback):
    """The trials so far, best first, and the time that remains; on stderr. Where that is no terminal, a line a trial.

    Ray pickles it with the study: what belongs to the terminal is made in `setup`.
    """

    def __init__(
        self, writer: OutcomeWriter, axes: Sequence[str], metric: str, mode: str, num_trials: int, epochs: int
    ):
        self._writer, self._axes, self._metric, self._mode = writer, list(axes), metric, mode
        self._num_trials, self._epochs = num_trials, epochs
        self._live: Live | None = None
        self._told: set[str] = set()
        self._num_ended = 0
        self._num_ended_before: int | None = None  # when this study was begun or resumed

    def setup(self, stop=None, num_samples=None, total_num_samples=None, **info) -> None:
        """Starts the live table, on a terminal."""
        self._console, self._started = Console(stderr=True), time.monotonic()
        if sys.stderr.isatty():
            self._live = Live(console=self._console, refresh_per_second=2, transient=False)
            self._live.start()

    def on_trial_result(self, iteration: int, trials: list[Trial], trial: Trial, result: dict, **info) -> None:
        """Renews the table."""
        self._show(trials)

    def on_step_end(self, iteration: int, trials: list[Trial], **info) -> None:
        """Tells of trials that have ended since."""
        self._num_ended = sum(trial.is_finished() for trial in trials)
        if self._num_ended_before is None:
            self._num_ended_before = self._num_ended
        for trial in trials:
            outcome = self._writer.outcomes.get(trial.trial_id)
            if outcome and trial.trial_id not in self._told:
                self._told.add(trial.trial_id)
                self._tell(trial, outcome)
                self._show(trials)

    def on_experiment_end(self, trials: list[Trial], **info) -> None:
        """Leaves the table as it is."""
        self.close()

    def close(self) -> None:
        """Ends the live table; the terminal is as it was."""
        if self._live:
            self._live.stop()
            self._live = None

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        if self._live and not outcome.error_text:
            return  # the table shows it
        best = "" if outcome.best_value is None else f", best {outcome.metric} {outcome.best_value:.4f}"
        cause = f" ({outcome.cause})" if outcome.cause else ""
        error = f": {outcome.error_type}: {outcome.error_text}" if outcome.error_text else ""
        settings = " ".join(f"{axis}={_short(trial.config[axis])}" for axis in self._axes if axis in trial.config)
        self._console.print(
            f"[{self._num_ended}/{self._num_trials}] {outcome.outcome}{cause} after epoch {outcome.epoch}"
            f"{best}{error} | "
            f"{settings} | {self._remaining()}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def _show(self, trials: list[Trial]) -> None:
        if self._live:
            self._live.update(self._table(trials))

    def _table(self, trials: list[Trial]) -> Table:
        table = Table(title=f"{self._num_ended} of {self._num_trials} trials ended, {self._remaining()}")
        for column in ("trial", *self._axes, "epoch", "train loss", "val loss", f"best {self._metric}", "state"):
            table.add_column(column)
        for trial in self._ranking(trials)[:ROWS_SHOWN]:
            last, outcome = trial.last_result, self._writer.outcomes.get(trial.trial_id)
            table.add_row(
                trial.trial_id,
                *(_short(trial.config.get(axis, "")) for axis in self._axes),
                f"{last['epoch']}/{self._epochs}",
                _short(last["train_loss"]),
                _short(last["val_loss"]),
                "-" if last["best_value"] is None else f"{last['best_value']:.4f}",
                outcome.outcome if outcome else trial.status.lower(),
            )
        return table

    def _ranking(self, trials: list[Trial]) -> list[Trial]:
        """Those with an epoch behind them, as the report ranks them; those without a score last."""
        sign = -1 if self._mode == "max" else 1
        scores = [(trial, trial.last_result["best_value"]) for trial in trials if "best_value" in trial.last_result]
        scored = [(sign * value, trial) for trial, value in scores if value is not None]
        without = [trial for trial, value in scores if value is None]
        return [trial for _, trial in sorted(scored, key=lambda pair: pair[0])] + without

    def _remaining(self) -> str:
        ended_here = self._num_ended - (self._num_ended_before or 0)
        if not ended_here:
            return "remaining time not known yet"
        left_s = (time.monotonic() - self._started) / ended_here * (self._num_trials - self._num_ended)
        return f"about {left_s / 60:.0f} min left" if left_s >= 90 else f"about {left_s:.0f} s left"


def _short(value: object) -> str:
    if value is None:  # not measured
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
