"""What the instrument must know of a training run, and nothing more: how to build it afresh, and a batch's loss."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from trials.numerics import precision

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass
class Training:
    """What a training step changes. scaler: None where there is none, or where it is switched off."""

    model: nn.Module
    optimizers: tuple[Optimizer, ...]
    scaler: GradScaler | None = None


@dataclass(frozen=True)
class StepSettings:
    """Under what a step is taken; the defaults are plain float32."""

    dtype: torch.dtype | None = None  # of autocast: float16 or bfloat16; None: no autocast
    cuda_rules: bool = True  # on a CPU follow CUDA's lists of operations (precision.py) instead of torch's own
    is_scaled: bool = False  # the loss is multiplied by the GradScaler's scale
    float32_modules: frozenset[str] = frozenset()  # full names of modules outside autocast
    clip_norm: float = 0.0  # of the unscaled gradients together; 0: not clipped
    guard_statistics: bool = False  # BatchNorm's running statistics of a skipped step are taken back
    loss_scale: float | None = None  # None: the one that the state holds

    def autocast(self, device_type: str) -> AbstractContextManager:
        """The context of the forward pass."""
        if self.dtype is not None and device_type == "cpu" and not self.cuda_rules:
            return torch.autocast("cpu", dtype=self.dtype)
        return precision.autocast(device_type, self.dtype) if self.dtype is not None else nullcontext()

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it, without what only a re-run changes."""
        dtype = next((name for name, dtype in DTYPES.items() if dtype == self.dtype), None)
        return {"dtype": dtype, "cuda_rules": self.cuda_rules, "is_scaled": self.is_scaled}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "StepSettings":
        """What `to_dict` gave."""
        return cls(**{**values, "dtype": DTYPES.get(values["dtype"])})


@dataclass(frozen=True)
class StepLoss:
    """What a batch gives: the network's outputs, and a scalar loss."""

    loss: Tensor  # to be differentiated; finite where the run puts something in place of outputs that are not
    measured: Tensor  # the loss to report; NaN where it is that of a substitute
    outputs: tuple[Tensor, ...]  # every floating-point tensor that the network gave, before any substitute


class Run(Protocol):
    """A training run that one of its steps can be taken of again."""

    def build(self, device: torch.device) -> Training:
        """Model, optimisers and scaler as they are built; the caller puts the captured values in."""
        ...

    def loss(self, model: nn.Module, batch: Any, settings: StepSettings) -> StepLoss:
        """The loss of one batch, under `settings.autocast`. Raises what the loss raises."""
        ...


@dataclass(frozen=True)
class Knowledge:
    """What is known of a captured step without running it again."""

    settings: StepSettings  # under which it was taken
    head: tuple[str, ...] = ()  # full names of the modules that make the outputs; () where it is not known
    batch_problem: str | None = None  # what is wrong with the batch itself, in words
    max_val_loss_ratio: float = 3.0  # a validation loss beyond this times the best is too high
    uninformed_loss: float = 0.0  # validation loss of outputs that know nothing; 0: not known

    @property
    def is_amp(self) -> bool:
        """Whether the step was taken under autocast."""
        return self.settings.dtype is not None
