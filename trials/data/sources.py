"""The data sets as they lie on disk (or are drawn): names, splits, how a pair is read. A new one: a line below.

The parameters of a data set's function are settings of these names (trials/parts.py).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.error import URLError

import numpy as np
from filelock import FileLock

from trials.data.drawn import draw
from trials.data.listing import Listing, list_pictures
from trials.data.mask_files import BACKGROUND, BORDER, PET, laid_on, read_mask
from trials.data.pairing import match
from trials.data.picture import with_channels
from trials.data.picture_files import channels_of, read_picture
from trials.data.splits import SPLITS, by_table, every_tenth, names_look_grouped
from trials.wording import some

__all__ = ["BACKGROUND", "BORDER", "DATASETS", "PET", "SPLITS", "Pair", "Source", "read_pair"]
DRAWN_SIZE_PX = 128
NUM_DRAWN = {"train": 1024, "val": 128, "test": 256}


@dataclass(frozen=True)
class Pair:
    """One picture: uint8 image H,W,C, uint8 trimap H,W of 1, 2, 3, and the hard cases it is labelled with.

    `convention`: whether its mask file held a 0 or was a trimap, None where it cannot be told. `remarks`: what a user
    should know of how the files were read.
    """

    image_HWC: np.ndarray
    trimap_HW: np.ndarray
    hard_cases: tuple[str, ...] = ()
    convention: str | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A data set before it is prepared. `read(i)` gives the pair of `names[i]`, which belongs to `splits[i]`."""

    names: tuple[str, ...]
    splits: tuple[str, ...]
    read: Callable[[int], Pair]
    identity: str  # other pictures, other text: it is part of the cache's key
    notes: tuple[str, ...] = ()  # what a user should know of how the files were chosen
    num_channels: int = 3  # of each image

    @property
    def num_images(self) -> dict[str, int]:
        """Of each split."""
        return {split: self.splits.count(split) for split in SPLITS}


@dataclass(frozen=True)
class Reading:
    """How a user's files are to be read: the fields of these names of a configuration (trials/config.py)."""

    foreground: str = ""
    value_range: str = ""
    mask_orientation: str = "auto"
    in_channels: int = 3


DEFAULT_READING = Reading()


def pets(data_root: str, in_channels: int = 3) -> Source:
    """Oxford-IIIT Pet in torchvision's layout below `data_root`; with an empty `data_root` torchvision downloads it.

    Every 10th name of the official trainval list is validation (368), the others train (3,312); the official test list
    is test. Raises FileNotFoundError, naming what is missing, and ValueError for a list that names no picture.
    """
    folder = _pets_folder(data_root)
    split_of: dict[str, str] = {}
    for official in ("trainval", "test"):
        listed = [line.split()[0] for line in (folder / f"annotations/{official}.txt").read_text().splitlines() if line]
        if not listed:
            raise ValueError(f"{folder / f'annotations/{official}.txt'} names no picture; unpack the data set anew")
        split_of |= dict.fromkeys(listed, "test") if official == "test" else every_tenth(listed, {0: "val"})
    images = [folder / "images" / f"{name}.jpg" for name in split_of]
    trimaps = [folder / "annotations/trimaps" / f"{name}.png" for name in split_of]
    as_stored = Reading(mask_orientation="stored", in_channels=in_channels)

    def read(index: int) -> Pair:
        return replace(read_pair(images[index], trimaps[index], as_stored), remarks=())

    source = _files_source(split_of, images, trimaps, read)
    return replace(source, num_channels=in_channels)


def folder(
    data_root: str,
    split_file: str,
    mask_suffix: str,
    foreground: str,
    value_range: str,
    mask_orientation: str,
    in_channels: int,
) -> Source:
    """A user's own pairs: DIR/images and DIR/masks, matched by their names (trials/data/pairing.py).

    What is read, and what is refused: trials/data/picture_files.py, trials/data/mask_files.py. The split is that of
    `split_file`; without one, in the order of the names, every 10th pair is validation and the one after it test.
    Raises FileNotFoundError, naming what is missing; ValueError where no folder was named.
    """
    if not data_root:
        raise ValueError("data=folder needs data_root (--data-root): the folder that holds images/ and masks/")
    root = Path(data_root)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root.absolute()} (--data-root, the folder of images/ and masks/)")
    if absent := [f"{name}/" for name in ("images", "masks") if not (root / name).is_dir()]:
        raise FileNotFoundError(f"no {' and no '.join(absent)} in {root.absolute()}; data=folder reads pairs from both")
    images, masks = list_pictures(root / "images"), list_pictures(root / "masks")
    try:
        pairing = match(images.files, masks.files, mask_suffix, root)
    except FileNotFoundError as error:
        raise FileNotFoundError("; ".join([str(error), *_left_out(images, masks)])) from None
    names = [name for name, _, _ in pairing.pairs]
    if split_file:
        split = by_table(names, root / split_file)
        split_of, notes = split.split_of, split.notes
    else:
        split_of = every_tenth(names, {0: "val", 1: "test"})
        notes = tuple(note for note in [names_look_grouped(names)] if note)
    pairs = [(image, mask) for name, image, mask in pairing.pairs if name in split_of]
    image_paths, mask_paths = [image for image, _ in pairs], [mask for _, mask in pairs]
    settings = Reading(foreground, value_range, mask_orientation, in_channels)
    source = _files_source(split_of, image_paths, mask_paths, lambda index: read_pair(*pairs[index], settings))
    identity = f"{source.identity} {settings}"
    notes = (*_left_out(images, masks), *pairing.notes, *notes)
    return replace(source, identity=identity, notes=notes, num_channels=in_channels)


def drawn(in_channels: int = 3) -> Source:
    """The embedded, drawn set (trials/data/drawn.py): always the same pictures; it needs no files."""
    splits = [split for split in SPLITS for _ in range(NUM_DRAWN[split])]
    names = [f"drawn_{index:04d}" for index in range(len(splits))]
    code = hashlib.sha256()
    for module in ("drawn.py", "backdrops.py"):
        code.update(Path(__file__).with_name(module).read_bytes())
    identity = f"drawn {DRAWN_SIZE_PX} {NUM_DRAWN} {code.hexdigest()}"
    read = partial(_read_drawn, in_channels=in_channels)
    return Source(tuple(names), tuple(splits), read, identity, num_channels=in_channels)


DATASETS = {"drawn": drawn, "pets": pets, "folder": folder}


def read_pair(image_path: Path, mask_path: Path, reading: Reading = DEFAULT_READING) -> Pair:
    """Both files, upright, the mask at the image's size. Raises ValueError, naming them, where that cannot be."""
    picture = read_picture(image_path, reading.value_range, reading.in_channels)
    mask = read_mask(mask_path, reading.foreground)
    trimap_HW = laid_on(picture, mask, image_path, mask_path, reading.mask_orientation)
    remarks = [*picture.remarks, *mask.remarks]
    if trimap_HW.size != mask.trimap_HW.size:
        remarks.append("the mask is of another size than its image, and was resized to it")
    return Pair(picture.image_HWC, trimap_HW, (), mask.convention, tuple(remarks))


def folder_channels(data_root: str) -> int:
    """Channels of the images of data=folder, by the files' heads: 1 where all are grey, 3 where some are not, or n.

    Raises ValueError, naming two files, where some have n and others do not. 3 where there are none to be looked at.
    """
    try:
        files = list_pictures(Path(data_root) / "images").files.values()
    except FileNotFoundError:
        return 3  # what is missing is said where the pairs are matched
    found = {}
    for path in files:
        found.setdefault(channels_of(path), path)
    if len(found) > 1 and not set(found) <= {1, 3}:
        listed = ", ".join(f"{path} has {channels}" for channels, path in found.items())
        raise ValueError(f"images of different numbers of channels: {listed}; all must have as many")
    return max(found)


def _pets_folder(data_root: str) -> Path:
    name = "oxford-iiit-pet"
    if not data_root:
        from torchvision.datasets import OxfordIIITPet  # seconds to import, and needed only here

        root = Path.home() / ".cache/segstudy"
        root.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(root / "download.lock"):
                for split in ("trainval", "test"):
                    OxfordIIITPet(str(root), split=split, target_types="segmentation", download=True)
        except (URLError, OSError, RuntimeError) as error:
            raise FileNotFoundError(
                f"data=pets without data_root is downloaded to {root}, which failed ({error}); "
                f"where it is on disk, name the folder that holds {name}/ (--data-root)"
            ) from error
        return root / name
    for candidate in (Path(data_root) / name, Path(data_root)):
        if (candidate / "annotations/trainval.txt").is_file():
            return candidate
    raise FileNotFoundError(
        f"no {name}/annotations/trainval.txt below data_root {Path(data_root).absolute()}; "
        f"it names the folder that holds {name}/ (torchvision's root)"
    )


def _left_out(images: Listing, masks: Listing) -> list[str]:
    """A sentence for each reason for which files of images/ and of masks/ were left out."""
    listings = {"images": images, "masks": masks}
    return [f"{part}/: {note}" for part, listing in listings.items() for note in listing.notes()]


def _files_source(
    split_of: dict[str, str], images: list[Path], trimaps: list[Path], read: Callable[[int], Pair]
) -> Source:
    missing = [str(path) for path in (*images, *trimaps) if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{len(missing)} files of the data set are missing: {some(missing)}")
    digest = hashlib.sha256(repr(split_of).encode())
    for path in (*images, *trimaps):
        stat = path.stat()
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return Source(tuple(split_of), tuple(split_of.values()), read, digest.hexdigest())


def _read_drawn(index: int, in_channels: int) -> Pair:
    drawing = draw(index, seed=0, size_px=DRAWN_SIZE_PX)
    trimap_HW = np.where(drawing.mask_HW > 0, PET, BACKGROUND).astype(np.uint8)
    image_HWC = with_channels(drawing.image_HWC, in_channels, Path(f"drawn_{index:04d}"))
    return Pair(image_HWC, trimap_HW, drawing.hard_cases)
