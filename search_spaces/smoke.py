"""The smallest study that goes through every part; for trying out an installation."""

from search_spaces.space import Choice, LogUniform, Space

SPACE = Space(
    name="smoke",
    question="Does everything work on this machine?",
    axes={"upsample": Choice(("deconv", "bilinear")), "lr": LogUniform(1e-3, 1e-2)},
    fixed={"width": 4, "image_size": 32, "train_limit": 64, "val_limit": 16, "epochs": 2, "batch_size": 16},
    baseline={"upsample": "deconv", "lr": 3e-3},
)
