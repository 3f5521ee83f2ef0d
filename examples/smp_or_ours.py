"""python -m study.run --space examples/smp_or_ours.py"""

from search_spaces import Choice, LogUniform, Space

SPACE = Space(
    name="smp_or_ours",
    question="Does the Unet of segmentation-models-pytorch, or a Tversky loss, do better than the UNet here?",
    axes={
        "model": Choice(("unet", "smp_unet.py:unet")),
        "loss": Choice(("bce_dice", "smp_unet.py:tversky")),
        "own.tau": LogUniform(0.3, 0.8),
        "lr": LogUniform(1e-4, 1e-2),
    },
    baseline={"model": "unet", "loss": "bce_dice", "lr": 1e-3},
    conditions={"own.tau": ("loss", "smp_unet.py:tversky")},
    asks=("model", "loss"),
)
