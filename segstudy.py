"""What others import, and the command `segstudy`; every other module belongs to the program.

watch = segstudy.watch(model, optimizer, scaler=scaler, out="runs/mine")
for batch in loader:
    with watch.step(batch):
        ...                                  # forward, loss, backward, update, as ever
    if watch.broken:
        print(watch.explain(loss=lambda model, batch: criterion(model(batch["image"]), batch["mask"])))
        break
"""

import importlib
import importlib.util
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.load.study import Study
    from trials.lightning_callback import LightningCallback

COMMANDS = {
    "study": ("study.run", "many trainings from a search space"),
    "report": ("analysis.report", "the page of a study, or of any experiment of Ray Tune"),
    "train": ("trials.train", "one training"),
    "predict": ("trials.predict", "masks of a trained network"),
    "replay": ("trials.replay", "the step at which a training broke, again"),
    "explain": ("trials.numerics.explain_command", "why a loop of your own broke, from its capsule"),
}


def _ours(name: str) -> None:
    """Raises ImportError, naming it, where a folder or file of somebody else's would be imported in place of ours."""
    spec = importlib.util.find_spec(name)
    place = Path(__file__).resolve().parent / name
    there = Path(spec.origin).resolve() if spec and spec.origin else None
    if there is None or there.parent != place:
        at = there.parent if there and there.name == "__init__.py" else there
        raise ImportError(f"segstudy needs its own package {name!r}, and {at or 'nothing'} is found first: rename that")


_ours("trials")

from trials.numerics.watch import Watch as watch  # noqa: E402

__all__ = ["LightningCallback", "load_study", "run_study", "watch"]


def __getattr__(name: str) -> Any:
    """LightningCallback, which needs an optional dependency: imported when it is asked for."""
    if name != "LightningCallback":
        raise AttributeError(f"module 'segstudy' has no attribute {name!r}; it has {', '.join(__all__)}")
    try:
        from trials.lightning_callback import LightningCallback
    except ModuleNotFoundError as error:
        raise ImportError(f"segstudy.LightningCallback needs {error.name}: pip install 'segstudy[lightning]'") from None
    return LightningCallback


def load_study(folder: str | Path, metric: str | None = None, mode: str | None = None) -> "Study":
    """A study's folder, or an experiment of Ray Tune, as frames: `trials`, one row each, and `epochs`, one row each.

    metric, mode ("min" or "max"): what trials are ranked by; default: what the study was asked for. What is missing is
    said in `gaps`. Raises ValueError where the folder is no study, or no trial measured the metric.
    """
    _ours("analysis")
    from analysis.load.study import load_study as load

    return load(Path(folder), metric, mode)


def run_study(space: str | Path, **options: Any) -> "Study":
    """Runs a study as `python -m study.run --space SPACE` does, and loads it.

    options: the command's, with _ for -: `samples=4, data="pets", results="results", set={"amp": True}`. Raises
    ValueError, before anything has started, for what the command refuses.
    """
    for name in ("analysis", "search_spaces", "study"):
        _ours(name)
    from study.command_line import options_of
    from study.run import BadInput, run

    try:
        _, folder = run(options_of(["--space", str(space), *_arguments(options)]))
    except BadInput as error:
        raise ValueError(error) from None
    except SystemExit:
        raise ValueError(f"an option is wrong, as said above; given were {', '.join(options)}") from None
    return load_study(folder)


def _arguments(options: dict[str, Any]) -> list[str]:
    settings = [("set", f"{name}={_text(value)}") for name, value in options.get("set", {}).items()]
    others = [(name, value) for name, value in options.items() if name != "set" and value not in (None, False)]
    return [
        part
        for name, value in [*others, *settings]
        for part in (f"--{name.replace('_', '-')}", *([] if value is True else [_text(value)]))
    ]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def main(arguments: list[str] | None = None) -> int:
    """The command `segstudy NAME ...`; the exit code is that of NAME, 2 where there is no such NAME."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name == "--version":
        print(f"segstudy {version('segstudy')}")
        return 0
    if name not in COMMANDS:
        listed = "\n".join(f"  {each:<8} {what}" for each, (_, what) in COMMANDS.items())
        print(f"usage: segstudy NAME [OPTION ...]     (segstudy NAME --help)\n\n{listed}\n\n  --version")
        return 0 if name in ("--help", "-h") else 2
    module, _ = COMMANDS[name]
    _ours(module.partition(".")[0])
    return importlib.import_module(module).main(rest)


if __name__ == "__main__":
    sys.exit(main())
