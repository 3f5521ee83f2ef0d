"""What a network is fed: the prepared pictures as batches, augmented for training, and what is known of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from trials.data.augment import Augment
from trials.data.prepared import Prepared
from trials.data.sources import BORDER, PET

DRAWS = 2  # raise it when a seed shuffles or augments otherwise; 1: transforms that shared their first number
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY_MEAN, GREY_STD = 0.449, 0.226  # means of the three
BORDERS = ("pet", "background", "ignore")
IGNORED = 255  # in masks written down
ORDER, AUGMENTATION = 1, 2  # a run's seed gives each a stream of its own: else pass 3 and picture 3 would share theirs


@dataclass(frozen=True)
class Batch:
    """float32: images B,C,H,W normalised by ImageNet's statistics; targets and valid B,1,H,W of 0 and 1."""

    images: Tensor
    targets: Tensor
    valid: Tensor


def check_batch_size(batch_size: int, num_images: int) -> None:
    """Raises ValueError where a batch of so many images is larger than the training split."""
    if batch_size > num_images:
        raise ValueError(f"batch_size={batch_size}, but there are {num_images} training images")


def split_indices(prepared: Prepared, split: str, limit: int = 0) -> np.ndarray:
    """Positions of a split, int64 [n], ascending; with `limit`, that many of them, always the same ones.

    Raises ValueError where the split is empty or has fewer than `limit`.
    """
    indices = np.flatnonzero(prepared.splits == split)
    check_split(split, len(indices), len(prepared.names), limit)
    if limit:
        indices = np.sort(np.random.default_rng(0).permutation(indices)[:limit])
    return indices


def check_split(split: str, num: int, num_pairs: int, limit: int = 0) -> None:
    """Raises ValueError for a split without images, of num_pairs in all, and for a limit beyond its number."""
    if not num:
        raise ValueError(
            f"the {split} split is empty: {num_pairs} pairs in all (README.md, Data, says how they are split)"
        )
    if limit > num:
        raise ValueError(f"{split}_limit={limit}, but the {split} split has {num} images")


def to_batch(images_u8: Tensor, trimaps_u8: Tensor, border: str, device: torch.device) -> Batch:
    """uint8 B,H,W,C and B,H,W -> a Batch on the device."""
    images_u8 = images_u8.to(device, non_blocking=True)
    trimaps = trimaps_u8.to(device, non_blocking=True).unsqueeze(1)
    mean, std = statistics_of(images_u8.shape[3], device)
    images = (images_u8.permute(0, 3, 1, 2).float().contiguous() / 255 - mean) / std
    pet = (trimaps == PET) | (trimaps == BORDER) if border == "pet" else trimaps == PET
    valid = trimaps != BORDER if border == "ignore" else torch.ones_like(trimaps)
    return Batch(images, pet.float(), valid.float())


@cache
def statistics_of(channels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, each 1,C,1,1, float32: ImageNet's colours, or their mean where there are not three.

    Brought to the device once, which waits for it.
    """
    colours = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else ((GREY_MEAN,) * channels, (GREY_STD,) * channels)
    with torch.inference_mode(False):  # an evaluation may be the first to ask, training goes on with the same tensors
        mean, std = (torch.tensor(values, device=device).view(1, channels, 1, 1) for values in colours)
    return mean, std


def written_masks(trimaps_NHW: np.ndarray, border: str) -> np.ndarray:
    """Trimaps as masks for pictures, uint8 N,H,W: 0 background, 1 pet, 255 ignored."""
    border_value = {"pet": 1, "background": 0, "ignore": IGNORED}[border]
    return np.where(trimaps_NHW == PET, 1, np.where(trimaps_NHW == BORDER, border_value, 0)).astype(np.uint8)


def evaluation_batches(
    prepared: Prepared, indices: np.ndarray, batch_size: int, border: str, device: torch.device
) -> Iterator[Batch]:
    """The pictures at these positions [n], in order, unaugmented, batch_size images a batch (the last may be
    smaller)."""
    for start in range(0, len(indices), batch_size):
        yield first_images(prepared, indices[start:], batch_size, border, device)


def first_images(prepared: Prepared, indices: np.ndarray, num: int, border: str, device: torch.device) -> Batch:
    """The first of the pictures at these positions [n], at most `num`, unaugmented."""
    chosen = indices[:num]
    images, trimaps = (torch.from_numpy(array[chosen]) for array in (prepared.images_NHWC, prepared.trimaps_NHW))
    return to_batch(images, trimaps, border, device)


class TrainLoader:
    """The training split, shuffled and augmented; the same whatever the number of workers, other in each epoch.

    indices: of the pictures that train. images_per_epoch: at most; 0: each once. Raises ValueError where the batch is
    larger than the split.
    """

    def __init__(
        self,
        prepared: Prepared,
        indices: np.ndarray,
        augment: Augment,
        *,
        batch_size: int,
        images_per_epoch: int,
        border: str,
        seed: int,
        num_workers: int,
        device: torch.device,
    ):
        check_batch_size(batch_size, len(indices))
        self.indices, self._border, self._device = indices, border, device
        self._order = _EpochOrder(indices, images_per_epoch, batch_size, seed)
        self._loader = DataLoader(
            _AugmentedPairs(prepared, augment, seed),
            batch_sampler=self._order,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # else each epoch would take a number from the global one
        )

    def __len__(self) -> int:
        """Batches an epoch; the last one may be smaller."""
        return len(self._order)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """One epoch's batches on the device."""
        self._order.epoch = epoch
        for images, trimaps in self._loader:
            yield to_batch(images, trimaps, self._border, self._device)

    def batch(self, epoch: int, index: int) -> Batch:
        """One batch of an epoch (from 1), by its index (from 0): the same as `batches` gives."""
        self._order.epoch = epoch
        keys = list(self._order)[index]
        images, trimaps = zip(*(self._loader.dataset[key] for key in keys), strict=True)
        images_u8, trimaps_u8 = (torch.from_numpy(np.stack(arrays)) for arrays in (images, trimaps))
        return to_batch(images_u8, trimaps_u8, self._border, self._device)


class _EpochOrder(Sampler):
    """Batches of (pass, position): an endless row of shuffled passes over the split, cut into epochs."""

    def __init__(self, indices: np.ndarray, images_per_epoch: int, batch_size: int, seed: int):
        self.epoch, self._indices, self._seed = 1, indices, seed
        self._num_images, self._batch_size = min(images_per_epoch or len(indices), len(indices)), batch_size

    def __len__(self) -> int:
        return -(-self._num_images // self._batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        start, num = (self.epoch - 1) * self._num_images, len(self._indices)
        keys = [
            key for number in range(start // num, -(-(start + self._num_images) // num)) for key in self._pass(number)
        ]
        keys = keys[start % num :][: self._num_images]
        for first in range(0, len(keys), self._batch_size):
            yield keys[first : first + self._batch_size]

    def _pass(self, number: int) -> list[tuple[int, int]]:
        return [(number, int(index)) for index in order_of_pass(self._seed, number, self._indices)]


def order_of_pass(seed: int, number: int, indices: np.ndarray) -> np.ndarray:
    """The indices [n] as the pass of this number (from 0) shuffles them under a run's seed."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(ORDER, number))).permutation(indices)


def sample_seed(seed: int, number: int, index: int) -> int:
    """What the augmentation of a picture draws from, in the pass of this number, under a run's seed; 64 bits."""
    sequence = np.random.SeedSequence(seed, spawn_key=(AUGMENTATION, number, index))
    return int(sequence.generate_state(1, np.uint64)[0])


class _AugmentedPairs(Dataset):
    def __init__(self, prepared: Prepared, augment: Augment, seed: int):
        self._prepared, self._augment, self._seed = prepared, augment, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        number, index = key
        image, trimap = np.array(self._prepared.images_NHWC[index]), np.array(self._prepared.trimaps_NHW[index])
        return self._augment(image, trimap, sample_seed(self._seed, number, index))
