"""A diverged run leaves a capsule, and the capsule says again what happened."""

import json
import math
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from trials import checkpoint, replay
from trials.captured import TrialRun
from trials.numerics import capsule
from trials.numerics.explaining.text import same_bits
from trials.training import CAPSULE, run


def capsule_of(config, folder):
    list(run(config, out=folder))
    return folder / CAPSULE


def replayed(folder):
    captured = capsule.read(folder)
    return replay.replay(captured, TrialRun.of(captured), torch.device("cpu"))


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
    found = replayed(exploded)
    assert found.first.phase == "forward"
    assert found.first.module is not None
    assert found.outputs.num_not_finite > 0


def test_a_replay_gives_the_same_again(exploded):
    assert replayed(exploded) == replayed(exploded)


def test_a_poisoned_buffer_has_no_bad_operation_in_the_step_after(tiny, tmp_path):
    config = tiny(epochs=3)
    next(run(config, out=tmp_path))
    content = checkpoint.load(tmp_path / "last.pt")
    content["model"]["encoder.0.2.running_var"][0] = math.nan
    checkpoint.save(tmp_path / "last.pt", content)
    list(run(config, out=tmp_path, resume=True))
    found = replayed(tmp_path / CAPSULE)
    assert found.state_not_finite == "buffers"
    assert found.loss is not None


def test_an_overflow_is_named_with_its_module(tiny, tmp_path):
    config = tiny(amp=True, epochs=3)
    next(run(config, out=tmp_path))
    content = checkpoint.load(tmp_path / "last.pt")
    content["model"]["middle.2.weight"].fill_(6e4)
    checkpoint.save(tmp_path / "last.pt", content)
    list(run(config, out=tmp_path, resume=True))
    found = replayed(tmp_path / CAPSULE)
    assert (found.first.phase, found.first.module) == ("forward", "middle.2")


def test_a_run_of_skipped_steps_keeps_the_state_before_the_first(tiny, tmp_path):
    config = tiny(amp=True, loss_scale_init=2.0**100, max_skipped_run=3)
    kept = capsule.read(capsule_of(config, tmp_path))
    assert kept.where == "skipped_steps"
    assert (kept.first_state.facts["step"], kept.state.facts["step"]) == (1, 3)
    assert kept.state.tensors["scaler.scale"] == 2.0**98


def test_the_state_in_the_capsule_is_the_one_before_the_step(exploded, tiny):
    config = TrialRun.of(capsule.read(exploded)).config
    kept = capsule.read(exploded).state
    assert all(torch.isfinite(tensor).all() for name, tensor in kept.tensors.items() if "running" not in name)
    assert max(tensor.abs().max() for name, tensor in kept.tensors.items() if name.endswith("weight")) > 1e20
    assert config.lr == 1e30


def test_a_changed_capsule_is_refused(exploded, capsys):
    path = exploded / "batch.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert replay.main([str(exploded)]) == 2
    assert "sha256 differs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[:40], "is not JSON"),
        (lambda text: "[]", "schema_version None"),
        (lambda text: "{}", "schema_version None"),
        (lambda text: text.replace('"event"', '"evident"'), "is not whole: no event"),
        (lambda text: text.replace('"width": 4', '"width": 8'), "is not as it was written"),
    ],
)
def test_damaged_facts_are_refused_with_file_and_remedy(exploded, damage, said, capsys):
    path = exploded / "capsule.json"
    path.write_text(damage(path.read_text()))
    assert replay.main([str(exploded)]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert str(exploded) in printed
    assert "copy it anew" in printed


def test_a_missing_part_is_named(exploded, capsys):
    (exploded / "state.safetensors").unlink()
    assert replay.main([str(exploded)]) == 2
    assert "is not whole: no state.safetensors" in capsys.readouterr().err


def test_a_folder_above_a_capsule_says_where_it_lies(exploded, capsys):
    assert replay.main([str(exploded.parent)]) == 2
    assert f"one lies in {exploded}" in capsys.readouterr().err


def test_a_missing_folder_is_named(tmp_path, capsys):
    assert replay.main([str(tmp_path / "nowhere")]) == 2
    assert f"no folder {tmp_path / 'nowhere'}" in capsys.readouterr().err


def test_ctrl_c_ends_a_replay_with_a_word(exploded):
    command = [sys.executable, "-u", "-c", REPLAY, str(exploded)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()  # then the step is run again, and every remedy after it
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert said == "\ninterrupted; the capsule is as it was\n"


REPLAY = """
import signal, sys
from trials import replay
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
sys.exit(replay.main([sys.argv[1], "--why"]))
"""


def test_the_steps_since_the_first_sign_show_the_scale_they_were_taken_under(tiny, tmp_path, capsys):
    config = tiny(amp=True, loss_scale_init=2.0**100, max_skipped_run=3)
    kept = capsule_of(config, tmp_path)
    assert replay.main([str(kept), "--from-first"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [float(row[4]) for row in rows] == [pytest.approx(2.0**power, rel=1e-4) for power in (100, 99, 98)]


def rewritten(folder, **facts):
    """The capsule with some facts changed, and its hash made right again."""
    written = json.loads((folder / "capsule.json").read_text()) | facts
    written["sha256"] = capsule.content_hash(folder, written)
    (folder / "capsule.json").write_text(json.dumps(written))


def test_a_step_is_called_repeated_bit_for_bit_where_all_outputs_are(exploded, capsys):
    assert replay.main([str(exploded)]) == 0
    assert "bit for bit: all 8,192 outputs and the loss are the recorded ones" in capsys.readouterr().out


def test_outputs_that_differ_are_counted_although_both_losses_are_nan(exploded, capsys):
    outputs = load_file(exploded / "outputs.safetensors")["outputs"]
    outputs[0, 0, 0, :3] = 0.25
    save_file({"outputs": outputs}, exploded / "outputs.safetensors")
    rewritten(exploded)
    assert replay.main([str(exploded)]) == 0
    printed = capsys.readouterr().out
    assert "bit for bit" not in printed
    assert "differs     in 3 of 8,192 outputs" in printed


def test_nan_is_nan_whatever_its_bits_and_minus_zero_is_not_zero():
    quiet, signalling = (
        torch.tensor([bits, 0], dtype=torch.int32).view(torch.float32) for bits in (0x7FC00000, 0x7FA00001)
    )
    assert same_bits(quiet, signalling).all()
    assert not same_bits(torch.tensor([0.0]), torch.tensor([-0.0])).any()


def test_of_a_capsule_without_outputs_the_loss_alone_is_compared(exploded, capsys):
    (exploded / "outputs.safetensors").unlink()
    rewritten(exploded, schema_version=3)
    assert replay.main([str(exploded)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("compared    the loss alone, for this capsule keeps no outputs: both are not finite")


def test_the_steps_of_a_version_that_drew_otherwise_are_not_repeated(tiny, tmp_path, capsys):
    folder = capsule_of(tiny(amp=True, loss_scale_init=2.0**100, max_skipped_run=3), tmp_path)
    facts = json.loads((folder / "capsule.json").read_text())
    del facts["draws"]  # as older versions wrote it
    facts["sha256"] = capsule.content_hash(folder, facts)
    (folder / "capsule.json").write_text(json.dumps(facts))
    assert replay.main([str(folder), "--from-first"]) == 2
    assert "shuffled and augmented the training pictures otherwise" in capsys.readouterr().err
    assert replay.main([str(folder)]) == 0  # the step of the event has its batch


def test_the_command_names_phase_and_operation(exploded, capsys):
    assert replay.main([str(exploded)]) == 0
    printed = capsys.readouterr().out
    assert "step 2 (epoch 1, batch 1), diverged: outputs" in printed
    assert "in the forward phase" in printed


def test_a_folder_without_a_capsule_is_refused(tmp_path, capsys):
    assert replay.main([str(tmp_path)]) == 2
    assert "no capsule in" in capsys.readouterr().err
