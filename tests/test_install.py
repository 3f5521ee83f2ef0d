"""What `pip install` of the wheel gives, seen from outside a clone."""

import subprocess
import sys
import zipfile

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the tree: building leaves folders behind."""
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(out), str(source)], check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that holds what the wheel installs."""
    target = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(target)
    return target


def python(*arguments: str, at, installed):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=at,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(installed), "HOME": str(at)},
        capture_output=True,
        text=True,
    )


def test_every_module_is_in_the_wheel(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    rooms = ("search_spaces", "trials", "study", "analysis")
    ours = {str(path.relative_to(REPOSITORY)) for room in rooms for path in (REPOSITORY / room).rglob("*.py")}
    assert not ours - names


def test_types_are_announced(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"{room}/py.typed" for room in ("search_spaces", "trials", "study", "analysis")} <= set(names)


def test_the_commit_is_not_that_of_the_repository_around_it(installed, tmp_path):
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    inside = tmp_path / "site-packages"
    inside.symlink_to(installed)
    words = "user.name=a", "user.email=a@b"
    commit = ["commit", "--quiet", "--allow-empty", "--message", "theirs"]
    subprocess.run(["git", "-C", str(tmp_path), "-c", words[0], "-c", words[1], *commit], check=True)
    code = "from study.manifest import provenance; print(provenance()['commit'])"
    done = python("-c", code, at=tmp_path, installed=inside)
    assert done.stdout == "None\n", done.stderr


@pytest.mark.parametrize(("made", "named"), [("trials/__init__.py", "trials"), ("trials.py", "trials.py")])
def test_a_module_of_the_users_that_hides_ours_is_named(made, named, installed, tmp_path):
    (tmp_path / made).parent.mkdir(exist_ok=True)
    (tmp_path / made).touch()
    done = python("-c", "import segstudy", at=tmp_path, installed=installed)
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: segstudy needs its own package 'trials', and {tmp_path / named} is found first: rename that"
    )


def test_what_does_not_hide_the_instrument_is_no_hindrance(installed, tmp_path):
    for made in ("trials/notes.txt", "analysis/__init__.py", "study.py"):
        (tmp_path / made).parent.mkdir(exist_ok=True)
        (tmp_path / made).touch()
    code = "import sys, segstudy; print([name for name in ('ray', 'optuna', 'pandas') if name in sys.modules])"
    assert python("-c", code, at=tmp_path, installed=installed).stdout == "[]\n"


def test_a_study_is_loaded_as_frames(installed, tmp_path):
    folder = REPOSITORY / "tests/results_v1"
    code = f"import segstudy; study = segstudy.load_study({str(folder)!r}); print(len(study.trials), study.metric)"
    assert python("-c", code, at=tmp_path, installed=installed).stdout == "8 val_dice\n"


@pytest.mark.parametrize("name", ["study", "report", "train", "predict", "replay"])
def test_the_door_leads_to_each_command_and_its_version(name, installed, tmp_path):
    done = python("-m", "segstudy", name, "--version", at=tmp_path, installed=installed)
    assert done.stdout == "segstudy 0.1.0\n", done.stderr


def test_a_command_that_does_not_exist_is_answered_with_those_that_do(installed, tmp_path):
    done = python("-m", "segstudy", "fit", at=tmp_path, installed=installed)
    assert (done.returncode, "explain" in done.stdout) == (2, True)
