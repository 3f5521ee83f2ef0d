"""Pictures decoded and resized once, into a cache on disk that all trials share.

The cache is memory-mapped, so trials on one machine share its pages. It lies in $SEGSTUDY_CACHE, or in
~/.cache/segstudy/prepared, and may be deleted at any time.
"""

import hashlib
import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock

from trials.data.sources import PET, Source
from trials.wording import some

FORMAT = 3  # raise it when what lies in a cache changes
ZEROS = bytes(1 << 20)


@dataclass(frozen=True)
class Prepared:
    """A data set decoded and resized: uint8 images N,S,S,C and trimaps N,S,S, memory-mapped."""

    images_NHWC: np.ndarray
    trimaps_NHW: np.ndarray
    names: tuple[str, ...]
    splits: np.ndarray  # N texts: train, val, test
    hard_cases: tuple[tuple[str, ...], ...]
    source_size_px: tuple[int, int]  # median height and width on disk
    notes: tuple[str, ...]  # what a user should know of how the files were chosen and read


def cache_folder() -> Path:
    """Where prepared data sets lie."""
    return Path(os.environ.get("SEGSTUDY_CACHE") or Path.home() / ".cache/segstudy/prepared").absolute()


def prepare(source: Source, name: str, size_px: int) -> Prepared:
    """The data set of this name at size_px x size_px, from the cache, which is built where it is not there yet.

    Safe when several processes call it at once: one builds, the others wait. Raises ValueError naming every pair that
    cannot be read, and OSError where the cache has no room.
    """
    folder = _place(source, name, size_px)
    if not folder.is_dir():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                if not folder.is_dir():
                    _build(folder, source, size_px)
        except OSError as error:
            needed = len(source.names) * size_px**2 * (source.num_channels + 1)
            raise OSError(
                f"the prepared pictures, {needed / 1e6:,.1f} MB, cannot be written to {folder.parent} "
                f"({error.strerror or error}); make room there, or name another folder in $SEGSTUDY_CACHE"
            ) from error
    return _open(folder, source.notes)


def is_prepared(source: Source, name: str, size_px: int) -> bool:
    """Whether the data set is in the cache at this size."""
    return _place(source, name, size_px).is_dir()


def _place(source: Source, name: str, size_px: int) -> Path:
    key = hashlib.sha256(f"{FORMAT} {size_px} {source.num_channels} {source.identity}".encode()).hexdigest()[:16]
    return cache_folder() / f"{name}-{size_px}px-{key}"


def resize(image_HWC: np.ndarray, size_px: int) -> np.ndarray:
    """A picture H,W,C at size_px x size_px: averaged where it shrinks, bilinear where it grows."""
    interpolation = cv2.INTER_AREA if min(image_HWC.shape[:2]) > size_px else cv2.INTER_LINEAR
    fours = [image_HWC[..., first : first + 4] for first in range(0, image_HWC.shape[2], 4)]  # as many as OpenCV takes
    resized = [cv2.resize(four, (size_px, size_px), interpolation=interpolation) for four in fours]
    return np.concatenate([four.reshape(size_px, size_px, -1) for four in resized], axis=2)


def resize_mask(mask_HW: np.ndarray, size_px: int) -> np.ndarray:
    """A mask H,W at size_px x size_px, nearest neighbour."""
    return cv2.resize(mask_HW, (size_px, size_px), interpolation=cv2.INTER_NEAREST)


@dataclass(frozen=True)
class _Resized:
    """A pair at its size in the cache. `survives_at_px`: the first of 1, 2, 4, ... times that size at which some of
    its object is left; 0 where the mask has no object."""

    image_HWC: np.ndarray
    trimap_HW: np.ndarray
    hard_cases: tuple[str, ...]
    source_size_px: tuple[int, ...]
    survives_at_px: int
    convention: str | None
    remarks: tuple[str, ...]


def _build(folder: Path, source: Source, size_px: int) -> None:
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        num = len(source.names)
        images = _allocated(partial / "images.npy", (num, size_px, size_px, source.num_channels))
        trimaps = _allocated(partial / "trimaps.npy", (num, size_px, size_px))
        pairs, problems = [], []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for index, pair in enumerate(pool.map(lambda i: _read_resized(source, i, size_px), range(num))):
                if isinstance(pair, str):
                    problems.append(pair)
                    continue
                images[index], trimaps[index] = pair.image_HWC, pair.trimap_HW
                pairs.append(_without_pixels(pair))
        if problems:
            more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
            raise ValueError(f"{len(problems)} of {num} pairs cannot be used:\n  " + "\n  ".join(problems[:20]) + more)
        _check_conventions(source, pairs)
        source_size = [int(side) for side in np.median([pair.source_size_px for pair in pairs], axis=0)]
        index = dict(
            names=source.names,
            splits=source.splits,
            hard_cases=[pair.hard_cases for pair in pairs],
            source_size_px=source_size,
            notes=[*_remarks(source, pairs), *_lost_objects(source, pairs, size_px)],
        )
        (partial / "index.json").write_text(json.dumps(index))
        images.flush()
        trimaps.flush()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _allocated(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new, memory-mapped uint8 array whose disk space is reserved: OSError now, not a bus error at a full disk."""
    array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    with path.open("r+b") as file:
        size = path.stat().st_size
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.seek(array.offset)
            for start in range(array.offset, size, len(ZEROS)):
                file.write(ZEROS[: size - start])
    return array


def _read_resized(source: Source, index: int, size_px: int) -> _Resized | str:
    """The pair at its size in the cache, or what is wrong with it. Photographs are large: only this is passed on."""
    try:
        pair = source.read(index)
    except ValueError as error:
        return str(error)
    image_HWC, trimap_HW = resize(pair.image_HWC, size_px), resize_mask(pair.trimap_HW, size_px)
    survives_at_px = _survives_at(pair.trimap_HW, trimap_HW, size_px)
    shape = pair.trimap_HW.shape
    return _Resized(image_HWC, trimap_HW, pair.hard_cases, shape, survives_at_px, pair.convention, pair.remarks)


def _survives_at(trimap_HW: np.ndarray, resized_HW: np.ndarray, size_px: int) -> int:
    if (resized_HW == PET).any():
        return size_px
    if not (trimap_HW == PET).any():
        return 0
    while not (resize_mask(trimap_HW, size_px) == PET).any():
        size_px *= 2
    return size_px


def _without_pixels(pair: _Resized) -> _Resized:
    return replace(pair, image_HWC=pair.image_HWC[:0], trimap_HW=pair.trimap_HW[:0])


def _check_conventions(source: Source, pairs: list[_Resized]) -> None:
    """Raises ValueError where some masks hold 0 and others are trimaps: these would be classes 0, 1, 2."""
    first: dict[str, str] = {}
    for name, pair in zip(source.names, pairs, strict=True):
        if pair.convention is not None:
            first.setdefault(pair.convention, name)
    if len(first) > 1:
        raise ValueError(
            f"the mask of {first['0']} holds 0, that of {first['trimap']} 2 or 3 and no 0: these are classes of one "
            "numbering, or masks and trimaps mixed; one class against the rest: --set foreground=1 (trials/config.py)"
        )


def _remarks(source: Source, pairs: list[_Resized]) -> list[str]:
    """A sentence for each remark on how files were read, with the number of pairs and the first of them."""
    names_of: dict[str, list[str]] = {}
    for name, pair in zip(source.names, pairs, strict=True):
        for remark in pair.remarks:
            names_of.setdefault(remark, []).append(name)
    return [f"in {len(names)} of {len(pairs)} pairs {remark} ({some(names, 3)})" for remark, names in names_of.items()]


def _lost_objects(source: Source, pairs: list[_Resized], size_px: int) -> list[str]:
    """A sentence on the masks that have no object left at this size. ValueError where no mask at all has one."""
    lost = {name: p.survives_at_px for name, p in zip(source.names, pairs, strict=True) if p.survives_at_px > size_px}
    num_empty = sum(pair.survives_at_px == 0 for pair in pairs)
    if pairs and num_empty == len(pairs):
        raise ValueError(f"none of the {len(pairs)} masks holds an object (trials/data/mask_files.py says what is one)")
    if not lost:
        return []
    sentence = (
        f"{len(lost)} of {len(pairs) - num_empty} masks with an object have nothing of it left at {size_px} px "
        f"({some(lost, 3)}); each keeps some of it with --set image_size={max(lost.values())}"
    )
    if len(lost) + num_empty == len(pairs):
        raise ValueError(f"{sentence}. There is nothing to learn at {size_px} px")
    return [sentence]


def _open(folder: Path, notes: tuple[str, ...]) -> Prepared:
    index = json.loads((folder / "index.json").read_text())
    return Prepared(
        images_NHWC=np.load(folder / "images.npy", mmap_mode="r"),
        trimaps_NHW=np.load(folder / "trimaps.npy", mmap_mode="r"),
        names=tuple(index["names"]),
        splits=np.array(index["splits"]),
        hard_cases=tuple(tuple(cases) for cases in index["hard_cases"]),
        source_size_px=(index["source_size_px"][0], index["source_size_px"][1]),
        notes=(*notes, *index["notes"]),
    )
