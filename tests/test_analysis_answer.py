"""The answer in sentences: made of the facts, and honest about what they are."""

import pandas as pd
from analysis_fixtures import STUDY, Trial, completed, diverged_line, line, outcome, trial_folder, trial_id, write_study
from foreign_fixtures import write_experiment

from analysis.load.factors import factors_of
from analysis.load.study import load_study
from analysis.page.answer import facts_of, sentences
from analysis.page.wording import show, size_text
from analysis.stats.ranking import rank_trials


def answer(tmp_path, trials, test=None, **study):
    loaded = load_study(write_study(tmp_path, trials, study=STUDY | {"num_trials": len(trials)} | study, test=test))
    factors, _ = factors_of(loaded.study, loaded.trials)
    ranked = rank_trials(loaded.trials, loaded.epochs, loaded.metric, loaded.mode)
    return "\n".join(sentences(facts_of(loaded, factors, ranked), factors))


def options(**changed):
    return {"options": STUDY["options"] | changed}


TWO = [completed([0.5, 0.9], lr=0.002), completed([0.8], model="resnet34_unet")]


def test_the_best_trial_is_told_with_its_settings(tmp_path):
    assert (
        "The best trial is a1b2c_00000: val_dice 0.9000 at epoch 2 of 20 (completed), with model=unet,"
        " upsample=deconv, lr=0.002, batch_size=32; seed 0."
    ) in answer(tmp_path, TWO)


def test_the_next_best_is_told_with_its_distance(tmp_path):
    assert "The next best, a1b2c_00001, reached 0.8000 (0.1000 less)" in answer(tmp_path, TWO)


def test_the_test_score_is_told_if_there(tmp_path):
    test = {
        "trial": trial_id(0),
        "folder": trial_folder(tmp_path, 0).name,
        "test_dice": 0.85,
        "test_iou": 0.7,
        "num_images": 256,
    }
    assert "On the 256 test images, the best trial scores Dice 0.8500 and IoU 0.7000." in answer(tmp_path, TWO, test)


def test_a_test_score_of_another_trial_says_so(tmp_path):
    test = {"trial": trial_id(1), "folder": trial_folder(tmp_path, 1).name, "test_dice": 0.85}
    assert "trial a1b2c_00001 (not the best of this ranking) scores Dice 0.8500" in answer(tmp_path, TWO, test)


def test_levels_are_told_with_their_numbers_of_trials(tmp_path):
    assert (
        "By network, the median of the trials' best val_dice is 0.9000 for unet (1 of 1 trial measured)"
        " and 0.8000 for resnet34_unet (1 of 1 trial measured)."
    ) in answer(tmp_path, TWO)


def test_an_adaptive_search_gives_associations_not_effects(tmp_path):
    told = answer(tmp_path, TWO)
    assert "associations, not effects: the search (optuna)" in told
    assert "the scheduler (asha)" in told


def test_a_random_search_without_scheduler_is_not_called_adaptive(tmp_path):
    told = answer(tmp_path, TWO, **options(search="random", scheduler="none"))
    assert "associations" not in told
    assert "differences between levels are effects" in told


def test_a_random_search_with_pruning_is_an_association(tmp_path):
    told = answer(tmp_path, TWO, **options(search="random"))
    assert "associations, not effects: the scheduler (asha)" in told


def test_one_seed_is_called_luck(tmp_path):
    assert "No setting was measured under several seeds" in answer(tmp_path, TWO)


def test_several_seeds_give_their_spread(tmp_path):
    assert "differs by 0.2000 (median), so a smaller difference between two trials may be luck" in answer(
        tmp_path, [completed([0.5]), completed([0.7], seed=1)]
    )


def test_axes_on_which_all_trials_are_alike_are_told_in_one_sentence(tmp_path):
    told = answer(tmp_path, TWO)
    assert "All trials have upsample=deconv and batch_size=32, so nothing is compared there." in told


def test_a_finished_study_without_a_score_has_none_and_not_none_yet(tmp_path):
    failed = Trial(outcome=outcome("failed", 0))
    assert "No trial has a finite val_dice, so there is no best trial." in answer(tmp_path / "over", [failed])
    assert "No trial has a finite val_dice yet" in answer(tmp_path / "open", [failed], finished=None)


def test_a_tie_for_the_best_is_called_one(tmp_path):
    assert "reached 0.9000 (the same)" in answer(tmp_path, [completed([0.9]), completed([0.9], lr=0.002)])


def test_few_trials_are_told(tmp_path):
    assert "Fewer than 5 trials were measured with model=unet (1)" in answer(tmp_path, TWO)


def test_no_divergence_is_told(tmp_path):
    assert "No trial diverged." in answer(tmp_path, TWO)


def test_the_earliest_divergence_is_told(tmp_path):
    told = answer(tmp_path, [*TWO, Trial(lines=[diverged_line(1, 0.1, step=4, where="weights")])])
    assert "1 of 3 trials diverged, the earliest (a1b2c_00002) at epoch 1, step 4: weights were not finite." in told


def test_a_running_study_says_so_and_who_is_missing(tmp_path):
    told = answer(tmp_path, TWO, finished=None, num_trials=5)
    assert "still running, or was killed" in told
    assert "2 trials of 5 planned started: 2 completed and 3 not started." in told
    assert "when the study finishes" in told


def test_a_study_without_results_has_no_best(tmp_path):
    assert "No trial has a finite val_dice" in answer(tmp_path, [Trial(outcome=outcome("failed"))])


def test_enlarged_images_are_said():
    data = {"source_size_px": [128, 100], "image_size_px": 256}
    assert size_text(data, pd.DataFrame({"folder": []})) == "256 px (source 128 x 100 px, enlarged)"


def test_an_unknown_source_size_is_said():
    assert size_text({}, pd.DataFrame({"folder": []})) == "image size not recorded (source size not recorded)"


def test_a_frozen_trial_counts_as_one_that_went_wrong(tmp_path):
    frozen = Trial(lines=[line(1, 0.5, num_skipped_steps=32)], outcome=outcome("frozen", 1, step=32, where="frozen"))
    told = answer(tmp_path, [completed([0.8, 0.9]), frozen])
    assert "1 of 2 trials froze, the earliest (a1b2c_00001) at epoch 1, step 32: every step of the epoch" in told
    assert "No trial diverged" not in told


def test_where_no_seed_is_recorded_no_number_of_seeds_is_claimed(tmp_path):
    trials = [completed([0.5, 0.9], lr=0.002), completed([0.8])]
    for trial in trials:
        del trial.config["seed"]
    told = answer(tmp_path, trials)
    assert "several seeds" not in told
    assert "No seed is recorded, so how much of a difference between two trials is luck, this study cannot say." in told


def test_where_only_the_seed_varies_the_spread_of_seeds_is_told(tmp_path):
    """An experiment of others, one setting under three seeds; lines of ten steps an "epoch" of theirs."""
    trials = [
        {"config": {"seed": seed, "lr": 0.1, "epochs": 2}, "lines": [{"val_acc": 0.5 + seed / 10}] * 10}
        for seed in range(3)
    ]
    loaded = load_study(write_experiment(tmp_path, trials))
    ranked = rank_trials(loaded.trials, loaded.epochs, loaded.metric, loaded.mode)
    told = "\n".join(sentences(facts_of(loaded, [], ranked), []))
    assert "1 setting ran with several seeds. From seed to seed the best val_acc differs by 0.2000" in told
    assert "at epoch 1 (" in told  # not "of 2": what the setting counts is not known


def test_a_small_score_is_no_zero():
    assert show(2.3e-5, "dice") == "2.3e-05"
