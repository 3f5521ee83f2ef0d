"""A file is there whole or not at all, and what it held before stays until then."""

import pytest

from trials.numerics.whole_files import replacement, write_whole


def test_what_is_written_takes_the_place_of_what_was_there(tmp_path):
    (tmp_path / "a.json").write_text("before")
    write_whole(tmp_path / "a.json", "später")
    assert (tmp_path / "a.json").read_bytes() == "später".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_writing_that_is_broken_off_leaves_what_was_there(tmp_path):
    def break_off() -> None:
        with replacement(tmp_path / "a.json") as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    (tmp_path / "a.json").write_text("before")
    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "before")]
