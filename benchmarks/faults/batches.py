"""Faults of the data: what is wrong stands in the batch itself."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from benchmarks.faults.fault import Fault, Truth, make
from trials.data.loader import Batch
from trials.state import State

NAN, INF = float("nan"), float("inf")
UNET, RESNET = "unet", "resnet34_unet"


def bad_data() -> list[Fault]:
    """Pixels and targets that no picture and no mask has."""
    amp, bilinear, logits = dict(amp=True), dict(upsample="bilinear"), dict(head="logits")
    return [
        bad_image("nan_pixel", one_pixel(NAN), UNET, 4),
        bad_image("nan_pixel", one_pixel(NAN), RESNET, 6, **amp, **logits),
        bad_image("inf_pixel", one_pixel(-INF), UNET, 110),
        bad_image("inf_pixel", one_pixel(-INF), RESNET, 115, **amp),
        bad_image("nan_channel", one_channel(NAN), UNET, 107, **logits),
        bad_image("nan_channel", one_channel(NAN), RESNET, 9, **bilinear),
        bad_image("huge_pixels", one_pixel(1e6), UNET, 7, **amp),
        bad_image("huge_pixels", one_channel(-1e6), RESNET, 102, **amp),
        bad_target("nan_target", one_pixel(NAN), UNET, 101, **logits),
        bad_target("nan_target", one_pixel(NAN), RESNET, 8, **amp, **logits),
        bad_target("inf_target", one_pixel(INF), UNET, 9, **logits),
        bad_target("inf_target", one_pixel(-INF), RESNET, 110, **amp, **logits),
        nan_valid(UNET, 6, **amp, **bilinear),
        nan_valid(RESNET, 104),
    ]


def one_pixel(value: float) -> Callable[[Tensor], None]:
    """One place of the batch's second image, or mask."""

    def spoil(values_BCHW: Tensor) -> None:
        values_BCHW[1, :, 7, 11] = value

    return spoil


def one_channel(value: float) -> Callable[[Tensor], None]:
    """The last channel of the batch's first image."""

    def spoil(values_BCHW: Tensor) -> None:
        values_BCHW[0, -1] = value

    return spoil


def bad_image(kind: str, spoil: Callable[[Tensor], None], model: str, first_step: int, **config) -> Fault:
    """Images are normalised: what a sound one holds lies between -2.2 and 2.7."""

    def plant(state: State, batch: Batch) -> Batch:
        images = batch.images.clone()
        spoil(images)
        return replace(batch, images=images)

    return make(Truth(kind, "bad_data", "data"), first_step, plant, model=model, **config)


def bad_target(kind: str, spoil: Callable[[Tensor], None], model: str, first_step: int, **config) -> Fault:
    """A mask holds 0 and 1. With a sigmoid head torch's BCE raises on such a target; with logits it does not."""

    def plant(state: State, batch: Batch) -> Batch:
        targets = batch.targets.clone()
        spoil(targets)
        return replace(batch, targets=targets)

    return make(Truth(kind, "bad_data", "data"), first_step, plant, model=model, **config)


def nan_valid(model: str, first_step: int, **config) -> Fault:
    """Which pixels count is not said for one of them."""

    def plant(state: State, batch: Batch) -> Batch:
        valid = batch.valid.clone()
        one_pixel(NAN)(valid)
        return replace(batch, valid=valid)

    return make(Truth("nan_valid", "bad_data", "data"), first_step, plant, model=model, **config)
