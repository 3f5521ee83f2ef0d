"""Pictures and masks of others: read right, or refused by name."""

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from trials.config import TrialConfig
from trials.parts import describe, prepared_data

NUM = 12
HEIGHT, WIDTH = 48, 64
CASES = Path(__file__).parents[2] / "shared/cases/pictures"


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


@pytest.fixture
def own(tmp_path):
    """Makes a folder of pairs, with `image` and `mask` to write each (a path without ending, and a number)."""

    def make(
        image: Callable[[Path, int], object] = save_image,
        mask: Callable[[Path, int], object] = save_mask,
        image_name: str = "a{:03d}",
        mask_name: str = "",
    ) -> Path:
        root = tmp_path / "own"
        for part, write, name in (("images", image, image_name), ("masks", mask, mask_name or image_name)):
            (root / part).mkdir(parents=True)
            for number in range(NUM):
                write(root / part / name.format(number), number)
        return root

    return make


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


# Images


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


# Masks


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


def values_mask(object_value, background=0, dtype=np.uint8, suffix: str = ".png", **saved):
    def write(path, number):
        values = np.where(mask_of(number), object_value, background).astype(dtype)
        Image.fromarray(values).save(path.with_suffix(suffix), **saved)

    return write


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


# Files and names


def test_what_is_no_picture_is_left_out_and_said(own):
    root = own()
    for part in ("images", "masks"):
        (root / part / "._a000.png").write_bytes(b"\0\x05\x16\x07")
        (root / part / ".DS_Store").write_bytes(b"")
        (root / part / "Thumbs.db").write_bytes(b"")
        (root / part / "more.png").mkdir()
    (root / "images/readme.txt").write_text("")
    check_agreement(root)
    notes = notes_of(root)
    assert "images/: 3 left out, hidden or an operating system's own: .DS_Store, ._a000.png, Thumbs.db" in notes
    assert "images/: 1 left out, a folder: more.png" in notes
    assert "1 left out, not a picture by its ending" in notes


def test_names_in_two_forms_of_unicode_are_the_same(own):
    check_agreement(own(image_name="Mu\u0308ller_{:03d}", mask_name="M\u00fcller_{:03d}"))


@pytest.mark.parametrize(
    ("image_name", "mask_name"),
    [
        ("case_{:03d}", "case_{:03d}_mask"),
        ("case_{:03d}", "gt-case_{:03d}"),
        ("{}", "{}_segmentation"),
        ("img_{:03d}", "mask_{:03d}"),
        ("case_{:03d}_0000", "case_{:03d}"),
        ("Case_{:03d}", "case_{:03d}"),
    ],
)
def test_masks_are_found_by_the_same_addition_to_all_names(own, image_name, mask_name):
    root = own(image_name=image_name, mask_name=mask_name)
    check_agreement(root)
    assert "matched are image" in notes_of(root)


def test_one_of_two_masks_of_each_image_is_chosen_by_its_suffix(own):
    root = own(image_name="x{:03d}", mask_name="x{:03d}_mask")
    for number in range(NUM):
        save_image(root / f"masks/x{number:03d}_edge", number)
    assert "--set mask_suffix=_mask takes the mask NAME_mask" in refusal(root)
    check_agreement(root, mask_suffix="_mask")


def test_a_missing_mask_with_a_suffix_is_named_with_the_suffix(own):
    root = own(image_name="x{:03d}", mask_name="x{:03d}_seg")
    (root / "masks/x004_seg.png").unlink()
    assert "11 masks are named NAME_seg for an image NAME" in refusal(root)
    assert "with mask_suffix=_seg 1 images and masks have no partner: x004" in refusal(root, mask_suffix="_seg")


def test_heic_is_told_what_to_do(own):
    root = own()
    (root / "images/a003.png").rename(root / "images/a003.HEIC")
    assert "HEIC is not read; convert it to JPEG or PNG" in refusal(root)


def test_heic_under_another_ending_is_told_what_to_do(own):
    root = own()
    (root / "images/a003.png").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert "a003.png: not a readable image (HEIC is not read; convert it" in refusal(root)


def zero_wide(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[16:20] = bytes(4)  # the width of a PNG
    path.write_bytes(content)


def enormous(path: Path) -> None:
    Image.new("1", (20_000, 10_000)).save(path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "damaged"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "a pointer of Git LFS"),
        (lambda path: path.write_text("<!DOCTYPE html>"), "no format that is known; it begins with"),
        (zero_wide, "not a readable image"),
        (enormous, "too large: more than"),
    ],
    ids=["empty", "truncated", "lfs", "html", "zero-wide", "enormous"],
)
def test_a_damaged_file_is_named_with_what_is_wrong(own, damage, said):
    root = own()
    damage(root / "images/a003.png")
    message = refusal(root)
    assert "images/a003.png: not a readable image" in message
    assert said in message


def test_linked_pictures_are_read_and_a_broken_link_is_named(own):
    root = own()
    (root / "images").rename(root / "elsewhere")
    (root / "images").mkdir()
    for number in range(NUM):
        (root / f"images/a{number:03d}.png").symlink_to(root / f"elsewhere/a{number:03d}.png")
    check_agreement(root)
    (root / "elsewhere/a003.png").unlink()
    assert "1 files of the data set are missing" in refusal(root)


@pytest.mark.skipif(not CASES.is_dir(), reason=f"the cases of ../shared are not at {CASES}")
@pytest.mark.parametrize(
    "name",
    [
        "good",
        "palette_white_first",
        "alpha_masks",
        "exif_orientation",
        "grey16",
        "apple_double",
        "mask_suffix",
        "unicode_forms",
    ],
)
def test_the_shared_cases_are_read_right(name):
    check_agreement_of_case(CASES / name)


def check_agreement_of_case(root: Path) -> None:
    prepared = prepared_data(config_of(root))
    assert len(prepared.names) == 12
    for image, trimap in zip(prepared.images_NHWC, prepared.trimaps_NHW, strict=True):
        grey = image.mean(axis=2)
        assert 0.03 < (trimap == 1).mean() < 0.3
        assert grey[trimap == 1].mean() > grey[trimap != 1].mean() + 50
