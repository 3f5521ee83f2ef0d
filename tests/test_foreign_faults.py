"""Planted faults in a plain loop of smp's Unet under segstudy.watch: quick ones of benchmarks/fault_injection.py."""

import pytest

pytest.importorskip("segmentation_models_pytorch", reason="segmentation-models-pytorch is not installed")

from benchmarks.fault_injection import judged
from benchmarks.faults.in_loop import healthy_in_loop


@pytest.mark.parametrize(
    "name",
    [
        "head_bias_shift/unet/amp/early",
        "conv_weights_grow/unet/encoder.0.3/amp/early",
        "running_mean_nan/unet/encoder.0.2/float32/early",
        "recall_loss/unet/amp/late",
        "nan_pixel/unet/float32/early",
    ],
)
def test_a_fault_in_a_foreign_loop_is_told_by_cause_phase_and_module(name, pets_root):
    row = judged(name, network="smp_unet")
    assert row["right"], row


def test_a_healthy_foreign_loop_raises_no_alarm(pets_root, tmp_path):
    assert healthy_in_loop({"head": "sigmoid", "amp": True, "lr": 3e-3, "epochs": 1}, tmp_path / "run") is None
