"""The Lab 2 report's failure: does half precision break the training, and which head and half format break it?"""

from search_spaces.space import Choice, LogUniform, Space

SPACE = Space(
    name="amp",
    question="Does automatic mixed precision make the training diverge, and what does it cost in Dice?",
    axes={
        "model": Choice(("unet", "resnet34_unet")),
        "amp": Choice((False, True)),
        "amp_dtype": Choice(("float16", "bfloat16")),
        "head": Choice(("sigmoid", "logits")),
        "lr": LogUniform(1e-4, 1e-2),
    },
    baseline={"model": "unet", "amp": True, "amp_dtype": "float16", "head": "sigmoid", "lr": 1e-3},
    conditions={"amp_dtype": ("amp", True)},
    asks=("amp", "amp_dtype"),
)
