"""Importances on made-up studies of which it is known what matters."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import STUDY, Trial, diverged_line, line, outcome, write_study

from analysis.load.factors import Factor, factors_of
from analysis.load.study import load_study
from analysis.page.sections.importances import left_out
from analysis.page.study_page import build
from analysis.stats.importances import COLUMNS, Target, divergence_target, importances, metric_target, sampled

MODEL = Factor("model", "choice", ("a", "b"))
LR = Factor("lr", "log_uniform")
OF_A = Factor("depth", "choice", ("1", "2"), ("model", "a"))


def drawn(num: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "folder": [f"t{number}" for number in range(num)],
            "model": rng.choice(["a", "b"], num),
            "lr": 10 ** rng.uniform(-4, -2, num),
            "depth": rng.choice([1, 2], num),
            "num_epochs": 5,
        }
    )


def shares(trials, values, factors=(MODEL, LR)) -> pd.DataFrame:
    return importances(trials, Target("val_dice", values), list(factors)).set_index("axis")


@pytest.mark.parametrize("how", ["fanova", "ped_anova"])
def test_the_setting_that_decides_has_nearly_all(how):
    trials = drawn(200)
    found = shares(trials, -((np.log10(trials["lr"]) + 3) ** 2))[how]
    assert found["lr"] > 0.9
    assert found.sum() == pytest.approx(1)


def test_divergence_is_told_by_those_that_diverged():
    trials = drawn(200).assign(outcome="completed")
    trials.loc[trials["model"] == "b", "outcome"] = "diverged"
    found = importances(trials, divergence_target(trials), [MODEL, LR]).set_index("axis")
    assert (found[["fanova", "ped_anova"]].loc["model"] > 0.9).all()


def test_few_trials_say_nothing():
    trials = drawn(19)
    assert shares(trials, trials["lr"])["reason"].tolist() == ["fewer than 20 trials (19)"] * 2


def test_all_alike_says_nothing():
    trials = drawn(50)
    assert shares(trials, pd.Series(1.0, trials.index))["reason"].tolist() == ["all came out alike"] * 2


def test_a_conditional_axis_is_judged_where_it_counts():
    trials = drawn(200)
    values = trials["depth"].where(trials["model"] == "a", 0.0).astype(float)
    found = shares(trials, values, (MODEL, LR, OF_A)).loc["depth"]
    assert found["num_trials"] == (trials["model"] == "a").sum()
    assert found["fanova"] > 0.9


def test_axes_of_two_branches_are_judged_where_they_exist_and_the_others_over_all():
    trials = drawn(200)
    is_a = trials["model"] == "a"
    trials = trials.assign(depth=trials["depth"].where(is_a), C=trials["lr"].sample(frac=1, random_state=0).to_numpy())
    trials["C"] = trials["C"].where(~is_a)
    values = np.log10(trials["lr"]) + trials["depth"].fillna(0) + np.log10(trials["C"]).fillna(0)
    axes = [MODEL, LR, Factor("depth", "choice", ("1.0", "2.0")), Factor("C", "log_uniform")]  # no condition recorded
    found = shares(trials, values, axes)
    assert found["num_trials"].to_dict() == {"model": 200, "lr": 200, "depth": is_a.sum(), "C": (~is_a).sum()}
    assert found["only_where"].to_dict() == {"model": "", "lr": "", "depth": "depth is set", "C": "C is set"}
    assert (found[["fanova", "ped_anova"]] > 0).all(axis=None)


def test_a_conditional_range_counts_only_where_its_condition_holds():
    trials = drawn(200)
    values = trials["lr"].where(trials["model"] == "a", 0.0)
    factors = (MODEL, Factor("depth", "choice", ("1", "2")), Factor("lr", "uniform", (), OF_A.condition))
    found = shares(trials, values, factors)
    assert found.loc["lr", "num_trials"] == (trials["model"] == "a").sum()
    assert found.loc["model", "num_trials"] == 200


def test_an_axis_that_exists_in_few_trials_is_named_with_the_reason():
    trials = drawn(60)
    trials["depth"] = trials["depth"].where(trials.index < 12)
    found = shares(trials, trials["lr"], (MODEL, LR, Factor("depth", "choice")))
    assert found.loc["depth", "reason"] == "fewer than 20 trials (12)"
    assert found.loc["lr", "num_trials"] == 60


def test_trials_whose_divergence_is_unknown_are_left_out_and_counted():
    trials = drawn(40).assign(outcome=["completed"] * 20 + ["diverged"] * 8 + ["failed", "running", "interrupted"] * 4)
    target = divergence_target(trials)
    assert target.values.count() == 28
    assert left_out(target) == "12 trials of which it is not known left out"


def test_the_case_of_two_branches_loses_no_axis():
    folder = Path(__file__).parents[2] / "shared/cases/ray/branches"
    if not folder.is_dir():
        pytest.skip("../shared is not here")
    study = load_study(folder)
    factors, _ = factors_of(study.study, study.trials)
    target = metric_target(study.trials, study.epochs, study.metric, study.mode)
    found = importances(study.trials, target, factors).set_index("axis")
    expected = {"lr": 60, "model/kind": 60, "model/depth": 30, "model/C": 30}
    assert found["num_trials"].to_dict() == expected
    assert found["fanova"].notna().all()


def test_the_forest_sees_a_fixed_sample_of_500():
    trials = drawn(700)
    assert len(sampled(trials)) == 500
    assert sampled(trials).index.equals(sampled(trials.iloc[::-1]).index)


def test_trials_are_compared_at_the_epoch_that_half_of_them_came_to():
    epochs = pd.DataFrame(
        {
            "folder": ["t0"] * 3 + ["t1"] * 2 + ["t2"],
            "epoch": [1, 2, 3, 1, 2, 1],
            "val_dice": [0.1, 0.2, 0.9, 0.3, 0.4, 0.8],
            "rolled_back": False,
        }
    )
    target = metric_target(drawn(3), epochs, "val_dice", "max")
    assert target.epoch == 2
    assert target.values.tolist() == pytest.approx([0.2, 0.4, np.nan], nan_ok=True)
    assert left_out(target) == "1 trial without a measurement at epoch 2 left out"


def test_the_page_has_both_kinds(tmp_path):
    rng = np.random.default_rng(0)
    trials = []
    for number in range(40):
        config = {
            "model": "unet",
            "upsample": ["deconv", "bilinear"][number % 2],
            "lr": float(10 ** rng.uniform(-4, -2)),
        }
        lines = [line(1, 0.5 + 0.1 * (number % 2)), line(2, 0.6 + 0.1 * (number % 2))]
        if config["lr"] > 3e-3:
            trials.append(Trial(config, [*lines, diverged_line(3, 0.1)], outcome("diverged", 3)))
        else:
            trials.append(Trial(config, [*lines, line(3, 0.7 + 0.1 * (number % 2))], outcome("completed", 3)))
    page, _ = build(load_study(write_study(tmp_path, trials, study=STUDY)))
    section = next(each for each in page.sections if each.title == "Which settings matter")
    table = section.blocks[1].frame
    assert set(table["of"]) == {"val_dice", "divergence"}
    assert set(table) <= set(COLUMNS)


def test_settings_that_never_varied_say_nothing():
    trials = drawn(50).assign(model="a", lr=0.1)
    assert shares(trials, pd.Series(range(50), dtype=float)).empty


def test_a_divergence_that_the_sample_misses_leaves_fanova_open():
    trials = drawn(700).assign(outcome="completed")
    outside = trials.index.difference(sampled(trials).index)
    trials.loc[outside[:2], "outcome"] = "diverged"
    found = importances(trials, divergence_target(trials), [MODEL, LR])
    assert found["fanova"].isna().all()
    assert found["ped_anova"].sum() == pytest.approx(1)


def test_noise_is_called_noise():
    trials = drawn(60)
    found = shares(trials, pd.Series(np.random.default_rng(1).standard_normal(60)))
    assert (found["explained"] < 0.05).all()


def test_what_the_settings_decide_is_foretold():
    trials = drawn(200)
    assert (shares(trials, -((np.log10(trials["lr"]) + 3) ** 2))["explained"] > 0.9).all()
