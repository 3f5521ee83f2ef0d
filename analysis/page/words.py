"""The words for what trials writes: one table each for outcomes, events, causes, blames, phases and remedies.

tests/test_words.py compares their keys with the names that trials writes, in both directions.
"""

from collections.abc import Mapping

OUTCOMES = {  # and what each means, in the order of the tables
    "completed": "trained to its end",
    "pruned": "stopped by the scheduler as one of the worse",
    "diverged": "values not finite, a loss scale too low, too many skipped steps, or an exploded validation loss",
    "frozen": "weights stood still, every step skipped",
    "out_of_memory": "needed more memory than there was",
    "failed": "raised an error",
    "interrupted": "ended before its last epoch, without an error of its own",
    "running": "no end recorded in a study that is still open",
    "not started": "planned, but never started",
}
DID = {"diverged": "diverged", "frozen": "froze"}  # the past tense, after "3 of 12 trials"
EVENTS = {  # what showed that a run had broken, as the end of a sentence
    "targets": "the masks of a batch were not within 0 to 1",
    "outputs": "the network's outputs were not finite",
    "loss": "the loss was not finite",
    "weights": "weights were not finite",
    "buffers": "BatchNorm's running statistics were not finite",
    "val_outputs": "the outputs in validation were not finite",
    "val_loss": "the validation loss exploded",
    "loss_scale": "the loss scale fell too low",
    "skipped_steps": "too many steps in a row were skipped",
    "frozen": "every step of the epoch was skipped",
}
CAUSES = {
    "saturated_head": "a saturated head",
    "forward_overflow": "an overflow in the forward pass",
    "scale_collapse": "a collapse of the loss scale",
    "poisoned_batchnorm": "a poisoned BatchNorm",
    "running_stats_explosion": "exploded running statistics",
    "optimizer_instability": "an unstable optimiser",
    "loss_domain": "a loss out of its domain",
    "bad_data": "bad data",
    "undetermined": "undetermined",
}
BLAMES = {
    "amp": "half precision",
    "optimisation": "the optimiser and its learning rate",
    "loss": "the loss function",
    "data": "the data",
    "unknown": "unknown",
}
PHASES = {
    "data": "the batch",
    "forward": "the forward pass",
    "loss": "the loss",
    "backward": "the backward pass",
    "unscale": "unscaling the gradients",
    "optimizer_step": "the optimiser's step",
    "running_statistics": "BatchNorm's running statistics",
}
REMEDIES = {
    "float32": "float32",
    "bfloat16": "bfloat16",
    "float32_head": "a float32 head",
    "clipping": "gradient clipping",
    "guarded_statistics": "guarded BatchNorm statistics",
    "lower_scale": "a lower loss scale",
    "recalibrated_statistics": "BatchNorm statistics measured anew",
}


HEADS = {  # of the columns of tables, for readers; tables/*.csv has their names
    "axis": "setting",
    "num_trials": "trials",
    "num_measured": "measured",
    "num_epochs": "epochs",
    "num_pruned": "pruned",
    "num_diverged": "diverged",
    "num_unknown": "not known",
    "num_images": "images",
    "num_left_out": "left out",
    "num_with_event": "met an event",
    "num_lived": "lived on",
    "num_broke": "broke",
    "num_cut": "cut short",
    "num_tests": "tests",
    "median_end_after_event": "median after an event",
    "median_end_without_event": "median without one",
    "best_epoch": "at epoch",
    "last_epoch": "by epoch",
    "median_epoch": "median epoch",
    "images_per_s": "images/s",
    "duration_s": "seconds",
    "without_pruning": "had none been stopped",
    "only_where": "only where",
    "ped_anova": "PED-ANOVA",
    "fanova": "fANOVA",
    "error_type": "error",
    "error_text": "what it said",
    "shown_as": "shown as",
    "mean_dice": "mean Dice",
    "dice": "Dice",
    "first_sign": "first sign at epoch",
    "event": "broke at epoch",
    "epochs_after": "epochs after the first sign",
    "epochs_saved": "epochs saved",
    "where": "seen by",
    "untried": "not tried",
}


def head(column: object) -> str:
    """A column's head in words; underscores elsewhere stay, as in the names of metrics and of others' settings."""
    return HEADS.get(str(column), str(column))


def outcome(name: str) -> str:
    """out of memory"""
    return name.replace("_", " ")


def event(where: object) -> str:
    """the loss was not finite; a name of a later version as it is, and nothing for none."""
    return _of(EVENTS, where) if isinstance(where, str) else ""


def cause(name: str) -> str:
    return _of(CAUSES, name)


def blame(name: str) -> str:
    return _of(BLAMES, name)


def phase(name: str) -> str:
    return _of(PHASES, name)


def remedy(name: str) -> str:
    return _of(REMEDIES, name)


def _of(words: Mapping[str, str], name: str) -> str:
    """The words for a name; of a later version's name itself, without underscores."""
    return words.get(name, name.replace("_", " "))
