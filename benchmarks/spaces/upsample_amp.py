"""The report's two suspects together: does bilinear upsampling, or half precision, or only both, end in NaN?

    python -m study.run --space benchmarks/spaces/upsample_amp.py --search grid --scheduler none --seeds 6 \
        --epochs 300 --data pets --data-root DIR --set width=8 --set image_size=48 --set batch_size=16 \
        --set schedule=constant --set augment=none --set train_limit=64 --set val_limit=64 --set max_val_loss_ratio=1e9

Few pictures without augmentation, so that the network becomes as sure of itself as the report's did in 200 epochs.
"""

from search_spaces.space import Choice, Space

SPACE = Space(
    name="upsample_amp",
    question="Does bilinear upsampling, half precision or only both together change Dice or end in divergence?",
    axes={
        "upsample": Choice(("deconv", "bilinear")),
        "amp": Choice((False, True)),
        "lr": Choice((3e-3, 1e-2)),
    },
    baseline={"upsample": "deconv", "amp": False, "lr": 3e-3},
)
