"""The monitor's arithmetic, and the tracer on planted faults."""

import math

import pytest
import torch
from torch import nn

from trials.numerics import capsule
from trials.numerics.explaining.operator_tracer import Tracer
from trials.numerics.precision import autocast
from trials.numerics.training_state import cosine, tensors_of
from trials.numerics.watching.forecast import epochs_until_overflow, first_overflow
from trials.numerics.watching.health import Divergence, Health, earliest
from trials.numerics.watching.layers import LayerProbe, measured
from trials.numerics.watching.monitor import Monitor, total_norm
from trials.parts import build_loss, build_model, prepared_data, train_loader
from trials.state import new_recorder, new_state, new_watch
from trials.training import train_step

FACTS = {"config": None, "num_steps": 100}  # what a run adds to a capsule


def test_shares_are_of_float16s_range():
    values = torch.tensor([[0.0, 1e-6, 1e-3, -70000.0]])  # one image
    assert measured(values).tolist() == [70000.0, 0.25, 0.25]


def test_a_probe_sees_activations_and_gradients():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with LayerProbe(dict(model.named_children()), step=1) as probe:
        (3 * model(torch.ones(1, 2)).sum()).backward()
    rows = {row.layer: row for row in probe.rows()}
    assert rows["1"].gradient_max == 3
    assert rows["1"].activation_max == pytest.approx(model(torch.ones(1, 2)).max().item())


def test_a_probe_leaves_no_hooks():
    model = nn.Sequential(nn.Linear(2, 2))
    with LayerProbe(dict(model.named_children()), step=1):
        pass
    assert not model[0]._forward_hooks


def test_the_forecast_of_a_doubling_layer_is_exact():
    assert epochs_until_overflow({k: 2.0**k for k in range(5, 11)}, 10) == pytest.approx(6, abs=0.01)  # 2**10 to 2**16


@pytest.mark.parametrize("largest", [[1.0, 2.0, 4.0], [8.0, 4.0, 2.0, 1.0], [5.0] * 8])
def test_there_is_no_forecast_without_growth(largest):
    assert epochs_until_overflow(dict(enumerate(largest, 1)), len(largest)) is None


def test_the_saturated_share_counts_exact_zeros_and_ones():
    monitor = Monitor(nn.Linear(1, 1), torch.device("cpu"))
    with monitor.sample(1):
        monitor.outputs(torch.tensor([0.0, 1.0, 0.5, 0.999]))
    assert monitor.epoch_ended().saturated_share == 0.5


def test_skipped_runs_go_on_over_epochs():
    monitor = Monitor(nn.Linear(1, 1), torch.device("cpu"))
    seen = []
    for skipped in ([True, True], [True, False]):
        for each in skipped:
            with monitor.sample(2):
                pass
            monitor.after_update(each, torch.tensor(0.0))
        seen.append(monitor.epoch_ended().longest_skipped_run)
    assert seen == [2, 3]


def traced(config, plant):
    torch.manual_seed(0)
    model = build_model(config)
    with torch.no_grad():
        plant(model)
    images, targets = torch.randn(2, 3, 32, 32), (torch.rand(2, 1, 32, 32) > 0.5).float()
    tracer = Tracer(model)
    with tracer:
        with tracer.named(), autocast("cpu", torch.float16 if config.amp else None):
            outputs = model(images)
        tracer.phase = "loss"
        loss = build_loss(config)(outputs.nan_to_num(0.5), targets, torch.ones_like(targets))
        tracer.phase = "backward"
        (loss * 65536).backward()
    return tracer.first


def test_a_healthy_step_has_no_bad_operation(tiny):
    assert traced(tiny(amp=True), lambda model: None) is None


@pytest.mark.parametrize("place", ["encoder.2.3", "decoder.blocks.1.0", "middle.2"])
def test_an_overflow_is_found_in_its_module(tiny, place):
    first = traced(tiny(amp=True), lambda model: model.get_submodule(place).weight.fill_(6e4))
    assert (first.phase, first.module) == ("forward", place)
    assert all(each.num_not_finite == 0 for each in first.inputs)
    assert first.outputs[0].num_not_finite > 0


def test_a_saturated_head_is_found_in_the_backward_pass(tiny):
    first = traced(tiny(amp=True), lambda model: model.head[0].bias.fill_(12.0))
    assert first.phase == "backward"


def test_the_same_head_is_finite_in_float32(tiny):
    assert traced(tiny(amp=False), lambda model: model.head[0].bias.fill_(12.0)) is None


def test_the_cosine_of_opposite_gradients_is_minus_one():
    assert cosine([torch.ones(3)], [-2 * torch.ones(3)]) == pytest.approx(-1)


def test_a_late_reader_keeps_the_state_before_the_event(tiny, tmp_path):
    config, cpu = tiny(train_limit=64), torch.device("cpu")
    loader, state = train_loader(config, prepared_data(config), cpu), new_state(config, cpu, 100)
    watch = new_watch(state, cpu, config)
    watch.health = Health(cpu, read_every=16)
    watch.recorder = new_recorder(state, watch.health)
    state.model.train()
    for watch.batch_index in range(6):
        state.step += 1
        if state.step == 3:
            state.optimizer.param_groups[0]["lr"] = 1e37  # the next step's outputs are not finite
        train_step(state, loader.batch(1, watch.batch_index), watch, config)
    event = watch.health.first_divergence()
    watch.recorder.write(tmp_path, event, FACTS)
    kept = capsule.read(tmp_path)
    assert (event.step, event.where) == (4, "outputs")
    assert kept.facts["event"] == {"step": 4, "epoch": 1, "batch": 3}
    assert torch.equal(kept.batches[0]["images"], loader.batch(1, 3).images)
    assert all(torch.isfinite(tensor).all() for tensor in kept.state.tensors.values())


@pytest.mark.parametrize("bad_step", [1, 2, 5])  # before the optimiser has a state, just after, and later
@pytest.mark.parametrize(("fields", "read_every"), [({}, 1), ({}, 16), ({"amp": True, "clip_norm": 1.0}, 1)])
def test_a_capsule_holds_the_state_before_its_step_bit_for_bit(tiny, tmp_path, fields, read_every, bad_step):
    config, cpu = tiny(train_limit=64, **fields), torch.device("cpu")
    loader, state = train_loader(config, prepared_data(config), cpu), new_state(config, cpu, 100)
    watch = new_watch(state, cpu, config)
    watch.health = Health(cpu, read_every)
    watch.recorder = new_recorder(state, watch.health)
    state.model.train()
    for watch.batch_index in range(bad_step + (2 if read_every > 1 else 0)):
        state.step += 1
        batch = loader.batch(1, watch.batch_index)
        if state.step == bad_step:
            before = {name: tensor.clone() for name, tensor in tensors_of(state.training).items()}
            batch.images[0, 0, 0, 0] = math.nan
        train_step(state, batch, watch, config)
    watch.recorder.write(tmp_path, watch.health.first_divergence(), FACTS)
    kept = capsule.read(tmp_path)
    assert kept.facts["event"]["step"] == bad_step
    assert kept.state.tensors.keys() == before.keys() | {"rng.cpu"}
    assert all(torch.equal(kept.state.tensors[name], tensor) for name, tensor in before.items())


def test_a_huge_loss_scale_does_not_hide_the_gradient_norm():
    gradients = [torch.full((4,), 1e30), torch.full((4,), 1e30)]
    assert float(total_norm(gradients)) == pytest.approx(8**0.5 * 1e30)


def test_the_forecast_is_of_the_layer_that_overflows_first():
    largest = {"flat": dict.fromkeys(range(1, 9), 1000.0), "growing": {epoch: 2.0 * 2**epoch for epoch in range(1, 9)}}
    layer, epochs = first_overflow(largest, 8)
    assert (layer, epochs) == ("growing", pytest.approx(7, abs=0.01))


def test_no_growth_is_no_forecast():
    assert first_overflow({"flat": dict.fromkeys(range(1, 9), 1000.0)}, 8) == (None, None)


def test_logits_are_saturated_where_their_sigmoid_is():
    monitor = Monitor(nn.Linear(1, 1), torch.device("cpu"), head="logits")
    with monitor.sample(1):
        monitor.outputs(torch.tensor([200.0, 1.0]))
    assert monitor.epoch_ended().saturated_share == 0.5


def test_the_earliest_event_is_told():
    assert earliest(Divergence(5, "loss_scale"), Divergence(7, "weights")).where == "loss_scale"
