"""Arrays of numpy as images: NAME.npy, [H, W] or [H, W, C], of any number of channels."""

from pathlib import Path

import numpy as np

from trials.data.picture import Picture, with_channels
from trials.data.value_ranges import scaled


def load_array(path: Path) -> np.ndarray:
    """Memory-mapped; ValueError names a file that is no array of numbers [H, W] or [H, W, C]."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path}: not a readable array ({error}); save it with numpy.save") from None
    if array.ndim not in (2, 3) or 0 in array.shape or array.dtype.kind not in "uifb":
        raise ValueError(f"{path}: an array of {array.dtype} {list(array.shape)}; wanted: numbers [H, W] or [H, W, C]")
    return array


def read_array(path: Path, value_range: str, channels: int) -> Picture:
    """The array as uint8 [H, W, channels], scaled as picture_files.read_picture says; ValueError names a bad one."""
    samples = np.array(load_array(path))
    samples = samples if samples.ndim == 3 else samples[..., None]
    if samples.dtype == np.uint8:
        return Picture(with_channels(samples, channels, path), 1)
    if not np.isfinite(samples).all():
        raise ValueError(f"{path}: holds values that are not finite (NaN or infinite); replace them")
    channels_u8 = [np.rint(scaled(samples[..., at], value_range)[0]) for at in range(samples.shape[2])]
    image_HWC = np.stack(channels_u8, axis=2).astype(np.uint8)
    how = f"from value_range={value_range}" if value_range else "each channel from its own 0.1 to 99.9 percentile"
    return Picture(with_channels(image_HWC, channels, path), 1, (f"the array was scaled {how} to 0 to 255",))
