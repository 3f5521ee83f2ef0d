"""Images of others: read right, or refused by name."""

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from picture_fixtures import (
    HEIGHT,
    WIDTH,
    check_agreement,
    config_of,
    image_of,
    mask_of,
    notes_of,
    refusal,
    values_mask,
)
from PIL import Image

from trials.config import TrialConfig
from trials.parts import prepared_data


def grey16(path: Path, number: int) -> None:
    grey = image_of(number)[..., 0].astype(np.uint16)
    Image.fromarray(824 + grey * 11).save(path.with_suffix(".png"))


def colour16(path: Path, number: int) -> None:
    cv2.imwrite(str(path.with_suffix(".png")), image_of(number).astype(np.uint16) * 11)


def colour16_tiff(path: Path, number: int) -> None:
    cv2.imwrite(str(path.with_suffix(".tif")), image_of(number).astype(np.uint16) * 11)


def colour16_ppm(path: Path, number: int) -> None:
    cv2.imwrite(str(path.with_suffix(".ppm")), image_of(number).astype(np.uint16) * 11)


def float_of_0_to_1(path: Path, number: int) -> None:
    Image.fromarray(image_of(number)[..., 0].astype(np.float32) / 255).save(path.with_suffix(".tif"))


def float64(path: Path, number: int) -> None:
    cv2.imwrite(str(path.with_suffix(".tif")), image_of(number)[..., 0].astype(np.float64) / 255)


def signed(path: Path, number: int) -> None:
    cv2.imwrite(str(path.with_suffix(".tif")), image_of(number)[..., 0].astype(np.int16) * 5 - 1000)


def white_is_0(path: Path, number: int) -> None:
    inverted = Image.fromarray(3000 - image_of(number)[..., 0].astype(np.uint16) * 11)
    inverted.save(path.with_suffix(".tif"), tiffinfo={262: 0})


@pytest.mark.parametrize(
    "write", [grey16, colour16, colour16_tiff, colour16_ppm, float_of_0_to_1, float64, signed, white_is_0]
)
def test_images_of_more_than_8_bits_keep_their_contrast(own, write):
    root = own(image=write)
    check_agreement(root)
    assert "12 of 12 pairs the image has more than 8 bits and was scaled from its own 0.1 to 99.9" in notes_of(root)


def test_a_value_for_missing_ones_leaves_the_others_their_contrast(own):
    def with_missing(path, number):
        values = image_of(number)[..., 0].astype(np.float32) / 100
        values[0, :40] = -9999
        Image.fromarray(values).save(path.with_suffix(".tif"))

    root = own(image=with_missing)
    check_agreement(root)
    assert "percentile, without a value far from all others, to 0 to 255" in notes_of(root)


def test_an_image_of_few_values_has_none_that_are_missing(own):
    check_agreement(own(image=values_mask(2, dtype=np.uint16)))


def test_a_hot_pixel_does_not_darken_an_image(own):
    def hot(path, number):
        grey = 824 + image_of(number)[..., 0].astype(np.uint16) * 11
        grey[0, 0] = 65535
        Image.fromarray(grey).save(path.with_suffix(".png"))

    check_agreement(own(image=hot))


def test_a_range_of_values_is_the_same_for_all_images(own):
    prepared = prepared_data(config_of(own(image=grey16), value_range="0,65535"))
    assert 11 <= prepared.images_NHWC.max() <= 14  # (824 + 239 * 11) / 65535 * 255: nothing is brighter


@pytest.mark.parametrize("text", ["0-4095", "4095,0", "x"])
def test_a_wrong_range_of_values_is_refused(text):
    with pytest.raises(ValueError, match=r"value_range=.*allowed: LOW,HIGH"):
        TrialConfig.from_dict({"data": "folder", "value_range": text})


def test_an_image_of_values_that_are_not_finite_is_refused(own):
    root = own(image=float_of_0_to_1)
    Image.fromarray(np.full((HEIGHT, WIDTH), np.nan, np.float32)).save(root / "images/a000.tif")
    assert "a000.tif: holds values that are not finite" in refusal(root)


def transparent(path: Path, number: int) -> None:
    colours = np.where(mask_of(number)[..., None], image_of(number), 7).astype(np.uint8)  # dark below
    alpha = np.where(np.arange(WIDTH) > 50, 0, 255).astype(np.uint8)
    Image.fromarray(np.dstack([colours, np.broadcast_to(alpha, (HEIGHT, WIDTH))])).save(path.with_suffix(".png"))


def test_what_is_transparent_is_white(own):
    root = own(image=transparent)
    assert (prepared_data(config_of(root)).images_NHWC[:, :, 40:] == 255).all()
    assert "12 of 12 pairs the image is transparent in places, which are shown white" in notes_of(root)


def test_a_tiff_of_several_pages_is_refused(own):
    root = own()
    (root / "images/a003.png").unlink()
    pages = [Image.fromarray(image_of(number)) for number in (3, 4, 5)]
    pages[0].save(root / "images/a003.tif", save_all=True, append_images=pages[1:])
    assert "a003.tif: a TIFF of 3 pages" in refusal(root)


def test_a_tiff_with_a_thumbnail_is_one_picture(own):
    def with_thumbnail(path, number):
        small = Image.fromarray(image_of(number)[::4, ::4])
        small.encoderinfo = {"tiffinfo": {254: 1}}
        Image.fromarray(image_of(number)).save(path.with_suffix(".tif"), save_all=True, append_images=[small])

    check_agreement(own(image=with_thumbnail))


def test_an_animated_image_is_said(own):
    def animated(path, number):
        first, second = Image.fromarray(image_of(number)), Image.fromarray(image_of(number + 1))
        first.save(path.with_suffix(".webp"), save_all=True, append_images=[second], lossless=True)

    root = own(image=animated)
    check_agreement(root)
    assert "12 of 12 pairs the image is animated; its first picture was read" in notes_of(root)


def saved_as(suffix: str, mode: str) -> Callable[[Path, int], None]:
    return lambda path, number: Image.fromarray(image_of(number)).convert(mode).save(path.with_suffix(suffix))


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [(".JPG", "CMYK"), (".gif", "P"), (".png", "LA"), (".tiff", "L"), (".BMP", "RGB"), (".pgm", "L"), (".webp", "RGB")],
)
def test_common_formats_are_read(own, suffix, mode):
    check_agreement(own(image=saved_as(suffix, mode)))


# EXIF


def with_orientation(orientation: int, *, stored: bool = False) -> Callable[[Path, int], None]:
    """An image whose stored pixels are turned, so that it is `image_of` when shown upright (or when stored)."""
    back = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    back |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}  # 6 and 8 undo each other, the others themselves

    def write(path, number):
        image = Image.fromarray(image_of(number))
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = image if stored else image.transpose(Image.Transpose[back[orientation]])
        image.save(path.with_suffix(".png"), exif=exif)

    return write


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("stored", [False, True])
def test_a_mask_lies_on_its_turned_image_as_its_size_tells(own, orientation, stored):
    check_agreement(own(image=with_orientation(orientation, stored=stored)))


@pytest.mark.parametrize("orientation", [2, 3, 4])
@pytest.mark.parametrize("drawn", ["upright", "stored"])
def test_a_mask_whose_size_does_not_tell_is_asked_for(own, orientation, drawn):
    root = own(image=with_orientation(orientation, stored=drawn == "stored"))
    assert "--set mask_orientation=upright or stored" in refusal(root)
    check_agreement(root, mask_orientation=drawn)


def test_a_mask_with_an_orientation_of_its_own_is_turned_by_it(own):
    def mask(path, number):
        exif = Image.Exif()
        exif[0x0112] = 6
        image = Image.fromarray(mask_of(number).astype(np.uint8) * 255).transpose(Image.Transpose.ROTATE_90)
        image.save(path.with_suffix(".png"), exif=exif)

    check_agreement(own(image=with_orientation(6), mask=mask))


@pytest.mark.parametrize("stored", [False, True])
def test_a_turned_tiff_is_read_as_other_formats(own, stored):
    def tiff(path, number):
        with_orientation(8, stored=stored)(path, number)
        with Image.open(path.with_suffix(".png")) as image:
            image.save(path.with_suffix(".tif"), exif=image.getexif())
        path.with_suffix(".png").unlink()

    check_agreement(own(image=tiff))


def test_an_image_with_a_damaged_exif_is_read(own):
    def damaged(path, number):
        tags = struct.pack("<HHII", 0x0112, 3, 1, 1) + struct.pack("<HHII", 0x011A, 10, 1, 38)
        exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + tags + struct.pack("<Iii", 0, -1, 0)  # -1/0
        Image.fromarray(image_of(number)).save(path.with_suffix(".jpg"), exif=exif, quality=95)

    check_agreement(own(image=damaged))
