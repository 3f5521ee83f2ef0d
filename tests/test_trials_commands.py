"""trials.train and trials.predict as a user calls them."""

import csv
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import set_options
from trials import predict, replay, train

SMALL = ["width=4", "image_size=32", "epochs=2", "batch_size=8", "train_limit=32", "val_limit=8", "augment=flip"]


def table(path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def train_arguments(out, *more: str, settings=SMALL) -> list[str]:
    """Of two settings of one name the later one counts."""
    last = dict(setting.split("=", 1) for setting in settings)
    return [*set_options(last), "--out", str(out), *more]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "first"
    assert train.main(train_arguments(out, "--data", "drawn")) == 0
    return out


def test_a_run_writes_what_others_build_on(trained):
    assert {path.name for path in trained.iterdir()} >= {"config.json", "result.json", "outcome.json", "checkpoints"}
    lines = [json.loads(line) for line in (trained / "result.json").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert json.loads((trained / "outcome.json").read_text())["outcome"] == "completed"


def test_a_run_writes_the_reports_tensorboard_scalars(trained):
    events = EventAccumulator(str(trained / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == {"Loss/train", "Loss/val", "Dice/val"}


def test_another_runs_folder_is_not_overwritten(trained, capsys):
    assert train.main(train_arguments(trained)) == 2
    assert "holds another run" in capsys.readouterr().err


def test_an_unknown_field_is_refused_before_anything_is_written(tmp_path, capsys):
    assert train.main(train_arguments(tmp_path / "run", "--set", "learningrate=1")) == 2
    assert "unknown field 'learningrate'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_missing_data_leave_no_folder_behind(tmp_path, capsys):
    assert train.main(train_arguments(tmp_path / "run", "--data", "pets", "--data-root", str(tmp_path))) == 2
    assert "trainval.txt" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_diverged_run_says_where_and_ends_with_1(tmp_path, capsys):
    settings = [*SMALL, "optimizer=sgd", "lr=1e30", "schedule=constant"]
    assert train.main(train_arguments(tmp_path / "run", settings=settings)) == 1
    outcome = json.loads((tmp_path / "run/outcome.json").read_text())
    assert (outcome["outcome"], outcome["where"], outcome["step"]) == ("diverged", "outputs", 2)
    printed = capsys.readouterr().out
    assert "diverged in epoch 1, at step 2: outputs" in printed
    assert "cause    optimizer_instability" in printed


def test_ctrl_c_can_be_resumed_without_a_lost_or_doubled_epoch(tmp_path):
    out = tmp_path / "run"
    settings = [*SMALL, "epochs=30"]
    settings.remove("epochs=2")
    command = [sys.executable, "-m", "trials.train", *train_arguments(out, settings=settings)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    result, deadline = out / "result.json", time.monotonic() + 600
    while not (result.is_file() and len(result.read_text().splitlines()) >= 3):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(600) == 130
    assert json.loads((out / "outcome.json").read_text())["outcome"] == "interrupted"
    assert subprocess.run([*command, "--resume"], stderr=subprocess.DEVNULL).returncode == 0
    assert [json.loads(line)["epoch"] for line in result.read_text().splitlines()] == list(range(1, 31))


def test_a_completed_run_is_left_as_it_is_by_a_resume(trained, capsys):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    assert train.main(["--out", str(trained), "--resume"]) == 0
    assert "completed already" in capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}


def test_resuming_another_configuration_is_refused(trained, capsys):
    assert train.main(["--out", str(trained), "--resume", "--set", "lr=0.5"]) == 2
    assert "another run: lr=0.001 there, 0.5 here" in capsys.readouterr().err


FROZEN = [*SMALL, "train_limit=64", "amp=true", "loss_scale_init=1e30", "diagnosis_budget_s=1"]


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "frozen"
    assert train.main(train_arguments(out, settings=FROZEN)) == 1
    return out


def test_a_frozen_runs_outcome_names_the_event(frozen):
    outcome = json.loads((frozen / "outcome.json").read_text())
    assert (outcome["where"], outcome["step"], outcome["cause"]) == ("frozen", 8, "scale_collapse")


def test_a_run_that_froze_is_left_as_it_is_by_a_resume(frozen, capsys):
    before = {path: path.read_bytes() for path in frozen.rglob("*") if path.is_file()}
    assert train.main(["--out", str(frozen), "--resume"]) == 1
    assert "frozen already, after 1 epochs; there is nothing to resume" in capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in frozen.rglob("*") if path.is_file()}


def test_a_remedy_that_there_was_no_time_for_was_not_tried(tmp_path, capsys):
    out = tmp_path / "run"
    assert train.main(train_arguments(out, settings=[*FROZEN, "diagnosis_budget_s=0"])) == 1
    account = json.loads((out / "divergence.json").read_text())
    assert {remedy["name"] for remedy in account["remedies"]} >= {"float32", "bfloat16", "float32_head", "lower_scale"}
    assert {(remedy["tried"], remedy["worked"]) for remedy in account["remedies"]} == {(False, None)}
    printed = capsys.readouterr().out
    assert "remedy   none was tried" in printed
    assert "search   cut short after 0 s: float32, bfloat16, float32_head, clipping, guarded_statistics, " in printed
    assert f"with more time: python -m trials.replay {out / 'checkpoints/capsule'} --why --budget SECONDS" in printed


def test_a_replay_says_that_its_search_was_cut_short_and_takes_more_time(frozen, capsys):
    capsule = str(frozen / "checkpoints/capsule")
    assert replay.main([capsule, "--why", "--budget", "0"]) == 0
    assert "search      cut short after 0 s: float32, bfloat16, " in capsys.readouterr().out
    assert replay.main([capsule, "--why", "--budget", "300"]) == 0
    printed = capsys.readouterr().out
    assert "search      cut short after 300 s" not in printed
    assert '"tried": false' not in printed


@pytest.mark.parametrize("what", ["continue", "rollback"])
def test_a_run_that_goes_on_keeps_the_cause_of_its_first_event(what, tmp_path, capsys):
    assert train.main(train_arguments(tmp_path / "run", settings=[*FROZEN, f"on_divergence={what}"])) == 1
    outcome = json.loads((tmp_path / "run/outcome.json").read_text())
    assert (outcome["epoch"], outcome["step"], outcome["cause"]) == (2, 8, "scale_collapse")
    assert (
        "frozen in epoch 1, at step 8: every step of it was skipped; it went on to epoch 2" in capsys.readouterr().out
    )


def test_an_interrupted_diagnosis_is_made_by_the_resume(tmp_path):
    out = tmp_path / "run"
    asked = train_arguments(out, settings=[*FROZEN, "width=16", "diagnosis_budget_s=30"])
    command = [sys.executable, "-m", "trials.train", *asked]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for(out / "checkpoints/capsule/capsule.json", process)
    process.send_signal(signal.SIGINT)
    assert process.wait(600) == 130
    assert not (out / "checkpoints/divergence.json").exists()
    assert train.main(["--out", str(out), "--resume"]) == 1
    assert json.loads((out / "outcome.json").read_text())["cause"] == "scale_collapse"


def test_a_terminated_run_has_an_outcome(tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "trials.train", *train_arguments(out, settings=[*SMALL, "epochs=500"])]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for(out / "result.json", process)
    process.terminate()
    assert process.wait(600) == 130
    assert json.loads((out / "outcome.json").read_text())["outcome"] == "interrupted"


def wait_for(path, process):
    for _ in range(3000):
        if path.is_file() or process.poll() is not None:
            return
        time.sleep(0.02)
    raise TimeoutError(f"no {path} in a minute")


def test_a_setting_given_as_an_option_is_told_where_it_belongs(tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(["--epochs", "3", "--out", str(tmp_path / "run")])
    assert "epochs is a setting: --set epochs=VALUE" in capsys.readouterr().err


def test_a_run_without_a_finite_epoch_has_nothing_to_predict_with(tmp_path, own_pairs, capsys):
    settings = [*SMALL, "optimizer=sgd", "lr=1e30", "schedule=constant", "diagnosis_budget_s=1"]
    assert train.main(train_arguments(tmp_path / "run", settings=settings)) == 1
    asked = ["--checkpoint", str(tmp_path / "run"), "--images", str(own_pairs / "images"), "--out", str(tmp_path / "p")]
    assert predict.main(asked) == 2
    assert "no epoch of this run is kept" in capsys.readouterr().err


def test_resuming_nothing_is_refused(tmp_path, capsys):
    assert train.main(["--out", str(tmp_path), "--resume"]) == 2
    assert "nothing to resume" in capsys.readouterr().err


def test_predictions_have_the_photographs_own_resolution(trained, own_pairs, tmp_path):
    arguments = ["--images", str(own_pairs / "images"), "--masks", str(own_pairs / "masks"), "--out", str(tmp_path)]
    assert predict.main(["--checkpoint", str(trained), *arguments]) == 0
    with Image.open(tmp_path / "pet_00.png") as picture, Image.open(own_pairs / "images/pet_00.png") as image:
        assert picture.size == (3 * image.width, image.height)
        assert np.array_equal(np.asarray(picture)[:, : image.width], np.asarray(image))
    rows = table(tmp_path / "scores.csv")
    assert len(rows) == 20
    assert list(rows[0]) == ["name", "dice", "iou"]


def test_the_scores_are_those_of_the_pictures(trained, own_pairs, tmp_path):
    arguments = ["--images", str(own_pairs / "images"), "--masks", str(own_pairs / "masks"), "--out", str(tmp_path)]
    predict.main(["--checkpoint", str(trained), *arguments])
    for row in table(tmp_path / "scores.csv"):
        with Image.open(tmp_path / f"{row['name']}.png") as picture:
            _, predicted, truth = np.split(np.asarray(picture.convert("L")) > 127, 3, axis=1)
        total = predicted.sum() + truth.sum()
        assert float(row["dice"]) == pytest.approx(2 * (predicted & truth).sum() / total, abs=1e-6)


def test_pictures_without_masks_get_no_scores(trained, own_pairs, tmp_path, capsys):
    assert (
        predict.main(["--checkpoint", str(trained), "--images", str(own_pairs / "images"), "--out", str(tmp_path)]) == 0
    )
    assert not (tmp_path / "scores.csv").exists()
    assert "no masks to score" in capsys.readouterr().out


def test_a_split_of_the_data_set_is_scored(trained, tmp_path):
    assert (
        predict.main(["--checkpoint", str(trained / "checkpoints/best.pt"), "--split", "val", "--out", str(tmp_path)])
        == 0
    )
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 1 + 128


def test_pictures_are_not_written_where_something_lies(trained, own_pairs, tmp_path, capsys):
    (tmp_path / "pet_00.png").write_text("mine")
    assert (
        predict.main(["--checkpoint", str(trained), "--images", str(own_pairs / "images"), "--out", str(tmp_path)]) == 2
    )
    assert "is not empty" in capsys.readouterr().err


def test_photographs_are_turned_upright(trained, tmp_path):
    (tmp_path / "photos").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright: width and height change places
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "photos/one.jpg", exif=exif)
    arguments = ["--images", str(tmp_path / "photos"), "--out", str(tmp_path / "p")]
    assert predict.main(["--checkpoint", str(trained), *arguments]) == 0
    with Image.open(tmp_path / "p/one.png") as picture:
        assert picture.size == (2 * 40, 60)


def test_a_folder_without_a_checkpoint_is_refused(own_pairs, tmp_path, capsys):
    assert (
        predict.main(["--checkpoint", str(tmp_path), "--images", str(own_pairs / "images"), "--out", str(tmp_path)])
        == 2
    )
    assert "no checkpoint in" in capsys.readouterr().err


def test_an_own_folder_trains_and_is_predicted(own_pairs, tmp_path):
    settings = ["width=4", "image_size=32", "epochs=1", "batch_size=8", "augment=none"]
    arguments = train_arguments(tmp_path / "run", "--data", "folder", "--data-root", str(own_pairs), settings=settings)
    assert train.main(arguments) == 0
    assert predict.main(["--checkpoint", str(tmp_path / "run"), "--split", "test", "--out", str(tmp_path / "p")]) == 0
    assert len((tmp_path / "p/scores.csv").read_text().splitlines()) == 1 + 2
