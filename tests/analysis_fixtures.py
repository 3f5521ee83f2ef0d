"""Writes sample study folders as a study leaves them; `python tests/analysis_fixtures.py FOLDER`: one to look at."""

import csv
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SPACE = {
    "name": "upsample",
    "question": "Does the upsampling layer change Dice or numerical health?",
    "axes": {
        "model": {"kind": "choice", "values": ["unet", "resnet34_unet"]},
        "upsample": {"kind": "choice", "values": ["deconv", "bilinear"]},
        "lr": {"kind": "log_uniform", "low": 1e-4, "high": 1e-2},
        "batch_size": {"kind": "choice", "values": [8, 16, 32]},
    },
    "fixed": {"head": "sigmoid", "loss": "bce"},
    "baseline": {"model": "unet", "upsample": "deconv", "lr": 1e-3, "batch_size": 32},
    "conditions": {},
}
STUDY = {
    "schema_version": 1,
    "name": "upsample",
    "created": "2026-11-23T19:00:00+00:00",
    "finished": "2026-11-23T19:30:00+00:00",
    "interrupted": False,
    "space": SPACE,
    "options": {
        "preset": "small",
        "search": "optuna",
        "scheduler": "asha",
        "samples": 24,
        "seeds": 1,
        "epochs": 20,
        "metric": "val_dice",
        "mode": "max",
        "concurrent": 2,
    },
    "fixed": {"amp": True, "amp_dtype": "float16"},
    "num_trials": 24,
    "data": {
        "name": "drawn",
        "source_size_px": [128, 128],
        "image_size_px": 64,
        "num_train": 1024,
        "num_val": 128,
        "num_test": 256,
        "border": "pet",
    },
    "provenance": {
        "commit": "0123456789abcdef",
        "dirty": False,
        "versions": {"torch": "2.13.0", "ray": "2.60.0"},
        "hardware": {"gpu": "NVIDIA H200", "cpu_cores": 16},
        "command": "python study/run.py upsample --preset small",
    },
}
CONFIG = {
    "model": "unet",
    "upsample": "deconv",
    "width": 16,
    "head": "sigmoid",
    "loss": "bce",
    "optimizer": "adam",
    "lr": 1e-3,
    "weight_decay": 0.0,
    "schedule": "cosine",
    "batch_size": 32,
    "epochs": 20,
    "image_size": 64,
    "amp": True,
    "amp_dtype": "float16",
    "augment": "none",
    "seed": 0,
    "data": "drawn",
}
NO_DIVERGENCE = {"diverged": False, "diverged_step": None, "diverged_where": None}


ACCOUNT = {  # divergence.json, as trials writes it
    "schema_version": 1,
    "cause": "saturated_head",
    "blame": "amp",
    "where": "loss",
    "epoch": 4,
    "step": 101,
    "phase": "backward",
    "module": "head",
    "op": "binary_cross_entropy_backward",
    "first_sign": {"epoch": 3, "step": 90},
    "remedies": [
        {"name": "float32_head", "settings": {"float32_head": True}, "finite": True, "worked": True},
        {"name": "clipping", "settings": {"clip_norm": 1.0}, "finite": False, "worked": False},
    ],
    "float32_modules": ["head"],
    "search_complete": True,
    "evidence": {"event": "loss", "loss_scale": 65536.0, "outputs": {"dtype": "float16", "shape": [32, 1, 64, 64]}},
    "capsule": {"folder": "capsule", "sha256": "64566201b31b95ed59f2da2f2c83ebe9"},
}


@dataclass
class Trial:
    config: dict = field(default_factory=lambda: dict(CONFIG))
    lines: list = field(default_factory=list)  # of result.json: dictionaries, or text written as it is
    outcome: dict | None = None
    predicts: bool = False  # leaves best_validation.safetensors and .csv
    account: dict | None = None  # divergence.json; leaves a capsule, too


def line(epoch: int, dice: float, **more) -> dict:
    """A line of result.json as Ray writes it: the metrics and Ray's own keys."""
    metrics = {
        "epoch": epoch,
        "train_loss": 1 - dice,
        "val_loss": 1.1 - dice,
        "val_dice": dice,
        "val_dice_soft": dice - 0.02,
        "val_iou": dice / (2 - dice),
        "val_bce": 1.1 - dice,
        "lr": 1e-3,
        "loss_scale": 65536.0,
        "num_skipped_steps": 0,
        "num_steps": 32,
        "images_per_s": 410.0,
        "epoch_s": 2.5,
    }
    ray = {
        "training_iteration": epoch,
        "time_total_s": 2.5 * epoch,
        "timestamp": 1795460400 + epoch,
        "done": False,
        "hostname": "node",
        "node_ip": "127.0.0.1",
        "pid": 7,
        "iterations_since_restore": epoch,
    }
    return metrics | NO_DIVERGENCE | ray | more


def diverged_line(epoch: int, dice: float, *, step: int = 7, where: str = "loss", **more) -> dict:
    """The last line of a diverged trial: its metrics are the worst finite values so far, for the search."""
    return line(epoch, dice, diverged=True, diverged_step=step, diverged_where=where, done=True, **more)


def outcome(name: str, epoch: int | None = None, **more) -> dict:
    return {
        "schema_version": 1,
        "outcome": name,
        "epoch": epoch,
        "step": None,
        "where": None,
        "error_type": None,
        "error_text": None,
        "best_epoch": None,
        "best_val_dice": None,
        "duration_s": 50.0,
    } | more


def completed(dice: list[float], **config) -> Trial:
    """A trial that trained all its epochs and reached these Dice scores."""
    return Trial(
        CONFIG | config,
        [line(epoch, value) for epoch, value in enumerate(dice, start=1)],
        outcome("completed", len(dice), best_val_dice=max(dice)),
    )


def write_study(
    folder: Path,
    trials: list[Trial],
    *,
    study: dict | None = STUDY,
    test: dict | None = None,
    num_images: int = 0,
    size_px: int = 32,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if study is not None:
        write_json(folder / "study.json", study)
    if test is not None:
        write_json(folder / "test.json", test)
    (folder / "tuner.pkl").write_bytes(b"never to be opened")
    write_json(folder / "experiment_state-2026-11-23_19-00-00.json", {"trial_data": []})
    rng = np.random.default_rng(0)
    images, masks = drawn_images(num_images, size_px, rng)
    if num_images:
        save_file({"images": images, "masks": masks}, folder / "validation.safetensors")
        cases = [["thin"] if index == 1 else ["same colour"] if index == 3 else [] for index in range(num_images)]
        write_json(
            folder / "validation.json",
            [{"name": f"drawn_{index:04d}", "hard_cases": case} for index, case in enumerate(cases)],
        )
    for number, trial in enumerate(trials):
        write_trial(folder, number, trial)
        if trial.predicts:
            write_predictions(trial_folder(folder, number), masks, rng)
    return folder


def trial_id(number: int) -> str:
    return f"a1b2c_{number:05d}"


def trial_folder(folder: Path, number: int) -> Path:
    return folder / f"trainable_{trial_id(number)}_{number}_lr=0.0010_2026-11-23_19-00-00"


def write_trial(folder: Path, number: int, trial: Trial) -> None:
    path = trial_folder(folder, number)
    path.mkdir()
    write_json(path / "params.json", trial.config)
    head = {"trial_id": trial_id(number), "config": trial.config}
    lines = [each if isinstance(each, str) else json.dumps(head | each) + "\n" for each in trial.lines]
    (path / "result.json").write_text("".join(lines))
    if trial.outcome is not None:
        write_json(path / "outcome.json", trial.outcome)
    if trial.account is not None:
        write_json(path / "divergence.json", trial.account)
        (path / "checkpoint_000000" / "capsule").mkdir(parents=True)
        write_json(path / "checkpoint_000000" / "capsule" / "capsule.json", {})


def write_predictions(path: Path, masks: np.ndarray, rng: np.random.Generator) -> None:
    """Predictions that miss a strip of growing width, so that their scores differ."""
    num, height, width = masks.shape
    truth = masks == 1
    predicted = truth.copy()
    for index in range(num):
        predicted[index, :, : index * width // (2 * num)] = False
        predicted[index] ^= rng.random((height, width)) < 0.001
    save_file(
        {"masks_packed": np.packbits(predicted.reshape(num, -1), axis=1)},
        path / "best_validation.safetensors",
        metadata={"epoch": "17", "height_px": str(height), "width_px": str(width)},
    )
    both = (predicted & truth).sum(axis=(1, 2))
    total = predicted.sum(axis=(1, 2)) + truth.sum(axis=(1, 2))
    with (path / "best_validation.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "dice", "iou"])
        for index in range(num):
            dice = 2 * both[index] / total[index]
            writer.writerow([f"drawn_{index:04d}", dice, dice / (2 - dice)])


def drawn_images(num: int, size_px: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An ellipse with two ears on a gradient; the mask's outermost ring is to be ignored."""
    y, x = np.mgrid[0:size_px, 0:size_px] / size_px
    images, masks = np.zeros((num, size_px, size_px, 3), np.uint8), np.zeros((num, size_px, size_px), np.uint8)
    for index in range(num):
        cx, cy, rx, ry = 0.5 + rng.uniform(-0.1, 0.1), 0.55, rng.uniform(0.2, 0.33), rng.uniform(0.18, 0.28)
        body = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2
        ears = np.minimum((x - cx + rx * 0.6) ** 2, (x - cx - rx * 0.6) ** 2) + (y - cy + ry) ** 2 * 0.4
        pet = (body < 1) | (ears < 0.006)
        back, front = rng.integers(20, 235, 3), rng.integers(20, 235, 3)
        colour = np.where(pet[..., None], front, back) * (0.7 + 0.3 * y[..., None])
        images[index] = np.clip(colour + rng.normal(0, 9, colour.shape), 0, 255).astype(np.uint8)
        masks[index] = pet
        masks[index][(body > 1) & (body < 1.08) & ~pet] = 255
    return images, masks


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1))


def realistic_trials(num: int, rng: np.random.Generator, *, num_epochs: int = 20) -> list[Trial]:
    """Two networks, two upsamplings; large learning rates diverge, slow trials are pruned."""
    trials = []
    for number in range(num):
        lr = float(10 ** rng.uniform(-4, -2))
        config = CONFIG | {
            "model": ["unet", "resnet34_unet"][number % 2],
            "lr": lr,
            "seed": 0,
            "epochs": num_epochs,
            "upsample": ["deconv", "bilinear"][number // 2 % 2],
            "batch_size": int(rng.choice([8, 16, 32])),
        }
        top = 0.93 - 0.04 * abs(np.log10(lr) + 3) - 0.02 * (config["model"] == "resnet34_unet") + rng.normal(0, 0.008)
        speed = 4 - 1.5 * (config["upsample"] == "deconv")
        dice = [
            float(np.clip(top * (1 - np.exp(-(epoch + 0.3 * speed) / speed)) + rng.normal(0, 0.012), 0.01, 0.99))
            for epoch in range(1, num_epochs + 1)
        ]
        end = num_epochs
        bad = lr > 4e-3 and (config["upsample"] == "bilinear" or number % 8 == 0)
        slow = lr < 3e-4 and not bad
        end = int(rng.integers(2, num_epochs)) if bad else int(rng.choice([2, 5, 10])) if slow else num_epochs
        lines = [
            line(
                epoch,
                value,
                lr=lr,
                images_per_s=float(400 + rng.normal(0, 15)),
                val_loss=1.1 - value + 2.0 ** (epoch - end) * 40 * bad,
            )
            for epoch, value in enumerate(dice[:end], start=1)
        ]
        best = max(dice[:end])
        done = outcome("completed", end, best_val_dice=best, duration_s=2.5 * end)
        if bad:
            where = ["loss", "weights", "outputs"][number % 3]
            lines.append(diverged_line(end + 1, min(dice[:end]), step=32 * end + 5, where=where))
            done |= {"outcome": "diverged", "epoch": end + 1, "step": 32 * end + 5, "where": where}
        trials.append(Trial(config, lines, done | ({"outcome": "pruned"} if slow else {})))
        trials[-1].account = ACCOUNT if bad and number % 3 else None
    return trials


def write_realistic(folder: Path, num: int = 24) -> Path:
    """A finished study with trials of every outcome and predictions of the best."""
    trials = realistic_trials(num, np.random.default_rng(3))
    trials[5].outcome = outcome("out_of_memory", 1, error_type="OutOfMemoryError", error_text="CUDA out of memory " * 9)
    trials[5].lines = []
    trials[9].outcome, trials[9].lines = None, [*trials[9].lines[:4], '{"epoch": 5, "trai']
    scores = [max((row["val_dice"] for row in trial.lines if isinstance(row, dict)), default=0) for trial in trials]
    best = int(np.argmax(scores))
    trials[best].predicts = True
    test = {
        "trial": trial_id(best),
        "folder": trial_folder(folder, best).name,
        "test_dice": 0.9013,
        "test_iou": 0.8204,
        "num_images": 256,
        "source_size_px": [128, 128],
    }
    return write_study(folder, trials, test=test, num_images=9, size_px=64, study=STUDY | {"num_trials": num + 1})


if __name__ == "__main__":
    print(write_realistic(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 24))
