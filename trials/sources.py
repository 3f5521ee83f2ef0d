"""The data sets as they lie on disk (or are drawn): names, splits, how a pair is read. A new one: a line below."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import numpy as np
from filelock import FileLock
from PIL import Image, ImageOps

from trials.drawn import draw

PET, BACKGROUND, BORDER = 1, 2, 3  # the values of a trimap (Parkhi et al. 2012)
SPLITS = ("train", "val", "test")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises for a broken file
DRAWN_SIZE_PX = 128
NUM_DRAWN = {"train": 1024, "val": 128, "test": 256}


@dataclass(frozen=True)
class Pair:
    """One picture: uint8 RGB image H,W,3, uint8 trimap H,W of 1, 2, 3, and the hard cases it is labelled with."""

    image_HWC: np.ndarray
    trimap_HW: np.ndarray
    hard_cases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A data set before it is prepared. `read(i)` gives the pair of `names[i]`, which belongs to `splits[i]`."""

    names: tuple[str, ...]
    splits: tuple[str, ...]
    read: Callable[[int], Pair]
    identity: str  # other pictures, other text: it is part of the cache's key


def pets(data_root: str) -> Source:
    """Oxford-IIIT Pet in torchvision's layout below `data_root`; with an empty `data_root` torchvision downloads it.

    Every 10th name of the official trainval list is validation (368), the others train (3,312); the official test
    list is test. Raises FileNotFoundError, naming what is missing.
    """
    folder = _pets_folder(data_root)
    names, splits = [], []
    for official in ("trainval", "test"):
        listed = [line.split()[0] for line in (folder / f"annotations/{official}.txt").read_text().splitlines() if line]
        if not listed:
            raise ValueError(f"{folder / f'annotations/{official}.txt'} names no picture; unpack the data set anew")
        names += listed
        splits += ["test"] * len(listed) if official == "test" else _every_tenth(len(listed), {0: "val"})
    images = [folder / "images" / f"{name}.jpg" for name in names]
    trimaps = [folder / "annotations/trimaps" / f"{name}.png" for name in names]
    return _files_source(names, splits, images, trimaps)


def folder(data_root: str) -> Source:
    """A user's own pairs: DIR/images and DIR/masks, matched by file name without its ending.

    A mask holds 0 and 255 (or 0 and 1: pet is the higher), or a trimap's 1, 2, 3. In the order of the names every
    10th pair is validation and the one after it test. Raises FileNotFoundError, naming what is missing; ValueError
    where no folder was named.
    """
    if not data_root:
        raise ValueError("data=folder needs data_root (--data-root): the folder that holds images/ and masks/")
    root = Path(data_root)
    if absent := [f"{name}/" for name in ("images", "masks") if not (root / name).is_dir()]:
        raise FileNotFoundError(f"no {' and no '.join(absent)} in {root.absolute()}; data=folder reads pairs from both")
    images, masks = files_by_stem(root / "images"), files_by_stem(root / "masks")
    if alone := sorted(set(images) ^ set(masks)):
        raise FileNotFoundError(
            f"{root}: {len(alone)} of images/ and masks/ have no partner of the same name: {_some(alone)}"
        )
    names = sorted(images)
    splits = _every_tenth(len(names), {0: "val", 1: "test"})
    return _files_source(names, splits, [images[n] for n in names], [masks[n] for n in names])


def drawn(data_root: str) -> Source:
    """The embedded, drawn set (trials/drawn.py): always the same pictures; it needs no files."""
    splits = [split for split in SPLITS for _ in range(NUM_DRAWN[split])]
    names = [f"drawn_{index:04d}" for index in range(len(splits))]
    code = hashlib.sha256()
    for module in ("drawn.py", "backdrops.py"):
        code.update(Path(__file__).with_name(module).read_bytes())
    return Source(tuple(names), tuple(splits), _read_drawn, f"drawn {DRAWN_SIZE_PX} {NUM_DRAWN} {code.hexdigest()}")


DATASETS = {"drawn": drawn, "pets": pets, "folder": folder}


def files_by_stem(directory: Path) -> dict[str, Path]:
    """The image files of a folder by name without ending; FileNotFoundError where there is none."""
    if not directory.is_dir():
        raise FileNotFoundError(f"no folder {directory.absolute()}")
    files = sorted(path for path in directory.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise FileNotFoundError(f"no image in {directory.absolute()}; read are {', '.join(IMAGE_SUFFIXES)}")
    stems = {path.stem: path for path in files}
    if len(stems) < len(files):
        twice = [path.name for path in files if stems[path.stem] != path]
        raise FileNotFoundError(f"{directory}: two files of one name but other endings: {_some(twice)}")
    return stems


def read_image(path: Path) -> np.ndarray:
    """uint8 RGB, H,W,3, as stored, for its mask was made so. ValueError names a file that cannot be read."""
    return _read_rgb(path, lambda image: image)


def read_upright(path: Path) -> np.ndarray:
    """uint8 RGB, H,W,3, turned as the camera noted that it was held (EXIF). ValueError as for `read_image`."""
    return _read_rgb(path, ImageOps.exif_transpose)


def _read_rgb(path: Path, turn: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(turn(image).convert("RGB"))
    except UNREADABLE as error:
        raise ValueError(f"{path}: not a readable image ({error})") from None


def read_trimap(path: Path) -> np.ndarray:
    """uint8 H,W of 1 pet, 2 background, 3 border, from a trimap or a mask of 0/255 or 0/1.

    Raises ValueError, naming the file and its values, for anything else.
    """
    try:
        with Image.open(path) as image:
            mask = np.asarray(image if image.mode in ("1", "L", "P", "I;16", "I") else image.convert("L"))
    except UNREADABLE as error:
        raise ValueError(f"{path}: not a readable mask ({error})") from None
    values = set(np.unique(mask).tolist())
    if values <= {PET, BACKGROUND, BORDER}:
        return mask.astype(np.uint8)
    if values <= {0, 1} or values <= {0, 255}:
        return np.where(mask > 0, PET, BACKGROUND).astype(np.uint8)
    raise ValueError(
        f"{path}: mask values {_some(sorted(values))}; a mask has 0 and 255 (or 0 and 1), a trimap 1, 2, 3"
    )


def read_pair(image_path: Path, mask_path: Path) -> Pair:
    """Both files. Raises ValueError, naming them, where one cannot be read or their sizes differ."""
    image, trimap = read_image(image_path), read_trimap(mask_path)
    if image.shape[:2] != trimap.shape:
        raise ValueError(f"{image_path} is {image.shape[:2]} px, its mask {mask_path} is {trimap.shape} px")
    return Pair(image, trimap)


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


def _files_source(names: list[str], splits: list[str], images: list[Path], trimaps: list[Path]) -> Source:
    missing = [str(path) for path in (*images, *trimaps) if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{len(missing)} files of the data set are missing: {_some(missing)}")

    digest = hashlib.sha256()
    for path in (*images, *trimaps):
        stat = path.stat()
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return Source(
        tuple(names), tuple(splits), lambda index: read_pair(images[index], trimaps[index]), digest.hexdigest()
    )


def _read_drawn(index: int) -> Pair:
    drawing = draw(index, seed=0, size_px=DRAWN_SIZE_PX)
    trimap_HW = np.where(drawing.mask_HW > 0, PET, BACKGROUND).astype(np.uint8)
    return Pair(drawing.image_HWC, trimap_HW, drawing.hard_cases)


def _every_tenth(count: int, special: dict[int, str]) -> list[str]:
    return [special.get(index % 10, "train") for index in range(count)]


def _some(values: list, most: int = 8) -> str:
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(map(str, values[:most])) + more
