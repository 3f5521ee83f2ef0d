"""What a study does around Ray: files alone, no Ray."""

import pytest

from study.launch import checkpoint_places_held


def checkpoint(folder, number):
    place = folder / f"checkpoint_{number:06d}"
    place.mkdir(parents=True)
    (place / "last.pt").write_bytes(b"state")


def names(folder):
    return sorted(path.name for path in folder.glob("*/checkpoint_*"))


def test_places_of_older_checkpoints_are_held_while_a_study_is_resumed(tmp_path):
    checkpoint(tmp_path / "a", 2)
    with checkpoint_places_held(tmp_path):
        assert names(tmp_path) == ["checkpoint_000000", "checkpoint_000001", "checkpoint_000002"]
    assert names(tmp_path) == ["checkpoint_000002"]


def test_held_places_are_gone_after_an_error_too(tmp_path):
    checkpoint(tmp_path / "a", 1)
    with pytest.raises(RuntimeError, match="no such record"), checkpoint_places_held(tmp_path):
        raise RuntimeError("no such record")
    assert names(tmp_path) == ["checkpoint_000001"]


def test_no_place_is_held_for_a_trial_that_has_ended(tmp_path):
    checkpoint(tmp_path / "a", 2)
    (tmp_path / "a/outcome.json").write_text("{}")
    with checkpoint_places_held(tmp_path):
        assert names(tmp_path) == ["checkpoint_000002"]
