"""Folders of others, by their names: what is a picture, which mask is whose, what is damaged."""

from pathlib import Path

import pytest
from picture_fixtures import NUM, check_agreement, config_of, notes_of, refusal, save_image
from PIL import Image

from trials.parts import prepared_data

CASES = Path(__file__).parents[2] / "shared/cases/pictures"


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
