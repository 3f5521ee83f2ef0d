"""The loop: what it yields, that it goes on exactly, and that it stops at what is not finite."""

import itertools
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from trials import checkpoint
from trials.data.loader import evaluation_batches, split_indices
from trials.evaluation import evaluate
from trials.numerics.finite import non_finite_state
from trials.numerics.watching.health import Health
from trials.parts import build_loss, build_model, prepared_data
from trials.predict import load_model
from trials.training import run

TIMES = ("images_per_s", "epoch_s")


def numbers(metrics) -> dict:
    return {name: value for name, value in asdict(metrics).items() if name not in TIMES}


def weights(folder) -> dict:
    return checkpoint.load(folder / "last.pt")["model"]


def test_a_run_yields_an_epoch_at_a_time(tiny):
    assert [metrics.epoch for metrics in run(tiny(epochs=3))] == [1, 2, 3]


def test_training_lowers_the_loss(tiny):
    history = list(run(tiny(epochs=6, train_limit=64, augment="none")))
    assert history[-1].train_loss < 0.8 * history[0].train_loss


def test_the_same_seed_gives_the_same_numbers(tiny):
    assert [numbers(m) for m in run(tiny())] == [numbers(m) for m in run(tiny())]


def test_another_seed_gives_other_numbers(tiny):
    assert next(run(tiny(seed=1))).train_loss != next(run(tiny(seed=0))).train_loss


@pytest.mark.parametrize(
    "changed",
    [
        {"augment": "lab2"},
        {"amp": True, "optimizer": "adamw", "schedule": "one_cycle"},
        {"model": "resnet34_unet", "optimizer": "sgd", "schedule": "cosine_per_batch", "images_per_epoch": 20},
        {"amp": True, "amp_dtype": "bfloat16", "schedule": "constant", "head": "logits", "loss": "bce_dice"},
    ],
    ids=lambda changed: "-".join(map(str, changed.values())),
)
def test_a_resumed_run_gives_the_same_numbers_bit_for_bit(tiny, tmp_path, changed):
    config = tiny(epochs=3, **changed)
    whole = [numbers(m) for m in run(config, out=tmp_path / "whole")]
    started = [numbers(m) for m in itertools.islice(run(config, out=tmp_path / "parts"), 1)]
    torch.manual_seed(99)  # what the resumed run must not depend on
    resumed = [numbers(m) for m in run(config, out=tmp_path / "parts", resume=True)]
    assert started + resumed == whole
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_thread_count_is_restored(tiny, tmp_path):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        next(run(tiny(), out=tmp_path))
        torch.set_num_threads(2)
        next(run(tiny(), out=tmp_path, resume=True))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_checkpoint_of_another_architecture_is_refused(tiny, tmp_path):
    next(run(tiny(), out=tmp_path))
    with pytest.raises(ValueError, match="another architecture: width=4 there, 8 here"):
        next(run(tiny(width=8), out=tmp_path, resume=True))


def test_a_checkpoint_of_another_run_is_refused(tiny, tmp_path):
    next(run(tiny(), out=tmp_path))
    with pytest.raises(ValueError, match=r"another run: lr=0\.003 there, 0\.1 here"):
        next(run(tiny(lr=0.1), out=tmp_path, resume=True))


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "last.pt").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="not a checkpoint that can be read"):
        checkpoint.load(tmp_path / "last.pt")


def test_only_the_last_and_the_best_are_kept(tiny, tmp_path):
    list(run(tiny(epochs=4), out=tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {
        "last.pt",
        "best.pt",
        "best_validation.safetensors",
        "best_validation.csv",
        "layers.jsonl",
    }


def test_the_best_weights_have_the_best_dice(tiny, tmp_path):
    config = tiny(epochs=4, lr=0.03, schedule="constant")
    history = list(run(config, out=tmp_path))
    model, _, device = load_model(tmp_path / "best.pt")
    prepared = prepared_data(config)
    indices = split_indices(prepared, "val", config.val_limit)
    batches = evaluation_batches(prepared, indices, config.batch_size, config.border, device)
    again = evaluate(model, batches, build_loss(config))
    assert again is not None
    assert again.dice.mean() == pytest.approx(max(m.val_dice for m in history if not m.diverged))


def test_the_kept_masks_have_the_kept_dice(tiny, tmp_path):
    config = tiny(border="pet")
    list(run(config, out=tmp_path))
    packed = load_file(tmp_path / "best_validation.safetensors")["masks_packed"]
    prepared = prepared_data(config)
    indices = split_indices(prepared, "val", config.val_limit)
    rows = (tmp_path / "best_validation.csv").read_text().splitlines()[1:]
    for bits, index, row in zip(packed, indices, rows, strict=True):
        mask, truth = np.unpackbits(bits)[: 32 * 32].astype(bool), prepared.trimaps_NHW[index].ravel() == 1
        dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
        name, written, _ = row.split(",")
        assert (name, float(written)) == (prepared.names[index], pytest.approx(dice, abs=1e-6))


def test_a_learning_rate_beyond_reason_ends_as_diverged_with_its_step(tiny):
    history = list(run(tiny(optimizer="sgd", lr=1e30, momentum=0.0, schedule="constant", epochs=5)))
    last = history[-1]
    assert last.diverged
    assert last.diverged_where == "outputs"
    assert last.diverged_step == 2  # the first step made the weights too large
    assert math.isnan(last.val_dice)


def broken_after_epoch_one(tiny, folder, name: str, value: float):
    """The rest of a run whose checkpoint has one value of one tensor replaced."""
    config = tiny(epochs=3)
    next(run(config, out=folder))
    content = checkpoint.load(folder / "last.pt")
    content["model"][name].view(-1)[0] = value
    checkpoint.save(folder / "last.pt", content)
    return list(run(config, out=folder, resume=True))


def test_a_poisoned_buffer_ends_the_run_as_diverged(tiny, tmp_path):
    (last,) = broken_after_epoch_one(tiny, tmp_path, "encoder.0.2.running_var", math.nan)
    assert (last.diverged, last.diverged_where, last.epoch) == (True, "buffers", 2)


def test_a_broken_weight_ends_the_run_at_its_first_step(tiny, tmp_path):
    (last,) = broken_after_epoch_one(tiny, tmp_path, "stem.0.weight", math.inf)
    assert (last.diverged_where, last.diverged_step) == ("outputs", 5)  # four steps an epoch
    assert math.isnan(last.train_loss)


def test_a_diverged_epoch_leaves_the_last_good_checkpoint(tiny, tmp_path):
    broken_after_epoch_one(tiny, tmp_path, "encoder.0.2.running_var", math.nan)
    assert checkpoint.load(tmp_path / "last.pt")["epoch"] == 1


def test_the_first_non_finite_step_is_kept():
    health = Health(torch.device("cpu"))
    for step, value in enumerate((1.0, float("inf"), float("nan"), 1.0), start=1):
        health.finite_outputs(torch.tensor([value]), step)
    assert (health.first_divergence().step, health.first_divergence().where) == (2, "outputs")


def test_a_finite_run_has_no_divergence():
    health = Health(torch.device("cpu"))
    assert torch.equal(health.finite_outputs(torch.tensor([0.25]), 1), torch.tensor([0.25]))
    health.watch_loss(torch.tensor(1.0), 1)
    assert health.first_divergence() is None


def test_weights_are_named_before_buffers(tiny):
    model = build_model(tiny())
    assert non_finite_state(model) is None
    next(model.buffers()).fill_(torch.nan)
    assert non_finite_state(model) == "buffers"
    next(model.parameters()).data.fill_(torch.nan)
    assert non_finite_state(model) == "weights"


def test_half_precision_counts_the_steps_it_skips(tiny):
    metrics = next(run(tiny(amp=True, loss_scale_init=2.0**40)))  # so high that the first steps must overflow
    assert metrics.num_skipped_steps > 0
    assert metrics.loss_scale == 2.0**40 / 2**metrics.num_skipped_steps


def test_without_amp_there_is_no_loss_scale(tiny):
    assert next(run(tiny())).loss_scale is None


def test_the_cosine_falls_from_lr_to_almost_zero(tiny):
    # 8 steps in all: the last one runs at (1 + cos(7/8 pi)) / 2 of lr
    assert list(run(tiny(schedule="cosine")))[-1].lr == pytest.approx(3e-3 * (1 + math.cos(math.pi * 7 / 8)) / 2)


def test_the_cosine_per_batch_swings(tiny):
    # T_max = 2 epochs, 4 steps an epoch: lr, lr / 2, 0, lr / 2, and again
    assert [m.lr for m in run(tiny(schedule="cosine_per_batch"))] == pytest.approx([1.5e-3, 1.5e-3])


def test_one_cycle_ends_near_zero_and_leaves_the_momentum_alone(tiny, tmp_path):
    history = list(run(tiny(schedule="one_cycle", optimizer="sgd", momentum=0.5), out=tmp_path))
    assert history[-1].lr < 3e-4
    assert checkpoint.load(tmp_path / "last.pt")["optimizer"]["param_groups"][0]["momentum"] == 0.5


@pytest.mark.gpu
@pytest.mark.parametrize("amp", [False, True])
def test_a_run_uses_the_gpu_and_goes_on_there(tiny, tmp_path, amp):
    config = tiny(amp=amp, device="cuda", epochs=3)
    first = list(itertools.islice(run(config, out=tmp_path), 1))
    rest = list(run(config, out=tmp_path, resume=True))
    assert [m.epoch for m in first + rest] == [1, 2, 3]
    assert torch.cuda.max_memory_allocated() > 0


@pytest.mark.parametrize("border", ["background", "ignore"])
def test_pets_train_under_every_border_policy(pets_root, tiny, border):
    config = tiny(data="pets", data_root=pets_root, border=border, epochs=1)
    assert 0 < next(run(config)).val_dice < 1
