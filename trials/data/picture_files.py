"""Image files of others, decoded to uint8 and turned upright; a file that cannot be is named, with the reason."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image

from trials.data.arrays import load_array, read_array
from trials.data.listing import ARRAY_SUFFIX, HEIC_HINT
from trials.data.picture import Picture, with_channels
from trials.data.value_ranges import scaled

REDUCED_OR_MASK_PAGE = 1 | 4  # bits of TIFF's NewSubfileType
TIFF_SUBFILE_TYPE, TIFF_PHOTOMETRIC, MIN_IS_WHITE = 254, 262, 0
GREY_MODES = ("1", "L", "LA", "La", "I", "F")  # of Pillow, and I;16 in its kinds


@dataclass(frozen=True)
class Decoded:
    """A file as Pillow decodes it, but upright where `orientation` (EXIF, 1 to 8) has been applied by Pillow itself.

    `deep`: the file holds more than 8 bits a sample. `inverted`: its lowest value is white, and Pillow left it so.
    """

    path: Path
    image: Image.Image
    orientation: int
    is_upright: bool
    deep: bool
    inverted: bool
    remarks: tuple[str, ...]


def read_picture(path: Path, value_range: str = "", channels: int = 3) -> Picture:
    """The file as uint8 [H, W, channels]. ValueError names a file that cannot be read, and why.

    Grey becomes three equal colours, and colours become grey, where `channels` asks for it. More are read from an array
    of numpy, NAME.npy, [H, W] or [H, W, C]; what is not uint8 in it is scaled as below, each channel by itself.

    A picture of more than 8 bits a sample is scaled from `value_range` ("LOW,HIGH") to 0 to 255; without one from
    its own 0.1 to its own 99.9 percentile, whatever the other pictures have; a value far from all others, -9999 for
    one, is then taken for missing and left out. What is transparent is shown on white.
    """
    if path.suffix.lower() == ARRAY_SUFFIX:
        return read_array(path, value_range, channels)
    decoded = decode(path, "image")
    remarks = list(decoded.remarks)
    if decoded.deep:
        samples = deep_samples(decoded)
        rgb, note = _scaled_rgb(samples, value_range, decoded)
        remarks.append(note)
    else:
        rgb, transparent = _rgb(decoded)
        remarks += ["the image is transparent in places, which are shown white"] if transparent else []
    native = rgb[..., :1] if _channels_of_image(decoded.image) == 1 else rgb
    turned = with_channels(native if decoded.is_upright else turn(native, decoded.orientation), channels, path)
    return Picture(turned, decoded.orientation, tuple(remarks))


def channels_of(path: Path) -> int:
    """1 for grey, 3 for colours, n for an array [H, W, n]; by the file's head. 3 for a file that cannot be read."""
    if path.suffix.lower() == ARRAY_SUFFIX:
        shape = load_array(path).shape
        return 1 if len(shape) == 2 else shape[2]
    try:
        with Image.open(path) as image:
            return _channels_of_image(image)
    except Exception as error:  # noqa: BLE001  what is damaged is said by those who decode it
        is_floats = isinstance(error, Image.UnidentifiedImageError) and _tiff_of_floats(path) is not None
        return 1 if is_floats else 3


def _channels_of_image(image: Image.Image) -> int:
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        return 1 if (palette == palette[:, :1]).all() else 3
    return 1 if image.mode.partition(";")[0] in GREY_MODES else 3


def decode(path: Path, what: str) -> Decoded:
    """The file's only, or first, picture. ValueError names a file that cannot be read, and one of several pages."""
    try:
        with Image.open(path) as image:
            deep = _is_deep(image)  # before the EXIF is read: Pillow decodes a PNG to do so, and forgets its tiles
            orientation, orientation_is_damaged = _orientation(image)
            num_pages = _num_pages(image)
            inverted = image.mode[0] == "I" and _tag(image, TIFF_PHOTOMETRIC, 1) == MIN_IS_WHITE
            image.load()
    except Exception as error:  # noqa: BLE001  a damaged file makes Pillow's plug-ins raise whatever it leads them to
        if isinstance(error, Image.UnidentifiedImageError) and (image := _tiff_of_floats(path)):
            return Decoded(path, image, 1, is_upright=True, deep=True, inverted=False, remarks=())
        raise ValueError(f"{path}: not a readable {what} ({_why_unreadable(path, error)})") from None
    if image.format == "TIFF" and num_pages > 1:
        raise ValueError(f"{path}: a TIFF of {num_pages} pages; save the page that is meant as a file of its own")
    if 0 in image.size:
        raise ValueError(f"{path}: not a readable {what} (it is {image.width} px wide and {image.height} px high)")
    remarks = [f"the {what}'s EXIF is damaged; it was taken as stored"] if orientation_is_damaged else []
    if image.format in ("GIF", "PNG", "WEBP") and num_pages > 1:
        remarks.append(f"the {what} is animated; its first picture was read")
    return Decoded(path, image, orientation, image.format == "TIFF", deep, inverted, tuple(remarks))


def deep_samples(decoded: Decoded) -> np.ndarray:
    """The samples of a picture of more than 8 bits: H,W, or H,W,C in the order RGB(A). Pillow cuts colours to 8 bits.

    ValueError names a file whose samples are not all finite numbers, or whose colours cannot be read.
    """
    if decoded.image.mode[0] in "IF":
        samples = np.asarray(decoded.image)
    else:
        samples = _opencv_samples(np.fromfile(decoded.path, np.uint8))
        if samples is None or (decoded.is_upright and decoded.orientation != 1):
            raise ValueError(f"{decoded.path}: colours of 16 bits that cannot be read; save it with 8 bits, as PNG")
        if samples.ndim == 3:
            samples = samples[..., [2, 1, 0, 3][: samples.shape[2]]]
    if not np.isfinite(samples).all():
        raise ValueError(f"{decoded.path}: holds values that are not finite (NaN or infinite); replace them")
    return samples


def turn(array: np.ndarray, orientation: int) -> np.ndarray:
    """H,W or H,W,C as stored -> as the camera was held, by EXIF's orientation 1 to 8."""
    turned = np.swapaxes(array, 0, 1) if orientation in (5, 6, 7, 8) else array
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def _orientation(image: Image.Image) -> tuple[int, bool]:
    """EXIF's orientation, 1 where there is none or it cannot be read; and whether it could not be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001  the same: struct.error, ValueError, KeyError and others were seen
        return 1, True
    return (orientation, False) if orientation in range(1, 9) else (1, False)


def _is_deep(image: Image.Image) -> bool:
    """Whether the file holds more than 8 bits a sample; of colours Pillow's mode does not tell, its raw mode does."""
    details = [tile[3] for tile in getattr(image, "tile", [])]  # of the decoder: "RGB;16B", or PPM's ("RGB", 65535)
    is_deep_ppm = image.format == "PPM" and any(isinstance(part, int) and part > 255 for part in details[0])
    return image.mode[0] in "IF" or ";16" in str(details) or is_deep_ppm


def _num_pages(image: Image.Image) -> int:
    """Pictures in the file; of a TIFF without its thumbnails, reduced copies and transparency masks."""
    num = getattr(image, "n_frames", 1)
    if image.format != "TIFF" or num == 1:
        return num
    pages = 0
    for index in range(num):
        image.seek(index)
        pages += index == 0 or not _tag(image, TIFF_SUBFILE_TYPE, 0) & REDUCED_OR_MASK_PAGE
    image.seek(0)
    return pages


def _tiff_of_floats(path: Path) -> Image.Image | None:
    """A TIFF of one channel that Pillow does not know, float64 for one, as float32; else None."""
    content = np.fromfile(path, np.uint8)
    if content[:4].tobytes() not in (b"II*\0", b"MM\0*"):
        return None
    samples = _opencv_samples(content)
    return Image.fromarray(samples.astype(np.float32)) if samples is not None and samples.ndim == 2 else None


def _opencv_samples(content: np.ndarray) -> np.ndarray | None:
    try:
        return cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


def _tag(image: Image.Image, number: int, default: int) -> int:
    return image.tag_v2.get(number, default) if image.format == "TIFF" else default  # type: ignore[attr-defined]


def _why_unreadable(path: Path, error: Exception) -> str:
    """What is wrong with a file that Pillow could not read, as far as its first bytes tell."""
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"too large: more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; make it smaller"
    if not path.exists():
        return "there is no such file" if not path.is_symlink() else "a link to a file that is not there"
    if isinstance(error, OSError) and error.errno is not None:
        return error.strerror or str(error)
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        return "the file is empty"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return HEIC_HINT
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the picture; fetch it with `git lfs pull`"
    if isinstance(error, Image.UnidentifiedImageError) and start[:4] in (b"II*\0", b"MM\0*"):
        return "a kind of TIFF that is not read; save it with 8 or 16 bits a sample, or as PNG"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"no format that is known; it begins with {start[:12]!r}"
    return f"damaged: {type(error).__name__}: {error}"


def _rgb(decoded: Decoded) -> tuple[np.ndarray, bool]:
    """uint8 H,W,3, and whether something in it is transparent."""
    image = decoded.image
    try:
        if not image.has_transparency_data:
            return np.asarray(image.convert("RGB")), False
        rgba = image.convert("RGBA")
        if rgba.getchannel("A").getextrema() == (255, 255):
            return np.asarray(rgba.convert("RGB")), False
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return np.asarray(Image.alpha_composite(white, rgba).convert("RGB")), True
    except ValueError as error:
        raise ValueError(f"{decoded.path}: not a readable image ({error}); save it as RGB") from None


def _scaled_rgb(samples: np.ndarray, value_range: str, decoded: Decoded) -> tuple[np.ndarray, str]:
    """uint8 H,W,3 of samples H,W or H,W,C, and a sentence on the scale."""
    colours = samples[..., :3] if samples.ndim == 3 else samples
    grey, how = scaled(colours, value_range)
    if decoded.inverted:
        grey = 255 - grey
    if samples.ndim == 3 and samples.shape[2] == 4:
        opaque = samples[..., 3:].astype(np.float32) / np.iinfo(samples.dtype).max
        grey = grey * opaque + 255 * (1 - opaque)
    rgb = np.rint(grey).astype(np.uint8)
    rgb = rgb if rgb.ndim == 3 else np.repeat(rgb[..., None], 3, axis=2)
    return rgb, f"the image has more than 8 bits and was scaled {how} to 0 to 255"
