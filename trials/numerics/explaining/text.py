"""A step that was run again, and why it went wrong, in words."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trials.numerics.capsule import Capsule
from trials.numerics.explaining.diagnosis import Diagnosis
from trials.numerics.explaining.operator_tracer import FirstBad, Range
from trials.numerics.explaining.record import DivergenceRecord
from trials.numerics.explaining.rerun import StepResult


def compared(captured: Capsule, step: StepResult) -> str:
    """How far the step repeated the recorded one: bit for bit only where all outputs and the loss were compared."""
    recorded = captured.facts["trace"][-1]["loss"] if captured.facts["trace"] else None
    if captured.outputs is None:
        losses = loss_text(captured, recorded, step.loss)
        return f"compared    the loss alone, for this capsule keeps no outputs: {losses}"
    ours, theirs = step.output_values, captured.outputs
    if [each.shape for each in ours] != [each.shape for each in theirs]:
        return f"differs     the network gives {len(ours)} outputs of other shapes than the {len(theirs)} recorded ones"
    same = torch.cat([same_bits(one.cpu(), other).flatten() for one, other in zip(ours, theirs, strict=True)])
    if same.all() and recorded == step.loss:
        return f"repeated    bit for bit: all {same.numel():,} outputs and the loss are the recorded ones"
    if same.all():
        return f"repeated    all {same.numel():,} outputs bit for bit; {loss_text(captured, recorded, step.loss)}"
    gaps = [(one.cpu().double() - other.double()).abs().flatten() for one, other in zip(ours, theirs, strict=True)]
    gap = torch.cat(gaps)[torch.isfinite(torch.cat(gaps))]
    most = f", by at most {float(gap.max()):.3g} where both are finite" if gap.numel() else ""
    return f"differs     in {int((~same).sum()):,} of {same.numel():,} outputs{most}{reasons(captured)}"


def loss_text(captured: Capsule, recorded: float | None, found: float | None) -> str:
    """Whether the losses agree; two that are not finite do not say it."""
    if recorded is None and found is None:
        return "both are not finite, which does not say that the step is the same"
    if recorded == found:
        return "it is the recorded one, bit for bit"
    return f"the recorded loss is {recorded}, this one {found}{reasons(captured)}"


def same_bits(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Where two tensors of one shape hold the same bits; one NaN is as good as another."""
    if a.dtype != b.dtype:
        return torch.zeros(a.shape, dtype=torch.bool)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    return (a.contiguous().view(bits) == b.contiguous().view(bits)) | (a.isnan() & b.isnan())


def reasons(captured: Capsule) -> str:
    """What may be behind a difference."""
    here = {"torch": torch.__version__, "num_threads": torch.get_num_threads()}
    others = [
        f"{name} {captured.facts[name]} there, {value} here"
        for name, value in here.items()
        if captured.facts.get(name) != value
    ]
    return f" ({', '.join(others)})" if others else " (another processor, or another library below torch)"


def step_in_words(step: StepResult) -> str:
    """What a step did, for the terminal."""
    lines = [
        f"outputs     {_ranged(step.outputs) if step.outputs else 'none'}",
        f"loss        {'not finite' if step.loss is None else f'{step.loss:.6g}'}",
        f"loss scale  {'-' if step.scale is None else f'{step.scale:g}'}, "
        f"the step was {'skipped' if step.skipped else 'taken'}",
        f"afterwards  {f'{step.state_not_finite} not finite' if step.state_not_finite else 'all weights finite'}",
    ]
    none = ["first bad   none: every operation made finite values out of finite ones"]
    return "\n".join([*lines, *(_first_bad_in_words(step.first) if step.first else none)])


def _first_bad_in_words(first: FirstBad) -> list[str]:
    place = f"in {first.module}" if first.module else "outside the network's modules"
    return [
        f"first bad   {first.op} {place}, in the {first.phase.replace('_', ' ')} phase",
        *(f"  input     {_ranged(each)}" for each in first.inputs),
        *(f"  output    {_ranged(each)}" for each in first.outputs),
    ]


def _ranged(values: Range) -> str:
    span = "nothing finite" if values.low is None else f"{values.low:.6g} to {values.high:.6g}"
    bad = f", {values.num_not_finite} not finite" if values.num_not_finite else ""
    return f"{values.dtype} {json.dumps(list(values.shape))}: {span}{bad}"


SHOWN_BY = {  # Divergence.where
    "targets": "the targets are not finite, or not within 0 to 1",
    "outputs": "the network's outputs are not finite",
    "loss": "the loss is not finite",
    "weights": "a weight is not finite after the update",
    "buffers": "a buffer (BatchNorm's running statistics, say) is not finite after the step",
    "val_outputs": "outputs in validation are not finite",
    "loss_scale": "the loss scale has fallen so low that gradients vanish",
    "skipped_steps": "too many updates in a row were skipped",
    "val_loss": "the validation loss is too high",
    "frozen": "no update was taken for a whole epoch",
}


def in_words(record: DivergenceRecord, facts: Mapping[str, Any], folder: Path, repeated: str | None = None) -> str:
    """A record and its capsule's facts, in lines for the terminal. repeated: what `compared` gave."""
    found, lines = record.diagnosis, []
    lines.append(f"step {record.event.step}: {SHOWN_BY[record.where]}")
    if record.first_sign and record.first_sign.step != record.event.step:
        lines.append(f"first sign  step {record.first_sign.step} was the first abnormal one")
    place = "".join(f", {part}" for part in (found.phase, found.module, found.op) if part)
    lines.append(f"cause       {found.cause}{place}; blame: {found.blame}")
    if found.facts.batch:
        lines.append(f"batch       {found.facts.batch}")
    if first := found.facts.first_bad_operation:
        lines += _first_bad_in_words(first)
    lines += _run_in_words(facts)
    lines += _remedies_in_words(found)
    lines += [repeated] if repeated else []
    lines += [f"not known   {note}" for note in record.notes]
    if error := found.facts.error:
        lines.append(f"not known   the cause: running the step again raised {error}")
    lines.append(f"capsule     {folder}")
    if facts.get("config") is None:
        lines.append(f"elsewhere   python -m segstudy explain {folder} --model FILE.py:build --loss FILE.py:loss")
    return "\n".join(lines)


def _run_in_words(facts: Mapping[str, Any]) -> list[str]:
    lines = []
    if (last := facts["trace"][-1:]) and last[0]["loss_scale"] is not None:
        lines.append(f"loss scale  {last[0]['loss_scale']:g} after the step")
    if room := facts.get("headroom"):
        largest = "not finite" if room["largest"] is None else f"{room['largest']:g} of {room['limit']:g}"
        text = f"headroom    {room['layer']} had the largest output at step {room['step']}: {largest}"
        if room["overflow_layer"]:
            text += f"; {room['overflow_layer']} will pass the limit in {room['overflow_in_steps']:.0f} steps"
        lines.append(text)
    return lines


def _remedies_in_words(found: Diagnosis) -> list[str]:
    """The step under other settings: with which it succeeds."""
    tried = [each for each in found.remedies if each.tried]
    if not tried:
        return []
    right, wrong = ([each.name for each in tried if bool(each.worked) is worked] for worked in (True, False))
    lines = [f"remedies    with {', '.join(right)} this step succeeds" if right else "remedies    none of those tried"]
    if wrong:
        lines.append(f"            without success: {', '.join(wrong)}")
    if found.float32_modules:
        lines.append(f"            it is enough to run in float32: {', '.join(found.float32_modules)}")
    if gap := found.search_gap:
        lines.append(f"search      {gap}")
    return lines
