"""The captured step under other settings: which of them would have made it right.

A remedy worked if under it the step is finite, is taken, and agrees with the step in float32: what the optimiser is
given, the unscaled gradients, with a cosine above AGREES. So a loss scale under which gradients vanish is no cure, nor
is a skipped step. The change of the weights is compared too, but not judged by: Adam's momentum hides gradients that
have vanished, and in its first steps only their signs count.
Remedies are tried with the loss scale from before the first skipped step, because with the remedy those steps would not
have been skipped.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from trials.numerics.capsule import Capsule
from trials.numerics.explaining.float32_search import Deadline, FloatSet, smallest_float32_set
from trials.numerics.explaining.rerun import StepResult, rerun
from trials.numerics.finite import finite_or_none
from trials.numerics.run import Knowledge, Run, StepSettings
from trials.numerics.training_state import cosine

AGREES = 0.9
LOWER_BY = 4.0  # from one loss scale that is tried to the next
MIN_LOSS_SCALE = 2.0**-24
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Remedy:
    """The step under other settings."""

    name: str
    settings: dict[str, Any]  # named as the fields of a trial's configuration
    finite: bool | None = None  # outputs, loss, weights and buffers; and the step was taken; None: not tried
    gradient_cosine: float | None = None  # with float32's; None where one of them is zero or not finite
    update_cosine: float | None = None
    worked: bool | None = None  # None: not tried, or there is nothing to judge it by
    tried: bool = True  # False where the time for the search was over before, or before it could come to an end


@dataclass(frozen=True)
class Remedies:
    """What the step would have been under other settings."""

    float32: StepResult
    tried: tuple[Remedy, ...]  # those that there was no time for are among them, and say so
    float32_modules: FloatSet | None  # None: not searched, or none helps
    cut_by: str | None = None  # what ended the search before its end: "time", or "sets", MAX_SETS of them

    @property
    def is_whole(self) -> bool:
        """Whether the search came to its end."""
        return self.cut_by is None


def try_remedies(
    capsule: Capsule, run: Run, known: Knowledge, deadline: Deadline, device: torch.device, suspect: str | None = None
) -> Remedies:
    """Tries the remedies one by one, then the modules; on the device.

    suspect: the module that the first bad operation belongs to; if it suffices alone, no other set is tried.
    """
    float32 = float32_step(capsule, run, known, device)
    scale = unfallen_scale(capsule, known)
    tried = []
    for name, words, settings in candidates(known, scale):
        if deadline.passed():
            tried.append(Remedy(name, words, tried=False))
            continue
        tried.append(judged(name, words, rerun(capsule, run, settings, device=device), float32))
    if not known.is_amp:
        return Remedies(float32, tuple(tried), None, None if all(each.tried for each in tried) else "time")

    def is_cured(step: StepResult) -> bool:
        return is_right(step, float32, agreement(step.gradients, float32.gradients))

    search = partial(
        smallest_float32_set, capsule, run, replace(known.settings, loss_scale=scale), is_cured, deadline, device
    )
    modules = search((suspect,)) if float32.is_finite and suspect else None  # two steps, and mostly the answer
    if known.settings.is_scaled:
        tried.append(lower_scale(capsule, run, known, float32, deadline, device))
    if float32.is_finite and modules is None:
        modules = search()
    is_late = deadline.passed() or not all(each.tried for each in tried)
    cut_by = "time" if is_late else "sets" if modules and not modules.is_smallest else None
    return Remedies(float32, tuple(tried), modules, cut_by)


def candidates(known: Knowledge, scale: float | None) -> list[tuple[str, dict[str, Any], StepSettings]]:
    """Remedies by name: how a user would write them, and the step's settings."""
    base = replace(known.settings, loss_scale=scale)
    found: list[tuple[str, dict[str, Any], StepSettings]] = []
    if known.is_amp:
        found.append(("float32", {"amp": False}, without_amp(base)))
        if base.dtype != torch.bfloat16:
            found.append(("bfloat16", {"amp_dtype": "bfloat16"}, replace(base, dtype=torch.bfloat16)))
        if known.head and not base.float32_modules:
            found.append(("float32_head", {"float32_head": True}, replace(base, float32_modules=frozenset(known.head))))
    if base.clip_norm == 0:
        found.append(("clipping", {"clip_norm": CLIP_NORM}, replace(base, clip_norm=CLIP_NORM)))
    if not base.guard_statistics:
        found.append(("guarded_statistics", {"guard_statistics": True}, replace(base, guard_statistics=True)))
    return found


def without_amp(settings: StepSettings) -> StepSettings:
    """The same in float32, without a loss scale."""
    return replace(settings, dtype=None, is_scaled=False, float32_modules=frozenset(), loss_scale=None)


def float32_step(capsule: Capsule, run: Run, known: Knowledge, device: torch.device) -> StepResult:
    """The step without AMP and without clipping, which the others are compared with."""
    return rerun(capsule, run, replace(without_amp(known.settings), clip_norm=0.0), device=device)


def scale_of(state: Any) -> float | None:
    """The loss scale that a saved state holds; None where there is none."""
    scale = state.tensors.get("scaler.scale")
    return None if scale is None else float(scale)


def unfallen_scale(capsule: Capsule, known: Knowledge) -> float | None:
    """The loss scale before the first sign; None where there was none, or no GradScaler."""
    if not known.settings.is_scaled or capsule.first_state is None:
        return None
    return scale_of(capsule.first_state)


def judged(name: str, settings: dict[str, Any], step: StepResult, float32: StepResult) -> Remedy:
    """Whether these settings would have cured the step."""
    gradient, update = agreement(step.gradients, float32.gradients), agreement(step.updates, float32.updates)
    return Remedy(name, settings, step.is_finite, gradient, update, is_right(step, float32, gradient))


def is_right(step: StepResult, float32: StepResult, gradient_cosine: float | None) -> bool:
    """Finite, taken, and in the direction of float32's gradients."""
    return step.is_finite and float32.is_finite and gradient_cosine is not None and gradient_cosine > AGREES


def agreement(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float | None:
    """The cosine between two lists of gradients or updates of the same shapes; None where there is none."""
    return finite_or_none(cosine(ours.values(), theirs.values()))


def lower_scale(
    capsule: Capsule, run: Run, known: Knowledge, float32: StepResult, deadline: Deadline, device: torch.device
) -> Remedy:
    """The highest lower loss scale under which the step is finite; the last tried where there is none.

    Not tried where the time was over before a scale was found, or before all were.
    """
    scale = min((scale_of(capsule.state) or 1.0) / LOWER_BY, 2.0**127)
    while True:
        words = {"loss_scale_init": scale}
        if deadline.passed():
            return Remedy("lower_scale", words, tried=False)
        settings = replace(known.settings, loss_scale=scale)
        found = judged("lower_scale", words, rerun(capsule, run, settings, device=device), float32)
        if found.finite or scale / LOWER_BY < MIN_LOSS_SCALE:
            return found
        scale /= LOWER_BY if scale < 2.0**24 else 2.0**12  # from absurd scales in long steps
