"""A user's capsule, on any machine: python -m segstudy explain CAPSULE --model FILE.py:build --loss FILE.py:loss"""

import argparse
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trials.numerics import capsule as capsules
from trials.numerics.explaining.explanation import explain_capsule
from trials.numerics.explaining.record import CAPSULE
from trials.numerics.loop_run import built_by


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, 2 for bad input, 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        print(explained(options))
    except (ValueError, OSError) as error:
        print(f"segstudy explain: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the capsule is as it was", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m segstudy explain", description=__doc__)
    parser.add_argument("capsule", type=Path, help="the folder `capsule` that watch wrote, or the one around it")
    builds = "a function without arguments that gives model, or (model, optimizer)"
    parser.add_argument("--model", required=True, metavar="FILE.py:NAME", help=builds)
    parser.add_argument("--loss", metavar="FILE.py:NAME", help="a function (model, batch) that gives the scalar loss")
    parser.add_argument("--budget", type=float, default=60.0, metavar="SECONDS", help="for the search; default: 60")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default: cpu")
    parser.add_argument("--write", action="store_true", help="write divergence.json beside the capsule anew")
    return parser


def explained(options: argparse.Namespace) -> str:
    """What is printed: the explanation, and whether the step repeated the recorded one.

    Raises ValueError for a trial's capsule, and what `function_of` and `capsule.read` raise.
    """
    folder = options.capsule / CAPSULE if (options.capsule / CAPSULE).is_dir() else options.capsule
    captured = capsules.read(folder)
    if captured.facts["config"] is not None:
        raise ValueError(f"this is the capsule of one of our trials: python -m trials.replay {folder} --why")
    device = torch.device(options.device)
    build = built_by(function_of(options.model), captured)
    loss = function_of(options.loss) if options.loss else None
    written = options.write
    return str(explain_capsule(folder, build, loss, budget_s=options.budget, device=device, is_written=written))


def function_of(text: str) -> Callable[..., Any]:
    """The function that FILE.py:NAME names. Raises ValueError or FileNotFoundError, saying what is wrong with it."""
    place, colon, name = text.rpartition(":")
    path = Path(place)
    if not colon or path.suffix != ".py":
        raise ValueError(f"{text!r}; it takes FILE.py:NAME, mine.py:build for one")
    if not path.is_file():
        raise FileNotFoundError(f"no file {path.absolute()}")
    sys.path.insert(0, str(path.parent.absolute()))  # what lies beside it can be imported
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    if not callable(getattr(module, name, None)):
        raise ValueError(f"{path.absolute()} has no function {name}")
    return getattr(module, name)
