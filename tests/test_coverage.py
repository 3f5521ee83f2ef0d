"""benchmarks/coverage.py: its short way gives the report's own intervals, and it goes on where it stopped."""

import json
import sys

import numpy as np
import pytest

from benchmarks import coverage

KINDS = {  # of each kind one row, small
    "lost": ("30% of pairs lost at random", 8, 3, "Dice"),
    "started": ("30 % of a's runs diverge, 10 % of b's", 8, 5, "Dice as started"),
    "settings": ("40% of a's and 15% of b's runs diverge", 8, 3, "divergence"),
    "seeds": ("40% of a's and 15% of b's runs diverge", 2, 5, "divergence"),
    "drawn": ("random search, 3 seeds a configuration", 0, 5, "Dice"),
    "drawn shares": ("random search, 3 seeds a configuration, 30% of runs diverge", 0, 5, "divergence"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_short_way_gives_the_intervals_of_compare(kind):
    (row,) = [row for row in coverage.rows() if (row.name, row.settings, row.num, row.of) == KINDS[kind]]
    row.check(np.random.default_rng(3), row)  # raises where they differ


def test_rows_that_are_in_the_file_are_not_run_again(tmp_path, monkeypatch, capsys):
    path = tmp_path / "rows.jsonl"
    monkeypatch.setattr(
        sys, "argv", ["coverage.py", "--studies", "2", "--only", "three levels", "--out", str(path), "--json"]
    )
    coverage.main()
    first = path.read_text()
    coverage.main()
    assert path.read_text() == first
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines[: len(lines) // 2]] == [json.loads(line) for line in first.splitlines()]
