"""The command before it starts anything: what it refuses, lists and plans."""

import pytest

from search_spaces import SPACES, Choice, IntRange, Space, Uniform, load_space
from study import run
from study.command_line import parser
from study.options import settle
from study.planning import plan
from study.run import _new_study

SMOKE = ["--space", "smoke"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--space is missing; it takes upsample"),
        (["--space", "upsampel"], "unknown space 'upsampel'; did you mean upsample? known: upsample"),
        (["--space", "nowhere.py"], "no file at"),
        ([*SMOKE, "--set", "learningrate=1"], "unknown field 'learningrate'"),
        ([*SMOKE, "--set", "upsample=up"], "upsample='up'; allowed: deconv, bilinear"),
        ([*SMOKE, "--set", "lr"], "it takes key=value"),
        ([*SMOKE, "--set", "batch_size=65"], "batch_size=65, but there are 64 training images"),
        ([*SMOKE, "--set", "image_size=40"], "unet takes multiples of 16; the nearest: 32 or 48"),
        ([*SMOKE, "--data", "cats"], "data='cats'; allowed: drawn, pets, folder"),
        ([*SMOKE, "--data", "pets", "--data-root", "nowhere"], "no oxford-iiit-pet/annotations/trainval.txt"),
        ([*SMOKE, "--search", "grid"], "needs the points of lr"),
        ([*SMOKE, "--resume"], "no study in"),
        ([*SMOKE, "--resume", "--samples", "3"], "leave out --samples"),
        ([*SMOKE, "--set", "seed=7"], "--seeds k says how many"),
        ([*SMOKE, "--points", "lr=0.001"], "--points are a grid's"),
        ([*SMOKE, "--search", "grid", "--points", "width=4"], "--points for width, no axis of space 'smoke'"),
        (["--space", "networks", "--set", "image_size=48"], "resnet34_unet takes multiples of 32"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_answered_before_anything_starts(tmp_path, capsys, arguments, message):
    assert run.main([*arguments, "--results", str(tmp_path / "results")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_the_list_shows_every_question(capsys):
    assert run.main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert all(space.question in printed for space in SPACES.values())
    assert "(only where amp=True)" in printed


def test_a_dry_run_starts_nothing(tmp_path, capsys):
    assert run.main([*SMOKE, "--samples", "5", "--dry-run", "--results", str(tmp_path / "results")]) == 0
    assert "trials            5 (5 configurations x 1 seed)" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()


def test_a_setting_goes_before_the_space_and_the_space_before_the_preset():
    space, config = settle(load_space("smoke"), "quick", {"batch_size": 4})
    assert (config.batch_size, config.width, config.image_size, config.augment) == (4, 4, 32, "flip")
    assert "batch_size" in space.fixed


def test_a_value_that_some_trial_could_not_have_is_refused():
    with pytest.raises(ValueError, match="resnet34_unet takes multiples of 32"):
        settle(load_space("upsample"), "quick", {"image_size": 48})


def test_trials_that_could_never_start_are_refused(tmp_path, capsys):
    assert run.main([*SMOKE, "--cpus-per-trial", "640", "--results", str(tmp_path / "results")]) == 2
    assert "--cpus-per-trial 640" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_time_budget_without_end_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        run.main([*SMOKE, "--time-budget", "inf"])
    assert "allowed: a number above 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("axes", "baseline", "message"),
    [
        ({"seed": Choice((0, 1))}, {"seed": 0}, "--seeds says how many"),
        ({"epochs": Choice((1, 2))}, {"epochs": 1}, "at equal epochs"),
        ({"width": Uniform(4, 16)}, {"width": 4}, "width=4.0 is float"),
        ({"image_size": IntRange(32, 64)}, {"image_size": 32}, "image_size=33"),
    ],
    ids=["seed", "epochs", "width", "image_size"],
)
def test_an_axis_that_trials_could_not_take_is_refused(axes, baseline, message):
    with pytest.raises(ValueError, match=message):
        settle(Space(name="mine", question="?", axes=axes, baseline=baseline), "quick", {})


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("preset", ["quick", "lab2"])
def test_every_space_fits_every_preset(name, preset):
    settle(load_space(name), preset, {})


def test_the_plan_counts_the_largest_network():
    space, config = settle(load_space("upsample"), "lab2", {"data": "drawn"})
    options = _new_study(parser().parse_args(["--space", "upsample", "--set", "width=8"]))[0].options
    assert plan(space, config, options, 24).trial.num_parameters == 38_611_713
