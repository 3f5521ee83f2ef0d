"""Mask files of others: what in them is the object, as a trimap; and a mask laid on its image."""

import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from trials.data.picture import Picture
from trials.data.picture_files import Decoded, decode, deep_samples, turn
from trials.data.value_ranges import NUMBER
from trials.wording import some

PET, BACKGROUND, BORDER = 1, 2, 3  # the values of a trimap (Parkhi et al. 2012)
MASK_ORIENTATIONS = ("auto", "upright", "stored")
LOSSY_FORMATS = ("JPEG", "MPO", "JPEG2000", "WEBP")
NEAR_END = 64  # of 0 to 255: as far as a lossy format moves black and white
EDGE_PX = 5  # a region at least this wide is a class of its own, no soft edge
WHERE = "trials/config.py"


@dataclass(frozen=True)
class Foreground:
    """What of a mask is the object: values from `low` to `high`, a colour (uint8 RGB), or the alpha channel."""

    low: float = 0.0
    high: float = 0.0
    colour: tuple[int, int, int] | None = None
    alpha: bool = False


@dataclass(frozen=True)
class Mask:
    """uint8 trimap H,W, upright; EXIF's orientation; whether it holds a 0 or a 2 or 3 (None: neither); remarks."""

    trimap_HW: np.ndarray
    orientation: int
    convention: str | None
    remarks: tuple[str, ...] = ()


def parse_foreground(text: str) -> Foreground | None:
    """`foreground` of a configuration; None for an empty text. Raises ValueError, saying what is allowed."""
    if not text:
        return None
    if text == "alpha":
        return Foreground(alpha=True)
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return Foreground(colour=(int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)))
    if matched := re.fullmatch(rf"({NUMBER})(?:-({NUMBER}))?", text):
        low, high = float(matched[1]), float(matched[2] or matched[1])
        if low <= high:
            return Foreground(low, high)
    raise ValueError(
        f"foreground={text!r}; allowed: a value (7), a range (128-255), a colour (#800000), alpha, or nothing ({WHERE})"
    )


def read_mask(path: Path, foreground: str = "") -> Mask:
    """The file as a trimap. ValueError names a file that cannot be read, or its values, and how to say what is meant.

    Without `foreground` a mask holds 0 and 255, 0 and 1, or 0 and 65535 (the object is the higher), or a trimap's
    1, 2, 3. What of a mask has edges of values in between, or is a JPEG, is thresholded at 128.
    """
    decoded = decode(path, "mask")
    if decoded.image.format in ("GIF", "PNG", "WEBP") and any("animated" in remark for remark in decoded.remarks):
        raise ValueError(f"{path}: an animated mask; save the picture that is meant as a file of its own")
    wanted = parse_foreground(foreground)
    trimap, convention, remarks = _trimap(decoded, wanted, foreground)
    trimap = trimap if decoded.is_upright else turn(trimap, decoded.orientation)
    return Mask(trimap, decoded.orientation, convention, (*decoded.remarks, *remarks))


def laid_on(picture: Picture, mask: Mask, image_path: Path, mask_path: Path, mask_orientation: str) -> np.ndarray:
    """The trimap at the picture's own size, H,W, turned as the picture was.

    A mask without an orientation of its own, of a picture that has one, was drawn on the picture either upright or as
    stored: its size tells, or `mask_orientation`. Raises ValueError, naming both files, where neither does, and where
    the shapes differ.
    """
    shape, trimap = picture.image_HWC.shape[:2], mask.trimap_HW
    if picture.orientation != 1 and mask.orientation == 1:
        turned = turn(trimap, picture.orientation)
        fits = {"upright": _same_aspect(shape, trimap.shape), "stored": _same_aspect(shape, turned.shape)}
        if mask_orientation == "auto" and all(fits.values()):
            raise ValueError(
                f"{image_path} is turned by its EXIF orientation {picture.orientation}, and the size of {mask_path} "
                "does not tell whether it was drawn on the picture upright or as stored; "
                f"--set mask_orientation=upright or stored ({WHERE}) says so for the whole set"
            )
        if mask_orientation == "stored" or (mask_orientation == "auto" and fits["stored"]):
            trimap = turned
    if not _same_aspect(shape, trimap.shape):
        by = f" (turned by its EXIF orientation {picture.orientation})" if picture.orientation != 1 else ""
        raise ValueError(f"{image_path} is {shape} px{by}, its mask {mask_path} is {mask.trimap_HW.shape} px")
    if trimap.shape != shape:
        trimap = cv2.resize(trimap, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)
    return trimap


def _same_aspect(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether one is the other made smaller: within 2 %, and within a pixel of the smaller."""
    large, small = max(shape, other), min(shape, other)
    if large[0] == small[0]:
        return large == small
    expected = large[1] * small[0] / large[0]
    return abs(small[1] - expected) < min(1.0, 0.02 * expected) + 1e-9


def _trimap(decoded: Decoded, wanted: Foreground | None, text: str) -> tuple[np.ndarray, str | None, list[str]]:
    if wanted is not None:
        return np.where(_chosen(decoded, wanted, text), PET, BACKGROUND).astype(np.uint8), None, []
    values, remarks = _values(decoded)
    unique = _unique(values)
    held = set(unique.tolist())
    if held <= {PET, BACKGROUND, BORDER}:
        remarks += ["the mask is read as a trimap: 1 object, 2 background, 3 border"] if held - {PET} else []
        return values.astype(np.uint8), "trimap" if held - {PET} else None, remarks
    if held <= {0, 1} or held <= {0, 255} or (held <= {0, 65535} and values.dtype != np.uint8):
        return np.where(values > 0, PET, BACKGROUND).astype(np.uint8), "0" if 0 in held else None, remarks
    is_lossy = decoded.image.format in LOSSY_FORMATS
    if (is_lossy or len(held) > 3) and _has_soft_edges_only(values, NEAR_END if is_lossy else 0):
        why = "is of a lossy format" if is_lossy else "has soft edges"
        remarks.append(f"the mask {why}, and was thresholded at 128 of 0 to 255")
        return np.where(values >= 128, PET, BACKGROUND).astype(np.uint8), "0", remarks
    raise ValueError(_unknown_values(decoded, unique))


def _unknown_values(decoded: Decoded, unique: np.ndarray) -> str:
    held = some(f"{value:g}" for value in unique.tolist())
    if decoded.image.format in LOSSY_FORMATS:
        return (
            f"{decoded.path}: mask values {held}; a {decoded.image.format} file changes values, and these are not "
            "near 0 and 255: save masks as PNG, or say what is the object, --set foreground=128-255 for one"
        )
    example = next((value for value in unique.tolist() if value > 0), unique.tolist()[-1])
    return (
        f"{decoded.path}: mask values {held}; a mask has 0 and 255 (or 0 and 1, 0 and 65535), a trimap 1, 2, 3; "
        f"one class against the rest: --set foreground={example:g}, a range of values: --set foreground=128-255"
    )


def _chosen(decoded: Decoded, wanted: Foreground, text: str) -> np.ndarray:
    """bool H,W: where the mask is what `foreground` names."""
    image = decoded.image
    if wanted.alpha:
        if not image.has_transparency_data:
            raise ValueError(f"{decoded.path}: foreground=alpha, but the mask has no alpha channel")
        return np.asarray(image.convert("RGBA"))[..., 3] >= 128
    if image.format in LOSSY_FORMATS and wanted.low == wanted.high:
        raise ValueError(
            f"{decoded.path}: foreground={text}, but a {image.format} file changes values and colours; "
            "save masks as PNG, or give a range, --set foreground=128-255 for one"
        )
    if wanted.colour is not None:
        return (np.asarray(image.convert("RGB")) == wanted.colour).all(axis=2)
    values = _indices_or_grey(decoded)
    if values is None:
        raise ValueError(f"{decoded.path}: foreground={text}, but the mask is coloured: {_colours(image)}")
    return (values >= wanted.low) & (values <= wanted.high)


def _values(decoded: Decoded) -> tuple[np.ndarray, list[str]]:
    """The numbers in a mask, H,W: of the alpha channel where that is the mask, of a palette its grey or its index."""
    image = decoded.image
    if image.has_transparency_data and not decoded.deep:
        rgba = np.asarray(image.convert("RGBA"))
        if rgba[..., 3].min() < 255:
            return _alpha_values(decoded.path, rgba)
    if image.mode == "P" and (black_and_white := _black_and_white(image)) is not None:
        return black_and_white, []
    values = _indices_or_grey(decoded)
    if values is None:
        raise ValueError(
            f"{decoded.path}: the mask is coloured: {_colours(image)}; a mask has 0 and 255 (black and white); "
            f"one colour against the rest: --set foreground={_example_colour(image)}"
        )
    if image.mode == "P" and _palette_is_inverted(image, values):
        raise ValueError(
            f"{decoded.path}: the mask's palette does not tell what is the object: {_palette(image, values)}; "
            f"say it by the index or the colour: --set foreground=1 for one ({WHERE})"
        )
    return values, []


def _alpha_values(path: Path, rgba: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The alpha channel, where the colours do not say something else. A coloured mask over nothing is its alpha."""
    alpha, colours = rgba[..., 3], rgba[..., :3].reshape(-1, 3)
    opaque = alpha.ravel() >= 128
    same = all((side == side[:1]).all() for side in (colours[opaque], colours[~opaque]))
    if not same:
        raise ValueError(
            f"{path}: both the colours and the alpha channel of the mask vary, and not alike; --set foreground=alpha "
            "takes what is opaque for the object, --set foreground=#ffffff (or another colour) takes a colour"
        )
    return alpha, ["the mask was taken from the alpha channel: opaque is the object"]


def _indices_or_grey(decoded: Decoded) -> np.ndarray | None:
    """Numbers H,W: greys as they are, a coloured palette's indices; None for a mask of colours."""
    image = decoded.image
    if decoded.deep:
        samples = deep_samples(decoded)
        if decoded.inverted and samples.dtype.kind == "u":
            samples = np.iinfo(samples.dtype).max - samples
        if samples.ndim == 2:
            return samples
        grey = samples[..., 0]
        return grey if (samples[..., :3] == grey[..., None]).all() else None
    if image.mode in ("1", "L"):
        return np.asarray(image).astype(np.uint8)
    if image.mode in ("LA", "La"):
        return np.asarray(image.convert("LA"))[..., 0]
    if image.mode == "P":
        return np.asarray(image.convert("L")) if _is_grey(_palette_colours(image)) else np.asarray(image)
    rgb = np.asarray(image.convert("RGB"))
    if image.format in LOSSY_FORMATS:
        return np.asarray(image.convert("L"))
    return rgb[..., 0] if _is_grey(rgb) else None


def _palette_colours(image: Image.Image) -> np.ndarray:
    colours = np.zeros((256, 3), np.uint8)
    palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    colours[: len(palette)] = palette
    return colours


def _is_grey(colours: np.ndarray) -> bool:
    return bool((colours == colours[..., :1]).all())


def _black_and_white(image: Image.Image) -> np.ndarray | None:
    """A palette mask whose pixels are all black or white, as 0 and 255, wherever those stand in the palette."""
    grey = np.asarray(image.convert("L"))
    used = _palette_colours(image)[_unique(np.asarray(image))]
    return grey if _is_grey(used) and set(_unique(grey).tolist()) <= {0, 255} else None


def _palette_is_inverted(image: Image.Image, values: np.ndarray) -> bool:
    """Whether a coloured palette's indices are 0 and 1, and the background 0 is not black."""
    colours = _palette_colours(image)
    return values.max() <= 1 and not _is_grey(colours) and bool(colours[0].any())


def _palette(image: Image.Image, values: np.ndarray) -> str:
    colours = _palette_colours(image)
    return some(f"index {index} is #{bytes(colours[index]).hex()}" for index in _unique(values))


def _colours(image: Image.Image) -> str:
    """The colours of a mask, as #rrggbb, most frequent first."""
    colours, counts = np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0, return_counts=True)
    return some((f"#{bytes(colours[index]).hex()}" for index in np.argsort(-counts)), most=4)


def _example_colour(image: Image.Image) -> str:
    rgb = np.asarray(image.convert("RGB")).reshape(-1, 3)
    return f"#{bytes(rgb[rgb.sum(axis=1, dtype=int).argmax()]).hex()}"


def _unique(values: np.ndarray) -> np.ndarray:
    if values.dtype != np.uint8:
        return np.unique(values)
    held = np.zeros(256, bool)
    held[values] = True  # np.unique sorts every pixel
    return np.flatnonzero(held)


def _has_soft_edges_only(values: np.ndarray, near: int) -> bool:
    """Whether there are pixels near 255, and what is neither near 0 nor near 255 is nowhere wide: edges, no class."""
    if values.dtype != np.uint8 or values.max() < 255 - near:
        return False
    between = ((values > near) & (values < 255 - near)).astype(np.uint8)
    return not cv2.erode(between, np.ones((EDGE_PX, EDGE_PX), np.uint8), borderValue=0).any()
