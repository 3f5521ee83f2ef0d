"""A user's network between images and head, as ours stand there."""

import torch
from torch import Tensor, nn

from trials.own import OwnError


class OwnNetwork(nn.Module):
    """Images B,C,H,W -> B,1,H,W: probabilities or logits, as the activation says, of the logits of a user's network."""

    size_multiple = 1  # what it takes is tried out (trials/rehearsal.py)

    def __init__(self, name: str, network: nn.Module, activation: nn.Module):
        super().__init__()
        self.name, self.network = name, network
        self.head = activation

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.head(self.features(images_BCHW))

    def features(self, images_BCHW: Tensor) -> Tensor:
        """All but the head: the logits B,1,H,W. Raises OwnError for outputs that are none."""
        logits = self.network(images_BCHW)
        wanted = (len(images_BCHW), 1, *images_BCHW.shape[2:])
        if not isinstance(logits, Tensor):
            raise OwnError(f"{self.name} gives a {type(logits).__name__}; wanted: a tensor of logits {list(wanted)}")
        if logits.shape != wanted:
            raise OwnError(
                f"{self.name} gives {list(logits.shape)} for images {list(images_BCHW.shape)}; "
                f"wanted: logits {list(wanted)}"
            )
        if not torch.is_floating_point(logits):
            raise OwnError(f"{self.name} gives {logits.dtype}; wanted: logits of a floating type")
        return logits
