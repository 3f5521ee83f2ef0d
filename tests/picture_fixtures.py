"""Folders of pictures and masks of others: what is in them is known, and they are checked by it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trials.config import TrialConfig
from trials.parts import describe, prepared_data

NUM = 12
HEIGHT, WIDTH = 48, 64


def mask_of(number: int) -> np.ndarray:
    """bool H,W: a disc away from the middle, so that turned, mirrored and inverted masks differ from it."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.hypot(rows - 14, columns - 16) < 7 + number % 5


def image_of(number: int) -> np.ndarray:
    """uint8 H,W,3: bright where the mask is."""
    noise = np.random.default_rng(number).integers(0, 60, (HEIGHT, WIDTH, 3))
    return (noise + 180 * mask_of(number)[..., None]).astype(np.uint8)


def save_image(path: Path, number: int) -> None:
    Image.fromarray(image_of(number)).save(path.with_suffix(".png"))


def save_mask(path: Path, number: int) -> None:
    Image.fromarray(mask_of(number).astype(np.uint8) * 255).save(path.with_suffix(".png"))


def values_mask(object_value, background=0, dtype=np.uint8, suffix: str = ".png", **saved):
    def write(path, number):
        values = np.where(mask_of(number), object_value, background).astype(dtype)
        Image.fromarray(values).save(path.with_suffix(suffix), **saved)

    return write


def write_pairs(
    root: Path,
    image: Callable[[Path, int], object] = save_image,
    mask: Callable[[Path, int], object] = save_mask,
    image_name: str = "a{:03d}",
    mask_name: str = "",
) -> Path:
    """Makes the folder, of pairs that `image` and `mask` write (each gets a path without ending, and a number)."""
    for part, write, name in (("images", image, image_name), ("masks", mask, mask_name or image_name)):
        (root / part).mkdir(parents=True)
        for number in range(NUM):
            write(root / part / name.format(number), number)
    return root


def config_of(root: Path, **changed) -> TrialConfig:
    fields = {"data": "folder", "data_root": str(root), "image_size": 48, "batch_size": 4}
    return TrialConfig.from_dict({**fields, **changed})


def notes_of(root: Path, **changed) -> str:
    return "\n".join(describe(config_of(root, **changed))["notes"])


def check_agreement(root: Path, **changed) -> None:
    """The object is bright in each picture, has its share, and is there at all."""
    prepared = prepared_data(config_of(root, **changed))
    assert len(prepared.names) == NUM
    for image, trimap in zip(prepared.images_NHWC, prepared.trimaps_NHW, strict=True):
        grey = image.mean(axis=2)
        assert 0.03 < (trimap == 1).mean() < 0.2
        assert grey[trimap == 1].mean() > grey[trimap != 1].mean() + 100


def refusal(root: Path, **changed) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as raised:
        prepared_data(config_of(root, **changed))
    return str(raised.value)
