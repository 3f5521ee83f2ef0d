"""Old results stay readable: tests/results_v1 is a study as version 1 of the schema left it."""

import json
import shutil
from pathlib import Path

import pytest

from analysis.load.study import load_study
from analysis.report import write_report

HERE = Path(__file__).parent
OLD = HERE / "results_v1"


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


def differing(then: object, now: object, where: str) -> list[str]:
    """Where a number of then is another one now, or is gone; what is new does not count."""
    if isinstance(then, dict):
        own = now if isinstance(now, dict) else {}
        return [each for key in then for each in differing(then[key], own.get(key), f"{where}/{key}")]
    if isinstance(then, list):
        if not isinstance(now, list) or len(now) != len(then):
            return [f"{where}: {then} was there, now {now}"]
        return [each for place, value in enumerate(then) for each in differing(value, now[place], f"{where}/{place}")]
    same = then is None or (isinstance(now, int | float) and now == pytest.approx(then, rel=1e-6, abs=1e-12))
    return [] if same else [f"{where}: {then}, now {now}"]


@pytest.mark.parametrize("name", ["results_v1", "foreign_v1"])
def test_a_frozen_study_gives_the_numbers_that_it_gave_before_the_analysis_was_rebuilt(tmp_path, name):
    then = json.loads((HERE / "report_numbers.json").read_text())[name]
    report = write_report(Path(shutil.copytree(HERE / name, tmp_path / name)))
    record = json.loads((report.parent / "report.json").read_text())
    now = {"facts": record["facts"], "tables": {key: table["rows"] for key, table in record["tables"].items()}}
    assert differing(then, now, name) == []
