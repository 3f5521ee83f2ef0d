"""Everything at once, for a long search on a large machine."""

from search_spaces.space import Choice, LogUniform, Space, Uniform

SPACE = Space(
    name="full",
    question="Which settings of network, precision, loss, optimiser and augmentation together train best?",
    axes={
        "model": Choice(("unet", "resnet34_unet")),
        "upsample": Choice(("deconv", "bilinear", "nearest", "pixel_shuffle", "bilinear_deconv")),
        "attention": Choice(("none", "channel", "spatial")),
        "head": Choice(("sigmoid", "logits")),
        "loss": Choice(("bce", "dice", "bce_dice", "focal", "hard_bce")),
        "focal_gamma": Uniform(0.5, 4.0),
        "hard_fraction": Uniform(0.05, 0.5),
        "optimizer": Choice(("adam", "adamw", "sgd")),
        "lr": LogUniform(1e-4, 1e-1),
        "weight_decay": LogUniform(1e-6, 1e-1),
        "schedule": Choice(("cosine", "cosine_per_batch", "one_cycle", "constant")),
        "batch_size": Choice((8, 16, 32)),
        "amp": Choice((False, True)),
        "amp_dtype": Choice(("float16", "bfloat16")),
        "augment": Choice(("none", "flip", "lab2")),
    },
    baseline={
        "model": "unet",
        "upsample": "deconv",
        "attention": "none",
        "head": "sigmoid",
        "loss": "bce",
        "optimizer": "adam",
        "lr": 1e-3,
        "weight_decay": 1e-6,
        "schedule": "cosine",
        "batch_size": 16,
        "amp": False,
        "augment": "flip",
    },
    conditions={
        "focal_gamma": ("loss", "focal"),
        "hard_fraction": ("loss", "hard_bce"),
        "amp_dtype": ("amp", True),
    },
)
