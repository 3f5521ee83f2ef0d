"""What the plan says against what a run takes."""

import subprocess
import sys
from pathlib import Path

import pytest

from search_spaces import Choice, Space
from study.options import Options
from study.planning import num_better_epochs, plan
from study.trainable import _checkpoint_of
from trials.config import TrialConfig
from trials.training import run


def planned(config: TrialConfig, **options):
    """The plan of one trial of this configuration."""
    space = Space(name="s", question="?", axes={"lr": Choice((config.lr,))}, baseline={"lr": config.lr})
    asked = dict(
        preset="quick",
        search="random",
        scheduler="none",
        samples=1,
        seeds=1,
        metric="val_dice",
        time_budget_s=None,
        concurrent=1,
        cpus_per_trial=1,
        gpus_per_trial=None,
    )
    return plan(space, config, Options(**{**asked, **options}), 1)


def size(place: Path) -> int:
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def written_since(out: Path, before: dict) -> tuple[int, dict]:
    """Bytes of the files in `out` that are new since, or grew; and what there is now."""
    now = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in out.rglob("*") if path.is_file()}
    changed = [path for path, seen in now.items() if before.get(path) != seen]
    return sum(now[path][1] for path in changed if path.suffix != ".jsonl"), now


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """A run of six epochs: its configuration, its folder, and the bytes that it and Ray's copies wrote."""
    out = tmp_path_factory.mktemp("trained") / "run"
    config = tiny(width=16, epochs=6, checkpoint_every=3)
    written, seen = 0, {}
    for metrics in run(config, out=out):
        own, seen = written_since(out, seen)
        kept = _checkpoint_of(out, metrics)
        written += own + (size(Path(kept.path)) if kept else 0)
    return config, out, written


def test_a_trial_writes_no_more_than_planned_and_at_least_half_of_it(trained):
    config, _, written = trained
    assert planned(config).trial.written / 2 < written <= planned(config).trial.written


def test_a_trial_leaves_no_more_than_planned_and_at_least_two_thirds_of_it(trained):
    config, out, _ = trained
    assert planned(config).trial.kept * 2 / 3 < size(out) <= planned(config).trial.kept


def test_a_capsule_is_no_larger_than_planned_and_at_least_a_fifth_of_it(tiny, tmp_path):
    config = tiny(width=16, lr=1e30, schedule="constant")  # one state of three: it has no first sign
    list(run(config, out=tmp_path))
    capsule = planned(config).trial.capsule
    assert capsule / 5 < size(tmp_path / "capsule") <= capsule


PEAK = """
import re, sys
from pathlib import Path
from trials.config import TrialConfig
from trials.training import run
import ray  # as a worker has
values = eval(sys.argv[1])
list(run(TrialConfig.from_dict(values)))
status = Path("/proc/self/status").read_text()  # getrusage would count the process that this one was forked from
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) * 1024)
"""


def test_a_trial_takes_no_more_memory_than_planned_and_at_least_half_of_it(tiny):
    config = tiny(width=64, epochs=1, train_limit=8)
    ran = subprocess.run([sys.executable, "-c", PEAK, repr(config.to_dict())], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    memory = planned(config).trial.memory
    assert memory / 2 < int(ran.stdout) <= memory


def test_the_prepared_pictures_count_as_missing_until_they_are_there(tiny):
    config = tiny(image_size=16)
    assert planned(config).cache_missing_bytes == planned(config).cache_bytes == 1408 * 16 * 16 * 4
    next(run(config))
    assert planned(config).cache_missing_bytes == 0


def test_the_reports_preset_writes_a_third_of_what_a_state_at_every_epoch_would(tiny):
    report = tiny(width=64, image_size=256, epochs=200, batch_size=32)
    often = planned(TrialConfig.from_dict({**report.to_dict(), "checkpoint_every": 1}))
    assert planned(report).trial.save_interval == 10
    assert planned(report).trial.written < often.trial.written / 3


def test_a_short_run_is_better_at_every_epoch_and_a_long_one_at_few():
    assert [num_better_epochs(epochs) for epochs in (1, 9, 200)] == [1, 9, 43]


def test_a_disk_and_a_memory_that_are_too_small_are_named(tiny, tmp_path):
    config = tiny(width=1024, image_size=1024, batch_size=8)
    said = " ".join(planned(config).shortages(tmp_path))
    assert "GB of memory" in said
    assert "would be needed" in said
