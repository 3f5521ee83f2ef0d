"""The Lab 2 report's first question: UNet or ResNet34+UNet (figures 3 and 4), and its idea of attention."""

from search_spaces.space import Choice, LogUniform, Space

SPACE = Space(
    name="networks",
    question="Which network segments better, and does attention in the encoder help it?",
    axes={
        "model": Choice(("unet", "resnet34_unet")),
        "attention": Choice(("none", "channel", "spatial")),
        "lr": LogUniform(1e-4, 1e-2),
    },
    baseline={"model": "unet", "attention": "none", "lr": 1e-3},
    asks=("model", "attention"),
)
