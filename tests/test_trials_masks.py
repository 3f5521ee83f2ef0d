"""Masks of others: read right, or refused by name."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from picture_fixtures import HEIGHT, WIDTH, check_agreement, config_of, mask_of, notes_of, refusal, values_mask
from PIL import Image

from trials.config import TrialConfig
from trials.parts import prepared_data


def palette_mask(colours: list[int], indices: tuple[int, int], **saved) -> Callable[[Path, int], None]:
    """`indices`: of the background and of the object."""

    def write(path, number):
        image = Image.fromarray(np.where(mask_of(number), indices[1], indices[0]).astype(np.uint8), mode="P")
        image.putpalette(colours)
        image.save(path.with_suffix(".png"), **saved)

    return write


BLACK, WHITE, RED, BLUE = [0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize(
    "mask",
    [
        palette_mask([*WHITE, *BLACK], (1, 0)),
        palette_mask([*BLACK, *WHITE], (0, 1)),
        palette_mask([*BLACK, *RED], (0, 1)),
        palette_mask([*RED, *BLACK, *BLUE, *WHITE], (1, 3)),
        palette_mask([*WHITE, *BLACK], (1, 0), transparency=1),
        palette_mask([*RED, *RED], (0, 1), transparency=0),
        palette_mask([*BLACK, *RED, *BLUE, *BLUE], (2, 1)),  # a trimap's values
    ],
    ids=["white first", "black first", "red", "black and white of many", "black transparent", "alpha only", "trimap"],
)
def test_a_palettes_object_is_what_its_colours_show(own, mask):
    check_agreement(own(mask=mask))


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("colours", [[*RED, *BLACK], [*WHITE, *RED]])
def test_a_palette_that_does_not_tell_the_object_is_named(own, colours):
    root = own(mask=palette_mask(colours, (0, 1)))
    assert "palette does not tell what is the object: index 0 is #" in refusal(root)
    check_agreement(root, foreground="1")


def rgba_mask(colour_in: list[int], colour_out: list[int], alpha_in: int, alpha_out: int):
    def write(path, number):
        mask = mask_of(number)[..., None]
        Image.fromarray(np.where(mask, [*colour_in, alpha_in], [*colour_out, alpha_out]).astype(np.uint8)).save(
            path.with_suffix(".png")
        )

    return write


@pytest.mark.parametrize(
    "mask",
    [
        rgba_mask(WHITE, WHITE, 255, 0),
        rgba_mask(BLACK, BLACK, 255, 0),
        rgba_mask(RED, WHITE, 255, 0),
        rgba_mask(WHITE, BLACK, 255, 255),
    ],
    ids=["white", "black", "red on nothing", "opaque"],
)
def test_a_mask_in_the_alpha_channel_is_read(own, mask):
    check_agreement(own(mask=mask))


def test_a_mask_of_colours_and_alpha_that_differ_is_refused(own):
    def write(path, number):
        colours = np.where(mask_of(number), 255, 0)[..., None].repeat(3, axis=2)
        alpha = np.broadcast_to(np.where(np.arange(WIDTH) < 16, 255, 0), (HEIGHT, WIDTH))
        Image.fromarray(np.dstack([colours, alpha]).astype(np.uint8)).save(path.with_suffix(".png"))

    root = own(mask=write)
    assert "both the colours and the alpha channel of the mask vary" in refusal(root)
    check_agreement(root, foreground="#ffffff")


def white_is_0_16_bits(path: Path, number: int) -> None:
    values = np.where(mask_of(number), 0, 65535).astype(np.uint16)
    Image.fromarray(values).save(path.with_suffix(".tif"), tiffinfo={262: 0})


def one_bit(path: Path, number: int) -> None:
    Image.fromarray(mask_of(number)).save(path.with_suffix(".png"))


def rgb_mask(path: Path, number: int) -> None:
    Image.fromarray(np.repeat(mask_of(number)[..., None], 3, axis=2).astype(np.uint8) * 255).save(
        path.with_suffix(".jpg"), quality=60
    )


@pytest.mark.parametrize(
    "mask",
    [
        values_mask(1),
        values_mask(65535, dtype=np.uint16),
        values_mask(1, dtype=np.uint16),
        values_mask(1, 2, dtype=np.uint16),
        values_mask(1, dtype=np.float32, suffix=".tif"),
        values_mask(255, suffix=".gif"),
        values_mask(255, suffix=".jpg", quality=60),
        values_mask(255, suffix=".webp"),
        one_bit,
        white_is_0_16_bits,
        rgb_mask,
    ],
    ids=[
        "0/1",
        "16 bits",
        "16 bits 0/1",
        "16 bits trimap",
        "float",
        "gif",
        "jpeg",
        "webp",
        "1 bit",
        "white is 0",
        "rgb jpeg",
    ],
)
def test_masks_of_common_kinds_are_read(own, mask):
    check_agreement(own(mask=mask))


def test_a_jpeg_mask_is_said(own):
    assert "12 of 12 pairs the mask is of a lossy format, and was thresholded at 128" in notes_of(own(mask=rgb_mask))


def test_soft_edges_are_said(own):
    def soft(path, number):
        blurred = cv2.GaussianBlur(mask_of(number).astype(np.uint8) * 255, (3, 3), 0)
        Image.fromarray(blurred).save(path.with_suffix(".png"))

    root = own(mask=soft)
    check_agreement(root)
    assert "12 of 12 pairs the mask has soft edges, and was thresholded at 128" in notes_of(root)


def classes_mask(path: Path, number: int) -> None:
    classes = np.where(mask_of(number), 7, 0).astype(np.uint8)
    classes[40:, 40:] = 3
    classes[40:, :20] = 255
    Image.fromarray(classes).save(path.with_suffix(".png"))


def test_more_than_two_classes_are_one_class_against_the_rest(own):
    root = own(mask=classes_mask)
    assert "mask values 0, 3, 7, 255" in refusal(root)
    assert "--set foreground=" in refusal(root)
    check_agreement(root, foreground="7")
    check_agreement(root, foreground="5-10")


def test_the_foreground_is_part_of_the_caches_key(own):
    root = own(mask=classes_mask)
    sevens, threes = (prepared_data(config_of(root, foreground=value)).trimaps_NHW for value in ("7", "3"))
    assert not np.array_equal(sevens, threes)


def test_masks_of_one_coloured_class_each_are_not_merged(own):
    def coloured(path, number):
        colour = [(128, 0, 0), (0, 128, 0)][number % 2]
        Image.fromarray(np.where(mask_of(number)[..., None], colour, 0).astype(np.uint8)).save(path.with_suffix(".png"))

    root = own(mask=coloured)
    assert "the mask is coloured: #000000, #800000" in refusal(root)
    trimaps = prepared_data(config_of(root, foreground="#800000")).trimaps_NHW
    assert [(trimap == 1).any() for trimap in trimaps] == [True, False] * 6


def test_classes_that_look_like_masks_and_trimaps_are_not_mixed(own):
    root = own(mask=lambda path, number: values_mask(1, number % 3 and 2)(path, number))
    assert "these are classes of one numbering, or masks and trimaps mixed" in refusal(root)


@pytest.mark.parametrize("text", ["cat", "7-3", "#80"])
def test_a_wrong_foreground_is_refused(text):
    with pytest.raises(ValueError, match=r"foreground=.*allowed: a value"):
        TrialConfig.from_dict({"data": "folder", "foreground": text})


@pytest.mark.parametrize("field", ["split_file", "mask_suffix", "foreground", "value_range"])
def test_a_setting_of_own_folders_is_refused_elsewhere(field):
    with pytest.raises(ValueError, match=f"{field} is read with data=folder alone"):
        TrialConfig.from_dict({"data": "pets", field: "1,2" if field == "value_range" else "1"})


def test_a_set_without_any_object_is_refused(own):
    assert "none of the 12 masks holds an object" in refusal(own(mask=classes_mask), foreground="99")


def test_a_mask_in_several_pages_is_refused(own):
    root = own()
    (root / "masks/a003.png").unlink()
    page = Image.fromarray(mask_of(3))
    page.save(root / "masks/a003.tif", save_all=True, append_images=[page])
    assert "a003.tif: a TIFF of 2 pages" in refusal(root)


def test_a_smaller_mask_of_the_same_shape_is_enlarged(own):
    def half(path, number):
        Image.fromarray(mask_of(number)[::2, ::2].astype(np.uint8) * 255).save(path.with_suffix(".png"))

    root = own(mask=half)
    check_agreement(root)
    assert "12 of 12 pairs the mask is of another size than its image" in notes_of(root)


def test_objects_lost_at_the_training_size_are_counted_before_training(own):
    def tiny(path, number):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8) if number < 11 else mask_of(number).astype(np.uint8) * 255
        mask[1, 1] = 255
        Image.fromarray(mask).save(path.with_suffix(".png"))

    root = own(mask=tiny)
    assert "11 of 12 masks with an object have nothing of it left at 16 px (a000, a001, a002 and 8 more); each" in (
        lost := notes_of(root, image_size=16)
    )
    assert lost.endswith("--set image_size=64")
    assert notes_of(root, image_size=64) == ""


def test_a_size_at_which_every_object_is_lost_is_refused(own):
    def tiny(path, number):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[1, 1] = 255
        Image.fromarray(mask).save(path.with_suffix(".png"))

    assert "12 of 12 masks with an object have nothing of it left at 16 px" in refusal(own(mask=tiny), image_size=16)
