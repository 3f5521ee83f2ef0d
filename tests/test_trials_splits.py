"""A user's own split of a folder, and names that look grouped."""

from collections import Counter
from pathlib import Path

import pytest

from trials.config import TrialConfig
from trials.parts import describe, prepared_data


def config_of(root: Path, **changed) -> TrialConfig:
    fields = {"data": "folder", "data_root": str(root), "image_size": 32, "batch_size": 4, "split_file": "split.csv"}
    return TrialConfig.from_dict({**fields, **changed})


def split_of(root: Path, **changed) -> dict[str, str]:
    prepared = prepared_data(config_of(root, **changed))
    return dict(zip(prepared.names, prepared.splits.tolist(), strict=True))


def refusal(root: Path, content: str) -> str:
    (root / "split.csv").write_text(content)
    with pytest.raises(ValueError) as raised:
        prepared_data(config_of(root))
    return str(raised.value)


def write_rows(root: Path, header: str, rows: list[str]) -> None:
    (root / "split.csv").write_text("\n".join([header, *rows]) + "\n")


def renamed(root: Path, new_name) -> None:
    for part in ("images", "masks"):
        for number in range(20):
            (root / part / f"pet_{number:02d}.png").rename(root / part / f"{new_name(number)}.png")


def test_a_users_split_is_taken(own_pairs):
    wanted = {f"pet_{number:02d}": ("train", "val", "test")[number % 3] for number in range(20)}
    write_rows(own_pairs, "name,split", [f"{name},{split}" for name, split in wanted.items()])
    assert split_of(own_pairs) == wanted


def test_a_split_saved_by_a_spreadsheet_is_taken(own_pairs):
    rows = "".join(f"PET_{n:02d}.png;{'Val' if n % 2 else 'TRAIN'}\r\n".replace("PET", "pet") for n in range(20))
    (own_pairs / "split.csv").write_bytes(("\ufeffName;Split\r\n" + rows).encode())
    assert Counter(split_of(own_pairs).values()) == {"train": 10, "val": 10}


def test_a_split_may_lie_elsewhere(own_pairs, tmp_path):
    (tmp_path / "mine.csv").write_text("name,split\npet_00,train\npet_01,val\n")
    assert split_of(own_pairs, split_file=str(tmp_path / "mine.csv")) == {"pet_00": "train", "pet_01": "val"}


@pytest.mark.parametrize("sizes", [[4] * 5, [12, 5, 3], [1] * 20, [17, 1, 1, 1], [9, 9, 2]])
def test_a_group_is_on_one_side_and_each_split_has_one(own_pairs, sizes):
    groups = [f"patient{index}" for index, size in enumerate(sizes) for _ in range(size)]
    write_rows(own_pairs, "name,group", [f"pet_{number:02d},{group}" for number, group in enumerate(groups)])
    split = split_of(own_pairs)
    sides = {group: {split[f"pet_{n:02d}"] for n, g in enumerate(groups) if g == group} for group in groups}
    assert all(len(side) == 1 for side in sides.values())
    counts = Counter(split.values())
    assert set(counts) == {"train", "val", "test"}
    assert counts["train"] == max(counts.values())


def test_another_split_is_prepared_anew(own_pairs):
    write_rows(own_pairs, "name,split", [f"pet_{number:02d},train" for number in range(20)])
    before = split_of(own_pairs)
    write_rows(own_pairs, "name,split", [f"pet_{number:02d},{'test' if number else 'val'}" for number in range(20)])
    assert before != split_of(own_pairs)


def test_names_that_are_missing_or_unknown_are_said(own_pairs):
    write_rows(own_pairs, "name,split", ["pet_00,train", "pet_01,val", "pet_99,train"])
    notes = "\n".join(describe(config_of(own_pairs, batch_size=1))["notes"])
    assert "1 names of split.csv are no pair in images/ and masks/: pet_99" in notes
    assert "18 pairs are not in split.csv and are not used: pet_02, pet_03" in notes


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name,split\npet_00,train\npet_01,holdout\n", "line 3 has split='holdout'; allowed: train, val, test"),
        ("name,split\npet_00,train\npet_01\n", "line 3 has no split"),
        ("name,split\npet_00,train\n\npet_00,val\n", "lines 2 and 4 give 'pet_00' differently"),
        ("file,part\npet_00,train\n", "line 1 is 'file,part'; it is a CSV with a first line `name,split`"),
        ("", "line 1 is ''; it is a CSV"),
        ("name,split\n", "no line after the first"),
        ("name,split\ncat,train\n", "names none of the 20 pictures; it has cat, they are pet_00"),
        ("name,group\npet_00,a\npet_01,b\n", "2 groups; train, val and test need one each"),
        (
            "name,split,group\npet_00,train,a\npet_01,val,b\npet_02,val,a\n",
            "lines 2 and 4 have group 'a' in train and in val",
        ),
    ],
)
def test_a_wrong_split_is_refused_with_its_line(own_pairs, content, said):
    assert said in refusal(own_pairs, content)


def test_a_split_that_is_not_there_is_named(own_pairs):
    with pytest.raises(FileNotFoundError, match=r"split_file: no file .*own/split.csv"):
        prepared_data(config_of(own_pairs))


def test_a_split_that_is_no_text_is_named(own_pairs):
    (own_pairs / "split.csv").write_bytes(b"name,split\n\xff\xfe,train")
    with pytest.raises(ValueError, match=r"split.csv: not text in UTF-8"):
        prepared_data(config_of(own_pairs))


@pytest.mark.parametrize(
    "new_name",
    [
        lambda number: f"patient{number // 5:03d}_slice{number % 5:02d}",
        lambda number: f"{number // 4}-{number % 4}",
        lambda number: f"{'abcd'[number % 4]}_frame_{number // 4:03d}",
    ],
)
def test_names_that_look_grouped_are_said(own_pairs, new_name):
    renamed(own_pairs, new_name)
    (note,) = describe(config_of(own_pairs, split_file=""))["notes"]
    assert "the names look like " in note
    assert "--set split_file=FILE takes a CSV" in note


@pytest.mark.parametrize("new_name", [lambda number: f"cat_{number}", lambda number: f"ISIC_{number:07d}_0"])
def test_names_that_do_not_look_grouped_are_let_be(own_pairs, new_name):
    renamed(own_pairs, new_name)
    assert describe(config_of(own_pairs, split_file=""))["notes"] == []
