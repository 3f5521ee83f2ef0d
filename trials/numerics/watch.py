"""Watches any training loop from outside: `with watch.step(batch): ...`, `watch.broken`, `watch.explain(loss=...)`."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from trials.numerics.explaining.explanation import Explanation, explain_capsule
from trials.numerics.explaining.record import CAPSULE, FILE
from trials.numerics.finite import all_finite, finite_or_none
from trials.numerics.loop_run import is_compiled, rebuilt, whole
from trials.numerics.run import StepSettings, Training
from trials.numerics.structure import largest_by_name
from trials.numerics.watching.health import Divergence, FirstSteps, earliest
from trials.numerics.watching.late_reader import LateReader
from trials.numerics.watching.layer_history import LayerHistory
from trials.numerics.watching.observer import Observed, Observer
from trials.numerics.watching.recorder import Recorder

PLACES = ("outputs", "loss", "loss_scale", "weights", "buffers")  # the order in which one step reaches them
STEPS_LATE = 16  # at most, after which the host knows of an event where each look would wait for the device
MAX_SKIPPED_RUN = 50  # steps that GradScaler skips in a row
MAX_BATCHES = 64  # whose gradients are accumulated before one update; more are not kept for a re-run
GONE_SHARE = 0.5  # of the gradients at the outputs: more that vanish, under a scale below 1, and nothing is learnt
VAL_LOSS_PATIENCE = 2  # how often in a row a validation loss may be too high


class Watch:
    """Of one training loop. `step` surrounds each batch's forward pass, loss, backward pass and update.

    model: any nn.Module, or several by name (the two of a GAN, say). optimizer: one, or a sequence. scaler: the
    loop's GradScaler, where it has one. out: a folder that gets capsule/ and divergence.json when something goes
    wrong, and layers.jsonl. steps_late: at most how many steps after the event `broken` becomes true; None: 0 on a
    CPU, STEPS_LATE elsewhere, where looking at each step would wait for the device. max_val_loss_ratio: see
    `validation`.

    Raises ValueError where a record of an earlier run lies in `out`, and for arguments that are none of these.
    """

    def __init__(
        self,
        model: nn.Module | Mapping[str, nn.Module],
        optimizer: Optimizer | Sequence[Optimizer],
        *,
        scaler: GradScaler | None = None,
        out: str | Path,
        steps_late: int | None = None,
        max_val_loss_ratio: float = 3.0,
    ):
        networks, optimizers = checked(model, optimizer)
        self.out = free_folder(Path(out))
        network = whole(networks)
        self._scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self.training = Training(network, optimizers, self._scaler)
        device = next(network.parameters()).device
        self.steps_late = (0 if device.type == "cpu" else STEPS_LATE) if steps_late is None else steps_late
        self._first = FirstSteps(PLACES, device, looks=self.steps_late == 0)
        self._observer = Observer(networks, optimizers, self._scaler, device)
        self._recorder = Recorder(self.training, steps_late=self.steps_late, seen=self._first.seen)
        self._reader = LateReader(device, self.steps_late)
        self._layers = LayerHistory(network, self.out, hooks=not is_compiled(networks))
        self._device = device
        self._started = time.perf_counter()
        self._modules = [(name, module) for name, module in network.named_modules() if name]
        self._eval_modules: list[str] = []  # of the last step; a validation after it switches all of them
        self._is_open = False  # gradients of earlier steps wait for an update
        self._losses: list[list[Tensor]] = []  # of the update's steps: more than one in a list where a step has several
        self._is_whole = True  # every batch of the update is kept
        self._skipped_run = 0
        self._graph: tuple[str, ...] | None = None  # of the loss, from the first step that shows it
        self._autocast: tuple[torch.dtype, bool] | None = None
        self._max_val_loss_ratio = max_val_loss_ratio
        self._best_val_loss, self._num_high = float("inf"), 0
        self.num_steps = 0
        self.event: Divergence | None = None

    @property
    def broken(self) -> bool:
        """Whether something is not finite, or training stands still; known at most `steps_late` steps after it."""
        return self.event is not None

    @contextmanager
    def step(self, batch: Any) -> Iterator[None]:
        """Surrounds one batch: forward, loss, backward and, where it comes with this batch, the update.

        batch: what the loss will be computed from when the step is run again; tensors in any structure. Gradients may
        be accumulated over several steps. What the loop raises is passed on, after it was noted.
        """
        if self.event:
            yield
            return
        self.num_steps += 1
        self._begin(batch)
        needs_graph = self._graph is None
        try:
            with (
                self._layers.sampled(self.num_steps),
                self._observer.entered(self._recorder.before_update, with_graph=needs_graph) as seen,
            ):
                yield
        except Exception:
            self._end(seen)
            if self.event is None:
                self._look(wait=True)
            raise
        self._end(seen)

    def _begin(self, batch: Any) -> None:
        self._is_whole = self._is_whole and len(self._losses) < MAX_BATCHES
        if not self._is_open:
            self._is_whole, self._losses = True, []
            facts = {"step": self.num_steps, "epoch": None, "batch": None}
            self._recorder.before_step(batch, facts)
        elif self._is_whole:
            self._recorder.add_batch(batch)

    def _end(self, seen: Observed) -> None:
        """Everything is noted on the device, and what has arrived on the host is looked at."""
        step = self.num_steps
        self._graph = self._graph or seen.graph or None
        self._autocast = seen.autocast or self._autocast
        self._eval_modules = [name for name, module in self._modules if not module.training]
        self._losses.append(seen.losses)
        if seen.outputs:
            self._recorder.outputs(seen.outputs)
            self._first.note("outputs", all_of([all_finite(output) for output in seen.outputs]), step)
        if seen.losses:
            self._first.note("loss", all_of([torch.isfinite(loss) for loss in seen.losses]), step)
        self._is_open = not (seen.attempted or seen.updated)
        if not self._is_open:
            self._note_update(seen, step)
        self._reader.push(step, self._first.values())
        self._look()

    def _note_update(self, seen: Observed, step: int) -> None:
        skipped = bool(seen.attempted - seen.updated)
        scale = self._scaler._scale if self._scaler is not None else None
        losses = [loss for own in self._losses for loss in own]
        loss = torch.stack(losses).sum() if losses else torch.full((), float("nan"), device=self._device)
        update = self._recorder.after_step(loss, None if scale is None else scale.clone(), skipped)
        self._first.note("weights", update.weights_finite, step)
        self._first.note("buffers", update.buffers_finite, step)
        if scale is not None and seen.vanished:
            share = torch.stack(seen.vanished).min()
            self._first.note("loss_scale", ~((share > GONE_SHARE) & (scale.reshape(()) < 1)), step)
        self._skipped_run = self._skipped_run + 1 if skipped else 0

    def _look(self, *, wait: bool = False) -> None:
        """What the host knows by now."""
        for _, values in self._reader.arrived(wait=wait):
            self.event = earliest(self.event, self._first.first(values))
        if self.event is None and self._skipped_run >= MAX_SKIPPED_RUN:
            self.event = Divergence(self.num_steps, "skipped_steps")
        if self.event:
            self._write()

    def finish(self) -> None:
        """Looks at every step until now, waiting for the device: after it `broken` is true of the last one, too."""
        if self.event is None:
            self._look(wait=True)

    def validation(self, loss: float | Tensor, batch: Any = None) -> None:
        """Tells the loss of a validation, a scalar, in evaluation mode; lower is better. After it `broken` may be true.

        An event is a loss that is not finite, or VAL_LOSS_PATIENCE in a row above max_val_loss_ratio times the best.
        batch: one that the loss was measured on: with it `explain` can tell whether BatchNorm's statistics are to
        blame. float(loss) waits for the device.
        """
        if self.event:
            return
        value = float(loss)
        is_high = not value <= self._max_val_loss_ratio * self._best_val_loss
        self._num_high = self._num_high + 1 if is_high else 0
        is_finite = abs(value) < float("inf")
        if is_finite and self._num_high < VAL_LOSS_PATIENCE:
            self._best_val_loss = min(self._best_val_loss, value)
            return
        self._look(wait=True)
        if self.event is None and self.num_steps:
            self.event = Divergence(self.num_steps, "val_loss")
            self._write(batch)

    def _write(self, validation: Any = None) -> None:
        """The capsule, at once: the loop may end before it asks."""
        assert self.event is not None
        self._recorder.stop_before(is_open=self._is_open)
        moment = self._recorder.moment_of(self.event.step)
        best = self._best_val_loss
        moment.facts["best_val_loss"] = best if best < float("inf") else None
        dtype, cuda_rules = self._autocast or (None, True)
        settings = StepSettings(dtype, cuda_rules=cuda_rules, is_scaled=self._scaler is not None)
        facts = {
            "config": None,
            "num_steps": self.num_steps,
            "settings": settings.to_dict(),
            "losses": self._loss_values() if self._recorder.is_last(moment) else [],
            "is_whole": self._is_whole,
            "loss_graph": self._graph,
            "eval_modules": self._eval_modules,
            "max_val_loss_ratio": self._max_val_loss_ratio,
            "head": self._layers.head,
            "headroom": self._layers.headroom(),
            "usual_largest": largest_by_name(self._recorder.batches_before(moment)),
            "seconds_before": time.perf_counter() - self._started,
        }
        self._recorder.write(self.out / CAPSULE, self.event, facts, validation)

    def _loss_values(self) -> list[list[float | None]]:
        """Of each batch whose gradients the update is made of, the losses that were differentiated."""
        return [[finite_or_none(float(loss)) for loss in own] for own in self._losses]

    def explain(
        self,
        loss: Callable[[Any, Any], Tensor] | None = None,
        *,
        budget_s: float = 60.0,
        device: str | torch.device | None = None,
    ) -> Explanation:
        """Why it broke: cause, place and remedies; print() it. Writes divergence.json into `out`.

        loss: (model, batch) -> a scalar, as the loop computes it but without autocast, which is opened around it;
        model is a copy. Without it the step cannot be run again, and only what was seen is told. budget_s: for the
        search among remedies. device: to run the step again on; None: the loop's, or the CPU where that has no room.

        Raises RuntimeError where nothing has gone wrong.
        """
        if not self.event:
            raise RuntimeError(f"nothing has gone wrong in {self.num_steps} steps; ask watch.broken before explain")
        place = self._device if device is None else torch.device(device)
        build = rebuilt(self.training)
        return explain_capsule(self.out / CAPSULE, build, loss, budget_s=budget_s, device=place)


def checked(model: Any, optimizer: Any) -> tuple[dict[str, nn.Module], tuple[Optimizer, ...]]:
    """The networks by name, "" for one alone, and the optimisers; ValueError for anything else."""
    networks = dict(model) if isinstance(model, Mapping) else {"": model}
    optimizers = tuple(optimizer) if isinstance(optimizer, list | tuple) else (optimizer,)
    if not networks or not all(isinstance(each, nn.Module) for each in networks.values()):
        raise ValueError(f"model is {type(model).__name__}; give an nn.Module, or a dictionary of several by name")
    if not optimizers or not all(isinstance(each, Optimizer) for each in optimizers):
        raise ValueError(f"optimizer is {type(optimizer).__name__}; give a torch.optim.Optimizer, or a list of several")
    if not any(True for network in networks.values() for _ in network.parameters()):
        raise ValueError("the model has no parameters yet; give it its weights (a first forward pass) before watch()")
    return networks, optimizers


def free_folder(out: Path) -> Path:
    """The folder, made; ValueError where it holds a divergence of an earlier run."""
    held = [name for name in (FILE, CAPSULE) if (out / name).exists()]
    if held:
        raise ValueError(f"{out.absolute()} holds another run's {' and '.join(held)}; give out= a new folder")
    out.mkdir(parents=True, exist_ok=True)
    return out


def all_of(flags: list[Tensor]) -> Tensor:
    """Whether all of these bool scalars are true; on the device."""
    return torch.stack(flags).all()
