"""Every command of README.md and docs/ runs as it stands there; what it would train is made small."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, set_options
from trials import train

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
COMMAND = re.compile(r"^    ((?:[A-Z]\w+=\S+ )?python (?:-m )?\S+(?: [^#\n]*)?)", re.MULTILINE)
INLINE = re.compile(r"`((?:[A-Z]\w+=\S+ )?python (?:-m )?[^`]+)`")
LINK = re.compile(r"\]\(([^)#]+)\)")
FILES = re.compile(r"^    # (\w+\.py)[^\n]*\n((?:    [^\n]*\n|\n)+?)(?=\n    python|\S|\Z)", re.MULTILINE)
SMALL = {"width": 2, "image_size": 32, "epochs": 1, "batch_size": 8, "train_limit": 16, "val_limit": 8}
SETTINGS = set_options(SMALL)
ELSEWHERE = {  # what another test, or none, runs
    "benchmarks/": "hours",
    "-m pytest": "is these tests",
    "--address auto": "needs a Ray cluster",
    "--resume": "tests/test_study_interrupted.py",
    "--watch": "tests/test_analysis_report.py: it runs until Ctrl-C",
    " ...": "is part of a sentence",
}


def commands() -> list[str]:
    """Each command once, in the order of the pages."""
    texts = [page.read_text().replace("\\\n", " ") for page in PAGES]
    everything = [match for text in texts for match in (*COMMAND.findall(text), *INLINE.findall(text))]
    everything = list(dict.fromkeys(" ".join(each.split()) for each in everything))
    return [each for each in everything if not any(part in f"{each} " for part in ELSEWHERE)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the commands find what they name: the files that the pages show, results, runs, pictures."""
    place = tmp_path_factory.mktemp("place")
    for page in PAGES:
        for name, text in FILES.findall(page.read_text()):
            (place / name).write_text(re.sub("^    ", "", text, flags=re.MULTILINE))
    tests = REPOSITORY / "tests"
    for name in ("NAME", "A", "B"):
        shutil.copytree(tests / "results_v1", place / "results" / name)
    shutil.copytree(tests / "foreign_v1", place / "EXPERIMENT")
    shutil.copytree(REPOSITORY / "examples", place / "examples")
    changed = set_options({"amp": "true", "loss_scale_init": 1e30, "max_skipped_run": 2})
    with chdir(place):
        for name, more in (("first", []), ("pets", []), ("broken", changed)):
            train.main(["--data", "drawn", *SETTINGS, *more, "--out", f"runs/{name}"])
    python(place, "loop.py")
    return place


def python(place: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([sys.executable, *words], cwd=place, env=environment, capture_output=True, text=True)


def words_of(command: str, pets: str, pictures: Path) -> list[str]:
    """The words behind `python`, on this test's data, into folders that are not there yet, and small."""
    command = re.sub(r"^([A-Z]\w+=\S+ )?python (-m )?", "", command)
    command = command.replace("~/ray_results/", "").replace("eval/loss", "loss")
    command = command.replace("--images DIR", f"--images {pictures / 'images'}")
    command = command.replace("DIR", str(pictures) if "folder" in command else pets)
    command = re.sub(r"--out (\S+)", rf"--out \1-{len(command)}", command)
    for name in SMALL:
        command = re.sub(rf" --set {name}=\S+", "", command)
    words = command.split()
    if "trials.train" in words:
        words += SETTINGS
    if "study.run" in words and "--list" not in words:
        words += [*SETTINGS[:4], "--epochs", "1", *([] if "--dry-run" in words else ["--dry-run"])]
    return words


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_pages_runs(command, place, pets_root, own_pairs, monkeypatch, capsys):
    if "smp" in command:
        pytest.importorskip("segmentation_models_pytorch")
    program, *words = words_of(command, pets_root, own_pairs)
    monkeypatch.chdir(place)
    if program == "loop.py":
        assert (place / "runs/loop/divergence.json").is_file()  # the fixture ran it
        return
    module = importlib.import_module(program.removesuffix(".py").replace("/", "."))
    code = module.main(words)
    allowed = (0, 1) if "loss_scale_init=1e30" in command else (0,)  # a run that broke ends with 1
    assert code in allowed, f"{program} {' '.join(words)}\n{capsys.readouterr()}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_of_the_pages_leads_somewhere(page):
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert not [link for link in links if not (page.parent / link).exists()]


def test_the_readme_is_one_screen_and_doors():
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 120
