"""A study, from one command to charts: python -m study.run --space upsample"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import ray

from search_spaces import SPACES, Space, load_space, space_from_dict
from study import manifest, preconditions
from study.command_line import listing, options_of, parser, points_of
from study.grid import grid
from study.launch import Study, check_record, check_resources, connect, run_study
from study.options import PRESETS, Options, check_metric, settle
from study.own_code import place_of_space, try_out
from study.planning import plan
from study.ranking import best_trial
from trials import checkpoint
from trials.config import TrialConfig, parse_settings, valid_value
from trials.outcome import BROKEN, INTERRUPTED, RAISED
from trials.own import changes_since, write_copies
from trials.parts import data_channels, describe
from trials.predict import test_score

REPORT = Path(__file__).parents[1] / "analysis" / "report.py"


def main(arguments: list[str] | None = None) -> int:
    """The command; 0 for a finished study, 1 if every trial failed, 2 for bad input, 130 after Ctrl-C."""
    options = options_of(arguments)
    if options.list:
        print(listing())
        return 0
    try:
        if options.dry_run:
            return _dry_run(options)
        return run(options)[0]
    except BadInput as error:
        print(f"study.run: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstudy.run: interrupted", file=sys.stderr)
        return INTERRUPTED
    finally:
        ray.shutdown()


def run(options: argparse.Namespace) -> tuple[int, Path]:
    """Runs the study that the options ask for to its end: its exit code, as of `main`, and its folder.

    Raises BadInput, before anything has started.
    """
    with ExitStack() as held:
        study, written = _ready(options, held)
        return _run(study, written), study.folder


class BadInput(Exception):
    """What the user asked for cannot be done; the text says what can."""


def _dry_run(options: argparse.Namespace) -> int:
    with _bad_input():
        study, _ = _checked_study(options)
        planned = plan(study.space, study.config, study.options, study.num_trials)
        print(planned.to_text(study.options))
        _warn(planned.shortages(study.folder))
    return 0


def _warn(sentences: list[str]) -> None:
    for sentence in sentences:
        print(f"warning: {sentence}", file=sys.stderr)


def _checked_study(options: argparse.Namespace) -> tuple[Study, dict[str, Any]]:
    """The study that is begun or resumed, and its manifest; raises for what this machine or the data cannot give."""
    study, written = _resumed_study(options) if options.resume else _new_study(options)
    preconditions.check_machine(study.space, study.config, study.options, options.address)
    preconditions.check_data(study.space, study.config)
    return study, written


def _ready(options: argparse.Namespace, held: ExitStack) -> tuple[Study, dict[str, Any]]:
    """The study with its data checked, Ray started and then its folder made, and its manifest.

    held: what is held until the study ends.
    """
    with _bad_input():
        study, written = _checked_study(options)
        if options.resume:
            held.enter_context(preconditions.sole_runner(study.folder))
        planned = plan(study.space, study.config, study.options, study.num_trials)
        preconditions.check_cache(planned.cache_missing_bytes)
        _warn(planned.shortages(study.folder))
        data = describe(study.config)
        preconditions.check_same_data(written.get("data"), data)
        for note in data["notes"]:
            print(f"data       {note}", file=sys.stderr)
        dashboard = connect(options.address)
        check_resources(study)
        check_record(study.folder)
        if not options.resume:
            held.enter_context(preconditions.new_folder(study.folder))
            held.enter_context(preconditions.sole_runner(study.folder))
            manifest.write_validation(study.folder, study.config)
            write_copies(study.folder, study.config.code)
        written = {**written, "data": data, "finished": None, "interrupted": False}
        manifest.write(study.folder, written)
    print(f"study      {study.folder}\nquestion   {study.space.question}\ndashboard  {dashboard}", file=sys.stderr)
    return study, written


@contextmanager
def _bad_input() -> Iterator[None]:
    """What is raised while nothing runs yet is an answer to the user, not a fault."""
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        is_bare = isinstance(error, OSError) and error.filename and error.strerror
        raise BadInput(f"{error.filename}: {error.strerror}" if is_bare else error) from error


def _new_study(options: argparse.Namespace) -> tuple[Study, dict[str, Any]]:
    """The study that the command line describes, and its manifest; every error there is, is raised here."""
    if options.points and options.search != "grid":
        raise ValueError("--points are a grid's: add --search grid")
    if not options.space:
        raise ValueError(f"--space is missing; it takes {', '.join(SPACES)} or a .py file (--list shows them)")
    settings = parse_settings(options.set)
    for name in ("data", "data_root", "epochs"):
        if getattr(options, name) is not None:
            if name in settings:
                raise ValueError(f"--{name.replace('_', '-')} and --set {name} are the same setting; leave one out")
            settings[name] = valid_value(name, getattr(options, name))
    if options.gpus_per_trial == 0:
        settings.setdefault("device", "cpu")  # Ray does not hide a GPU from a trial that asked for none
    space, config = _settled_space(options.space, options.preset, settings, options.metric)
    if "in_channels" not in space.fixed:
        config = replace(config, in_channels=data_channels(config))
    for note in try_out(space, config):
        print(f"code       {note}", file=sys.stderr)
    points = points_of(options.points)
    asked = Options(
        preset=options.preset,
        search=options.search,
        scheduler=options.scheduler,
        samples=options.samples or PRESETS[options.preset]["samples"],
        seeds=options.seeds,
        metric=options.metric,
        time_budget_s=options.time_budget,
        concurrent=options.concurrent,
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=options.gpus_per_trial,
        points=points,
    )
    if options.search == "grid":
        asked = replace(asked, samples=len(grid(space, points, options.samples)))
    name = f"{space.name}-{datetime.now():%Y%m%d-%H%M%S}" if options.name is None else options.name
    folder = preconditions.place_of(options.results, name)
    preconditions.check_unused(folder)
    study = Study(folder, space, config, asked)
    return study, manifest.new_manifest(study.folder.name, space, config, asked, study.num_trials)


def _settled_space(space: str, preset: str, settings: dict[str, Any], metric: str) -> tuple[Space, TrialConfig]:
    try:
        settled = settle(load_space(space), preset, settings, metric, place_of_space(space))
        check_metric(*settled)
        return settled
    except ValueError as error:
        is_named = space in SPACES or str(error).startswith(space)
        raise ValueError(error if is_named else f"{space}: {error}") from None


def _resumed_study(options: argparse.Namespace) -> tuple[Study, dict[str, Any]]:
    """The study that lies in the folder; only --space may be named again."""
    kept = ("space", "results", "name", "address", "resume", "dry_run", "list")
    defaults = parser()
    changed = [name for name, value in vars(options).items() if value != defaults.get_default(name)]
    if changed := [name for name in changed if name not in kept]:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in changed)
        raise ValueError(f"--resume goes on with a study as it was asked for; leave out {named}")
    results = Path(options.results).absolute()
    folder = _newest(results) if options.name is None else preconditions.place_of(options.results, options.name)
    written = manifest.read(folder)
    space = space_from_dict(written["space"])
    if options.space and load_space(options.space).name != space.name:
        raise ValueError(
            f"{folder} is a study of space {space.name!r}, not {options.space!r}; --resume cannot change it"
        )
    if written["finished"]:
        raise ValueError(f"{folder} is finished; start another study, or renew its report: {_report_command(folder)}")
    config = TrialConfig.from_dict(manifest.config_of(written))
    for sentence in changes_since(config.code):
        print(f"code       {sentence}", file=sys.stderr)
    asked = Options.from_dict(written["options"])
    return Study(folder, space, config, asked), written


def _run(study: Study, written: dict[str, Any]) -> int:
    """Runs it, scores the best trial, writes manifest and report."""
    started = time.monotonic()
    run_study(study)
    budget_s = study.options.time_budget_s
    out_of_time = budget_s is not None and time.monotonic() - started >= budget_s
    outcomes = [json.loads(path.read_text())["outcome"] for path in study.folder.glob("*/outcome.json")]
    interrupted = len(outcomes) < study.num_trials and not out_of_time
    all_failed = bool(outcomes) and set(outcomes) <= set(RAISED)
    if not interrupted and not all_failed:
        interrupted = not _scored_best(study)
    ended = {"interrupted": True} if interrupted else {"finished": manifest.now()}
    manifest.write(study.folder, {**written, **ended})
    if interrupted:
        at = "" if study.folder.parent == Path("results").absolute() else f" --results {study.folder.parent}"
        print(f"interrupted; go on with: python -m study.run --resume --name {study.folder.name}{at}", file=sys.stderr)
    if all_failed:
        print("every trial failed; each outcome.json and the report say why", file=sys.stderr)
    cut = sum(outcome == "interrupted" for outcome in outcomes)
    if out_of_time and (cut or len(outcomes) < study.num_trials):
        never = study.num_trials - len(outcomes)
        print(
            f"the time budget of {budget_s:g} s ended the study: of {study.num_trials} trials {never} were never"
            f" started and {cut} were cut short",
            file=sys.stderr,
        )
    if num_broken := sum(outcome in BROKEN for outcome in outcomes):
        print(f"{num_broken} of {len(outcomes)} trials diverged or froze; the report says why", file=sys.stderr)
    _write_report(study.folder)
    return INTERRUPTED if interrupted else 1 if all_failed else 0


def _scored_best(study: Study) -> bool:
    """False where Ctrl-C ended it: a resume scores again."""
    try:
        _score_best(study)
    except KeyboardInterrupt:
        return False
    return True


def _score_best(study: Study) -> None:
    """The best trial's score on the test split, the only time it is looked at; with the weights of its best epoch."""
    metric = study.options.metric
    best = best_trial(study.folder, metric, study.options.mode)
    if best is None:
        print(f"no trial has a {metric} that counts, so there is none to test", file=sys.stderr)
        return
    name = best.folder.name
    print(f"scoring the best trial, {name}, on the test split", file=sys.stderr)
    try:
        score = test_score(checkpoint.find_best(best.folder))
    except (ValueError, OSError, RuntimeError) as error:
        print(f"the best trial could not be scored on the test split: {error}", file=sys.stderr)
        return
    chosen = {"trial": best.trial, "folder": name, "metric": metric, "value": best.score.value}
    manifest.write_json(study.folder / "test.json", {**chosen, **score})
    path = best.folder / "outcome.json"
    kind = json.loads(path.read_text())["outcome"] if path.is_file() else None
    later = f", {kind} later" if kind in BROKEN else ""
    print(
        f"test Dice {score['test_dice']:.4f} of the best trial, {name}"
        f" ({metric} {best.score.value:.4f} in epoch {best.score.epoch}{later})",
        file=sys.stderr,
    )


def _write_report(folder: Path) -> None:
    """The report, by a process of its own; the last two lines on stdout are its path and the study's."""
    written = subprocess.run([sys.executable, str(REPORT), str(folder)], stdout=subprocess.PIPE, text=True)
    if written.returncode != 0:
        print(f"the report was not written; try again with: {_report_command(folder)}", file=sys.stderr)
    print(folder / "report" / "report.html")
    print(folder)


def _report_command(folder: Path) -> str:
    return f"python analysis/report.py {folder}"


def _newest(results: Path) -> Path:
    """The study begun last; folders whose manifest cannot be read are passed over."""
    begun = {}
    for path in results.glob(f"*/{manifest.FILE}"):
        try:
            begun[path.parent] = manifest.read(path.parent)["created"]
        except (ValueError, KeyError) as error:
            said = error if isinstance(error, ValueError) else f"{path}: not a study's manifest (no {error})"
            print(f"passed over: {said}", file=sys.stderr)
    if not begun:
        raise FileNotFoundError(f"no study in {results}; --results names the folder that holds them")
    return max(begun, key=lambda folder: begun[folder])


if __name__ == "__main__":
    sys.exit(main())
