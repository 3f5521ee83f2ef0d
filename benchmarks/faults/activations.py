"""Faults of the forward pass: a head that half precision saturates, and layers that outgrow half's range."""

from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.faults.fault import Change, Fault, Plant, Truth, each_step, make, once, outputs_of, scale_module
from trials.data.loader import Batch
from trials.state import State

HALF_SATURATES = 8.32  # the logit from which half's sigmoid is exactly 1
LAST_NORM = {"unet": "decoder.blocks.3.5", "resnet34_unet": "last_step.2"}


def saturated_head() -> list[Fault]:
    """A sigmoid that is exactly 0 or 1 in half on a wrong pixel: NaN in the head's backward, whatever the scale.

    Every step with such a pixel is skipped; the run ends at the scale's floor, or frozen where epochs are short.
    """
    slow = dict(train_limit=512)  # 64 steps an epoch, so that the scale reaches its floor within one
    low = dict(loss_scale_init=64.0)  # it reaches the floor within two short ones, neither of them skipped as a whole
    frozen = dict(train_limit=64)  # 8 steps an epoch
    unet, resnet = "unet", "resnet34_unet"
    return [
        bias_shift(unet, 5, 15.0, **slow),
        bias_shift(unet, 120, -30.0, place="low", **low),
        bias_shift(resnet, 6, -30.0, place="low", **frozen),
        bias_shift(resnet, 105, 15.0, **slow),
        head_multiplied(unet, 7, 400.0, **frozen),
        head_multiplied(resnet, 4, 400.0, loss="bce_dice", **slow),
        head_multiplied(resnet, 110, 60.0, upsample="bilinear", **frozen),
        confidence_grows(unet, 8, 1.3, **slow),
        confidence_grows(resnet, 105, 1.15, **slow),
        last_norm_multiplied(unet, 125, 60.0, **low),
        last_norm_multiplied(resnet, 9, 300.0, **slow),
        flipped_pixels(unet, 140, upsample="bilinear", **slow),
        flipped_pixels(resnet, 110, **low),
        mislabelled_image(unet, 115, **slow),
        mislabelled_image(resnet, 120, upsample="bilinear", **frozen),
    ]


def bias_shift(model: str, first_step: int, shift: float, **config) -> Fault:
    """The head is sure that all is pet (or nothing is), and wrong about the rest."""

    def change(state: State) -> None:
        state.model.get_submodule("head.0").bias.add_(shift)

    return _saturated("head_bias_shift", model, first_step, once(first_step, change), **config)


def head_multiplied(model: str, first_step: int, factor: float, **config) -> Fault:
    """Confident both ways, and so on the pixels that it has wrong."""
    plant = once(first_step, scale_module("head.0", factor))
    return _saturated("head_multiplied", model, first_step, plant, **config)


def confidence_grows(model: str, first_step: int, factor: float, **config) -> Fault:
    """As a network grows confident over many epochs, only faster."""
    plant = each_step(scale_module("head.0", factor))
    return _saturated("head_confidence_grows", model, first_step, plant, **config)


def last_norm_multiplied(model: str, first_step: int, factor: float, **config) -> Fault:
    """The features before the head are large; the head is still where it breaks."""
    plant = once(first_step, scale_module(LAST_NORM[model], factor))
    return _saturated("last_norm_multiplied", model, first_step, plant, **config)


def flipped_pixels(model: str, first_step: int, **config) -> Fault:
    """Three pixels a batch labelled background where the network is sure of a pet, as noise in a trimap is."""

    def flip(batch: Batch, sure: torch.Tensor) -> None:
        batch.targets.view(-1)[sure.flatten().nonzero().flatten()[:3]] = 0.0

    return _mislabelled("confident_pixels_flipped", flip, model, first_step, **config)


def mislabelled_image(model: str, first_step: int, **config) -> Fault:
    """The mask of the image that the network is surest of is inverted."""

    def invert(batch: Batch, sure: torch.Tensor) -> None:
        index = int(sure.sum(dim=(1, 2, 3)).argmax())
        batch.targets[index] = 1 - batch.targets[index]

    return _mislabelled("confident_image_mislabelled", invert, model, first_step, **config)


def _mislabelled(
    kind: str, mislabel: Callable[[Batch, torch.Tensor], None], model: str, first_step: int, **config
) -> Fault:
    """A network made so confident that half saturates on its surest pixels, and labels that disagree there."""
    fields = dict(model=model, amp=True, **config)

    def plant(state: State, batch: Batch) -> Batch:
        if state.step == first_step:
            surest = torch.logit(outputs_of(state, batch, fields).float(), eps=1e-4).max()
            once(first_step, scale_module("head.0", float(2 * HALF_SATURATES / surest.clamp(min=0.1))))(state, batch)
        batch = replace(batch, targets=batch.targets.clone())
        mislabel(batch, outputs_of(state, batch, fields) == 1)
        return batch

    return _saturated(kind, model, first_step, plant, **config)


def _saturated(kind: str, model: str, first_step: int, plant: Plant, place: str = "", **config) -> Fault:
    truth = Truth(kind, "saturated_head", "backward", "head")
    return make(truth, first_step, plant, place, model=model, amp=True, **config)


def forward_overflow() -> list[Fault]:
    """A convolution that grows until its output passes 65,504; what follows it is indifferent to scale in float32."""
    unet, resnet, bilinear = "unet", "resnet34_unet", dict(upsample="bilinear")
    return [
        grows("conv_weights_grow", unet, "encoder.0.3", 4, 2.0),
        grows("conv_weights_grow", unet, "decoder.blocks.1.0", 106, 1.6, head="logits"),
        grows("conv_weights_grow", resnet, "encoder.1.2.block.0", 5, 1.5),
        grows("conv_weights_grow", resnet, "encoder.2.5.block.3", 9, 2.0, **bilinear),
        grows("conv_weights_grow", resnet, "last_step.1", 4, 1.6, head="logits"),
        grows("first_conv_grows", unet, "stem.0", 109, 1.7),
        grows("first_conv_grows", resnet, "stem.0", 125, 1.7),
        grows("middle_grows", unet, "middle.2", 130, 1.5),
        grows("middle_grows", unet, "middle.2", 7, 1.4, **bilinear),
        grows("middle_grows", resnet, "middle.0", 105, 1.8),
        grows("deconv_grows", unet, "decoder.upsamplers.0.0", 5, 1.5),
        grows("deconv_grows", resnet, "decoder.upsamplers.2.0", 10, 1.6),
        grows("projection_grows", resnet, "encoder.0.0.project", 6, 1.4),
        grows("projection_grows", resnet, "encoder.1.3.project", 110, 1.6),
        grows("head_grows", unet, "head.0", 10, 1.5, head="logits", loss="dice"),
        grows("head_grows", resnet, "head.0", 120, 1.7, head="logits", loss="dice"),
        channel_grows(unet, "encoder.1.0", 112, 1.5),
        channel_grows(unet, "decoder.blocks.0.3", 5, 1.8),
        bias_grows(unet, "encoder.3.3", 121, 1.5),
        bias_grows(resnet, "decoder.blocks.1.0", 118, 1.7),
    ]


def grows(kind: str, model: str, module: str, first_step: int, factor: float, **config) -> Fault:
    """A convolution's weights and bias grow by a factor a step."""
    return _overflow(kind, model, module, first_step, scale_module(module, factor), **config)


def channel_grows(model: str, module: str, first_step: int, factor: float, **config) -> Fault:
    """One output channel of a convolution grows: the one that is largest already, so that ReLU lets it through."""

    def change(state: State) -> None:
        conv = state.model.get_submodule(module)
        channel = int(conv.weight.sum(dim=(1, 2, 3)).argmax())
        conv.weight[channel] *= factor
        if conv.bias is not None:
            conv.bias[channel] *= factor

    return _overflow("conv_channel_grows", model, module, first_step, change, **config)


def bias_grows(model: str, module: str, first_step: int, factor: float, **config) -> Fault:
    """One channel's bias grows; the BatchNorm that follows takes it out again, so float32 does not mind."""

    def change(state: State) -> None:
        bias = state.model.get_submodule(module).bias
        bias[0] = bias[0].clamp(min=1.0) * factor

    return _overflow("conv_bias_grows", model, module, first_step, change, **config)


def _overflow(kind: str, model: str, module: str, first_step: int, change: Change, **config) -> Fault:
    truth = Truth(kind, "forward_overflow", "forward", module)
    return make(truth, first_step, each_step(change), module, model=model, amp=True, **config)
