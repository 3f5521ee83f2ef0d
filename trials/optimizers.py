"""Optimisers and learning-rate schedules, stepped once a batch. A new one is a function and a line below.

What they take beside parameters, or optimiser and number of steps, are settings of these names (trials/parts.py).
"""

import warnings
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR


def adam(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> Optimizer:
    """Adam, weight decay as an L2 term in the gradient (the Lab 2 report's optimiser)."""
    return torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay)


def adamw(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> Optimizer:
    """Adam with decoupled weight decay."""
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)


def sgd(parameters: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float) -> Optimizer:
    """Stochastic gradient descent with momentum."""
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)


def cosine(optimizer: Optimizer, num_steps: int) -> LRScheduler:
    """One half cosine from lr to 0 over the whole run."""
    return CosineAnnealingLR(optimizer, T_max=num_steps)


def cosine_per_batch(optimizer: Optimizer, num_steps: int, epochs: int) -> LRScheduler:
    """T_max = epochs although stepped per batch: the rate swings up again and again (one reading of Lab 2)."""
    return CosineAnnealingLR(optimizer, T_max=epochs)


def one_cycle(optimizer: Optimizer, num_steps: int, lr: float) -> LRScheduler:
    """Up to lr over the first 30 % of the run, then down to almost 0 (Smith 2018, arXiv 1803.09820)."""
    num_values = num_steps + 1  # the step() after the last batch still asks for one
    return OneCycleLR(optimizer, max_lr=lr, total_steps=num_values, cycle_momentum=False)


def constant(optimizer: Optimizer, num_steps: int) -> LRScheduler:
    """lr, always."""
    return ConstantLR(optimizer, factor=1.0)


COPIES = {"adam": 2, "adamw": 2, "sgd": 1}  # of the weights, in the optimiser's state
MOST_COPIES = max(COPIES.values())  # what a user's own is taken for
OPTIMIZERS = {"adam": adam, "adamw": adamw, "sgd": sgd}
SCHEDULES = {"cosine": cosine, "cosine_per_batch": cosine_per_batch, "one_cycle": one_cycle, "constant": constant}


def advance(scheduler: LRScheduler) -> None:
    """One step of the schedule, also where GradScaler skipped the optimiser's first, which torch would warn of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step", category=UserWarning)
        scheduler.step()
