"""Arrays of numpy as images: NAME.npy, [H, W] or [H, W, C], of any number of channels."""

from pathlib import Path

import numpy as np

from trials.data.picture import Picture, with_channels
from trials.data.value_ranges import own_range, parse_range


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
    scaled = np.empty(samples.shape, np.uint8)
    for channel in range(samples.shape[2]):
        own = samples[..., channel].astype(np.float64)
        low, high = parse_range(value_range) or own_range(own)[:2]
        scale = 255 / (high - low) if high > low else 0.0
        scaled[..., channel] = np.rint(np.clip((own - low) * scale, 0, 255))
    how = f"from value_range={value_range}" if value_range else "each channel from its own 0.1 to 99.9 percentile"
    return Picture(with_channels(scaled, channels, path), 1, (f"the array was scaled {how} to 0 to 255",))
