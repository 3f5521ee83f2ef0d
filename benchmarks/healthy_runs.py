"""Healthy training on pets raises no alarm: runs in float32, each with its twin under AMP.

    python benchmarks/healthy_runs.py --data-root DIR
    python benchmarks/healthy_runs.py --network smp_unet   # 20 runs of a plain loop of smp's Unet under segstudy.watch

A run is healthy if its Dice of the last epochs is within 0.02 of its float32 twin's (float32 runs are their own twin).
Counted are the healthy ones that were called diverged or frozen. Both networks, deconv and bilinear, three optimiser
settings, several seeds, EPOCHS epochs, all limits at their defaults.
"""

import argparse
import itertools
import json
import multiprocessing
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.faults.in_loop import healthy_in_loop
from trials.config import TrialConfig
from trials.numerics.explaining.record import FILE
from trials.training import run

EPOCHS = 20
BASE = dict(data="pets", width=6, image_size=32, batch_size=16, train_limit=192, val_limit=96, augment="flip")
SETTINGS = (
    dict(lr=3e-3, schedule="one_cycle"),
    dict(lr=1e-3, schedule="cosine"),
    dict(lr=2e-3, schedule="constant", optimizer="adamw", weight_decay=0.01),
)
SGD = dict(optimizer="sgd", lr=0.05, schedule="cosine")  # with FAST, of the foreign loops alone
FAST = dict(lr=1e-2, schedule="one_cycle", loss="bce_dice")
WITHIN = 0.02
LAST = 3  # epochs whose mean is compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="../shared", help="the folder that holds oxford-iiit-pet/")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--network", choices=("ours", "smp_unet"), default="ours")
    options = parser.parse_args()
    if options.network == "smp_unet":
        healthy_loops(options.processes)
        return
    root = str(Path(options.data_root).absolute())
    tasks = [
        {**BASE, **settings, "data_root": root, "model": model, "upsample": upsample, "seed": seed, "epochs": EPOCHS}
        for seed, settings, model, upsample in itertools.product(
            range(options.first_seed, options.first_seed + options.seeds),
            SETTINGS,
            ("unet", "resnet34_unet"),
            ("deconv", "bilinear"),
        )
    ]
    context = multiprocessing.get_context("spawn")
    healthy = alarms = runs = 0
    with context.Pool(options.processes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for pair in pool.imap_unordered(pair_of_runs, tasks):
            print(json.dumps(pair), flush=True)
            for twin in ("float32", "amp"):
                runs += 1
                apart = abs(pair[twin]["dice"] - pair["float32"]["dice"])
                healthy += apart <= WITHIN
                # after most alarms there is no Dice any more: those count as false, until somebody shows the contrary
                alarms += pair[twin]["alarm"] is not None and not apart > WITHIN
    print(f"{runs} runs, {healthy} of them healthy, {alarms} alarms in those or without a Dice")


def healthy_loops(processes: int) -> None:
    """Plain loops of a network that is not ours: what segstudy.watch saw in each."""
    choices = itertools.product(("sigmoid", "logits"), (False, True), (*SETTINGS, SGD, FAST))
    tasks = [{"head": head, "amp": amp, "seed": seed, **own} for seed, (head, amp, own) in enumerate(choices)]
    alarms = 0
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for fields, alarm in pool.imap_unordered(one_loop, tasks):
            print(json.dumps({**fields, "alarm": alarm}), flush=True)
            alarms += alarm is not None
    print(f"{len(tasks)} runs, {alarms} alarms")


def one_loop(fields: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The fields, and what the watch saw in their run."""
    with tempfile.TemporaryDirectory() as out:
        return fields, healthy_in_loop(fields, Path(out) / "run")


def pair_of_runs(fields: dict[str, Any]) -> dict[str, Any]:
    """The run in float32 and under AMP: mean Dice of the last epochs, skipped steps, and the alarm if there was one."""
    named = ("model", "upsample", "lr", "schedule", "seed")
    return {name: fields[name] for name in named} | {
        "float32": one_run({**fields, "amp": False}),
        "amp": one_run({**fields, "amp": True}),
    }


def one_run(fields: dict[str, Any]) -> dict[str, Any]:
    """One run's end; it trains on after an alarm, so that one sees whether it was healthy all the same."""
    with tempfile.TemporaryDirectory() as out:
        epochs = list(run(TrialConfig.from_dict({**fields, "on_divergence": "continue"}), out=Path(out)))
        account = Path(out) / FILE
        told = json.loads(account.read_text()) if account.is_file() else None
        alarm = f"{told['where']} in epoch {told['epoch']}: {told['cause']}" if told else None
    dice = float(np.mean([metrics.val_dice for metrics in epochs[-LAST:]]))
    return {"dice": dice, "skipped": sum(metrics.num_skipped_steps for metrics in epochs), "alarm": alarm}


if __name__ == "__main__":
    main()
