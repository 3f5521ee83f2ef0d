"""What is written down of a run and when, and that a run goes on from it with the same numbers."""

import itertools
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from trials import checkpoint, train
from trials.optimizers import COPIES, OPTIMIZERS
from trials.outcome import write_json_line
from trials.state import SAVE_AFTER_S, is_due, new_state, save_interval
from trials.training import run

TIMES = ("images_per_s", "epoch_s")


def numbers(metrics) -> dict:
    return {name: value for name, value in asdict(metrics).items() if name not in TIMES}


def epoch_in(path: Path) -> int | None:
    return checkpoint.load(path)["epoch"] if path.exists() else None


@pytest.fixture(scope="module")
def sparse(tiny, tmp_path_factory):
    """A run of five epochs that writes its state every second: metrics, and what last.pt and best.pt held then."""
    out = tmp_path_factory.mktemp("sparse")
    config = tiny(epochs=5, checkpoint_every=2)
    seen = [(m, epoch_in(out / "last.pt"), epoch_in(out / "best.pt")) for m in run(config, out=out)]
    return config, out, seen


def test_the_state_is_written_when_it_is_due_and_at_the_end(sparse):
    assert [last for _, last, _ in sparse[2]] == [None, 2, 2, 4, 5]


def test_an_epoch_says_whether_it_was_saved(sparse):
    assert [metrics.saved for metrics, _, _ in sparse[2]] == [False, True, False, True, True]


def test_the_best_weights_are_written_at_their_epoch_whatever_is_due(sparse):
    assert [best for _, _, best in sparse[2]] == [metrics.best_epoch for metrics, _, _ in sparse[2]]


def test_a_run_resumed_from_an_older_state_repeats_the_epochs_since_bit_for_bit(sparse, tmp_path):
    config, whole, seen = sparse
    list(itertools.islice(run(config, out=tmp_path), 3))
    torch.manual_seed(99)  # what the resumed run must not depend on
    resumed = [numbers(metrics) for metrics in run(config, out=tmp_path, resume=True)]
    assert resumed == [numbers(metrics) for metrics, _, _ in seen[2:]]
    one, other = checkpoint.load(whole / "last.pt")["model"], checkpoint.load(tmp_path / "last.pt")["model"]
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (tmp_path / "layers.jsonl").read_text() == (whole / "layers.jsonl").read_text()


def test_a_resumed_command_writes_each_epochs_line_once(sparse, tmp_path, capsys):
    config, _, seen = sparse
    tmp_path.joinpath("config.json").write_text(json.dumps(config.to_dict()))
    for metrics in itertools.islice(run(config, out=tmp_path / "checkpoints"), 3):
        write_json_line(tmp_path / "result.json", asdict(metrics))
    assert train.main(["--resume", "--out", str(tmp_path)]) == 0
    assert "shuffled and augmented" not in capsys.readouterr().err
    lines = [json.loads(line) for line in (tmp_path / "result.json").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["val_loss"] for line in lines] == [metrics.val_loss for metrics, _, _ in seen]


def test_a_run_begun_under_other_draws_is_said_to_go_on_as_another(sparse, tmp_path, capsys):
    config, _, _ = sparse
    tmp_path.joinpath("config.json").write_text(json.dumps(config.to_dict()))
    list(itertools.islice(run(config, out=tmp_path / "checkpoints"), 4))
    last = tmp_path / "checkpoints/last.pt"
    content = checkpoint.load(last)
    del content["draws"]  # as the first version wrote it
    checkpoint.save(last, content)
    assert train.main(["--resume", "--out", str(tmp_path)]) == 0
    assert "from epoch 5 on this run is another than one that never stopped" in capsys.readouterr().err


@pytest.mark.parametrize(("num_parameters", "epochs", "interval"), [(19_544_833, 200, 10), (305_425, 9, 1)])
def test_the_larger_the_state_the_fewer_are_written(tiny, num_parameters, epochs, interval):
    assert save_interval(tiny(epochs=epochs), num_parameters) == interval
    assert save_interval(tiny(epochs=epochs, checkpoint_every=3), num_parameters) == 3


def test_every_optimiser_says_how_much_it_keeps():
    assert set(COPIES) == set(OPTIMIZERS)


def test_a_long_epoch_is_saved_whatever_its_number(tiny):
    config = tiny(epochs=100, checkpoint_every=50)
    state = new_state(config, torch.device("cpu"), num_steps=400)
    state.epoch, state.seconds, state.saved_seconds = 7, 1000.0, 1000.0 - SAVE_AFTER_S + 1
    assert not is_due(state, config)
    state.seconds += 1
    assert is_due(state, config)


def test_an_event_that_a_run_survives_is_saved_at_once(tiny, tmp_path):
    config = tiny(amp=True, loss_scale_init=1e30, max_skipped_run=3, on_divergence="continue", checkpoint_every=50)
    history = list(run(config, out=tmp_path))
    assert [metrics.saved for metrics in history] == [True, True]
    assert (tmp_path / "capsule/capsule.json").exists()


def test_an_epoch_that_was_rolled_back_is_saved_for_its_account_alone(tiny, tmp_path):
    config = tiny(optimizer="sgd", lr=1e30, schedule="constant", epochs=3, on_divergence="rollback", checkpoint_every=1)
    history = list(run(config, out=tmp_path))
    assert [(metrics.rolled_back, metrics.saved) for metrics in history] == [(True, True), (True, False), (True, False)]
    assert not (tmp_path / "last.pt").exists()


def test_a_run_that_ends_broken_is_saved_with_its_capsule(tiny, tmp_path):
    config = tiny(optimizer="sgd", lr=1e30, momentum=0.0, schedule="constant", epochs=5, checkpoint_every=50)
    assert [metrics.saved for metrics in run(config, out=tmp_path)] == [True]


def test_how_often_a_run_is_saved_may_change_when_it_goes_on(tiny, tmp_path):
    next(run(tiny(checkpoint_every=1), out=tmp_path))
    assert [metrics.epoch for metrics in run(tiny(checkpoint_every=7), out=tmp_path, resume=True)] == [2]
