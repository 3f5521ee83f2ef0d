"""Diagnoses a captured step: run again under the tracer, in float32, under other settings; judged by the rules."""

from dataclasses import replace

import torch

from trials.numerics.capsule import Capsule
from trials.numerics.explaining.batchnorm_statistics import validated
from trials.numerics.explaining.diagnosis import Diagnosis, Facts
from trials.numerics.explaining.evidence import Evidence, usual_loss
from trials.numerics.explaining.float32_search import Deadline
from trials.numerics.explaining.remedies import Remedies, float32_step, try_remedies, unfallen_scale
from trials.numerics.explaining.rerun import StepResult, rerun
from trials.numerics.explaining.rules import REMEDIES, Verdict, blame, judge
from trials.numerics.finite import finite_or_none
from trials.numerics.interrupts import interrupts_as_such
from trials.numerics.run import Knowledge, Run
from trials.numerics.structure import non_finite_in
from trials.numerics.training_state import optimized_names


@interrupts_as_such()
def diagnose(capsule: Capsule, run: Run, known: Knowledge, budget_s: float, device: torch.device) -> Diagnosis:
    """The cause, what is to blame, where, and what would have made the step right.

    budget_s: for the search among remedies and modules; the traced step is taken in any case. Errors of the step
    itself (a loss that raises) are passed on.
    """
    step = rerun(capsule, run, known.settings, device=device, traced=True)
    asked = under_the_scale_before(capsule, run, known, step, device)
    seen = None
    if capsule.validation is not None:
        seen = validated(capsule, run, known, device, usual_loss(capsule))
    if capsule.where in ("val_loss", "val_outputs"):  # the step itself was right: nothing to cure in it
        others = Remedies(float32_step(capsule, run, known, device), (), None)
    else:
        suspect = asked.first.module if asked.first else None
        others = try_remedies(capsule, run, known, Deadline(budget_s), device, suspect)
    if seen:
        others = replace(others, tried=(*others.tried, seen.remedy(known.max_val_loss_ratio)))
    assert {remedy.name for remedy in others.tried} <= set(REMEDIES)
    optimized = tuple(optimized_names(run.build(torch.device("cpu"))))
    evidence = Evidence(capsule, known, step, asked, others, seen, optimized)
    batch_problem = known.batch_problem or not_finite_batch(capsule)
    verdict = Verdict("bad_data", "data") if batch_problem else judge(evidence)
    return Diagnosis(
        cause=verdict.cause,
        blame=blame(verdict.cause, evidence),
        phase=verdict.phase,
        module=verdict.module,
        op=verdict.op,
        facts=facts(evidence, batch_problem),
        remedies=others.tried,
        float32_modules=others.float32_modules.names if others.float32_modules else None,
        float32_finite=others.float32.is_finite,
        float32_loss=others.float32.loss,
        search_complete=others.is_whole,
        search_cut_by=others.cut_by,
        search_budget_s=budget_s,
    )


def under_the_scale_before(
    capsule: Capsule, run: Run, known: Knowledge, step: StepResult, device: torch.device
) -> StepResult:
    """The step under the loss scale before the first sign, if it shows nothing under the fallen one; else `step`.

    A scale that lies low may be found too low at a step that was taken: what made it fall are the steps before.
    """
    scale = unfallen_scale(capsule, known) if capsule.where == "loss_scale" and not step.first else None
    if not scale:
        return step
    return rerun(capsule, run, replace(known.settings, loss_scale=scale), device=device, traced=True)


def not_finite_batch(capsule: Capsule) -> str | None:
    """How many values of the step's batches are not finite, in words."""
    return next(filter(None, map(non_finite_in, capsule.batches)), None)


def facts(evidence: Evidence, batch_problem: str | None) -> Facts:
    """What the verdict rests on."""
    step, first, seen = evidence.step, evidence.asked.first, evidence.validated
    jumped = sorted(evidence.jumped.items(), key=lambda item: -item[1])[:5]
    return Facts(
        event=evidence.capsule.where,
        batch=batch_problem,
        first_bad_operation=first,
        outputs=step.outputs,
        num_wrong_saturated_outputs=step.num_wrong_saturated,
        loss=step.loss,
        loss_scale=step.scale,
        first_bad_at_loss_scale=evidence.asked.scale if first else None,
        step_skipped=step.skipped,
        not_finite_after=step.state_not_finite,
        float32_loss_over_usual=finite_or_none(evidence.loss_growth),
        largest_update_jumps={name: finite_or_none(jump) for name, jump in jumped},
        validation_loss={name: finite_or_none(value) for name, value in vars(seen).items()} if seen else None,
    )
