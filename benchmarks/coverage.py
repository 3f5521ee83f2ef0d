"""Whether the report's 95 % intervals hold the truth in 95 % of studies, and whether it claims what is not there.

    python benchmarks/coverage.py                          # 1,000 simulated studies a row, a Markdown table
    python benchmarks/coverage.py --studies 200 --only diverge
    python benchmarks/coverage.py --out rows.jsonl         # a JSON line a row; goes on where it stopped
    python benchmarks/coverage.py --json

Each row is a kind of study at a number of settings and of seeds (or trials a level). The studies of a row share their
pairing, so that most go straight to analysis.stats.estimates; the first CHECKED of each row also go through
analysis.stats.comparisons.compare whole, which has to give the same interval. "none": studies in which no interval is
given. "claimed" is how often p falls below 0.05 (of two comparisons, Dice and divergence, by Holm, where no difference
is). "decided": "never" where the report claims nothing, whatever comes.
"""

import argparse
import json
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.load.factors import Factor
from analysis.stats import estimates, intervals
from analysis.stats.comparison_rows import FEWEST_BROKEN, FEWEST_STARTED
from analysis.stats.comparisons import compare
from analysis.stats.designs import design_of
from analysis.stats.estimates import FEWEST_SETTINGS, units_of
from analysis.stats.pairing import FEWEST_PAIRS
from analysis.stats.random_effects import Layout, crossed, layout
from benchmarks import coverage_studies as simulated
from benchmarks.coverage_studies import TRUTH, Drawn, Grid

CHECKED = 1
SEEDS = (3, 5, 10, 30)
AXES = [Factor("level", "choice", ("a", "b", "c")), Factor("lr", "choice", ())]
DRAWN = [AXES[0], Factor("lr", "uniform")]
BLIND = {"grid": {"search": "grid", "scheduler": "none"}, "random": {"search": "random", "scheduler": "none"}}
COLUMNS = ("studies", "settings", "num", "of", "coverage", "none", "claimed", "decided", "seconds")


@dataclass(frozen=True)
class Outcome:
    """Of one study: a mean, its standard error and degrees of freedom, what is true, and what could claim something."""

    mean: float
    error: float  # nan: no interval
    df: float
    truth: float
    bounds: tuple[float, float] | None = None  # where the interval is not t's
    p: float = np.nan  # where it is not t's alone
    p_least: float = 0.0
    is_share: bool = False


NOTHING = Outcome(np.nan, np.nan, 1.0, np.nan)


def intervals_of(every: list[Outcome]) -> tuple[np.ndarray, np.ndarray]:
    """Low and high [n]."""
    mean, error, df = (np.array([getattr(each, name) for each in every]) for name in ("mean", "error", "df"))
    half = stats.t.ppf(0.5 + intervals.LEVEL / 2, df) * error
    low, high = mean - half, mean + half
    for place, each in enumerate(every):
        if each.bounds:
            low[place], high[place] = each.bounds
        elif each.is_share:
            low[place], high[place] = max(low[place], -1.0), min(high[place], 1.0)
    return low, high


@dataclass(frozen=True)
class Row:
    """A kind of study, and what of it is looked at."""

    name: str
    settings: int  # 0: not a grid
    num: int  # seeds, or configurations a level
    of: str  # "Dice", "Dice as started", "divergence", "claims"
    one: Callable[[np.random.Generator, "Row"], Outcome | list[Outcome]]
    check: Callable[[np.random.Generator, "Row"], None] | None = None


@lru_cache(1000)
def layout_of(shape: tuple[int, int], kept: bytes) -> Layout:
    """Of the pairs of a grid that are kept; of a grid that is whole it is always the same."""
    is_kept = np.frombuffer(kept, bool).reshape(shape)
    setting, seed = np.nonzero(is_kept)
    settings, seeds = np.cumsum(is_kept.any(axis=1)) - 1, np.cumsum(is_kept.any(axis=0)) - 1
    return layout(settings[setting], settings[setting], seeds[seed])


def dice_of(differences: np.ndarray, kept: np.ndarray, truth: float, *, with_p: bool = False) -> Outcome:
    """Of a less b [C, S] where kept, as estimates.paired_mean judges them."""
    if kept.sum() < FEWEST_PAIRS:
        return NOTHING
    found = crossed(layout_of(kept.shape, kept.tobytes()), differences[kept])
    by_seed = kept.shape[1] > 1
    variance = found.variance if (found.num_seeds > 1 or not by_seed) and found.df >= 1 else np.nan
    error = np.sqrt(variance) if variance > 0 else np.nan
    if not with_p or np.isnan(error):
        return Outcome(found.mean, error, found.df, truth)
    p = float(2 * stats.t.sf(abs(found.mean) / error, found.df))
    p = max(p, estimates.p_between_settings(found)) if by_seed else p
    return Outcome(found.mean, error, found.df, truth, p=p)


def finished(study: Grid, truth: float | None = None, *, with_p: bool = False) -> Outcome:
    """Where both runs finished: true is the mean over the settings that have a pair left."""
    left = study.finished.any(axis=1)
    own = float(study.setting_truth[left].mean()) if left.any() else np.nan
    return dice_of(study.dice["a"] - study.dice["b"], study.finished, own if truth is None else truth, with_p=with_p)


def started(study: Grid) -> Outcome:
    """With an interval where comparison_rows.py gives one."""
    kept = ~study.lost
    num_broken = sum(int(study.broke[level][kept].sum()) for level in "ab")
    found = dice_of(study.as_started(), kept, study.started_truth())
    is_enough = num_broken >= FEWEST_BROKEN and kept.sum() >= FEWEST_STARTED
    return found if is_enough else replace(found, error=np.nan)


def divergence(study: Grid, population: float, *, with_p: bool = False) -> Outcome:
    """The share's difference: in settings like these from FEWEST_SETTINGS on, else in these settings."""
    num_settings, num_seeds = study.lost.shape
    kept = ~study.lost
    ran = layout_of(kept.shape, kept.tobytes())
    a, b = (study.broke[level][kept].astype(float) for level in "ab")
    by_setting = num_settings >= FEWEST_SETTINGS or num_seeds < 2
    truth = population if by_setting else float((study.share["a"] - study.share["b"]).mean())
    of_units, error, df = units_of(ran, a - b, by_setting=by_setting)
    value = float(of_units.sum())
    p, least = np.nan, 0.0
    if with_p:
        is_each = len(of_units) == len(a)
        p, least = estimates.mcnemars_test(a, b) if is_each else estimates.flipped_signs(of_units)
    if error > estimates.ROUNDING:
        return Outcome(value, error, df, truth, None, p, least, is_share=True)
    both, mean_a, mean_b = (float(ran.weight @ each) for each in (a * b, a, b))
    table = (both, mean_a - both, mean_b - both, 1 - mean_a - mean_b + both)
    bounds = intervals.paired_share_interval(*(len(of_units) * max(each, 0.0) for each in table))
    return Outcome(value, np.nan, 1.0, truth, bounds, p, least)


def grid_rows() -> Iterator[Row]:
    """Of Dice and of divergence, in pairs."""
    kinds = [
        ("grid, nothing lost", simulated.grid),
        ("skewed noise", simulated.skewed),
        ("luck by setting and level", simulated.luck),
        *((f"{share:.0%} of pairs lost at random", simulated.lost(share)) for share in (0.1, 0.3, 0.5)),
        ("unequal seeds a setting", simulated.unequal),
    ]
    for settings in (2, 8):
        for num in SEEDS:
            for name, study in kinds:
                yield paired_row(name, settings, num, "Dice", study, finished)
            yield Row("three levels", settings, num, "Dice", three_levels)
            for share in (0.1, 0.3, 0.5):
                name, study = f"{share:.0%} of runs diverge", simulated.broken(share, share)
                yield paired_row(name, settings, num, "Dice", study, finished)
            name, study = "30% of runs diverge", simulated.broken(0.3, 0.3)
            yield paired_row(name, settings, num, "Dice as started", study, started)
            name, study = "30 % of a's runs diverge, 10 % of b's", simulated.broken(0.3, 0.1)
            yield paired_row(name, settings, num, "Dice as started", study, started)
    for settings in (1, 2, 8):
        for num in SEEDS:
            for shares in ((0.1, 0.1), (0.3, 0.3), (0.4, 0.15)):
                name = f"{shares[0]:.0%} of a's and {shares[1]:.0%} of b's runs diverge"
                judge = share_judge(shares[0] - shares[1])
                yield paired_row(name, settings, num, "divergence", simulated.broken(*shares), judge)
    for settings in (3, 5, 10, 30):
        yield paired_row("one seed", settings, 1, "Dice", one_seed, one_seed_outcome)
        judge = share_judge(0.0)
        yield paired_row("one seed, 30% of runs diverge", settings, 1, "divergence", simulated.broken(0.3, 0.3), judge)


def share_judge(population: float) -> Callable[[Grid], Outcome]:
    return lambda study: divergence(study, population)


def one_seed(rng: np.random.Generator, num_settings: int, num_seeds: int) -> Grid:
    return simulated.grid(rng, num_settings, num_seeds, of_setting=0.005)


def one_seed_outcome(study: Grid) -> Outcome:
    """True is what other settings would give at this seed, whose luck is in all differences."""
    return finished(study, TRUTH + study.of_seed)


def paired_row(name: str, settings: int, num: int, of: str, study: Callable, judge: Callable) -> Row:
    def one(rng: np.random.Generator, row: Row) -> Outcome:
        return judge(study(rng, row.settings, row.num))

    def check(rng: np.random.Generator, row: Row) -> None:
        made = study(rng, row.settings, row.num)
        same_as_report(simulated.frames(made), AXES, "grid", row, judge(made))

    return Row(name, settings, num, of, one, check)


def same_as_report(frames: tuple, axes: list, search: str, row: Row, lean: Outcome) -> None:
    """Raises where compare gives another interval."""
    trials, epochs = frames
    found = compare(trials, epochs, axes, "val_dice", "max", design_of(BLIND[search], trials))
    what = "divergence" if row.of == "divergence" else "val_dice"
    rows = found[(found["axis"] == "level") & (found["what"] == what)]
    start = "started_" if row.of == "Dice as started" else ""
    low, high = (float(rows[f"{start}{bound}"].iloc[0]) for bound in ("low", "high"))
    own = [each[0] for each in intervals_of([lean])]
    nothing_broke = start and np.isnan(low) and not (trials["outcome"] == "diverged").any()
    if not nothing_broke and not np.allclose([low, high], own, equal_nan=True):
        raise AssertionError(f"{row}: compare gives {low} to {high}, the benchmark {own}")


def three_levels(rng: np.random.Generator, row: Row) -> list[Outcome]:
    """a is ahead of b and of c, which are alike."""
    study = simulated.grid(rng, row.settings, row.num, levels="abc")
    kept = np.ones(study.lost.shape, bool)
    pairs = (("a", "b", TRUTH), ("a", "c", TRUTH), ("b", "c", 0.0))
    return [dice_of(study.dice[one] - study.dice[other], kept, truth) for one, other, truth in pairs]


def drawn_rows() -> Iterator[Row]:
    """Of random searches, in which nothing pairs."""
    for num in SEEDS:
        for seeds in (1, 3):
            name = f"random search, {seeds} seed{'s' if seeds > 1 else ''} a configuration"
            yield drawn_row(name, num, seeds, (0.0, 0.0), "Dice")
            yield drawn_row(f"{name}, 30% of runs diverge", num, seeds, (0.3, 0.3), "divergence")


def drawn_row(name: str, num: int, seeds: int, shares: tuple, of: str) -> Row:
    def one(rng: np.random.Generator, _: Row) -> Outcome:
        return unpaired(simulated.drawn(rng, num, seeds, shares), of)

    def check(rng: np.random.Generator, row: Row) -> None:
        made = simulated.drawn(rng, num, seeds, shares)
        same_as_report(simulated.drawn_frames(made), DRAWN, "random", row, unpaired(made, of))

    return Row(name, 0, num, of, one, check)


def unpaired(study: Drawn, of: str, *, with_p: bool = False) -> Outcome:
    value = study.broke if of == "divergence" else study.dice
    truth = study.share_truth if of == "divergence" else study.truth
    if study.num_seeds == 1:
        return of_trials(*(value[level] for level in "ab"), truth, is_share=of == "divergence")
    sides = []
    for place, level in enumerate("ab"):
        cell = study.cell[level] - place * study.num
        sides += [layout(cell, cell, study.seed[level]), value[level].astype(float)]
    mean, variance, df = estimates.clustered(*sides)
    error = np.sqrt(variance) if variance > 0 else np.nan
    p = float(2 * stats.t.sf(abs(mean) / error, df)) if with_p else np.nan
    if of != "divergence":
        return Outcome(mean, error, df, truth, p=p)
    is_all_or_none = all(np.isin(side.reshape(study.num, -1).mean(axis=1), (0, 1)).all() for side in sides[1::2])
    if is_all_or_none or (with_p and p < 0.2):  # as it is in the report; p is of interest only where t's is small
        found = estimates.unpaired_shares(*simulated.sides_of(study)).estimate
        return Outcome(mean, error, df, truth, (found.low, found.high), found.p, found.p_least)
    return Outcome(mean, error, df, truth, None, p, 0.0, is_share=True)


def of_trials(a: np.ndarray, b: np.ndarray, truth: float, *, is_share: bool) -> Outcome:
    """One trial a configuration."""
    if is_share:
        found = intervals.share_difference(int(a.sum()), len(a), int(b.sum()), len(b))
        return Outcome(found.value, np.nan, 1.0, truth, (found.low, found.high))
    parts = [each.var(ddof=1) / len(each) for each in (a, b)]
    df = sum(parts) ** 2 / sum(part**2 / (len(each) - 1) for part, each in zip(parts, (a, b), strict=True))
    return Outcome(float(a.mean() - b.mean()), np.sqrt(sum(parts)), df, truth)


def null_rows() -> Iterator[Row]:
    """Studies in which nothing does anything: how often Dice or divergence is claimed to."""
    for settings in (1, 2, 8):
        for num in SEEDS:
            for share in (0.1, 0.3):
                for of_level in (0.0, 1.0) if settings >= FEWEST_SETTINGS else (0.0,):
                    name = f"null, {share:.0%} diverge{', luck by setting and level' if of_level else ''}"
                    yield null_row(name, settings, num, simulated.broken(share, share, of_level=of_level), of_level)
    for num in SEEDS:
        yield Row("null, random search, 3 seeds, 30% diverge", 0, num, "claims", null_search)
    yield Row("null, four axes and their interactions, a whole page, 20% diverge", 8, 4, "claims", null_page)


def null_row(name: str, settings: int, num: int, study: Callable, of_level: float) -> Row:
    def one(rng: np.random.Generator, row: Row) -> list[Outcome]:
        made = study(rng, row.settings, row.num)
        gone = made.setting_truth if not of_level else np.full(row.settings, TRUTH)  # of each setting, or of the mean
        made = simulated.replace(made, dice={**made.dice, "a": made.dice["a"] - gone[:, None]})
        return [finished(made, 0.0, with_p=True), divergence(made, 0.0, with_p=True)]

    return Row(name, settings, num, "claims", one)


def null_search(rng: np.random.Generator, row: Row) -> list[Outcome]:
    made = simulated.drawn(rng, row.num, 3, (0.3, 0.3), truth=0.0)
    return [unpaired(made, of, with_p=True) for of in ("Dice", "divergence")]


def null_page(rng: np.random.Generator, row: Row) -> list[Outcome]:
    """All comparisons of a page, which are one family, as compare corrects them: what it decides counts."""
    trials, epochs = simulated.four_axes(rng, row.num, 0.2)
    axes = [Factor(name, "choice", ("a", "b")) for name in simulated.FOUR_AXES]
    found = compare(trials, epochs, axes, "val_dice", "max", design_of(BLIND["grid"], trials))
    return [replace(NOTHING, truth=0.0, p=0.0 if found["decided"].any() else 1.0)]


def rows() -> Iterator[Row]:
    yield from grid_rows()
    yield from drawn_rows()
    yield from null_rows()


def measure(row: Row, num_studies: int) -> dict:
    """The row of the table."""
    rng, begun = np.random.default_rng((row.settings, row.num, zlib.crc32(row.name.encode()))), time.monotonic()
    for _ in range(min(CHECKED, num_studies) if row.check else 0):
        row.check(rng, row)
    studies = [
        found if isinstance(found, list) else [found] for found in (row.one(rng, row) for _ in range(num_studies))
    ]
    claimed = float(np.mean([claims(study) for study in studies]))
    every = [each for study in studies for each in study]
    low, high = intervals_of(every)
    has, truth = np.isfinite(low), np.array([each.truth for each in every])
    held = (low <= truth) & (truth <= high)
    return {
        "studies": row.name,
        "settings": row.settings,
        "num": row.num,
        "of": row.of,
        "coverage": float(held[has].mean()) if has.any() and row.of != "claims" else None,
        "none": float(1 - has.mean()),
        "claimed": claimed if row.of == "claims" else None,
        "seconds": round(time.monotonic() - begun, 1),
        "num_studies": num_studies,
    }


def claims(study: list[Outcome]) -> bool:
    """Whether the smallest p is below 0.05 divided by the number of tests that could tell: Holm's first step."""
    could = [each.p for each in study if np.isfinite(each.p) and each.p_least < 0.05]
    return bool(could) and min(could) < 0.05 / len(could)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies a row")
    parser.add_argument("--only", default="", help="rows whose name or kind holds this text")
    parser.add_argument("--out", type=Path, help="a file of JSON lines; rows that it has are not run again")
    parser.add_argument("--json", action="store_true", help="print JSON lines in place of a table")
    options = parser.parse_args()
    done = {key_of(each): each for each in read(options.out)}
    if not options.json:
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for row in rows():
        if options.only not in f"{row.name} {row.of}":
            continue
        key = (row.name, row.settings, row.num, row.of, options.studies)
        found = done.get(key) or measure(row, options.studies)
        if options.out and key not in done:
            with options.out.open("a") as file:
                file.write(json.dumps(found) + "\n")
        print(json.dumps(found) if options.json else line(found), flush=True)


def read(path: Path | None) -> list[dict]:
    return [json.loads(each) for each in path.read_text().splitlines()] if path and path.exists() else []


def is_ever_decided(found: dict) -> bool:
    """Estimates as started are not tested; of fewer than six units no sign flip has a p below 0.05."""
    units = found["settings"] if found["settings"] >= FEWEST_SETTINGS or found["num"] == 1 else found["num"]
    few = found["of"] == "divergence" and found["settings"] and units < FEWEST_SETTINGS
    return found["of"] != "Dice as started" and not few


def key_of(found: dict) -> tuple:
    return tuple(found[name] for name in ("studies", "settings", "num", "of", "num_studies"))


def line(found: dict) -> str:
    shown = {name: "-" if found.get(name) is None else found[name] for name in COLUMNS}
    shown["decided"] = "by p" if is_ever_decided(found) else "never"
    for name in ("coverage", "none", "claimed"):
        shown[name] = shown[name] if shown[name] == "-" else f"{shown[name]:.1%}"
    return f"| {' | '.join(str(shown[name]) for name in COLUMNS)} |"


if __name__ == "__main__":
    main()
