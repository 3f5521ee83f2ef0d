"""Losses and metrics against their definitions."""

import math

import pytest
import torch

from trials.config import TrialConfig
from trials.metrics import overlap_per_image, soft_batch_dice
from trials.parts import build_loss

TARGETS = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
ALL = torch.ones_like(TARGETS)


def loss(name: str, probabilities, valid=ALL, head="sigmoid", **settings) -> float:
    outputs = torch.tensor(probabilities).view(1, 1, 2, 2)
    return build_loss(TrialConfig(loss=name, head=head, **settings))(outputs, TARGETS, valid).item()


def test_bce_is_the_mean_negative_log_likelihood():
    expected = -(math.log(0.9) + math.log(0.8) + math.log(0.6) + math.log(0.7)) / 4
    assert loss("bce", [0.9, 0.2, 0.6, 0.3]) == pytest.approx(expected, rel=1e-6)


def test_the_logits_head_has_the_same_loss():
    probabilities = torch.tensor([0.9, 0.2, 0.6, 0.3])
    assert loss("bce", torch.logit(probabilities).tolist(), head="logits") == pytest.approx(
        loss("bce", probabilities.tolist()), rel=1e-5
    )


def test_ignored_pixels_take_no_part():
    valid = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    assert loss("bce", [0.9, 0.999, 0.001, 0.5], valid) == pytest.approx(-math.log(0.9), rel=1e-5)


def test_the_dice_loss_of_a_perfect_mask_is_zero():
    assert loss("dice", [1.0, 0.0, 1.0, 0.0]) == pytest.approx(0, abs=1e-6)


def test_bce_dice_is_the_sum():
    probabilities = [0.9, 0.2, 0.6, 0.3]
    assert loss("bce_dice", probabilities) == pytest.approx(loss("bce", probabilities) + loss("dice", probabilities))


def test_focal_with_gamma_zero_is_bce():
    probabilities = [0.9, 0.2, 0.6, 0.3]
    assert loss("focal", probabilities, focal_gamma=0.0) == pytest.approx(loss("bce", probabilities))


def test_focal_has_a_finite_gradient_at_certainty():
    outputs = torch.tensor([1.0, 0.0, 1.0, 0.0]).view(1, 1, 2, 2).requires_grad_()
    build_loss(TrialConfig(loss="focal", focal_gamma=0.5))(outputs, TARGETS, ALL).backward()
    assert torch.isfinite(outputs.grad).all()


def test_hard_bce_is_the_mean_of_the_hardest_pixels():
    assert loss("hard_bce", [0.9, 0.2, 0.1, 0.3]) == pytest.approx(-math.log(0.1), rel=1e-5)


def test_dice_of_two_empty_masks_is_one():
    empty = torch.zeros(1, 1, 4, 4)
    assert overlap_per_image(empty, empty, torch.ones_like(empty)).dice.item() == 1


def test_dice_of_a_mask_against_an_empty_one_is_zero():
    empty = torch.zeros(1, 1, 4, 4)
    assert overlap_per_image(torch.ones_like(empty), empty, torch.ones_like(empty)).dice.item() == 0


def test_dice_and_iou_are_those_of_each_image():
    predicted = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]]).view(2, 1, 2, 2)
    targets = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1]]).view(2, 1, 2, 2)
    overlap = overlap_per_image(predicted, targets, torch.ones_like(targets))
    assert overlap.dice.tolist() == pytest.approx([2 / 3, 1])
    assert overlap.iou.tolist() == pytest.approx([1 / 2, 1])


def test_dice_leaves_ignored_pixels_out():
    predicted, targets = torch.tensor([1, 1, 0, 0]).view(1, 1, 4), torch.tensor([1, 0, 0, 1]).view(1, 1, 4)
    valid = torch.tensor([1, 0, 1, 0]).view(1, 1, 4)
    assert overlap_per_image(predicted, targets, valid).dice.item() == 1


def test_counts_of_more_than_2_to_the_24_pixels_are_exact():
    predicted = torch.ones(1, 2**24 + 2, dtype=torch.bool)
    targets = predicted.clone()
    targets[0, 0] = False
    expected = 2 * (2**24 + 1) / (2**25 + 3)
    assert overlap_per_image(predicted, targets, torch.ones_like(predicted)).dice.item() == pytest.approx(
        expected, rel=1e-12
    )


def test_the_soft_dice_is_the_reports_formula_over_the_whole_batch():
    probabilities, targets = torch.rand(2, 1, 8, 8), (torch.rand(2, 1, 8, 8) > 0.5).float()
    p, g = probabilities.double(), targets.double()
    expected = (2 * (p * g).sum() + 1e-8) / ((p + g).sum() + 1e-8)
    assert soft_batch_dice(probabilities, targets, torch.ones_like(targets)).item() == pytest.approx(expected.item())


def test_hard_pixels_are_a_share_of_those_that_count():
    valid = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    expected = loss("bce", [0.9, 0.2, 0.6, 0.3], valid)
    assert loss("hard_bce", [0.9, 0.2, 0.6, 0.3], valid, hard_fraction=1.0) == pytest.approx(expected)
