"""A network's forward pass as the configuration has it: under autocast, the head outside where it is guarded."""

import torch

from trials.config import TrialConfig
from trials.models import Network
from trials.numerics.precision import autocast
from trials.numerics.run import DTYPES


def forward(model: Network, images_BCHW: torch.Tensor, config: TrialConfig) -> torch.Tensor:
    """The network's outputs B,1,H,W; under autocast if the configuration has it, the head outside if guarded."""
    dtype = DTYPES[config.amp_dtype] if config.amp else None
    with autocast(images_BCHW.device.type, dtype):
        if not config.float32_head:
            return model(images_BCHW)
        features_BCHW = model.features(images_BCHW)
    return model.head(features_BCHW.float())
