"""What stands on top of the page, and what is not known is said to be so."""

import numpy as np
import pytest
from analysis_fixtures import (
    STUDY,
    Trial,
    completed,
    diverged_line,
    line,
    outcome,
    trial_folder,
    write_study,
)
from foreign_fixtures import write_experiment
from safetensors.numpy import save_file

from analysis.load.factors import factors_of
from analysis.load.study import load_study
from analysis.page.alerts import alerts
from analysis.page.answer import facts_of, sentences
from analysis.page.blocks import Text
from analysis.page.sections.divergence import divergence_section
from analysis.page.sections.origin import made_section
from analysis.page.study_page import build
from analysis.stats.ranking import level_summary, rank_trials

OUT_OF_MEMORY = outcome("out_of_memory", 1, error_type="MemoryError", error_text="no room")


def failed(text="mat1 and mat2 shapes\n  cannot be multiplied") -> Trial:
    return Trial(outcome=outcome("failed", 0, error_type="RuntimeError", error_text=text))


def study_of(tmp_path, trials, **study):
    """The study, its factors and its ranking."""
    read = load_study(write_study(tmp_path / "s", trials, study=STUDY | {"num_trials": len(trials)} | study))
    return read, factors_of(read.study, read.trials)[0], rank_trials(read.trials, read.epochs, read.metric, read.mode)


def on_top(tmp_path, trials, **study) -> list[str]:
    read, _, ranked = study_of(tmp_path, trials, **study)
    return alerts(read, ranked)


def test_what_must_not_be_missed_is_the_first_section_of_the_page(tmp_path):
    study, *_ = study_of(tmp_path, [completed([0.9]), failed()])
    page, record = build(study)
    assert page.sections[0].title == "Read this first"
    assert page.sections[0].blocks[0].items == record["alerts"]
    assert len(record["alerts"]) == 1


def test_nothing_stands_on_top_of_a_good_study(tmp_path):
    assert on_top(tmp_path, [completed([0.5, 0.9])]) == []


def test_failed_trials_and_the_first_error_stand_on_top(tmp_path):
    assert on_top(tmp_path, [completed([0.9]), failed(), failed("another"), Trial(outcome=OUT_OF_MEMORY)]) == [
        "2 of 4 trials failed; the first error (trial a1b2c_00001): RuntimeError: mat1 and mat2 shapes cannot be"
        " multiplied.",
        "1 of 4 trials ran out of memory; the first error (trial a1b2c_00003): MemoryError: no room.",
    ]


def test_a_long_error_is_cut_with_a_mark(tmp_path):
    assert on_top(tmp_path, [failed("x" * 5000)])[0].endswith("x….")


def test_a_best_dice_of_zero_stands_on_top(tmp_path):
    assert on_top(tmp_path, [completed([0.0, 0.0])]) == [
        "No trial reached a val_dice above 0: the best trial (a1b2c_00000) has learnt nothing to use."
    ]


@pytest.mark.parametrize(("share", "what"), [(0, "background"), (1, "the object")])
def test_a_best_trial_that_predicts_one_class_stands_on_top(tmp_path, share, what):
    folder = write_study(tmp_path / "s", [completed([0.3, 0.4])], study=STUDY | {"num_trials": 1}, num_images=4)
    masks = np.packbits(np.full((4, 32 * 32), share, np.uint8), axis=1)
    metadata = {"epoch": "2", "height_px": "32", "width_px": "32"}
    save_file({"masks_packed": masks}, trial_folder(folder, 0) / "best_validation.safetensors", metadata=metadata)
    study = load_study(folder)
    assert alerts(study, rank_trials(study.trials, study.epochs, "val_dice", "max")) == [
        f"The best trial (a1b2c_00000) has learnt nothing to use: at its best epoch it predicts {what} on every pixel"
        " of every validation image (val_dice 0.4000)."
    ]


def test_a_best_trial_that_predicts_both_classes_does_not(tmp_path):
    trial = completed([0.3, 0.4])
    trial.predicts = True
    folder = write_study(tmp_path / "s", [trial], study=STUDY | {"num_trials": 1}, num_images=4)
    study = load_study(folder)
    assert alerts(study, rank_trials(study.trials, study.epochs, "val_dice", "max")) == []


def test_the_time_budget_that_ended_the_study_stands_on_top(tmp_path):
    options = STUDY["options"] | {"time_budget_s": 60.0}
    cut = Trial(lines=[line(1, 0.4)], outcome=outcome("interrupted", 1))
    assert on_top(tmp_path, [completed([0.9]), cut], options=options, num_trials=5) == [
        "The time budget of 60 s ended the study: of 5 planned trials"
        " 3 trials were never started and 1 trial was cut short."
    ]


def test_a_time_budget_that_was_not_used_up_is_not_mentioned(tmp_path):
    assert on_top(tmp_path, [completed([0.9])], options=STUDY["options"] | {"time_budget_s": 60.0}) == []


def told(tmp_path, trials, **study) -> str:
    read, factors, ranked = study_of(tmp_path, trials, **study)
    section = divergence_section(read, factors)
    texts = [block.text for block in section.blocks if isinstance(block, Text)]
    return "\n".join([*sentences(facts_of(read, factors, ranked), factors), *texts])


def test_of_trials_that_failed_it_is_not_known_whether_they_diverge(tmp_path):
    said = told(tmp_path, [completed([0.5, 0.9]), failed(), Trial(lines=[line(1, 0.4)])])
    assert (
        said.count("No trial is known to have diverged: 1 of 3 did not, of 2 it is not known (1 failed, 1 inter") == 1
    )
    assert "No trial diverged" not in said


def test_of_trials_without_a_curve_it_is_not_known_whether_they_diverged(tmp_path):
    said = told(tmp_path, [Trial(outcome=outcome("completed", 20)) for _ in range(2)])
    assert "Whether any trial diverged is not known (2 completed without a curve)." in said
    assert "o trial diverged" not in said


def test_beside_diverged_trials_the_unknown_ones_are_counted(tmp_path):
    broken = Trial(lines=[diverged_line(1, 0.1, step=4, where="weights")])
    said = told(tmp_path, [completed([0.9]), broken, failed()])
    assert "1 of 3 trials diverged (of 1 it is not known: 1 failed), the earliest (a1b2c_00001)" in said


def test_levels_count_their_unknown_trials(tmp_path):
    _, factors, ranked = study_of(tmp_path, [completed([0.9]), failed()])
    assert level_summary(ranked, factors[0], "val_dice")["num_unknown"].to_list() == [1]


def test_an_option_that_was_left_open_is_not_called_unrecorded(tmp_path):
    options = STUDY["options"] | {"time_budget_s": None}
    study, *_ = study_of(tmp_path, [completed([0.9])], options=options, provenance={"commit": None})
    rows = made_section(study).blocks[0].frame.set_index("what")["value"]
    assert rows["option: time_budget_s"] == "not set"
    assert rows["commit"] == "not recorded"


def test_a_running_study_is_not_finished_yet(tmp_path):
    study, *_ = study_of(tmp_path, [completed([0.9])], finished=None)
    rows = made_section(study).blocks[0].frame.set_index("what")["value"]
    assert rows["finished"] == "not yet"


def test_a_best_reward_of_zero_may_be_the_best_there_is(tmp_path):
    trials = [
        {"config": {"lr": lr}, "lines": [{"episode_reward_mean": -20.0}, {"episode_reward_mean": -lr}]} for lr in (0, 1)
    ]
    study = load_study(write_experiment(tmp_path, trials))
    assert alerts(study, rank_trials(study.trials, study.epochs, study.metric, study.mode)) == []
