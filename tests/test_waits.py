"""A training step never waits for the device beyond GradScaler's own look: on tensors without values, a wait raises."""

import pytest
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.utils._python_dispatch import TorchDispatchMode

import segstudy
from trials.data.loader import Batch, statistics_of, to_batch
from trials.state import new_state, new_watch
from trials.training import train_step

META = torch.device("meta")  # has shapes and no values: .item(), bool(), .tolist() and .cpu() raise there


class Copies(TorchDispatchMode):
    """Counts copies from one device to another."""

    def __init__(self):
        super().__init__()
        self.num = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        outputs = func(*args, **(kwargs or {}))
        if func._schema.name in ("aten::_to_copy", "aten::copy_"):
            source = args[1] if func._schema.name == "aten::copy_" else args[0]
            self.num += isinstance(outputs, Tensor) and source.device != outputs.device
        return outputs


class Scaler(GradScaler):
    """GradScaler without its own wait, which is the one that a step may have."""

    def _maybe_opt_step(self, optimizer, optimizer_state, *args, **kwargs):
        return optimizer.step(*args, **kwargs)


class Network(nn.Module):
    """Gives half precision, as a network under autocast does."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1))

    def forward(self, images):
        return self.layers(images).half()


def test_the_devices_without_values_notices_each_kind_of_wait():
    value = torch.ones((), device=META)
    for wait in (Tensor.item, bool, float, Tensor.tolist, Tensor.cpu):
        with pytest.raises((RuntimeError, NotImplementedError)):
            wait(value)


@pytest.mark.parametrize("scaled", [False, True])
def test_a_watched_step_waits_for_nothing(tmp_path, scaled):
    model = Network().to(META)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = Scaler("meta") if scaled else None
    watch = segstudy.watch(model, optimizer, scaler=scaler, out=tmp_path / "mine")
    images, masks = torch.ones(2, 3, 8, 8, device=META), torch.ones(2, 1, 8, 8, device=META)
    with Copies() as copies:
        for _ in range(12):  # fewer than watch.steps_late
            with watch.step((images, masks)):
                loss = nn.functional.binary_cross_entropy_with_logits(model(images).float(), masks)
                (scaler.scale(loss) if scaler else loss).backward()
                if scaler:
                    scaler.step(optimizer)
                    scaler.update()
                else:
                    optimizer.step()
                optimizer.zero_grad()
    assert copies.num == 0
    assert watch.steps_late == 16


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("fields", [{}, {"clip_norm": 1.0, "guard_statistics": True, "loss_scale_floor": 1.0}])
def test_a_trials_step_waits_for_nothing(tiny, fields, scaled):
    config = tiny(**fields)
    state = new_state(config, META, num_steps=100)
    if scaled:
        state.scaler = Scaler("meta")
        state.scaler._lazy_init_scale_growth_tracker(META)
    watch = new_watch(state, META, config)
    state.model.train()
    masks = torch.ones(8, 1, 32, 32, device=META)
    batch = Batch(torch.ones(8, 3, 32, 32, device=META), masks, masks)
    with Copies() as copies:
        for _ in range(4):
            state.step += 1
            train_step(state, batch, watch, config)
    assert copies.num == 0


def test_a_batch_is_two_copies_to_the_device_and_no_other():
    statistics_of(3, META)
    images, trimaps = torch.zeros(2, 8, 8, 3, dtype=torch.uint8), torch.ones(2, 8, 8, dtype=torch.uint8)
    with Copies() as copies:
        to_batch(images, trimaps, "pet", META)
    assert copies.num == 2
