"""A diverged step, run again and looked into: python -m trials.replay runs/first/checkpoints/capsule"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from trials.guards import clip_unscaled
from trials.losses import LOSSES, score
from trials.numerics import capsule
from trials.numerics.capsule import Capsule
from trials.numerics.health import Health, non_finite_state
from trials.numerics.trace import FirstBad, Range, Tracer, is_finite, range_of
from trials.state import State, new_state
from trials.training import forward


@dataclass(frozen=True)
class Replayed:
    """What the step did when it was run again."""

    first: FirstBad | None  # None: every operation made finite values out of finite ones
    outputs: Range
    loss: float | None  # None where it is not finite
    scale: float  # the loss scale of the step
    skipped: bool  # by GradScaler
    state_not_finite: str | None  # weights or buffers after the step

    def to_text(self) -> str:
        """For the terminal."""
        lines = [
            f"outputs     {_ranged(self.outputs)}",
            f"loss        {'not finite' if self.loss is None else f'{self.loss:.6g}'}",
            f"loss scale  {self.scale:g}, the step was {'skipped' if self.skipped else 'taken'}",
            f"afterwards  {f'{self.state_not_finite} not finite' if self.state_not_finite else 'all weights finite'}",
        ]
        if self.first is None:
            return "\n".join([*lines, "first bad   none: every operation made finite values out of finite ones"])
        place = self.first.module or "outside the network's modules"
        lines.append(f"first bad   {self.first.op} in {place}, in the {self.first.phase.replace('_', ' ')} phase")
        lines += [f"  input     {_ranged(each)}" for each in self.first.inputs]
        lines += [f"  output    {_ranged(each)}" for each in self.first.outputs]
        return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, or 2 for what is no capsule."""
    parser = argparse.ArgumentParser(prog="python -m trials.replay", description="Runs a diverged step again.")
    parser.add_argument("capsule", type=Path, help="the folder `capsule` of a diverged run or trial")
    folder = parser.parse_args(arguments).capsule
    try:
        kept = capsule.read(folder)
    except (ValueError, OSError, KeyError) as error:
        print(f"trials.replay: {error}", file=sys.stderr)
        return 2
    print(f"step {kept.state.facts['step']}, diverged: {kept.where}")
    if kept.facts["device"] != "cpu":
        print(f"recorded on {kept.facts['device']}, run again on the cpu: alike within rounding, not bit for bit")
    print(replay(kept).to_text())
    return 0


def replay(kept: Capsule) -> Replayed:
    """The step of the event, from the state before it, under the tracer; on the CPU, with the recorded thread count."""
    state = restored(kept)
    torch.set_num_threads(kept.facts["num_threads"])
    config, batch = kept.config, kept.batch
    if not (is_finite(batch.images) and is_finite(batch.targets)):
        return _bad_data(kept, state)
    health, tracer = Health(torch.device("cpu")), Tracer(state.model)
    state.model.train()
    scale = state.scaler.get_scale()
    with tracer:
        with tracer.named():
            outputs = forward(state.model, batch.images, config)
        outputs_range = range_of(outputs)
        tracer.phase = "loss"
        finite = health.finite_outputs(outputs, state.step)
        loss = LOSSES[config.loss](score(finite, batch.targets, batch.valid, config.head), config)
        tracer.phase = "backward"
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(loss).backward()
        tracer.phase = "unscale"
        state.scaler.unscale_(state.optimizer)
        clip_unscaled(state.optimizer, config.clip_norm)
        tracer.phase = "optimizer_step"
        state.scaler.step(state.optimizer)
        state.scaler.update()
    return Replayed(
        first=tracer.first,
        outputs=outputs_range,
        loss=float(loss.detach()) if is_finite(loss) else None,
        scale=scale,
        skipped=state.scaler.get_scale() < scale,
        state_not_finite=non_finite_state(state.model),
    )


def restored(kept: Capsule) -> State:
    """The state before the event's step, on the CPU."""
    device = torch.device("cpu")
    state = new_state(kept.config, device, num_steps=kept.facts["num_steps"])
    capsule.put_together(state, kept.state)
    return state


def _bad_data(kept: Capsule, state: State) -> Replayed:
    ranges = (range_of(kept.batch.images), range_of(kept.batch.targets))
    first = FirstBad("data", None, "batch", (), ranges)
    return Replayed(first, ranges[0], None, state.scaler.get_scale(), False, non_finite_state(state.model))


def _ranged(values: Range) -> str:
    span = "nothing finite" if values.low is None else f"{values.low:.6g} to {values.high:.6g}"
    bad = f", {values.num_not_finite} not finite" if values.num_not_finite else ""
    return f"{values.dtype} {json.dumps(list(values.shape))}: {span}{bad}"


if __name__ == "__main__":
    sys.exit(main())
