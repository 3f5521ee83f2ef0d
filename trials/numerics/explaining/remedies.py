"""The captured step under other settings, and the smallest set of modules that must run in float32 for it to be right.

A remedy worked if under it the step is finite, is taken, and agrees with the step in float32: what the optimiser is
given, the unscaled gradients, with a cosine above AGREES. So a loss scale under which gradients vanish is no cure, nor
is a skipped step. The change of the weights is compared too, but not judged by: Adam's momentum hides gradients that
have vanished, and in its first steps only their signs count.
Where skipped steps had lowered the loss scale before, it is put back to what it was before the first of them: under a
remedy it would not have fallen.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from trials.numerics.capsule import Capsule, put_together
from trials.numerics.explaining.operator_tracer import cosine
from trials.numerics.explaining.rerun import Taken, leaf_modules, restored, take, take_again
from trials.outcome import finite_or_none

AGREES = 0.9
LOWER_BY = 4.0  # from one loss scale that is tried to the next
MIN_LOSS_SCALE = 2.0**-24
CLIP_NORM = 1.0
MAX_SETS = 64  # of modules that are tried


class Deadline:
    """When the search for causes has to end."""

    def __init__(self, budget_s: float):
        self._end = time.perf_counter() + budget_s

    def passed(self) -> bool:
        """Whether it is later than that."""
        return time.perf_counter() > self._end


@dataclass(frozen=True)
class Remedy:
    """The step under other settings."""

    name: str
    settings: dict[str, Any]  # TrialConfig fields
    finite: bool | None = None  # outputs, loss, weights and buffers; and the step was taken; None: not tried
    gradient_cosine: float | None = None  # with float32's; None where one of them is zero or not finite
    update_cosine: float | None = None
    worked: bool | None = None  # None: not tried, or there is nothing to judge it by
    tried: bool = True  # False where the time for the search was over before, or before it could come to an end


@dataclass(frozen=True)
class FloatSet:
    """Leaf modules that suffice in float32."""

    names: tuple[str, ...]
    is_smallest: bool  # none can be left out; False where the search was cut short


@dataclass(frozen=True)
class Counterfactuals:
    """What the step would have been."""

    float32: Taken
    remedies: tuple[Remedy, ...]
    float32_modules: FloatSet | None  # None: not searched, or none helps
    cut_by: str | None = None  # what ended the search before its end: "time", or "sets", MAX_SETS of them

    @property
    def is_whole(self) -> bool:
        """Whether the search came to its end."""
        return self.cut_by is None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it, without the step itself."""
        return {
            "remedies": [asdict(remedy) for remedy in self.remedies],
            "float32_modules": list(self.float32_modules.names) if self.float32_modules else None,
            "float32_step": {"finite": self.float32.is_finite, "loss": self.float32.loss},
            "search_complete": self.is_whole,
            "search_cut_by": self.cut_by,
        }


def counterfactuals(
    kept: Capsule, deadline: Deadline, device: torch.device, suspect: str | None = None
) -> Counterfactuals:
    """Tries the remedies one by one, then the modules; on the device.

    suspect: the leaf module that the first bad operation belongs to; if it suffices alone, no other set is tried.
    """
    config = kept.config
    float32 = float32_step(kept, device)
    scale = unfallen_scale(kept)
    tries: list[tuple[str, dict[str, Any]]] = []
    if config.amp:
        tries.append(("float32", {"amp": False}))
        if config.amp_dtype != "bfloat16":
            tries.append(("bfloat16", {"amp_dtype": "bfloat16"}))
        if not config.float32_head:
            tries.append(("float32_head", {"float32_head": True}))
    if config.clip_norm == 0:
        tries.append(("clipping", {"clip_norm": CLIP_NORM}))
    if not config.guard_statistics:
        tries.append(("guarded_statistics", {"guard_statistics": True}))
    remedies = []
    for name, settings in tries:
        if deadline.passed():
            remedies.append(Remedy(name, settings, tried=False))
            continue
        remedies.append(
            remedy(name, settings, take_again(kept, changes=settings, loss_scale=scale, device=device), float32)
        )
    if not config.amp:
        return Counterfactuals(float32, tuple(remedies), None, None if all(r.tried for r in remedies) else "time")
    remedies.append(lower_scale(kept, float32, deadline, device))
    modules = smallest_float32_set(kept, float32, scale, deadline, device, suspect) if float32.is_finite else None
    is_late = deadline.passed() or not all(r.tried for r in remedies)
    cut_by = "time" if is_late else "sets" if modules and not modules.is_smallest else None
    return Counterfactuals(float32, tuple(remedies), modules, cut_by)


def float32_step(kept: Capsule, device: torch.device) -> Taken:
    """The step without AMP and without clipping, which the others are compared with."""
    return take_again(kept, changes={"amp": False, "clip_norm": 0.0}, device=device)


def unfallen_scale(kept: Capsule) -> float | None:
    """The loss scale before the first sign; None where there was none, or no AMP."""
    if not kept.config.amp or kept.first_state is None:
        return None
    return restored(kept, of=kept.first_state).scaler.get_scale()


def remedy(name: str, settings: dict[str, Any], taken: Taken, float32: Taken) -> Remedy:
    """Whether these settings would have cured the step."""
    gradient, update = agreement(taken.gradients, float32.gradients), agreement(taken.updates, float32.updates)
    return Remedy(name, settings, taken.is_finite, gradient, update, is_right(taken, float32, gradient))


def is_right(taken: Taken, float32: Taken, gradient_cosine: float | None) -> bool:
    """Finite, taken, and in the direction of float32's gradients."""
    return taken.is_finite and float32.is_finite and gradient_cosine is not None and gradient_cosine > AGREES


def agreement(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float | None:
    """The cosine between two lists of gradients or updates; None where there is none."""
    return finite_or_none(cosine(list(ours.values()), list(theirs.values())))


def lower_scale(kept: Capsule, float32: Taken, deadline: Deadline, device: torch.device) -> Remedy:
    """The highest lower loss scale under which the step is finite; the last tried where there is none.

    Not tried where the time was over before a scale was found, or before all were.
    """
    scale = min(restored(kept).scaler.get_scale() / LOWER_BY, 2.0**127)
    while True:
        if deadline.passed():
            return Remedy("lower_scale", {"loss_scale_init": scale}, tried=False)
        found = remedy(
            "lower_scale", {"loss_scale_init": scale}, take_again(kept, loss_scale=scale, device=device), float32
        )
        if found.finite or scale / LOWER_BY < MIN_LOSS_SCALE:
            return found
        scale /= LOWER_BY if scale < 2.0**24 else 2.0**12  # from absurd scales in long steps


def smallest_float32_set(
    kept: Capsule,
    float32: Taken,
    scale: float | None,
    deadline: Deadline,
    device: torch.device,
    suspect: str | None = None,
) -> FloatSet | None:
    """A set of leaf modules that suffices in float32 and none of which can be left out; None where no set does.

    The suspect alone comes first. Then delta debugging (Zeller and Hildebrandt 2002, ddmin): halves, finer parts, and
    what is left without one part.
    """
    state = restored(kept, device=device)
    num_tried = 0

    def is_over() -> bool:
        return num_tried >= MAX_SETS or deadline.passed()

    def suffices(names: list[str]) -> bool:
        nonlocal num_tried
        num_tried += 1
        put_together(state, kept.state)
        state.scaler.update(new_scale=scale or state.scaler.get_scale())  # which also forgets the try before
        taken = take(state, kept, kept.config, None, frozenset(names))
        return is_right(taken, float32, agreement(taken.gradients, float32.gradients))

    names = leaf_modules(state.model)
    if deadline.passed() or suffices([]) or deadline.passed():
        return None
    if suspect in names and suffices([suspect]):
        return FloatSet((suspect,), is_smallest=True)
    if deadline.passed() or not suffices(names):
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
    return FloatSet(tuple(names), is_smallest=not is_over())
