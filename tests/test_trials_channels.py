"""Images of any number of channels: grey and 16-bit files stay one channel, arrays have n."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from analysis.load.predictions import as_rgb
from tests.conftest import TINY, set_options
from trials import predict, train
from trials.config import TrialConfig
from trials.parts import build_augment, build_model, data_channels, prepared_data, train_loader

SIZE = 40
SETTINGS = {**TINY, "data": "folder", "batch_size": 4, "train_limit": 0, "val_limit": 0, "epochs": 1, "augment": "lab2"}
KINDS = {"grey8.png": 1, "grey16.png": 1, "grey16.tiff": 1, "float.tiff": 1, "grey.jpg": 1, "colour.png": 3}


def image_of(number: int, channels: int, dtype: type) -> np.ndarray:
    """A bright disc on noise, [H, W, C]; grey levels of the whole type."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    disc = np.hypot(rows - 20, columns - 20) < 8 + number % 5
    noise = np.random.default_rng(number).random((SIZE, SIZE, channels)) * 0.4
    values = np.clip(noise + 0.6 * disc[..., None], 0, 1)
    return (values * (np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1)).astype(dtype)


def write(path: Path, number: int) -> None:
    kind = path.name.partition("-")[2]
    if kind == "grey16.png":
        assert cv2.imwrite(str(path), image_of(number, 1, np.uint16))
    elif kind == "grey16.tiff":
        Image.fromarray(image_of(number, 1, np.uint16)[..., 0]).save(path)
    elif kind == "float.tiff":
        Image.fromarray(image_of(number, 1, np.float32)[..., 0]).save(path)
    elif kind == "colour.png":
        Image.fromarray(image_of(number, 3, np.uint8)).save(path)
    elif kind.endswith("bands.npy"):
        np.save(path, image_of(number, 5, np.int16))
    else:
        Image.fromarray(image_of(number, 1, np.uint8)[..., 0]).save(path)


@pytest.fixture
def folder(tmp_path):
    """Makes a folder of 20 pairs, of these kinds of files in turn."""

    def make(*kinds: str) -> Path:
        for part in ("images", "masks"):
            (tmp_path / "data" / part).mkdir(parents=True)
        for number in range(20):
            kind = kinds[number % len(kinds)]
            write(tmp_path / "data/images" / f"{number:02d}-{kind}", number)
            mask = image_of(number, 1, np.uint8)[..., 0] > 150
            name = f"{number:02d}-{kind}".rpartition(".")[0]
            Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "data/masks" / f"{name}.png")
        return tmp_path / "data"

    return make


def config_of(root: Path, **settings) -> TrialConfig:
    return TrialConfig.from_dict({**SETTINGS, "data_root": str(root), **settings})


@pytest.mark.parametrize(("kind", "channels"), [*KINDS.items(), ("bands.npy", 5)])
def test_the_number_of_channels_is_that_of_the_files(kind, channels, folder):
    root = folder(kind)
    assert data_channels(config_of(root)) == channels
    prepared = prepared_data(config_of(root, in_channels=channels))
    assert prepared.images_NHWC.shape == (20, 32, 32, channels)
    assert prepared.images_NHWC[0].max() > 200 > 60 > np.median(prepared.images_NHWC[0, :4, :4])


def test_grey_files_keep_their_values(folder):
    root = folder("grey8.png")
    prepared = prepared_data(config_of(root, in_channels=1, image_size=40 - 8))
    grey = image_of(0, 1, np.uint8)[..., 0]
    expected = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA)
    assert np.array_equal(prepared.images_NHWC[0, ..., 0], expected)


def test_grey_among_colours_becomes_colours(folder):
    root = folder("grey8.png", "colour.png")
    assert data_channels(config_of(root)) == 3
    first = prepared_data(config_of(root)).images_NHWC[0]
    assert (first == first[..., :1]).all()


def test_colours_become_grey_where_one_channel_is_asked_for(folder):
    root = folder("colour.png")
    grey = prepared_data(config_of(root, in_channels=1)).images_NHWC[0, ..., 0].astype(float)
    colours = prepared_data(config_of(root)).images_NHWC[0].astype(float)
    assert np.abs(grey - colours @ [0.299, 0.587, 0.114]).max() < 1.5


def test_each_channel_of_an_array_has_a_range_of_its_own(folder):
    root = folder("bands.npy")
    for path in (root / "images").iterdir():
        array = np.load(path).astype(np.float32)
        array[..., 3] = array[..., 3] / 1000 + 7
        np.save(path, array)
    prepared = prepared_data(config_of(root, in_channels=5))
    spans = prepared.images_NHWC[0].reshape(-1, 5)
    assert spans.max(axis=0).min() > 200
    assert spans.min(axis=0).max() < 60
    assert "each channel from its own 0.1 to 99.9 percentile" in "\n".join(prepared.notes)


def test_files_of_different_numbers_of_channels_are_named(folder):
    root = folder("bands.npy", "grey8.png")
    with pytest.raises(ValueError, match=r"00-bands.npy has 5, .*01-grey8.png has 1; all must have as many"):
        data_channels(config_of(root))
    with pytest.raises(ValueError, match=r"01-grey8.png: has 1 channels, and in_channels=5"):
        prepared_data(config_of(root, in_channels=5))


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array(["a"]), "wanted: numbers"),
        (np.zeros((2, 2, 2, 2)), "wanted: numbers"),
        (np.array([[np.nan, 1.0]]), "not finite"),
        (np.array([{}], object), "not a readable array"),
    ],
)
def test_an_array_that_is_no_image_is_named(array, said, folder):
    root = folder("bands.npy")
    np.save(root / "images/00-bands.npy", array)
    with pytest.raises(ValueError, match=rf"00-bands.npy.*{said}"):
        prepared_data(config_of(root, in_channels=5))


@pytest.mark.parametrize("model", ["unet", "resnet34_unet"])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_network_takes_as_many_channels(model, channels):
    config = TrialConfig(model=model, width=2, in_channels=channels)
    assert build_model(config)(torch.randn(1, channels, 32, 32)).shape == (1, 1, 32, 32)


@pytest.mark.parametrize("channels", [1, 2, 5, 13])
@pytest.mark.parametrize("name", ["flip", "flip_crop", "lab2"])
def test_augmentations_change_all_channels_alike(name, channels):
    augment = build_augment(TrialConfig(augment=name, image_size=32, in_channels=channels, blur_p=0))
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 1), np.uint8).repeat(channels, axis=2)
    for seed in range(5):
        changed, _ = augment(image, np.ones((32, 32), np.uint8), seed)
        assert changed.shape == image.shape
        assert (changed == changed[..., :1]).all()


def test_a_batch_of_grey_images_is_about_zero_and_one(folder):
    config = config_of(folder("grey8.png"), in_channels=1)
    images = next(train_loader(config, prepared_data(config), torch.device("cpu")).batches(1)).images
    assert images.shape[1] == 1
    assert abs(float(images.mean())) < 2
    assert 0.3 < float(images.std()) < 3


def test_a_run_and_its_predictions_are_grey(folder, tmp_path, capsys):
    root = folder("grey16.png")
    settings = {name: value for name, value in SETTINGS.items() if name != "data"}
    arguments = set_options(settings)
    run = ["--data", "folder", "--data-root", str(root), "--out", str(tmp_path / "run")]
    assert train.main([*arguments, *run]) == 0, capsys.readouterr().err
    assert json.loads((tmp_path / "run/config.json").read_text())["in_channels"] == 1
    weights = torch.load(tmp_path / "run/checkpoints/best.pt", weights_only=True)["model"]
    assert weights["stem.0.weight"].shape[1] == 1
    out = tmp_path / "masks"
    images = ["--images", str(root / "images"), "--masks", str(root / "masks"), "--out", str(out)]
    assert predict.main(["--checkpoint", str(tmp_path / "run"), *images]) == 0
    with Image.open(out / "00-grey16.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", (3 * SIZE, SIZE))


def test_the_drawn_set_is_there_in_grey_too(tiny):
    grey = prepared_data(tiny(in_channels=1)).images_NHWC[0].astype(float)
    colours = prepared_data(tiny()).images_NHWC[0].astype(float)
    assert np.abs(grey[..., 0] - colours @ [0.299, 0.587, 0.114]).max() < 1.5
    with pytest.raises(ValueError, match="in_channels=4; data='drawn' has colours"):
        tiny(in_channels=4)


def test_the_page_shows_grey_as_grey_and_of_many_channels_three():
    image = np.arange(5, dtype=np.uint8) * np.ones((2, 2, 1), np.uint8)
    assert as_rgb(image)[0, 0].tolist() == [0, 1, 2]
    assert as_rgb(image[..., 1:2])[0, 0].tolist() == [1, 1, 1]
    assert as_rgb(image[..., 1:3])[0, 0].tolist() == [1, 1, 1]
