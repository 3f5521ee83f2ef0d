"""What one epoch of a run showed, and which of it runs can be ranked by. A new measurement is a field here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

LOSS = ("loss", "focal_gamma", "hard_fraction", "batch_size")
OWN = ".py:"  # in the name of what is a user's own
READ_BY_LOSS = {  # settings that only these losses look at: dice and hard_bce are taken over all pixels of a batch
    "focal_gamma": ("focal",),
    "hard_fraction": ("hard_bce",),
    "batch_size": ("dice", "bce_dice", "hard_bce"),
}
MASKS = ("border", "image_size")  # which masks the outputs are held against
PICTURES = (  # of the training split, as the network sees them
    *("train_limit", "augment", "flip_p", "rotate90_p", "crop_scale_min", "affine_p", "blur_p"),
    *("elastic_p", "elastic_alpha", "elastic_sigma"),
)


@dataclass(frozen=True)
class Metric:
    """A measurement that runs can be ranked by."""

    mode: str  # "max" or "min": which end of it is best
    worst: float  # what a run that never measured it counts for where a number is needed: in a search
    depends_on: tuple[str, ...]  # settings that change what is measured; runs that differ in one cannot be compared


def _metric(mode: str, worst: float, depends_on: tuple[str, ...] = ()) -> Any:
    return field(metadata={"metric": Metric(mode, worst, depends_on)})


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch showed; NaN where it could not be measured. An epoch in which a run diverged may be its last."""

    epoch: int  # from 1
    # Mean over the epoch's images. 100 is the bound of binary cross entropy in torch.
    train_loss: float = _metric("min", 100.0, (*LOSS, *MASKS, *PICTURES))
    val_loss: float = _metric("min", 100.0, (*LOSS, *MASKS))
    val_dice: float = _metric("max", 0.0, MASKS)  # per image, thresholded at 0.5, mean over images
    val_dice_soft: float = _metric(
        "max", 0.0, ("batch_size", *MASKS)
    )  # the Lab 2 report's: soft, over a batch's pixels
    val_iou: float = _metric("max", 0.0, MASKS)
    val_bce: float = _metric("min", 100.0, MASKS)  # comparable across losses
    lr: float  # of the epoch's last step
    loss_scale: float | None  # None without AMP
    num_steps: int
    num_skipped_steps: int  # of those, left out by GradScaler
    longest_skipped_run: int  # in a row, from earlier epochs too
    rolled_back: bool  # the weights that this epoch measured were thrown away: no score and no curve counts it
    num_rollbacks: int  # so far, this epoch's included
    grad_norm: float | None  # unscaled, mean over sampled steps; None where none was finite
    update_ratio: float | None  # norm of a step over the norm of the weights, mean over steps
    saturated_share: float  # probabilities in training that are exactly 0 or 1
    tightest_layer: str | None  # with the largest activation in a sampled step
    tightest_max: float | None  # that activation; float16 ends at 65,504
    overflow_layer: str | None  # the one that is forecast to pass it first; None where none grows towards it
    overflow_in_epochs: float | None  # when, if it grows on as it did
    frozen: bool  # every step of the epoch was skipped, and nothing else was wrong
    diverged: bool
    diverged_step: int | None  # over the whole run, from 1
    diverged_where: str | None  # see trials/numerics/watching/health.py, Divergence
    diverged_cause: str | None  # of CAUSES in trials/numerics/explaining/rules.py; of a frozen run too
    diverged_blame: str | None  # of BLAMES
    best_epoch: int  # by the metric that the configuration asks for (trials/scores.py); 0 before there was one
    best_value: float | None  # of that metric; None before there was one
    saved: bool  # after it, what is needed to go on or to explain an event was written: see `run`
    images_per_s: float  # in training, loading included
    epoch_s: float  # validation and checkpoints included


METRICS: dict[str, Metric] = {each.name: each.metadata["metric"] for each in fields(EpochMetrics) if each.metadata}


def incomparable_along(metric: str, varied: Iterable[str], settings: Mapping[str, Any]) -> list[str]:
    """Those of the settings that vary which change what the metric measures: runs cannot be ranked by it.

    settings: what the others are; a loss's own settings count only where that loss may be in use.
    """
    varied = set(varied)
    found = varied & set(METRICS[metric].depends_on)
    depends_on = METRICS[metric].depends_on
    if "loss" in depends_on and "loss" not in varied:
        found -= {name for name, losses in READ_BY_LOSS.items() if not may_read(settings["loss"], name, losses)}
    if "augment" in depends_on or (
        "loss" in depends_on and OWN in settings["loss"]
    ):  # own code may read any of its own
        found |= {name for name in varied if name.startswith("own.")}
    return sorted(found)


def may_read(loss: str, name: str, losses: tuple[str, ...]) -> bool:
    """Whether the loss looks at the setting, which `losses` do; a user's own may be taken over a whole batch."""
    return loss in losses or (OWN in loss and name == "batch_size")
