"""Which guard keeps half precision from breaking the training, each tried alone and together (trials/guards.py)."""

from search_spaces.space import Choice, LogUniform, Space

SPACE = Space(
    name="remedies",
    question="Which guard cures what: a float32 head, a floor of the loss scale, clipping, guarded statistics?",
    axes={
        "float32_head": Choice((False, True)),
        "loss_scale_floor": Choice((0.0, 1.0)),
        "clip_norm": Choice((0.0, 1.0)),
        "guard_statistics": Choice((False, True)),
        "upsample": Choice(("deconv", "bilinear")),
        "lr": LogUniform(1e-3, 1e-2),
    },
    fixed={"amp": True, "on_divergence": "continue"},  # a guard shows after the event what it is worth
    baseline={
        "float32_head": False,
        "loss_scale_floor": 0.0,
        "clip_norm": 0.0,
        "guard_statistics": False,
        "upsample": "deconv",
        "lr": 3e-3,
    },
    asks=("float32_head", "loss_scale_floor", "clip_norm", "guard_statistics"),
)
