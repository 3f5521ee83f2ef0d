"""The names that trials writes and this package reads; tests/test_words.py compares them, in both directions."""

OWN = ".py:"  # in a setting's value that names a function or class of a user's: FILE.py:NAME
OLD_VALUES = {("augment", "report"): "lab2", ("preset", "report"): "lab2"}  # as older versions wrote them
CODE = "code"  # in params.json: the text of such files, which is no setting
BROKEN = ("diverged", "frozen")  # outcomes of a run that broke numerically
OUTCOMES = (  # in the order of the tables; the last two are what the reader makes of a record that is not there
    *("completed", "pruned", "diverged", "frozen", "out_of_memory", "failed", "interrupted"),
    *("running", "not started"),
)
UNMEASURED = (*BROKEN, "failed", "out_of_memory")  # the best of such a trial is not what its settings reach
CUT = ("pruned", "failed", "out_of_memory", "interrupted", "running")  # how such a trial would have ended is not known
WHOLE = ("completed", "pruned")  # it is known of such a trial that it did not break
REMEDIES = (
    *("float32", "bfloat16", "float32_head", "clipping", "guarded_statistics", "lower_scale"),
    "recalibrated_statistics",
)
MODES = {  # which end of a metric is the best
    "train_loss": "min",
    "val_loss": "min",
    "val_bce": "min",
    "val_dice": "max",
    "val_dice_soft": "max",
    "val_iou": "max",
}
# Settings that change what a metric measures: trials that differ in them cannot be ranked by it.
LOSS = ("loss", "focal_gamma", "hard_fraction", "batch_size")
READ_BY_LOSS = {
    "focal_gamma": ("focal",),
    "hard_fraction": ("hard_bce",),
    "batch_size": ("dice", "bce_dice", "hard_bce"),
}
MASKS = ("border", "image_size")
PICTURES = (
    *("train_limit", "augment", "flip_p", "rotate90_p", "crop_scale_min", "affine_p", "blur_p"),
    *("elastic_p", "elastic_alpha", "elastic_sigma"),
)
DEPENDS_ON = {
    "train_loss": (*LOSS, *MASKS, *PICTURES),
    "val_loss": (*LOSS, *MASKS),
    "val_dice": MASKS,
    "val_dice_soft": ("batch_size", *MASKS),
    "val_iou": MASKS,
    "val_bce": MASKS,
}
