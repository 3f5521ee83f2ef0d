"""What the best trial sees: a few validation images with its prediction and the mask. Reads safetensors, not torch."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from analysis.load.json_files import read_json

FILES = ("best_validation.safetensors", "best_validation.csv")  # of a trial
UNREADABLE = (
    SafetensorError,
    OSError,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
)  # what files of other content raise
IGNORED = 255  # in a mask: pixels that no score counts


class NoPicture(Exception):
    """The files for the picture are not there, or do not fit each other."""


@dataclass(frozen=True)
class Example:
    """One validation image as a trial sees it."""

    name: str
    reason: str  # why it is shown: best, median, worst, or the hard case it stands for
    dice: float
    image: np.ndarray  # uint8 [H, W, 3]
    mask: np.ndarray  # uint8 [H, W]: 0 background, 1 pet, 255 ignored
    predicted: np.ndarray  # bool [H, W]


def examples(study: Path, trial: Path) -> tuple[list[Example], str]:
    """The examples of a trial, and the epoch of the predictions. Raises NoPicture, which says what stands in the
    way."""
    kept = kept_in(trial)
    needed = [study / "validation.safetensors", study / "validation.json", *(kept / name for name in FILES)]
    missing = [path.name for path in needed if not path.is_file()]
    if missing:
        raise NoPicture(f"{', '.join(missing)} not there")
    labels, problem = read_json(study / "validation.json")
    if problem or not isinstance(labels, list):
        raise NoPicture(f"validation.json {problem or 'is not a list'}")
    try:
        scores = read_scores(kept / FILES[1])
        if scores["name"].to_list() != [label.get("name") for label in labels if isinstance(label, dict)]:
            raise NoPicture("best_validation.csv is of other images than validation.json")
        chosen = choose(scores, labels)
        return read_examples(study / "validation.safetensors", kept / FILES[0], chosen)
    except UNREADABLE as error:
        raise NoPicture(f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class Seen:
    """What one trial sees of some images, at the epoch whose weights it kept."""

    examples: list[Example]
    epoch: str  # as the file says
    mean_dice: float  # over the validation images that have a score; nan where none has


def paired_examples(study: Path, trials: list[Path]) -> list[Seen]:
    """The images that stand for the first trial, as each of the trials sees them. Raises NoPicture."""
    shown, epoch = examples(study, trials[0])
    found = [Seen(shown, epoch, float(read_scores(kept_in(trials[0]) / FILES[1])["dice"].mean()))]
    for trial in trials[1:]:
        kept = kept_in(trial)
        try:
            scores = read_scores(kept / FILES[1]).reset_index(names="index").set_index("name")
            chosen = scores.loc[[each.name for each in shown]].reset_index()
            chosen = chosen.assign(reason=[each.reason for each in shown])[["index", "name", "dice", "reason"]]
            own = read_examples(study / "validation.safetensors", kept / FILES[0], chosen)
            found.append(Seen(*own, float(scores["dice"].mean())))
        except UNREADABLE as error:
            raise NoPicture(f"{type(error).__name__}: {error}") from error
    return found


def kept_in(trial: Path) -> Path:
    """Where a trial's predictions lie: in Ray's newest checkpoint, else in the trial's folder itself."""
    checkpoints = sorted(path.parent for path in trial.glob(f"checkpoint_*/{FILES[0]}"))
    return checkpoints[-1] if checkpoints else trial


def predicted_share(trial: Path) -> float:
    """The share of all pixels of a trial's validation masks that it predicts as the object. Raises UNREADABLE."""
    with safe_open(kept_in(trial) / FILES[0], framework="numpy") as file:
        metadata, packed = file.metadata() or {}, file.get_tensor("masks_packed")
    num_pixels = int(metadata["height_px"]) * int(metadata["width_px"])
    return float(np.unpackbits(packed, axis=1, count=num_pixels).mean(dtype=np.float64))


def read_scores(path: Path) -> pd.DataFrame:
    """Columns name and dice (0 to 1, NaN where it has none), a row an image, in the order of validation.json.

    Raises one of UNREADABLE where the file is missing or holds something else.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{"name": row["name"], "dice": float(row["dice"])} for row in csv.DictReader(file)]
    return pd.DataFrame(rows, columns=["name", "dice"])


def choose(scores: pd.DataFrame, labels: list[dict]) -> pd.DataFrame:
    """Columns index, name, dice, reason: the images to show, best, median and worst, and the worst of each hard case.

    scores: rows of read_scores; labels: what validation.json holds. Raises NoPicture where no image has a score.
    """
    ordered = scores[np.isfinite(scores["dice"])].sort_values("dice", ascending=False, kind="stable").index.to_list()
    if not ordered:
        raise NoPicture("best_validation.csv holds no score")
    picked = {ordered[0]: "best"}
    picked.setdefault(ordered[len(ordered) // 2], "median")
    picked.setdefault(ordered[-1], "worst")
    cases = {index: label.get("hard_cases") or [] for index, label in enumerate(labels) if isinstance(label, dict)}
    for case in sorted({case for names in cases.values() for case in names if isinstance(case, str)}):
        having = [index for index in ordered if case in cases.get(index, []) and index not in picked]
        if having:
            picked[having[-1]] = case
    chosen = scores.loc[list(picked)].assign(index=list(picked), reason=list(picked.values()))
    return chosen[["index", "name", "dice", "reason"]].reset_index(drop=True)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """An image [H, W, C] as it is shown, [H, W, 3]: the first three channels, or of one or two the first, as grey."""
    return image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)


def read_examples(validation: Path, predictions: Path, chosen: pd.DataFrame) -> tuple[list[Example], str]:
    """The examples in the rows of chosen (columns as choose gives them), and the epoch of the predictions.

    Only the chosen rows are read: a validation set may be large. Raises NoPicture where predictions and masks differ in
    size, and UNREADABLE errors of files that hold something else.
    """
    with safe_open(validation, framework="numpy") as truth, safe_open(predictions, framework="numpy") as guess:
        metadata = guess.metadata() or {}
        height, width = int(metadata["height_px"]), int(metadata["width_px"])
        images, masks, packed = truth.get_slice("images"), truth.get_slice("masks"), guess.get_slice("masks_packed")
        if masks.get_shape()[1:] != [height, width]:
            raise NoPicture(f"predictions are {height} x {width} px, masks {masks.get_shape()[1:]}")
        if packed.get_shape()[1:] != [(height * width + 7) // 8]:
            raise NoPicture(f"predictions of {height} x {width} px do not fit {packed.get_shape()[1:]} bytes")
        found = []
        for row in chosen.itertuples():
            at = slice(row[1], row[1] + 1)
            bits = np.unpackbits(packed[at][0], count=height * width).reshape(height, width)
            found.append(
                Example(row.name, row.reason, row.dice, as_rgb(images[at][0]), masks[at][0], bits.astype(bool))
            )
    return found, metadata.get("epoch", "not recorded")
