"""All that the causes of a divergence are told apart by."""

import math
from dataclasses import dataclass
from statistics import median

from trials.numerics.capsule import Capsule
from trials.numerics.explaining.batchnorm_statistics import Validated
from trials.numerics.explaining.remedies import Remedies
from trials.numerics.explaining.rerun import StepResult
from trials.numerics.run import Knowledge

JUMP = 10.0  # a weight's update over its usual one, or a loss over its usual one


@dataclass(frozen=True)
class Evidence:
    """All that the causes are told apart by."""

    capsule: Capsule
    known: Knowledge
    step: StepResult  # under the tracer
    asked: StepResult  # whose first bad operation shows the cause: `step`, or it under the scale before the fall
    others: Remedies
    validated: Validated | None
    optimized: tuple[str, ...]  # the model's names of the parameters in the optimisers' order

    @property
    def loss_growth(self) -> float:
        """The step's loss in float32 over the usual one of the first half of the trace; infinite if not finite."""
        usual = usual_loss(self.capsule)
        if self.others.float32.loss is None:
            return math.inf
        return self.others.float32.loss / usual if usual else 1.0

    @property
    def largest_update(self) -> float:
        """Of the last steps that were taken, the longest over the norm of the weights before it."""
        lines = [line for line in self.capsule.facts["trace"] if not line["skipped"]]
        ratios = [math.inf if line["update_ratio"] is None else line["update_ratio"] for line in lines[:-1]]
        return max(ratios, default=0.0)

    @property
    def jumped(self) -> dict[str, float]:
        """Weight tensors whose update was far above their usual one, in the last steps."""
        jumps = {name: math.inf if jump is None else jump for name, jump in self.capsule.facts["jumps"].items()}
        return {name: jump for name, jump in jumps.items() if jump > JUMP}


def usual_loss(capsule: Capsule) -> float | None:
    """The median of the first half of the trace; None where no loss in it is finite."""
    losses = [line["loss"] for line in capsule.facts["trace"] if line["loss"] is not None]
    return median(losses[: max(1, len(losses) // 2)]) if losses else None
