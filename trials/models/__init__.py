"""The networks. A new one is a class with `size_multiple` and a line in MODELS."""

from torch import nn

from trials.models.attention import ATTENTIONS
from trials.models.blocks import nearest
from trials.models.resnet34_unet import ResNet34UNet
from trials.models.unet import UNet
from trials.models.upsample import UPSAMPLERS

__all__ = ["ATTENTIONS", "HEADS", "MODELS", "UPSAMPLERS", "Network", "check_size"]

Network = UNet | ResNet34UNet  # has `features` and `head`, beside forward
MODELS = {"unet": UNet, "resnet34_unet": ResNet34UNet}
HEADS = {"sigmoid": nn.Sigmoid, "logits": nn.Identity}


def check_size(model: str, size_px: int) -> None:
    """Raises ValueError, naming the nearest sizes that the network takes, where `size_px` is not one."""
    multiple = MODELS[model].size_multiple if model in MODELS else 1  # a user's own is tried out instead
    if size_px % multiple:
        raise ValueError(
            f"image_size={size_px}: {model} takes multiples of {multiple}; {nearest(size_px, multiple)} (trials/models)"
        )
