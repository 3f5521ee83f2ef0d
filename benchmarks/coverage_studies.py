"""Simulated studies for benchmarks/coverage.py: grids and random searches whose differences are known.

A grid is held as arrays [C, S] of settings and seeds for each level, and as the frames that analysis.load would give.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import pandas as pd

TRUTH = 0.01  # Dice, level a less level b
WORST = 0.3  # Dice at which a run breaks
NOISE = 0.01  # Dice, standard deviation of a run
EPOCHS = 3
FOUR_AXES = ("upsample", "amp", "model", "loss")


@dataclass(frozen=True)
class Grid:
    """One study: the Dice of each level's runs, which broke, which pairs are missing, and what is true."""

    dice: dict[str, np.ndarray]  # level -> [C, S]
    broke: dict[str, np.ndarray]
    lost: np.ndarray  # [C, S] pairs that failed otherwise
    setting_truth: np.ndarray  # [C] the true difference a - b of Dice in each setting
    share: dict[str, np.ndarray] = field(default_factory=dict)  # level -> [C] the probability to diverge
    of_seed: float = 0.0  # what the first seed adds to every difference

    @property
    def finished(self) -> np.ndarray:
        return ~self.lost & ~self.broke["a"] & ~self.broke["b"]

    def as_started(self) -> np.ndarray:
        """[C, S]: a less b, a broken run counting as WORST."""
        a, b = (np.where(self.broke[level], WORST, self.dice[level]) for level in "ab")
        return a - b

    def started_truth(self) -> float:
        """The mean of as_started over all seeds, in the settings that have a pair."""
        ran = (~self.lost).any(axis=1)
        means = {"a": 0.8 + self.setting_truth, "b": np.full(len(ran), 0.8)}
        a, b = (self.share[level] * WORST + (1 - self.share[level]) * means[level] for level in "ab")
        return float((a - b)[ran].mean())


def grid(rng: np.random.Generator, num_settings: int, num_seeds: int, *, of_setting: float = 0.0, levels: str = "ab"):
    """Settings matter, a seed shifts every run and, by another amount, each level; noise. Nothing is lost."""
    shape = (num_settings, num_seeds)
    common = 0.8 + 0.01 * rng.standard_normal(num_seeds)
    dice, of_seed, luck = {}, {}, {}
    for level in levels:
        luck[level] = of_setting * rng.standard_normal(num_settings)
        of_seed[level] = 0.0035 * rng.standard_normal(num_seeds)
        dice[level] = common + of_seed[level] + luck[level][:, None] + NOISE * rng.standard_normal(shape)
    dice["a"] = dice["a"] + TRUTH
    none = np.zeros(shape, bool)
    first = float(of_seed["a"][0] - of_seed["b"][0])
    return Grid(dice, dict.fromkeys(levels, none), none, TRUTH + luck["a"] - luck["b"], of_seed=first)


def skewed(rng: np.random.Generator, num_settings: int, num_seeds: int) -> Grid:
    """A training now and then goes badly."""
    found = grid(rng, num_settings, num_seeds)
    shape = (num_settings, num_seeds)
    noise = {level: NOISE * (1 - rng.exponential(size=shape) - rng.standard_normal(shape)) for level in "ab"}
    return replace(found, dice={level: found.dice[level] + noise[level] for level in "ab"})


def luck(rng: np.random.Generator, num_settings: int, num_seeds: int) -> Grid:
    """Each level is lucky in some settings: the true difference is another in each."""
    return grid(rng, num_settings, num_seeds, of_setting=0.01)


def lost(share: float) -> Callable[..., Grid]:
    """Pairs fail at random."""

    def study(rng: np.random.Generator, num_settings: int, num_seeds: int) -> Grid:
        found = grid(rng, num_settings, num_seeds, of_setting=0.005)
        return replace(found, lost=rng.random((num_settings, num_seeds)) < share)

    return study


def unequal(rng: np.random.Generator, num_settings: int, num_seeds: int) -> Grid:
    """Each setting ran under so many of the seeds, two or more."""
    found = grid(rng, num_settings, num_seeds, of_setting=0.005)
    numbers = rng.integers(2, num_seeds + 1, size=num_settings)
    return replace(found, lost=np.arange(num_seeds) >= numbers[:, None])


def broken(share_a: float, share_b: float, *, of_setting: float = 1.0, of_level: float = 1.0) -> Callable[..., Grid]:
    """Runs diverge, with luck by setting and by setting and level (standard deviations of the logit)."""

    def study(rng: np.random.Generator, num_settings: int, num_seeds: int) -> Grid:
        found = grid(rng, num_settings, num_seeds, of_setting=0.005)
        common = of_setting * rng.standard_normal(num_settings)
        share = {
            level: expit(centre(mean, of_setting, of_level) + common + of_level * rng.standard_normal(num_settings))
            for level, mean in (("a", share_a), ("b", share_b))
        }
        broke = {level: rng.random((num_settings, num_seeds)) < share[level][:, None] for level in "ab"}
        return replace(found, broke=broke, share=share)

    return study


def expit(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


LUCK = np.random.default_rng(0).standard_normal(20_001)
CENTRES: dict[tuple, float] = {}


def centre(mean: float, of_setting: float, of_level: float) -> float:
    """The logit around which shares have this mean, by bisection."""
    key = (mean, of_setting, of_level)
    if key not in CENTRES:
        low, high = -12.0, 12.0
        for _ in range(60):
            middle = (low + high) / 2
            below = expit(middle + np.hypot(of_setting, of_level) * LUCK).mean() < mean
            low, high = (middle, high) if below else (low, middle)
        CENTRES[key] = low
    return CENTRES[key]


def frames(study: Grid) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trials and epochs, each of EPOCHS epochs that rise to its Dice; a run that broke measured WORST before."""
    trials, epochs = [], []
    for level, dice in study.dice.items():
        for setting, seed in np.ndindex(dice.shape):
            folder, value = f"{level} {setting} {seed}", dice[setting, seed]
            end = "diverged" if study.broke[level][setting, seed] else "completed"
            end = "failed" if study.lost[setting, seed] and level == "a" else end
            trials.append({"folder": folder, "outcome": end, "level": level, "lr": setting, "seed": seed})
            measured = (WORST,) if end == "diverged" else value - 0.1 * (1 - np.arange(1, EPOCHS + 1) / EPOCHS)
            epochs += [{"folder": folder, "epoch": 1 + n, "val_dice": each} for n, each in enumerate(measured)]
    return pd.DataFrame(trials), pd.DataFrame(epochs).assign(rolled_back=False)


@dataclass(frozen=True)
class Drawn:
    """A random search: each configuration ran under all seeds. Arrays [trials] for each level."""

    cell: dict[str, np.ndarray]
    seed: dict[str, np.ndarray]
    dice: dict[str, np.ndarray]
    broke: dict[str, np.ndarray]
    truth: float
    share_truth: float
    num: int
    num_seeds: int


def drawn(rng: np.random.Generator, num: int, num_seeds: int, shares=(0.0, 0.0), *, truth: float = TRUTH) -> Drawn:
    """`num` learning rates a level, which matter; noise of unequal size; luck of a seed with a level."""
    cell, seed, dice, broke = {}, {}, {}, {}
    for place, level in enumerate("ab"):
        cell[level] = np.repeat(np.arange(num) + place * num, num_seeds)
        seed[level] = np.tile(np.arange(num_seeds), num)
        rate = np.repeat(rng.uniform(-1, 1, num), num_seeds)
        of_seed = 0.0035 * rng.standard_normal(num_seeds)[seed[level]] * (num_seeds > 1)
        noise = NOISE * (1 + place) * rng.standard_normal(num * num_seeds)
        dice[level] = 0.8 + truth * (level == "a") - 0.01 * rate**2 + of_seed + noise
        share = (
            expit(centre(shares[place], 2.0, 0.0) + 2.0 * rng.standard_normal(num)) if shares[place] else np.zeros(num)
        )
        broke[level] = rng.random(num * num_seeds) < np.repeat(share, num_seeds)
    return Drawn(cell, seed, dice, broke, truth, shares[0] - shares[1], num, num_seeds)


def drawn_frames(study: Drawn) -> tuple[pd.DataFrame, pd.DataFrame]:
    trials = pd.concat(
        [
            pd.DataFrame(
                {"level": level, "lr": 1.0 + study.cell[level], "seed": study.seed[level], "dice": study.dice[level]}
            )
            for level in "ab"
        ],
        ignore_index=True,
    )
    broke = np.concatenate([study.broke[level] for level in "ab"])
    trials = trials.assign(folder=[str(n) for n in trials.index], outcome=np.where(broke, "diverged", "completed"))
    epochs = pd.DataFrame({"folder": trials["folder"], "epoch": 1, "val_dice": trials["dice"], "rolled_back": False})
    return trials.drop(columns="dice"), epochs


def four_axes(rng: np.random.Generator, num_seeds: int, share: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A whole grid of four axes of two levels, of which none does anything; a share of the trials diverged."""
    trials = pd.DataFrame(product(*[("a", "b")] * 4, range(num_seeds)), columns=[*FOUR_AXES, "seed"])
    outcome = np.where(rng.random(len(trials)) < share, "diverged", "completed")
    trials = trials.assign(folder=[str(n) for n in trials.index], outcome=outcome)
    dice = 0.8 + NOISE * rng.standard_normal(len(trials))
    return trials, pd.DataFrame({"folder": trials["folder"], "epoch": 1, "val_dice": dice, "rolled_back": False})


def sides_of(study: Drawn) -> list[pd.DataFrame]:
    """Of each level, what estimates.unpaired_shares takes."""
    return [
        pd.DataFrame({"cell": study.cell[level], "seed": study.seed[level], "value": study.broke[level].astype(float)})
        for level in "ab"
    ]
