"""A diverged step, run again and looked into: python -m trials.replay runs/first/checkpoints/capsule"""

import argparse
import json
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

from trials.captured import TrialRun
from trials.data.loader import DRAWS
from trials.numerics import capsule
from trials.numerics.capsule import Capsule
from trials.numerics.explaining.diagnose import diagnose
from trials.numerics.explaining.rerun import StepResult, rerun
from trials.numerics.explaining.text import compared, step_in_words
from trials.outcome import INTERRUPTED
from trials.own import add_trust_option, check_trusted, named_errors
from trials.parts import prepared_data, train_loader
from trials.state import new_watch, pick_device
from trials.training import train_step


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, 2 for what is no capsule, 130 for Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m trials.replay", description="Runs a diverged step again.")
    parser.add_argument("--version", action="version", version=f"segstudy {version('segstudy')}")
    parser.add_argument("capsule", type=Path, help="the folder `capsule` of a diverged run or trial")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--why", action="store_true", help="cause, remedies and the modules that need float32, too")
    what.add_argument("--from-first", action="store_true", help="every step from the first sign on; needs the data")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="for the search of --why; default: the run's")
    parser.add_argument("--data-root", help="where the data lie here, for --from-first")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "auto"), help="default: cpu")
    add_trust_option(parser)
    options = parser.parse_args(arguments)
    try:
        captured = capsule.read(options.capsule)
        run = TrialRun.of(captured)
        check_trusted(run.config.used_code(), options.trust_code, options.capsule)
        device = pick_device(options.device)
        with named_errors():
            if options.from_first:
                from_first(captured, run, options.data_root, device)
            else:
                last_step(captured, run, device, options.why, options.budget)
    except (ValueError, OSError) as error:
        print(f"trials.replay: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the capsule is as it was", file=sys.stderr)
        return INTERRUPTED
    return 0


def last_step(captured: Capsule, run: TrialRun, device: torch.device, why: bool, budget_s: float | None = None) -> None:
    """Prints what the step of the event does; and why, if that is asked for. budget_s: for the search; None: as it was.

    A search that was cut short is said after its outcome.
    """
    place = captured.facts["event"]
    seen = "frozen" if captured.where == "frozen" else f"diverged: {captured.where}"
    print(f"step {place['step']} (epoch {place['epoch']}, batch {place['batch']}), {seen}")
    if captured.facts["device"] != device.type:
        print(f"recorded on {captured.facts['device']}, re-run on {device}: the two round differently")
    step = replay(captured, run, device)
    print(step_in_words(step))
    print(compared(captured, step))
    if why:
        budget_s = run.config.diagnosis_budget_s if budget_s is None else budget_s
        diagnosis = diagnose(captured, run, run.knowledge(captured), budget_s, device)
        print(json.dumps(diagnosis.to_dict(), indent=2))
        if gap := diagnosis.search_gap:
            print(f"search      {gap}" + ("; --budget SECONDS gives it more" * (diagnosis.search_cut_by == "time")))


def replay(captured: Capsule, run: TrialRun, device: torch.device) -> StepResult:
    """The step of the event, from the state before it, under the tracer, with the recorded thread count."""
    torch.set_num_threads(captured.facts["num_threads"])
    return rerun(captured, run, run.knowledge(captured).settings, traced=True, device=device)


def from_first(captured: Capsule, run: TrialRun, data_root: str | None, device: torch.device) -> None:
    """Trains from the state before the first sign to the event, a line a step, with the data set's own batches.

    Raises ValueError where there was no earlier sign, or where the run's version shuffled and augmented otherwise.
    """
    if captured.first_state is None:
        raise ValueError("this capsule has no earlier sign: the event was the first abnormal step")
    if captured.facts.get("draws", 1) != DRAWS:
        raise ValueError(
            "the version that wrote this capsule shuffled and augmented the training pictures otherwise, so the steps "
            "before the event cannot be repeated; leave --from-first out for the event's own step, whose batch it holds"
        )
    torch.set_num_threads(captured.facts["num_threads"])
    config = run.config if data_root is None else replace(run.config, data_root=str(Path(data_root).absolute()))
    loader = train_loader(config, prepared_data(config), device)
    state = run.restored(captured, of=captured.first_state, device=device)
    watch = new_watch(state, device, config)
    state.model.train()
    index = captured.first_state.facts["batch"]
    print(f"{'step':>8} {'epoch':>6} {'batch':>6} {'loss':>12} {'loss scale':>12}  skipped")
    while state.step <= captured.facts["event"]["step"]:
        epoch, watch.batch_index = state.epoch + 1, index
        scale = f"{state.scaler.get_scale():g}" if config.amp else "-"  # under which the step is taken
        loss, skipped = train_step(state, loader.batch(epoch, index), watch, config)
        shown = float(loss.detach())
        print(f"{state.step:>8} {epoch:>6} {index:>6} {shown:>12.6g} {scale:>12}  {'yes' if skipped else ''}")
        state.step += 1
        index += 1
        if index == len(loader):
            state.epoch, index = state.epoch + 1, 0


if __name__ == "__main__":
    sys.exit(main())
