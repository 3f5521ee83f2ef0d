"""What is compared with what, on frames made by hand."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from analysis.load.factors import Factor
from analysis.page.differences import counted
from analysis.page.headline import interaction_text
from analysis.page.sections.effects import lines
from analysis.stats.comparisons import compare
from analysis.stats.designs import design_of

UPSAMPLE = Factor("upsample", "choice", ("deconv", "bilinear"))
GRID = {"search": "grid", "scheduler": "none"}


def study(gains=(0.01, 0.02, 0.03), *, short=(), diverged=()):
    """Both levels under each seed; deconv gains that much over bilinear. short: folders that stop after epoch 1."""
    trials = pd.DataFrame(
        [
            {"folder": f"{name}{seed}", "outcome": "completed", "upsample": name, "seed": seed}
            for seed in range(len(gains))
            for name in ("deconv", "bilinear")
        ]
    )
    trials.loc[trials["folder"].isin(short), "outcome"] = "pruned"
    trials.loc[trials["folder"].isin(diverged), "outcome"] = "diverged"
    rows = [
        {"folder": trial.folder, "epoch": epoch, "val_dice": 0.5 + 0.1 * epoch + gain, "rolled_back": False}
        for trial in trials.itertuples()
        for epoch in ((1,) if trial.folder in short else (1, 2, 3))
        for gain in [gains[trial.seed] if trial.upsample == "deconv" else 0.0]
    ]
    return trials, pd.DataFrame(rows)


def rows(trials, epochs, options=GRID):
    return compare(trials, epochs, [UPSAMPLE], "val_dice", "max", design_of(options, trials)).set_index("what")


def test_the_difference_is_the_mean_over_seeds():
    assert rows(*study()).loc["val_dice", "difference"] == pytest.approx(0.02)


def test_a_pruned_trial_is_compared_at_the_epoch_it_reached():
    assert rows(*study(short=("bilinear0",))).loc["val_dice", "difference"] == pytest.approx(0.02)


def test_pruning_makes_associations():
    assert set(rows(*study(short=("bilinear0",)))["kind"]) == {"association"}


def test_an_adaptive_search_makes_associations():
    assert set(rows(*study(), {"search": "optuna", "scheduler": "none"})["kind"]) == {"association"}


def test_a_diverged_trial_leaves_its_pair_out():
    row = rows(*study(gains=(0.01, 0.02, 0.03, 0.04), diverged=("deconv3",))).loc["val_dice"]
    assert (row["num_pairs"], row["num_left_out"]) == (3, 1)


def test_divergence_is_a_comparison_of_its_own():
    assert rows(*study(diverged=("deconv0",))).loc["divergence", "difference"] == pytest.approx(1 / 3)


def test_an_association_is_never_decided():
    gains = tuple(0.05 + 0.0001 * seed for seed in range(8))
    options = {"search": "optuna", "scheduler": "none"}
    assert rows(*study(gains)).loc["val_dice", "decided"]
    assert not rows(*study(gains), options).loc["val_dice", "decided"]


def grid(value, *, settings=2, seeds=3, end=lambda setting, level, seed: "completed", epochs=lambda *_: 1, more=()):
    """Trials of both levels in every setting (lr) under every seed; value(setting, level, seed) in each epoch."""
    runs = [(*run, name) for run in product(range(settings), "ab", range(seeds)) for name in ("", *more)]
    trials = pd.DataFrame(
        [
            {"folder": f"{n}", "outcome": end(setting, level, seed), "level": level, "lr": setting, "seed": seed}
            for n, (setting, level, seed, _) in enumerate(runs)
        ]
    )
    rows = [
        {"folder": f"{n}", "epoch": epoch, "val_dice": value(setting, level, seed), "rolled_back": False}
        for n, (setting, level, seed, _) in enumerate(runs)
        for epoch in range(1, 1 + epochs(setting, level, seed))
    ]
    return trials, pd.DataFrame(rows, columns=["folder", "epoch", "val_dice", "rolled_back"])


LEVEL = Factor("level", "choice", ("a", "b"))
LR = Factor("lr", "choice", ())


def compared(trials, epochs, factors=(LEVEL, LR), options=GRID, mode="max"):
    found = compare(trials, epochs, list(factors), "val_dice", mode, design_of(options, trials))
    return found[found["axis"] == factors[0].name].set_index("what")


def noisy(setting, level, seed, *, of_seed=0.02):
    """b is better by 0.01; each seed shifts a; small noise that is always the same."""
    noise = np.random.default_rng((setting, level == "a", seed)).standard_normal()
    shift = np.random.default_rng(100 + seed).standard_normal()
    return 0.5 + 0.01 * (level == "b") + of_seed * shift * (level == "a") + 0.003 * noise


def width(row):
    return row["high"] - row["low"]


def test_a_lost_pair_leaves_the_interval_as_wide():
    whole = compared(*grid(noisy, settings=8)).loc["val_dice"]
    lost = compared(*grid(noisy, settings=8, end=lambda *run: "diverged" if run == (0, "a", 0) else "completed"))
    assert 0.8 < width(lost.loc["val_dice"]) / width(whole) < 1.25


def test_settings_that_diverge_under_every_seed_are_one_piece_of_evidence_each():
    # a diverges in 3 of 8 settings, under all of ten seeds: three heads in a row, not thirty
    row = compared(*grid(noisy, settings=8, seeds=10, end=lambda *run: ended(run[1] == "a" and run[0] < 3)))
    assert row.loc["divergence", "p"] == pytest.approx(2 * 0.5**3)
    assert row.loc["divergence", "difference"] == pytest.approx(3 / 8)


def ended(is_broken):
    return "diverged" if is_broken else "completed"


@pytest.mark.parametrize("end", ["failed", "out_of_memory", "interrupted", "running"])
def test_a_trial_of_unknown_end_did_not_not_diverge(end):
    ends = {("a", 0): "diverged", ("a", 1): end, ("a", 2): end}
    row = compared(*grid(noisy, settings=1, seeds=6, end=lambda _, *run: ends.get(run, "completed")))
    row = row.loc["divergence"]
    assert (row["value_a"], row["num_pairs"], row["num_unknown_a"]) == (0.25, 4, 2)


def test_as_started_a_broken_run_counts_as_its_worst():
    value = {"a": 0.6, "b": 0.5}
    trials, epochs = grid(lambda _, level, seed: value[level] + seed / 100, settings=1, seeds=4)
    trials.loc[(trials["level"] == "a") & (trials["seed"] == 3), "outcome"] = "diverged"
    epochs.loc[epochs["folder"] == trials.index[trials["outcome"] == "diverged"].astype(str)[0], "val_dice"] = 0.05
    row = compared(trials, epochs).loc["val_dice"]
    assert row["difference"] == pytest.approx(0.1)
    assert row["started_difference"] == pytest.approx((3 * 0.1 + 0.05 - 0.53) / 4)


def test_a_broken_run_that_measured_nothing_counts_as_the_worst_score():
    trials, epochs = grid(lambda _, level, seed: 0.6, settings=1, seeds=4)
    trials.loc[0, "outcome"] = "diverged"
    row = compared(trials, epochs[epochs["folder"] != "0"]).loc["val_dice"]
    assert row["started_difference"] == pytest.approx(-0.6 / 4)


def test_nothing_is_decided_against_what_is_so_as_started():
    def value(setting, level, seed):
        return 0.5 + 0.05 * (level == "a") + 0.001 * seed * (level == "a")

    clear = compared(*grid(value, seeds=8)).loc["val_dice"]
    assert clear["decided"]
    trials, epochs = grid(value, seeds=8, end=lambda *run: ended(run[1] == "a" and run[2] < 3))
    epochs.loc[epochs["folder"].isin(trials.loc[trials["outcome"] == "diverged", "folder"]), "val_dice"] = 0.1
    row = compared(trials, epochs).loc["val_dice"]
    assert (row["difference"] > 0, row["started_difference"] < 0) == (True, True)
    assert row["p_holm"] < 0.05
    assert (row["agree"], row["decided"]) == (False, False)


def test_where_nothing_broke_there_is_one_estimate():
    row = compared(*grid(noisy)).loc["val_dice"]
    assert row["agree"] is None
    assert np.isnan(row["started_difference"])


def test_a_setting_that_one_level_has_alone_is_no_part_of_the_pairing():
    amp, kind = Factor("amp", "choice", ("false", "true")), Factor("amp_dtype", "choice", (), ("amp", "true"))
    trials, epochs = grid(noisy, settings=1, seeds=4, more=("bfloat16",))
    trials["amp"] = trials["level"].eq("a")
    trials["amp_dtype"] = ["float16", "bfloat16"] * 8  # recorded, but of no effect without amp
    trials = trials[trials["amp"] | trials["amp_dtype"].eq("float16")].reset_index(drop=True)
    row = compared(trials, epochs, (amp, kind)).loc["val_dice"]
    assert (row["is_paired"], row["num_pairs"], row["num_seeds"]) == (True, 8, 4)
    by_seed = [noisy(0, "b", seed) - noisy(0, "a", seed) for seed in range(4)]
    assert row["difference"] == pytest.approx(np.mean(by_seed))
    assert row["p"] == pytest.approx(stats.ttest_1samp(by_seed, 0).pvalue)


def test_the_probability_of_being_better_has_the_metrics_direction():
    trials, epochs = grid(lambda _, level, seed: 0.5 + 0.1 * (level == "a") + seed / 100)
    assert compared(trials, epochs).loc["val_dice", "probability_a_better"] == 1
    assert compared(trials, epochs, mode="min").loc["val_dice", "probability_a_better"] == 0
    drawn = trials.assign(lr=np.linspace(0, 1, len(trials)))
    rows = compared(drawn, epochs, (LEVEL, Factor("lr", "uniform")), mode="min")
    assert (rows.loc["val_dice", "is_paired"], rows.loc["val_dice", "probability_a_better"]) == (False, 0)


def drawn_at_random(value, *, num=8, seeds=1, **how):
    """Every configuration has a learning rate of its own, so that nothing pairs."""
    trials, epochs = grid(value, settings=num, seeds=seeds, **how)
    return trials.assign(lr=0.001 + trials["lr"] + 0.5 * trials["level"].eq("a")), epochs


DRAWN = (LEVEL, Factor("lr", "uniform"))


def test_one_trial_stopped_early_does_not_make_it_a_comparison_of_first_epochs():
    stopped = (0, "a", 0)
    trials, epochs = drawn_at_random(noisy, epochs=lambda *run: 1 if run == stopped else 9)
    row = compared(trials, epochs, DRAWN, {"search": "random", "scheduler": "none"}).loc["val_dice"]
    assert (row["last_epoch"], row["num_left_out"], row["num_a"], row["num_b"]) == (9, 1, 7, 8)


def test_trials_left_out_by_a_scheduler_make_no_effect():
    trials, epochs = drawn_at_random(noisy, epochs=lambda *run: 1 if run[0] == 0 else 9)
    trials.loc[trials["lr"] < 1, "outcome"] = "pruned"
    row = compared(trials, epochs, DRAWN, {"search": "random", "scheduler": "none"}).loc["val_dice"]
    assert (row["kind"], row["decided"]) == ("association", False)


def test_more_trials_are_counted_over_both_levels():
    trials, epochs = drawn_at_random(lambda s, level, _: 0.5 + 0.01 * s + 0.01 * (level == "a"))
    row = compared(trials, epochs, DRAWN, {"search": "random", "scheduler": "none"}).loc["val_dice"]
    spread = float(np.std(0.01 * np.arange(8), ddof=1))
    needed = TTestIndPower().solve_power(0.01 / spread, power=0.8, alpha=0.05)
    assert row["num_units_more"] == 2 * np.ceil(needed) - 16


def test_seeds_of_one_configuration_are_no_independent_trials():
    def value(setting, level, seed):  # configurations differ, their seeds hardly
        return 0.5 + 0.05 * np.random.default_rng((setting, level == "a")).standard_normal() + 0.0001 * seed

    options = {"search": "random", "scheduler": "none"}
    one = compared(*drawn_at_random(value, seeds=1), DRAWN, options).loc["val_dice"]
    many = compared(*drawn_at_random(value, seeds=6), DRAWN, options).loc["val_dice"]
    assert width(many) == pytest.approx(width(one), rel=0.05)


def test_a_configuration_that_ran_twice_is_one():
    trials, epochs = grid(noisy, more=("again",))
    row = compared(trials, epochs).loc["val_dice"]
    assert row["num_pairs"] == 6
    assert row["p"] == pytest.approx(compared(*grid(noisy)).loc["val_dice", "p"])


def test_a_trial_that_had_measured_nothing_yet_is_given_no_others_value():
    trials, epochs = grid(noisy, settings=1, seeds=4, epochs=lambda *run: 9 if run[1] == "a" else 2)
    late = trials.loc[trials["level"].eq("a") & trials["seed"].eq(1), "folder"].iloc[0]
    epochs = epochs[(epochs["folder"] != late) | (epochs["epoch"] > 5)]  # measured first at epoch 6, its pair until 2
    assert compared(trials, epochs).loc["val_dice", "num_pairs"] == 3


def test_a_difference_that_is_another_in_each_setting_is_not_significant():
    gains = (0.09, -0.06, 0.08, -0.05, 0.07, -0.04, 0.05, -0.03)

    def value(setting, level, seed):
        return 0.5 + gains[setting] * (level == "a") + 0.0005 * noisy(setting, level, seed)

    row = compared(*grid(value, settings=8, seeds=4)).loc["val_dice"]
    assert row["low"] > 0  # in these settings, on average
    assert row["p"] > 0.05
    assert "from one setting to another" in row["reason"]


@pytest.mark.parametrize(("num_broken", "has_interval"), [(4, False), (5, True)])
def test_as_started_has_an_interval_only_where_enough_broke(num_broken, has_interval):
    row = compared(*grid(noisy, seeds=12, end=lambda *run: ended(run[1] == "a" and run[2] < num_broken and run[0])))
    assert np.isfinite(row.loc["val_dice", "started_difference"])
    assert np.isfinite(row.loc["val_dice", "started_low"]) == has_interval


def test_the_shares_that_are_said_differ_by_the_difference_that_is_said():
    ends = {(0, "a", 0): "diverged", (0, "a", 1): "diverged", (0, "a", 2): "failed"}
    row = compared(*grid(noisy, seeds=6, end=lambda *run: ends.get(run, "completed"))).loc["divergence"]
    assert row["difference"] == pytest.approx(row["value_a"] - row["value_b"])
    assert row["value_a"] == pytest.approx((2 / 5 + 0 / 6) / 2)


def test_what_only_some_of_the_remaining_pairs_have_is_not_said_of_all():
    """Half of the pairs that are left have no dtype: those that broke had one of their own."""
    trials, epochs = grid(noisy, settings=3, seeds=3, end=lambda setting, *_: ended(setting == 2))
    trials["dtype"] = trials["lr"].map({0: np.nan, 1: "float16", 2: "bfloat16"})
    dtype = Factor("dtype", "choice", ("float16", "bfloat16"))
    assert compared(trials, epochs, (LEVEL, LR, dtype)).loc["val_dice", "only_where"] == ""


def test_an_interaction_names_the_epochs_of_both_of_its_differences():
    trials, epochs = grid(noisy, settings=2, seeds=4, epochs=lambda setting, *_: 2 + 3 * setting)
    found = compare(trials, epochs, [LEVEL, LR], "val_dice", "max", design_of(GRID, trials))
    row = found[found["axis"] == "level x lr"].iloc[0]
    assert (row["first_epoch"], row["last_epoch"]) == (2, 5)


RANDOM = {"search": "random", "scheduler": "none"}


def test_a_level_of_one_configuration_has_no_interval_against_others_of_several():
    """Its seeds say nothing of how its configurations differ."""
    trials, epochs = drawn_at_random(noisy, seeds=3)
    is_one = trials["level"].eq("a") & trials["lr"].eq(trials.loc[trials["level"].eq("a"), "lr"].min())
    trials = trials[trials["level"].eq("b") | is_one].reset_index(drop=True)
    row = compared(trials, epochs, DRAWN, RANDOM).loc["val_dice"]
    assert (row["num_a"], row["num_b"], row["decided"]) == (3, 24, False)
    assert np.isfinite(row["difference"])
    assert np.isnan(row["low"])


def test_more_trials_are_trials_where_configurations_ran_under_several_seeds():
    row = compared(*drawn_at_random(noisy, seeds=3), DRAWN, RANDOM).loc["val_dice"]
    assert np.isfinite(row["num_units_more"])
    assert row["unit"] == "trials"


def test_pairs_whose_seeds_are_not_recorded_are_of_no_number_of_seeds():
    trials, epochs = grid(noisy, settings=6, seeds=1)
    rows = compared(trials.drop(columns="seed"), epochs).to_dict("index")
    assert counted(rows["val_dice"]) == counted(rows["divergence"]) == "6 pairs"


def test_an_axis_of_a_name_like_an_interactions_has_its_sentence():
    trials, epochs = grid(noisy, settings=1, seeds=4)
    axis = Factor("a x b", "choice", ("a", "b"))
    found = compare(trials.rename(columns={"level": "a x b"}), epochs, [axis], "val_dice", "max", design_of({}, trials))
    assert lines(found, "val_dice", "max")[0].startswith("a x b b against a: ")


def test_an_interaction_has_its_sentence_whatever_its_levels_are_called():
    trials, epochs = grid(noisy, settings=2, seeds=4)
    names = {"a": "one x two", "b": "near - far at 3"}
    axis = Factor("level", "choice", tuple(names.values()))
    found = compare(trials.replace({"level": names}), epochs, [axis, LR], "val_dice", "max", design_of(GRID, trials))
    row = found[found["axis"] == "level x lr"].to_dict("records")[0]
    said = interaction_text(row, "val_dice")
    assert said.startswith("The difference between level one x two and near - far at 3 depends on lr (")
