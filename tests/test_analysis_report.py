"""The command and what it writes: self-contained, strict, true of broken studies."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from analysis_fixtures import (
    STUDY,
    Trial,
    completed,
    diverged_line,
    outcome,
    realistic_trials,
    trial_folder,
    write_realistic,
    write_study,
)

from analysis.report import main, newest_study, write_report

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of a study with every kind of trial."""
    return write_report(write_realistic(tmp_path_factory.mktemp("results") / "upsample-1")).parent


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def tags(report, name):
    return [attributes for tag, attributes in Tags((report / "report.html").read_text()).found if tag == name]


def refuse(token):
    raise ValueError(token)


def read_strictly(path):
    return json.loads(path.read_text(), parse_constant=refuse)


def test_the_page_loads_nothing_from_elsewhere(report):
    found = Tags((report / "report.html").read_text()).found
    loaded = [value for _, attributes in found for name, value in attributes.items() if name in ("src", "srcset")]
    assert loaded
    assert all(value.startswith("data:") for value in loaded)
    assert not [tag for tag, _ in found if tag in ("link", "iframe", "object", "embed")]


def test_links_lead_to_parts_of_the_page_or_into_the_study(report):
    ids = {attributes["id"] for _, attributes in Tags((report / "report.html").read_text()).found if "id" in attributes}
    links = [link["href"] for link in tags(report, "a")]
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    inside = [link for link in links if not link.startswith("#")]
    assert inside
    assert all(link.startswith("../") and (report / unquote(link)).is_dir() for link in inside)


def test_the_style_loads_nothing(report):
    assert not re.search(r"@import|url\(", (report / "report.html").read_text())


def test_each_picture_has_words_for_those_who_do_not_see_it(report):
    pictures = tags(report, "img")
    assert len(pictures) >= 8
    assert all(len(picture["alt"]) > 30 for picture in pictures)


def test_the_page_says_once_which_data_and_how_large(report):
    record, page = read_strictly(report / "report.json"), (report / "report.html").read_text()
    captions = [each["caption"] for kind in ("tables", "figures") for each in record[kind].values()]
    assert not any("source 128 x 128 px" in caption for caption in captions)
    assert "64 px (source 128 x 128 px)" in page.split('class="status"')[1].split("</p>")[0]


def test_report_json_is_strict(report):
    assert read_strictly(report / "report.json")["facts"]["num_trials"] == 24


def test_report_json_has_every_table_and_sentence_of_the_page(report):
    record, page = read_strictly(report / "report.json"), (report / "report.html").read_text()
    assert len(tags(report, "table")) == len(record["tables"])
    assert all(sentence.replace("'", "&#39;") in page for sentence in record["sentences"])


def test_the_figures_of_the_first_report_are_there(report):
    made = {path.stem for path in (report / "figures").iterdir()}
    assert {"val_dice_by_model", "losses_by_model", "predictions", "val_dice_by_upsample", "losses_by_upsample"} <= made


def test_markdown_links_only_to_figures_that_are_there(report):
    linked = re.findall(r"\]\((figures/[^)]+)\)", (report / "report.md").read_text())
    assert linked
    assert all((report / path).is_file() for path in linked)


def test_markdown_has_what_folds_away_within_a_part_of_the_page(report):
    text = (report / "report.md").read_text()
    assert "Each comparison in a sentence, and the method\n\n- " in text
    assert "settings that all of them share\n\n- " in text


def test_the_gaps_are_on_the_page(report):
    page = (report / "report.html").read_text()
    assert "1 trial has no results yet: a1b2c_00005." in page
    assert "1 planned trial has not started." in page


def test_a_second_report_leaves_no_figure_of_the_first(tmp_path):
    study = write_study(tmp_path / "s", [completed([0.5, 0.6]), completed([0.4], model="resnet34_unet")])
    write_report(study)
    (trial_folder(study, 1) / "params.json").unlink()
    (trial_folder(study, 1) / "result.json").unlink()
    write_report(study)
    assert "val_dice_by_model.png" not in {path.name for path in (study / "report" / "figures").iterdir()}


def test_no_half_written_file_is_left(report):
    assert not [path for path in report.rglob(".*")]


def test_text_from_a_study_is_escaped(tmp_path):
    failed = Trial(outcome=outcome("failed", error_type="E", error_text="<script>alert(1)</script> | x"))
    made = write_report(write_study(tmp_path, [failed])).parent
    assert "<script>alert" not in (made / "report.html").read_text()
    assert "\\<script\\>alert(1)\\</script\\> \\| x" in (made / "report.md").read_text()


BROKEN = {
    "one trial": lambda folder: write_study(folder, [completed([0.5])]),
    "no trial yet": lambda folder: write_study(folder, [], study=STUDY | {"finished": None}),
    "none finished": lambda folder: write_study(folder, [Trial(), Trial()], study=STUDY | {"finished": None}),
    "all diverged": lambda folder: write_study(folder, [Trial(lines=[diverged_line(1, 0.1)]) for _ in range(3)]),
    "no study.json": lambda folder: write_study(folder, realistic_trials(4, np.random.default_rng(0)), study=None),
    "garbage": lambda folder: garbage(write_study(folder, [completed([0.5]), completed([0.6])], num_images=3)),
    "odd study.json": lambda folder: write_study(folder, [completed([0.5])], study=ODD),
    "odd names": lambda folder: write_study(folder, [completed([0.5], model="$a^b$"), completed([0.6], model="_<b>")]),
}
ODD = {
    "created": 7,
    "finished": "x",
    "num_trials": "many",
    "space": {"axes": {"lr": {"kind": "new"}, "gone": {}}},
    "options": {"metric": "val_new", "search": ["a"], "scheduler": {}},
    "data": {"source_size_px": "big"},
    "provenance": {"versions": 3, "dirty": "perhaps"},
}


def garbage(folder):
    for path in [*folder.glob("*.json"), *trial_folder(folder, 0).iterdir()]:
        path.write_bytes(b"\xff\x00{")
    for name in ("best_validation.safetensors", "best_validation.csv"):
        (trial_folder(folder, 1) / name).write_bytes(b"\x08\x00\x00")
    return folder


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_or_early_study_has_a_report(tmp_path, kind):
    made = write_report(BROKEN[kind](tmp_path)).parent
    assert read_strictly(made / "report.json")["sentences"]
    assert all(picture["alt"] for picture in tags(made, "img"))


def test_without_divergence_the_page_says_so(tmp_path):
    made = write_report(write_study(tmp_path, [completed([0.5])]))
    assert "No trial diverged." in made.read_text()


def test_where_nothing_diverged_there_is_no_part_on_divergence(tmp_path):
    trials = [completed([0.5]), completed([0.6], model="resnet34_unet")]
    page = write_report(write_study(tmp_path / "s", trials)).read_text()
    said = page[page.index("<body>") : page.index("<script>")]
    assert re.findall(r"[^<>]*iverge[^<>]*", said) == ["No trial diverged."]


def test_of_an_experiment_that_has_ended_nothing_is_so_far(tmp_path):
    trials = [completed([0.5]), completed([0.6], model="resnet34_unet")]
    assert "No trial diverged." in write_report(write_study(tmp_path, trials, study=None)).read_text()


def test_the_remarks_on_the_data_are_on_the_page(tmp_path):
    data = STUDY["data"] | {"notes": ["3 masks have <nothing> left of their object"]}
    page = write_report(write_study(tmp_path, [completed([0.5])], study=STUDY | {"data": data})).read_text()
    assert "3 masks have &lt;nothing&gt; left of their object" in page


def test_the_page_shows_few_columns_and_the_file_has_all(report):
    heads = [attributes for tag, attributes in Tags((report / "report.html").read_text()).found if tag == "th"]
    assert len(heads) / len(tags(report, "table")) < 8
    columns = (report / "tables/comparisons.csv").read_text().splitlines()[0].split(",")
    assert {"p_holm", "num_a", "started_difference", "method"} <= set(columns)


def test_the_page_of_a_running_study_says_so(tmp_path):
    made = write_report(write_study(tmp_path, [completed([0.5])], study=STUDY | {"finished": None}))
    assert "not finished: still running, or killed (last result 2026-11-23" in made.read_text()


def test_the_page_of_an_interrupted_study_says_so(tmp_path):
    study = STUDY | {"finished": None, "interrupted": True}
    made = write_report(write_study(tmp_path, [completed([0.5])], study=study))
    assert "The study was interrupted" in made.read_text()


def test_a_best_that_differs_from_the_trials_own_record_is_said(tmp_path):
    trial = completed([0.5])
    trial.outcome["best_val_dice"] = 0.75
    assert "a1b2c_00000 (0.7500 recorded, 0.5000 found)" in write_report(write_study(tmp_path, [trial])).read_text()


def test_the_newest_study_is_the_one_created_last(tmp_path):
    for name, created in [("a", "2026-11-24T00:00:00+00:00"), ("b", "2026-11-23T00:00:00+00:00")]:
        write_study(tmp_path / name, [], study=STUDY | {"created": created})
    assert newest_study(tmp_path) == tmp_path / "a"


def test_a_study_without_creation_time_counts_by_its_folders_time(tmp_path):
    write_study(tmp_path / "old", [completed([0.5])], study=None)
    os.utime(tmp_path / "old", (1, 1))
    write_study(tmp_path / "new", [])
    assert newest_study(tmp_path) == tmp_path / "new"


def test_without_any_study_the_command_names_what_it_looked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    said = capsys.readouterr().err
    assert str(tmp_path / "results") in said
    assert "study.json" in said


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_folder_that_is_no_study_is_one_line_and_exit_code_2(tmp_path, capsys, name):
    assert main([str(tmp_path / name)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1


def test_the_command_prints_the_path_of_the_page_last(tmp_path):
    study = write_study(tmp_path / "results" / "s", [completed([0.5, 0.6])])
    run = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "analysis" / "report.py", study],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == str(study / "report" / "report.html")
    assert run.stderr == ""


def test_what_an_earlier_report_drew_and_this_one_does_not_is_removed(tmp_path):
    folder = write_study(tmp_path / "study", [completed([0.5, 0.6])])
    report = write_report(folder).parent
    record = read_strictly(report / "report.json")
    record["figures"]["of_another_day"] = {"caption": "", "alt": ""}
    (report / "report.json").write_text(json.dumps(record))
    (report / "figures/of_another_day.png").write_bytes(b"old")
    write_report(folder)
    assert not (report / "figures/of_another_day.png").exists()


def test_a_users_own_file_in_the_report_is_left_alone(tmp_path):
    folder = write_study(tmp_path / "study", [completed([0.5, 0.6])])
    report = write_report(folder).parent
    (report / "figures/mine.png").write_bytes(b"mine")
    write_report(folder)
    assert (report / "figures/mine.png").read_bytes() == b"mine"


def test_the_report_names_causes_and_what_would_have_cured_all_of_them(tmp_path):
    write_study(tmp_path / "s", [Trial(lines=[diverged_line(1, 0.1)]) for _ in range(2)])
    for number, cures in enumerate([("float32", "float32_head"), ("float32_head",)]):
        folder = sorted((tmp_path / "s").glob("*/result.json"))[number].parent
        remedies = [{"name": name, "worked": True} for name in cures] + [{"name": "clipping", "worked": False}]
        account = {
            "cause": "saturated_head",
            "blame": "amp",
            "phase": "backward",
            "module": "head",
            "remedies": remedies,
        }
        (folder / "divergence.json").write_text(json.dumps(account))
    assert main([str(tmp_path / "s")]) == 0
    text = (tmp_path / "s/report/report.md").read_text()
    assert "The cause was a saturated head in both." in text
    assert "broke: with a float32 head it succeeds in both." in text


def test_a_broken_account_is_a_stated_gap(tmp_path):
    write_study(tmp_path / "s", [Trial(lines=[diverged_line(1, 0.1)])])
    next((tmp_path / "s").glob("*/result.json")).with_name("divergence.json").write_text("{")
    assert main([str(tmp_path / "s")]) == 0
    assert "a divergence.json that cannot be read" in (tmp_path / "s/report/report.md").read_text()


def test_the_same_study_gives_the_same_figures_byte_for_byte(tmp_path):
    folder = write_realistic(tmp_path / "study", 12)
    figures = write_report(folder).parent / "figures"
    first = {path.name: path.read_bytes() for path in figures.iterdir()}
    write_report(folder)
    assert {path.name: path.read_bytes() for path in figures.iterdir()} == first
    assert {path.suffix for path in figures.iterdir()} == {".png", ".svg"}


def test_no_id_of_the_page_is_given_twice(report):
    ids = [attributes["id"] for _, attributes in Tags((report / "report.html").read_text()).found if "id" in attributes]
    assert len(ids) == len(set(ids))
