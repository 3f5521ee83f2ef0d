"""Guards: what each keeps from happening, on real training."""

import itertools
import json
import math

import pytest
import torch

from trials import checkpoint
from trials.loss_scale import gradients_vanish
from trials.numerics.explaining.record import read
from trials.outcome import outcome_of
from trials.parts import build_loss, prepared_data, train_loader
from trials.rollback import Rollback
from trials.state import new_state
from trials.step import forward
from trials.training import run

BROKEN = {"optimizer": "sgd", "lr": 1e30, "schedule": "constant", "momentum": 0.0}
# every step overflows until the scale is halved often enough; an epoch has the eight steps that freeze a run
TOO_HIGH = {"amp": True, "loss_scale_init": 2.0**100, "train_limit": 64}
LOWEST = 8 * 32 * 32 * 2.0**-23  # the loss scale under which gradients of a mean over a batch's pixels vanish


def buffers(folder) -> dict[str, torch.Tensor]:
    model = checkpoint.load(folder / "last.pt")["model"]
    return {name: tensor for name, tensor in model.items() if "running" in name}


def test_guarded_statistics_stay_as_they_are_while_steps_are_skipped(tiny, tmp_path):
    config = tiny(**TOO_HIGH, epochs=1, guard_statistics=True, max_skipped_run=100)
    assert next(run(config, out=tmp_path)).frozen
    assert all((t == ("var" in name)).all() for name, t in buffers(tmp_path).items())  # means 0, variances 1


def test_unguarded_statistics_move_though_no_step_is_taken(tiny, tmp_path):
    next(run(tiny(**TOO_HIGH, epochs=1, max_skipped_run=100), out=tmp_path))
    assert any((t != ("var" in name)).any() for name, t in buffers(tmp_path).items())


def test_a_run_that_takes_no_step_for_an_epoch_is_frozen(tiny):
    history = list(run(tiny(**TOO_HIGH, epochs=3, max_skipped_run=100)))
    assert [m.frozen for m in history] == [True]
    assert outcome_of(vars(history[-1]), epochs=3, metric="val_dice").outcome == "frozen"


def test_too_many_skipped_steps_in_a_row_are_a_divergence(tiny):
    last = list(run(tiny(**TOO_HIGH, max_skipped_run=3)))[-1]
    assert (last.diverged_where, last.diverged_step, last.longest_skipped_run) == ("skipped_steps", 3, 3)


def test_a_loss_scale_under_which_gradients_vanish_is_a_divergence(tiny):
    last = list(run(tiny(amp=True, loss_scale_init=LOWEST)))[-1]
    assert (last.diverged_where, last.diverged_step) == ("loss_scale", 1)


def test_bfloat16_has_no_such_floor(tiny):
    batch = train_loader(tiny(), prepared_data(tiny()), torch.device("cpu")).batch(1, 0)
    assert gradients_vanish(LOWEST, batch, build_loss(tiny()), min_loss_scale=0, amp_dtype="float16")
    assert not gradients_vanish(LOWEST, batch, build_loss(tiny()), min_loss_scale=0, amp_dtype="bfloat16")


def test_the_floor_keeps_the_loss_scale_up(tiny):
    config = tiny(**TOO_HIGH, loss_scale_floor=2.0**98, max_skipped_run=1000, on_divergence="continue")
    assert [m.loss_scale for m in run(config)] == [2.0**98] * 2


def test_the_float32_head_computes_in_float32(tiny):
    model = new_state(tiny(), torch.device("cpu"), 1).model
    images = torch.randn(1, 3, 32, 32)
    assert forward(model, images, tiny(amp=True)).dtype == torch.float16
    assert forward(model, images, tiny(amp=True, float32_head=True)).dtype == torch.float32


def test_clipping_bounds_the_unscaled_gradient(tiny):
    # plain SGD at lr 1: the change of the weights is the gradient
    config = tiny(amp=True, clip_norm=1e-3, optimizer="sgd", momentum=0.0, lr=1.0, schedule="constant", epochs=1)
    clipped = next(run(config))
    assert clipped.grad_norm > 1e-3  # measured before it is clipped
    norm = math.sqrt(sum(float(p.detach().square().sum()) for p in new_model(config).parameters()))
    assert clipped.update_ratio == pytest.approx(1e-3 / norm, rel=0.01)


def new_model(config) -> torch.nn.Module:
    torch.manual_seed(config.seed)
    return new_state(config, torch.device("cpu"), 1).model


def test_continue_goes_on_to_the_last_epoch(tiny):
    assert [m.diverged for m in run(tiny(**BROKEN, on_divergence="continue", epochs=3))] == [True] * 3


def test_rollback_goes_back_with_a_smaller_rate_and_goes_on(tiny):
    config = tiny(**BROKEN, on_divergence="rollback", rollback_lr_factor=1e-16, epochs=4)
    history = list(run(config))
    assert [m.num_rollbacks for m in history] == [1, 2, 2, 2]
    assert not any(m.diverged for m in history)
    assert math.isfinite(history[-1].train_loss)


def test_rollback_is_bounded(tiny):
    history = list(run(tiny(**BROKEN, on_divergence="rollback", max_rollbacks=1, rollback_lr_factor=0.5, epochs=5)))
    assert [m.diverged for m in history] == [False, True]


def test_the_outputs_gradient_is_nan_where_an_output_was_not_finite(tiny):
    from trials.numerics.watching.health import Health

    outputs = torch.tensor([0.5, math.nan], requires_grad=True)
    Health(torch.device("cpu")).finite_outputs(outputs, 1).sum().backward()
    assert torch.isnan(outputs.grad[0])


def test_a_finite_output_is_passed_on_with_its_gradient(tiny):
    from trials.numerics.watching.health import Health

    outputs = torch.tensor([0.5, 0.25], requires_grad=True)
    Health(torch.device("cpu")).finite_outputs(outputs, 1).sum().backward()
    assert outputs.grad.tolist() == [1, 1]


def test_layers_are_written_a_row_each(tiny, tmp_path):
    list(itertools.islice(run(tiny(amp=True), out=tmp_path), 1))
    rows = [json.loads(line) for line in (tmp_path / "layers.jsonl").read_text().splitlines()]
    assert {row["layer"] for row in rows} >= {"stem.0", "encoder.0.0", "decoder.upsamplers.0.0", "head.0"}
    assert all(0 < row["activation_max"] < 65504 for row in rows)


class Guarded:
    """A state under a rollback guard, without training."""

    def __init__(self, config):
        self.state = new_state(config, torch.device("cpu"), num_steps=100)
        self.rollback = Rollback(self.state, config.rollback_lr_factor, config.max_rollbacks)

    def rates_after(self, *epochs: str) -> list[float]:
        found = []
        for epoch in epochs:
            if epoch == "good":
                self.rollback.remember(self.state)
            else:
                self.rollback.back(self.state, keep_scale=False)
            self.state.optimizer.step()
            self.state.scheduler.step()
            found.append(self.state.optimizer.param_groups[0]["lr"])
        return found


def test_each_rollback_lowers_the_rate_by_the_factor_once(tiny):
    guarded = Guarded(tiny(optimizer="sgd", lr=3e-3, schedule="constant", on_divergence="rollback"))
    assert guarded.rates_after("bad", "good", "bad") == pytest.approx([1.5e-3, 1.5e-3, 7.5e-4])


def test_a_rollback_lowers_a_one_cycle_schedule_too(tiny):
    config = tiny(schedule="one_cycle", on_divergence="rollback", rollback_lr_factor=0.1)
    plain = new_state(config, torch.device("cpu"), num_steps=100)
    plain.optimizer.step()
    plain.scheduler.step()
    expected = 0.1 * plain.optimizer.param_groups[0]["lr"]
    assert Guarded(config).rates_after("bad") == pytest.approx([expected])


def test_rollbacks_before_a_resume_count(tiny, tmp_path):
    config = tiny(optimizer="sgd", schedule="constant", on_divergence="rollback", max_rollbacks=1)
    state = new_state(config, torch.device("cpu"), num_steps=100)
    state.num_rollbacks = 1
    assert not Rollback(state, config.rollback_lr_factor, config.max_rollbacks).back(state, keep_scale=False)


def test_a_rolled_back_scale_that_froze_the_run_stays_fallen(tiny):
    # 2**100 halves to 2**92 in an epoch of 8 steps; what the second one needs is learnt in the first
    history = list(run(tiny(**TOO_HIGH, on_divergence="rollback", epochs=2, max_skipped_run=1000)))
    assert [m.loss_scale for m in history] == [2.0**92, 2.0**84]


def test_a_run_whose_every_epoch_was_rolled_back_has_not_completed(tiny, tmp_path):
    history = list(run(tiny(**BROKEN, on_divergence="rollback", epochs=2), out=tmp_path))
    record = read(tmp_path)
    assert outcome_of(vars(history[-1]), epochs=2, record=record, metric="val_dice").outcome == "diverged"


def test_going_on_validates_and_keeps_checkpoints(tiny, tmp_path):
    config = tiny(amp=True, loss_scale_init=LOWEST, on_divergence="continue")
    history = list(run(config, out=tmp_path))
    assert [m.diverged_where for m in history] == ["loss_scale"] * 2
    assert all(math.isfinite(m.val_dice) for m in history)
    assert checkpoint.load(tmp_path / "last.pt")["epoch"] == 2


def test_a_loss_of_outputs_that_are_not_finite_is_none(tiny):
    history = list(run(tiny(**BROKEN, on_divergence="continue")))
    assert all(math.isnan(m.train_loss) for m in history)


def test_an_epoch_that_was_broken_off_at_a_skipped_step_is_not_frozen(tiny):
    history = list(run(tiny(**TOO_HIGH, on_divergence="rollback", max_skipped_run=1, epochs=1)))
    assert [m.frozen for m in history] == [False]


def test_a_floor_above_the_first_scale_is_refused(tiny):
    with pytest.raises(ValueError, match="loss_scale_floor=2 is above loss_scale_init=1"):
        tiny(loss_scale_init=1.0, loss_scale_floor=2.0)


def test_a_scale_that_float32_cannot_hold_is_refused(tiny):
    with pytest.raises(ValueError, match="loss_scale_init=1e"):
        tiny(loss_scale_init=1e39)


def test_a_run_that_went_on_after_its_event_is_resumed(tiny, tmp_path):
    config = tiny(optimizer="sgd", lr=1e30, schedule="constant", momentum=0.0, on_divergence="continue", epochs=3)
    begun = run(config, out=tmp_path)
    assert next(begun).diverged
    begun.close()
    assert [metrics.epoch for metrics in run(config, out=tmp_path, resume=True)] == [2, 3]
