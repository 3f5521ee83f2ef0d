"""The report on a study of 10,000 trials of 100 epochs, beside Ray's own loading of the same folder.

    python benchmarks/large_report.py [--trials 10000] [--epochs 100] [--folder DIR]

Writes the study as study.run leaves it (each line of result.json with Ray's keys and the trial's configuration, 2 GB in
all), then makes its report in a process of its own, and loads it with Ray's ExperimentAnalysis in another. Memory is
the largest sum over a process and its children. A folder that is there already is used again.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import psutil

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))  # run as a script, also without an installation

from search_spaces import Choice, LogUniform, Space  # noqa: E402
from study.manifest import new_manifest  # noqa: E402
from study.options import Options, settle  # noqa: E402
from trials.config import TrialConfig  # noqa: E402
from trials.training import EpochMetrics  # noqa: E402

STARTED = 1795460400  # s since 1970, of the first trial
NAMES = [field.name for field in fields(EpochMetrics)]
SPACE = Space(
    name="large",
    question="Does the upsampling layer change Dice or numerical health?",
    axes={
        "upsample": Choice(("deconv", "bilinear")),
        "amp": Choice((False, True)),
        "lr": LogUniform(1e-4, 3e-2),
        "batch_size": Choice((8, 16, 32)),
    },
    baseline={"upsample": "deconv", "amp": False, "lr": 1e-3, "batch_size": 32},
)
RAYS_OWN = """
import sys, time
from ray.tune import ExperimentAnalysis
started = time.perf_counter()
found = ExperimentAnalysis(sys.argv[1])
frames = found.trial_dataframes
print(len(frames), sum(map(len, frames.values())))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="where the study lies, or is written; default: a temporary folder")
    parser.add_argument("--without-ray", action="store_true", help="the report alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = options.folder or Path(place) / "large"
        if not folder.exists():
            write_study(folder, options.trials, options.epochs)
        size = sum(path.stat().st_size for path in folder.glob("*/result.json"))
        print(f"{options.trials} trials x {options.epochs} epochs, {size / 1e9:.2f} GB of result.json")
        command = [sys.executable, str(REPOSITORY / "analysis/report.py"), str(folder)]
        report_s = measured("report", command)
        if not options.without_ray:
            rays_s = measured("Ray's ExperimentAnalysis", [sys.executable, "-c", RAYS_OWN, str(folder)])
            print(f"ratio {report_s / rays_s:.2f}")


def measured(name: str, command: list[str]) -> float:
    """Runs it, prints time and memory; gives the seconds."""
    started, largest = time.perf_counter(), 0
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while process.poll() is None:
        largest = max(largest, memory_of(process.pid))
        time.sleep(0.1)
    seconds = time.perf_counter() - started
    output = process.stdout.read().strip() if process.stdout else ""
    print(f"{name}: {seconds:.1f} s, {largest / 1e9:.2f} GB, exit code {process.returncode}: {output}", flush=True)
    return seconds


def memory_of(pid: int) -> int:
    """Bytes: proportional set sizes (shared pages once) of a process and its children."""
    total = 0
    try:
        family = psutil.Process(pid)
        for process in [family, *family.children(recursive=True)]:
            total += process.memory_full_info().pss
    except psutil.NoSuchProcess:
        pass
    return total


def write_study(folder: Path, num_trials: int, num_epochs: int) -> None:
    """A finished random search: learning rate, batch size and upsampling matter, large rates under AMP diverge."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    space, config = settle(SPACE, "quick", {"epochs": num_epochs})
    options = Options("quick", "random", "none", num_trials, 1, "val_dice", None, 2, 1.0, 0.0)
    manifest = new_manifest(folder.name, space, config, options, num_trials)
    (folder / "study.json").write_text(json.dumps({**manifest, "finished": manifest["created"]}))
    states = [write_trial(folder, number, num_epochs, config, rng) for number in range(num_trials)]
    write_rays_record(folder, states)


def write_trial(folder: Path, number: int, num_epochs: int, base: TrialConfig, rng: np.random.Generator) -> dict:
    """One trial's folder; gives what Ray's record needs of it."""
    lr = float(10 ** rng.uniform(-4, np.log10(0.03)))
    changed = {
        "lr": lr,
        "upsample": ("deconv", "bilinear")[number % 2],
        "amp": bool(number // 2 % 2),
        "batch_size": int(rng.choice([8, 16, 32])),
        "seed": 0,
    }
    config = {**base.to_dict(), **changed}
    trial_id = f"{number:08x}"
    name = f"{number + 1:05d}_{trial_id}"
    path = folder / name
    path.mkdir()
    broken = config["amp"] and lr > 0.01 and rng.random() < 0.6
    last = int(rng.integers(2, num_epochs)) if broken else num_epochs
    top = 0.9 - 0.05 * (np.log10(lr) + 2.7) ** 2 - 0.01 * (config["upsample"] == "bilinear") + rng.normal(0, 0.01)
    values = np.clip(top * (1 - np.exp(-np.arange(1, last + 1) / 8)) + rng.normal(0, 0.01, last), 0.01, 0.99)
    lines = [epoch_line(epoch, values, lr, broken and epoch == last) for epoch in range(1, last + 1)]
    rays = [rays_part(line["epoch"], trial_id, config) for line in lines]
    (path / "params.json").write_text(json.dumps(config))
    (path / "result.json").write_text("".join(json.dumps(a | b) + "\n" for a, b in zip(lines, rays, strict=True)))
    outcome = {"outcome": "diverged" if broken else "completed", "epoch": last, "metric": "val_dice"}
    event = {"step": 32 * last, "where": "loss", "cause": "saturated_head"} if broken else {}
    more = {"best_value": float(values.max()), "duration_s": 2.5 * last}
    (path / "outcome.json").write_text(json.dumps(outcome | event | more))
    if broken:
        account = {"cause": "saturated_head", "blame": "amp", "phase": "backward", "module": "head.0", "op": "_to_copy"}
        (path / "divergence.json").write_text(json.dumps(account | {"first_sign": {"epoch": last, "step": 32 * last}}))
    return {"trial_id": trial_id, "dirname": name, "config": config, "last_result": lines[-1] | rays[-1]}


def epoch_line(epoch: int, values: np.ndarray, lr: float, diverged: bool) -> dict:
    """Every field of EpochMetrics."""
    dice = float(values[epoch - 1])
    told = {
        "epoch": epoch,
        "train_loss": 1 - dice,
        "val_loss": 1.1 - dice,
        "val_dice": dice,
        "val_dice_soft": dice - 0.02,
        "val_iou": dice / (2 - dice),
        "val_bce": 1.1 - dice,
        "lr": lr,
        "num_steps": 32,
        "num_skipped_steps": 0,
        "longest_skipped_run": 0,
        "rolled_back": False,
        "num_rollbacks": 0,
        "grad_norm": 0.5 / epoch,
        "update_ratio": lr / epoch,
        "saturated_share": 0.0,
        "tightest_layer": "encoder.0.2",
        "tightest_max": 20.0 + epoch,
        "frozen": False,
        "diverged": diverged,
        "best_epoch": int(values[:epoch].argmax()) + 1,
        "best_value": float(values[:epoch].max()),
        "images_per_s": 190.0,
        "epoch_s": 2.5,
    }
    event = {"diverged_step": 32 * epoch, "diverged_where": "loss", "diverged_cause": "saturated_head"}
    return dict.fromkeys(NAMES) | told | (event if diverged else {})


def rays_part(epoch: int, trial_id: str, config: dict) -> dict:
    """What Ray adds to a line."""
    return {
        "timestamp": STARTED + epoch,
        "checkpoint_dir_name": f"checkpoint_{epoch - 1:06d}",
        "should_checkpoint": True,
        "done": False,
        "training_iteration": epoch,
        "trial_id": trial_id,
        "date": "2026-11-23_19-00-00",
        "time_this_iter_s": 2.5,
        "time_total_s": 2.5 * epoch,
        "pid": 1,
        "hostname": "node",
        "node_ip": "127.0.0.1",
        "config": config,
        "time_since_restore": 2.5 * epoch,
        "iterations_since_restore": epoch,
    }


def write_rays_record(folder: Path, states: list[dict]) -> None:
    """experiment_state-*.json, by Ray's own classes."""
    from ray.train._internal.storage import StorageContext
    from ray.tune.experiment import Trial

    storage = StorageContext(storage_path=str(folder.parent), experiment_dir_name=folder.name)
    data = []
    for state in states:
        own = StorageContext(str(folder.parent), folder.name, trial_dir_name=state["dirname"])
        trial = Trial("train_trial", config=state["config"], trial_id=state["trial_id"], stub=True, storage=own)
        trial.update_resources({"CPU": 1})
        trial.run_metadata.last_result = state["last_result"]
        data.append(trial.get_json_state())
    shutil.rmtree(folder / ".validate_storage_marker", ignore_errors=True)
    record = {"trial_data": data, "runner_data": {}, "stats": {"start_time": STARTED}}
    Path(storage.experiment_fs_path, "experiment_state-2026-11-23_19-00-00.json").write_text(json.dumps(record))


if __name__ == "__main__":
    main()
