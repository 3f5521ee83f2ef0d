"""Inputs of other people in ../shared/cases, with what its README says is right for each."""

import math
import time

import cv2
import numpy as np
import pytest

from analysis.load.factors import RANGES, factors_of, present_levels
from analysis.load.folders import NotAStudy, require_study
from analysis.load.study import load_study
from analysis.report import write_report
from analysis.stats.ranking import rank_trials
from tests.conftest import PETS_ROOT, set_options
from trials import predict, train
from trials.config import TrialConfig
from trials.data.loader import written_masks
from trials.parts import prepared_data

CASES = PETS_ROOT / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"no cases at {CASES}")


def read(name):
    return load_study(CASES / name)


def axes_of(study) -> dict[str, list[str]]:
    factors, _ = factors_of(study.study, study.trials)
    return {each.name: present_levels(study.trials, each) if each.kind not in RANGES else [] for each in factors}


def best_of(study):
    return rank_trials(study.trials, study.epochs, study.metric, study.mode).iloc[0]


def test_a_setting_named_rank():
    study = read("ray/setting_named_rank")
    (axis,) = [levels for name, levels in axes_of(study).items() if "rank" in name]
    assert axis == ["4", "8", "16"]
    assert best_of(study)["config/rank"] == 16


def test_a_setting_named_num_epochs():
    axes = axes_of(read("ray/setting_named_num_epochs"))
    assert axes.pop("config/num_epochs") == ["2", "4", "8"]
    assert list(axes) == ["lr"]


def test_none_is_a_level():
    assert axes_of(read("ray/none_is_a_level"))["clip"] == ["none", "1"]


def test_near_numbers_are_two_levels():
    assert axes_of(read("ray/near_floats"))["ema"] == ["0.99996", "0.99999"]


def test_levels_stand_in_the_order_of_numbers():
    assert axes_of(read("ray/six_levels"))["batch_size"] == ["8", "16", "32", "64", "128", "256"]


def test_a_lower_rmse_is_better():
    study = read("ray/rmse")
    assert (study.mode, best_of(study)["lr"]) == ("min", 0.001)


def test_numbers_as_text_are_read():
    study = read("ray/numbers_as_text")
    assert (best_of(study)["lr"], study.epochs[study.metric].min()) == (0.001, 0.25)


def test_trials_that_asha_stopped_are_told_apart():
    outcomes = read("ray/stopped_by_asha").trials["outcome"].value_counts()
    assert outcomes.to_dict() == {"pruned": 5, "completed": 1}


def test_curves_are_read_from_progress_csv():
    study = read("ray/progress_csv_only")
    ends = dict(zip(study.trials["lr"], study.trials["outcome"], strict=True))
    assert (len(ends), ends[0.1]) == (3, "diverged")
    assert study.trials.set_index("lr").loc[0.1, "outcome_epoch"] == 3


def test_text_with_dollar_signs_becomes_a_page(tmp_path):
    page = write_report(CASES / "ray/dollar_signs", out=tmp_path / "report")
    assert "$" in page.read_text()


def test_a_text_of_each_trials_own_is_no_axis_and_costs_no_time():
    began = time.process_time()
    assert set(axes_of(read("ray/unique_texts"))) == {"lr", "depth"}
    assert time.process_time() - began < 30


def test_settings_that_exist_in_one_branch_are_axes():
    assert {"model/C", "model/depth", "lr"} <= set(axes_of(read("ray/branches")))


def test_a_real_experiment_of_ray_2():
    study = read("real/ray2_random_search")
    assert (study.metric, sorted(axes_of(study)), len(study.trials)) == ("score", ["lr", "optimizer"], 3)


@pytest.mark.parametrize(("part", "num"), [("CPU", 10), ("GPU", 3)])
def test_a_real_experiment_of_ray_1_without_curves(part, num):
    study = read(f"real/ray1_hyperopt/{part}")
    assert len(study.trials) == num
    assert any("no curves" in gap for gap in study.gaps), study.gaps


def test_a_folder_above_two_experiments_names_them():
    with pytest.raises(NotAStudy, match=r"CPU[\s\S]*GPU"):
        require_study(CASES / "real/ray1_hyperopt")


def prepared(name, capsys, out) -> tuple[int, str]:
    """trials.train on a case of pictures, one short epoch: its exit code and what it printed."""
    settings = {"width": 2, "image_size": 64, "epochs": 1, "batch_size": 4, "train_limit": 4, "val_limit": 1}
    chosen = set_options({**settings, "augment": "none"})
    code = train.main(["--data", "folder", "--data-root", str(CASES / "pictures" / name), *chosen, "--out", str(out)])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


@pytest.mark.parametrize("name", ["good", "palette_white_first", "alpha_masks", "exif_orientation", "grey16"])
def test_the_mask_lies_on_the_bright_disc(name):
    config = TrialConfig.from_dict({"data": "folder", "data_root": str(CASES / "pictures" / name), "image_size": 64})
    pictures = prepared_data(config)
    masks = np.asarray(written_masks(pictures.trimaps_NHW[:], config.border)) == 1
    brightness = np.asarray(pictures.images_NHWC[:]).mean(axis=-1)
    assert 0.05 < masks.mean() < 0.2
    for picture, mask in zip(brightness, masks, strict=True):
        assert picture[mask].mean() > 150 > 60 > picture[~mask].mean()


@pytest.mark.parametrize("name", ["good", "apple_double", "mask_suffix", "unicode_forms"])
def test_twelve_pairs_are_read(name, capsys, tmp_path):
    code, said = prepared(name, capsys, tmp_path / "run")
    assert code == 0, said


def test_tiny_objects_are_counted_before_training(capsys, tmp_path):
    _, said = prepared("tiny_objects", capsys, tmp_path / "run")
    assert "image_size" in said
    assert "empty" in said or "nothing of" in said


def test_a_damaged_exif_is_no_traceback(capsys, tmp_path):
    run = tmp_path / "run"
    prepared("good", capsys, run)
    pictures = CASES / "pictures/photos_bad_exif"
    assert predict.main(["--checkpoint", str(run), "--images", str(pictures), "--out", str(tmp_path / "out")]) == 0
    assert not math.isnan(float(np.mean(cv2.imread(str(next((tmp_path / "out").rglob("*.png")))))))
