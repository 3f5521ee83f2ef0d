"""Old results stay readable: tests/results_v1 is a study as version 1 of the schema left it."""

import json
import shutil
from pathlib import Path

from analysis.load.study import load_study
from analysis.report import write_report

OLD = Path(__file__).parent / "results_v1"


def test_the_first_versions_study_is_read_without_a_gap():
    study = load_study(OLD)
    assert study.gaps == []
    assert len(study.trials) == 8
    assert study.trials["outcome"].isin(["completed", "pruned"]).all()


def test_the_first_versions_study_gets_its_report(tmp_path):
    report = write_report(Path(shutil.copytree(OLD, tmp_path / "old")))
    assert (report.parent / "figures/predictions.png").is_file()
    facts = json.loads((report.parent / "report.json").read_text())["facts"]
    assert facts["best"]["folder"] == json.loads((OLD / "test.json").read_text())["folder"]


def test_levels_that_older_versions_called_otherwise_have_the_name_of_today(tmp_path):
    study = shutil.copytree(OLD, tmp_path / "old")
    for path in study.glob("*/params.json"):
        path.write_text(path.read_text().replace('"augment": "flip"', '"augment": "report"'))
    written = json.loads((study / "study.json").read_text())
    written["fixed"]["augment"] = "report"
    written["space"]["axes"]["augment"] = {"kind": "choice", "values": ["none", "report"]}
    (study / "study.json").write_text(json.dumps(written))
    loaded = load_study(study)
    assert set(loaded.trials["augment"]) == {"lab2"}
    assert loaded.study["fixed"]["augment"] == "lab2"
    assert loaded.study["space"]["axes"]["augment"]["values"] == ["none", "lab2"]
