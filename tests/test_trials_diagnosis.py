"""Why a run diverged: planted faults of every cause, the remedies, modules that need float32, the record's file."""

import dataclasses
import json
import math

import pytest
import torch

from benchmarks.fault_injection import judged, planted
from benchmarks.faults import FAULTS, fault_named
from benchmarks.healthy_runs import BASE as HEALTHY
from benchmarks.healthy_runs import one_run
from trials import checkpoint, replay
from trials.captured import TrialRun, problem_of_batch
from trials.numerics import capsule
from trials.numerics.explaining.diagnose import diagnose
from trials.numerics.explaining.float32_search import Deadline, smallest_float32_set
from trials.numerics.explaining.record import CAPSULE, FILE
from trials.numerics.explaining.remedies import agreement, float32_step, is_right, try_remedies
from trials.numerics.explaining.rerun import in_float32, leaf_modules, rerun, restored
from trials.numerics.explaining.rules import BLAMES, CAUSES
from trials.parts import prepared_data, train_loader
from trials.training import run

CPU = torch.device("cpu")
PLANTED = (  # one or two of each cause, the quick ones; benchmarks/fault_injection.py runs them all
    "head_bias_shift/unet/amp/early",
    "conv_weights_grow/unet/encoder.0.3/amp/early",
    "conv_weights_grow/resnet34_unet/last_step.1/amp/early",
    "running_mean_nan/unet/encoder.0.2/float32/early",
    "running_mean_offset/unet/encoder.0.5/float32/early",
    "one_module_jumps/unet/encoder.2.3/float32/early",
    "head_multiplied/resnet34_unet/amp/early",  # found at a step that was taken: the scale had fallen before
)
OVERFLOWS = (  # weights that double from step to step, until a convolution passes 65,504
    "conv_weights_grow/unet/encoder.0.3/amp/early",
    "deconv_grows/unet/decoder.upsamplers.0.0/amp/early",
    "conv_weights_grow/resnet34_unet/last_step.1/amp/early",
)


def step_of(folder, *, traced=False, **settings):
    """The capsule's step, run again, under settings some of which may be other than they were."""
    captured, run = opened(folder)
    changed = dataclasses.replace(run.knowledge(captured).settings, **settings)
    return rerun(captured, run, changed, traced=traced)


def opened(folder):
    captured = capsule.read(folder)
    return captured, TrialRun.of(captured)


def searched(folder, among=None):
    """The smallest set of modules in float32 under which the step agrees with float32's."""
    captured, run = opened(folder)
    known = run.knowledge(captured)
    float32 = float32_step(captured, run, known, CPU)

    def is_cured(step):
        return is_right(step, float32, agreement(step.gradients, float32.gradients))

    return smallest_float32_set(captured, run, known.settings, is_cured, Deadline(200.0), CPU, among)


def account_of(config, folder) -> dict:
    list(run(config, out=folder))
    return json.loads((folder / FILE).read_text())


@pytest.fixture(scope="module")
def overflowing(tiny, tmp_path_factory):
    """A run whose network has one convolution with weights of 6e4, from its second epoch on; its folder."""
    out, config = tmp_path_factory.mktemp("overflowing"), tiny(amp=True, epochs=3, diagnosis_budget_s=90.0)
    next(run(config, out=out))
    content = checkpoint.load(out / "last.pt")
    content["model"]["decoder.blocks.1.0.weight"].mul_(1e6)  # the BatchNorm behind it takes the scale out again
    checkpoint.save(out / "last.pt", content)
    list(run(config, out=out, resume=True))
    return out


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_told_by_cause_phase_and_module(name, pets_root):
    row = judged(name)
    assert row["right"], row


@pytest.mark.gpu
@pytest.mark.parametrize("name", OVERFLOWS)
def test_an_overflow_is_at_the_same_step_and_place_on_a_cpu_as_on_a_gpu(name, pets_root, tmp_path):
    fault = fault_named(name)
    on = {
        device: planted(dataclasses.replace(fault, config={**fault.config, "device": device}), tmp_path / device)
        for device in ("cuda", "cpu")
    }
    seen = {device: (one.where, one.event, one.diagnosis.phase, one.diagnosis.module) for device, one in on.items()}
    assert seen["cuda"] == seen["cpu"]
    first = step_of(tmp_path / "cuda" / CAPSULE, traced=True).first
    assert (first.phase, first.module) == (seen["cuda"][2], seen["cuda"][3])


@pytest.mark.parametrize("cause", ["scale_collapse", "loss_domain", "bad_data", "optimizer_instability"])
def test_a_planted_fault_of_each_other_cause_is_told(cause, pets_root):
    fault = next(f for f in FAULTS if f.cause == cause and f.model == "unet" and f.when == "early")
    row = judged(fault.name)
    assert row["right"], row


def test_a_healthy_run_under_amp_raises_no_alarm(pets_root):
    fields = {**HEALTHY, "data_root": pets_root, "train_limit": 96, "epochs": 4, "lr": 3e-3, "amp": True}
    assert one_run(fields)["alarm"] is None


def test_the_overflow_is_blamed_on_amp(overflowing):
    told = json.loads((overflowing / FILE).read_text())
    assert (told["cause"], told["blame"]) == ("forward_overflow", "amp")
    assert (told["phase"], told["module"]) == ("forward", "decoder.blocks.1.0")


def test_float32_cures_an_overflow_and_a_lower_loss_scale_does_not(overflowing):
    remedies = {r["name"]: r for r in json.loads((overflowing / FILE).read_text())["remedies"]}
    assert remedies["float32"]["worked"]
    assert not remedies["lower_scale"]["worked"]


def test_the_module_that_overflows_is_the_one_that_needs_float32(overflowing):
    assert json.loads((overflowing / FILE).read_text())["float32_modules"] == ["decoder.blocks.1.0"]


def test_the_search_without_a_suspect_ends_at_the_same_module(overflowing):
    found = searched(overflowing / CAPSULE)
    assert (found.names, found.is_smallest) == (("decoder.blocks.1.0",), True)


def test_a_suspect_that_does_not_suffice_is_no_set(overflowing):
    assert searched(overflowing / CAPSULE, among=("head.0",)) is None


def test_a_step_with_that_module_in_float32_is_finite(overflowing):
    assert not step_of(overflowing / CAPSULE).is_finite
    assert step_of(overflowing / CAPSULE, float32_modules=frozenset({"decoder.blocks.1.0"})).is_finite


def test_float32_modules_leave_no_trace_in_the_network(overflowing):
    captured, run = opened(overflowing / CAPSULE)
    model = restored(captured, run).model
    with in_float32(model, frozenset({"decoder.blocks.1.0"})):
        assert "forward" in vars(model.get_submodule("decoder.blocks.1.0"))
    assert all("forward" not in vars(model.get_submodule(name)) for name in leaf_modules(model))


def test_a_scale_under_which_gradients_vanish_is_no_cure(overflowing):
    captured, run = opened(overflowing / CAPSULE)
    float32 = float32_step(captured, run, run.knowledge(captured), CPU)
    vanished = step_of(overflowing / CAPSULE, loss_scale=2.0**-40, float32_modules=frozenset({"decoder.blocks.1.0"}))
    assert vanished.is_finite
    assert not is_right(vanished, float32, agreement(vanished.gradients, float32.gradients))


def test_without_time_the_search_says_that_it_is_not_complete(overflowing):
    captured, run = opened(overflowing / CAPSULE)
    found = try_remedies(captured, run, run.knowledge(captured), Deadline(0.0), CPU)
    assert not found.is_whole


def test_a_diagnosis_is_the_same_when_made_again(overflowing):
    told, (captured, run) = json.loads((overflowing / FILE).read_text()), opened(overflowing / CAPSULE)
    again = diagnose(captured, run, run.knowledge(captured), 20.0, CPU)
    assert {key: getattr(again, key) for key in ("cause", "module", "op")} == {
        key: told[key] for key in ("cause", "module", "op")
    }


def test_the_account_says_when_and_what_it_cost(overflowing):
    told = json.loads((overflowing / FILE).read_text())
    assert (told["epoch"], told["step"]) == (2, 5)
    assert told["seconds_before"] > 0
    assert told["seconds_after"] == 0
    assert told["capsule"]["sha256"] == capsule.read(overflowing / CAPSULE).facts["sha256"]


def test_the_metrics_of_a_diverged_epoch_name_the_cause(tiny, tmp_path):
    config = tiny(optimizer="sgd", lr=1e30, schedule="constant", momentum=0.0)
    last = list(run(config, out=tmp_path))[-1]
    assert (last.diverged_cause, last.diverged_blame) == ("optimizer_instability", "optimisation")
    assert last.diverged_cause in CAUSES
    assert last.diverged_blame in BLAMES


def test_going_on_after_a_divergence_is_counted(tiny, tmp_path):
    config = tiny(optimizer="sgd", lr=1e30, schedule="constant", momentum=0.0, on_divergence="continue", epochs=3)
    told = account_of(config, tmp_path)
    assert told["epoch"] == 1
    assert told["seconds_after"] > 0


def test_a_rolled_back_run_keeps_the_account_of_its_first_event(tiny, tmp_path):
    config = tiny(optimizer="sgd", lr=1e30, schedule="constant", momentum=0.0, on_divergence="rollback", epochs=3)
    config = dataclasses.replace(config, rollback_lr_factor=1e-16)
    assert account_of(config, tmp_path)["cause"] == "optimizer_instability"


def test_a_diagnosis_draws_nothing_from_the_runs_random_numbers(tiny, tmp_path):
    config = tiny(optimizer="sgd", lr=1e30, schedule="constant", momentum=0.0)
    list(run(config, out=tmp_path))
    with_account = torch.get_rng_state()
    list(run(config))
    assert torch.equal(with_account, torch.get_rng_state())


def test_a_frozen_run_has_an_account_and_is_not_called_diverged(tiny, tmp_path):
    config = tiny(amp=True, loss_scale_init=2.0**100, max_skipped_run=100, epochs=2, train_limit=64)
    last = list(run(config, out=tmp_path))[-1]
    told = json.loads((tmp_path / FILE).read_text())
    assert (last.frozen, last.diverged, told["where"], told["cause"]) == (True, False, "frozen", "scale_collapse")


def test_a_lower_scale_cures_a_scale_that_is_too_high(tiny, tmp_path):
    told = account_of(tiny(amp=True, loss_scale_init=2.0**100, max_skipped_run=3, diagnosis_budget_s=90.0), tmp_path)
    assert next(r["worked"] for r in told["remedies"] if r["name"] == "lower_scale")


def test_a_target_that_is_not_finite_ends_the_run_as_bad_data(tiny, tmp_path, monkeypatch):
    import trials.training

    step = trials.training.train_step

    def with_bad_target(state, batch, watch, config):
        batch.targets[0, 0, 0, 0] = math.nan
        return step(state, batch, watch, config)

    monkeypatch.setattr(trials.training, "train_step", with_bad_target)
    told = account_of(tiny(), tmp_path)
    assert (told["where"], told["cause"], told["blame"]) == ("targets", "bad_data", "data")
    assert problem_of_batch(capsule.read(tmp_path / CAPSULE).batches[0]) == "1 values of targets are not finite"


def test_the_batches_from_the_first_sign_on_lead_to_the_same_state(tiny, tmp_path, capsys):
    config = tiny(amp=True, loss_scale_init=2.0**100, max_skipped_run=6, train_limit=64)
    list(run(config, out=tmp_path))
    kept = capsule.read(tmp_path / CAPSULE)
    assert (kept.facts["first_sign"]["step"], kept.facts["event"]["step"]) == (1, 6)
    assert replay.main([str(tmp_path / CAPSULE), "--from-first"]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = kept.facts["trace"]
    assert [float(line.split()[3]) for line in lines[1:]] == pytest.approx([row["loss"] for row in told], rel=1e-5)


def test_a_batch_by_its_number_is_the_one_that_was_trained_on(tiny):
    config = tiny()
    loader = train_loader(config, prepared_data(config), CPU)
    for index, batch in enumerate(loader.batches(2)):
        assert torch.equal(loader.batch(2, index).images, batch.images)


def test_statistics_that_overflow_in_the_step_itself_are_the_optimisers_doing(tiny, tmp_path):
    found = account_of(tiny(optimizer="sgd", lr=1e10, schedule="constant", momentum=0.0), tmp_path)
    assert (found["where"], found["cause"], found["blame"]) == ("buffers", "optimizer_instability", "optimisation")


def test_a_step_longer_than_the_weights_is_the_optimisers_doing(tiny, tmp_path):
    found = account_of(tiny(lr=1e3, schedule="constant"), tmp_path)
    assert found["cause"] == "optimizer_instability"


def test_a_resumed_run_tells_of_the_steps_before(tiny, tmp_path):
    config = tiny(amp=True, epochs=3, loss_scale_init=2.0**19)
    assert 0 < next(run(config, out=tmp_path)).num_skipped_steps < 4
    content = checkpoint.load(tmp_path / "last.pt")
    content["model"]["decoder.blocks.1.0.weight"].mul_(1e6)
    checkpoint.save(tmp_path / "last.pt", content)
    list(run(config, out=tmp_path, resume=True))
    facts = capsule.read(tmp_path / CAPSULE).facts
    assert (facts["trace"][0]["step"], facts["first_sign"]["step"]) == (1, 1)


def test_a_resumed_run_writes_no_layer_twice(tiny, tmp_path):
    config = tiny(epochs=2)
    next(run(config, out=tmp_path))
    lines = (tmp_path / "layers.jsonl").read_text()
    with (tmp_path / "layers.jsonl").open("a") as file:  # of an epoch that was cut short
        file.write(lines.replace('"epoch": 1', '"epoch": 2'))
    list(run(config, out=tmp_path, resume=True))
    rows = [json.loads(line) for line in (tmp_path / "layers.jsonl").read_text().splitlines()]
    assert len({(row["epoch"], row["layer"], row["step"]) for row in rows}) == len(rows)
