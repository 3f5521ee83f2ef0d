"""A mode that contradicts the metric is refused."""

from dataclasses import replace

import pytest
from analysis_fixtures import completed, write_study

from analysis import report
from analysis.load.contract import MODES
from study.command_line import parser
from study.run import _new_study


def test_the_modes_are_those_that_the_search_has():
    asked = _new_study(parser().parse_args(["--space", "smoke"]))[0].options
    (metrics,) = (action.choices for action in parser()._actions if action.dest == "metric")
    assert {metric: replace(asked, metric=metric).mode for metric in metrics} == MODES


@pytest.mark.parametrize("metric", ["val_dice", "val_loss"])
def test_a_mode_that_contradicts_the_metric_is_refused(tmp_path, capsys, metric):
    folder = write_study(tmp_path, [completed([0.5]), completed([0.9])])
    wrong = {"max": "min", "min": "max"}[MODES[metric]]
    assert report.main([str(folder), "--metric", metric, "--mode", wrong]) == 2
    assert f"--mode {wrong}: the " in capsys.readouterr().err
    assert not (folder / "report").exists()
