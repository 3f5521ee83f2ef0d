"""Layers' headroom from layers.jsonl."""

import json

import numpy as np

from analysis.load.layers import read_headroom


def written(folder, *rows):
    (folder / "layers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_headroom(folder, None)


def test_an_epoch_that_was_not_measured_keeps_its_place(tmp_path):
    rows = [{"epoch": epoch, "layer": "head", "activation_max": 2.0**10} for epoch in (1, 2, 5)]
    found = written(tmp_path, *rows)
    assert found.epochs == [1, 2, 3, 4, 5]
    assert np.isnan(found.bits[0]).tolist() == [False, False, True, True, False]


def test_a_value_that_was_not_recorded_is_no_overflow(tmp_path):
    found = written(tmp_path, {"epoch": 1, "layer": "a", "activation_max": None}, {"epoch": 1, "layer": "b"})
    assert found.bits[0].tolist() == [-np.inf]
    assert np.isnan(found.bits[1]).all()


def test_layers_of_which_nothing_was_measured_give_no_figure(tmp_path):
    assert written(tmp_path, {"epoch": 1, "layer": "a"}) is None
