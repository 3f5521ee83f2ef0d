"""trials.predict on photographs of others."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trials import checkpoint, predict
from trials.config import TrialConfig
from trials.parts import build_model

HEIGHT, WIDTH = 40, 60


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Writes a checkpoint of an untrained network of this configuration and gives its path."""

    def make(**changed) -> Path:
        config = TrialConfig.from_dict({"width": 4, "image_size": 32, **changed})
        path = tmp_path_factory.mktemp("network") / "best.pt"
        checkpoint.save(path, {"config": config.to_dict(), "model": build_model(config).state_dict(), "epoch": 1})
        return path

    return make


@pytest.fixture(scope="module")
def network(saved):
    return saved()


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        photo(number).save(folder / f"p{number}.png")
    return folder


def photo(number: int) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def run(network: Path, images: Path, out: Path, *more: str) -> int:
    return predict.main(["--checkpoint", str(network), "--images", str(images), "--out", str(out), *more])


def panels(path: Path, num: int) -> list[np.ndarray]:
    with Image.open(path) as picture:
        return np.split(np.asarray(picture), num, axis=1)


def test_the_mask_is_written_as_a_picture_of_its_own(network, photos, tmp_path):
    assert run(network, photos, tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out/masks").iterdir()) == ["p0.png", "p1.png", "p2.png"]
    with Image.open(tmp_path / "out/masks/p0.png") as mask:
        assert (mask.mode, mask.size) == ("L", (WIDTH, HEIGHT))
        values = np.asarray(mask)
    assert set(np.unique(values)) <= {0, 255}
    assert np.array_equal(panels(tmp_path / "out/p0.png", 2)[1][..., 0], values)


def test_one_photograph_may_be_named(network, photos, tmp_path):
    assert run(network, photos / "p1.png", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["p1.png"]


def test_one_photograph_and_its_mask_may_be_named(network, photos, tmp_path):
    Image.fromarray(np.eye(HEIGHT, WIDTH, dtype=np.uint8) * 255).save(tmp_path / "truth.png")
    assert run(network, photos / "p1.png", tmp_path / "out", "--masks", str(tmp_path / "truth.png")) == 0
    assert (tmp_path / "out/scores.csv").read_text().splitlines()[1].startswith("p1,")


def test_what_was_left_out_is_said(network, photos, tmp_path, capsys):
    (photos / "._p0.png").write_bytes(b"")
    (photos / "notes.txt").write_text("")
    (photos / "p9.HEIC").write_bytes(b"")
    (photos / "more.png").mkdir()
    assert run(network, photos, tmp_path / "out") == 0
    said = capsys.readouterr().err
    assert "1 left out, hidden or an operating system's own: ._p0.png" in said
    assert "1 left out, HEIC is not read; convert it to JPEG or PNG" in said
    assert "1 left out, a folder: more.png" in said
    assert "notes.txt" in said


def test_an_unreadable_photograph_is_named_and_the_others_are_predicted(network, photos, tmp_path, capsys):
    (photos / "p0.png").write_bytes((photos / "p0.png").read_bytes()[:200])
    assert run(network, photos, tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "p0.png: not a readable image (damaged" in said
    assert "1 of 3 pictures could not be read" in said
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["p1.png", "p2.png"]


def test_photographs_none_of_which_can_be_read_are_bad_input(network, photos, tmp_path):
    for path in photos.iterdir():
        path.write_bytes(b"")
    assert run(network, photos, tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()  # a second try may name it again


def test_two_photographs_of_one_name_are_both_predicted(network, photos, tmp_path):
    photo(7).save(photos / "p0.jpg")
    assert run(network, photos, tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("p0*")) == ["p0.jpg.png", "p0.png.png"]


def test_a_photograph_with_a_damaged_exif_is_predicted(network, photos, tmp_path):
    tags = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHII", 0x011A, 10, 1, 38)  # held upright; resolution
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + tags + struct.pack("<Iii", 0, -1, 0)  # is -1/0
    photo(1).save(photos / "p3.jpg", exif=exif)
    assert run(network, photos, tmp_path / "out") == 0
    assert panels(tmp_path / "out/p3.png", 2)[0].shape == (WIDTH, HEIGHT, 3)  # upright


def test_photographs_are_scaled_as_in_training(saved, tmp_path):
    grey = np.linspace(0, 2000, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    run(saved(data="folder", value_range="0,4000"), tmp_path / "deep.png", tmp_path / "fixed")
    run(saved(), tmp_path / "deep.png", tmp_path / "own")
    brightest = [panels(tmp_path / out / "deep.png", 2)[0].max() for out in ("fixed", "own")]
    assert brightest == [128, 255]


def test_masks_are_read_as_in_training_and_found_by_their_suffix(saved, photos, tmp_path):
    (tmp_path / "masks").mkdir()
    for number in range(3):
        classes = np.random.default_rng(number).integers(0, 5, (HEIGHT, WIDTH)).astype(np.uint8)
        Image.fromarray(classes).save(tmp_path / f"masks/p{number}_seg.png")
    assert run(saved(data="folder", foreground="3"), photos, tmp_path / "out", "--masks", str(tmp_path / "masks")) == 0
    truth = panels(tmp_path / "out/p2.png", 3)[2][..., 0] > 127
    assert np.array_equal(truth, classes == 3)


def test_nothing_is_written_over_a_file(network, photos, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert run(network, photos, tmp_path / "out") == 2
    assert "is not empty; give --out a new folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"
