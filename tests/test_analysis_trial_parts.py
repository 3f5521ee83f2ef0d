"""A trial's own part of the report: which trials have one, what it says, the command that runs it again."""

import json
import shlex
import shutil
from itertools import pairwise

import pandas as pd
from analysis_fixtures import ACCOUNT, CONFIG, Trial, completed, diverged_line, write_study

from analysis.load.study import load_study
from analysis.page.blocks import Command, Details, Link
from analysis.page.sparklines import MOST_POINTS, sparkline
from analysis.page.study_page import build
from analysis.page.trial_record import (
    MOST_PARTS,
    capsule_of,
    chosen_trials,
    diagnosis,
    evidence,
    run_again,
    shared_settings,
    trial_parts,
)
from analysis.report import write_report
from analysis.stats.ranking import rank_trials
from trials.config import TrialConfig, parse_settings


def parts_of(folder):
    study = load_study(folder)
    return trial_parts(study, rank_trials(study.trials, study.epochs, "val_dice", "max"))


def settings_said(command: str) -> dict:
    words = shlex.split(command)
    return parse_settings([text for flag, text in pairwise(words) if flag == "--set"])


def test_the_command_gives_the_same_configuration_to_the_last_digit():
    config = TrialConfig.from_dict(CONFIG | {"lr": 0.1 + 0.2, "data_root": "/my data/it's $HOME", "tf32": False})
    assert TrialConfig.from_dict(settings_said(run_again(config.to_dict(), "a"))) == config


def test_the_command_says_every_setting_and_a_new_folder():
    words = shlex.split(run_again(CONFIG, "a1b2c_00000"))
    assert words[:3] == ["python", "-m", "trials.train"]
    assert words[-2:] == ["--out", "runs/a1b2c_00000-again"]
    assert settings_said(" ".join(words)).keys() == CONFIG.keys()


def test_the_best_and_the_diverged_come_first():
    outcomes = ["completed"] * 400
    for place in (0, 150, 399):
        outcomes[place] = "diverged"
    ranked = pd.DataFrame({"folder": range(400), "outcome": outcomes})
    chosen = list(chosen_trials(ranked)["folder"])
    assert len(chosen) == MOST_PARTS
    assert chosen == [*range(MOST_PARTS - 1), 399]


def test_of_very_many_diverged_trials_the_best_trials_are_still_there():
    ranked = pd.DataFrame({"folder": range(900), "outcome": ["completed"] * 300 + ["diverged"] * 600})
    assert list(chosen_trials(ranked)["folder"])[:11] == [*range(10), 300]


def test_trials_without_a_part_are_counted(tmp_path):
    write_study(tmp_path / "s", [completed([0.5 + number / 1000]) for number in range(MOST_PARTS + 3)])
    page, record = build(load_study(tmp_path / "s"))
    told = next(section.blocks[0].text for section in page.sections if section.title == "Trials")
    assert "3 trials have no part here, none of them diverged" in told
    assert len(page.blocks(Details)) == MOST_PARTS + 1  # and the settings they share
    assert len(record["trials"]) == MOST_PARTS


def test_a_diverged_trial_tells_why(tmp_path):
    trial = Trial(lines=[diverged_line(1, 0.1)], account=ACCOUNT)
    (part,) = parts_of(write_study(tmp_path / "s", [trial]))
    assert diagnosis(part.account) == {
        "cause": "saturated_head",
        "blame": "amp",
        "phase": "backward",
        "module": "head",
        "operation": "binary_cross_entropy_backward",
        "first abnormal step": "90 (epoch 3)",
        "what showed it": "loss at step 101",
        "remedies that worked": "float32_head (float32_head=True)",
        "remedies that did not work": "clipping (clip_norm=1.0)",
        "enough in float32": "head",
    }
    assert evidence(part.account)["outputs.shape"] == "[32, 1, 64, 64]"
    assert part.capsule == "checkpoint_000000/capsule"


def test_a_remedy_that_was_not_tried_is_not_among_those_that_did_not_work():
    late = {"name": "lower_scale", "settings": {}, "finite": None, "worked": None, "tried": False}
    account = {"schema_version": 2, "remedies": [*ACCOUNT["remedies"], late], "search_complete": False}
    told = diagnosis(ACCOUNT | account)
    assert told["remedies that did not work"] == "clipping (clip_norm=1.0)"
    assert told["remedies not tried, for want of time"] == "a lower loss scale"


def test_an_account_of_odd_kinds_raises_nothing():
    odd = {"cause": ["a"], "first_sign": 3, "remedies": [{}, 7, {"name": 1, "settings": []}], "evidence": "none"}
    for account in (odd, odd | {"float32_modules": 5, "where": {}}, {"remedies": "x", "first_sign": {"step": "x"}}):
        assert isinstance(diagnosis(account), dict)
        assert evidence(account) == {}


def test_the_page_of_an_odd_account_is_made(tmp_path):
    trial = Trial(lines=[diverged_line(1, 0.1)], account={"cause": {"a": 1}, "evidence": {"x": [None, {}]}})
    assert write_report(write_study(tmp_path / "s", [trial])).is_file()


def test_of_several_capsules_the_last_is_linked(tmp_path):
    for number in (1, 3, 2):
        (tmp_path / f"checkpoint_00000{number}/capsule").mkdir(parents=True)
    assert capsule_of(tmp_path) == "checkpoint_000003/capsule"


def test_links_hold_where_the_study_is_moved(tmp_path):
    folder = write_study(tmp_path / "s", [Trial(lines=[diverged_line(1, 0.1)], account=ACCOUNT)])
    page, _ = build(load_study(folder))
    links = [block for part in page.blocks(Details) for block in part.blocks if isinstance(block, Link)]
    moved = folder.rename(tmp_path / "elsewhere")
    (moved / "report").mkdir()
    assert len(links) == 2
    assert all((moved / "report" / link.path).is_dir() for link in links)


def test_a_trial_without_settings_has_a_part_without_a_command(tmp_path):
    folder = write_study(tmp_path / "s", [completed([0.5])])
    next(folder.glob("*/params.json")).write_text("{")
    page, _ = build(load_study(folder))
    (part,) = page.blocks(Details)
    assert not [block for block in part.blocks if isinstance(block, Command)]


def test_settings_that_differ_anywhere_are_not_shared(tmp_path):
    found = shared_settings(parts_of(write_study(tmp_path / "s", [completed([0.5]), completed([0.5], lr=0.5)])))
    assert found == {key: value for key, value in CONFIG.items() if key != "lr"}


def test_a_curve_says_its_ends_and_stays_small():
    points = [(epoch, epoch / 5000) for epoch in range(1, 5001)]
    panel = sparkline({"val_dice": points}, "val_dice", last_epoch=5000)
    assert "val_dice from 0.0002 at epoch 1 to 1 at epoch 5000" in panel.words
    assert panel.paths[0].count("L") <= MOST_POINTS + 1


def test_a_curve_of_one_point_or_of_none():
    assert "h4" in sparkline({"val_dice": [(1, 0.5)]}, "val_dice", last_epoch=1).paths[0]
    assert sparkline({"val_dice": []}, "val_dice", last_epoch=1) is None


def test_markdown_names_the_parts_in_a_line_each(tmp_path):
    made = write_report(write_study(tmp_path / "s", [completed([0.5 + n / 100]) for n in range(22)])).parent
    text = (made / "report.md").read_text()
    assert "- a1b2c\\_00021 · rank 1 · best val\\_dice 0.7100 · completed" in text
    assert "What each holds, and the other 2 parts, is in report.html." in text
    assert "trials.train" not in text


def test_report_json_has_the_command_and_the_diagnosis(tmp_path):
    trial = Trial(lines=[diverged_line(1, 0.1)], account=ACCOUNT)
    made = write_report(write_study(tmp_path / "s", [trial])).parent
    (told,) = json.loads((made / "report.json").read_text())["trials"].values()
    assert told["diagnosis"]["cause"] == "saturated_head"
    assert settings_said(told["command"]) == {key: CONFIG[key] for key in CONFIG}


def test_two_folders_of_one_name_have_two_parts(tmp_path):
    folder = write_study(tmp_path / "s", [completed([0.5])])
    original = next(folder.glob("trainable_*"))
    shutil.copytree(original, folder / "copy")
    page, _ = build(load_study(folder))
    assert len({part.anchor for part in page.blocks(Details) if part.anchor}) == 2
