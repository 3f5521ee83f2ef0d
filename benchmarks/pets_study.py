"""A quick study on Oxford-IIIT Pet beside a plain PyTorch loop that is given as many images as the study's best trial.

    python benchmarks/pets_study.py --data-root DIR      (DIR holds oxford-iiit-pet/)

The study is the README's: `python -m study.run --space upsample --data pets`, 12 trials of the quick preset. The loop
shares nothing with it but the network: it reads the files itself, flips, and trains UNet (width 8, 64 px, batch 16)
with Adam and one cycle up to 3e-3. Printed: time and best validation Dice of both, and their difference.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from study.options import PRESETS
from trials.config import TrialConfig
from trials.parts import build_model

SIZE_PX, BATCH = 64, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="../shared", help="the folder that holds oxford-iiit-pet/")
    data_root = Path(parser.parse_args().data_root).absolute()
    with tempfile.TemporaryDirectory() as results:
        best, outcomes, study_s = run_study(data_root, Path(results))
    num_images = best["epoch"] * PRESETS["quick"]["fields"]["images_per_epoch"]
    started = time.perf_counter()
    dice = plain_loop(data_root / "oxford-iiit-pet", num_images)
    ended = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in sorted(set(outcomes)))
    print(f"study: {len(outcomes)} trials ({ended}) in {study_s:.0f} s, best val_dice {best['best_value']:.4f}")
    print(f"plain loop: {num_images} images in {time.perf_counter() - started:.0f} s, val Dice {dice:.4f}")
    print(f"difference {best['best_value'] - dice:+.4f}")


def run_study(data_root: Path, results: Path) -> tuple[dict, list[str], float]:
    """The last line of the best trial's result.json, every trial's outcome, and the seconds it took."""
    arguments = ["--space", "upsample", "--data", "pets", "--data-root", str(data_root), "--results", str(results)]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "study.run", *arguments], check=True, stdout=subprocess.DEVNULL)
    study_s = time.perf_counter() - started
    lasts = [json.loads(path.read_text().splitlines()[-1]) for path in results.glob("*/*/result.json")]
    outcomes = [json.loads(path.read_text())["outcome"] for path in results.glob("*/*/outcome.json")]
    return max(lasts, key=lambda last: last["best_value"] or 0.0), outcomes, study_s


def plain_loop(folder: Path, num_images: int) -> float:
    """Mean per-image Dice on every 10th trainval picture, after training on `num_images` of the others."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    names = [line.split()[0] for line in (folder / "annotations/trainval.txt").read_text().splitlines()]
    images, masks = (torch.stack(tensors) for tensors in zip(*(read(folder, name) for name in names), strict=True))
    is_val = torch.arange(len(names)) % 10 == 0
    train_images, train_masks = images[~is_val], masks[~is_val]
    model = build_model(TrialConfig.from_dict({"width": 8, "image_size": SIZE_PX}))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    num_steps = math.ceil(num_images / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=num_steps + 1)
    order = torch.cat([torch.randperm(len(train_images)) for _ in range(num_images // len(train_images) + 1)])
    for step in range(num_steps):
        chosen = order[step * BATCH : (step + 1) * BATCH]
        flips = torch.rand(len(chosen), 1, 1, 1) < 0.5
        x = torch.where(flips, train_images[chosen].flip(-1), train_images[chosen])
        y = torch.where(flips, train_masks[chosen].flip(-1), train_masks[chosen])
        loss = F.binary_cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.inference_mode():
        predicted = torch.cat([model(batch) > 0.5 for batch in images[is_val].split(64)])
    truth = masks[is_val] > 0.5
    total = predicted.sum((1, 2, 3)) + truth.sum((1, 2, 3))
    dice = torch.where(total == 0, 1.0, 2 * (predicted & truth).sum((1, 2, 3)) / total.clamp(min=1))
    return dice.mean().item()


def read(folder: Path, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Image 3,S,S (normalised) and mask 1,S,S (pet and border are 1), float32."""
    with Image.open(folder / f"images/{name}.jpg") as picture:
        image = np.asarray(picture.convert("RGB").resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR), np.float32)
    with Image.open(folder / f"annotations/trimaps/{name}.png") as picture:
        trimap = np.asarray(picture.resize((SIZE_PX, SIZE_PX), Image.Resampling.NEAREST))
    normalised = (image / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    return torch.from_numpy(normalised).permute(2, 0, 1).float(), torch.from_numpy(trimap != 2)[None].float()


if __name__ == "__main__":
    main()
