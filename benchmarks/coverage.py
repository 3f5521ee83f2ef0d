"""Whether the report's 95 % intervals hold the truth in 95 % of studies, and whether it claims what is not there.

    python benchmarks/coverage.py                      # 1,000 simulated studies a row
    python benchmarks/coverage.py --studies 200

Each simulated study is a set of frames as analysis.load gives them, with a known difference between two levels of an
axis, and goes through analysis.comparisons whole. A study has settings (learning rates) that matter, seeds that shift
every trial and, by another amount, one level of the axis (what makes pooled intervals too short), and noise, normal or
skewed. "claimed as an effect" says how often the report would call the difference decided.
"""

import argparse
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.comparisons import compare
from analysis.designs import design_of
from analysis.factors import Factor

TRUTH = 0.01  # Dice, level a less level b
EPOCHS = 9
SEED_COUNTS = (3, 5, 10, 30)
AXES = [Factor("upsample", "choice", ("a", "b")), Factor("lr", "choice", ("0.001", "0.003"))]
GRID, RANDOM = {"search": "grid", "scheduler": "none"}, {"search": "random", "scheduler": "none"}
Frames = tuple[pd.DataFrame, pd.DataFrame]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies a row")
    options = parser.parse_args()
    print("| studies | seeds, or trials a level | called | interval holds the truth | percentile bootstrap | decided |")
    print("|---|---|---|---|---|---|")
    for (name, simulate, how), num in product(SCENARIOS, SEED_COUNTS):
        print(f"| {name} | {num} | {coverage(simulate, how, num, options.studies)} |", flush=True)
    none = share_without_claims(options.studies)
    print(f"\nnull studies (4 axes, Dice, divergence, interactions) without any claim: {none:.1%}")


def coverage(simulate: Callable[..., Frames], how: dict, num: int, num_studies: int) -> str:
    rng = np.random.default_rng(num)
    held, bootstrapped, decided, kinds = [], [], [], set()
    for _ in range(num_studies):
        trials, epochs = simulate(rng, num)
        rows = compare(
            trials, epochs, AXES[:1] if "lr_drawn" in how else AXES, "val_dice", "max", design_of(how, trials)
        )
        if rows.empty:  # an adaptive search may be left with one level
            kinds.add("nothing to compare")
            continue
        row = rows[(rows["axis"] == "upsample") & (rows["what"] == "val_dice")].iloc[0]
        kinds.add(row["kind"])
        held.append(row["low"] <= TRUTH <= row["high"])
        decided.append(bool(row["decided"]))
        if row["is_paired"]:
            bootstrapped.append(holds_bootstrapped(trials, epochs, rng))
    percentile = f"{np.mean(bootstrapped):.1%}" if bootstrapped else "-"
    return f"{', '.join(sorted(kinds))} | {np.mean(held):.1%} | {percentile} | {np.mean(decided):.1%}"


def holds_bootstrapped(trials: pd.DataFrame, epochs: pd.DataFrame, rng: np.random.Generator) -> bool:
    """Whether a percentile bootstrap over the seeds, which the report does not use, holds the truth."""
    best = epochs.groupby("folder")["val_dice"].max()
    sides = trials.assign(best=trials["folder"].map(best)).pivot_table("best", "seed", "upsample")
    values = (sides["a"] - sides["b"]).to_numpy()
    means = values[rng.integers(len(values), size=(400, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return bool(low <= TRUTH <= high)


def noise(rng: np.random.Generator, size: int, *, skewed: bool = False) -> np.ndarray:
    """Standard deviation 0.01, mean 0; skewed: a training that now and then goes badly."""
    return 0.01 * (1 - rng.exponential(size=size)) if skewed else 0.01 * rng.standard_normal(size)


def grid(rng: np.random.Generator, num_seeds: int, *, skewed: bool = False) -> Frames:
    """Both levels at two learning rates under each seed."""
    rows = pd.DataFrame(product(("a", "b"), (0.001, 0.003), range(num_seeds)), columns=["upsample", "lr", "seed"])
    of_seed, of_seed_in_a = 0.01 * rng.standard_normal(num_seeds), 0.005 * rng.standard_normal(num_seeds)
    is_a = rows["upsample"] == "a"
    value = (
        0.8 + TRUTH * is_a + 0.02 * (rows["lr"] == 0.003) + of_seed[rows["seed"]] + is_a * of_seed_in_a[rows["seed"]]
    )
    return frames(rows, value + noise(rng, len(rows), skewed=skewed))


def grid_skewed(rng: np.random.Generator, num_seeds: int) -> Frames:
    return grid(rng, num_seeds, skewed=True)


def drawn(rng: np.random.Generator, num_trials: int) -> Frames:
    """Learning rates drawn for each trial: nothing pairs; unequal noise."""
    rows = pd.DataFrame({"upsample": np.repeat(["a", "b"], num_trials), "seed": 0})
    rows["lr"] = 10 ** rng.uniform(-4, -2, len(rows))
    is_a = rows["upsample"] == "a"
    value = 0.8 + TRUTH * is_a - 0.01 * (np.log10(rows["lr"]) + 3) ** 2
    return frames(rows, value + noise(rng, len(rows)) * np.where(is_a, 1, 2))


def pruned(rng: np.random.Generator, num_seeds: int) -> Frames:
    """The grid under successive halving: the worse two thirds stop after epoch 1, and again after epoch 3."""
    trials, epochs = grid(rng, num_seeds)
    for rung in (1, 3):
        seen = epochs[epochs["epoch"] == rung].set_index("folder")["val_dice"] + noise(
            rng, (epochs["epoch"] == rung).sum()
        )
        stopped = set(seen[seen < seen.quantile(2 / 3)].index)
        epochs = epochs[~(epochs["folder"].isin(stopped) & (epochs["epoch"] > rung))]
        trials.loc[trials["folder"].isin(stopped), "outcome"] = "pruned"
    return trials, epochs


def adaptive(rng: np.random.Generator, num_trials: int) -> Frames:
    """A search that soon tries the level it has seen do better, at ever better learning rates."""
    trials, epochs = drawn(rng, 3 * num_trials)
    best = epochs[epochs["epoch"] == EPOCHS].set_index("folder")["val_dice"]
    order = trials.assign(best=trials["folder"].map(best)).sort_values("best", ascending=False)
    kept = pd.concat([order.head(num_trials), order.sample(num_trials, random_state=int(rng.integers(2**31)))])
    kept = kept.drop_duplicates("folder")
    return kept.drop(columns="best").reset_index(drop=True), epochs[epochs["folder"].isin(kept["folder"])]


def frames(rows: pd.DataFrame, value: pd.Series) -> Frames:
    """Trials as given, each with EPOCHS epochs that rise to its value."""
    trials = rows.assign(folder=[f"t{place}" for place in range(len(rows))], outcome="completed")
    epoch = np.tile(np.arange(1, EPOCHS + 1), len(rows))
    rise = np.repeat(value.to_numpy(), EPOCHS) - 0.1 * (1 - epoch / EPOCHS)
    folder = np.repeat(trials["folder"].to_numpy(), EPOCHS)
    return trials, pd.DataFrame({"folder": folder, "epoch": epoch, "val_dice": rise, "rolled_back": False})


def share_without_claims(num_studies: int) -> float:
    """Studies of four axes of which none does anything, a fifth of the trials diverged: those with no row decided."""
    rng = np.random.default_rng(0)
    names = ("upsample", "amp", "model", "loss")
    axes = [Factor(name, "choice", ("a", "b")) for name in names]
    quiet = 0
    for _ in range(num_studies):
        rows = pd.DataFrame(product(*[("a", "b")] * 4, range(4)), columns=[*names, "seed"])
        trials, epochs = frames(rows, 0.8 + pd.Series(noise(rng, len(rows))))
        trials.loc[rng.random(len(rows)) < 0.2, "outcome"] = "diverged"
        quiet += not compare(trials, epochs, axes, "val_dice", "max", design_of(GRID, trials))["decided"].any()
    return quiet / num_studies


SCENARIOS = (
    ("grid, paired by seed", grid, GRID),
    ("the same, skewed noise", grid_skewed, GRID),
    ("drawn at random, unpaired", drawn, RANDOM | {"lr_drawn": True}),
    ("grid, pruned by successive halving", pruned, GRID | {"scheduler": "asha"}),
    ("adaptive search", adaptive, {"search": "optuna", "scheduler": "none", "lr_drawn": True}),
)

if __name__ == "__main__":
    main()
