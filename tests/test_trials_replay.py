"""A diverged run leaves a capsule, and the capsule says again what happened."""

import math

import pytest
import torch

from trials import checkpoint, replay
from trials.numerics import capsule
from trials.training import CAPSULE, run


def capsule_of(config, folder):
    list(run(config, out=folder))
    return folder / CAPSULE


@pytest.fixture
def exploded(tiny, tmp_path):
    """Plain SGD at an absurd rate: the first step ruins the weights, the second one's outputs are not finite."""
    config = tiny(optimizer="sgd", lr=1e30, schedule="constant", momentum=0.0)
    return capsule_of(config, tmp_path)


def test_a_healthy_run_leaves_no_capsule(tiny, tmp_path):
    assert not capsule_of(tiny(), tmp_path).exists()


def test_the_replay_finds_the_first_bad_operation_of_the_event(exploded):
    kept = capsule.read(exploded)
    assert (kept.where, kept.state.facts["step"]) == ("outputs", 2)
    found = replay.replay(kept)
    assert found.first.phase == "forward"
    assert found.first.module is not None
    assert found.outputs.num_not_finite > 0


def test_a_replay_gives_the_same_again(exploded):
    kept = capsule.read(exploded)
    assert replay.replay(kept) == replay.replay(kept)


def test_a_poisoned_buffer_has_no_bad_operation_in_the_step_after(tiny, tmp_path):
    config = tiny(epochs=3)
    next(run(config, out=tmp_path))
    content = checkpoint.load(tmp_path / "last.pt")
    content["model"]["encoder.0.2.running_var"][0] = math.nan
    checkpoint.save(tmp_path / "last.pt", content)
    list(run(config, out=tmp_path, resume=True))
    found = replay.replay(capsule.read(tmp_path / CAPSULE))
    assert found.state_not_finite == "buffers"
    assert found.loss is not None


def test_an_overflow_is_named_with_its_module(tiny, tmp_path):
    config = tiny(amp=True, epochs=3)
    next(run(config, out=tmp_path))
    content = checkpoint.load(tmp_path / "last.pt")
    content["model"]["middle.2.weight"].fill_(6e4)
    checkpoint.save(tmp_path / "last.pt", content)
    list(run(config, out=tmp_path, resume=True))
    found = replay.replay(capsule.read(tmp_path / CAPSULE))
    assert (found.first.phase, found.first.module) == ("forward", "middle.2")


def test_a_run_of_skipped_steps_keeps_the_state_before_the_first(tiny, tmp_path):
    config = tiny(amp=True, loss_scale_init=2.0**100, max_skipped_run=3)
    kept = capsule.read(capsule_of(config, tmp_path))
    assert kept.where == "skipped_steps"
    assert (kept.first_state.facts["step"], kept.state.facts["step"]) == (1, 3)
    assert kept.state.tensors["scaler.scale"] == 2.0**98


def test_the_state_in_the_capsule_is_the_one_before_the_step(exploded, tiny):
    config = capsule.read(exploded).config
    kept = capsule.read(exploded).state
    assert all(torch.isfinite(tensor).all() for name, tensor in kept.tensors.items() if "running" not in name)
    assert max(tensor.abs().max() for name, tensor in kept.tensors.items() if name.endswith("weight")) > 1e20
    assert config.lr == 1e30


def test_a_changed_capsule_is_refused(exploded, capsys):
    path = exploded / "batch.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert replay.main([str(exploded)]) == 2
    assert "sha256 differs" in capsys.readouterr().err


def test_the_command_names_phase_and_operation(exploded, capsys):
    assert replay.main([str(exploded)]) == 0
    printed = capsys.readouterr().out
    assert "step 2 (epoch 1, batch 1), diverged: outputs" in printed
    assert "in the forward phase" in printed


def test_a_folder_without_a_capsule_is_refused(tmp_path, capsys):
    assert replay.main([str(tmp_path)]) == 2
    assert "no capsule in" in capsys.readouterr().err
