"""Why a step went wrong: cause and blame from the traced step, its counterfactuals and the steps before it.

The marks are those by which the causes can be told apart: where the first bad operation stands, whether the same step
is right in float32, how far its loss is above the usual, and for the running statistics what validation gives with
others.
"""

import math
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch

from trials.numerics.capsule import Capsule, Kept
from trials.numerics.explaining.batchnorm_statistics import Validated, validated
from trials.numerics.explaining.operator_tracer import FirstBad
from trials.numerics.explaining.remedies import (
    Counterfactuals,
    Deadline,
    counterfactuals,
    float32_step,
    unfallen_scale,
)
from trials.numerics.explaining.rerun import Taken, take_again
from trials.outcome import finite_or_none

CAUSES = (
    "saturated_head",
    "scale_collapse",
    "forward_overflow",
    "poisoned_batchnorm",
    "running_stats_explosion",
    "optimizer_instability",
    "loss_domain",
    "bad_data",
    "undetermined",
)
PHASES = ("data", "forward", "loss", "backward", "unscale", "optimizer_step", "running_statistics")
BLAMES = ("amp", "optimisation", "loss", "data", "unknown")
REMEDIES = (
    *("float32", "bfloat16", "float32_head", "clipping", "guarded_statistics", "lower_scale"),
    "recalibrated_statistics",
)
BLAME_OF = {
    "saturated_head": "amp",
    "scale_collapse": "amp",
    "forward_overflow": "amp",
    "running_stats_explosion": "optimisation",
    "optimizer_instability": "optimisation",
    "loss_domain": "loss",
    "bad_data": "data",
}
BRIGHTEST = 3.0  # |pixel| after ImageNet's normalisation is at most 2.64
JUMP = 10.0  # a weight's update over its usual one, or a loss over its usual one
LONGEST_STEP = 1.0  # an update over the weights' own norm: no sane step is longer than the weights
STANDS_ALONE = 5.0  # how many times a module's jump is larger than the next one's


@dataclass(frozen=True)
class Evidence:
    """All that the causes are told by."""

    kept: Capsule
    taken: Taken  # the step under the tracer
    asked: Taken  # the step whose first bad operation tells the cause: `taken`, or it under the scale before the fall
    others: Counterfactuals
    validated: Validated | None

    @property
    def loss_growth(self) -> float:
        """The step's loss in float32 over the usual one of the first half of the trace; infinite if not finite."""
        usual = usual_loss(self.kept)
        if self.others.float32.loss is None:
            return math.inf
        return self.others.float32.loss / usual if usual else 1.0

    @property
    def largest_update(self) -> float:
        """Of the last steps that were taken, the longest over the norm of the weights before it."""
        taken = [line for line in self.kept.facts["trace"] if not line["skipped"]]
        ratios = [math.inf if line["update_ratio"] is None else line["update_ratio"] for line in taken[:-1]]
        return max(ratios, default=0.0)

    @property
    def jumped(self) -> dict[str, float]:
        """Weight tensors whose update was far above their usual one, in the last steps."""
        jumps = {name: math.inf if jump is None else jump for name, jump in self.kept.facts["jumps"].items()}
        return {name: jump for name, jump in jumps.items() if jump > JUMP}


def usual_loss(kept: Capsule) -> float | None:
    """The median of the first half of the trace; None where no loss in it is finite."""
    losses = [line["loss"] for line in kept.facts["trace"] if line["loss"] is not None]
    return median(losses[: max(1, len(losses) // 2)]) if losses else None


@dataclass(frozen=True)
class Verdict:
    """The cause, and the place it stands for; None where there is no such place."""

    cause: str
    phase: str | None = None
    module: str | None = None
    op: str | None = None


def diagnose(kept: Capsule, budget_s: float, device: torch.device) -> dict[str, Any]:
    """cause, blame, phase, module, op, evidence and remedies, as JSON can hold them.

    budget_s: for the search among remedies and modules; the traced step is taken in any case. Errors of the step
    itself (a loss that raises) are passed on.
    """
    batch_problem = problem_of_batch(kept)
    taken = take_again(kept, traced=True, device=device)
    asked = under_the_scale_before(kept, taken, device)
    seen = validated(kept, device, usual_loss(kept)) if kept.validation else None
    if kept.where in ("val_loss", "val_outputs"):  # the step itself was right: nothing to cure in it
        others = Counterfactuals(float32_step(kept, device), (), None)
    else:
        suspect = asked.first.module if asked.first else None
        others = counterfactuals(kept, Deadline(budget_s), device, suspect)
    if seen:
        others = replace(others, remedies=(*others.remedies, seen.remedy(kept.config.max_val_loss_ratio)))
    assert {remedy.name for remedy in others.remedies} <= set(REMEDIES)
    evidence = Evidence(kept, taken, asked, others, seen)
    verdict = Verdict("bad_data", "data") if batch_problem else judge(evidence)
    return {
        "cause": verdict.cause,
        "blame": blame(verdict.cause, evidence),
        "phase": verdict.phase,
        "module": verdict.module,
        "op": verdict.op,
        "evidence": facts(evidence, batch_problem),
        **others.to_dict(),
        "search_budget_s": budget_s,
    }


def under_the_scale_before(kept: Capsule, taken: Taken, device: torch.device) -> Taken:
    """The step under the loss scale before the first sign, if it shows nothing under the fallen one; else `taken`.

    A scale that lies low may be found too low at a step that was taken: what made it fall are the steps before.
    """
    scale = unfallen_scale(kept) if kept.where == "loss_scale" and not taken.first else None
    return take_again(kept, loss_scale=scale, traced=True, device=device) if scale else taken


def undiagnosed(error: str) -> dict[str, Any]:
    """What `diagnose` gives where the step could not be taken again."""
    nothing = dict.fromkeys(("phase", "module", "op", "float32_modules", "float32_step", "search_budget_s"))
    evidence = {"error": error}
    verdict = {"cause": "undetermined", "blame": "unknown", "evidence": evidence, "remedies": []}
    return {**verdict, **nothing, "search_complete": False, "search_cut_by": None}


def problem_of_batch(kept: Capsule) -> str | None:
    """What is wrong with the batch itself, in words."""
    batch = kept.batch
    for name, values in vars(batch).items():
        if num := int((~torch.isfinite(values)).sum()):
            return f"{num} values of {name} are not finite"
    if (largest := float(batch.images.abs().max())) > BRIGHTEST:
        return f"a normalised pixel of {largest:g}, beyond {BRIGHTEST:g}"
    for name in ("targets", "valid"):
        values = vars(batch)[name]
        if values.min() < 0 or values.max() > 1:
            return f"{name} from {float(values.min()):g} to {float(values.max()):g}, not within 0 to 1"
    return None


def judge(evidence: Evidence) -> Verdict:
    """The cause by its mark; what the event showed first, then the first bad operation."""
    kept, taken = evidence.kept, evidence.taken
    if kept.where in ("val_loss", "val_outputs"):
        return judge_validation(evidence)
    if not_finite(kept.state, weights=True):
        return Verdict("undetermined")  # what ruined the weights lies before the capsule
    buffer = not_finite(kept.state, weights=False)
    if buffer and taken.loss is not None and not taken.outputs.num_not_finite:
        return Verdict("poisoned_batchnorm", "running_statistics", buffer.rpartition(".")[0])
    if ruined := ruined_moments(kept, list(taken.updates)):
        return Verdict("optimizer_instability", "optimizer_step", lone_module(ruined))
    if taken.state_not_finite == "buffers" and taken.loss is not None:
        return judge_statistics(evidence)
    first = evidence.asked.first
    if first is None:
        return Verdict("scale_collapse") if kept.config.amp and kept.where == "loss_scale" else Verdict("undetermined")
    return BY_PHASE[first.phase](first, evidence)


def judge_statistics(evidence: Evidence) -> Verdict:
    """This very step made running statistics that are not finite, its outputs and loss are finite."""
    first = evidence.taken.first
    module, op = (first.module, first.op) if first else (None, None)
    if is_unstable(evidence) or evidence.others.float32.state_not_finite:
        return Verdict("optimizer_instability", "optimizer_step", lone_jump(evidence), op)
    return Verdict("poisoned_batchnorm", "running_statistics", module, op)


def judge_validation(evidence: Evidence) -> Verdict:
    """Statistics far from the batches', or something else that only validation shows (overfitting, for one)."""
    if is_unstable(evidence):
        return Verdict("optimizer_instability", "optimizer_step", lone_jump(evidence))
    seen = evidence.validated
    if seen and seen.is_explosion(evidence.kept.config.max_val_loss_ratio):
        return Verdict("running_stats_explosion", "running_statistics", seen.module)
    return Verdict("undetermined")


def judge_forward(first: FirstBad, evidence: Evidence) -> Verdict:
    """Half's range was too small for sane weights, or the optimiser had ruined the weights before."""
    if is_unstable(evidence):
        return unstable(first, evidence)
    return Verdict("forward_overflow", "forward", first.module, first.op)


def unstable(first: FirstBad, evidence: Evidence) -> Verdict:
    """The bad operation only shows what the optimiser had done before."""
    return Verdict("optimizer_instability", "optimizer_step", lone_jump(evidence), first.op)


def judge_loss(first: FirstBad, evidence: Evidence) -> Verdict:
    """Finite outputs, and a loss that is not."""
    return Verdict("loss_domain", "loss", None, first.op)


def judge_backward(first: FirstBad, evidence: Evidence) -> Verdict:
    """The loss's own slope, the head's, or a gradient too large for half further down."""
    into_half = first.op == "_to_copy" and first.outputs[0].dtype in ("float16", "bfloat16")
    if first.module is None and not into_half:
        return Verdict("loss_domain", "backward", None, first.op)
    at_head = first.module is None or first.module.startswith("head")
    if at_head and evidence.asked.num_wrong_saturated:
        return Verdict("saturated_head", "backward", "head", first.op)
    if is_unstable(evidence):
        return unstable(first, evidence)
    return Verdict("scale_collapse", "backward", first.module, first.op)


def judge_unscale(first: FirstBad, evidence: Evidence) -> Verdict:
    """The inverse of the loss scale is not finite."""
    return Verdict("scale_collapse", "unscale", None, first.op)


def judge_optimizer_step(first: FirstBad, evidence: Evidence) -> Verdict:
    """Finite gradients, and an update that is not."""
    return Verdict("optimizer_instability", "optimizer_step", lone_ruin(evidence.asked), first.op)


BY_PHASE = {
    "forward": judge_forward,
    "loss": judge_loss,
    "backward": judge_backward,
    "unscale": judge_unscale,
    "optimizer_step": judge_optimizer_step,
}


def is_unstable(evidence: Evidence) -> bool:
    """Whether the step is wrong in float32 too (not finite, or a loss far above the usual), or an update before was."""
    others = evidence.others.float32
    wrong = bool(others.outputs.num_not_finite) or others.loss is None or others.state_not_finite == "weights"
    return wrong or evidence.loss_growth > JUMP or evidence.largest_update > LONGEST_STEP


def lone_jump(evidence: Evidence) -> str | None:
    """The module whose weights jumped, if it is one alone."""
    ranked = sorted(evidence.jumped.items(), key=lambda item: -item[1])
    if not ranked:
        return None
    module = ranked[0][0].rpartition(".")[0]
    others = [jump for name, jump in ranked if name.rpartition(".")[0] != module]
    return module if not others or ranked[0][1] > STANDS_ALONE * others[0] else None


def lone_ruin(taken: Taken) -> str | None:
    """The module whose update alone is not finite."""
    return lone_module([name for name, update in taken.updates.items() if not torch.isfinite(update).all()])


def lone_module(weights: list[str]) -> str | None:
    """The module that all these weights belong to, if there is one."""
    modules = {name.rpartition(".")[0] for name in weights}
    return modules.pop() if len(modules) == 1 else None


def ruined_moments(kept: Capsule, weights: list[str]) -> list[str]:
    """The weights whose optimiser state was not finite before the step; `weights` in the model's order."""
    found = [
        weights[int(name.split(".")[1])]
        for name, tensor in kept.state.tensors.items()
        if name.startswith("optimizer.") and not torch.isfinite(tensor).all()
    ]
    return sorted(set(found))


BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def is_weight(name: str) -> bool:
    """Whether a tensor of the state is a parameter of the model."""
    return name.startswith("model.") and name.rpartition(".")[2] not in BUFFERS


def not_finite(state: Kept, *, weights: bool) -> str | None:
    """The first weight, or else the first buffer, of the model that is not finite."""
    for name, tensor in state.tensors.items():
        if not name.startswith("model.") or is_weight(name) != weights:
            continue
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            return name.removeprefix("model.")
    return None


def blame(cause: str, evidence: Evidence) -> str:
    """What would have to change; AMP for what float32 alone would have cured."""
    if cause in BLAME_OF:
        return BLAME_OF[cause]
    if cause == "poisoned_batchnorm" and evidence.kept.config.amp:
        return "amp"
    cured = evidence.kept.config.amp and not evidence.taken.is_finite and evidence.others.float32.is_finite
    return "amp" if cured else "unknown"


def facts(evidence: Evidence, batch_problem: str | None) -> dict[str, Any]:
    """What the verdict rests on, as JSON can hold it."""
    taken, first, seen = evidence.taken, evidence.asked.first, evidence.validated
    growth = evidence.loss_growth
    return {
        "event": evidence.kept.where,
        "batch": batch_problem,
        "first_bad_operation": first.to_dict() if first else None,
        "outputs": vars(taken.outputs),
        "num_wrong_saturated_outputs": taken.num_wrong_saturated,
        "loss": taken.loss,
        "loss_scale": taken.scale if evidence.kept.config.amp else None,
        "first_bad_at_loss_scale": evidence.asked.scale if first else None,
        "step_skipped": taken.skipped,
        "not_finite_after": taken.state_not_finite,
        "float32_loss_over_usual": finite_or_none(growth),
        "largest_update_jumps": {
            name: finite_or_none(jump) for name, jump in sorted(evidence.jumped.items(), key=lambda item: -item[1])[:5]
        },
        "validation_loss": {name: finite_or_none(value) for name, value in vars(seen).items()} if seen else None,
    }
