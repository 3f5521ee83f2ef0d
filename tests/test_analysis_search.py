"""How the search went: frames worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import STUDY, Trial, completed, diverged_line, line, outcome, write_study
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from analysis.figures.search import draw_parallel
from analysis.load.factors import Factor
from analysis.load.study import load_study
from analysis.page.sections.search import search_section
from analysis.page.study_page import build
from analysis.stats.ranking import rank_trials
from analysis.stats.search_history import boundary, costs, parallel, rungs, time_line

PRUNED = [Trial(lines=[line(1, 0.3)], outcome=outcome("pruned", 1, duration_s=60.0)) for _ in range(2)]


def studied(tmp_path, trials):
    study = load_study(write_study(tmp_path, trials, study=STUDY | {"num_trials": len(trials)}))
    return study, rank_trials(study.trials, study.epochs, "val_dice", "max")


def test_a_bar_goes_from_start_to_last_result(tmp_path):
    late = [line(1, 0.5, timestamp=1795460400 + 90, time_total_s=30.0)]
    early = [line(1, 0.5, timestamp=1795460400, time_total_s=60.0)]
    study, _ = studied(tmp_path, [Trial(lines=late), Trial(lines=early)])
    bars = time_line(study.trials, study.epochs)
    assert bars[["trial", "start_min", "end_min"]].to_numpy().tolist() == [
        ["a1b2c_00001", 0.0, 1.0],
        ["a1b2c_00000", 2.0, 2.5],
    ]


def test_a_rung_is_where_trials_were_stopped(tmp_path):
    study, _ = studied(tmp_path, [completed([0.5, 0.6]), *PRUNED])
    rows = rungs(study.trials, study.epochs, "val_dice", "max")
    assert rows[["rung", "value", "stopped"]].to_numpy().tolist() == [[1, 0.5, False], [1, 0.3, True], [1, 0.3, True]]


def test_a_rung_is_a_trials_last_epoch_even_if_the_metric_was_not_measured_at_it(tmp_path):
    stopped = Trial(lines=[line(1, 0.3), line(2, math.nan)], outcome=outcome("pruned", 2))
    study, _ = studied(tmp_path, [completed([0.5, 0.6, 0.7]), stopped])
    rows = rungs(study.trials, study.epochs, "val_dice", "max").sort_values("stopped")
    assert rows["rung"].tolist() == [2, 2]
    assert rows["value"].tolist() == pytest.approx([0.6, math.nan], nan_ok=True)


def test_a_rung_of_ours_shows_the_best_so_far_which_asha_compared(tmp_path):
    fell = Trial(lines=[line(1, 0.8), line(2, 0.3)], outcome=outcome("pruned", 2))
    study, _ = studied(tmp_path, [completed([0.5, 0.6, 0.7]), fell])
    at_the_rung, so_far = (
        rungs(study.trials, study.epochs, "val_dice", "max", by_objective=ours)["value"].tolist()
        for ours in (False, True)
    )
    assert at_the_rung == [0.6, 0.3]
    assert so_far == [0.6, 0.8]


def test_the_best_line_of_a_metric_to_be_small_is_the_darkest_and_on_top():
    places, values = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0.1, 0.9])
    axes = Figure().subplots()
    draw_parallel((places, values, [[], []]), axes, names=["lr", "val_loss"], metric="val_loss", mode="min")
    (lines,) = (each for each in axes.collections if isinstance(each, LineCollection))
    assert lines.get_array().tolist() == [0.9, 0.1]
    assert sum(lines.cmap(lines.norm(0.1))[:3]) < sum(lines.cmap(lines.norm(0.9))[:3])


def test_the_page_says_which_end_of_the_metric_is_better(tmp_path):
    trials = [completed([0.5, 0.6], lr=rate, model=model) for rate, model in ((1e-3, "a"), (2e-3, "b"), (4e-3, "a"))]
    study = load_study(write_study(tmp_path, trials), "val_loss", "min")
    ranked = rank_trials(study.trials, study.epochs, "val_loss", "min")
    section = search_section(study, ranked, [Factor("lr", "log_uniform"), Factor("model", "choice")])
    said = {picture.name: picture.caption for picture in section.blocks}
    assert "lower is better" in said["parallel"]
    assert "the darker the better" in said["parallel"]
    assert "lower is better" in said["cost"]


def test_trials_that_left_no_time_are_counted(tmp_path):
    failed = Trial(outcome=outcome("failed", 1))
    study, ranked = studied(tmp_path, [*(completed([0.5, 0.6], lr=rate) for rate in (1e-3, 2e-3, 4e-3)), failed])
    said = {picture.name: picture.caption for picture in search_section(study, ranked, []).blocks}
    assert "1 trial left no result with a time" in said["time_line"]


def test_a_trial_that_diverged_later_came_to_the_rung_and_went_on(tmp_path):
    broken = Trial(lines=[line(1, 0.4), diverged_line(2, 0.1)], outcome=outcome("diverged", 2))
    study, _ = studied(tmp_path, [broken, *PRUNED])
    assert rungs(study.trials, study.epochs, "val_dice", "max")["went_on"].tolist() == [True, False, False]


def test_without_pruning_there_is_no_rung(tmp_path):
    study, _ = studied(tmp_path, [completed([0.5, 0.6])])
    assert rungs(study.trials, study.epochs, "val_dice", "max").empty


def test_the_front_holds_what_nothing_cheaper_beats():
    ranked = pd.DataFrame(
        {
            "trial": ["cheap", "beaten", "good", "dear"],
            "outcome": "completed",
            "duration_s": [60, 120, 120, 180],
            "best_val_dice": [0.5, 0.4, 0.8, 0.8],
        }
    )
    found = costs(ranked, "val_dice", "max").set_index("trial")["on_front"]
    assert found.to_dict() == {"cheap": True, "good": True, "beaten": False, "dear": False}


def test_parallel_places_go_from_0_to_1(tmp_path):
    trials = [completed([0.5], lr=1e-4), completed([0.7], lr=1e-3, upsample="bilinear"), completed([0.9], lr=1e-2)]
    _, ranked = studied(tmp_path, trials)
    factors = [Factor("upsample", "choice", ("deconv", "bilinear")), Factor("lr", "log_uniform")]
    places, values, ticks = parallel(ranked, factors, "val_dice")
    assert values.tolist() == [0.9, 0.7, 0.5]
    assert places == pytest.approx(np.array([[0, 1, 1], [1, 0.5, 0.5], [0, 0, 0]]))
    assert ticks[1] == [(0.0, "0.0001"), (0.5, "0.001"), (1.0, "0.01")]


def test_the_boundary_lies_where_half_diverge():
    rng = np.random.default_rng(0)
    x = 10 ** rng.uniform(-4, -2, 400)
    chance = 1 / (1 + np.exp(-8 * (np.log10(x) + 3)))
    bad = rng.random(400) < chance
    places = pd.DataFrame({"x": x, "y": 0.0, "outcome": np.where(bad, "diverged", "completed")})
    edge = boundary(places, log=True, is_choice=True)
    assert np.log10(edge["x"].iloc[0]) == pytest.approx(-3, abs=0.1)


def test_few_divergences_have_no_boundary():
    places = pd.DataFrame({"x": [1.0, 2, 3, 4], "y": 0.0, "outcome": ["completed"] * 2 + ["diverged"] * 2})
    assert boundary(places, log=False, is_choice=False).empty


def test_no_boundary_where_smaller_rates_diverge():
    places = pd.DataFrame({"x": np.arange(1.0, 21), "y": 0.0, "outcome": ["diverged"] * 10 + ["completed"] * 10})
    assert boundary(places, log=False, is_choice=True).empty


def test_the_page_shows_them(tmp_path):
    study, _ = studied(tmp_path, [*(completed([0.5, 0.6], lr=rate) for rate in (1e-3, 2e-3, 4e-3)), *PRUNED])
    page, _ = build(study)
    section = next(each for each in page.sections if each.title == "How the search went")
    assert [picture.name for picture in section.blocks] == ["rungs", "cost", "time_line"]
