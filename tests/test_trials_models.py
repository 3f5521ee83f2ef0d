"""The networks are the report's."""

import pytest
import torch
from torch import nn

from trials.config import TrialConfig
from trials.models import ATTENTIONS, MODELS, UPSAMPLERS, check_size
from trials.parts import build_model


def build(**fields) -> nn.Module:
    return build_model(TrialConfig.from_dict({"width": 4, "image_size": 64, **fields}))


@pytest.mark.parametrize(
    ("model", "upsample", "expected"),
    [
        ("unet", "deconv", 19_544_833),
        ("unet", "bilinear", 18_149_313),
        ("resnet34_unet", "deconv", 38_611_713),
        ("resnet34_unet", "bilinear", 37_216_193),
    ],
)
def test_the_parameter_counts_are_the_reports(model, upsample, expected):
    with torch.device("meta"):
        network = build(model=model, upsample=upsample, width=64)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize("model", MODELS)
def test_the_output_is_a_probability_for_each_pixel(model):
    outputs = build(model=model)(torch.randn(2, 3, 64, 96))
    assert outputs.shape == (2, 1, 64, 96)
    assert outputs.min() >= 0
    assert outputs.max() <= 1


def test_the_logits_head_is_the_sigmoid_head_before_its_sigmoid():
    torch.manual_seed(0)
    sigmoid = build(head="sigmoid").eval()
    torch.manual_seed(0)
    logits = build(head="logits").eval()
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(torch.sigmoid(logits(images)), sigmoid(images))


@pytest.mark.parametrize("upsample", UPSAMPLERS)
def test_an_upsampler_doubles_the_sides_and_keeps_the_channels(upsample):
    assert UPSAMPLERS[upsample](6)(torch.randn(2, 6, 5, 7)).shape == (2, 6, 10, 14)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_attention_keeps_the_shape(attention):
    assert ATTENTIONS[attention](6)(torch.randn(2, 6, 5, 7)).shape == (2, 6, 5, 7)


def test_attention_only_ever_weakens():
    features = torch.rand(2, 6, 5, 7) + 0.1
    for name in ("channel", "spatial"):
        assert (ATTENTIONS[name](6)(features) < features).all()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_every_weight_gets_a_gradient(model, attention):
    network = build(model=model, attention=attention, upsample="bilinear_deconv")
    network(torch.randn(2, 3, 64, 64)).mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_batch_norm_stands_after_the_relu():
    block = build().encoder[0]
    assert [type(layer).__name__ for layer in block] == ["Conv2d", "ReLU", "BatchNorm2d"] * 2


def test_the_deeper_features_come_before_the_skip():
    network = build(upsample="nearest").eval()
    block = network.decoder.blocks[0]
    seen = {}
    block.register_forward_hook(lambda module, inputs, output: seen.update(joined=inputs[0]))
    network.middle.register_forward_hook(lambda module, inputs, output: seen.update(deep=output))
    network(torch.randn(1, 3, 64, 64))
    repeated = seen["deep"].repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(seen["joined"][:, : repeated.shape[1]], repeated)


@pytest.mark.parametrize(("model", "size", "nearest"), [("unet", 100, "96 or 112"), ("resnet34_unet", 80, "64 or 96")])
def test_a_size_the_network_cannot_take_is_answered_with_the_nearest(model, size, nearest):
    with pytest.raises(ValueError, match=f"image_size={size}: {model} takes multiples of .*the nearest: {nearest}"):
        check_size(model, size)


def test_images_of_a_side_the_network_cannot_take_are_refused():
    with pytest.raises(ValueError, match="images of 40 px; sides must be multiples of 16: the nearest: 32 or 48"):
        build()(torch.randn(1, 3, 64, 40))
