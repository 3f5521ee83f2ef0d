"""A picture of a user's as it was read; its channels."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np


@dataclass(frozen=True)
class Picture:
    """uint8 [H, W, C], upright; the EXIF orientation it was turned by; what a user should know of how it was read."""

    image_HWC: np.ndarray
    orientation: int
    remarks: tuple[str, ...] = ()


def with_channels(image_HWC: np.ndarray, channels: int, path: Path) -> np.ndarray:
    """uint8 [H, W, C] with as many channels: grey repeated, colours as their luma (ITU-R BT.601).

    Raises ValueError, naming the file, where that is not what is wanted.
    """
    own = image_HWC.shape[2]
    if own == channels:
        return np.ascontiguousarray(image_HWC)
    if (own, channels) == (1, 3):
        return np.repeat(image_HWC, 3, axis=2)
    if (own, channels) == (3, 1):
        return cv2.cvtColor(np.ascontiguousarray(image_HWC), cv2.COLOR_RGB2GRAY)[..., None]
    raise ValueError(
        f"{path}: has {own} channels, and in_channels={channels} (--set in_channels={own}, or leave it out)"
    )


def as_rgb(image_HWC: np.ndarray) -> np.ndarray:
    """uint8 [H, W, C] as it is shown, [H, W, 3]: grey as grey, of more than three channels the first three."""
    if image_HWC.shape[2] >= 3:
        return image_HWC[..., :3]
    return np.repeat(image_HWC[..., :1], 3, axis=2)
