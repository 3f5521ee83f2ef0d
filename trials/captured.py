"""A trial's captured step, for the instrument to run again: the one place where trials and trials.numerics meet."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from trials.config import TrialConfig
from trials.losses import Loss
from trials.numerics.capsule import Capsule
from trials.numerics.explaining.rerun import CPU
from trials.numerics.run import DTYPES, Knowledge, StepLoss, StepSettings, Training
from trials.numerics.structure import non_finite_in
from trials.numerics.training_state import SavedState, put_together
from trials.numerics.watching.health import Health
from trials.parts import build_loss
from trials.state import State, new_state

HEAD = ("head",)  # of each network (trials/models)
BRIGHTEST = 3.0  # |pixel| after ImageNet's normalisation is at most 2.64


class TrialRun:
    """A run of trials.training: a `Run` (trials/numerics/run.py)."""

    def __init__(self, config: TrialConfig, num_steps: int):
        self.config = config
        self._num_steps = num_steps

    @cached_property
    def _loss(self) -> Loss:
        return build_loss(self.config)  # a user's own is run no sooner than the step is: replay asks before

    @classmethod
    def of(cls, capsule: Capsule) -> "TrialRun":
        """The run that wrote the capsule. Raises ValueError where that was not one of this program's."""
        if capsule.facts["config"] is None:
            raise ValueError(
                "this capsule is of a training loop of your own, which only its own model and loss can run again: "
                "python -m segstudy explain CAPSULE --model FILE.py:build --loss FILE.py:loss"
            )
        return cls(TrialConfig.from_dict(capsule.facts["config"]), capsule.facts["num_steps"])

    def build(self, device: torch.device) -> Training:
        """An untrained network and what trains it."""
        return self.new_state(device).training

    def new_state(self, device: torch.device) -> State:
        """The same, with the learning-rate schedule and the counters."""
        torch.backends.cudnn.allow_tf32 = self.config.tf32
        return new_state(self.config, device, self._num_steps)

    def loss(self, model: nn.Module, batch: Any, settings: StepSettings) -> StepLoss:
        """As `trials.training.train_step` computes it."""
        images, targets, valid = (batch[name] for name in ("images", "targets", "valid"))
        with settings.autocast(images.device.type):
            outputs = model(images)
        health = Health(images.device)
        finite, usable = health.finite_outputs(outputs, 0), health.usable_targets(targets, 0)
        loss = self._loss(finite, usable, valid)
        return StepLoss(loss, health.watch_loss(loss, 0), (outputs,))

    def knowledge(self, capsule: Capsule) -> Knowledge:
        """What the configuration says of the captured step."""
        config = self.config
        images, seen = capsule.batches[0], capsule.validation
        return Knowledge(
            settings=StepSettings(
                dtype=DTYPES[config.amp_dtype] if config.amp else None,
                is_scaled=config.amp,
                float32_modules=frozenset(HEAD if config.amp and config.float32_head else ()),
                clip_norm=config.clip_norm,
                guard_statistics=config.guard_statistics,
            ),
            head=HEAD,
            batch_problem=problem_of_batch(images),
            max_val_loss_ratio=config.max_val_loss_ratio,
            uninformed_loss=float(self._loss.uninformed(seen["targets"], seen["valid"])) if seen else 0.0,
        )

    def restored(self, capsule: Capsule, of: SavedState | None = None, device: torch.device = CPU) -> State:
        """The whole state before the event's step, or in the state given; a run can go on from it."""
        state, saved = self.new_state(device), of or capsule.state
        put_together(state.training, saved)
        state.scheduler.load_state_dict(saved.facts["scheduler"])
        state.epoch, state.step = saved.facts["epoch"], saved.facts["step"]
        best = saved.facts["best_val_loss"]
        state.best_val_loss = float("inf") if best is None else best
        return state


def facts_before_step(state: State, index: int) -> dict[str, Any]:
    """What a capsule says of a state beside its tensors. index: of the step's batch in its epoch, from 0."""
    return {
        "scheduler": state.scheduler.state_dict(),
        "epoch": state.epoch,
        "step": state.step,
        "batch": index,
        "best_val_loss": state.best_val_loss if state.best_val_loss < float("inf") else None,
    }


def problem_of_batch(batch: dict[str, Tensor]) -> str | None:
    """What is wrong with a batch itself, in words. batch: images B,C,H,W, targets and valid B,1,H,W."""
    if bad := non_finite_in(batch):
        return bad
    if (largest := float(batch["images"].abs().max())) > BRIGHTEST:
        return f"a normalised pixel of {largest:g}, beyond {BRIGHTEST:g}"
    for name in ("targets", "valid"):
        values = batch[name]
        if values.min() < 0 or values.max() > 1:
            return f"{name} from {float(values.min()):g} to {float(values.max()):g}, not within 0 to 1"
    return None
