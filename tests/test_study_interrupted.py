"""A study that is interrupted, killed or out of time, and its resume: real Ray, real signals."""

import json
import os
import signal
from pathlib import Path

import pytest
from study_fixtures import SMOKE, finish, kill_all, lines, outcomes, study, wait_for


def test_ctrl_c_ends_cleanly_and_resume_finishes_the_study(tmp_path):
    arguments = [*SMOKE, "--samples", "4", "--scheduler", "none", "--epochs", "12", "--concurrent", "1", "--name", "s"]
    process = study(tmp_path, *arguments, "--set", "checkpoint_every=4")
    wait_for(lambda: list((tmp_path / "s").glob("*/checkpoint_*/last.pt")) or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the group
    code, out, err = finish(process)
    assert code == 130, err
    assert Path(out[-2]).is_file()
    assert "--resume --name s" in err
    before = {path.parent.name: path.read_text() for path in (tmp_path / "s").glob("*/outcome.json")}
    code, out, err = finish(study(tmp_path, "--resume", "--name", "s"))
    assert code == 0, err
    assert outcomes(tmp_path / "s") == ["completed"] * 4
    assert all((tmp_path / "s" / name / "outcome.json").read_text() == text for name, text in before.items())
    for trial in {path.parent for path in (tmp_path / "s").glob("*/params.json")}:
        assert [line["epoch"] for line in lines(trial)] == list(range(1, 13))  # none twice
    assert json.loads((tmp_path / "s/study.json").read_text())["finished"]


@pytest.mark.slow
def test_ctrl_c_during_the_last_trials_can_be_resumed_too(tmp_path):
    arguments = [*SMOKE, "--samples", "2", "--scheduler", "none", "--epochs", "40", "--name", "s"]
    process = study(tmp_path, *arguments)
    running = tmp_path / "s"
    wait_for(lambda: len({path.parent for path in running.glob("*/checkpoint_*")}) == 2)
    os.killpg(process.pid, signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130, err
    assert outcomes(running) == []
    assert not (running / "test.json").exists()
    code, _, err = finish(study(tmp_path, "--resume"))
    assert code == 0, err
    assert outcomes(running) == ["completed"] * 2


@pytest.mark.slow
def test_a_study_stopped_before_its_first_trial_is_begun_anew_by_resume(tmp_path):
    process = study(tmp_path, *SMOKE, "--samples", "1", "--name", "s")
    wait_for(lambda: (tmp_path / "s/study.json").exists())
    kill_all(process.pid)
    process.communicate()
    assert not list((tmp_path / "s").glob("experiment_state-*.json"))
    code, _, err = finish(study(tmp_path, "--resume"))
    assert code == 0, err
    assert outcomes(tmp_path / "s") == ["completed"]


def test_a_killed_study_is_resumed_from_its_checkpoints(tmp_path):
    arguments = [*SMOKE, "--samples", "2", "--scheduler", "none", "--epochs", "15", "--concurrent", "1", "--name", "s"]
    process = study(tmp_path, *arguments, "--set", "checkpoint_every=4")
    # Ray writes the experiment's state every few seconds; a kill before the first one leaves nothing to resume
    state = lambda: list((tmp_path / "s").glob("experiment_state-*.json"))  # noqa: E731
    wait_for(lambda: state() and list((tmp_path / "s").glob("*/checkpoint_*/last.pt")))
    kill_all(process.pid)
    process.communicate()
    code, _, err = finish(study(tmp_path, "--resume"))
    assert code == 0, err
    assert outcomes(tmp_path / "s") == ["completed"] * 2
    for trial in {path.parent for path in (tmp_path / "s").glob("*/params.json")}:
        epochs = [line["epoch"] for line in lines(trial)]
        assert epochs == sorted(set(epochs))  # none twice
        assert epochs[-1] == 15


def test_a_time_budget_ends_the_study_and_names_what_it_cut(tmp_path):
    arguments = ["--samples", "5", "--epochs", "500", "--scheduler", "none", "--time-budget", "30", "--name", "s"]
    code, _, err = finish(study(tmp_path, *SMOKE, *arguments))
    assert code == 0, err
    ended = outcomes(tmp_path / "s")
    assert set(ended) <= {"interrupted"}  # none where a busy machine had not started one by then
    said = f"the time budget of 30 s ended the study: of 5 trials {5 - len(ended)} were never started"
    assert f"{said} and {len(ended)} were cut short" in err
    assert (tmp_path / "s/test.json").is_file() == bool(list((tmp_path / "s").glob("*/checkpoint_*")))
