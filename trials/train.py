"""One run by itself: python -m trials.train --data drawn --set model=unet --set lr=0.001 --out runs/first"""

import argparse
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from trials import checkpoint
from trials.config import FIELDS, TrialConfig, parse_settings
from trials.data.loader import DRAWS
from trials.numerics.explaining import record as records
from trials.numerics.explaining.record import CAPSULE, DivergenceRecord
from trials.numerics.explaining.record import FILE as RECORD
from trials.numerics.interrupts import interrupts_as_such
from trials.numerics.whole_files import write_whole
from trials.outcome import (
    AT_ITS_END,
    BROKEN,
    INTERRUPTED,
    Outcome,
    error_outcome,
    keep_lines_until,
    line_of,
    outcome_of,
    whole_lines,
    write_json_line,
)
from trials.own import FOLDER as OWN_FOLDER
from trials.own import changes_since, named_errors, without_folders, write_copies
from trials.parts import data_channels, describe
from trials.rehearsal import check_own_settings, rehearse, with_own_code
from trials.state import pick_device
from trials.training import EpochMetrics, run

FILES = ("config.json", "params.json", "result.json", "outcome.json", RECORD)  # of a run, or of a study's trial


def main(arguments: list[str] | None = None) -> int:
    """The command; 0 where the run completed, 1 where it failed or diverged, 2 for bad input, 130 for Ctrl-C."""
    options = _options(arguments)
    try:
        return _run(options, Path(options.out))
    except KeyboardInterrupt:
        print("\ninterrupted before the first epoch", file=sys.stderr)
        return INTERRUPTED


def _run(options: argparse.Namespace, out: Path) -> int:
    try:
        config = _config(options, out)
        pick_device(config.device)  # before anything is written
        if options.resume and (ended := _outcome_so_far(out, config)):
            print(f"{ended.outcome} already, after {ended.epoch} epochs; there is nothing to resume")
            print(_summary(ended, out))
            return _exit_code(ended)
        check_own_settings([config])
        for note in [*rehearse(config), *(changes_since(config.code) if options.resume else [])]:
            print(f"code     {note}", file=sys.stderr)
        for note in describe(config)["notes"]:
            print(f"data     {note}", file=sys.stderr)
        resume = _claim(out, config, options.resume)
    except (ValueError, OSError) as error:
        print(f"trials.train: {error}", file=sys.stderr)
        return 2
    started = time.perf_counter()
    last = _last_line(out)
    try:
        with interrupts_as_such(), named_errors():
            for metrics in _with_progress(run(config, out=out / checkpoint.FOLDER, resume=resume), config, out):
                last = line_of(metrics)
                write_json_line(out / "result.json", last)
        record = records.read(out / checkpoint.FOLDER)
        outcome = outcome_of(last, config.epochs, time.perf_counter() - started, record, metric=config.metric)
    except KeyboardInterrupt:
        ended = outcome_of(last, config.epochs, time.perf_counter() - started, metric=config.metric)
        _write(out, replace(ended, outcome="interrupted"))
        print(f"\ninterrupted; go on with --resume --out {out}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # every end of a run is a record, then it is told as ever
        seconds = time.perf_counter() - started
        _write(out, error_outcome(type(error).__name__, str(error), last, seconds, metric=config.metric))
        if isinstance(error, ValueError | OSError):
            print(f"trials.train: {error}", file=sys.stderr)
            return 2 if not last else 1
        raise
    _write(out, outcome)
    if record:
        shutil.copy(out / checkpoint.FOLDER / RECORD, out / RECORD)
    print(_summary(outcome, out))
    return _exit_code(outcome)


def _exit_code(outcome: Outcome) -> int:
    return 0 if outcome.outcome == "completed" else 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    """What was asked for; a setting that was given as an option of its own is told where it belongs."""
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        name = unknown[0].removeprefix("--").partition("=")[0].replace("-", "_")
        hint = f"; {name} is a setting: --set {name}=VALUE" if name in FIELDS else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trials.train", description="Trains one network.")
    parser.add_argument("--version", action="version", version=f"segstudy {version('segstudy')}")
    parser.add_argument("--data", help="drawn, pets or folder")
    parser.add_argument("--data-root", help="the folder that holds oxford-iiit-pet/, or images/ and masks/")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any field of TrialConfig (trials/config.py)"
    )
    parser.add_argument("--out", required=True, help="a folder for config, results and checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on with the interrupted run in --out")
    return parser


def _config(options: argparse.Namespace, out: Path) -> TrialConfig:
    values = parse_settings(options.set)
    if options.data:
        values["data"] = options.data
    if options.data_root:
        values["data_root"] = str(Path(options.data_root).absolute())
    if options.resume:
        path = out / "config.json"
        if not path.is_file():
            raise FileNotFoundError(f"nothing to resume: no {path.absolute()}")
        return TrialConfig.from_dict({**_read(path, json.loads), **without_folders(values)})
    config = TrialConfig.from_dict(with_own_code(values, Path()))
    return config if "in_channels" in values else replace(config, in_channels=data_channels(config))


def _read(path: Path, parse: Callable[[str], Any]) -> Any:
    """A file of the run's; ValueError names it where it is damaged."""
    try:
        return parse(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path.absolute()} is damaged ({error}); mend it, or begin anew in another --out") from None


def _claim(out: Path, config: TrialConfig, resume: bool) -> bool:
    """Makes the folder this run's and says whether there is a checkpoint to go on from.

    Raises FileExistsError where another run's results lie in it.
    """
    if resume:
        checkpoint.check_same_run(json.loads((out / "config.json").read_text()), config, out / "config.json")
        last = out / checkpoint.FOLDER / checkpoint.LAST
        content = checkpoint.load(last) if last.exists() else {"epoch": 0, "draws": DRAWS}
        if content.get("draws", 1) != DRAWS:
            print(
                f"data     the version that wrote {last} shuffled and augmented the training pictures otherwise: from "
                f"epoch {content['epoch'] + 1} on this run is another than one that never stopped; a run in a new "
                "--out has one way of drawing throughout",
                file=sys.stderr,
            )
        keep_lines_until(out / "result.json", content["epoch"])
        return last.exists()
    if held := [name for name in FILES if (out / name).exists()]:
        raise FileExistsError(
            f"{out.absolute()} holds another run ({', '.join(held)}); give --out a new folder, or --resume to go on"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "config.json", json.dumps(config.to_dict(), indent=2) + "\n")
    write_copies(out, config.code)
    return False


def _outcome_so_far(out: Path, config: TrialConfig) -> Outcome | None:
    """How the run in `out` ended, if it came to an end of its own; the configuration must be that run's.

    A kill may have come between its last epoch and its outcome.
    """
    path = out / "outcome.json"
    outcome = _read(path, Outcome.from_json) if path.is_file() else Outcome("interrupted")
    last = _last_line(out)
    if outcome.outcome == "interrupted" and last.get("epoch") == config.epochs:
        outcome = outcome_of(last, config.epochs, record=records.read(out / checkpoint.FOLDER), metric=config.metric)
    if outcome.outcome not in AT_ITS_END:
        return None
    checkpoint.check_same_run(json.loads((out / "config.json").read_text()), config, out / "config.json")
    return outcome


def _last_line(out: Path) -> dict[str, Any]:
    """The metrics of the last epoch that a run has behind it; {} for a new one."""
    path = out / "result.json"
    lines = whole_lines(path.read_text()) if path.is_file() else []
    return lines[-1][1] if lines else {}


def _with_progress(epochs: Iterator[EpochMetrics], config: TrialConfig, out: Path) -> Iterator[EpochMetrics]:
    """The same epochs, with a progress bar on stderr and the Lab 2 report's TensorBoard scalars in `out`."""
    from torch.utils.tensorboard import SummaryWriter  # a second to import, and needed only here

    first = _last_line(out).get("epoch", 0) + 1  # what an interrupted run drew from there on is drawn anew
    scalars = SummaryWriter(str(out / "tensorboard"), purge_step=first)
    with scalars as writer, tqdm(total=config.epochs, unit="epoch") as bar:
        for metrics in epochs:
            bar.update(metrics.epoch - bar.n)
            shown = f"loss {metrics.train_loss:.4f} | val {metrics.val_loss:.4f} | Dice {metrics.val_dice:.4f}"
            bar.set_postfix_str(f"{shown} | rolled back" if metrics.rolled_back else shown)
            if not metrics.rolled_back:  # the network that it measured is gone
                writer.add_scalar("Loss/train", metrics.train_loss, metrics.epoch)
                writer.add_scalar("Loss/val", metrics.val_loss, metrics.epoch)
                writer.add_scalar("Dice/val", metrics.val_dice, metrics.epoch)
            yield metrics


def _write(out: Path, outcome: Outcome) -> None:
    write_whole(out / "outcome.json", outcome.to_json())


def _summary(outcome: Outcome, out: Path) -> str:
    record = records.read(out / checkpoint.FOLDER)
    if outcome.outcome in BROKEN and record:
        return f"{outcome.outcome} in {_why(record, outcome, out)}"
    if outcome.outcome in BROKEN:
        return f"{outcome.outcome} in epoch {outcome.epoch}; {out} holds no {RECORD}"
    if outcome.best_value is None:
        return f"no epoch gave a {outcome.metric} that counts; {out}"
    best = f"best {outcome.metric} {outcome.best_value:.4f} in epoch {outcome.best_epoch}; {out}"
    return f"{best}\nit went on after an event in {_why(record, outcome, out)}" if record else best


def _why(record: DivergenceRecord, outcome: Outcome, out: Path) -> str:
    """The record of the first event in a few lines."""
    found, event = record.diagnosis, record.event
    place = "".join(f", {part}" for part in (found.phase, found.module, found.op) if part)
    tried = [remedy for remedy in found.remedies if remedy.tried]
    cures = ", ".join(remedy.name for remedy in tried if remedy.worked)
    cures = cures or ("none of those tried" if tried else "none was tried")
    seen = "every step of it was skipped" if record.where == "frozen" else record.where
    went_on = f"; it went on to epoch {outcome.epoch}" if outcome.epoch > event.epoch else ""
    folder = out / checkpoint.FOLDER / CAPSULE
    gap = None if found.search_cut_by == "sets" else found.search_gap  # it had tried every remedy
    replay = f"python -m trials.replay {folder}" + (" --trust-code" if (out / OWN_FOLDER).is_dir() else "")
    more = f"search   {gap}; with more time: {replay} --why --budget SECONDS\n" if gap else ""
    return (
        f"epoch {event.epoch}, at step {event.step}: {seen}{went_on}\n"
        f"cause    {found.cause}{place}; blame: {found.blame}\n"
        f"remedy   {cures} (judged by this one step)\n{more}"
        f"details  {out / RECORD}; {replay}"
    )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's end of time is an interruption, too
    sys.exit(main())
