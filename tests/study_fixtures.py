"""Starts the command as a user does, in a process of its own, and reads what a study leaves."""

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil

SMOKE = ["--space", "smoke"]
PATIENCE_S = 900  # a machine that others use as well may take ten times as long as a quiet one


def study(results: Path, *arguments: str, **popen) -> subprocess.Popen:
    command = [sys.executable, "-m", "study.run", "--results", str(results), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, start_new_session=True, **popen)


def finish(process: subprocess.Popen) -> tuple[int, list[str], str]:
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        kill_all(process.pid)
        raise
    return process.returncode, out.splitlines(), err


def wait_for(condition, seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def kill_all(pid: int) -> None:
    """As a machine that loses its power: the command and all that it started, Ray's servers and workers."""
    command = psutil.Process(pid)
    for started in [command, *command.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            started.kill()


def outcomes(folder: Path) -> list[str]:
    return sorted(json.loads(path.read_text())["outcome"] for path in folder.glob("*/outcome.json"))


def trials_of(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/params.json"))


def lines(trial: Path) -> list[dict]:
    return [json.loads(line) for line in (trial / "result.json").read_text().splitlines()]
