"""The report's failure, not planted: half precision with a sigmoid head on real pets, diagnosed, and its remedy tried.

    python benchmarks/report_failure.py --data-root DIR                 # five seeds, each with and without the remedy
    python benchmarks/report_failure.py --data-root DIR --explore OUT   # what else diverges, one file a run
    python benchmarks/report_failure.py --data-root DIR --explore OUT --only resnet_logits_lr1e-2

Without --explore: UNet (width 8, 48 px, bilinear, Adam at a constant 1e-2, batch 16, 64 pictures without augmentation)
under AMP until it diverges. Then each remedy that at least half of the accounts name, and that is a setting of half
precision (so not float32 itself), is trained for as many epochs under every seed; it cures if the run does not diverge
and its loss stays where it should: the mean of the last TAIL epochs within TOLERANCE of the lowest. With --explore
each run goes on after everything that is not NaN, so that one sees where it would have ended.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from trials.config import TrialConfig
from trials.numerics.explaining.record import FILE
from trials.training import run

BASE: dict[str, Any] = dict(
    data="pets", model="unet", width=8, image_size=48, batch_size=16, lr=3e-3, schedule="constant", amp=True
)
BASE |= dict(augment="none", train_limit=64, val_limit=32, epochs=200, max_val_loss_ratio=1e9, device="cpu")
GO_ON = dict(on_divergence="continue", min_loss_scale=1e-300, max_skipped_run=10**9)
FAILURE = dict(upsample="bilinear", lr=1e-2, epochs=500)
RESNET = dict(model="resnet34_unet", image_size=64, epochs=300)
EXPLORED: dict[str, dict[str, Any]] = {
    "base": {},
    "base600": dict(epochs=600),
    "bilinear": dict(upsample="bilinear"),
    "bilinear600": dict(upsample="bilinear", epochs=600),
    "bilinear_lr1e-2": dict(upsample="bilinear", lr=1e-2),
    "lr1e-3": dict(lr=1e-3, epochs=300),
    "lr1e-2": dict(lr=1e-2),
    "cosine": dict(schedule="cosine"),
    "cosine_per_batch": dict(schedule="cosine_per_batch"),
    "flip": dict(augment="flip"),
    "report_augment": dict(augment="lab2"),
    "images256": dict(train_limit=256, epochs=100),
    "images256_lr1e-2": dict(train_limit=256, epochs=100, lr=1e-2),
    "width16": dict(width=16, epochs=150),
    "size96": dict(image_size=96, epochs=150),
    "bce_dice": dict(loss="bce_dice"),
    "sgd": dict(optimizer="sgd", lr=0.1),
    "float32": dict(amp=False),
    "bfloat16": dict(amp_dtype="bfloat16"),
    "float32_head": dict(float32_head=True),
    "logits": dict(head="logits"),
    "logits_lr1e-2": dict(head="logits", lr=1e-2),
    "resnet": RESNET,
    "resnet800": {**RESNET, "epochs": 800},
    "resnet_bilinear": dict(**RESNET, upsample="bilinear"),
    "resnet_lr1e-2": dict(**RESNET, lr=1e-2),
    "resnet_logits_lr1e-2": dict(**RESNET, lr=1e-2, head="logits"),
}
TAIL = 20  # epochs; at this constant rate the loss of a single one jumps about, in float32 too
TOLERANCE = 0.1  # of training loss, above the lowest of the run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="../shared", help="the folder that holds oxford-iiit-pet/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--explore", type=Path, metavar="OUT", help="a folder for the runs")
    parser.add_argument("--only", nargs="+", default=list(EXPLORED), choices=EXPLORED)
    options = parser.parse_args()
    torch.set_num_threads(1)
    base = {**BASE, "data_root": str(Path(options.data_root).absolute())}
    if options.explore:
        explore(base, options.seeds, options.only, options.explore)
        return
    failures = [failed({**base, **FAILURE, "seed": seed}) for seed in options.seeds]
    for name, settings in cures(failures).items():
        print(f"remedy {name}: {settings}", flush=True)
        for seed in options.seeds:
            cured({**base, **FAILURE, **settings, "seed": seed})


def failed(fields: dict[str, Any]) -> dict[str, Any]:
    """Trains until it diverges and prints the account."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        last = list(run(TrialConfig.from_dict(fields), out=Path(out)))[-1]
        account = Path(out) / FILE
        told = json.loads(account.read_text()) if account.is_file() else {"cause": "none", "remedies": []}
    worked = [remedy["name"] for remedy in told["remedies"] if remedy["worked"]]
    print(
        f"seed {fields['seed']}: {told['cause']} in epoch {last.epoch}, first sign {told.get('first_sign')}, "
        f"{told.get('where')}, {told.get('op')} in {told.get('module')}, blame {told.get('blame')}, "
        f"scale {last.loss_scale:g}, loss {last.train_loss:.4f}, worked: {worked}, float32 modules "
        f"{told.get('float32_modules')}, {time.perf_counter() - started:.0f} s",
        flush=True,
    )
    return told


def cures(accounts: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Settings, by name, of the remedies within half precision that worked in at least half of the accounts."""
    settings, counts = {}, Counter()
    for told in accounts:
        for remedy in told["remedies"]:
            if remedy["worked"] and remedy["name"] not in ("float32", "lower_scale"):
                settings[remedy["name"]] = remedy["settings"]
                counts[remedy["name"]] += 1
    return {name: settings[name] for name, count in counts.most_common() if 2 * count >= len(accounts)}


def cured(fields: dict[str, Any]) -> None:
    """Trains under the remedy to the end and prints how that went."""
    started = time.perf_counter()
    epochs = list(run(TrialConfig.from_dict(fields)))
    losses, last = [metrics.train_loss for metrics in epochs], epochs[-1]
    lowest, tail = min(losses), mean(losses[-TAIL:])
    late = sum(metrics.num_skipped_steps for metrics in epochs[10:])
    is_cured = not last.diverged and tail < lowest + TOLERANCE
    print(
        f"seed {fields['seed']}: {'cured' if is_cured else 'NOT cured'}: epoch {last.epoch}, loss "
        f"{last.train_loss:.4f} (last {TAIL} {tail:.4f}, lowest {lowest:.4f}), scale {last.loss_scale:g}, "
        f"{late} steps skipped after epoch 10, "
        f"{time.perf_counter() - started:.0f} s",
        flush=True,
    )


def explore(base: dict[str, Any], seeds: list[int], names: list[str], out: Path) -> None:
    """One JSON-lines file a run; those that are there are kept."""
    out.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        for name in names:
            path = out / f"{name}-{seed}.jsonl"
            if path.exists():
                continue
            config = TrialConfig.from_dict({**base, **GO_ON, **EXPLORED[name], "seed": seed})
            with path.open("w") as file:
                for metrics in run(config):
                    file.write(json.dumps(asdict(metrics)) + "\n")
                    file.flush()
            print(path, flush=True)


if __name__ == "__main__":
    main()
