"""The draws of the augmentations: independent of each other within a sample, and from one sample to the next."""

import functools
import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from trials.config import TrialConfig
from trials.data.augment import AUGMENTS
from trials.data.loader import order_of_pass, sample_seed
from trials.parts import build_augment

SHARES = {  # of the samples, how many a transform changes; unequal where they can be
    "flip": {"flip": 0.5},
    "flip_crop": {"flip": 0.5},
    "lab2": {"flip": 0.6, "rotate90": 0.5, "affine": 0.4, "blur": 0.5, "elastic": 0.3},
}
NAMES = {"RandomRotate90": "rotate90", "Affine": "affine", "GaussianBlur": "blur", "ElasticTransform": "elastic"}
KEYS = list(itertools.product(range(8), range(10), range(25)))  # seeds, passes, pictures
IMAGE, TRIMAP = np.zeros((32, 32, 3), np.uint8), np.ones((32, 32), np.uint8)


@functools.cache
def draws_of(name: str) -> pd.DataFrame:
    """What each sample of KEYS drew: a row a sample, the columns those of SHARES (0 or 1), and single numbers."""
    probabilities = {f"{name}_p": share for name, share in SHARES["lab2"].items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an argument that the library does not know is a warning only
        config = TrialConfig.from_dict({"augment": name, "image_size": 32, **probabilities})
        augment = build_augment(config)
    applied = []
    augment.compose.save_applied_params = True
    for key in KEYS:
        augment.start(sample_seed(*key))
        applied.append(augment.compose(image=IMAGE, mask=TRIMAP)["applied_transforms"])
    return pd.DataFrame([{**dict.fromkeys(SHARES[name], 0), **numbers_of(each)} for each in applied])


def numbers_of(applied: list[tuple[str, dict]]) -> dict[str, float]:
    """Which transforms changed a sample, and how; NaN for the numbers of one that did not."""
    found: dict[str, float] = {}
    for name, values in applied:
        if name.endswith("Flip"):  # 1: horizontal, 2: vertical, 3: both
            found["flip"] = 1
            found["flip_kind"] = found.get("flip_kind", 0) + (1 if name == "HorizontalFlip" else 2)
        elif name == "RandomResizedCrop":
            left, top, right, bottom = values["crop_coords"]
            found |= {"crop_area": (right - left) * (bottom - top), "crop_ratio": (right - left) / (bottom - top)}
        else:
            found[NAMES[name]] = 1
        if name == "RandomRotate90":
            found["quarter_turns"] = values["factor"]
        elif name == "Affine":
            found |= {"angle": values["rotate"], "zoom": values["scale"]["x"], "shift": shift_of(values["matrix"])}
        elif name == "GaussianBlur":
            found["blurriness"] = values["kernel"].max()
        elif name == "ElasticTransform":
            found["bend"] = (values["map_x"] - np.arange(32)).mean()
    return found


def shift_of(matrix: np.ndarray) -> float:
    """How far the picture's centre moves to the right, px."""
    return (matrix @ (15.5, 15.5, 1))[0] - 15.5


@pytest.mark.parametrize("name", SHARES)
def test_as_many_transforms_are_applied_as_independence_wants(name):
    draws, shares = draws_of(name), SHARES[name]
    expected = np.ones(1)  # how likely 0, 1, 2, ... of them are: the Poisson binomial distribution
    for share in shares.values():
        expected = np.convolve(expected, [1 - share, share])
    counts = np.bincount(draws[list(shares)].sum(axis=1).astype(int), minlength=len(expected))
    assert stats.chisquare(counts, expected * len(draws)).pvalue > 0.001, counts


@pytest.mark.parametrize("name", SHARES)
def test_no_two_draws_of_a_sample_are_correlated(name):
    draws = draws_of(name)
    pairs = list(itertools.combinations(draws.drop(columns="flip_kind"), 2))
    assert worst(draws, draws, pairs) < 4.5


def test_the_kind_of_flip_is_independent_of_every_other_draw():
    draws = draws_of("lab2")
    kinds = draws["flip_kind"].dropna()
    assert stats.chisquare(np.bincount(kinds.astype(int))[1:]).pvalue > 0.001
    for name in draws.columns.drop(["flip", "flip_kind"]):
        half = draws.loc[kinds.index, name] > draws[name].median() if draws[name].nunique() > 2 else draws[name]
        table = pd.crosstab(kinds, half[kinds.index])
        assert stats.chi2_contingency(table).pvalue > 0.001, f"{name}\n{table}"


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["seed", "pass", "picture"])
@pytest.mark.parametrize("name", SHARES)
def test_samples_one_step_apart_are_not_correlated(name, axis):
    draws = draws_of(name)
    place = {key: index for index, key in enumerate(KEYS)}
    steps = [(key, (*key[:axis], key[axis] + 1, *key[axis + 1 :])) for key in KEYS]
    here, there = zip(*[(place[a], place[b]) for a, b in steps if b in place], strict=True)
    numbers = draws.drop(columns="flip_kind")
    first, second = (numbers.iloc[list(rows)].reset_index(drop=True) for rows in (here, there))
    assert worst(first, second, list(itertools.product(numbers, numbers))) < 4.5


def worst(first: pd.DataFrame, second: pd.DataFrame, pairs: list[tuple[str, str]]) -> float:
    """The largest correlation of the pairs in standard errors; pairs that are never drawn together are left out."""
    sizes = []
    for one, other in pairs:
        both = pd.DataFrame({"one": first[one], "other": second[other]}).dropna()
        if (both.nunique() > 1).all():
            sizes.append(abs(both.corr().iloc[0, 1]) * np.sqrt(len(both)))
    return max(sizes, default=0.0)


@pytest.mark.parametrize("name", AUGMENTS)
def test_one_seed_is_one_outcome(name):
    config = TrialConfig.from_dict({"augment": name, "image_size": 32})
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    first, second = build_augment(config), build_augment(config)
    second(image, TRIMAP, 8)
    for seed in (0, 1, 2**64 - 1):
        for one, other in zip(first(image, TRIMAP, seed), second(image, TRIMAP, seed), strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize(("seed_step", "pass_step"), [(1, 0), (0, 1), (1, 1)])
def test_shuffled_passes_one_step_apart_are_not_correlated(seed_step, pass_step):
    indices, sizes = np.arange(500), []
    for seed, number in itertools.product(range(10), range(10)):
        first = order_of_pass(seed, number, indices)
        sizes.append(np.corrcoef(first, order_of_pass(seed + seed_step, number + pass_step, indices))[0, 1] * 500**0.5)
    assert stats.kstest(sizes, "norm").pvalue > 0.001


def test_a_pass_has_a_stream_of_its_own():
    # numpy pads a short seed with zeros: (seed, pass) is also (seed, pass, picture 0), and the drawn set's picture
    indices = np.arange(50)
    for seed, number in itertools.product(range(3), range(3)):
        for shared in ((seed, number), sample_seed(seed, number, 0)):
            assert not np.array_equal(
                order_of_pass(seed, number, indices), np.random.default_rng(shared).permutation(indices)
            )
