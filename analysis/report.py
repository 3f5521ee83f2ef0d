"""A study's report: python analysis/report.py [RESULTS]

Reads the study's folder (finished, running, interrupted or partly broken) and writes RESULTS/report/:
report.html (one file, works offline), report.md, report.json, figures/*.png and *.svg, tables/*.csv.
"""

import argparse
import os
import sys
import time
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from analysis.load.folders import NotAStudy, is_study
from analysis.load.json_files import read_object
from analysis.load.metric import NoMetric
from analysis.load.modes import check_mode
from analysis.load.study import Study, load_study, read_study, state_of
from analysis.page import blocks
from analysis.page.comparability import comparability_gaps
from analysis.page.comparison_page import build_comparison, names_of
from analysis.page.files import write_page
from analysis.page.study_page import build

RESULTS = Path("results")
ABOUT = "Turn a study's folder into a report: what went well, what went wrong, where and under which settings."


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, 2 for bad input, 130 for Ctrl-C under --watch."""
    options = parser().parse_args(arguments)
    try:
        if options.compare:
            if options.results or options.watch is not None:
                raise NotAStudy("--compare takes the two folders itself, and no --watch")
            print(write_comparison(*map(existing, options.compare), options.metric, options.mode, options.out))
            return 0
        folder = existing(options.results or newest_study(RESULTS))
        if options.watch is not None:
            return watch(folder, options.watch, options.metric, options.mode, options.out)
        print(write_report(folder, options.metric, options.mode, out=options.out))
    except (NotAStudy, NoMetric, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    return 0


def existing(folder: Path) -> Path:
    """The folder, with its whole path. Raises NotAStudy where there is none."""
    if not folder.is_dir():
        raise NotAStudy(f"there is no folder {folder}")
    return folder.resolve()


def watch(folder: Path, every_s: float, metric: str | None, mode: str | None, out: Path | None) -> int:
    """Renews the report while the study runs; 0 when it has ended, 130 for Ctrl-C."""
    try:
        while True:
            runs = state_of(read_study(folder)[0]) == "running"
            print(write_report(folder, metric, mode, every_s if runs else None, out), flush=True)
            if not runs:
                return 0
            time.sleep(every_s)
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python analysis/report.py",
        description=ABOUT,
        epilog="The last line printed is the path of report.html. Exit code 2: no study.",
    )
    made.add_argument("--version", action="version", version=f"segstudy {version('segstudy')}")
    made.add_argument(
        "results",
        nargs="?",
        type=Path,
        metavar="RESULTS",
        help="a study's folder, e.g. results/upsample-20261123-190000; left out: the newest in ./results",
    )
    made.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A", "B"), help="two studies side by side, into A/report/compare_B/"
    )
    made.add_argument(
        "--watch",
        nargs="?",
        type=seconds,
        const=30.0,
        metavar="SECONDS",
        help="renew the report while the study runs, every 30 seconds or as many; the page reloads itself",
    )
    made.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where the report goes; default: RESULTS/report (a read-only study needs another place)",
    )
    made.add_argument("--metric", help="what to rank and compare by; default: what the study was asked for")
    made.add_argument("--mode", choices=("min", "max"), help="which of it is best; default: min for a loss, else max")
    return made


def seconds(text: str) -> float:
    """The number of --watch. Raises ArgumentTypeError for less than 1 second."""
    value = float(text)
    if not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} seconds; allowed: 1 or more")
    return value


def newest_study(results: Path) -> Path:
    """The study created last, by its study.json, or by the folder's time where that does not say.

    Raises NotAStudy where there is none.
    """
    studies = [folder for folder in sorted(results.iterdir()) if is_study(folder)] if results.is_dir() else []
    if not studies:
        raise NotAStudy(
            f"no study in {results.resolve()}: looked for folders with a study.json, or with trial folders"
            " (params.json or result.json); name a study's folder, or run one first"
        )
    return max(studies, key=created)


def created(folder: Path) -> float:
    """When a study was created, in seconds since 1970: by its study.json, else by its folder's time."""
    record, _ = read_object(folder / "study.json")
    try:
        return datetime.fromisoformat(record["created"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return folder.stat().st_mtime


def write_report(
    folder: Path,
    metric: str | None = None,
    mode: str | None = None,
    refresh_s: float | None = None,
    out: Path | None = None,
) -> Path:
    """Writes each file whole or not at all, the page last; returns the path of the page. out: not into report/."""
    study = load_study(folder, metric, mode)
    check_mode(study, mode)
    refuse_incomparable(metric, study)
    made, record = build(study)
    frames = {"trials": study.trials, "epochs": study.epochs}
    made = replace(made, refresh_s=refresh_s)
    if out is not None:
        made = replace(made, sections=[relinked(section, folder / "report", out) for section in made.sections])
    return write_page(out or folder / "report", "report", made, record, frames)


def write_comparison(
    one: Path, other: Path, metric: str | None = None, mode: str | None = None, out: Path | None = None
) -> Path:
    """Two studies side by side, into the first one's report or out; returns the path of the page."""
    first = load_study(one, metric, mode)
    check_mode(first, mode)
    second = load_study(other, metric, mode)
    refuse_incomparable(metric, first, second)
    made, record = build_comparison(first, second)
    name = names_of(one, other)[1].replace("/", "-")
    return write_page(out or one / "report" / f"compare_{name}", "compare", made, record, {})


def refuse_incomparable(metric: str | None, *studies: Study) -> None:
    """Raises NoMetric for a metric that is asked for though trials cannot be ranked by it."""
    if metric is not None and (gaps := comparability_gaps(metric, *studies)):
        raise NoMetric(f"--metric {metric}: {gaps[0]}")


def relinked(part: blocks.Section | blocks.Details, made_for: Path, out: Path) -> blocks.Section | blocks.Details:
    """The part with its links, which are relative to one folder, made relative to another."""
    inner = []
    for block in part.blocks:
        if isinstance(block, blocks.Link):
            block = replace(block, path=f"{os.path.relpath(made_for / block.path, out.resolve())}/")
        inner.append(relinked(block, made_for, out) if isinstance(block, blocks.Details) else block)
    return replace(part, blocks=inner)


if __name__ == "__main__":
    sys.exit(main())
