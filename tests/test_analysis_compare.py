"""report.py --compare: two studies side by side; --watch: a report that is renewed."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from analysis_fixtures import STUDY, completed, diverged_line, line, outcome, write_json, write_study

from analysis.load.study import load_study
from analysis.page.blocks import Table
from analysis.page.comparison_page import build_comparison, design_of_both, names_of
from analysis.report import main

REPORT = Path(__file__).parents[1] / "analysis/report.py"
GRID = {"options": STUDY["options"] | {"search": "grid", "scheduler": "none"}}


def study(folder: Path, gain: float, *, seeds: int = 5, **changed) -> Path:
    trials = []
    for seed in range(seeds):
        for place, upsample in enumerate(("deconv", "bilinear")):
            value = 0.7 + 0.03 * place + 0.01 * seed + gain * (1 + 0.02 * ((seed * 3 + place) % 4))
            trials.append(completed([value - 0.1, value], upsample=upsample, seed=seed))
    return write_study(folder, trials, study=STUDY | GRID | {"num_trials": len(trials)} | changed)


@pytest.fixture
def two(tmp_path):
    return study(tmp_path / "before", 0.0), study(tmp_path / "after", 0.05, fixed={"amp": False})


def test_the_difference_is_that_of_the_trials_that_pair(two):
    _, record = build_comparison(*map(load_study, two))
    told = re.match(
        r"study after against before: \+(\d\.\d) Dice points at epoch 2.* \(95 % CI .*; 10 pairs of 5 seeds\); signif",
        record["sentences"][0],
    )
    assert told, record["sentences"]
    assert float(told[1]) == pytest.approx(5.0, abs=0.1)


def test_what_they_share_is_counted(two):
    _, record = build_comparison(*map(load_study, two))
    told = "10 settings with the same seed ran in both (0 in the first alone, 0 in the second alone)."
    assert told in record["sentences"]


def test_the_command_writes_into_the_first_ones_report(two, capsys):
    assert main(["--compare", *map(str, two)]) == 0
    page = two[0] / "report/compare_after/compare.html"
    assert capsys.readouterr().out.strip() == str(page)
    record = json.loads(page.with_suffix(".json").read_text())
    assert {"what": "fixed: amp", "before": "true", "after": "false"} in record["tables"]["differences"]["rows"]
    assert (page.parent / "figures/val_dice_by_study.png").is_file()


def test_a_repetition_is_called_one(two):
    page, _ = build_comparison(load_study(two[0]), load_study(two[0]))
    section = next(each for each in page.sections if each.title == "What differs")
    assert "Nothing that study.json records differs" in section.blocks[0].text


def test_divergence_is_compared_too(tmp_path, two):
    config = json.loads(next(two[0].glob("*/params.json")).read_text())
    broken = [completed([0.5, 0.6], seed=seed) for seed in range(5)]
    for trial in broken:
        trial.lines, trial.outcome = [line(1, 0.5), diverged_line(2, 0.1)], outcome("diverged", 2)
        trial.config = {**config, "seed": trial.config["seed"]}
    worse = write_study(tmp_path / "worse", broken, study=STUDY | GRID)
    _, record = build_comparison(load_study(two[0]), load_study(worse))
    assert any("worse diverged in 5 of 5 trials, before in 0 of 10" in each for each in record["sentences"])


def test_folders_of_one_name_are_told_apart():
    assert names_of(Path("/a/x/s"), Path("/a/y/s")) == ("x/s", "y/s")


def test_compare_takes_no_third_study(two, capsys):
    assert main([str(two[0]), "--compare", *map(str, two)]) == 2
    assert "takes the two folders itself" in capsys.readouterr().err


def test_watching_renews_the_page_until_the_study_ends(tmp_path):
    folder = study(tmp_path / "s", 0.0, seeds=1, finished=None)
    process = subprocess.Popen(
        [sys.executable, str(REPORT), str(folder), "--watch", "1"], stdout=subprocess.PIPE, text=True
    )
    page = folder / "report/report.html"
    deadline = time.monotonic() + 600
    while not page.is_file():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert '<meta http-equiv="refresh" content="1">' in page.read_text()
    write_json(folder / "study.json", STUDY | GRID)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    assert set(out.split()) == {str(page)}
    assert "http-equiv" not in page.read_text()


def test_a_study_that_has_not_begun_can_be_compared(tmp_path, two):
    empty = write_study(tmp_path / "empty", [], study=STUDY | GRID)
    page, _ = build_comparison(load_study(empty), load_study(two[1]))
    assert page.title == "empty and after"


def test_another_metric_of_the_second_study_is_said(tmp_path, two):
    options = GRID["options"] | {"metric": "val_loss", "mode": "min"}
    other = study(tmp_path / "by_loss", 0.1, options=options)
    _, record = build_comparison(load_study(two[0]), load_study(other))
    said = (
        "Both are compared by val_dice (max is best), as before was asked;"
        " by_loss was asked for val_loss (min is best)."
    )
    assert said in record["sentences"]


def test_studies_without_a_record_are_not_called_alike(tmp_path):
    folders = [write_study(tmp_path / name, [completed([0.5])], study=None) for name in ("a", "b")]
    page, _ = build_comparison(*map(load_study, folders))
    section = next(each for each in page.sections if each.title == "What differs")
    assert section.blocks[0].text == "What differs is not known: a and b left no study.json that can be read."


def test_the_bests_of_two_studies_stand_beside_how_many_trained_how_long(tmp_path, two):
    short = write_study(tmp_path / "short", [completed([0.9])], study=STUDY | GRID)
    page, _ = build_comparison(load_study(two[0]), load_study(short))
    table = next(table for table in page.blocks(Table) if table.name == "outcomes").frame.set_index("outcome")
    assert table.loc["trials with a finite val_dice"].tolist() == [10, 1]
    assert table.loc["most epochs of a trial"].tolist() == ["2", "1"]
    assert table.loc["the best at epoch"].tolist() == ["2", "1"]


def test_the_reasons_of_both_studies_stand_in_the_way_of_an_effect(tmp_path, two):
    pruned = study(tmp_path / "pruned", 0.1, options=STUDY["options"] | {"search": "random", "scheduler": "asha"})
    adaptive = study(tmp_path / "adaptive", 0.1, options=STUDY["options"] | {"scheduler": "none"})
    reason = design_of_both(load_study(pruned), load_study(adaptive)).reason
    assert "asha" in reason
    assert "optuna" in reason


def test_data_that_one_did_not_record_are_not_said_to_differ(two):
    (two[1] / "study.json").unlink()
    _, record = build_comparison(*map(load_study, two))
    assert not any("data differ" in each for each in record["sentences"])
    assert any(each.startswith("Whether both used the same data is not recorded") for each in record["sentences"])


def test_planned_trials_that_never_started_are_missing(two):
    record = json.loads((two[1] / "study.json").read_text())
    (two[1] / "study.json").write_text(json.dumps(record | {"num_trials": 99}))
    page, _ = build_comparison(*map(load_study, two))
    assert page.sections[-1].blocks[0].items[-1].endswith("planned trials have not started.")
