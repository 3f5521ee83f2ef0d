"""What mixed precision costs on a CPU: one training step in float32, under ours and under torch's own CPU autocast.

    python benchmarks/amp_cpu.py
    python benchmarks/amp_cpu.py --image-sizes 64 128 --batch-sizes 8 32 --rounds 30

A step is forward, BCE in float32 outside the context, backward, GradScaler's step. The variants take turns within a
round, so that a busy machine slows all of them; printed are medians over rounds and the median of each round's ratio
to float32. The goal of trials/numerics/precision.py is a ratio of at most 1.5.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))

from trials.config import TrialConfig
from trials.numerics.precision import autocast
from trials.parts import build_model

VARIANTS: dict[str, Callable[[], AbstractContextManager]] = {
    "float32": partial(autocast, "cpu", None),
    "float16": partial(autocast, "cpu", torch.float16),
    "bfloat16": partial(autocast, "cpu", torch.bfloat16),
    "torch float16": partial(torch.autocast, "cpu", dtype=torch.float16),
}
NUM_WARM_UP_ROUNDS = 3
SLOW, NUM_SLOW_ROUNDS = "torch float16", 2  # up to 50 times slower than the others: takes part in two rounds only


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["unet", "resnet34_unet"])
    parser.add_argument("--upsamples", nargs="+", default=["deconv", "bilinear"])
    parser.add_argument("--image-sizes", nargs="+", type=int, default=[64], help="px")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[8, 16])
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    isa = torch.backends.cpu.get_cpu_capability()
    print(f"torch {torch.__version__}, {isa}, threads {options.threads}, width {options.width}; ms a step (ratio)")
    print(f"{'':>38}" + "".join(f"{name:>20}" for name in VARIANTS))
    cases = itertools.product(options.models, options.upsamples, options.image_sizes, options.batch_sizes)
    for model, upsample, image_size, batch_size in cases:
        config = TrialConfig.from_dict(
            {"model": model, "upsample": upsample, "image_size": image_size, "width": options.width}
        )
        times = measure(config, batch_size, options.rounds)
        print(f"{model:>14} {upsample:>9} {image_size:>4} px x {batch_size:<3}" + " " + row(times), flush=True)


def measure(config: TrialConfig, batch_size: int, num_rounds: int) -> dict[str, list[float]]:
    """Seconds of each round's step, by variant; each variant trains its own network from the same start."""
    steps = {name: stepper(config, batch_size, context) for name, context in VARIANTS.items()}
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for index in range(-NUM_WARM_UP_ROUNDS, num_rounds):
        for name, step in steps.items():
            if name == SLOW and not 0 <= index < NUM_SLOW_ROUNDS:
                continue
            started = time.perf_counter()
            step()
            if index >= 0:
                times[name].append(time.perf_counter() - started)
    return times


def stepper(config: TrialConfig, batch_size: int, context: Callable[[], AbstractContextManager]) -> Callable[[], None]:
    """A function that trains a new network for one step on one batch of noise, its forward pass in `context`."""
    torch.manual_seed(0)
    model = build_model(config).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu")
    images = torch.rand(batch_size, 3, config.image_size, config.image_size)
    masks = (torch.rand(batch_size, 1, config.image_size, config.image_size) > 0.5).float()

    def step() -> None:
        optimizer.zero_grad()
        with context():
            probabilities = model(images)
        scaler.scale(F.binary_cross_entropy(probabilities.float(), masks)).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def row(times: dict[str, list[float]]) -> str:
    """The medians in ms and, in brackets, the median of each round's ratio to float32."""
    cells = []
    for seconds in times.values():
        ratio = statistics.median(ours / base for ours, base in zip(seconds, times["float32"], strict=False))
        cells.append(f"{1e3 * statistics.median(seconds):>12.1f} ({ratio:.2f})")
    return "".join(f"{cell:>20}" for cell in cells)


if __name__ == "__main__":
    main()
