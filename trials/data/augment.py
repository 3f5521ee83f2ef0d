"""Training augmentation with Albumentations. A new one is a function and a line in AUGMENTS.

The parameters of such a function are settings of these names (trials/parts.py).
"""

import os
import random
from collections.abc import Callable

import cv2
import numpy as np

# (uint8 image H,W,C, uint8 trimap H,W, seed) -> the same, changed. One seed, one outcome.
Augment = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def no_augmentation() -> Augment:
    """Pictures as they are."""
    return lambda image, trimap, seed: (image, trimap)


def flip() -> Augment:
    """A horizontal flip of every second picture."""
    A = _albumentations()
    return Pipeline([A.HorizontalFlip(p=0.5)])


def flip_crop(image_size: int, crop_scale_min: float) -> Augment:
    """`flip`, and a random part of the picture of `crop_scale_min` to 1 of its area, at image_size px."""
    A = _albumentations()
    crop = A.RandomResizedCrop(size=(image_size, image_size), scale=(crop_scale_min, 1.0))
    return Pipeline([A.HorizontalFlip(p=0.5), crop])


def lab2(
    image_size: int,
    flip_p: float,
    rotate90_p: float,
    crop_scale_min: float,
    affine_p: float,
    blur_p: float,
    elastic_p: float,
    elastic_alpha: float,
    elastic_sigma: float,
) -> Augment:
    """The Lab 2 report's list, in its order ("Task and data"), as settled in this project's reading of it.

    Flip: horizontal, vertical or both, each as likely. Shift 0.0625, scale 0.1, rotation 45 degrees. Borders are
    reflected, masks take the nearest value. image_size: px.
    """
    A = _albumentations()
    both = A.Sequential([A.HorizontalFlip(p=1), A.VerticalFlip(p=1)], p=1)
    shift = (-0.0625, 0.0625)
    return Pipeline(
        [
            A.OneOf([A.HorizontalFlip(p=1), A.VerticalFlip(p=1), both], p=flip_p),
            A.RandomRotate90(p=rotate90_p),
            A.RandomResizedCrop(size=(image_size, image_size), scale=(crop_scale_min, 1.0)),
            A.Affine(
                translate_percent={"x": shift, "y": shift},
                scale=(0.9, 1.1),
                rotate=(-45, 45),
                border_mode=cv2.BORDER_REFLECT_101,
                p=affine_p,
            ),
            A.GaussianBlur(blur_limit=(3, 7), p=blur_p),
            A.ElasticTransform(
                alpha=elastic_alpha,
                sigma=elastic_sigma,
                border_mode=cv2.BORDER_REFLECT_101,
                p=elastic_p,
            ),
        ]
    )


AUGMENTS = {"none": no_augmentation, "flip": flip, "flip_crop": flip_crop, "lab2": lab2}


def _albumentations():
    """The library, imported where it is needed: it takes seconds, and asks its registry for updates unless told not."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


class Pipeline:
    """Albumentations' transforms in a row, drawing from one stream of random numbers that begins anew each sample."""

    def __init__(self, transforms: list):
        self.compose = _albumentations().Compose(transforms)

    def __call__(self, image_HWC: np.ndarray, trimap_HW: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The pair, changed alike. seed: a whole number from 0 on, of any size."""
        self.start(seed)
        changed = self.compose(image=image_HWC, mask=trimap_HW)
        return changed["image"], changed["mask"]

    def start(self, seed: int) -> None:
        """Begins a sample's stream. (set_random_seed would begin one in each transform, all of them the same.)"""
        self.compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
