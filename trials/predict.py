"""Masks and pictures of a trained network: python -m trials.predict --checkpoint runs/first --images DIR --out DIR

For each photograph NAME: OUT/NAME.png (image | prediction | mask) and OUT/masks/NAME.png (0 and 255), both at the
photograph's own resolution, upright. Exit code 0; 1 where some photographs could not be read, 2 where nothing was done.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from trials import checkpoint
from trials.config import TrialConfig
from trials.data.listing import list_pictures
from trials.data.loader import evaluation_batches, split_indices, to_batch
from trials.data.pairing import match
from trials.data.picture import as_rgb
from trials.data.picture_files import read_picture
from trials.data.prepared import resize
from trials.data.sources import BACKGROUND, BORDER, PET, SPLITS, Reading, read_pair
from trials.evaluation import evaluate, write_scores
from trials.metrics import overlap_per_image
from trials.outcome import INTERRUPTED
from trials.own import add_trust_option, check_trusted, named_errors
from trials.parts import build_loss, build_model, data_source, prepared_data
from trials.state import pick_device
from trials.wording import count

BORDER_GREY = 127  # in a picture of the mask, where the border is neither


@dataclass(frozen=True)
class Photograph:
    """uint8 image H,W,C at its own resolution, and its trimap H,W, or None where there is no mask."""

    name: str
    image_HWC: np.ndarray
    trimap_HW: np.ndarray | None


@dataclass(frozen=True)
class Predicted:
    """(name, dice, iou) of the photographs that have a mask; the number written; what could not be read, and why."""

    scores: list[tuple[str, float, float]]
    num_written: int
    problems: list[str]


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, 1 where some pictures could not be read, 2 for bad input, 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    out = Path(options.out)
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise FileExistsError(f"{out.absolute()} is not empty; give --out a new folder")
        model, config, device = load_model(Path(options.checkpoint), options.data_root, trust_code=options.trust_code)
        photographs = _photographs(options, config)
        with named_errors():
            predicted = _predict_all(model, config, device, photographs, out)
    except (ValueError, OSError) as error:
        print(f"trials.predict: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\ninterrupted; what is in {out} is whole", file=sys.stderr)
        return INTERRUPTED
    for problem in predicted.problems:
        print(f"trials.predict: left out: {problem}", file=sys.stderr)
    if predicted.scores:
        write_scores(out / "scores.csv", predicted.scores)
        dice, iou = np.mean([score[1:] for score in predicted.scores], axis=0)
        print(f"mean Dice {dice:.4f}, mean IoU {iou:.4f} over {count(len(predicted.scores), 'image')}; {out}")
    elif predicted.num_written:
        print(f"{count(predicted.num_written, 'picture')}, no masks to score; {out}")
    if predicted.problems:
        print(f"{len(predicted.problems)} of {count(len(photographs), 'picture')} could not be read", file=sys.stderr)
        return 1 if predicted.num_written else 2
    return 0


def load_model(
    place: Path, data_root: str | None = None, *, trust_code: bool = False
) -> tuple[nn.Module, TrialConfig, torch.device]:
    """The best network of a checkpoint file or a run's folder, ready to predict, and its configuration.

    trust_code: code of its own that the run brings is run; else it is refused with an OwnError.
    """
    path = checkpoint.find_best(place)
    content = checkpoint.load(path)
    changed = {"data_root": str(Path(data_root).absolute())} if data_root else {}
    config = checkpoint.config_of(content, device="auto", **changed)
    check_trusted(config.used_code(), trust_code, path)
    device = pick_device("auto")
    model = build_model(config)
    model.load_state_dict(content["model"])
    return model.to(device).eval(), config, device


def test_score(path: Path) -> dict[str, Any]:
    """The best network's Dice and IoU on its data set's test split, at the size it was trained at.

    Code of its own is run: this is for a study that has just trained it. Raises ValueError where outputs are not
    finite.
    """
    model, config, device = load_model(path, trust_code=True)
    prepared = prepared_data(config)
    batches = evaluation_batches(prepared, split_indices(prepared, "test"), config.batch_size, config.border, device)
    evaluation = evaluate(model, batches, build_loss(config))
    if evaluation is None:
        raise ValueError(f"{path}: the network's output on the test split is not finite")
    return {
        "epoch": checkpoint.load(path)["epoch"],  # the best of the run, by its configuration's metric
        "test_dice": float(evaluation.dice.mean()),
        "test_iou": float(evaluation.iou.mean()),
        "num_images": len(evaluation.dice),
        "image_size_px": config.image_size,
        "source_size_px": list(prepared.source_size_px),
    }


@torch.inference_mode()
def predict(model: nn.Module, image_HWC: np.ndarray, config: TrialConfig, device: torch.device) -> np.ndarray:
    """The mask, bool H,W at the picture's own resolution: probabilities are resized (bilinear), then thresholded."""
    small = torch.from_numpy(resize(image_HWC, config.image_size))[None]
    batch = to_batch(small, torch.full(small.shape[:3], BACKGROUND, dtype=torch.uint8), config.border, device)
    outputs = model(batch.images).float()
    probabilities = outputs if config.head == "sigmoid" else torch.sigmoid(outputs)
    height, width = image_HWC.shape[:2]
    return cv2.resize(probabilities[0, 0].cpu().numpy(), (width, height), interpolation=cv2.INTER_LINEAR) > 0.5


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trials.predict", description="Segments pictures.")
    parser.add_argument("--version", action="version", version=f"segstudy {version('segstudy')}")
    parser.add_argument("--checkpoint", required=True, help="a checkpoint file, or a folder that holds one")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", help="a folder of pictures, of any size, or one picture")
    source.add_argument("--split", choices=SPLITS, help="a split of the data set that the network was trained on")
    parser.add_argument(
        "--masks", help="a folder of masks with the pictures' names, or the one picture's mask: trimaps, or 0/255"
    )
    parser.add_argument("--data-root", help="where the data set lies, if not where it was in training")
    parser.add_argument("--out", required=True, help="a new folder for the pictures, masks/ and scores.csv")
    add_trust_option(parser)
    return parser


def _photographs(options: argparse.Namespace, config: TrialConfig) -> dict[str, Callable[[], Photograph]]:
    """How to read each photograph, by its name; what is left out of a folder is said on stderr."""
    if options.split:
        if options.masks:
            raise ValueError("--masks goes with --images; a split of the data set has masks of its own")
        source = data_source(config)
        chosen = [index for index, split in enumerate(source.splits) if split == options.split]
        return {source.names[index]: partial(_from_source, source, index) for index in chosen}
    images = _files(Path(options.images), full_names=not options.masks)
    masks = _masks_of(images, Path(options.masks), config.mask_suffix) if options.masks else {}
    reading = Reading(config.foreground, config.value_range, config.mask_orientation, config.in_channels)
    return {name: partial(_from_files, name, path, masks.get(name), reading) for name, path in images.items()}


def _files(place: Path, *, full_names: bool) -> dict[str, Path]:
    """The pictures of a folder by name, or the one that is named itself."""
    if place.is_file():
        return {place.stem: place}
    listing = list_pictures(place, full_names=full_names)
    for note in listing.notes():
        print(f"{place}: {note}", file=sys.stderr)
    return listing.files


def _masks_of(images: dict[str, Path], place: Path, mask_suffix: str) -> dict[str, Path]:
    """Each image's mask; FileNotFoundError names images without one."""
    masks = _files(place, full_names=False)
    if place.is_file() and len(images) == 1:
        return dict.fromkeys(images, place)
    if set(images) <= set(masks):
        return masks
    pairing = match(images, masks, mask_suffix, place)
    for note in pairing.notes:
        print(f"{place}: {note}", file=sys.stderr)
    return {name: mask for name, _, mask in pairing.pairs}


def _from_source(source, index: int) -> Photograph:
    pair = source.read(index)
    return Photograph(source.names[index], pair.image_HWC, pair.trimap_HW)


def _from_files(name: str, image: Path, mask: Path | None, reading: Reading) -> Photograph:
    if mask is None:
        return Photograph(name, read_picture(image, reading.value_range, reading.in_channels).image_HWC, None)
    pair = read_pair(image, mask, reading)
    return Photograph(name, pair.image_HWC, pair.trimap_HW)


def _predict_all(
    model: nn.Module,
    config: TrialConfig,
    device: torch.device,
    photographs: dict[str, Callable[[], Photograph]],
    out: Path,
) -> Predicted:
    """Writes picture and mask of each photograph that can be read."""
    scores, problems = [], []
    for name, read in tqdm(photographs.items(), unit="image"):
        try:
            photograph = read()
        except ValueError as error:
            problems.append(str(error))
            continue
        predicted_HW = predict(model, photograph.image_HWC, config, device)
        (out / "masks").mkdir(parents=True, exist_ok=True)
        side_by_side(photograph, predicted_HW, config.border).save(out / f"{name}.png")
        Image.fromarray(predicted_HW * np.uint8(255)).save(out / f"masks/{name}.png")
        if photograph.trimap_HW is not None:
            scores.append((name, *_score(photograph.trimap_HW, predicted_HW, config.border)))
    return Predicted(scores, len(photographs) - len(problems), problems)


def _score(trimap_HW: np.ndarray, predicted_HW: np.ndarray, border: str) -> tuple[float, float]:
    """Dice and IoU at the photograph's own resolution."""
    trimap = torch.from_numpy(trimap_HW)[None]
    truth = (trimap == PET) | ((trimap == BORDER) & (border == "pet"))
    valid = (trimap != BORDER) | (border != "ignore")
    overlap = overlap_per_image(torch.from_numpy(predicted_HW)[None], truth, valid)
    return overlap.dice.item(), overlap.iou.item()


def side_by_side(photograph: Photograph, predicted_HW: np.ndarray, border: str) -> Image.Image:
    """image | prediction | mask, in one picture; without the last where there is no mask."""
    panels = [as_rgb(photograph.image_HWC), _grey(predicted_HW * np.uint8(255))]
    if photograph.trimap_HW is not None:
        border_value = {"pet": 255, "background": 0, "ignore": BORDER_GREY}[border]
        values = np.array([0, 255, 0, border_value], dtype=np.uint8)
        panels.append(_grey(values[photograph.trimap_HW]))
    return Image.fromarray(np.concatenate(panels, axis=1))


def _grey(mask_HW: np.ndarray) -> np.ndarray:
    return np.repeat(mask_HW[..., None], 3, axis=2)


if __name__ == "__main__":
    sys.exit(main())
