"""The Lab 2 report's second question: a learned upsampling layer against an interpolation (figures 6 and 7)."""

from search_spaces.space import Choice, LogUniform, Space

SPACE = Space(
    name="upsample",
    question="Does the upsampling layer change Dice or numerical health?",
    axes={
        "model": Choice(("unet", "resnet34_unet")),
        "upsample": Choice(("deconv", "bilinear")),
        "lr": LogUniform(1e-4, 1e-2),
        "batch_size": Choice((8, 16, 32)),
        "amp": Choice((False, True)),
    },
    baseline={"model": "unet", "upsample": "deconv", "lr": 1e-3, "batch_size": 16, "amp": False},
    asks=("upsample",),
)
