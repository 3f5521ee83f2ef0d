"""The first screen, and what a reader sees of tables and colours."""

import pandas as pd
from analysis_fixtures import STUDY, completed, diverged_line, outcome, write_study

from analysis.figures.canvas import LEVELS, NO_LEVEL, OTHER_OUTCOME, OUTCOMES, colours_of
from analysis.figures.predictions import LEFT_OUT, MASK, PREDICTION
from analysis.load.factors import Factor
from analysis.load.study import load_study
from analysis.page.blocks import Beside, Picture, Table
from analysis.page.html import grid
from analysis.page.study_page import build

GRID = {"search": "grid", "scheduler": "none"}
SPACE = STUDY["space"] | {
    "axes": {"upsample": {"kind": "choice", "values": ["deconv", "bilinear"]}},
    "baseline": {},
    "asks": ["upsample"],
}


def page_of(folder, trials, options=GRID):
    record = STUDY | {"space": SPACE, "options": STUDY["options"] | options, "num_trials": len(trials)}
    return build(load_study(write_study(folder, trials, study=record)))[0]


def grid_of_seeds(gain, num_seeds=6):
    """Deconvolution is better by `gain`, in each of the seeds."""
    wobble = [0.0, 0.002, -0.001, 0.001, -0.002, 0.0015]
    return [
        completed([0.5, 0.6 + (gain + wobble[seed]) * (name == "deconv")], upsample=name, seed=seed)
        for seed in range(num_seeds)
        for name in ("deconv", "bilinear")
    ]


def answer(page):
    return next(section for section in page.sections if section.title == "The answer")


def test_the_verdict_names_the_better_level_where_it_is_significant(tmp_path):
    first = answer(page_of(tmp_path, grid_of_seeds(0.1))).blocks[0].items[0]
    assert first == "Deconv gives a better val_dice than bilinear: +10.0 Dice points at epoch 2."


def test_the_verdict_of_no_difference_says_how_large_it_may_be(tmp_path):
    trials = [
        completed([0.5, 0.6 + 0.02 * (-1) ** (seed + (name == "deconv"))], upsample=name, seed=seed)
        for seed in range(6)
        for name in ("deconv", "bilinear")
    ]
    first = answer(page_of(tmp_path, trials)).blocks[0].items[0]
    assert first.startswith(
        "Upsampling: no clear winner in val_dice between deconv and bilinear (deconv less bilinear at epoch 2: 95 %"
        " CI -"
    )


def test_the_verdict_of_an_adaptive_search_is_an_association(tmp_path):
    first = answer(page_of(tmp_path, grid_of_seeds(0.1), {"search": "optuna", "scheduler": "none"})).blocks[0].items[0]
    assert first.endswith("+10.0 Dice points at epoch 2. That is an association; upsampling need not be the reason.")


def test_the_first_screen_is_a_verdict_a_table_and_the_figures_of_the_question(tmp_path):
    broken = completed([0.5], upsample="bilinear", seed=9)
    broken.lines.append(diverged_line(2, 0.1))
    broken.outcome = outcome("diverged", 2, step=40, where="loss")
    page = page_of(tmp_path, [*grid_of_seeds(0.1), broken])
    (table,) = (block for block in answer(page).blocks if isinstance(block, Table))
    (figures,) = (block for block in answer(page).blocks if isinstance(block, Beside))
    assert table.view.columns.tolist() == ["level", "median_best_val_dice", "highest", "diverged"]
    assert [picture.name for picture in figures.pictures] == ["val_dice_by_upsample", "incidence_by_upsample"]
    assert [section.title for section in page.sections if section.is_open] == ["The answer"]


def test_no_figure_stands_twice_on_the_page(tmp_path):
    names = [picture.name for picture in page_of(tmp_path, grid_of_seeds(0.1)).blocks(Picture)]
    assert len(names) == len(set(names)) > 2


def test_no_colour_means_two_things():
    outcomes = {colour for _, _, colour in [*OUTCOMES.values(), OTHER_OUTCOME]}
    own = [set(LEVELS), outcomes, {PREDICTION, MASK, LEFT_OUT}]
    assert len(set(LEVELS)) == len(LEVELS)
    assert sum(map(len, own)) == len(set.union(*own))
    assert NO_LEVEL not in LEVELS


def test_levels_of_two_axes_have_colours_of_their_own():
    trials = pd.DataFrame({"amp": ["true", "false"], "model": ["a", "b"]})
    factors = [Factor("amp", "choice", ("true", "false")), Factor("model", "choice", ("a", "b"))]
    used = [colour for factor in factors for colour in colours_of(trials, factor, factors).values()]
    assert len(set(used)) == 4


def test_a_cell_shows_a_rounded_number_and_sorts_by_the_exact_one():
    frame = pd.DataFrame({"best_val_dice": [0.123456], "upsample": ["deconv"]})
    table = Table("t", "", frame, settings=["upsample"], choices=["upsample"], heads={"upsample": "upsampling"})
    shown = grid(table, {})
    assert [head for head, _ in shown.heads] == ["best_val_dice", "upsampling"]
    number, level = shown.rows[0]
    assert (number.text, number.exact) == ("0.1235", "0.123456")
    assert (level.axis, level.level) == ("upsample", "deconv")


def test_a_column_that_the_page_leaves_out_stays_in_the_file():
    table = Table("t", "", pd.DataFrame({"trial": ["a"], "num_epochs": [3]}), columns=("trial",))
    assert table.view.columns.tolist() == ["trial"]
    assert table.frame.columns.tolist() == ["trial", "num_epochs"]
