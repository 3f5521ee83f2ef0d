"""What is compared with what, on frames made by hand."""

import pandas as pd
import pytest

from analysis.comparisons import compare
from analysis.designs import design_of
from analysis.factors import Factor

UPSAMPLE = Factor("upsample", "choice", ("deconv", "bilinear"))
GRID = {"search": "grid", "scheduler": "none"}


def study(gains=(0.01, 0.02, 0.03), *, short=(), diverged=()):
    """Both levels under each seed; deconv gains that much over bilinear. short: folders that stop after epoch 1."""
    trials = pd.DataFrame(
        [
            {"folder": f"{name}{seed}", "outcome": "completed", "upsample": name, "seed": seed}
            for seed in range(len(gains))
            for name in ("deconv", "bilinear")
        ]
    )
    trials.loc[trials["folder"].isin(short), "outcome"] = "pruned"
    trials.loc[trials["folder"].isin(diverged), "outcome"] = "diverged"
    rows = [
        {"folder": trial.folder, "epoch": epoch, "val_dice": 0.5 + 0.1 * epoch + gain, "diverged": False}
        for trial in trials.itertuples()
        for epoch in ((1,) if trial.folder in short else (1, 2, 3))
        for gain in [gains[trial.seed] if trial.upsample == "deconv" else 0.0]
    ]
    return trials, pd.DataFrame(rows)


def rows(trials, epochs, options=GRID):
    return compare(trials, epochs, [UPSAMPLE], "val_dice", "max", design_of(options, trials)).set_index("what")


def test_the_difference_is_the_mean_over_seeds():
    assert rows(*study()).loc["val_dice", "difference"] == pytest.approx(0.02)


def test_a_pruned_trial_is_compared_at_the_epoch_it_reached():
    assert rows(*study(short=("bilinear0",))).loc["val_dice", "difference"] == pytest.approx(0.02)


def test_pruning_makes_associations():
    assert set(rows(*study(short=("bilinear0",)))["kind"]) == {"association"}


def test_an_adaptive_search_makes_associations():
    assert set(rows(*study(), {"search": "optuna", "scheduler": "none"})["kind"]) == {"association"}


def test_a_diverged_trial_leaves_its_pair_out():
    row = rows(*study(gains=(0.01, 0.02, 0.03, 0.04), diverged=("deconv3",))).loc["val_dice"]
    assert (row["num_pairs"], row["num_left_out"]) == (3, 1)


def test_divergence_is_a_comparison_of_its_own():
    assert rows(*study(diverged=("deconv0",))).loc["divergence", "difference"] == pytest.approx(1 / 3)


def test_an_association_is_never_decided():
    gains = tuple(0.05 + 0.0001 * seed for seed in range(8))
    options = {"search": "optuna", "scheduler": "none"}
    assert rows(*study(gains)).loc["val_dice", "decided"]
    assert not rows(*study(gains), options).loc["val_dice", "decided"]
