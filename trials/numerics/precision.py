"""Mixed precision that means CUDA's, on a CPU too: `with autocast(device.type, dtype): outputs = model(images)`.

On a CPU the context does two things. It follows CUDA's lists of what runs in half, what in float32, what is promoted
and what is refused (CPU autocast has other lists), and it computes matrix products and convolutions as tensor cores
do: half operands, float32 arithmetic, result rounded to half; forward and backward, so that they overflow to inf where
a tensor core would, for 1.1 to 1.3 times float32's time (benchmarks/amp_cpu.py). "Half" is float16 or bfloat16.

Source of the lists: AT_FORALL_LOWER_PRECISION_FP, _FP32, _FP32_SET_OPT_DTYPE and _PROMOTE in ATen/autocast_mode.h of
torch 2.14 (2.11 has the same, without rms_norm); a test compares them with the installed torch. Interpolation is in
the float32 list. Everything unlisted (add, relu, sigmoid, batch_norm, max_pool2d, mean, cat, ...) runs in the dtype
it gets; the CPU's kernels for it compute in float32 and round, as CUDA's do.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

# fmt: off
HALF = frozenset(
    [
        "_convolution", "convolution", "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d",
        "conv_transpose2d", "conv_transpose3d", "prelu", "addmm", "addmv", "addr", "matmul", "einsum", "mm", "mv",
        "linalg_vecdot", "linear", "addbmm", "baddbmm", "bmm", "chain_matmul", "linalg_multi_dot", "lstm_cell",
        "gru_cell", "rnn_tanh_cell", "rnn_relu_cell", "scaled_dot_product_attention",
    ]
)
FLOAT32 = frozenset(
    [
        "acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p", "reciprocal", "rsqrt",
        "sinh", "tan", "pow", "softplus", "layer_norm", "native_layer_norm", "rms_norm", "group_norm",
        "frobenius_norm", "nuclear_norm", "cosine_similarity", "poisson_nll_loss", "cosine_embedding_loss",
        "nll_loss", "nll_loss2d", "hinge_embedding_loss", "kl_div", "l1_loss", "smooth_l1_loss", "huber_loss",
        "mse_loss", "margin_ranking_loss", "multilabel_margin_loss", "soft_margin_loss", "triplet_margin_loss",
        "multi_margin_loss", "binary_cross_entropy_with_logits", "dist", "pdist", "cdist", "renorm", "logsumexp",
        "upsample_nearest1d", "_upsample_nearest_exact1d", "upsample_nearest2d", "_upsample_nearest_exact2d",
        "upsample_nearest3d", "_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d",
        "_upsample_bilinear2d_aa", "upsample_trilinear3d", "upsample_bicubic2d", "_upsample_bicubic2d_aa", "prod",
        "softmax", "log_softmax", "cumprod", "cumsum", "linalg_vector_norm", "linalg_matrix_norm",
        "linalg_matrix_sqrth", "sum", "norm",
    ]
)
PROMOTE = frozenset(
    [
        "addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "grid_sampler", "index_put", "tensordot",
        "scatter_add",
    ]
)
# fmt: on
REFUSAL = (  # CUDA's own words
    "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.\n"
    "Many models use a sigmoid layer right before the binary cross entropy layer.\n"
    "In this case, combine the two layers using torch.nn.functional.binary_cross_entropy_with_logits\n"
    "or torch.nn.BCEWithLogitsLoss.  binary_cross_entropy_with_logits and BCEWithLogits are\n"
    "safe to autocast."
)
# torch's C++ functions that are not in the lists but made of one that is, and so end in its dtype
MADE_OF = {
    "__matmul__": "matmul",
    "__rmatmul__": "matmul",
    "linalg_matmul": "matmul",
    "square": "pow",
    "sum_to_size": "sum",
    "trapz": "sum",
    "trapezoid": "sum",
    "cumulative_trapezoid": "sum",
    "pairwise_distance": "norm",
    "linalg_norm": "norm",
    "cross_entropy_loss": "log_softmax",
    "nll_loss_nd": "nll_loss",
}
CONVOLUTIONS = frozenset(name for name in HALF if name.startswith("conv") and name[-1] == "d")
HOOKS = frozenset({"has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"})


def autocast(device_type: str, dtype: torch.dtype | None) -> AbstractContextManager:
    """Mixed precision as on CUDA: torch.autocast on a CUDA device, the emulation on a CPU; None = float32, no change.

    dtype: torch.float16 or torch.bfloat16; ValueError for another. For the forward pass; call backward() after the
    context. Contexts nest, the innermost counts; None inside another leaves that one in force.
    Unlike torch.autocast, a weight used twice is cast twice, so its two gradients are added in float32.
    """
    if dtype is None:
        return nullcontext()
    if dtype not in (torch.float16, torch.bfloat16):
        raise ValueError(f"dtype={dtype}; known: torch.float16, torch.bfloat16, None (trials/numerics/precision.py)")
    return CudaPolicy(dtype) if device_type == "cpu" else torch.autocast(device_type, dtype=dtype)


@contextmanager
def no_autocast(device_type: str) -> Iterator[None]:
    """Switches off whatever autocast is in force, this module's or torch's; device_type: of the tensors within."""
    with ExitStack() as stack:
        if any(isinstance(mode, CudaPolicy) for mode in _get_current_function_mode_stack()):
            stack.enter_context(torch._C.DisableTorchFunction())
        if torch.amp.is_autocast_available(device_type):
            stack.enter_context(torch.autocast(device_type, enabled=False))
        yield


def autocast_in_force(device_type: str) -> tuple[torch.dtype, bool] | None:
    """The dtype of the autocast that is in force here, and whether it follows CUDA's lists; None where none is."""
    for mode in reversed(_get_current_function_mode_stack()):
        if isinstance(mode, CudaPolicy):
            return mode.dtype, True
    if torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type):
        return torch.get_autocast_dtype(device_type), device_type == "cuda"
    return None


class CudaPolicy(TorchFunctionMode):
    """CUDA's autocast for tensors on a CPU; sees each call of a torch function in this thread while it is entered."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype
        self._entered: set[Callable] = set()  # torch's Python functions that are being run

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        rule = RULES.get(name)
        if rule is None and func not in self._entered and _asks_for_modes(func):
            return self._follow(func, args, kwargs)
        with torch._C.DisableTorchFunction():  # an outer context has no say
            if rule is None or kwargs.get("out") is not None:  # CUDA's lists hold no out= variant
                return func(*args, **kwargs)
            return rule(func, self.dtype, *args, **kwargs)

    def _follow(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """Runs a Python function of torch so that the calls in it meet the policy."""
        self._entered.add(func)
        try:
            with self:
                return _without_asking(func)(*args, **kwargs)
        finally:
            self._entered.discard(func)


def _refuse(func: Callable, half: torch.dtype, /, *args: Any, **kwargs: Any) -> None:
    raise RuntimeError(REFUSAL)


def _in_float32(func: Callable, half: torch.dtype, /, *args: Any, **kwargs: Any) -> Any:
    """The call on float32 operands; as it is if it names the dtype it wants."""
    if any(isinstance(value, torch.dtype) for value in (*args, *kwargs.values())):
        return func(*args, **kwargs)
    return func(*_cast(args, torch.float32), **_cast(kwargs, torch.float32))


def _in_widest(func: Callable, half: torch.dtype, /, *args: Any, **kwargs: Any) -> Any:
    """The call on float32 operands if one of them is float32, on half operands otherwise."""
    widest = torch.float32 if any(t.dtype == torch.float32 for t in _castable((args, kwargs))) else half
    return func(*_cast(args, widest), **_cast(kwargs, widest))


def _product(func: Callable, half: torch.dtype, /, *args: Any, **kwargs: Any) -> Any:
    """The call on operands rounded to half, in float32, rounded to half.

    Autograd records the casts: each gradient too is computed in float32 from half operands and rounded to half.
    """
    wide_args, wide_kwargs = _cast(_cast((args, kwargs), half), torch.float32)
    return _cast(func(*wide_args, **wide_kwargs), half)


def _convolution(
    func: Callable, half: torch.dtype, /, input: Tensor, weight: Tensor, bias: Tensor | None = None, *geometry, **named
) -> Tensor:
    """As `_product`, with the bias added in half afterwards (cuDNN does), and operands kept in half for backward."""
    if input.dtype == torch.float64:  # autocast leaves it alone
        return func(input, weight, bias, *geometry, **named)
    input, weight = input.to(half), weight.to(half)
    wide_input, wide_weight = input.float(), weight.float()

    def keep(saved: Tensor) -> tuple[Tensor, int]:
        for narrow, wide in ((input, wide_input), (weight, wide_weight)):
            if saved.data_ptr() == wide.data_ptr():
                saved = narrow.detach().reshape(saved.shape)
        return saved, saved._version

    with saved_tensors_hooks(keep, _restore):
        wide_output = func(wide_input, wide_weight, None, *geometry, **named)
    output = wide_output.to(half)
    return output if bias is None else output.add_(bias.to(half).view(-1, *[1] * (weight.dim() - 2)))


def _restore(kept: tuple[Tensor, int]) -> Tensor:
    """The float32 operand again, for backward."""
    saved, version = kept
    if saved._version != version:
        raise RuntimeError("an operand of a half-precision convolution was changed in place before its backward")
    return saved.float()


RULES = {
    **dict.fromkeys(HALF, _product),
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(FLOAT32, _in_float32),
    **dict.fromkeys(PROMOTE, _in_widest),
    "binary_cross_entropy": _refuse,
}
RULES |= {name: RULES[listed] for name, listed in MADE_OF.items()}


def _castable(value: Any) -> Iterator[Tensor]:
    """The tensors, however deep in tuples, lists and dictionaries, that autocast casts: CPU, floating, not float64."""
    if isinstance(value, Tensor):
        if value.is_floating_point() and value.dtype != torch.float64 and value.device.type == "cpu":
            yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _castable(item)
    elif isinstance(value, dict):
        yield from _castable(list(value.values()))


def _map(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The value with each castable tensor changed."""
    if isinstance(value, Tensor):
        return change(value) if any(True for _ in _castable(value)) else value
    if type(value) in (tuple, list):
        return type(value)(_map(change, item) for item in value)
    if isinstance(value, dict):
        return {key: _map(change, item) for key, item in value.items()}
    return value


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """The value with each castable tensor in `dtype`."""
    return _map(lambda tensor: tensor.to(dtype), value)


@cache
def _asks_for_modes(func: Callable) -> bool:
    """Whether this is a Python function of torch that hands its call to a mode before it does anything."""
    return isinstance(func, FunctionType) and not HOOKS.isdisjoint(func.__code__.co_names)


@cache
def _without_asking(func: FunctionType) -> FunctionType:
    """The same function, told that there is no mode: torch runs no mode within a mode's own handler otherwise."""
    told_no = dict.fromkeys(HOOKS, lambda *_: False)
    twin = FunctionType(func.__code__, func.__globals__ | told_no, func.__name__, func.__defaults__, func.__closure__)
    twin.__kwdefaults__ = func.__kwdefaults__
    return twin
