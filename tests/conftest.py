"""Where the tests find the real data, and a cache of their own for prepared pictures."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers of two threads each on two cores wait for one another

import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from picture_fixtures import write_pairs
from PIL import Image

from trials.config import TrialConfig

REPOSITORY = Path(__file__).parents[1]
PETS_ROOT = REPOSITORY.parent / "shared"

TINY = {
    "data": "drawn",
    "width": 4,
    "image_size": 32,
    "epochs": 2,
    "batch_size": 8,
    "train_limit": 32,
    "val_limit": 8,
    "augment": "flip",
    "lr": 3e-3,
    "diagnosis_budget_s": 1.0,
}


def set_options(settings: Mapping[str, object]) -> list[str]:
    """--set NAME=VALUE for each of these."""
    return [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]


# What tests start would ignore Ctrl-C where they are a shell's background job.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item):
    """What is marked `gpu` skips where there is none."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """One cache for all tests of the session, in this process, in those it starts, and in those beside it."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cache"
    os.environ["SEGSTUDY_CACHE"] = str(shared)
    return shared


@pytest.fixture(scope="session")
def tiny():
    """A configuration that trains in a second or two."""

    def make(**changed) -> TrialConfig:
        return TrialConfig.from_dict({**TINY, **changed})

    return make


@pytest.fixture(scope="session")
def pets_root() -> str:
    """The folder that holds oxford-iiit-pet/; tests that need it skip where it is not."""
    if not (PETS_ROOT / "oxford-iiit-pet").is_dir():
        pytest.skip(f"Oxford-IIIT Pet is not at {PETS_ROOT}")
    return str(PETS_ROOT)


@pytest.fixture
def own(tmp_path):
    """Makes a folder of pairs of pictures of others, by what write_pairs takes (tests/picture_fixtures.py)."""
    return partial(write_pairs, tmp_path / "own")


@pytest.fixture
def own_pairs(tmp_path_factory):
    """A user's folder: 20 pairs of pictures of two sizes and 0/255 masks with a disc for a pet."""
    root, rng = tmp_path_factory.mktemp("data") / "own", np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for number in range(20):
        height, width = (40, 50) if number % 2 else (60, 48)
        rows, columns = np.mgrid[:height, :width]
        mask = np.hypot(rows - height / 2, columns - width / 2) < 8 + number % 7
        image = rng.integers(0, 120, (height, width, 3)) + 120 * mask[..., None]
        Image.fromarray(image.astype(np.uint8)).save(root / f"images/pet_{number:02d}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(root / f"masks/pet_{number:02d}.png")
    return root
