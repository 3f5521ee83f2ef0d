"""The command, as a user calls it: real Ray, real trials."""

import json
import shutil
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from study_fixtures import SMOKE, finish, lines, outcomes, study, trials_of, wait_for

from search_spaces import SPACES
from study import run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished smoke study: exit code, its lines on stdout, its folder."""
    results = tmp_path_factory.mktemp("results")
    arguments = ["--samples", "3", "--seeds", "2", "--metric", "val_loss", "--name", "first"]
    code, out, err = finish(study(results, *SMOKE, *arguments))
    assert code == 0, err
    return out, results / "first", err


def test_the_last_two_lines_are_the_report_and_the_results(finished):
    out, folder, _ = finished
    assert out[-2:] == [str(folder / "report/report.html"), str(folder)]
    assert Path(out[-2]).is_file()


def test_the_dashboards_address_is_printed(finished):
    assert "dashboard  http://127.0.0.1:" in finished[2]


def test_a_line_of_the_terminal_names_the_metric_and_the_seed(finished):
    ended = [line for line in finished[2].splitlines() if line.startswith("[")]
    assert len(ended) == 6
    assert all(", best val_loss 0." in line for line in ended)
    assert sorted(line.partition(" seed=")[2][0] for line in ended) == ["0", "0", "0", "1", "1", "1"]


def test_every_trial_has_its_files(finished):
    trials = [path.parent for path in finished[1].glob("*/params.json")]
    assert len(trials) == 6
    for trial in trials:
        assert (trial / "result.json").is_file()
        assert json.loads((trial / "outcome.json").read_text())["outcome"] in ("completed", "pruned")


def test_params_are_the_whole_configuration(finished):
    params = json.loads(next(finished[1].glob("*/params.json")).read_text())
    assert run.TrialConfig.from_dict(params).to_dict() == params


def test_the_baseline_ran_first_under_each_seed(finished):
    trials = sorted(finished[1].glob("*/params.json"))
    first = [json.loads(path.read_text()) for path in trials[:2]]
    assert [(p["upsample"], p["lr"], p["seed"]) for p in first] == [("deconv", 3e-3, 0), ("deconv", 3e-3, 1)]


def test_each_trial_keeps_one_checkpoint_with_the_best_and_at_its_end_the_last(finished):
    for trial in {path.parent for path in finished[1].glob("*/params.json")}:
        (kept,) = trial.glob("checkpoint_*")
        ended = json.loads((trial / "outcome.json").read_text())["outcome"] == "completed"
        wanted = {"best.pt", "best_validation.csv", "layers.jsonl"} | ({"last.pt"} if ended else set())
        assert {path.name for path in kept.iterdir()} >= wanted


def test_the_best_trial_is_scored_on_the_test_split_once(finished):
    score = json.loads((finished[1] / "test.json").read_text())
    assert score["num_images"] == 256
    assert (finished[1] / score["folder"]).is_dir()


def test_ranking_test_split_and_kept_weights_go_by_the_asked_metric(finished):
    folder = finished[1]
    losses = {trial: {line["epoch"]: line["val_loss"] for line in lines(trial)} for trial in trials_of(folder)}
    trial = min(losses, key=lambda trial: min(losses[trial].values()))
    epoch = min(losses[trial], key=losses[trial].get)
    score = json.loads((folder / "test.json").read_text())
    assert (score["folder"], score["metric"], score["value"]) == (trial.name, "val_loss", losses[trial][epoch])
    assert score["epoch"] == epoch
    assert json.loads((folder / "report/report.json").read_text())["facts"]["best"]["folder"] == trial.name
    outcome = json.loads((trial / "outcome.json").read_text())
    assert (outcome["metric"], outcome["best_value"], outcome["best_epoch"]) == ("val_loss", score["value"], epoch)
    assert f"{trial.name} (val_loss {score['value']:.4f} in epoch {epoch})" in finished[2]


def test_the_objective_is_the_best_until_then(finished):
    for trial in trials_of(finished[1]):
        found = lines(trial)
        assert [line["objective"] for line in found] == list(accumulate((line["val_loss"] for line in found), min))


def test_the_manifest_says_what_was_asked_and_with_what(finished):
    written = json.loads((finished[1] / "study.json").read_text())
    assert written["space"]["question"] == SPACES["smoke"].question
    assert written["finished"]
    assert written["provenance"]["versions"]["torch"] == torch.__version__.split("+")[0]
    assert written["data"]["source_size_px"] == [128, 128]


def test_a_finished_study_is_not_run_again(finished, capsys):
    assert run.main([*SMOKE, "--results", str(finished[1].parent), "--name", "first"]) == 2
    assert "exists; --resume goes on" in capsys.readouterr().err
    assert run.main(["--resume", "--results", str(finished[1].parent), "--name", "first"]) == 2
    assert "is finished" in capsys.readouterr().err


def test_a_resume_under_another_space_is_refused(finished, capsys):
    assert run.main(["--space", "amp", "--resume", "--results", str(finished[1].parent)]) == 2
    assert "a study of space 'smoke', not 'amp'" in capsys.readouterr().err


def test_an_unreadable_record_is_named_and_nothing_is_started_over(finished, tmp_path, capsys):
    copy = shutil.copytree(finished[1], tmp_path / "s")
    written = json.loads((copy / "study.json").read_text())
    (copy / "study.json").write_text(json.dumps({**written, "finished": None}))
    (record,) = copy.glob("experiment_state-*.json")
    record.write_text(record.read_text()[:100])
    assert run.main(["--resume", "--results", str(tmp_path)]) == 2
    assert f"{record}: Ray's record of the study cannot be read" in capsys.readouterr().err


def test_a_study_in_which_every_trial_fails_ends_with_1(tmp_path, own_pairs):
    limits = [part for limit in ("train_limit=8", "val_limit=2", "batch_size=4") for part in ("--set", limit)]
    data = ["--data", "folder", "--data-root", str(own_pairs)]
    process = study(tmp_path, *SMOKE, *data, *limits, "--samples", "2", "--name", "s")
    wait_for(lambda: (tmp_path / "s/study.json").exists() or process.poll() is not None)
    own_pairs.rename(own_pairs.with_name("gone"))  # a disk that is unmounted while the first trial starts
    code, out, err = finish(process)
    assert code == 1, err
    assert outcomes(tmp_path / "s") == ["failed"] * 2
    assert "there is no folder" in next((tmp_path / "s").glob("*/outcome.json")).read_text()
    assert Path(out[-2]).is_file()


@pytest.fixture(scope="module")
def exploded(tmp_path_factory):
    """stderr and folder of a study whose steps explode: one trial stops, the other is rolled back in each epoch."""
    place = tmp_path_factory.mktemp("exploded")
    (place / "mine.py").write_text(
        "from search_spaces import Choice, Space\n"
        "SPACE = Space(name='mine', question='Does a rollback help?', baseline={'on_divergence': 'stop'},\n"
        "    axes={'on_divergence': Choice(('stop', 'rollback'))}, fixed={'width': 4, 'image_size': 32,\n"
        "    'train_limit': 64, 'val_limit': 16, 'epochs': 2, 'batch_size': 16, 'optimizer': 'sgd',\n"
        "    'lr': 1e30, 'schedule': 'constant', 'diagnosis_budget_s': 1.0})\n"
    )
    arguments = ["--space", str(place / "mine.py"), "--search", "grid", "--scheduler", "median", "--name", "s"]
    code, out, err = finish(study(place, *arguments))
    assert code == 0, err
    assert Path(out[-2]).is_file()
    return err, place / "s"


def test_a_diverged_trial_is_told_of(exploded):
    err, folder = exploded
    assert outcomes(folder) == ["diverged"] * 2
    accounts = [json.loads(path.read_text()) for path in folder.glob("*/divergence.json")]
    assert [account["cause"] for account in accounts] == ["optimizer_instability"] * 2
    assert "The cause was an unstable optimiser in both." in (folder / "report/report.md").read_text()
    assert json.loads(next(folder.glob("*/outcome.json")).read_text())["best_value"] is None
    assert "no trial has a val_dice that counts, so there is none to test" in err
    assert next(folder.glob("*/checkpoint_*/capsule/capsule.json"))


def test_results_hold_only_what_was_measured(exploded):
    stopped, rolled_back = (lines(trial) for trial in trials_of(exploded[1]))
    assert [line["diverged_step"] for line in stopped] == [2]
    assert [line["rolled_back"] for line in stopped + rolled_back] == [False, True, True]
    for line in stopped + rolled_back:
        json.dumps(line, allow_nan=False)
        assert (line["val_dice"], line["val_loss"], line["train_loss"]) == (None, None, None)
        assert line["objective"] == 0.0


def test_a_users_own_space_runs_as_a_grid(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from search_spaces import Choice, IntRange, Space\n"
        "SPACE = Space(name='mine', question='How wide?', axes={'width': Choice((4, 5))}, baseline={'width': 5},\n"
        "    fixed={'image_size': 32, 'train_limit': 32, 'val_limit': 8, 'epochs': 1, 'batch_size': 8})\n"
    )
    arguments = ["--space", str(tmp_path / "mine.py"), "--search", "grid", "--name", "s"]
    code, _, err = finish(study(tmp_path, *arguments))
    assert code == 0, err
    widths = [json.loads(path.read_text())["width"] for path in sorted((tmp_path / "s").glob("*/params.json"))]
    assert widths == [5, 4]
