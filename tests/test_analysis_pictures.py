"""The picture of predictions: which images, from which files, and what is said where files are missing."""

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import Trial, completed, diverged_line, line, outcome, trial_folder, write_study

from analysis.load.factors import Factor
from analysis.load.predictions import NoPicture, choose, examples, kept_in, paired_examples, read_scores
from analysis.load.study import load_study
from analysis.page.sections.predictions import best_examples, side_by_side_pictures
from analysis.stats.ranking import rank_trials
from analysis.stats.subsets import subset_scores

SCORES = pd.DataFrame({"name": list("abcde"), "dice": [0.5, 0.9, 0.1, 0.7, 0.3]})


@pytest.fixture
def study(tmp_path):
    best, second = completed([0.9]), completed([0.8])
    best.predicts = second.predicts = True
    return write_study(tmp_path, [best, second], num_images=5, size_px=20)


def ranked(study):
    loaded = load_study(study)
    return rank_trials(loaded.trials, loaded.epochs, "val_dice", "max")


def test_best_median_and_worst_are_chosen():
    chosen = choose(SCORES, [{}] * 5)
    assert list(zip(chosen["reason"], chosen["name"], strict=True)) == [("best", "b"), ("median", "a"), ("worst", "c")]


def test_of_each_hard_case_the_worst_not_yet_shown_is_chosen():
    labels = [{}, {}, {"hard_cases": ["thin"]}, {"hard_cases": ["thin"]}, {"hard_cases": ["thin"]}]
    assert choose(SCORES, labels)[["reason", "name"]].to_numpy().tolist()[3:] == [["thin", "e"]]


def test_a_single_image_is_shown_once():
    assert choose(SCORES.head(1), [{}])["reason"].tolist() == ["best"]


def test_an_unfinite_score_is_not_chosen():
    assert "a" not in choose(SCORES.assign(dice=[np.nan, 0.9, 0.1, 0.7, 0.3]), [])["name"].tolist()


def test_predictions_are_unpacked_as_they_were_packed(study):
    shown, epoch = examples(study, trial_folder(study, 0))
    best = shown[0]
    truth, predicted = best.mask == 1, best.predicted
    assert epoch == "17"
    assert predicted.shape == (20, 20)
    assert 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()) == pytest.approx(best.dice)


def test_the_best_trial_with_predictions_is_shown(study):
    assert best_examples(study, ranked(study))[1:] == ("trial a1b2c_00000 (rank 1) at its best epoch, 17", "")


def test_where_the_best_trial_left_none_the_next_is_shown_and_that_is_said(study):
    (trial_folder(study, 0) / "best_validation.csv").unlink()
    _, whose, gap = best_examples(study, ranked(study))
    assert whose.startswith("trial a1b2c_00001 (rank 2)")
    assert gap == "No predictions can be shown of: a1b2c_00000 (best_validation.csv not there)."


def test_predictions_of_another_size_are_refused(study, tmp_path):
    other = completed([0.9])
    other.predicts = True
    larger = write_study(tmp_path / "larger", [other], num_images=5, size_px=24)
    with pytest.raises(NoPicture, match="24 x 24 px"):
        examples(study, trial_folder(larger, 0))


def test_scores_of_other_images_are_refused(study):
    path = trial_folder(study, 0) / "best_validation.csv"
    path.write_text(path.read_text().replace("drawn_0001", "elsewhere"))
    with pytest.raises(NoPicture, match="other images"):
        examples(study, trial_folder(study, 0))


def test_predictions_are_found_in_rays_newest_checkpoint(tmp_path):
    for number in (3, 12):
        (tmp_path / f"checkpoint_{number:06d}").mkdir()
        (tmp_path / f"checkpoint_{number:06d}/best_validation.safetensors").touch()
    assert kept_in(tmp_path).name == "checkpoint_000012"


def test_predictions_of_a_run_alone_lie_in_its_folder(tmp_path):
    assert kept_in(tmp_path) == tmp_path


def test_two_settings_see_the_same_images(tmp_path):
    trials = [completed([0.9], upsample="deconv"), completed([0.8], upsample="bilinear")]
    for trial in trials:
        trial.predicts = True
    study = load_study(write_study(tmp_path, trials, num_images=9))
    ranked = rank_trials(study.trials, study.epochs, "val_dice", "max")
    found = paired_examples(tmp_path, [tmp_path / folder for folder in ranked["folder"]])
    assert [each.name for each in found[0].examples] == [each.name for each in found[1].examples]
    (picture,) = side_by_side_pictures(tmp_path, ranked, Factor("upsample", "choice", ("deconv", "bilinear")))
    assert picture.name == "predictions_by_upsample"
    assert "did not train equally long" not in picture.caption


def test_predictions_beside_each_other_say_how_long_each_trial_trained_and_its_score(tmp_path):
    trials = [completed([0.5] * 8 + [0.9], upsample="deconv"), completed([0.6, 0.7, 0.8], upsample="bilinear")]
    for trial in trials:
        trial.predicts = True
    study = load_study(write_study(tmp_path, trials, num_images=9))
    ranked = rank_trials(study.trials, study.epochs, "val_dice", "max")
    (picture,) = side_by_side_pictures(tmp_path, ranked, Factor("upsample", "choice", ("deconv", "bilinear")))
    means = [read_scores(trial_folder(tmp_path, number) / "best_validation.csv")["dice"].mean() for number in (0, 1)]
    for name, trial, length, mean in zip(("deconv", "bilinear"), "01", (9, 3), means, strict=True):
        said = f"{name} (trial a1b2c_0000{trial} at epoch 17 of the {length} it trained, mean Dice {mean:.3f})"
        assert said in picture.alt  # the fixture's files say epoch 17
    assert "They did not train equally long" in picture.caption


def test_hard_cases_are_scored_on_their_own(tmp_path):
    trial = completed([0.9])
    trial.predicts = True
    study = load_study(write_study(tmp_path, [trial], num_images=9))
    ranked = rank_trials(study.trials, study.epochs, "val_dice", "max")
    found = subset_scores(tmp_path, ranked, None).set_index("kind")
    scores = read_scores(tmp_path / ranked["folder"].iloc[0] / "best_validation.csv")["dice"]
    assert found["num_images"].to_dict() == {"neither": 7, "same colour": 1, "thin": 1}
    assert found["mean_dice"]["thin"] == scores[1]
    assert found["mean_dice"]["neither"] == pytest.approx(scores.drop([1, 3]).mean())


def test_subsets_count_the_images_with_a_score_and_the_trials_left_out(tmp_path):
    trials = [completed([0.9]), Trial(lines=[line(1, 0.5), diverged_line(2, 0.1)], outcome=outcome("diverged", 2))]
    trials[0].predicts = True
    study = load_study(write_study(tmp_path, trials, num_images=9))
    path = trial_folder(tmp_path, 0) / "best_validation.csv"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([*rows[:1], rows[1].split(",")[0] + ",nan,nan", *rows[2:]]))
    found = subset_scores(tmp_path, rank_trials(study.trials, study.epochs, "val_dice", "max"), None).set_index("kind")
    assert found["num_images"]["neither"] == 6
    assert found[["num_trials", "num_left_out"]].to_numpy().tolist() == [[1, 1]] * 3


def test_without_labels_there_are_no_subsets(tmp_path):
    assert subset_scores(tmp_path, pd.DataFrame(), None).empty
