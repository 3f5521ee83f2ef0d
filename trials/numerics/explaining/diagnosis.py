"""What is known of a divergence once its step has been run again, as frozen records."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from trials.numerics.explaining.float32_search import MAX_SETS
from trials.numerics.explaining.operator_tracer import FirstBad, Range
from trials.numerics.explaining.remedies import Remedy


@dataclass(frozen=True)
class Facts:
    """What a verdict rests on: measured at the captured step, run again."""

    event: str | None = None  # Divergence.where
    batch: str | None = None  # what is wrong with the batch, in words
    first_bad_operation: FirstBad | None = None
    outputs: Range | None = None
    num_wrong_saturated_outputs: int = 0  # exactly 0 or 1, with a gradient that is not finite
    loss: float | None = None  # None where it is not finite
    loss_scale: float | None = None  # None without a GradScaler
    first_bad_at_loss_scale: float | None = None  # another than `loss_scale` where that had fallen before
    step_skipped: bool = False
    not_finite_after: str | None = None  # weights or buffers
    float32_loss_over_usual: float | None = None  # None: not finite
    largest_update_jumps: Mapping[str, float | None] = field(default_factory=dict)  # weight: update over its usual one
    validation_loss: Mapping[str, Any] | None = None  # batchnorm_statistics.Validated
    error: str | None = None  # what running the step again raised; nothing else is known then

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        if self.error:
            return {"error": self.error}
        return {name: value for name, value in asdict(self).items() if name != "error"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Facts":
        """What `to_dict` gave; an older version's has fewer."""
        values = {name: values[name] for name in (each.name for each in fields(cls)) if name in values}
        if values.get("outputs"):
            values["outputs"] = Range.from_dict(values["outputs"])
        if values.get("first_bad_operation"):
            values["first_bad_operation"] = FirstBad.from_dict(values["first_bad_operation"])
        return cls(**values)


@dataclass(frozen=True)
class Diagnosis:
    """The cause of a divergence, its place, and what would have made the step right."""

    cause: str  # of CAUSES (rules.py)
    blame: str  # of BLAMES
    phase: str | None = None  # of PHASES
    module: str | None = None  # full name; None where it is none of the network's, or not one alone
    op: str | None = None
    facts: Facts = field(default_factory=Facts)
    remedies: tuple[Remedy, ...] = ()
    float32_modules: tuple[str, ...] | None = None  # None: not searched, or no set of modules suffices
    float32_finite: bool | None = None  # the step in float32: outputs, loss, weights and buffers; None: not known
    float32_loss: float | None = None
    search_complete: bool = False
    search_cut_by: str | None = None  # time, or sets
    search_budget_s: float | None = None

    @classmethod
    def impossible(cls, error: str) -> "Diagnosis":
        """Of a step that could not be run again."""
        return cls("undetermined", "unknown", facts=Facts(error=error))

    @property
    def search_gap(self) -> str | None:
        """What the search for remedies left out, and why, as a clause; None where it came to its end."""
        if self.search_complete:
            return None
        if self.facts.error:
            return f"not made: re-running the step raised {self.facts.error}"
        untried = [remedy.name for remedy in self.remedies if not remedy.tried]
        missing = [f"{', '.join(untried)} not tried"] if untried else []
        if self.float32_modules:
            missing.append(f"fewer than the {len(self.float32_modules)} modules listed may suffice in float32")
        elif "float32" in [remedy.name for remedy in self.remedies] and "float32" not in untried:
            missing.append("the search for modules that need float32 did not end")
        after = "cut short" if self.search_budget_s is None else f"cut short after {self.search_budget_s:g} s"
        after = f"cut short after {MAX_SETS} sets of modules" if self.search_cut_by == "sets" else after
        return f"{after}: {'; '.join(missing)}" if missing else after

    def to_dict(self) -> dict[str, Any]:
        """Under the names of divergence.json."""
        step = {"finite": self.float32_finite, "loss": self.float32_loss}
        return {
            "cause": self.cause,
            "blame": self.blame,
            "phase": self.phase,
            "module": self.module,
            "op": self.op,
            "remedies": [asdict(remedy) for remedy in self.remedies],
            "float32_modules": list(self.float32_modules) if self.float32_modules else None,
            "float32_step": None if self.float32_finite is None else step,
            "search_complete": self.search_complete,
            "search_cut_by": self.search_cut_by,
            "search_budget_s": self.search_budget_s,
            "evidence": self.facts.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Diagnosis":
        """What `to_dict` gave, or divergence.json holds; of an older version, too."""
        own = {name: values[name] for name in (each.name for each in fields(cls)) if name in values}
        known = {each.name for each in fields(Remedy)}
        remedies = [{name: each[name] for name in known & each.keys()} for each in values["remedies"]]
        step = values.get("float32_step") or {}
        modules = values.get("float32_modules")
        return cls(
            **{
                **own,
                "facts": Facts.from_dict(values["evidence"]),
                "remedies": tuple(Remedy(**each) for each in remedies),
                "float32_modules": tuple(modules) if modules else None,
                "float32_finite": step.get("finite"),
                "float32_loss": step.get("loss"),
            }
        )
