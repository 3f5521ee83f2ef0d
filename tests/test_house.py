"""Who may import whom, and what is promised of the code as a whole."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MUST_NOT = {
    "search_spaces": {"trials", "study", "analysis"},
    "trials": {"search_spaces", "study", "analysis", "ray", "optuna"},
    "study": {"analysis", "matplotlib", "seaborn"},
    "analysis": {"search_spaces", "trials", "study", "ray", "torch", "pickle", "cloudpickle", "dill"},
}
FILES = [path for package in MUST_NOT for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_imports_only_what_it_may(path):
    package = path.relative_to(ROOT).parts[0]
    forbidden = imported(path) & MUST_NOT[package]
    assert not forbidden, f"{path.relative_to(ROOT)} imports {forbidden}; {package} must not (README.md, the map)"


ROOMS = ("load", "stats", "figures", "page")  # of the analysis: each imports itself and those before it


@pytest.mark.parametrize("path", sorted((ROOT / "analysis").rglob("*.py")), ids=lambda path: path.stem)
def test_a_room_of_the_analysis_imports_no_later_one(path):
    room = path.relative_to(ROOT / "analysis").parts[0]
    modules = [node.module or "" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    used = {module.split(".")[1] for module in modules if module.startswith("analysis.")}
    later = used & set(ROOMS[ROOMS.index(room) + 1 :]) if room in ROOMS else used - set(ROOMS)
    assert not later, f"{path.relative_to(ROOT)} imports {later}; the order of the rooms is {' <- '.join(ROOMS)}"
    assert "analysis" not in modules, f"{path.relative_to(ROOT)}: name the module, from analysis.page import words"


@pytest.mark.parametrize("path", sorted((ROOT / "trials/numerics").rglob("*.py")), ids=lambda path: path.name)
def test_the_instrument_knows_nothing_of_trials(path):
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    own = {name for name in names if name == "trials.numerics" or name.startswith("trials.numerics.")}
    foreign = {name.split(".")[0] for name in names - own} - set(sys.stdlib_module_names)
    assert foreign <= {"torch", "numpy", "safetensors"}, f"{path.name} imports {foreign}; it is a library for any loop"


@pytest.mark.parametrize("path", sorted((ROOT / "search_spaces").rglob("*.py")), ids=lambda path: path.name)
def test_search_spaces_use_the_standard_library_alone(path):
    foreign = imported(path) - set(sys.stdlib_module_names) - {"search_spaces"}
    assert not foreign, f"{path.name} imports {foreign}; a space is data, readable without any package"


def modules_imported(path: Path, modules: set[str]) -> set[str]:
    """Which of these modules the file imports, at its top, within functions, or for type checkers alone."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names & modules


@pytest.mark.parametrize("package", ["trials", "study"])
def test_no_two_modules_of_a_package_need_each_other_not_even_for_types(package):
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / package).rglob("*.py")
    }
    needs = {name: modules_imported(path, set(files)) - {name} for name, path in files.items()}
    while free := {name for name, needed in needs.items() if not needed & set(needs)}:
        needs = {name: needed for name, needed in needs.items() if name not in free}
    circle = {name for name in needs if any(name in needed for needed in needs.values())}
    assert not circle, f"these modules need each other: {sorted(circle)}; a part takes what it needs (trials/parts.py)"


def test_files_that_must_be_whole_are_written_in_one_way():
    own = re.compile(r"\.replace\(path\)|\.part\b")
    sources = {path: path.read_text() for package in ("trials", "study") for path in (ROOT / package).rglob("*.py")}
    found = [str(path.relative_to(ROOT)) for path, text in sources.items() if own.search(text)]
    assert found == ["trials/numerics/whole_files.py"]


@pytest.mark.parametrize("package", ["study", "analysis"])
def test_no_module_bears_the_name_of_another_library(package):
    # Ray's workers get the folder of the command on their path: such a module would hide the library's
    names = {path.stem for path in (ROOT / package).iterdir()} - {"__init__"}
    taken = set(sys.stdlib_module_names) | {
        "ray",
        "torch",
        "optuna",
        "pandas",
        "numpy",
        "matplotlib",
        "seaborn",
        "rich",
    }
    assert not names & taken


def test_the_analysis_needs_neither_torch_nor_ray():
    code = "import sys, analysis.report; sys.exit(bool({'torch', 'ray'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_trials_need_no_ray():
    code = "import sys, trials.train, trials.predict; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_nothing_that_users_install_is_under_the_gpl():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["lightning"]]
    licences = {}
    while wanted:
        name = re.match(r"[\w.-]+", wanted.pop())[0].lower()
        if name in licences:
            continue
        try:
            about = metadata.metadata(name)
        except metadata.PackageNotFoundError:  # of another system
            continue
        classifiers = [each for each in about.get_all("Classifier") or [] if each.startswith("License")]
        licences[name] = " ".join([about.get("License-Expression") or "", *classifiers])
        wanted += [each for each in metadata.requires(name) or [] if "extra ==" not in each]
    assert len(licences) > 50
    gpl = re.compile(r"(?<!L)GPL|(?<!Lesser )General Public")
    assert not {name: text for name, text in licences.items() if gpl.search(text)}
