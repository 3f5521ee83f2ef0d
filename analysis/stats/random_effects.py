"""Means of paired differences in which seeds, and settings, are random: what each does, it does to all of its pairs.

A difference is the mean of its setting, what its seed does to every setting, and noise. The mean over the settings that
ran is estimated as if each had run under every seed (least squares, settings and seeds side by side), so a lost pair
moves neither it nor its interval by much. Variances: Henderson's method III (1953, Biometrics 9:226); degrees of
freedom: Satterthwaite (1946, Biometrics Bulletin 2:110). Where no pair is missing, this is t over the seeds.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Crossed:
    """The mean of differences over settings, and the variance that seeds and that settings give it."""

    mean: float
    variance: float  # of the mean in these settings, under other seeds; nan where seeds cannot be told apart
    df: float
    between: float  # what to add for other settings like these; at least 0
    between_parts: float  # of it, in the denominator of Satterthwaite's degrees of freedom
    num_cells: int
    num_settings: int
    num_seeds: int

    def general(self) -> tuple[float, float]:
        """Variance and degrees of freedom of the mean in other settings like these."""
        total = self.variance + self.between
        parts = (self.variance**2 / self.df if self.df else 0.0) + self.between_parts
        return total, max(1.0, total**2 / parts) if parts > 0 else self.df


@dataclass(frozen=True)
class Layout:
    """Which of K settings, in C cells, ran under which of S seeds: [n] places of n differences, and their counts."""

    setting: np.ndarray  # [n]
    seed: np.ndarray  # [n]
    cell_of: np.ndarray  # [K] a setting's cell
    counts: np.ndarray  # [K] seeds a setting ran under
    share: np.ndarray  # [K] of a setting in its cell
    ran: np.ndarray  # [K, S] 1 / counts where the setting ran under the seed, else 0
    gram: np.ndarray  # [S, S] of the seeds, settings taken out
    inverse: np.ndarray  # [S, S] the generalised one
    rank: int

    @cached_property
    def num_cells(self) -> int:
        return int(self.cell_of.max()) + 1

    @cached_property
    def weight(self) -> np.ndarray:
        """[n]: of each difference in the mean over cells of the mean over settings of the mean over seeds."""
        return (self.share / self.counts)[self.setting] / self.num_cells

    @property
    def numbers(self) -> tuple[int, int, int]:
        return self.num_cells, len(self.cell_of), self.num_seeds

    @property
    def num_seeds(self) -> int:
        return self.ran.shape[1]

    @cached_property
    def ran_in_cell(self) -> np.ndarray:
        """[C, S]: which share of a cell's mean comes from a seed."""
        found = np.zeros((self.num_cells, self.num_seeds))
        np.add.at(found, self.cell_of, self.ran * self.share[:, None])
        return found

    @cached_property
    def missed(self) -> np.ndarray:
        """[C, S]: what a cell's mean lacks of each seed; 0 where the seeds' effects cannot all be compared."""
        is_connected = self.rank == self.num_seeds - 1
        return 1 / self.num_seeds - self.ran_in_cell if is_connected else np.zeros((self.num_cells, self.num_seeds))

    @cached_property
    def weights(self) -> tuple[float, float, float]:
        """The variance of the mean as so much of the seeds' mean square, so much of the residual one; and what a single
        difference's noise gives it."""
        of_seed = float(((self.ran_in_cell + self.missed).mean(axis=0) ** 2).sum())
        gap = self.missed.mean(axis=0)
        of_one = float((self.share**2 / self.counts).sum() / self.num_cells**2 + gap @ self.inverse @ gap)
        first = of_seed * self.rank / float(np.trace(self.gram))
        second = of_one - first
        return first, 0.0 if abs(second) < 1e-9 * of_one else second, of_one

    @cached_property
    def noise_in_cells(self) -> tuple[float, float]:
        """How far the means of cells vary among themselves were all settings alike: so much of the residual mean
        square, and so much of a seed's variance, where seeds cannot all be compared."""
        norms = (self.share**2 / self.counts).sum() + np.einsum("cs,st,ct->", self.missed, self.inverse, self.missed)
        own, num = self.ran_in_cell, self.num_cells
        of_noise = float(norms - num * self.weights[2]) / (num - 1)
        unequal = float((own**2).sum() - num * (own.mean(axis=0) ** 2).sum()) / (num - 1)
        return of_noise, 0.0 if self.rank == self.num_seeds - 1 else unequal * self.rank / float(np.trace(self.gram))


def layout_of(frame: pd.DataFrame) -> Layout:
    """Of a frame with columns cell, setting and seed, one row a setting and seed.

    A cell is what counts as one setting: those that differ only in what exists under one of the compared levels.
    """
    return layout(*(pd.factorize(frame[name])[0] for name in ("cell", "setting", "seed")))


def layout(cell: np.ndarray, setting: np.ndarray, seed: np.ndarray) -> Layout:
    """Of whole numbers [n], each from 0 on and without a gap."""
    counts, num_seeds = np.bincount(setting), int(seed.max()) + 1
    cell_of = np.empty(len(counts), int)
    cell_of[setting] = cell
    share = 1 / np.bincount(cell_of)[cell_of]
    ran = np.zeros((len(counts), num_seeds))
    ran[setting, seed] = 1 / counts[setting]
    gram = np.diag(np.bincount(seed).astype(float)) - (ran * counts[:, None]).T @ ran
    inverse = np.linalg.pinv(gram, rcond=1e-9, hermitian=True)
    rank = round(float(np.trace(gram @ inverse)))
    return Layout(setting, seed, cell_of, counts, share, ran, gram, inverse, rank)


def crossed(ran: Layout, value: np.ndarray) -> Crossed:
    """The mean and variances of differences `value` [n] that ran so; those without seeds by without_seeds."""
    means = np.bincount(ran.setting, value) / ran.counts
    effects = seed_effects(ran, value)
    cell_means = np.bincount(ran.cell_of, means * ran.share) + ran.missed @ effects
    spread = float(cell_means.var(ddof=1)) if ran.num_cells > 1 else math.nan
    if ran.rank == 0:
        return without_seeds(ran, cell_means, spread)
    of_seeds = float(effects @ ran.gram @ effects)  # sum of squares
    left = float(((value - means[ran.setting]) ** 2).sum()) - of_seeds
    by_seed = of_seeds / ran.rank
    residual_df = len(value) - len(means) - ran.rank
    first, second, _ = ran.weights
    residual = max(0.0, left) / residual_df if residual_df else (by_seed if second > 0 else 0.0)
    variance = first * by_seed + second * residual
    parts = (first * by_seed) ** 2 / ran.rank + (second * residual) ** 2 / (residual_df or ran.rank)
    df = max(1.0, variance**2 / parts) if parts > 0 else 0.0
    between, between_parts = 0.0, 0.0
    if ran.num_cells > 1:
        of_noise, of_seed = ran.noise_in_cells
        noise = of_noise * residual + of_seed * max(0.0, by_seed - residual)
        between = max(0.0, spread - noise) / ran.num_cells
        squares = spread**2 / (ran.num_cells - 1) + noise**2 / (residual_df or ran.rank)
        between_parts = squares / ran.num_cells**2 if between else 0.0
    return Crossed(float(cell_means.mean()), variance, df, between, between_parts, *ran.numbers)


def seed_effects(ran: Layout, value: np.ndarray) -> np.ndarray:
    """[S]: what each seed does to differences `value` [n], settings taken out; their mean is 0."""
    means = np.bincount(ran.setting, value) / ran.counts
    return ran.inverse @ np.bincount(ran.seed, value - means[ran.setting], minlength=ran.num_seeds)


def without_seeds(ran: Layout, cell_means: np.ndarray, spread: float) -> Crossed:
    """One seed, or each setting under a seed of its own: the settings are what varies. Else no variance is known (nan).

    cell_means: [C]; spread: their variance.
    """
    alone = ran.num_seeds == 1 or len(ran.setting) == ran.num_seeds == ran.num_cells
    variance = spread / ran.num_cells if alone else math.nan
    return Crossed(float(cell_means.mean()), variance, ran.num_cells - 1, 0.0, 0.0, *ran.numbers)
