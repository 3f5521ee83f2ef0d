"""Why a step went wrong: cause and blame from the traced step, the same step in float32 and the steps before it.

The marks are those by which the causes can be told apart: where the first bad operation stands, whether the same step
is right in float32, how far its loss is above the usual, and for the running statistics what validation gives with
others.
"""

from dataclasses import dataclass

import torch

from trials.numerics.explaining.evidence import JUMP, Evidence
from trials.numerics.explaining.operator_tracer import FirstBad
from trials.numerics.explaining.rerun import StepResult
from trials.numerics.run import Knowledge

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
LONGEST_STEP = 1.0  # an update over the weights' own norm: no sane step is longer than the weights
STANDS_ALONE = 5.0  # how many times a module's jump is larger than the next one's


@dataclass(frozen=True)
class Verdict:
    """The cause, and the place it stands for; None where there is no such place."""

    cause: str
    phase: str | None = None
    module: str | None = None
    op: str | None = None


def judge(evidence: Evidence) -> Verdict:
    """The cause by its mark; what the event showed first, then the first bad operation."""
    where, step = evidence.capsule.where, evidence.step
    if where in ("val_loss", "val_outputs"):
        return judge_validation(evidence)
    if not_finite(evidence, weights=True):
        return Verdict("undetermined")  # what ruined the weights lies before the capsule
    buffer = not_finite(evidence, weights=False)
    if buffer and step.loss is not None and not (step.outputs and step.outputs.num_not_finite):
        return Verdict("poisoned_batchnorm", "running_statistics", buffer.rpartition(".")[0])
    if ruined := ruined_moments(evidence):
        return Verdict("optimizer_instability", "optimizer_step", lone_module(ruined))
    if step.state_not_finite == "buffers" and step.loss is not None:
        return judge_statistics(evidence)
    first = evidence.asked.first
    if first is None:
        return Verdict("scale_collapse" if evidence.known.is_amp and where == "loss_scale" else "undetermined")
    return BY_PHASE[first.phase](first, evidence)


def judge_statistics(evidence: Evidence) -> Verdict:
    """This very step made running statistics that are not finite, its outputs and loss are finite."""
    first = evidence.step.first
    module, op = (first.module, first.op) if first else (None, None)
    if is_unstable(evidence) or evidence.others.float32.state_not_finite:
        return Verdict("optimizer_instability", "optimizer_step", lone_jump(evidence), op)
    return Verdict("poisoned_batchnorm", "running_statistics", module, op)


def judge_validation(evidence: Evidence) -> Verdict:
    """Statistics far from the batches', or something else that only validation shows (overfitting, for one)."""
    if is_unstable(evidence):
        return Verdict("optimizer_instability", "optimizer_step", lone_jump(evidence))
    seen = evidence.validated
    if seen and seen.is_explosion(evidence.known.max_val_loss_ratio):
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
    """Finite outputs, and a loss that is not: of its own, or because half's range was too small for it."""
    if is_half(first) and evidence.others.float32.is_finite:
        return Verdict("forward_overflow", "loss", first.module, first.op)
    return Verdict("loss_domain", "loss", None, first.op)


def judge_backward(first: FirstBad, evidence: Evidence) -> Verdict:
    """The loss's own slope, the head's, or a gradient too large for half further down."""
    if first.module is None and not is_half(first):
        return Verdict("loss_domain", "backward", None, first.op)
    at_head = first.module is None or in_head(first.module, evidence.known)
    if at_head and evidence.asked.num_wrong_saturated:
        return Verdict("saturated_head", "backward", name_of_head(evidence.known), first.op)
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


def is_half(first: FirstBad) -> bool:
    """Whether the first bad value is one of half precision."""
    return first.outputs[0].dtype in ("float16", "bfloat16")


def in_head(module: str, known: Knowledge) -> bool:
    """Whether the module makes the outputs, or is a part of what does."""
    return any(module == name or module.startswith(f"{name}.") for name in known.head)


def name_of_head(known: Knowledge) -> str | None:
    """The one name of the modules that make the outputs: of several what their names have in common."""
    parts = [name.split(".") for name in known.head]
    if len(parts) == 1:
        return known.head[0]
    common = [words[0] for words in zip(*parts, strict=False) if len(set(words)) == 1]
    return ".".join(common) or None


def is_unstable(evidence: Evidence) -> bool:
    """Whether the step is wrong in float32 too (not finite, or a loss far above the usual), or an update before was."""
    others = evidence.others.float32
    is_bad = bool(others.outputs and others.outputs.num_not_finite)
    wrong = is_bad or others.loss is None or others.state_not_finite == "weights"
    return wrong or evidence.loss_growth > JUMP or evidence.largest_update > LONGEST_STEP


def lone_jump(evidence: Evidence) -> str | None:
    """The module whose weights jumped, if it is one alone."""
    ranked = sorted(evidence.jumped.items(), key=lambda item: -item[1])
    if not ranked:
        return None
    module = ranked[0][0].rpartition(".")[0]
    others = [jump for name, jump in ranked if name.rpartition(".")[0] != module]
    return module if not others or ranked[0][1] > STANDS_ALONE * others[0] else None


def lone_ruin(step: StepResult) -> str | None:
    """The module whose update alone is not finite."""
    return lone_module([name for name, update in step.updates.items() if not torch.isfinite(update).all()])


def lone_module(weights: list[str]) -> str | None:
    """The module that all these weights belong to, if there is one."""
    modules = {name.rpartition(".")[0] for name in weights}
    return modules.pop() if len(modules) == 1 else None


def ruined_moments(evidence: Evidence) -> list[str]:
    """The weights whose optimiser state was not finite before the step."""
    ruined = {
        evidence.optimized[int(name.split(".")[1])]
        for name, tensor in evidence.capsule.state.tensors.items()
        if name.startswith("optimizer.") and not torch.isfinite(tensor).all()
    }
    return sorted(ruined)


def not_finite(evidence: Evidence, *, weights: bool) -> str | None:
    """The first weight, or else the first buffer, of the model that is not finite."""
    for name, tensor in evidence.capsule.state.tensors.items():
        own = name.removeprefix("model.")
        if not name.startswith("model.") or (own in evidence.step.updates) != weights:
            continue
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            return own
    return None


def blame(cause: str, evidence: Evidence) -> str:
    """What would have to change; AMP for what float32 alone would have cured."""
    if cause in BLAME_OF:
        return BLAME_OF[cause]
    is_amp = evidence.known.is_amp
    if cause == "poisoned_batchnorm" and is_amp:
        return "amp"
    cured = is_amp and not evidence.step.is_finite and evidence.others.float32.is_finite
    return "amp" if cured else "unknown"
