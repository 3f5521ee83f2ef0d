"""What may be typed after `python -m study.run`."""

import argparse
import difflib
import math
from importlib.metadata import version
from typing import Any

from search_spaces import SPACES
from study.options import PRESETS, current_preset
from study.search import SAMPLERS
from study.stopping import SCHEDULERS
from trials.config import FIELDS, parse
from trials.measurements import METRICS


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m study.run",
        usage="python -m study.run --space SPACE [OPTION ...]   (--help shows every option)",
        allow_abbrev=False,  # --seed 7 would be taken for --seeds 7
        description="Trains many networks from a search space and reports what made them go right or wrong.",
    )
    p.add_argument("--space", help=f"{', '.join(SPACES)}, or a .py file that defines SPACE")
    p.add_argument("--version", action="version", version=f"segstudy {version('segstudy')}")
    p.add_argument("--list", action="store_true", help="print every space with its question and axes")
    p.add_argument(
        "--preset",
        type=current_preset,
        choices=PRESETS,
        default="quick",
        help="quick: minutes on two cores; lab2: the networks and settings of the Lab 2 report, for a GPU",
    )
    p.add_argument("--search", choices=SAMPLERS, default="optuna", help="who chooses configurations (default: optuna)")
    p.add_argument("--points", action="append", default=[], metavar="AXIS=A,B", help="a grid's points on a range")
    p.add_argument("--scheduler", choices=SCHEDULERS, default="asha", help="who stops trials early (default: asha)")
    p.add_argument("--samples", type=_positive_int, help="configurations to try (default: the preset's)")
    p.add_argument("--seeds", type=_positive_int, default=1, help="runs of each configuration, under seeds 0, 1, ...")
    p.add_argument("--epochs", type=_positive_int, help="epochs of a trial that is not stopped")
    p.add_argument("--time-budget", type=_positive_float, metavar="S", help="seconds after which the study ends")
    p.add_argument("--concurrent", type=_positive_int, help="trials at a time (default: as the resources allow)")
    p.add_argument("--cpus-per-trial", type=_positive_float, default=1, help="default: 1")
    p.add_argument("--gpus-per-trial", type=_fraction, help="a fraction is allowed (default: 1 where there is a GPU)")
    p.add_argument("--metric", choices=METRICS, default="val_dice", help="what is searched for (val_dice)")
    p.add_argument("--data", help="drawn, pets or folder")
    p.add_argument("--data-root", help="the folder that holds oxford-iiit-pet/, or images/ and masks/")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="fixes any field of TrialConfig")
    p.add_argument("--results", default="results", help="where studies are kept (default: results)")
    p.add_argument("--name", help="the study's folder (default: the space and the time)")
    p.add_argument("--address", help="a Ray cluster's address (default: one is started on this machine)")
    p.add_argument("--resume", action="store_true", help="go on with the study --name, or the newest in --results")
    p.add_argument("--dry-run", action="store_true", help="print trials, disk and memory it would take, and stop")
    return p


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """What was typed; what is no option is answered with what was meant. Exits with 2 for bad input."""
    made = parser()
    options, unknown = made.parse_known_args(arguments)
    if unknown:
        made.error(f"unrecognized arguments: {' '.join(unknown)}{_suggestion(unknown[0], made)}")
    return options


def _suggestion(text: str, made: argparse.ArgumentParser) -> str:
    option = text.partition("=")[0]
    name = option.lstrip("-").replace("-", "_")
    if name == "seed":
        return "; --seeds k runs each configuration under seeds 0 to k - 1"
    if name == "mode":
        return "; the mode follows from --metric"
    if name in FIELDS:
        return f"; {name} is a setting: --set {name}=VALUE"
    close = difflib.get_close_matches(option, [each for action in made._actions for each in action.option_strings])
    return f"; did you mean {' or '.join(close)}?" if close else ""


def points_of(texts: list[str]) -> dict[str, list]:
    """The values that the texts of `--points AXIS=A,B` name, by axis; ValueError for one that is not of that form."""
    points = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals:
            raise ValueError(f"--points {text!r}; it takes AXIS=A,B,C, --points lr=0.001,0.01 for one")
        if name in points:
            raise ValueError(f"--points {name} is given twice; name all its values in one")
        points[name] = [parse(name, value) for value in values.split(",")]
    return points


def listing() -> str:
    """Every space with its question and axes."""
    lines = []
    for space in SPACES.values():
        lines.append(f"{space.name}: {space.question}")
        for name, axis in space.axes.items():
            condition = space.conditions.get(name)
            only = f"  (only where {condition[0]}={condition[1]})" if condition else ""
            lines.append(f"    {name:13} {axis}{only}")
    return "\n".join(lines)


def _positive_int(text: str) -> int:
    return int(_above_zero(text, int))


def _positive_float(text: str) -> float:
    return _above_zero(text, float)


def _fraction(text: str) -> float:
    words = "from 0 to 1, or a whole number of GPUs"
    return _checked_number(text, float, lambda value: 0 <= value <= 1 or (value > 1 and value % 1 == 0), words)


def _above_zero(text: str, kind: type) -> Any:
    return _checked_number(text, kind, lambda value: 0 < value < math.inf, "above 0")


def _checked_number(text: str, kind: type, allowed, words: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not allowed(value):
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: a {'whole ' if kind is int else ''}number {words}")
    return value
