"""What Ray keeps of a trial's epochs, and from which of it a trial goes on."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray import tune

from study.trainable import OBJECTIVE, _bring_back, _checkpoint_of, train_trial
from trials import checkpoint
from trials.training import run


def store(kept: tune.Checkpoint | None, trial: Path, epoch: int) -> set[str]:
    """Copies what is to be kept into the trial's folder, as Ray does; the names of its files."""
    if kept is None:
        return set()
    copy = trial / f"checkpoint_{epoch:06d}"
    shutil.copytree(kept.path, copy)
    return {path.name for path in copy.iterdir()}


@pytest.fixture(scope="module")
def trial(tiny, tmp_path_factory):
    """A trial of four epochs that is saved every third: what each epoch left to be kept, its metrics, its folder."""
    place = tmp_path_factory.mktemp("trial")
    out, history, files = place / "run", [], []
    for metrics in run(tiny(epochs=4, checkpoint_every=3, lr=1e-3), out=out):
        history.append(asdict(metrics))
        if metrics.saved:
            (out / "history.json").write_text(json.dumps(history))
        files.append(store(_checkpoint_of(out, metrics), place / "stored", metrics.epoch))
    return files, history, place / "stored"


def test_an_epoch_that_is_due_is_kept_whole(trial):
    files, history, _ = trial
    assert [row["saved"] for row in history] == [False, False, True, True]
    assert all({"last.pt", "best.pt", "history.json", "layers.jsonl"} <= files[epoch] for epoch in (2, 3))


def test_the_best_epoch_so_far_is_kept_without_the_state(trial):
    files, history, _ = trial
    assert history[0]["best_epoch"] == 1
    assert files[0] == {"best.pt", "best_validation.csv", "best_validation.safetensors", "layers.jsonl"}


def test_an_epoch_that_is_neither_leaves_nothing_to_copy(tiny, tmp_path):
    first = next(run(tiny(checkpoint_every=2), out=tmp_path / "run"))
    assert _checkpoint_of(tmp_path / "run", replace(first, epoch=2)) is None


def brought(named: Path, out: Path) -> int | None:
    """The epoch of the state that a trial goes on from, where Ray names this checkpoint."""
    return checkpoint.load(out / "last.pt")["epoch"] if _bring_back(tune.Checkpoint(str(named)), out) else None


def test_a_trial_goes_on_from_the_state_below_the_best_weights(trial, tmp_path):
    copy = shutil.copytree(trial[2], tmp_path / "trial")
    shutil.move(copy / "checkpoint_000001", copy / "checkpoint_000009")  # the newest, without a state
    assert brought(copy / "checkpoint_000009", tmp_path / "out") == 4


def test_a_checkpoint_beyond_rays_record_serves_where_the_recorded_one_is_gone(trial, tmp_path):
    copy = shutil.copytree(trial[2], tmp_path / "trial")
    shutil.rmtree(copy / "checkpoint_000003")
    assert brought(copy / "checkpoint_000003", tmp_path / "out") == 4


def test_a_checkpoint_that_was_cut_short_is_passed_over(trial, tmp_path):
    copy = shutil.copytree(trial[2], tmp_path / "trial")
    last = copy / "checkpoint_000004/last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    assert brought(copy / "checkpoint_000004", tmp_path / "out") == 3


def test_a_trial_without_any_state_begins_anew(trial, tmp_path):
    shutil.copytree(trial[2] / "checkpoint_000001", tmp_path / "trial/checkpoint_000001")
    assert brought(tmp_path / "trial/checkpoint_000001", tmp_path / "out") is None


def reports_of(monkeypatch, config, named: Path) -> list[dict]:
    """What a trial of this configuration reports where Ray names this checkpoint; Ray itself does not run."""
    reports: list[dict] = []
    resources = SimpleNamespace(required_resources={"CPU": 1})
    monkeypatch.setattr(tune, "get_checkpoint", lambda: tune.Checkpoint(str(named)))
    monkeypatch.setattr(tune, "get_context", lambda: SimpleNamespace(get_trial_resources=lambda: resources))
    monkeypatch.setattr(tune, "report", lambda line, checkpoint=None: reports.append(line))
    train_trial(config.to_dict())
    return reports


def test_epochs_that_rays_record_may_lack_are_reported_again(trial, tiny, tmp_path, monkeypatch):
    copy = shutil.copytree(trial[2], tmp_path / "trial")
    shutil.rmtree(copy / "checkpoint_000003")  # replaced by that of epoch 4, of which Ray has not written
    config = tiny(epochs=4, checkpoint_every=3, lr=1e-3)
    reports = reports_of(monkeypatch, config, copy / "checkpoint_000003")
    assert [line["epoch"] for line in reports] == [1, 2, 3, 4]
    best = [max(row["val_dice"] for row in trial[1][:num]) for num in range(1, 5)]
    assert [line[OBJECTIVE] for line in reports] == best


def test_epochs_that_ray_has_recorded_are_not_reported_again(trial, tiny, tmp_path, monkeypatch):
    copy = shutil.copytree(trial[2], tmp_path / "trial")
    config = tiny(epochs=4, checkpoint_every=3, lr=1e-3)
    assert [line["epoch"] for line in reports_of(monkeypatch, config, copy / "checkpoint_000003")] == [4]
