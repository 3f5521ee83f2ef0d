"""What watching costs: a training step with and without it, beside torch's anomaly detection and naive hooks.

    python benchmarks/monitoring.py

A step is that of trials.training on drawn pictures: forward, loss, backward, update. "watched" is what every run does
(health, monitor, recorder), "sampled" the one step in SAMPLE_EVERY at which the layers are looked at too, and "in all"
both by their shares; "loop" is the bare step in a plain loop under segstudy.watch. "hooks" reads isfinite().item()
after every layer; "anomaly" is torch.autograd.set_detect_anomaly. The variants take turns within a round.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import segstudy
from trials.config import TrialConfig
from trials.numerics.watching.monitor import SAMPLE_EVERY
from trials.optimizers import advance
from trials.parts import prepared_data, train_loader
from trials.state import State, new_state, new_watch
from trials.training import forward, train_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["unet", "resnet34_unet"])
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for model in options.models:
        for amp in (False, True):
            fields = dict(model=model, amp=amp, width=options.width, image_size=options.image_size, augment="none")
            config = TrialConfig.from_dict({**fields, "batch_size": options.batch_size})
            with tempfile.TemporaryDirectory() as out:
                times = measure(config, options.rounds, Path(out))
            print(f"{model:>14} amp={amp!s:5} {row(times)}", flush=True)


def measure(config: TrialConfig, rounds: int, out: Path) -> dict[str, list[float]]:
    """Processor seconds of each step, by variant: others on the machine count less than they would by the clock."""
    device = torch.device("cpu")
    batch = next(train_loader(config, prepared_data(config), device).batches(1))
    steps = {
        "bare": bare(config, batch),
        "watched": watched(config, batch, is_sampled=False),
        "sampled": watched(config, batch, is_sampled=True),
        "loop": looped(config, batch, out),
        "hooks": hooked(config, batch),
        "anomaly": anomalous(config, batch),
    }
    for step in steps.values():
        for _ in range(2):
            step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            started = time.process_time()
            step()
            times[name].append(time.process_time() - started)
    return times


def bare(config: TrialConfig, batch, model_hooks: Callable | None = None) -> Callable[[], None]:
    """The step without anything that watches."""
    state = new_state(config, batch.images.device, num_steps=10**6)
    state.model.train()
    if model_hooks:
        model_hooks(state.model)
    return plain_step(state, config, batch)


def plain_step(state: State, config: TrialConfig, batch) -> Callable[[], None]:
    """Forward, loss, backward, update."""

    def step() -> None:
        outputs = forward(state.model, batch.images, config)
        loss = state.loss(outputs, batch.targets, batch.valid)
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(loss).backward()
        state.scaler.step(state.optimizer)
        state.scaler.update()
        advance(state.scheduler)

    return step


def watched(config: TrialConfig, batch, *, is_sampled: bool) -> Callable[[], None]:
    """The step as every run takes it: the first of an epoch, which is sampled, or any other."""
    state = new_state(config, batch.images.device, num_steps=10**6)
    state.model.train()
    watch = new_watch(state, batch.images.device, config)

    def step() -> None:
        state.step += 1
        train_step(state, batch, watch, config)
        if is_sampled:
            watch.monitor.start_epoch()

    return step


def looped(config: TrialConfig, batch, out: Path) -> Callable[[], None]:
    """The bare step in a plain loop under segstudy.watch; one in SAMPLE_EVERY is sampled, among those not timed."""
    state = new_state(config, batch.images.device, num_steps=10**6)
    state.model.train()
    watch = segstudy.watch(state.model, state.optimizer, scaler=state.scaler, out=out)
    inner = plain_step(state, config, batch)

    def step() -> None:
        with watch.step(vars(batch)):
            inner()

    return step


def hooked(config: TrialConfig, batch) -> Callable[[], None]:
    """A hook on every layer that waits for the device."""

    def look(module: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        torch.isfinite(output).all().item()

    def add_hooks(model: torch.nn.Module) -> None:
        for module in model.modules():
            if not list(module.children()):
                module.register_forward_hook(look)

    return bare(config, batch, add_hooks)


def anomalous(config: TrialConfig, batch) -> Callable[[], None]:
    """torch's own detection."""
    inner = bare(config, batch)

    def step() -> None:
        with torch.autograd.set_detect_anomaly(True):
            inner()

    return step


def row(times: dict[str, list[float]]) -> str:
    """Median of the bare step, and the median of each variant's ratio to it within a round."""
    ratios = {
        name: statistics.median(a / b for a, b in zip(seconds, times["bare"], strict=True))
        for name, seconds in times.items()
    }
    whole = ratios["watched"] + (ratios["sampled"] - ratios["watched"]) / SAMPLE_EVERY
    cells = [f"{name} {ratio:.3f}" for name, ratio in ratios.items() if name != "bare"]
    return "  ".join([f"bare {1e3 * statistics.median(times['bare']):6.1f} ms", f"in all {whole:.3f}", *cells])


if __name__ == "__main__":
    main()
