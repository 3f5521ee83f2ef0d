"""A diverged step, run again and looked into: python -m trials.replay runs/first/checkpoints/capsule"""

import argparse
import json
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

from trials.data.loader import DRAWS
from trials.numerics import capsule
from trials.numerics.capsule import Capsule
from trials.numerics.explaining.operator_tracer import Range
from trials.numerics.explaining.record import search_gap
from trials.numerics.explaining.rerun import Taken, restored, take_again
from trials.numerics.explaining.rules import diagnose
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
        kept = capsule.read(options.capsule)
        check_trusted(kept.config.code, options.trust_code, options.capsule)
        device = pick_device(options.device)
        with named_errors():
            if options.from_first:
                from_first(kept, options.data_root, device)
            else:
                last_step(kept, device, options.why, options.budget)
    except (ValueError, OSError) as error:
        print(f"trials.replay: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the capsule is as it was", file=sys.stderr)
        return INTERRUPTED
    return 0


def last_step(kept: Capsule, device: torch.device, why: bool, budget_s: float | None = None) -> None:
    """Prints what the step of the event does; and why, if that is asked for. budget_s: for the search; None: as it was.

    A search that was cut short is said after its outcome.
    """
    place = kept.facts["event"]
    seen = "frozen" if kept.where == "frozen" else f"diverged: {kept.where}"
    print(f"step {place['step']} (epoch {place['epoch']}, batch {place['batch']}), {seen}")
    if kept.facts["device"] != device.type:
        print(f"recorded on {kept.facts['device']}, re-run on {device}: the two round differently")
    found = replay(kept, device)
    print(to_text(found))
    print(compared(kept, found))
    if why:
        account = diagnose(kept, kept.config.diagnosis_budget_s if budget_s is None else budget_s, device)
        print(json.dumps(account, indent=2))
        if gap := search_gap(account):
            print(f"search      {gap}" + ("; --budget SECONDS gives it more" * (account["search_cut_by"] == "time")))


def replay(kept: Capsule, device: torch.device | None = None) -> Taken:
    """The step of the event, from the state before it, under the tracer, with the recorded thread count."""
    torch.set_num_threads(kept.facts["num_threads"])
    return take_again(kept, traced=True, device=device)


def compared(kept: Capsule, found: Taken) -> str:
    """How far the step repeated the recorded one: bit for bit only where all outputs and the loss were compared."""
    recorded = kept.facts["trace"][-1]["loss"] if kept.facts["trace"] else None
    if kept.outputs is None:
        return f"compared    the loss alone, for this capsule keeps no outputs: {loss_text(kept, recorded, found.loss)}"
    same = same_bits(kept.outputs, found.output_values.cpu())
    if same.all() and recorded == found.loss:
        return f"repeated    bit for bit: all {same.numel():,} outputs and the loss are the recorded ones"
    if same.all():
        return f"repeated    all {same.numel():,} outputs bit for bit; {loss_text(kept, recorded, found.loss)}"
    gap = (kept.outputs.double() - found.output_values.cpu().double()).abs()
    gap = gap[torch.isfinite(gap)]
    most = f", by at most {float(gap.max()):.3g} where both are finite" if gap.numel() else ""
    return f"differs     in {int((~same).sum()):,} of {same.numel():,} outputs{most}{reasons(kept)}"


def loss_text(kept: Capsule, recorded: float | None, found: float | None) -> str:
    """Whether the losses agree; two that are not finite do not say it."""
    if recorded is None and found is None:
        return "both are not finite, which does not say that the step is the same"
    if recorded == found:
        return "it is the recorded one, bit for bit"
    return f"the recorded loss is {recorded}, this one {found}{reasons(kept)}"


def same_bits(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Where two tensors of one shape hold the same bits; one NaN is as good as another."""
    if a.dtype != b.dtype:
        return torch.zeros(a.shape, dtype=torch.bool)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    return (a.contiguous().view(bits) == b.contiguous().view(bits)) | (a.isnan() & b.isnan())


def reasons(kept: Capsule) -> str:
    """What may be behind a difference."""
    here = {"torch": torch.__version__, "num_threads": torch.get_num_threads()}
    others = [
        f"{name} {kept.facts[name]} there, {value} here"
        for name, value in here.items()
        if kept.facts.get(name) != value
    ]
    return f" ({', '.join(others)})" if others else " (another processor, or another library below torch)"


def from_first(kept: Capsule, data_root: str | None, device: torch.device) -> None:
    """Trains from the state before the first sign to the event, a line a step, with the data set's own batches.

    Raises ValueError where there was no earlier sign, or where the run's version shuffled and augmented otherwise.
    """
    if kept.first_state is None:
        raise ValueError("this capsule has no earlier sign: the event was the first abnormal step")
    if kept.facts.get("draws", 1) != DRAWS:
        raise ValueError(
            "the version that wrote this capsule shuffled and augmented the training pictures otherwise, so the steps "
            "before the event cannot be repeated; leave --from-first out for the event's own step, whose batch it holds"
        )
    torch.set_num_threads(kept.facts["num_threads"])
    config = kept.config if data_root is None else replace(kept.config, data_root=str(Path(data_root).absolute()))
    loader = train_loader(config, prepared_data(config), device)
    state = restored(kept, of=kept.first_state, device=device)
    watch = new_watch(state.model, device, config)
    watch.loss_scale = state.scaler.get_scale() if config.amp else None
    state.model.train()
    index = kept.first_state.facts["batch"]
    print(f"{'step':>8} {'epoch':>6} {'batch':>6} {'loss':>12} {'loss scale':>12}  skipped")
    while state.step <= kept.facts["event"]["step"]:
        epoch, watch.batch_index = state.epoch + 1, index
        scale = "-" if watch.loss_scale is None else f"{watch.loss_scale:g}"  # under which the step is taken
        loss, skipped = train_step(state, loader.batch(epoch, index), watch, config)
        shown = float(loss.detach())
        print(f"{state.step:>8} {epoch:>6} {index:>6} {shown:>12.6g} {scale:>12}  {'yes' if skipped else ''}")
        state.step += 1
        index += 1
        if index == len(loader):
            state.epoch, index = state.epoch + 1, 0


def to_text(taken: Taken) -> str:
    """For the terminal."""
    lines = [
        f"outputs     {_ranged(taken.outputs)}",
        f"loss        {'not finite' if taken.loss is None else f'{taken.loss:.6g}'}",
        f"loss scale  {'-' if taken.scale is None else f'{taken.scale:g}'}, "
        f"the step was {'skipped' if taken.skipped else 'taken'}",
        f"afterwards  {f'{taken.state_not_finite} not finite' if taken.state_not_finite else 'all weights finite'}",
    ]
    if taken.first is None:
        return "\n".join([*lines, "first bad   none: every operation made finite values out of finite ones"])
    place = f"in {taken.first.module}" if taken.first.module else "outside the network's modules"
    lines.append(f"first bad   {taken.first.op} {place}, in the {taken.first.phase.replace('_', ' ')} phase")
    lines += [f"  input     {_ranged(each)}" for each in taken.first.inputs]
    lines += [f"  output    {_ranged(each)}" for each in taken.first.outputs]
    return "\n".join(lines)


def _ranged(values: Range) -> str:
    span = "nothing finite" if values.low is None else f"{values.low:.6g} to {values.high:.6g}"
    bad = f", {values.num_not_finite} not finite" if values.num_not_finite else ""
    return f"{values.dtype} {json.dumps(list(values.shape))}: {span}{bad}"


if __name__ == "__main__":
    sys.exit(main())
