"""One training run, epoch by epoch. Knows nothing of Ray or of where results go."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from trials import checkpoint
from trials.captured import TrialRun, facts_before_step
from trials.config import TrialConfig
from trials.data.loader import DRAWS, Batch, TrainLoader, evaluation_batches, split_indices
from trials.evaluation import Evaluation, evaluate
from trials.guards import clip, counted_steps, keep_above
from trials.loss_scale import gradients_vanish
from trials.measurements import METRICS, EpochMetrics
from trials.numerics import capsule as capsules
from trials.numerics.capsule import MAX_VALIDATION, VALIDATED
from trials.numerics.explaining import record as records
from trials.numerics.explaining.record import CAPSULE, DivergenceRecord
from trials.numerics.watching.forecast import first_overflow
from trials.numerics.watching.health import FROZEN_AFTER, Divergence, earliest, highest_loss
from trials.numerics.watching.layers import FILE as LAYERS
from trials.numerics.watching.layers import append_layers, largest_by_layer, tightest
from trials.numerics.watching.monitor import Watched
from trials.optimizers import advance
from trials.outcome import keep_lines_until
from trials.parts import prepared_data, train_loader, validation_images
from trials.rollback import Rollback
from trials.scores import improves
from trials.state import (
    State,
    Watch,
    is_due,
    keep_best,
    keep_last,
    new_state,
    new_watch,
    pick_device,
    restore,
    start_again,
)
from trials.step import forward

NAN = float("nan")


@dataclass(frozen=True)
class TrainedEpoch:
    """The training part of an epoch."""

    loss: float  # NaN where it diverged
    lr: float  # of the last step
    num_steps: int
    num_skipped_steps: int
    divergence: Divergence | None
    watched: Watched
    images_per_s: float


def run(config: TrialConfig, *, out: Path | None = None, resume: bool = False) -> Iterator[EpochMetrics]:
    """Trains and validates, one EpochMetrics an epoch; ends after `config.epochs`, or where it diverged if it stops.

    out: a folder that gets best.pt, and the validation masks and scores of the epoch that is the best by
    `config.metric`; last.pt when it is due (trials/state.py, is_due), at an event that the run survives, and at its
    end; all before their epoch is yielded; layers.jsonl; and where it diverged a capsule
    (trials/numerics/capsule.py). resume: go on from out/last.pt, with the numbers that an uninterrupted run gives, the
    epochs since then once more: bit for bit on a CPU, under the thread count that was saved and is set again.

    Raises ValueError for a resume without out or of another run, FileNotFoundError where there is nothing to resume,
    and what the data raise (trials/data/prepared.py).
    """
    device = pick_device(config.device)
    torch.backends.cudnn.allow_tf32 = config.tf32
    prepared = prepared_data(config)
    loader = train_loader(config, prepared, device)
    val_indices = split_indices(prepared, "val", config.val_limit)
    torch.manual_seed(config.seed)
    num_steps = config.epochs * len(loader)
    state = new_state(config, device, num_steps)
    watch = new_watch(state, device, config)
    if resume:
        if out is None:
            raise ValueError("resume=True needs out, the folder of the run that goes on")
        restore(state, watch, out / checkpoint.LAST, config)
        keep_lines_until(out / LAYERS, state.epoch)
    is_rolled_back = config.on_divergence == "rollback"
    rollback = Rollback(state, config.rollback_lr_factor, config.max_rollbacks) if is_rolled_back else None
    goes_on = config.on_divergence == "continue"
    record = _earlier_record(out, state.epoch) if out is not None and resume else None
    for epoch in range(state.epoch + 1, config.epochs + 1):
        started = time.perf_counter()
        trained = train_epoch(state, loader, watch, epoch, config)
        is_over = trained.divergence is not None and not goes_on
        images = evaluation_batches(prepared, val_indices, config.batch_size, config.border, device)
        evaluation = None if is_over else evaluate(state.model, images, state.loss)
        after = _divergence_after_epoch(state, watch, trained, evaluation, config)
        event = trained.divergence or after
        is_first_event = event is not None and record is None
        state.epoch = epoch
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            append_layers(out, trained.watched.layers, epoch)
            if record:
                record = record.after(time.perf_counter() - started)
                record.write(out)
            elif is_first_event:  # over resumes too
                seconds = state.seconds + time.perf_counter() - started
                shown = event.where in VALIDATED
                validation = validation_images(config, prepared, MAX_VALIDATION, device) if shown else None
                _write_capsule(out, watch, event, config, num_steps, validation)
                record = _explain(out, config, device, seconds)
        is_frozen = event is not None and event.where == "frozen"
        state.seconds += time.perf_counter() - started
        rolled_back = event is not None and rollback is not None and rollback.back(state, keep_scale=is_frozen)
        is_saved = out is not None and (is_first_event or (not rolled_back and is_due(state, config)))
        if rolled_back:
            event = None
            start_again(watch, state, config)
        else:
            for layer, largest in largest_by_layer(trained.watched.layers).items():
                watch.largest.setdefault(layer, {})[epoch] = largest
        measured = _measurements(trained, evaluation, is_over)
        improved = not rolled_back and _note_best(state, measured[config.metric], METRICS[config.metric].mode)
        if improved and out is not None:
            keep_best(out, state, config, evaluation, [prepared.names[index] for index in val_indices])
        if not rolled_back and (not event or is_frozen or goes_on):
            _note_losses(state, trained, evaluation)
            if rollback and state.high_val_epochs == 0:
                rollback.remember(state)
            if out is not None and is_saved:
                keep_last(out, state, watch, config)
        is_over = event is not None and not goes_on
        is_saved = is_saved or (out is not None and is_over)
        seconds = time.perf_counter() - started
        yield _metrics(
            state, config, watch, trained, measured, event, is_frozen, rolled_back, record, is_saved, seconds
        )
        if is_over:
            return


def _earlier_record(out: Path, epoch: int) -> DivergenceRecord | None:
    """What an interrupted run had written of its first event; None where that lies after `epoch`, and so ahead."""
    record = records.read(out)
    return None if record is None or record.event.epoch > epoch else record


def _write_capsule(
    out: Path, watch: Watch, event: Divergence, config: TrialConfig, num_steps: int, validation: Batch | None
) -> None:
    facts = {"config": config.to_dict(), "num_steps": num_steps, "draws": DRAWS}
    watch.recorder.write(out / CAPSULE, event, facts, vars(validation) if validation else None)


def _explain(out: Path, config: TrialConfig, device: torch.device, seconds_before: float) -> DivergenceRecord:
    """Why it diverged, from the capsule that was written."""
    captured = capsules.read(out / CAPSULE)
    run = TrialRun.of(captured)
    return records.explain(
        out,
        run,
        run.knowledge(captured),
        budget_s=config.diagnosis_budget_s,
        device=device,
        seconds_before=seconds_before,
        on_divergence=config.on_divergence,
    )


def train_epoch(state: State, loader: TrainLoader, watch: Watch, epoch: int, config: TrialConfig) -> TrainedEpoch:
    """One pass over the training split; ends early where it diverged, unless the configuration says to continue."""
    state.model.train()
    watch.health.start_epoch()
    started, first_step = time.perf_counter(), state.step
    losses: list[torch.Tensor] = []
    sizes: list[int] = []
    num_skipped, lr = 0, 0.0
    divergence = None
    for watch.batch_index, batch in enumerate(loader.batches(epoch)):
        state.step += 1
        lr = state.optimizer.param_groups[0]["lr"]
        loss, skipped = train_step(state, batch, watch, config)
        losses.append(loss)
        sizes.append(len(batch.images))
        num_skipped += skipped
        divergence = divergence or _divergence_at_step(state, watch, batch, config)
        if divergence:
            watch.recorder.stop()
            if config.on_divergence != "continue":
                break
    divergence = earliest(divergence, watch.health.first_divergence())
    watch.loss_scale = state.scaler.get_scale() if config.amp else None
    mean = torch.stack(losses).double().mul(torch.tensor(sizes, device=loss.device)).sum() / sum(sizes)
    return TrainedEpoch(
        loss=float(mean),
        lr=lr,
        num_steps=state.step - first_step,
        num_skipped_steps=num_skipped,
        divergence=divergence,
        watched=watch.monitor.epoch_ended(),
        images_per_s=sum(sizes) / (time.perf_counter() - started),
    )


def train_step(state: State, batch: Batch, watch: Watch, config: TrialConfig) -> tuple[torch.Tensor, bool]:
    """Forward under autocast, loss in float32 outside, backward, step (Lab 2 report, "Training").

    Gives the loss, a scalar, NaN where outputs or targets were not usable; and whether GradScaler skipped the step.
    """
    watch.recorder.before_step(vars(batch), facts_before_step(state, watch.batch_index))
    if watch.statistics:
        watch.statistics.save()
    with watch.monitor.sample(state.step):
        outputs = forward(state.model, batch.images, config)
        watch.monitor.outputs(outputs)
        watch.recorder.outputs((outputs,))
        outputs = watch.health.finite_outputs(outputs, state.step)
        targets = watch.health.usable_targets(batch.targets, state.step)
        loss = state.loss(outputs, targets, batch.valid)
        measured = watch.health.watch_loss(loss, state.step)
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(loss).backward()
    watch.monitor.before_update(state.scaler._scale if config.amp else 1.0)
    clip(state.scaler, state.optimizer, config.clip_norm)
    watch.recorder.before_update()
    with counted_steps(state.optimizer) as taken:
        state.scaler.step(state.optimizer)
    skipped = not taken
    state.scaler.update()
    keep_above(state.scaler, config.loss_scale_floor)
    if skipped and watch.statistics:
        watch.statistics.put_back()
    scale = state.scaler._scale.clone() if config.amp else None
    seen = watch.recorder.after_step(measured, scale, skipped)
    watch.health.watch_state(seen.weights_finite, seen.buffers_finite, state.step)
    watch.monitor.after_update(skipped, seen.update_ratio)
    advance(state.scheduler)
    return measured, skipped


def _divergence_at_step(state: State, watch: Watch, batch: Batch, config: TrialConfig) -> Divergence | None:
    """What the host knows already, and at steps at which it may wait, what the device knows."""
    may_read = watch.health.may_read(state.step)
    if may_read and (seen := watch.health.first_divergence()):
        return seen
    if not config.amp:
        return None
    if may_read:
        watch.loss_scale = state.scaler.get_scale()
        least, dtype = config.min_loss_scale, config.amp_dtype
        if gradients_vanish(watch.loss_scale, batch, state.loss, min_loss_scale=least, amp_dtype=dtype):
            return Divergence(state.step, "loss_scale")
    return Divergence(state.step, "skipped_steps") if watch.monitor.skipped_run >= config.max_skipped_run else None


def _divergence_after_epoch(
    state: State, watch: Watch, trained: TrainedEpoch, evaluation: Evaluation | None, config: TrialConfig
) -> Divergence | None:
    """What validation shows, and whether no step was taken; also counts the epochs in which validation was too high.

    It is asked of every epoch, also where training had diverged: that count is of epochs in a row.
    """
    where = "val_outputs" if evaluation is None else None
    if evaluation is not None and not math.isfinite(evaluation.loss):
        where = "val_loss"
    is_high = False
    if evaluation is not None:
        ratio, floor = config.max_val_loss_ratio, evaluation.uninformed_loss
        is_high = evaluation.loss > highest_loss(state.best_val_loss, floor, ratio)
        is_high = is_high and trained.loss <= highest_loss(state.best_train_loss, floor, ratio)
    state.high_val_epochs = state.high_val_epochs + 1 if is_high else 0
    if where is None and state.high_val_epochs >= config.val_loss_patience:
        where = "val_loss"
    if where is None and trained.num_skipped_steps == trained.num_steps and watch.monitor.skipped_run >= FROZEN_AFTER:
        where = "frozen"
    return Divergence(state.step, where) if where else None


def _measurements(trained: TrainedEpoch, evaluation: Evaluation | None, is_over: bool) -> dict[str, float]:
    """A value for each of METRICS; NaN where it was not measured. is_over: training was broken off in this epoch."""
    missing = evaluation is None
    return {
        "train_loss": NAN if is_over else trained.loss,
        "val_loss": NAN if missing else evaluation.loss,
        "val_dice": NAN if missing else float(evaluation.dice.mean()),
        "val_dice_soft": NAN if missing else evaluation.dice_soft,
        "val_iou": NAN if missing else float(evaluation.iou.mean()),
        "val_bce": NAN if missing else evaluation.bce,
    }


def _note_best(state: State, value: float, mode: str) -> bool:
    """Whether this epoch is the best so far; if so the state says so."""
    if not math.isfinite(value) or not improves(value, state.best_value, mode):
        return False
    state.best_epoch, state.best_value = state.epoch, value
    return True


def _note_losses(state: State, trained: TrainedEpoch, evaluation: Evaluation | None) -> None:
    """The best losses of good epochs, which tell a validation loss that is too high."""
    if evaluation is not None:
        state.best_val_loss = min(state.best_val_loss, evaluation.loss)
        state.best_train_loss = min(state.best_train_loss, trained.loss)


def _metrics(
    state: State,
    config: TrialConfig,
    watch: Watch,
    trained: TrainedEpoch,
    measured: dict[str, float],
    event: Divergence | None,
    is_frozen: bool,  # also where it was rolled back
    rolled_back: bool,
    record: DivergenceRecord | None,
    saved: bool,
    epoch_s: float,
) -> EpochMetrics:
    watched = trained.watched
    divergence = event if event and event.where != "frozen" else None
    verdict = record.diagnosis if record and event and record.event.step == event.step else None
    tight, (overflow_layer, overflow_in_epochs) = tightest(watched.layers), first_overflow(watch.largest, state.epoch)
    return EpochMetrics(
        epoch=state.epoch,
        **measured,
        lr=trained.lr,
        loss_scale=watch.loss_scale,
        num_steps=trained.num_steps,
        num_skipped_steps=trained.num_skipped_steps,
        longest_skipped_run=watched.longest_skipped_run,
        rolled_back=rolled_back,
        num_rollbacks=state.num_rollbacks,
        grad_norm=watched.grad_norm,
        update_ratio=watched.update_ratio,
        saturated_share=watched.saturated_share,
        tightest_layer=tight.layer if tight else None,
        tightest_max=tight.activation_max if tight and math.isfinite(tight.activation_max) else None,
        overflow_layer=overflow_layer,
        overflow_in_epochs=overflow_in_epochs,
        frozen=is_frozen,
        diverged=divergence is not None,
        diverged_step=divergence.step if divergence else None,
        diverged_where=divergence.where if divergence else None,
        diverged_cause=verdict.cause if verdict else None,
        diverged_blame=verdict.blame if verdict else None,
        best_epoch=state.best_epoch,
        best_value=state.best_value,
        saved=saved,
        images_per_s=trained.images_per_s,
        epoch_s=epoch_s,
    )
