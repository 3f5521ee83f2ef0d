"""examples/: segmentation-models-pytorch's Unet and a loss of ten lines, by itself and in a study beside ours."""

import json
from pathlib import Path

import pytest

from study import run
from tests.conftest import TINY, set_options
from trials import train

pytest.importorskip("segmentation_models_pytorch", reason="segmentation-models-pytorch is not installed")

EXAMPLES = Path(__file__).parents[1] / "examples"
SETTINGS = set_options({**TINY, "epochs": 1, "lr": 0.001})


def test_the_example_trains_by_itself(tmp_path):
    file = EXAMPLES / "smp_unet.py"
    own = {"model": f"{file}:unet", "loss": f"{file}:tversky", "own.tau": 0.6, "border": "ignore"}
    assert train.main([*SETTINGS, *set_options(own), "--out", str(tmp_path / "run")]) == 0


def test_the_study_compares_it_with_ours(tmp_path):
    arguments = ["--space", str(EXAMPLES / "smp_or_ours.py"), "--search", "grid", "--scheduler", "none"]
    arguments += ["--set", "loss=bce_dice", "--results", str(tmp_path), "--name", "a"]
    assert run.main([*arguments, *SETTINGS]) == 0
    trials = {
        json.loads((path.parent / "params.json").read_text())["model"]: json.loads(path.read_text())["outcome"]
        for path in (tmp_path / "a").glob("*/outcome.json")
    }
    assert trials == {"unet": "completed", "smp_unet.py:unet": "completed"}
    assert "smp_unet.py:unet" in (tmp_path / "a/report/report.html").read_text()
