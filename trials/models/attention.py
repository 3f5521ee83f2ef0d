"""Attention on the encoder's outputs (Lab 2 report, "Ideas it leaves open"); BCHW -> BCHW.

A new one is a line below.
"""

import torch
from torch import Tensor, nn


def no_attention(channels: int) -> nn.Module:
    """Features unchanged, no weights."""
    return nn.Identity()


class ChannelAttention(nn.Module):
    """Squeeze-and-excitation: a weight between 0 and 1 for each channel (Hu et al. 2018, arXiv 1709.01507).

    Features B,C,H,W keep their shape.
    """

    def __init__(self, channels: int, reduction: int = 8):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, features_BCHW: Tensor) -> Tensor:
        return features_BCHW * self.weigh(features_BCHW)


class SpatialAttention(nn.Module):
    """A weight between 0 and 1 for each place, from the channels' mean and maximum (CBAM, Woo et al. 2018).

    Features B,C,H,W keep their shape.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.weigh = nn.Sequential(nn.Conv2d(2, 1, 7, padding=3), nn.Sigmoid())

    def forward(self, features_BCHW: Tensor) -> Tensor:
        summary_B2HW = torch.cat(
            [features_BCHW.mean(dim=1, keepdim=True), features_BCHW.amax(dim=1, keepdim=True)], dim=1
        )
        return features_BCHW * self.weigh(summary_B2HW)


ATTENTIONS = {"none": no_attention, "channel": ChannelAttention, "spatial": SpatialAttention}
