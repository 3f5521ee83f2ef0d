"""The cache of prepared pictures where its disk is full."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PREPARE = """
import resource, sys
from trials.train import main
limit = int(sys.argv[1])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
arguments = ["--data", "folder", "--data-root", sys.argv[2], "--set", "image_size=256", "--set", "batch_size=4"]
sys.exit(main([*arguments, "--out", sys.argv[3]]))
"""


def train(own_pairs: Path, cache: Path, out: Path, file_size_limit: int = 0) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", PREPARE, str(file_size_limit), str(own_pairs), str(out)],
        env={**os.environ, "SEGSTUDY_CACHE": str(cache)},
        capture_output=True,
        text=True,
    )


def check_refusal(ended: subprocess.CompletedProcess, cache: Path, out: Path) -> None:
    assert ended.returncode == 2, ended.stderr
    assert f"the prepared pictures, 5.2 MB, cannot be written to {cache}" in ended.stderr
    assert "name another folder in $SEGSTUDY_CACHE" in ended.stderr
    assert not out.exists()
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []  # nothing half-made is left


def test_a_cache_that_may_not_grow_is_named(own_pairs, tmp_path):
    ended = train(own_pairs, tmp_path / "cache", tmp_path / "out", file_size_limit=1_000_000)
    check_refusal(ended, tmp_path / "cache", tmp_path / "out")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MB, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_under_the_cache_is_named(own_pairs, small_disk, tmp_path):
    check_refusal(train(own_pairs, small_disk, tmp_path / "out"), small_disk, tmp_path / "out")
