"""How the weights are moved: optimiser, learning rate, its schedule, and weight decay."""

from search_spaces.space import Choice, LogUniform, Space

SPACE = Space(
    name="optimizer",
    question="Which optimiser, learning rate and schedule train best, and which diverge?",
    axes={
        "optimizer": Choice(("adam", "adamw", "sgd")),
        "lr": LogUniform(1e-4, 1e-1),
        "schedule": Choice(("cosine", "cosine_per_batch", "one_cycle", "constant")),
        "weight_decay": LogUniform(1e-6, 1e-1),
    },
    baseline={"optimizer": "adam", "lr": 1e-3, "schedule": "cosine", "weight_decay": 1e-6},
    asks=("optimizer", "lr", "schedule"),
)
