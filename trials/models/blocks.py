"""The parts both networks are made of (Lab 2 report, "The two networks"). Every convolution has a bias."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AttentionFactory = Callable[[int], nn.Module]
UpsamplerFactory = Callable[[int], nn.Module]


def check_sides(images_BCHW: Tensor, multiple: int) -> None:
    """Raises ValueError, naming the nearest sizes, where a side is not a multiple that the network can halve."""
    for side_px in images_BCHW.shape[2:]:
        if side_px % multiple:
            raise ValueError(
                f"images of {side_px} px; sides must be multiples of {multiple}: {nearest(side_px, multiple)}"
            )


def nearest(size_px: int, multiple: int) -> str:
    """The multiples on either side of the size, in words; none of them 0."""
    below = size_px // multiple * multiple
    return f"the nearest: {below} or {below + multiple}" if below else f"the nearest: {multiple}"


class Block(nn.Sequential):
    """(conv3x3 -> ReLU -> BatchNorm) twice; the BatchNorm stands after the ReLU. BCHW -> B,out_channels,H,W."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(out_channels),
        )


class Middle(nn.Sequential):
    """conv3x3 8n -> 16n, ReLU, conv3x3 16n -> 8n, ReLU, without BatchNorm."""

    def __init__(self, channels: int):
        super().__init__(
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * channels, channels, 3, padding=1),
            nn.ReLU(),
        )


def encode(stages: nn.ModuleList, attentions: nn.ModuleList, features_BCHW: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Each stage and its attention, then a 2x2 maximum: B,C,H,W -> the deepest features; and the skips, shallow first.

    With four stages the deepest have H/16 and W/16.
    """
    skips = []
    for stage, attention in zip(stages, attentions, strict=True):
        skips.append(attention(stage(features_BCHW)))
        features_BCHW = F.max_pool2d(skips[-1], 2)
    return features_BCHW, skips


class Decoder(nn.Module):
    """Four stages: upsample the deeper features, concatenate them before the skip, then a Block.

    B,8n,h,w -> B,n,16h,16w. skips: the encoder's four outputs, shallow to deep, with n, 2n, 4n, 8n channels and 16, 8,
    4, 2 times h and w.
    """

    def __init__(self, width: int, upsampler: UpsamplerFactory):
        super().__init__()
        deep, out = (8 * width, 4 * width, 2 * width, width), (4 * width, 2 * width, width, width)
        self.upsamplers = nn.ModuleList(upsampler(channels) for channels in deep)
        self.blocks = nn.ModuleList(Block(2 * c_in, c_out) for c_in, c_out in zip(deep, out, strict=True))

    def forward(self, features_BCHW: Tensor, skips: list[Tensor]) -> Tensor:
        for upsampler, block, skip_BCHW in zip(self.upsamplers, self.blocks, reversed(skips), strict=True):
            features_BCHW = block(torch.cat([upsampler(features_BCHW), skip_BCHW], dim=1))
        return features_BCHW


class SegmentationHead(nn.Sequential):
    """conv1x1 n -> 1 and the head's activation: probabilities for "sigmoid", the bare logits for "logits"."""

    def __init__(self, channels: int, activation: nn.Module):
        super().__init__(nn.Conv2d(channels, 1, 1), activation)
