"""The Lab 2 report's ResNet34+UNet: 38,611,713 parameters with deconv and 37,216,193 with bilinear at width 64."""

from itertools import pairwise

from torch import Tensor, nn

from trials.models.blocks import (
    AttentionFactory,
    Block,
    Decoder,
    Middle,
    SegmentationHead,
    UpsamplerFactory,
    check_sides,
    encode,
)


class ResidualBlock(nn.Module):
    """conv1x1 without BatchNorm, then Block, its input added to its output; nothing follows the addition.

    B,in_channels,H,W -> B,out_channels,H,W.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.project = nn.Conv2d(in_channels, out_channels, 1)
        self.block = Block(out_channels, out_channels)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        residual_BCHW = self.project(features_BCHW)
        return self.block(residual_BCHW) + residual_BCHW


def stage(in_channels: int, out_channels: int, num_blocks: int) -> nn.Sequential:
    """One encoder stage; its first block changes the number of channels."""
    channels = (in_channels, *[out_channels] * num_blocks)
    return nn.Sequential(*(ResidualBlock(c_in, c_out) for c_in, c_out in pairwise(channels)))


class ResNet34UNet(nn.Module):
    """Images B,in_channels,H,W (normalised) -> B,1,H,W: probabilities or logits, as the activation says.

    H and W must be divisible by `size_multiple`.
    """

    size_multiple = 32

    def __init__(
        self,
        in_channels: int,
        width: int,
        upsampler: UpsamplerFactory,
        attention: AttentionFactory,
        activation: nn.Module,
    ):
        super().__init__()
        channels = (width, width, 2 * width, 4 * width, 8 * width)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 7, stride=2, padding=3), nn.ReLU(), nn.BatchNorm2d(width)
        )
        self.encoder = nn.ModuleList(
            stage(c_in, c_out, num_blocks)
            for c_in, c_out, num_blocks in zip(channels, channels[1:], (3, 4, 6, 3), strict=False)
        )
        self.attention = nn.ModuleList(attention(c_out) for c_out in channels[1:])
        self.middle = Middle(8 * width)
        self.decoder = Decoder(width, upsampler)
        self.last_step = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.head = SegmentationHead(width, activation)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.head(self.features(images_BCHW))

    def features(self, images_BCHW: Tensor) -> Tensor:
        """All but the head: B,in_channels,H,W -> B,width,H,W."""
        check_sides(images_BCHW, self.size_multiple)
        deepest_BCHW, skips = encode(self.encoder, self.attention, self.stem(images_BCHW))
        return self.last_step(self.decoder(self.middle(deepest_BCHW), skips))
