"""The Lab 2 report's UNet: 19,544,833 parameters with deconv and 18,149,313 with bilinear at width 64."""

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


class UNet(nn.Module):
    """Images B,in_channels,H,W (normalised) -> B,1,H,W: probabilities or logits, as the activation says.

    H and W must be divisible by `size_multiple`.
    """

    size_multiple = 16

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
        self.stem = nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU())
        self.encoder = nn.ModuleList(Block(c_in, c_out) for c_in, c_out in pairwise(channels))
        self.attention = nn.ModuleList(attention(c_out) for c_out in channels[1:])
        self.middle = Middle(8 * width)
        self.decoder = Decoder(width, upsampler)
        self.head = SegmentationHead(width, activation)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.head(self.features(images_BCHW))

    def features(self, images_BCHW: Tensor) -> Tensor:
        """All but the head: B,in_channels,H,W -> B,width,H,W."""
        check_sides(images_BCHW, self.size_multiple)
        deepest_BCHW, skips = encode(self.encoder, self.attention, self.stem(images_BCHW))
        return self.decoder(self.middle(deepest_BCHW), skips)
