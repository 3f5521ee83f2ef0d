"""CUDA's mixed precision on a CPU: which dtype each operation gives, and the rounding of convolutions."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from trials.numerics.precision import FLOAT32, HALF, PROMOTE, autocast

HALVES = [torch.float16, torch.bfloat16]
FLOAT32_EPS = torch.finfo(torch.float32).eps

# operations on a half tensor h and a float32 tensor f, both 2,4,8,8; what each gives: "half" or "float32"
OPERATIONS = {
    "conv2d": (lambda h, f: F.conv2d(f, f[:, :, :3, :3]), "half"),
    "conv2d with every kind of argument": (
        lambda h, f: F.conv2d(input=h, weight=f[:, :, :3, :3], bias=f[0, 0, 0, :2], padding="same"),
        "half",
    ),
    "conv_transpose2d": (
        lambda h, f: F.conv_transpose2d(h, f[0, :, None, :2, :2].expand(4, 2, 2, 2), stride=2),
        "half",
    ),
    "linear": (lambda h, f: F.linear(f, f[0, 0]), "half"),
    "matmul": (lambda h, f: torch.matmul(f, h), "half"),
    "operator @": (lambda h, f: f @ f, "half"),
    "einsum": (lambda h, f: torch.einsum("bchw,bcwk->bchk", f, f), "half"),
    "sum": (lambda h, f: torch.sum(h), "float32"),
    "method sum": (lambda h, f: h.sum(dim=(2, 3)), "float32"),
    "sum in a named dtype": (lambda h, f: h.sum(dim=1, dtype=h.dtype), "half"),
    "prod": (lambda h, f: h.prod(dim=1), "float32"),
    "cumsum": (lambda h, f: h.cumsum(1), "float32"),
    "exp": (lambda h, f: torch.exp(h), "float32"),
    "method log": (lambda h, f: h.log(), "float32"),
    "operator **": (lambda h, f: h**2, "float32"),
    "a number ** a tensor": (lambda h, f: 2**h, "float32"),
    "a number / a tensor": (lambda h, f: 1 / h, "float32"),
    "square": (lambda h, f: torch.square(h), "float32"),
    "norm": (lambda h, f: h.norm(), "float32"),
    "vector_norm": (lambda h, f: torch.linalg.vector_norm(h), "float32"),
    "normalize": (lambda h, f: F.normalize(h), "float32"),
    "softmax": (lambda h, f: F.softmax(h, dim=1), "float32"),
    "method log_softmax": (lambda h, f: h.log_softmax(1), "float32"),
    "softplus": (lambda h, f: F.softplus(h), "float32"),
    "layer_norm": (lambda h, f: F.layer_norm(h, (8,), f[0, 0, 0]), "float32"),
    "group_norm": (lambda h, f: F.group_norm(h, 2), "float32"),
    "mse_loss": (lambda h, f: F.mse_loss(h, h), "float32"),
    "cross_entropy": (lambda h, f: F.cross_entropy(h, f), "float32"),
    "binary_cross_entropy_with_logits": (lambda h, f: F.binary_cross_entropy_with_logits(h, h), "float32"),
    "interpolate bilinear": (
        lambda h, f: F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=True),
        "float32",
    ),
    "interpolate nearest": (lambda h, f: F.interpolate(h, scale_factor=2), "float32"),
    "interpolate area": (lambda h, f: F.interpolate(h, size=4, mode="area"), "half"),
    "addcmul of halves": (lambda h, f: torch.addcmul(h, h, h), "half"),
    "addcmul of both": (lambda h, f: torch.addcmul(h, f, h), "float32"),
    "atan2 of both": (lambda h, f: torch.atan2(h, f), "float32"),
    "cat of halves": (lambda h, f: torch.cat([h, h], dim=1), "half"),
    "cat of both": (lambda h, f: torch.cat([h, f], dim=1), "float32"),
    "stack of both": (lambda h, f: torch.stack([h, f]), "float32"),
    "add": (lambda h, f: h + h, "half"),
    "add of both": (lambda h, f: h + f, "float32"),
    "mul": (lambda h, f: h * h, "half"),
    "sigmoid": (lambda h, f: torch.sigmoid(h), "half"),
    "relu": (lambda h, f: F.relu(h), "half"),
    "relu of float32": (lambda h, f: F.relu(f), "float32"),
    "batch_norm": (lambda h, f: F.batch_norm(h, f[0, 0, 0, :4], f[0, 0, 0, :4], training=False), "half"),
    "max_pool2d": (lambda h, f: F.max_pool2d(h, 2), "half"),
    "adaptive_avg_pool2d": (lambda h, f: F.adaptive_avg_pool2d(h, 1), "half"),
    "mean": (lambda h, f: h.mean(dim=1), "half"),
    "amax": (lambda h, f: h.amax(dim=1), "half"),
    "pixel_shuffle": (lambda h, f: F.pixel_shuffle(h, 2), "half"),
    "pad": (lambda h, f: F.pad(h, (1, 1)), "half"),
    "dropout": (lambda h, f: F.dropout(h), "half"),
    "unflatten": (lambda h, f: h.unflatten(1, (2, 2)), "half"),
}


def half_and_float32(dtype: torch.dtype, device: str = "cpu") -> tuple[Tensor, Tensor]:
    values = torch.rand(2, 4, 8, 8, device=device)
    return values.to(dtype), values


def expected_dtype(result: str, half: torch.dtype) -> torch.dtype:
    return half if result == "half" else torch.float32


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_give_the_dtype_of_the_policy(operation, dtype):
    run, result = OPERATIONS[operation]
    with autocast("cpu", dtype):
        output = run(*half_and_float32(dtype))
    assert output.dtype == expected_dtype(result, dtype)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_policy_is_that_of_torch_for_cuda(operation):
    """CUDA's autocast works on fake CUDA tensors, which have a dtype and no values, on a machine without CUDA too."""
    run, result = OPERATIONS[operation]
    with FakeTensorMode():
        half, wide = half_and_float32(torch.float16, device="cuda")
        torch.set_autocast_enabled("cuda", True)
        try:
            output = run(half, wide)
        finally:
            torch.set_autocast_enabled("cuda", False)
            torch.clear_autocast_cache()
    assert output.dtype == expected_dtype(result, torch.float16)


@pytest.mark.gpu
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_cuda_device_gives_the_same_dtypes(operation):
    run, result = OPERATIONS[operation]
    with autocast("cuda", torch.float16):
        output = run(*half_and_float32(torch.float16, device="cuda"))
    assert output.dtype == expected_dtype(result, torch.float16)


def test_the_lists_are_those_of_the_installed_torch():
    registered = torch._C._dispatch_get_registrations_for_dispatch_key("AutocastCUDA")
    theirs = {re.sub(r"^aten::(\w+)\S*$", r"\1", name) for name in registered if name.startswith("aten::")}
    ours = HALF | FLOAT32 | PROMOTE | {"binary_cross_entropy"}
    backends = {name for name in theirs if "cudnn" in name or "fused" in name or "flash" in name}  # not called by hand
    in_all_versions = {"cat", "stack"}  # torch promotes them by itself
    assert theirs - backends - in_all_versions <= ours
    assert ours - theirs <= {"rms_norm", "linalg_matrix_sqrth"}  # not yet in torch 2.11


def test_binary_cross_entropy_is_refused_as_on_cuda():
    probabilities = torch.rand(4)
    with (
        autocast("cpu", torch.float16),
        pytest.raises(RuntimeError, match=r"unsafe to autocast(.|\n)*combine the two layers using .*_with_logits"),
    ):
        nn.BCELoss()(probabilities, probabilities)


def test_the_sum_of_65536_half_ones_is_65536():
    ones = torch.ones(256, 256, dtype=torch.float16)
    assert ones.sum().isinf()
    with autocast("cpu", torch.float16):
        assert ones.sum().item() == 65_536


def test_integers_and_float64_are_left_alone():
    integers, doubles = torch.ones(2, 2, dtype=torch.int64), torch.rand(1, 1, 4, 4, dtype=torch.float64)
    with autocast("cpu", torch.float16):
        assert (integers.sum().dtype, (integers @ integers).dtype) == (torch.int64, torch.int64)
        assert F.conv2d(doubles, doubles[..., :2, :2]).dtype == torch.float64
        assert doubles.exp().dtype == torch.float64


def test_nothing_is_changed_after_the_context_even_after_an_error():
    half, wide = half_and_float32(torch.float16)
    with pytest.raises(RuntimeError, match="unsafe"), autocast("cpu", torch.float16):
        F.binary_cross_entropy(wide, wide)
    assert (wide @ wide).dtype == torch.float32
    assert half.exp().dtype == torch.float16
    assert not torch.is_autocast_enabled("cpu")
    assert F.binary_cross_entropy(wide, wide).isfinite()


def test_the_innermost_context_counts():
    wide = torch.rand(4, 4)
    with autocast("cpu", torch.float16):
        with autocast("cpu", torch.bfloat16):
            assert (wide @ wide).dtype == torch.bfloat16
        with autocast("cpu", None):
            assert (wide @ wide).dtype == torch.float16
        assert (wide @ wide).dtype == torch.float16
    assert (wide @ wide).dtype == torch.float32


def test_no_dtype_is_float32():
    wide = torch.rand(4, 4)
    with autocast("cpu", None):
        assert torch.equal(wide @ wide, wide.matmul(wide))
        assert (wide @ wide).dtype == torch.float32


def test_an_unknown_dtype_is_named():
    with pytest.raises(ValueError, match=r"dtype=torch\.float64; known: torch\.float16"):
        autocast("cpu", torch.float64)


# --- rounding -----------------------------------------------------------------------------------------------------

CONVOLUTIONS = {
    "conv2d 3x3": (lambda x, w, b=None: F.conv2d(x, w, b, padding=1), (8, 16, 3, 3), 8),
    "conv2d 7x7 stride 2": (lambda x, w, b=None: F.conv2d(x, w, b, stride=2, padding=3), (8, 16, 7, 7), 8),
    "conv2d 1x1": (lambda x, w, b=None: F.conv2d(x, w, b), (8, 16, 1, 1), 8),
    "conv2d 2x2 same": (lambda x, w, b=None: F.conv2d(x, w, b, padding="same"), (8, 16, 2, 2), 8),
    "conv2d unbatched": (lambda x, w, b=None: F.conv2d(x[0], w, b, padding=1), (8, 16, 3, 3), 8),
    "conv_transpose2d 2x2": (lambda x, w, b=None: F.conv_transpose2d(x, w, b, stride=2), (16, 8, 2, 2), 8),
}

# torch then convolves a padded copy of the input, and says so: the copy is what is to be tested
EVEN_KERNEL = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def operands(convolution: str, dtype: torch.dtype, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Input and bias in half, weights in float32 as a network's are, though of half values."""
    _, weight_shape, num_outputs = CONVOLUTIONS[convolution]
    rng = torch.Generator().manual_seed(0)
    images = (scale * torch.randn(2, 16, 12, 12, generator=rng)).to(dtype)
    weight = torch.randn(weight_shape, generator=rng).to(dtype).float()
    bias = torch.randn(num_outputs, generator=rng).to(dtype)
    return images.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


def rounding_error(exact: Tensor, magnitude: Tensor, dtype: torch.dtype) -> Tensor:
    """Half a unit in the last place of `dtype`, and float32's share: a few units of the sum of absolute values."""
    _, exponent = torch.frexp(exact.abs().clamp(min=torch.finfo(dtype).tiny))
    return torch.finfo(dtype).eps * torch.ldexp(torch.ones_like(exact), exponent - 1) / 2 + 8 * FLOAT32_EPS * magnitude


def in_float64(convolution: str, images: Tensor, weight: Tensor, gradient: Tensor | None) -> list[Tensor]:
    """The exact output and, given the output's gradient, the exact gradients of input and weight."""
    run = CONVOLUTIONS[convolution][0]
    exact = [tensor.detach().double().requires_grad_() for tensor in (images, weight)]
    output = run(*exact)
    gradient = torch.zeros_like(output) if gradient is None else gradient.double()
    return [output.detach(), *torch.autograd.grad(output, exact, gradient)]


@EVEN_KERNEL
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_output_and_gradients_are_the_exact_ones_rounded_to_half(convolution, dtype):
    images, weight, _ = operands(convolution, dtype)
    with autocast("cpu", dtype):
        output = CONVOLUTIONS[convolution][0](images, weight)
    gradient = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    output.backward(gradient)
    exact = in_float64(convolution, images, weight, gradient)
    magnitudes = in_float64(convolution, images.abs(), weight.abs(), gradient.abs())
    for ours, reference, magnitude in zip((output, images.grad, weight.grad), exact, magnitudes, strict=True):
        assert torch.equal(ours, ours.to(dtype).to(ours.dtype))
        assert ((ours.double() - reference).abs() <= rounding_error(reference, magnitude, dtype)).all()


@EVEN_KERNEL
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_random_outputs_and_gradients_overflow_where_the_exact_ones_round_to_inf(convolution):
    images, weight, _ = operands(convolution, torch.float16, scale=5_000)
    with autocast("cpu", torch.float16):
        output = CONVOLUTIONS[convolution][0](images, weight)
    gradient = (1_000 * torch.randn(output.shape, generator=torch.Generator().manual_seed(1))).half()
    output.backward(gradient)
    exact = in_float64(convolution, images, weight, gradient)
    magnitudes = in_float64(convolution, images.abs(), weight.abs(), gradient.abs())
    num_inf = 0
    for ours, reference, magnitude in zip((output, images.grad, weight.grad), exact, magnitudes, strict=True):
        decided = (reference.abs() - 65_520).abs() > 8 * FLOAT32_EPS * magnitude  # float32 may sum to either side
        assert decided.float().mean() > 0.99
        assert torch.equal(ours.isinf()[decided], reference.abs()[decided] >= 65_520)
        num_inf += int(ours.isinf().sum())
    assert num_inf > 0


STEPS_PAST_THE_MAXIMUM = torch.arange(32.0)  # 65,504 + 15 rounds down to 65,504, 65,504 + 16 to inf
AT_THE_EDGE = torch.where(STEPS_PAST_THE_MAXIMUM < 16, 65_504.0, torch.inf)


def pair_summing_past_the_maximum() -> Tensor:
    """Two channels, 1,2,4,8, whose sum is 65,504 + 0, 1, ... 31, element by element."""
    return torch.stack([torch.full((32,), 65_504.0), STEPS_PAST_THE_MAXIMUM]).view(1, 2, 4, 8).half()


@pytest.mark.parametrize("sign", [1, -1])
def test_each_element_of_an_output_map_overflows_from_65520(sign):
    pair = sign * pair_summing_past_the_maximum()
    with autocast("cpu", torch.float16):
        output = F.conv2d(pair, torch.ones(1, 2, 1, 1))
        upsampled = F.conv_transpose2d(pair, torch.ones(2, 1, 2, 2), stride=2)
    assert torch.equal(output.flatten().float(), sign * AT_THE_EDGE)
    for row in (0, 1):
        for column in (0, 1):
            assert torch.equal(upsampled[..., row::2, column::2].flatten().float(), sign * AT_THE_EDGE)


def test_each_element_of_the_inputs_gradient_overflows_from_65520():
    images = torch.rand(1, 1, 4, 8).requires_grad_()
    with autocast("cpu", torch.float16):
        output = F.conv2d(images, torch.ones(2, 1, 1, 1))
    output.backward(pair_summing_past_the_maximum())
    assert torch.equal(images.grad.flatten(), AT_THE_EDGE)


def test_each_element_of_the_gradients_of_weight_and_bias_overflows_from_65520():
    weight, bias = torch.rand(32, 1, 1, 1).requires_grad_(), torch.rand(32).requires_grad_()
    with autocast("cpu", torch.float16):
        output = F.conv2d(torch.ones(1, 1, 1, 2), weight, bias)
    output.backward(pair_summing_past_the_maximum().view(1, 2, 32, 1).permute(0, 2, 3, 1))
    assert torch.equal(weight.grad.flatten(), AT_THE_EDGE)
    assert torch.equal(bias.grad, AT_THE_EDGE)


def test_the_bias_is_added_after_rounding():
    """2,048 + 1 rounds to 2,048, and again with a bias of 1; the sum of all three would be 2,050."""
    images, bias = torch.tensor([2_048.0, 1.0]).view(1, 2, 1, 1), torch.ones(1)
    with autocast("cpu", torch.float16):
        assert F.conv2d(images, torch.ones(1, 2, 1, 1), bias).item() == 2_048
        assert F.conv_transpose2d(images, torch.ones(2, 1, 1, 1), bias).item() == 2_048


def test_a_negative_bias_does_not_save_an_overflowed_output():
    images = torch.full((1, 1, 1, 1), 65_504.0)
    with autocast("cpu", torch.float16):
        assert F.conv2d(images, torch.full((1, 1, 1, 1), 2.0), torch.tensor([-60_000.0])).isinf().all()


def test_the_gradient_of_the_bias_is_summed_in_float32():
    bias = torch.zeros(1, requires_grad=True)
    with autocast("cpu", torch.float16):
        output = F.conv2d(torch.ones(4, 1, 64, 64), torch.ones(1, 1, 1, 1), bias)
    output.backward(torch.ones(4, 1, 64, 64).half())  # half would stop counting at 2,048
    assert bias.grad.item() == 16_384


def test_a_matrix_product_is_summed_in_float32_and_rounded_once():
    row = torch.cat([torch.tensor([2_048.0]), torch.ones(100)])
    with autocast("cpu", torch.float16):
        assert (row[None] @ torch.ones(101, 1)).item() == 2_148
        assert F.linear(row, torch.ones(1, 101)).item() == 2_148
        assert F.linear(torch.full((2,), 40_000.0), torch.ones(1, 2)).isinf().all()


def test_the_half_sigmoid_is_one_from_8_32_and_zero_below_minus_17_34():
    logits = torch.arange(-20, 20, 2**-10).half().unique()
    with autocast("cpu", torch.float16):
        probabilities = torch.sigmoid(logits)
    assert logits[probabilities == 1].min().item() == 8.3203125
    assert logits[probabilities == 0].max().item() == -17.34375


def test_batch_norm_has_float32_statistics_and_turns_inf_into_nan():
    norm = nn.BatchNorm2d(2)
    images = (100 + torch.randn(4, 2, 8, 8)).half()
    with autocast("cpu", torch.float16):
        norm(images)
        assert torch.allclose(norm.running_mean, 0.1 * images.double().mean((0, 2, 3)).float(), rtol=1e-6)
        images[0, 0, 0, 0] = torch.inf
        output = norm(images)
    assert output.dtype == torch.float16
    assert output[:, 0].isnan().all()
    assert output[:, 1].isfinite().all()
    assert not norm.running_var[0].isfinite()


def test_an_operand_changed_in_place_before_backward_is_an_error():
    images = torch.rand(1, 1, 4, 4).half()
    with autocast("cpu", torch.float16):
        output = F.conv2d(images, torch.ones(1, 1, 1, 1, requires_grad=True))
    images.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        output.sum().backward()


# --- a network ----------------------------------------------------------------------------------------------------


class TwoStages(nn.Module):
    """A UNet of one stage down and one up, with both kinds of upsampling and a sigmoid; B,3,H,W -> B,1,H,W."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(8))
        self.middle = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.deconv = nn.Sequential(nn.ConvTranspose2d(8, 8, 2, stride=2), nn.BatchNorm2d(8), nn.ReLU())
        self.bilinear = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.decode = nn.Sequential(nn.Conv2d(24, 8, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(8))
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        skip = self.encode(images_BCHW)
        deep = self.middle(F.max_pool2d(skip, 2))
        features = self.decode(torch.cat([self.deconv(deep), self.bilinear(deep), skip], dim=1))
        return torch.sigmoid(self.head(features + skip))


def gradients(dtype: torch.dtype | None, device: str = "cpu") -> dict[str, Tensor]:
    """The gradients of one step of PyTorch's recipe: loss and backward outside the context, with GradScaler."""
    torch.manual_seed(0)
    model = TwoStages().to(device)
    images, masks = torch.rand(4, 3, 16, 16), (torch.rand(4, 1, 16, 16) > 0.5).float()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler(device, init_scale=2.0**10, enabled=dtype is not None)
    before = model.head.weight.detach().clone()
    with autocast(device, dtype):
        probabilities = model(images.to(device))
    assert probabilities.dtype == (dtype or torch.float32)
    scaler.scale(F.binary_cross_entropy(probabilities.float(), masks.to(device))).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert not torch.equal(model.head.weight, before)
    return {name: parameter.grad.cpu() for name, parameter in model.named_parameters()}


def distance(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """Of all gradients taken as one vector, relative to the length of theirs."""
    assert all(gradient.dtype == torch.float32 for gradient in (*ours.values(), *theirs.values()))
    ours_flat, theirs_flat = (torch.cat([g.flatten() for g in grads.values()]) for grads in (ours, theirs))
    return float((ours_flat - theirs_flat).norm() / theirs_flat.norm())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.05), (torch.bfloat16, 0.25)], ids=str)
def test_a_network_trains_with_float32_gradients_close_to_those_of_float32(dtype, tolerance):
    assert distance(gradients(dtype), gradients(None)) < tolerance


@pytest.mark.gpu
def test_a_network_has_the_gradients_of_a_cuda_device():
    assert distance(gradients(torch.float16), gradients(torch.float16, device="cuda")) < 0.05
