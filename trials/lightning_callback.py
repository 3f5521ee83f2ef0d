"""segstudy.LightningCallback: what segstudy.watch does in a plain loop, in a Lightning training."""

import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from trials.numerics.explaining.explanation import Explanation
from trials.numerics.watch import Watch

OWN_LOSS_FAILED = (
    "training_step cannot be run again as it is; give the loss by itself, without autocast: "
    "LightningCallback(out=..., loss=lambda module, batch: ...)"
)


class LightningCallback(Callback):
    """Stops the training where it breaks, prints why, and writes capsule/ and divergence.json into `out`.

    loss: (module, batch) -> a scalar, for running the step again; None: the module's own training_step, whose logging
    is switched off, where it is Lightning that calls backward. budget_s: for the search among remedies; module and
    batch are those of the captured step. After it, `explanation` is what was printed, None for a healthy training.

    `fit` raises ValueError on more than one device.
    """

    def __init__(
        self, out: str | Path, *, loss: Callable[[Any, Any], Tensor] | None = None, budget_s: float = 60.0
    ) -> None:
        self._out, self._loss, self._budget_s = out, loss, budget_s
        self.watch: Watch | None = None
        self.explanation: Explanation | None = None
        self._step: Any = None
        self._batch_index = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The optimisers and the scaler exist now. Raises ValueError on more than one device."""
        if trainer.world_size > 1:
            raise ValueError(f"LightningCallback watches one device, and there are {trainer.world_size}; devices=1")
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        self.watch = Watch(pl_module, trainer.optimizers, scaler=scaler, out=self._out)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The step begins; the batch is on the device already."""
        assert self.watch is not None
        self._batch_index = batch_idx
        self._step = self.watch.step(batch)
        self._step.__enter__()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The update was taken, or the gradients are accumulated."""
        self._leave(None)
        self._explain_if_broken(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What the last steps did is looked at, too."""
        assert self.watch is not None
        self.watch.finish()
        self._explain_if_broken(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """The error is passed on by Lightning; why it came may be known."""
        if self._step is not None and isinstance(exception, Exception):
            self._leave(exception)
            self._explain_if_broken(trainer, pl_module)

    def _leave(self, error: Exception | None) -> None:
        step, self._step = self._step, None
        try:
            step.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
        except Exception as passed_on:
            if passed_on is not error:
                raise

    def _explain_if_broken(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.watch is None or not self.watch.broken or self.explanation is not None:
            return
        trainer.should_stop = True
        loss = self._loss
        if loss is None and pl_module.automatic_optimization:
            loss = self._own_loss
        self.explanation = self.watch.explain(loss, budget_s=self._budget_s)
        print(self.explanation, file=sys.stderr)
        if loss == self._own_loss and self.explanation.record.diagnosis.facts.error:
            print(OWN_LOSS_FAILED, file=sys.stderr)

    def _own_loss(self, module: LightningModule, batch: Any) -> Tensor:
        """What the module's training_step gives for the batch, without a trainer around it."""
        module.log = module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
        takes_index = len(inspect.signature(module.training_step).parameters) > 1
        result = module.training_step(batch, self._batch_index) if takes_index else module.training_step(batch)
        return result["loss"] if isinstance(result, Mapping) else result
