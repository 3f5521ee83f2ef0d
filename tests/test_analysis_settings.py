"""The settings of anybody's trials: what they are called, which of them vary, and that none is lost to our columns."""

import json
from itertools import product

import pytest
from foreign_fixtures import scored, write_experiment

from analysis.load.columns import TRIAL_COLUMNS
from analysis.load.factors import RANGES, factors_of, levels, present_levels
from analysis.load.study import load_study
from analysis.page.answer import facts_of
from analysis.report import main
from analysis.stats.ranking import rank_trials

THREE = [0.1, 0.01, 0.001]


def axes_of(folder):
    """Title -> levels of each axis, an empty list for a range."""
    study = load_study(folder)
    factors, _ = factors_of(study.study, study.trials)
    return {each.title: present_levels(study.trials, each) if each.kind not in RANGES else [] for each in factors}


def axes_with(tmp_path, configs):
    return axes_of(write_experiment(tmp_path / "experiment", scored(configs)))


@pytest.mark.parametrize("name", [*TRIAL_COLUMNS, "epoch", "rank", "best_epoch", "best_val_acc", "level", "study"])
def test_a_setting_named_as_a_column_of_ours_is_an_axis(tmp_path, name):
    configs = [{name: value, "lr": lr} for value, lr in product([4, 8, 16], THREE)]
    folder = write_experiment(tmp_path / "experiment", scored(configs))
    assert axes_of(folder) == {name: ["4", "8", "16"], "learning rate": ["0.001", "0.01", "0.1"]}
    study = load_study(folder)
    factors, _ = factors_of(study.study, study.trials)
    ranked = rank_trials(study.trials, study.epochs, study.metric, study.mode)
    assert f"{name}=16" in facts_of(study, factors, ranked)["best"]["settings"]


def test_a_report_of_settings_named_as_columns_of_ours(tmp_path):
    configs = [{"rank": rank, "num_epochs": n, "trial": "a"} for rank, n in product([4, 16], [1, 2])]
    folder = write_experiment(tmp_path / "experiment", scored(configs))
    assert main([str(folder)]) == 0
    best = json.loads((folder / "report/report.json").read_text())["tables"]["ranking"]["rows"][0]
    assert (best["rank"], best["config/rank"], best["num_epochs"], best["config/num_epochs"]) == (1, 16, 2, 2)


def test_a_setting_whose_name_is_that_of_a_renamed_one_is_not_lost(tmp_path):
    configs = [{"rank": value, "config": {"rank": other}} for value, other in product([1, 2], [5, 6])]
    assert axes_with(tmp_path, configs) == {"rank": ["1", "2"], "config/rank": ["5", "6"]}


def test_none_is_a_level(tmp_path):
    configs = [{"clip": clip, "seed": seed} for clip, seed in product([None, 1], range(3))]
    assert axes_with(tmp_path, configs) == {"clip": ["none", "1"]}


def test_a_setting_that_a_trial_lacks_is_no_level(tmp_path):
    assert axes_with(tmp_path, [{"lr": 1, "clip": 1}, {"lr": 2}]) == {"learning rate": ["1", "2"]}


def test_floats_that_differ_late_are_two_levels(tmp_path):
    assert axes_with(tmp_path, [{"ema": ema} for ema in [0.99996, 0.99999] * 2]) == {"ema": ["0.99996", "0.99999"]}


def test_labels_are_as_short_as_uniqueness_allows(tmp_path):
    configs = [{"x": x} for x in [0.123456789, 0.123456999, 0.5] * 2]
    assert axes_with(tmp_path, configs) == {"x": ["0.1234568", "0.123457", "0.5"]}


def test_a_number_and_its_text_are_two_levels(tmp_path):
    assert axes_with(tmp_path, [{"x": x} for x in [1, "1", 1, "1"]]) == {"x": ["1", '"1"']}


def test_a_whole_float_is_the_same_level_as_the_integer(tmp_path):
    assert axes_with(tmp_path, [{"x": x} for x in [1, 1.0, 2, 2.0]]) == {"x": ["1", "2"]}


def test_levels_of_numbers_are_in_the_order_of_numbers(tmp_path):
    configs = [{"batch_size": size, "n": str(size)} for size in [256, 16, 8, 128, 32, 64] * 2]
    ordered = ["8", "16", "32", "64", "128", "256"]
    assert axes_with(tmp_path, configs) == {"batch size": ordered, "n": ordered}


def test_a_text_that_is_another_in_each_trial_is_no_axis_and_that_is_said(tmp_path):
    configs = [{"lr": lr, "run_name": f"run-{number}"} for number, lr in enumerate(THREE * 4)]
    folder = write_experiment(tmp_path / "experiment", scored(configs))
    study = load_study(folder)
    factors, gaps = factors_of(study.study, study.trials)
    assert [factor.name for factor in factors] == ["lr"]
    assert any("run_name" in gap and "another value in nearly each trial" in gap for gap in gaps)


def test_addresses_make_no_levels_but_names_beside_them_do(tmp_path):
    data = [{"data": f"<Subset object at 0x7f{number:06x}>"} for number in range(4)]
    loss = [{"loss": f"<function {name} at 0x7f{place:06x}>"} for place, name in enumerate(["mse", "mae"] * 2)]
    configs = [a | b for a, b in zip(data, loss, strict=True)]
    assert axes_with(tmp_path, configs) == {"loss": ["<function mae at 0x…>", "<function mse at 0x…>"]}


def test_long_values_have_short_labels_of_their_own(tmp_path):
    layers = [list(range(60)), [*range(30), 77, *range(31, 60)]]
    texts = ["a" * 150 + "b" + "a" * 149, "a" * 300]
    found = axes_with(tmp_path, [{"layers": one, "text": text} for one, text in product(layers, texts)])
    for names in found.values():
        assert len(set(names)) == 2
        assert all("…" in name and len(name) <= 45 for name in names)


def test_a_setting_that_exists_under_one_level_only_has_that_as_its_condition(tmp_path):
    configs = [{"model": {"kind": "svm", "C": c}} for c in [1, 2, 1, 2]]
    configs += [{"model": {"kind": "forest", "depth": depth}} for depth in [3, 4, 3, 4]]
    study = load_study(write_experiment(tmp_path / "experiment", scored(configs)))
    factors, _ = factors_of(study.study, study.trials)
    conditions = {factor.name: factor.condition for factor in factors}
    kind = "model/kind"
    assert conditions == {kind: None, "model/C": (kind, "svm"), "model/depth": (kind, "forest")}


@pytest.mark.parametrize("name", ["random_state", "random_seed", "x/seed", "randomSeed", "data_seed", "seed_value"])
def test_a_seed_by_another_name_is_the_seed(tmp_path, name):
    configs = [{"clip": clip, name: seed} for clip, seed in product([1, 2], range(3))]
    study = load_study(write_experiment(tmp_path / "experiment", scored(configs)))
    factors, _ = factors_of(study.study, study.trials)
    assert [factor.name for factor in factors] == ["clip"]
    assert study.trials["seed"].tolist() == [0, 1, 2] * 2
    assert any(name in gap and "the seed" in gap for gap in study.gaps)


def test_two_seeds_that_vary_are_one_seed_of_two_parts(tmp_path):
    configs = [{"clip": 1, "seed": seed, "split_seed": split} for seed, split in product([0, 1], [7, 8])]
    study = load_study(write_experiment(tmp_path / "experiment", scored(configs)))
    assert study.trials["seed"].nunique() == 4


def test_levels_do_not_depend_on_which_trials_are_looked_at(tmp_path):
    study = load_study(write_experiment(tmp_path / "e", scored([{"x": x} for x in [0.1234567, 0.1234568] * 2])))
    (factor,), _ = factors_of(study.study, study.trials)
    assert levels(study.trials.iloc[:1], factor).tolist() == levels(study.trials, factor).tolist()[:1]


def test_an_empty_dictionary_is_a_setting(tmp_path):
    assert axes_with(tmp_path, [{"kwargs": {}}, {"kwargs": "all"}]) == {"kwargs": ["all", "{}"]}


def test_sampled_numbers_are_a_range_and_few_round_ones_are_levels(tmp_path):
    sampled = [{"lr": lr, "depth": depth} for lr, depth in [(0.0123456789, 1), (0.0234567891, 2), (0.0345678912, 3)]]
    assert axes_with(tmp_path, sampled) == {"learning rate": [], "depth": ["1", "2", "3"]}
