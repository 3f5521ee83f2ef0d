"""The smallest set of modules that must run in float32 for the captured step to be right."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from trials.numerics.capsule import Capsule
from trials.numerics.explaining.rerun import StepResult, leaf_modules, restored, take_step
from trials.numerics.run import Run, StepSettings
from trials.numerics.training_state import put_together

MAX_SETS = 64  # of modules that are tried


class Deadline:
    """When the search for causes has to end."""

    def __init__(self, budget_s: float):
        self._end = time.perf_counter() + budget_s

    def passed(self) -> bool:
        """Whether it is later than that."""
        return time.perf_counter() > self._end


@dataclass(frozen=True)
class FloatSet:
    """Modules that suffice in float32."""

    names: tuple[str, ...]
    is_smallest: bool  # none can be left out; False where the search was cut short


def smallest_float32_set(
    capsule: Capsule,
    run: Run,
    settings: StepSettings,
    is_cured: Callable[[StepResult], bool],
    deadline: Deadline,
    device: torch.device,
    among: tuple[str, ...] | None = None,
) -> FloatSet | None:
    """A set of modules that suffices in float32 and none of which can be left out; None where no set does.

    Delta debugging (Zeller and Hildebrandt 2002, ddmin) among the modules given; by default over the leaf modules, or,
    where all of those do not suffice, over all modules: some compute between their layers, as attention does.
    """
    training = restored(capsule, run, device)
    num_tried = 0

    def is_over() -> bool:
        return num_tried >= MAX_SETS or deadline.passed()

    def suffices(names: list[str]) -> bool:
        nonlocal num_tried
        num_tried += 1
        put_together(training, capsule.state)
        return is_cured(take_step(training, capsule, run, replace(settings, float32_modules=frozenset(names))))

    if deadline.passed() or suffices([]) or deadline.passed():
        return None
    candidates = pools(training.model) if among is None else [list(among)]
    names = next((each for each in candidates if not deadline.passed() and suffices(each)), None)
    if names is None:
        return None
    parts = 2
    while len(names) > 1 and not is_over():
        pieces = [names[len(names) * k // parts : len(names) * (k + 1) // parts] for k in range(parts)]
        rests = [[name for name in names if name not in piece] for piece in pieces] if parts > 2 else []
        smaller = next((each for each in (*pieces, *rests) if not is_over() and suffices(each)), None)
        if smaller is not None:
            parts = 2 if smaller in pieces else max(2, parts - 1)
            names = smaller
        elif parts >= len(names):
            break
        else:
            parts = min(len(names), 2 * parts)
    return FloatSet(tuple(names), is_smallest=len(names) == 1 or not is_over())


def pools(model: nn.Module) -> list[list[str]]:
    """The modules to search among: the leaves; then every module but the network as a whole."""
    return [leaf_modules(model), [name for name, _ in model.named_modules() if name]]
