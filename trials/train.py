"""One run by itself: python -m trials.train --data drawn --set model=unet --set lr=0.001 --out runs/first"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from trials import checkpoint
from trials.config import TrialConfig, parse_settings
from trials.data import describe
from trials.numerics.account import CAPSULE
from trials.numerics.account import FILE as ACCOUNT
from trials.outcome import Outcome, error_outcome, keep_lines_until, outcome_of, write_json_line
from trials.training import EpochMetrics, run

FILES = ("config.json", "params.json", "result.json", "outcome.json", ACCOUNT)  # of a run, or of a study's trial
INTERRUPTED = 130  # the exit code of a command that Ctrl-C ended


def main(arguments: list[str] | None = None) -> int:
    """The command; 0 where the run completed, 1 where it failed or diverged, 2 for bad input, 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    out = Path(options.out)
    try:
        config = _config(options, out)
        describe(config)
        resume = _claim(out, config, options.resume)
    except (ValueError, OSError) as error:
        print(f"trials.train: {error}", file=sys.stderr)
        return 2
    started = time.perf_counter()
    last = _last_line(out)
    if last.get("epoch") == config.epochs:
        print(f"complete already, after {config.epochs} epochs; {out}")
        return 0
    try:
        for metrics in _with_progress(run(config, out=out / checkpoint.FOLDER, resume=resume), config, out):
            last = asdict(metrics)
            write_json_line(out / "result.json", last)
        outcome = outcome_of(last, config.epochs, time.perf_counter() - started)
    except KeyboardInterrupt:
        ended = outcome_of(last, config.epochs, time.perf_counter() - started)
        _write(out, replace(ended, outcome="interrupted"))
        print(f"\ninterrupted; go on with --resume --out {out}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # every end of a run is a record, then it is told as ever
        _write(out, error_outcome(type(error).__name__, str(error), last, time.perf_counter() - started))
        if isinstance(error, ValueError | OSError):
            print(f"trials.train: {error}", file=sys.stderr)
            return 2 if not last else 1
        raise
    _write(out, outcome)
    account = out / checkpoint.FOLDER / ACCOUNT
    if account.is_file():
        shutil.copy(account, out / ACCOUNT)
    print(_summary(outcome, out))
    return 0 if outcome.outcome == "completed" else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trials.train", description="Trains one network.")
    parser.add_argument("--data", help="drawn, pets or folder")
    parser.add_argument("--data-root", help="the folder that holds oxford-iiit-pet/, or images/ and masks/")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any field of TrialConfig (trials/config.py)"
    )
    parser.add_argument("--out", required=True, help="a folder for config, results and checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
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
        values = {**json.loads(path.read_text()), **values}
    return TrialConfig.from_dict(values)


def _claim(out: Path, config: TrialConfig, resume: bool) -> bool:
    """Makes the folder this run's and says whether there is a checkpoint to go on from.

    Raises FileExistsError where another run's results lie in it.
    """
    if resume:
        checkpoint.check_same_run(json.loads((out / "config.json").read_text()), config, out / "config.json")
        last = out / checkpoint.FOLDER / checkpoint.LAST
        keep_lines_until(out / "result.json", checkpoint.load(last)["epoch"] if last.exists() else 0)
        return last.exists()
    if held := [name for name in FILES if (out / name).exists()]:
        raise FileExistsError(
            f"{out.absolute()} holds another run ({', '.join(held)}); give --out a new folder, or --resume to go on"
        )
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config.to_dict(), indent=2) + "\n")
    return False


def _last_line(out: Path) -> dict[str, Any]:
    """The metrics of the last epoch that a resumed run has behind it; {} for a new one."""
    path = out / "result.json"
    lines = path.read_text().splitlines() if path.is_file() else []
    return json.loads(lines[-1]) if lines else {}


def _with_progress(epochs: Iterator[EpochMetrics], config: TrialConfig, out: Path) -> Iterator[EpochMetrics]:
    """The same epochs, with a progress bar on stderr and the report's TensorBoard scalars in `out`."""
    from torch.utils.tensorboard import SummaryWriter  # a second to import, and needed only here

    with SummaryWriter(str(out / "tensorboard")) as writer, tqdm(total=config.epochs, unit="epoch") as bar:
        for metrics in epochs:
            bar.update(metrics.epoch - bar.n)
            bar.set_postfix_str(
                f"loss {metrics.train_loss:.4f} | val {metrics.val_loss:.4f} | Dice {metrics.val_dice:.4f}"
            )
            writer.add_scalar("Loss/train", metrics.train_loss, metrics.epoch)
            writer.add_scalar("Loss/val", metrics.val_loss, metrics.epoch)
            writer.add_scalar("Dice/val", metrics.val_dice, metrics.epoch)
            yield metrics


def _write(out: Path, outcome: Outcome) -> None:
    (out / "outcome.json").write_text(outcome.to_json())


def _summary(outcome: Outcome, out: Path) -> str:
    if outcome.outcome in ("diverged", "frozen"):
        return f"{outcome.outcome} in epoch {outcome.epoch}: {_why(out)}"
    return f"best val_dice {outcome.best_val_dice:.4f} in epoch {outcome.best_epoch}; {out}"


def _why(out: Path) -> str:
    """The account of the divergence in a few lines."""
    told = json.loads((out / ACCOUNT).read_text())
    place = "".join(f", {told[key]}" for key in ("phase", "module", "op") if told[key])
    cures = ", ".join(remedy["name"] for remedy in told["remedies"] if remedy["worked"]) or "none of those tried"
    return (
        f"{told['where']} at step {told['step']}\n"
        f"cause    {told['cause']}{place}; blame: {told['blame']}\n"
        f"remedy   {cures} (judged by this one step)\n"
        f"details  {out / ACCOUNT}; python -m trials.replay {out / checkpoint.FOLDER / CAPSULE}"
    )


if __name__ == "__main__":
    sys.exit(main())
