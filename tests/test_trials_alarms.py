"""Alarms fit their cause: none where training goes well, whatever the loss's scale, and each counts what it says."""

import math

import pytest
import torch

import trials.data.loader
import trials.training
from trials import checkpoint
from trials.data.loader import Batch
from trials.loss_scale import SMALLEST_BOUND, lowest_loss_scale
from trials.losses import LOSSES, Loss
from trials.models import HEADS
from trials.numerics.explaining.batchnorm_statistics import Validated
from trials.numerics.watching.forecast import epochs_until_overflow
from trials.numerics.watching.health import FROZEN_AFTER, highest_loss
from trials.parts import build_loss
from trials.state import new_state, new_watch, restore
from trials.training import run

HALVES_SMALLEST = 2.0**-24


def planted_before_step(monkeypatch, plant) -> None:
    """Calls plant(state, batch) before each training step; what it gives is the batch that is trained on."""
    step = trials.training.train_step

    def planted(state, batch, watch, config):
        return step(state, plant(state, batch), watch, config)

    monkeypatch.setattr(trials.training, "train_step", planted)


def without_target(batch: Batch) -> Batch:
    """A batch whose first target is not finite: an event in training, after which the weights are still sane."""
    targets = batch.targets.clone()
    targets[0, 0, 0, 0] = math.nan
    return Batch(batch.images, targets, batch.valid)


def shift_statistics(state, by: float) -> None:
    """Moves every running mean: validation, which reads them, is wrong, training is right."""
    for name, buffer in state.model.named_buffers():
        if name.endswith("running_mean"):
            buffer.add_(by)


# The validation loss


def test_a_loss_that_is_small_is_not_too_high_at_three_times_its_best():
    assert highest_loss(0.002, math.log(2), 3.0) == math.log(2)
    assert highest_loss(0.4, math.log(2), 3.0) == pytest.approx(1.2)


def test_easy_pictures_are_learnt_without_an_alarm(tiny, monkeypatch, tmp_path):
    def easy(images_u8, trimaps_u8, border, device):
        """Masks that the brightness gives away."""
        bright = (images_u8[..., :1].float() > 127).permute(0, 3, 1, 2).float().to(device)
        return Batch((4 * bright - 2).expand(-1, 3, -1, -1).contiguous(), bright, torch.ones_like(bright))

    monkeypatch.setattr(trials.data.loader, "to_batch", easy)
    config = tiny(epochs=3, lr=0.02, train_limit=64, schedule="constant")
    next(run(config, out=tmp_path))
    content = checkpoint.load(tmp_path / "last.pt")
    checkpoint.save(tmp_path / "last.pt", {**content, "best_val_loss": 0.002})
    second, third = run(config, out=tmp_path, resume=True)
    assert 3 * 0.002 < third.val_loss < second.val_loss < math.log(2)
    assert third.val_dice > 0.85
    assert not third.diverged


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_of_knowing_nothing_is_that_of_one_half(name, tiny):
    targets = (torch.rand(2, 1, 8, 8) > 0.7).float()
    ones = torch.ones_like(targets)
    expected = build_loss(tiny(loss=name, head="logits"))(torch.zeros_like(targets), targets, ones)
    for head in HEADS:
        assert float(build_loss(tiny(loss=name, head=head)).uninformed(targets, ones)) == pytest.approx(float(expected))


def test_statistics_taken_anew_cure_a_validation_that_is_small_again():
    seen = Validated(0.002, math.log(2), 3.0, math.nan, 0.01, module=None, with_module_right=math.nan)
    assert seen.remedy(3.0).worked
    assert seen.is_explosion(3.0)


def test_an_epoch_in_which_training_diverged_is_no_part_of_a_row(tiny, monkeypatch):
    # four steps an epoch; validation is far too high after epochs 2 and 4, training has an event of its own in 3
    def plant(state, batch):
        if shift := {8: 100.0, 9: -90.0, 16: 100.0}.get(state.step):  # a step forgets a tenth
            shift_statistics(state, shift)
        return without_target(batch) if state.step == 10 else batch

    planted_before_step(monkeypatch, plant)
    history = list(run(tiny(epochs=4, on_divergence="continue", schedule="constant")))
    losses = [metrics.val_loss for metrics in history]
    assert min(losses[1], losses[3]) > max(3 * losses[0], math.log(2)) > losses[2], losses
    assert [metrics.diverged_where for metrics in history] == [None, None, "targets", None]


def test_validation_that_is_too_high_for_two_epochs_is_a_divergence(tiny, monkeypatch):
    def plant(state, batch):
        if state.step in (8, 12):
            shift_statistics(state, 100.0)
        return batch

    planted_before_step(monkeypatch, plant)
    last = list(run(tiny(epochs=4, schedule="constant")))[-1]
    assert (last.epoch, last.diverged_where) == (3, "val_loss")


# The loss scale


def steepest(loss: Loss, targets: torch.Tensor) -> float:
    """The largest gradient that any logit was seen to have, over many outputs."""
    generator, seen = torch.Generator().manual_seed(0), 0.0
    ones, background = torch.ones_like(targets), 30 * (2 * targets - 1)  # all right, and sure of it
    candidates = [spread * torch.randn(targets.shape, generator=generator) for spread in (0.1, 1, 3, 10)]
    candidates += [-background, -10.0 * ones, 10.0 * ones]
    for logit in torch.linspace(-12, 12, 49):
        one_wrong = -30.0 * ones
        one_wrong.view(-1)[0] = logit
        candidates.append(one_wrong)
    for outputs in candidates:
        outputs = outputs.clone().requires_grad_()
        loss(outputs, targets, ones).backward()
        seen = max(seen, float(outputs.grad.abs().max()))
    return seen


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
@pytest.mark.parametrize(
    "settings",
    [
        *({"loss": name} for name in LOSSES),
        *({"loss": "focal", "focal_gamma": gamma} for gamma in (0.0, 0.5, 5.0)),
        *({"loss": "hard_bce", "hard_fraction": fraction} for fraction in (0.01, 1.0)),
    ],
    ids=lambda settings: ",".join(str(value) for value in settings.values()),
)
def test_no_logits_gradient_exceeds_the_bound_that_its_loss_states(settings, share, tiny):
    loss = build_loss(tiny(head="logits", **settings))
    targets = (torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1)) < share).float()
    targets.view(-1)[0] = share > 0
    bound = loss.bound(targets, torch.ones_like(targets))
    seen = steepest(loss, targets)
    assert seen <= bound * 1.0001
    assert bound < 4.1 * seen, (bound, seen)
    assert bound >= SMALLEST_BOUND / targets.numel()


def test_pixels_that_do_not_count_make_the_others_gradient_larger(tiny):
    targets, valid = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    valid[..., 0] = 1
    assert build_loss(tiny()).bound(targets, valid) == 1 / 4


def test_at_the_lowest_scale_a_pixels_gradient_is_two_of_halves_smallest_steps(tiny):
    targets = torch.zeros(8, 1, 32, 32)
    batch = Batch(torch.zeros(8, 3, 32, 32), targets, torch.ones_like(targets))
    assert lowest_loss_scale(batch, build_loss(tiny())) * 1 / targets.numel() == 2 * HALVES_SMALLEST


def test_a_loss_over_few_pixels_survives_at_a_scale_that_is_too_low_for_a_mean_over_all(tiny):
    scale = 8 * 32 * 32 * 2 * HALVES_SMALLEST  # two smallest steps for a mean over all pixels of a batch
    config = tiny(amp=True, loss="hard_bce", hard_fraction=0.02, loss_scale_init=scale, head="logits", epochs=1)
    (metrics,) = run(config)
    assert (metrics.diverged, metrics.diverged_where) == (False, None)


# Saturation


def test_logits_that_the_loss_takes_in_float32_are_not_saturated_where_half_would_round(tiny, monkeypatch):
    def sure(state, batch):
        with torch.no_grad():
            state.model.head[0].bias.fill_(10.0)
            state.model.head[0].weight.zero_()
        return batch

    planted_before_step(monkeypatch, sure)
    (metrics,) = run(tiny(amp=True, head="logits", epochs=1, lr=1e-12))
    assert metrics.saturated_share == 0.0


# Frozen


def test_the_first_skipped_steps_of_a_short_epoch_do_not_freeze_a_run(tiny):
    # one batch an epoch, and a loss scale that is four times too high for float16
    config = tiny(amp=True, train_limit=8, epochs=8, loss_scale_init=2.0**19, head="logits")
    history = list(run(config))
    assert 0 < sum(metrics.num_skipped_steps for metrics in history) < FROZEN_AFTER
    assert len(history) == 8
    assert not any(metrics.frozen or metrics.diverged for metrics in history)


# The forecast of an overflow


def test_the_forecast_takes_each_value_at_its_own_epoch():
    # doubles every epoch, but epochs 3, 4 and 6 were not finite
    largest = {1: 2.0, 2: 4.0, 3: math.inf, 4: math.inf, 5: 32.0, 6: math.inf, 7: 128.0, 8: 256.0}
    assert epochs_until_overflow(largest, 8) == pytest.approx(8, abs=0.01)


def test_a_forecast_is_from_the_epoch_that_it_stands_in():
    largest = {epoch: 2.0**epoch for epoch in (2, 3, 4, 5)}
    assert epochs_until_overflow(largest, 7) == pytest.approx(9, abs=0.01)


def test_the_forecast_forgets_epochs_that_were_rolled_back(tiny, monkeypatch, tmp_path):
    planted_before_step(monkeypatch, lambda state, batch: without_target(batch) if state.step == 7 else batch)
    config = tiny(epochs=3, on_divergence="rollback")
    history = list(run(config, out=tmp_path))
    assert [metrics.num_rollbacks for metrics in history] == [0, 1, 1]
    largest = checkpoint.load(tmp_path / "last.pt")["largest"]
    assert {tuple(own) for own in largest.values()} == {(1, 3)}


def test_a_checkpoint_that_listed_the_largest_activations_is_read(tiny, tmp_path):
    config = tiny(epochs=2)
    next(run(config, out=tmp_path))
    content = checkpoint.load(tmp_path / "last.pt")
    checkpoint.save(tmp_path / "last.pt", {**content, "largest": {"head.0": [3.0, 4.0]}})
    state = new_state(config, torch.device("cpu"), 8)
    watch = new_watch(state, torch.device("cpu"), config)
    restore(state, watch, tmp_path / "last.pt", config)
    assert watch.largest == {"head.0": {1: 3.0, 2: 4.0}}
