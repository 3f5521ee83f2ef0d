"""Pictures and scores of a trained network: python -m trials.predict --checkpoint runs/first --images DIR --out DIR"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
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
from trials.data import prepare, resize, split_indices, to_batch
from trials.evaluation import evaluate, write_scores
from trials.metrics import overlap_per_image
from trials.models import build_model
from trials.sources import BACKGROUND, BORDER, DATASETS, PET, SPLITS, files_by_stem, read_pair, read_upright
from trials.state import pick_device

BORDER_GREY = 127  # in a picture of the mask, where the border is neither


@dataclass(frozen=True)
class Photograph:
    """uint8 image H,W,3 at its own resolution, and its trimap H,W, or None where there is no mask."""

    name: str
    image_HWC: np.ndarray
    trimap_HW: np.ndarray | None


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, or 2 for bad input."""
    options = _parser().parse_args(arguments)
    try:
        model, config, device = load_model(Path(options.checkpoint), options.data_root)
        photographs, count = _photographs(options, config)
        scores = _predict_all(model, config, device, photographs, count, Path(options.out))
    except (ValueError, OSError) as error:
        print(f"trials.predict: {error}", file=sys.stderr)
        return 2
    if scores:
        write_scores(Path(options.out) / "scores.csv", scores)
        dice, iou = np.mean([score[1:] for score in scores], axis=0)
        print(f"mean Dice {dice:.4f}, mean IoU {iou:.4f} over {len(scores)} images; {options.out}")
    else:
        print(f"{count} pictures, no masks to score; {options.out}")
    return 0


def load_model(place: Path, data_root: str | None = None) -> tuple[nn.Module, TrialConfig, torch.device]:
    """The best network of a checkpoint file or a run's folder, ready to predict, and its configuration."""
    path = checkpoint.find_best(place)
    content = checkpoint.load(path)
    changed = {"data_root": str(Path(data_root).absolute())} if data_root else {}
    config = checkpoint.config_of(content, device="auto", **changed)
    device = pick_device("auto")
    model = build_model(config)
    model.load_state_dict(content["model"])
    return model.to(device).eval(), config, device


def test_score(path: Path) -> dict[str, Any]:
    """The best network's Dice and IoU on its data set's test split, at the size it was trained at."""
    model, config, device = load_model(path)
    prepared = prepare(config)
    evaluation = evaluate(model, prepared, split_indices(prepared, "test"), config, device)
    if evaluation is None:
        raise ValueError(f"{path}: the network's output on the test split is not finite")
    return {
        "epoch": checkpoint.load(path)["epoch"],  # the weights are those of the best validation Dice
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
    parser.add_argument("--checkpoint", required=True, help="a checkpoint file, or a folder that holds one")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", help="a folder of pictures, of any size")
    source.add_argument("--split", choices=SPLITS, help="a split of the data set that the network was trained on")
    parser.add_argument("--masks", help="a folder of masks with the pictures' names: trimaps, or 0/255")
    parser.add_argument("--data-root", help="where the data set lies, if not where it was in training")
    parser.add_argument("--out", required=True, help="a folder for the pictures and scores.csv")
    return parser


def _photographs(options: argparse.Namespace, config: TrialConfig) -> tuple[Iterator[Photograph], int]:
    if options.split:
        if options.masks:
            raise ValueError("--masks goes with --images; a split of the data set has masks of its own")
        source = DATASETS[config.data](config.data_root)
        chosen = [index for index, split in enumerate(source.splits) if split == options.split]
        return (_from_source(source, index) for index in chosen), len(chosen)
    images = files_by_stem(Path(options.images))
    masks = files_by_stem(Path(options.masks)) if options.masks else {}
    if options.masks and (missing := sorted(set(images) - set(masks))):
        raise FileNotFoundError(f"{options.masks}: no mask for {len(missing)} pictures, {', '.join(missing[:8])}")
    return (_from_files(name, path, masks.get(name)) for name, path in images.items()), len(images)


def _from_source(source, index: int) -> Photograph:
    pair = source.read(index)
    return Photograph(source.names[index], pair.image_HWC, pair.trimap_HW)


def _from_files(name: str, image: Path, mask: Path | None) -> Photograph:
    if mask is None:
        return Photograph(name, read_upright(image), None)
    pair = read_pair(image, mask)
    return Photograph(name, pair.image_HWC, pair.trimap_HW)


def _predict_all(
    model: nn.Module,
    config: TrialConfig,
    device: torch.device,
    photographs: Iterator[Photograph],
    count: int,
    out: Path,
) -> list[tuple[str, float, float]]:
    """Writes a picture for each photograph; gives (name, dice, iou) of those that have a mask."""
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out.absolute()} is not empty; give --out a new folder")
    out.mkdir(parents=True, exist_ok=True)
    scores = []
    for photograph in tqdm(photographs, total=count, unit="image"):
        predicted_HW = predict(model, photograph.image_HWC, config, device)
        side_by_side(photograph, predicted_HW, config.border).save(out / f"{photograph.name}.png")
        if photograph.trimap_HW is not None:
            trimap = torch.from_numpy(photograph.trimap_HW)[None]
            truth = (trimap == PET) | ((trimap == BORDER) & (config.border == "pet"))
            valid = (trimap != BORDER) | (config.border != "ignore")
            overlap = overlap_per_image(torch.from_numpy(predicted_HW)[None], truth, valid)
            scores.append((photograph.name, overlap.dice.item(), overlap.iou.item()))
    return scores


def side_by_side(photograph: Photograph, predicted_HW: np.ndarray, border: str) -> Image.Image:
    """image | prediction | mask, in one picture; without the last where there is no mask."""
    panels = [photograph.image_HWC, _grey(predicted_HW * np.uint8(255))]
    if photograph.trimap_HW is not None:
        border_value = {"pet": 255, "background": 0, "ignore": BORDER_GREY}[border]
        values = np.array([0, 255, 0, border_value], dtype=np.uint8)
        panels.append(_grey(values[photograph.trimap_HW]))
    return Image.fromarray(np.concatenate(panels, axis=1))


def _grey(mask_HW: np.ndarray) -> np.ndarray:
    return np.repeat(mask_HW[..., None], 3, axis=2)


if __name__ == "__main__":
    sys.exit(main())
