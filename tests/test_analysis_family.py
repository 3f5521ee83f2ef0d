"""All p values of a page are of one family."""

import re

import numpy as np
import pytest
from analysis_fixtures import STUDY, Trial, completed, diverged_line, line, outcome, write_study

from analysis.load.study import load_study
from analysis.page.blocks import Picture, Table
from analysis.page.comparison_page import build_comparison
from analysis.page.differences import verdict
from analysis.page.study_page import build
from analysis.stats.intervals import holm

GRID = STUDY | {"options": STUDY["options"] | {"search": "grid", "scheduler": "none"}}


def trials(shift: float = 0.0) -> list[Trial]:
    """Two networks, two upsamplings, six seeds; some diverge."""
    found, noise = [], np.random.default_rng(round(100 * shift))
    for number in range(24):
        config = {"model": ["unet", "resnet34_unet"][number % 2], "upsample": ["deconv", "bilinear"][number // 2 % 2]}
        dice = 0.5 + shift + 0.05 * (number % 2) + 0.01 * float(noise.standard_normal())
        found.append(completed([dice, dice + 0.1], **config, seed=number // 4))
        if number % 4 == 3:
            found[-1].lines = [line(1, dice), diverged_line(2, dice)]
            found[-1].outcome = outcome("diverged", 2)
    return found


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    one, other = (
        load_study(write_study(folder / name, trials(shift), study=GRID)) for name, shift in (("a", 0), ("b", 0.05))
    )
    return {"report": build(one)[0], "compare": build_comparison(one, other)[0]}


@pytest.mark.parametrize("which", ["report", "compare"])
def test_every_p_of_a_page_is_corrected_with_all_others(pages, which):
    tables = {table.name: table.frame for table in pages[which].blocks(Table)}
    having = {name for name, frame in tables.items() if any(str(column).split("_")[0] == "p" for column in frame)}
    assert having == {"comparisons"}
    rows = tables["comparisons"]
    assert rows["p"].notna().any()
    tested = rows["p"].where(rows["p_holm"].notna())
    assert rows["p_holm"].to_numpy(float) == pytest.approx(holm(tested.to_numpy(float)), nan_ok=True)


@pytest.mark.parametrize("which", ["report", "compare"])
def test_the_caption_says_how_many_tests_are_corrected_for(pages, which):
    table = next(table for table in pages[which].blocks(Table) if table.name == "comparisons")
    said = re.search(r"Holm's method for (\d+) tests?,", table.caption)
    assert int(said[1]) == np.isfinite(table.frame["p_holm"].astype(float)).sum()


def test_no_figure_brings_a_p_of_its_own(pages):
    captions = [picture.caption for page in pages.values() for picture in page.blocks(Picture)]
    assert not [caption for caption in captions if re.search(r"\bp = ", caption)]


def test_what_only_the_correction_leaves_open_is_said_with_the_number_of_tests():
    row = {"reason": "", "kind": "effect", "decided": False, "num_tests": 12, "agree": None, "low": 0.1, "high": 0.3}
    row |= {"p": 0.02, "p_least": 0.0}
    assert verdict(row) == "significant on its own, but not after Holm's correction for 12 tests"
