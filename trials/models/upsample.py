"""Ways to double height and width; each maps B,C,H,W to B,C,2H,2W. A new one is a function and a line below."""

import torch.nn.functional as F
from torch import Tensor, nn


def deconv(channels: int) -> nn.Module:
    """The Lab 2 report's learned one: transposed conv2x2 with stride 2, BatchNorm, ReLU."""
    return nn.Sequential(nn.ConvTranspose2d(channels, channels, 2, stride=2), nn.BatchNorm2d(channels), nn.ReLU())


def bilinear(channels: int) -> nn.Module:
    """The Lab 2 report's interpolation: corners aligned, no weights."""
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)


def nearest(channels: int) -> nn.Module:
    """Each pixel repeated; no weights."""
    return nn.Upsample(scale_factor=2, mode="nearest")


def pixel_shuffle(channels: int) -> nn.Module:
    """Sub-pixel convolution (Shi et al. 2016, arXiv 1609.05158), then BatchNorm and ReLU as after the deconvolution."""
    return nn.Sequential(nn.Conv2d(channels, 4 * channels, 1), nn.PixelShuffle(2), nn.BatchNorm2d(channels), nn.ReLU())


class BilinearDeconv(nn.Module):
    """The Lab 2 report's open idea: the interpolation, and on top of it what a deconvolution learns to add.

    B,C,H,W -> B,C,2H,2W.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.learned = deconv(channels)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        smooth = F.interpolate(features_BCHW, scale_factor=2, mode="bilinear", align_corners=True)
        return smooth + self.learned(features_BCHW)


UPSAMPLERS = {
    "deconv": deconv,
    "bilinear": bilinear,
    "nearest": nearest,
    "pixel_shuffle": pixel_shuffle,
    "bilinear_deconv": BilinearDeconv,
}
