"""What public docstrings say: errors that are raised, shapes of arrays, columns of frames, units of numbers.

Public are the functions and classes of a module, and the methods of these classes, that have no leading underscore. A
function that is one short `return` needs no words where its name and its annotations say all.
"""

import ast
import builtins
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import analysis.stats

ROOT = Path(__file__).parents[1]
ROOMS = (
    *("analysis/load", "analysis/stats", "analysis/figures", "analysis/page", "analysis/report.py"),
    *("search_spaces", "study", "trials/numerics", "trials", "segstudy.py"),
)

SHORT_RETURN = 90  # characters: the one `return` of a function that needs no docstring
NO_ERRORS = {"NotImplementedError", "AssertionError"}
FRAMES = ("trials", "epochs", "ranked", "found")  # mean the same everywhere: analysis/stats/__init__.py has them
ARRAYS = {"Tensor", "ndarray", "NDArray"}
SHAPE = re.compile(
    r"\[[\w.]+(?:,[\w.*+/() -]+|[\w.*+/() -]*\d)*\]"  # [n], [B, 1, H, W], [..., 3], [2 * n + 1]
    r"|\b[A-Z],(?:\w|\.\.\.)|\([A-Z], \w|\b\d(?:,\d+){2,}|\b[BN]?C?HWC?\b"  # B,1,H,W, (H, W), 1,3,1,1, BCHW
    r"|\b[Ss]calars?\b|\bshapes?\b"  # of any shape, in their shapes
)
SHAPE_IN_NAME = re.compile(r"_[A-Z][A-Z0-9]*$")  # images_BCHW
COLUMNS = re.compile(r"\bcolumns?\b|\brows?\b", re.IGNORECASE)
UNIT_IN_NAME = re.compile(r"_(?:s|min|bytes|kb|mb|gb|px|bits|degrees|epochs|steps|images|channels)$")
UNITS = {  # the last word of the name of a number -> what must be said of it, unless the name does
    r"time|timeout|duration|elapsed|age|wait|delay": r"seconds?|minutes?|hours?|ms",
    r"memory|disk|space": r"bytes?|[kKMG]i?B",
    r"batch_size": r"images",
    r"size|height|width": r"px|pixels?|bytes?|channels?|characters?",
    r"angle": r"degrees?|radians?",
    r"patience": r"epochs?|steps?",
}
TIMES, BYTES = list(UNITS)[:2]
MEASURED = dict.fromkeys(("perf_counter", "monotonic", "st_mtime"), TIMES)  # read in a function that gives a number
MEASURED |= dict.fromkeys(("st_size", "nbytes", "element_size"), BYTES)


@dataclass(frozen=True)
class Definition:
    """A public function or class; of a method, owner is its class. lines: of its file."""

    path: Path
    node: ast.FunctionDef | ast.ClassDef
    owner: ast.ClassDef | None
    lines: list[str]

    def __str__(self) -> str:
        return f"{self.path}:{self.node.lineno} {self.owner.name + '.' if self.owner else ''}{self.node.name}"

    @property
    def docstring(self) -> str:
        """Its own; what `forward` of a network does is what its class is for."""
        own = ast.get_docstring(self.node) or ""
        return own or (ast.get_docstring(self.owner) or "" if self.node.name == "forward" else "")

    @property
    def is_obvious(self) -> bool:
        only = self.node.body[0] if len(self.node.body) == 1 else None
        is_function = isinstance(self.node, ast.FunctionDef)
        return is_function and isinstance(only, ast.Return) and len(ast.unparse(only)) < SHORT_RETURN

    @property
    def arguments(self) -> list[ast.arg]:
        if isinstance(self.node, ast.ClassDef):
            return []
        own = self.node.args
        return [*own.posonlyargs, *own.args, *own.kwonlyargs, *filter(None, (own.vararg, own.kwarg))]

    @property
    def result(self) -> ast.expr | None:
        return getattr(self.node, "returns", None)

    @property
    def fields(self) -> list[ast.AnnAssign]:
        """Of a class."""
        own = self.node.body if isinstance(self.node, ast.ClassDef) else []
        return [each for each in own if isinstance(each, ast.AnnAssign)]

    def words_on(self, field: ast.AnnAssign) -> str:
        """The comment beside a field, and the class's docstring."""
        return self.lines[field.end_lineno - 1].partition("#")[2] + " " + self.docstring


def definitions(path: Path) -> list[Definition]:
    """The public ones of a file, each class before its methods."""
    kinds, lines = (ast.FunctionDef, ast.ClassDef), path.read_text().splitlines()
    found = []
    for node in (each for each in ast.parse(path.read_text()).body if isinstance(each, kinds)):
        inner = [each for each in node.body if isinstance(each, kinds)] if isinstance(node, ast.ClassDef) else []
        found += [(node, None), *((each, node) for each in inner)] if not node.name.startswith("_") else []
    return [Definition(path, node, owner, lines) for node, owner in found if not node.name.startswith("_")]


def room_of(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    return max((room for room in ROOMS if name == room or name.startswith(room + "/")), key=len, default="")


PACKAGES = ("analysis", "search_spaces", "study", "trials")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
PUBLIC = [each for path in [*FILES, ROOT / "segstudy.py"] for each in definitions(path)]


def names_in(annotation: ast.expr | None) -> set[str]:
    """The names in an annotation, also in one that stands in quotes."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    nodes = list(ast.walk(annotation)) if annotation is not None else []
    names = {each.id for each in nodes if isinstance(each, ast.Name)}
    return names | {each.attr for each in nodes if isinstance(each, ast.Attribute)}


def own_nodes(node: ast.AST) -> list[ast.AST]:
    """The nodes of a body, without those of functions and classes in it."""
    found, waiting = [], list(ast.iter_child_nodes(node))
    while waiting:
        each = waiting.pop()
        if not isinstance(each, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            found.append(each)
            waiting += ast.iter_child_nodes(each)
    return found


def raised(node: ast.AST) -> set[str]:
    """The errors of `raise X(...)` and `raise X` that leave a body; `raise` and `raise error` pass on others."""
    nodes = own_nodes(node)
    names = errors_of(nodes)
    for each in (each for each in nodes if names and isinstance(each, ast.Try)):
        caught = set().union(*(names_in(handler.type) for handler in each.handlers))
        names -= {name for name in errors_of(own_nodes(ast.Module(each.body, []))) if is_one_of(name, caught)}
    return names - NO_ERRORS


def errors_of(nodes: list[ast.AST]) -> set[str]:
    raises = [each.exc for each in nodes if isinstance(each, ast.Raise) and each.exc is not None]
    kinds = [each.func if isinstance(each, ast.Call) else each for each in raises]
    names = {each.attr if isinstance(each, ast.Attribute) else ast.unparse(each) for each in kinds}
    return {name for name in names if name[0].isupper()}


def is_one_of(name: str, others: set[str]) -> bool:
    """Whether an error is one of these or, where it is Python's own, a kind of one."""
    own, kinds = vars(builtins).get(name), [vars(builtins)[each] for each in others if each in vars(builtins)]
    return name in others or (own is not None and issubclass(own, tuple(kinds)))


def lacks_docstring(each: Definition) -> list[str]:
    return [] if each.docstring or each.is_obvious else ["a docstring"]


def lacks_errors(each: Definition) -> list[str]:
    """Of a class: the errors that making one raises."""
    makers = [own for own in each.node.body if getattr(own, "name", "") in ("__init__", "__post_init__")]
    errors = set().union(*map(raised, makers if isinstance(each.node, ast.ClassDef) else [each.node]))
    return sorted(name for name in errors if not re.search(rf"\b{name}\b", each.docstring))


def lacks_shapes(each: Definition) -> list[str]:
    """A name may say it: images_BCHW."""
    arrays = [own.arg for own in each.arguments if names_in(own.annotation) & ARRAYS]
    arrays += [each.node.name] if names_in(each.result) & ARRAYS else []
    lacking = [name for name in arrays if not SHAPE_IN_NAME.search(name)] and not SHAPE.search(each.docstring)
    fields = {ast.unparse(own.target): each.words_on(own) for own in each.fields if names_in(own.annotation) & ARRAYS}
    bare = [name for name, said in fields.items() if not SHAPE_IN_NAME.search(name) and not SHAPE.search(said)]
    return ["shapes: [B, 1, H, W], [n], scalar, any shape"] * bool(lacking) + bare


def lacks_columns(each: Definition) -> list[str]:
    frames = {own.arg for own in each.arguments if "DataFrame" in names_in(own.annotation)} - set(FRAMES)
    has_frame = bool(frames) or "DataFrame" in names_in(each.result)
    return ["columns or rows of a frame"] if has_frame and not COLUMNS.search(each.docstring) else []


def quantity(name: str, annotation: ast.expr | None) -> str:
    """The key of UNITS for a number of this name; empty where it needs no unit or its name ends in one."""
    if not names_in(annotation) & {"int", "float"} or UNIT_IN_NAME.search(name):
        return ""
    return next((words for words in UNITS if re.search(rf"(?:^|_)(?:{words})$", name)), "")


def lacks_units(each: Definition) -> list[str]:
    said = {own.arg: (quantity(own.arg, own.annotation), each.docstring) for own in each.arguments}
    fields = {ast.unparse(own.target): own for own in each.fields}
    said |= {name: (quantity(name, own.annotation), each.words_on(own)) for name, own in fields.items()}
    if names_in(each.result) & {"int", "float"} and not UNIT_IN_NAME.search(each.node.name):
        read = [own.attr for own in own_nodes(each.node) if isinstance(own, ast.Attribute) and own.attr in MEASURED]
        kind = quantity(each.node.name, each.result) or (MEASURED[read[0]] if read else "")
        said["its result"] = kind, each.docstring
    return [f"the unit of {name}" for name, (kind, words) in said.items() if kind and not tells(kind, words)]


def tells(kind: str, words: str) -> bool:
    return bool(re.search(rf"\b(?:{UNITS[kind]})\b", words))


CHECKS = (lacks_docstring, lacks_errors, lacks_shapes, lacks_columns, lacks_units)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("room", ROOMS)
def test_a_public_docstring_says_what_a_caller_must_know(room, check):
    faults = {str(each): check(each) for each in PUBLIC if room_of(each.path) == room}
    said = [f"{name} lacks {', '.join(lacking)}" for name, lacking in faults.items() if lacking]
    assert not said, f"{len(said)} docstrings:\n" + "\n".join(said)


def test_every_python_file_that_the_code_names_is_there():
    others = [path for folder in ("tests", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")]
    paths = [path.relative_to(ROOT).as_posix() for path in (*FILES, *others, ROOT / "segstudy.py")]
    there = {"/".join(path.split("/")[start:]) for path in paths for start in range(path.count("/") + 1)}
    there |= {"FILE.py", "mine.py"}  # a user's
    named = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in [*FILES, ROOT / "segstudy.py"]
        for name in re.findall(r"[\w/]+\.py\b", path.read_text())
        if name not in there
    }
    assert not named


def test_the_frames_that_functions_need_not_describe_are_described_in_their_room():
    said = analysis.stats.__doc__
    assert not [name for name in FRAMES if not re.search(rf"^{name}\b.*\bcolumns?\b", said, re.MULTILINE)]


FAULTY = '''
def crop(images: Tensor, size: int) -> Tensor:
    """The middle of images."""
    if size < 1:
        raise ValueError(size)
    return images

def joined(left: pd.DataFrame) -> pd.DataFrame:
    """Both."""
    return left

class Window:
    def area(self):
        found = 1
        return found
'''


def test_a_docstring_that_says_nothing_lacks_all_of_it(tmp_path):
    path = tmp_path / "faulty.py"
    path.write_text(FAULTY)
    lacking = {each.node.name: [check.__name__ for check in CHECKS if check(each)] for each in definitions(path)}
    assert lacking == {
        "crop": ["lacks_errors", "lacks_shapes", "lacks_units"],
        "joined": ["lacks_columns"],
        "Window": ["lacks_docstring"],
        "area": ["lacks_docstring"],
    }
