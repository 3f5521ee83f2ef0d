"""draw(examples, axes): images with prediction and mask. Draws what it is given and reads nothing."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from analysis.load.predictions import IGNORED, Example

PREDICTION, MASK, LEFT_OUT = "#f5e500", "#00d5ff", "#e4e4e4"


def draw_examples(examples: list[Example], axes: np.ndarray) -> None:
    """A row an example: the image, the prediction over it (the mask's outline dashed), the mask over it.

    axes: [examples, 3].
    """
    for place, example in enumerate(examples):
        image, prediction, mask = axes[place]
        image.imshow(example.image)
        image.set_ylabel(f"{shortened(example.reason)}\nDice {example.dice:.3f}")
        image.set_xlabel(shortened(example.name, most=28), fontsize="small")
        truth = example.mask == 1
        show_prediction(prediction, example, truth)
        mask.imshow(masked(example))
        outline(mask, truth, MASK, "solid")
        bare(axes[place])
    for each, title in zip(axes[0], ["image", "prediction", "mask"], strict=True):
        each.set_title(title)


def draw_side_by_side(found: list[list[Example]], axes: np.ndarray, *, titles: list[str]) -> None:
    """A row an image: the mask over it, then the prediction of each trial, with the mask's outline dashed.

    found: each trial's examples, of the same images in one order; axes: [images, 1 + trials]; titles: of the trials.
    """
    for place, row in enumerate(zip(*found, strict=True)):
        truth = row[0].mask == 1
        axes[place, 0].imshow(masked(row[0]))
        axes[place, 0].set_ylabel(shortened(row[0].reason))
        for each, panel in zip(row, axes[place, 1:], strict=True):
            show_prediction(panel, each, truth)
            panel.set_xlabel(f"Dice {each.dice:.3f}", fontsize="small")
        bare(axes[place])
    for panel, title in zip(axes[0], ["mask", *titles], strict=True):
        panel.set_title("\n".join(map(shortened, title.split("\n"))))


def show_prediction(axes: Axes, example: Example, truth: np.ndarray) -> None:
    """The prediction over its image, the outline of the mask (truth: bool [H, W]) dashed."""
    axes.imshow(tinted(example.image, example.predicted, PREDICTION))
    outline(axes, example.predicted, PREDICTION, "solid")
    outline(axes, truth, MASK, "dashed")


def masked(example: Example) -> np.ndarray:
    """The mask over its image, grey where no score counts: uint8 [H, W, 3]."""
    return tinted(tinted(example.image, example.mask == 1, MASK), example.mask == IGNORED, LEFT_OUT, 0.8)


def bare(row: np.ndarray) -> None:
    """Axes [n] with a picture and nothing around it."""
    for axes in row:
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(False)


def tinted(image: np.ndarray, where: np.ndarray, colour: str, strength: float = 0.4) -> np.ndarray:
    """The image, uint8 [H, W, 3], with a colour laid over the pixels of where, bool [H, W]; strength: from 0 to 1."""
    mixed = image * (1 - strength) + np.array(to_rgb(colour)) * 255 * strength
    return np.where(where[..., None], mixed, image).astype(np.uint8)


def outline(axes: Axes, region: np.ndarray, colour: str, style: str) -> None:
    """A line with a white rim around a region (bool [H, W]); none where it is empty or everything."""
    if region.any() and not region.all():  # a contour of a constant is none, and matplotlib warns
        axes.contour(region.astype(float), levels=[0.5], colors=["white"], linewidths=2.2)
        axes.contour(region.astype(float), levels=[0.5], colors=[colour], linewidths=1.2, linestyles=style)


def shortened(text: str, most: int = 22) -> str:
    return text if len(text) <= most else text[: most // 2 - 1] + "…" + text[-most // 2 :]
