"""Sources, the prepared cache and the loaders."""

import multiprocessing
import shutil
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trials.config import TrialConfig
from trials.data import loader
from trials.data.loader import split_indices, to_batch, written_masks
from trials.data.sources import pets
from trials.parts import build_augment, describe, prepared_data, train_loader

CPU = torch.device("cpu")


def folder_config(root: Path, **changed) -> TrialConfig:
    fields = {"data": "folder", "data_root": str(root), "image_size": 32, "batch_size": 4, "augment": "none"}
    return TrialConfig.from_dict({**fields, **changed})


def epoch_of(config: TrialConfig, epoch: int) -> list[torch.Tensor]:
    return [batch.images for batch in train_loader(config, prepared_data(config), CPU).batches(epoch)]


def test_pets_are_split_as_settled(pets_root):
    assert Counter(pets(pets_root).splits) == {"train": 3312, "val": 368, "test": 3669}


def test_empty_lists_of_pets_are_named(tmp_path):
    folder = tmp_path / "oxford-iiit-pet/annotations"
    folder.mkdir(parents=True)
    (folder / "trainval.txt").write_text("")
    with pytest.raises(ValueError, match=r"trainval.txt names no picture"):
        prepared_data(TrialConfig(data="pets", data_root=str(tmp_path)))


def test_an_own_folder_must_be_named():
    with pytest.raises(ValueError, match=r"data=folder needs data_root"):
        prepared_data(TrialConfig(data="folder"))


def test_every_tenth_trainval_name_is_validation(pets_root):
    source = pets(pets_root)
    listed = (Path(pets_root) / "oxford-iiit-pet/annotations/trainval.txt").read_text().split("\n")[:3680]
    expected = [line.split()[0] for index, line in enumerate(listed) if index % 10 == 0]
    assert [name for name, split in zip(source.names, source.splits, strict=True) if split == "val"] == expected


def test_the_data_root_may_be_the_data_sets_own_folder(pets_root):
    own, above = (pets(root) for root in (f"{pets_root}/oxford-iiit-pet", pets_root))
    assert own.names == above.names


def test_a_wrong_data_root_is_answered_with_what_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no oxford-iiit-pet/annotations/trainval.txt below data_root"):
        pets(str(tmp_path))


def test_missing_pets_are_named(pets_root, tmp_path):
    shutil.copytree(f"{pets_root}/oxford-iiit-pet/annotations", tmp_path / "oxford-iiit-pet/annotations")
    with pytest.raises(FileNotFoundError, match=r"7349 files of the data set are missing: .*Abyssinian_100.jpg"):
        pets(str(tmp_path))


def test_a_folder_is_matched_by_name(own_pairs):
    prepared = prepared_data(folder_config(own_pairs))
    assert prepared.names[:2] == ("pet_00", "pet_01")
    assert Counter(prepared.splits.tolist()) == {"train": 16, "val": 2, "test": 2}


def test_pictures_without_a_mask_are_named(own_pairs):
    (own_pairs / "masks/pet_03.png").unlink()
    with pytest.raises(FileNotFoundError, match="no partner of the same name: pet_03"):
        prepared_data(folder_config(own_pairs))


def test_every_unreadable_file_is_named(own_pairs):
    (own_pairs / "images/pet_03.png").write_bytes(b"not a picture")
    whole = (own_pairs / "masks/pet_05.png").read_bytes()
    (own_pairs / "masks/pet_05.png").write_bytes(whole[:60])  # cut short within its data
    with pytest.raises(ValueError, match=r"(?s)2 of 20 pairs cannot be used.*images/pet_03.png.*masks/pet_05.png"):
        prepared_data(folder_config(own_pairs))


def test_a_mask_of_other_values_is_refused_with_them(own_pairs):
    Image.fromarray(np.array([[0, 7], [7, 9]], np.uint8)).resize((48, 60), 0).save(own_pairs / "masks/pet_00.png")
    with pytest.raises(ValueError, match=r"pet_00.png: mask values 0, 7, 9"):
        prepared_data(folder_config(own_pairs))


def test_a_mask_of_another_size_is_refused(own_pairs):
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(own_pairs / "masks/pet_00.png")
    with pytest.raises(ValueError, match=r"pet_00.png is \(60, 48\) px, its mask .* is \(5, 5\) px"):
        prepared_data(folder_config(own_pairs))


def test_a_limit_beyond_the_split_is_refused(own_pairs):
    with pytest.raises(ValueError, match="val_limit=5, but the val split has 2 images"):
        describe(folder_config(own_pairs, val_limit=5))


def test_an_empty_split_is_refused(own_pairs):
    for number in range(1, 20):
        for part in ("images", "masks"):
            (own_pairs / part / f"pet_{number:02d}.png").unlink()
    with pytest.raises(ValueError, match="the train split is empty: 1 pairs in all"):
        describe(folder_config(own_pairs))


def test_a_batch_beyond_the_data_is_refused(own_pairs):
    with pytest.raises(ValueError, match="batch_size=17, but there are 16 training images"):
        describe(folder_config(own_pairs, batch_size=17))


def test_the_description_says_the_source_size(own_pairs):
    assert describe(folder_config(own_pairs))["source_size_px"] == [50, 49]  # the median of 40 x 50 and 60 x 48


def test_the_cache_is_built_once(own_pairs, cache):
    config = folder_config(own_pairs)
    built = []
    for _ in range(2):
        prepared_data(config)
        built.append({path: path.stat().st_ino for path in cache.glob("folder-32px-*/images.npy")})
    assert built[0] == built[1]


def test_a_changed_picture_is_prepared_anew(own_pairs):
    config = folder_config(own_pairs)
    before = np.array(prepared_data(config).images_NHWC[0])
    Image.fromarray(np.zeros((60, 48, 3), np.uint8)).save(own_pairs / "images/pet_00.png")
    assert not np.array_equal(prepared_data(config).images_NHWC[0], before)


def test_several_processes_build_one_cache(own_pairs, cache):
    config = folder_config(own_pairs, image_size=80)
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        sums = list(pool.map(_sum_of_images, [config] * 4))
    assert len(set(sums)) == 1
    assert len(list(cache.glob("folder-80px-*[0-9a-f]"))) == 1
    assert not list(cache.glob(".folder-80px-*"))


def _sum_of_images(config: TrialConfig) -> int:
    return int(prepared_data(config).images_NHWC.sum())


def test_the_train_limit_takes_the_same_pictures_under_every_seed(tiny):
    prepared = prepared_data(tiny())
    assert np.array_equal(split_indices(prepared, "train", 10), split_indices(prepared, "train", 10))
    assert len(split_indices(prepared, "train", 10)) == 10


@pytest.mark.parametrize(
    ("border", "targets", "valid"),
    [("pet", [1, 0, 1], [1, 1, 1]), ("background", [1, 0, 0], [1, 1, 1]), ("ignore", [1, 0, 0], [1, 1, 0])],
)
def test_the_border_counts_as_the_setting_says(border, targets, valid):
    trimaps = torch.tensor([[[1, 2, 3]]], dtype=torch.uint8)
    batch = to_batch(torch.zeros(1, 1, 3, 3, dtype=torch.uint8), trimaps, border, CPU)
    assert batch.targets.flatten().tolist() == targets
    assert batch.valid.flatten().tolist() == valid


def test_ignored_pixels_are_written_as_255():
    assert written_masks(np.array([[[1, 2, 3]]], np.uint8), "ignore").flatten().tolist() == [1, 0, 255]


def test_images_are_normalised_by_imagenets_statistics():
    batch = to_batch(
        torch.full((1, 2, 2, 3), 255, dtype=torch.uint8), torch.ones(1, 2, 2, dtype=torch.uint8), "pet", CPU
    )
    expected = [(1 - mean) / std for mean, std in zip(loader.IMAGENET_MEAN, loader.IMAGENET_STD, strict=True)]
    assert batch.images[0, :, 0, 0].tolist() == pytest.approx(expected, rel=1e-5)


def test_an_epoch_holds_each_training_picture_once(tiny):
    config = tiny(augment="none", batch_size=5)
    prepared = prepared_data(config)
    loader = train_loader(config, prepared, CPU)
    keys = [key for batch in loader._order for key in batch]
    assert sorted(index for _, index in keys) == loader.indices.tolist()
    assert len(loader) == 7


def test_an_epoch_is_never_longer_than_the_data(tiny):
    config = tiny(images_per_epoch=1000)
    assert len(train_loader(config, prepared_data(config), CPU)) == 4


def test_shorter_epochs_pass_over_all_pictures_before_one_comes_again(tiny):
    config = tiny(augment="none", images_per_epoch=12)
    loader = train_loader(config, prepared_data(config), CPU)
    indices = []
    for epoch in range(1, 9):  # 96 images: three passes over 32
        loader._order.epoch = epoch
        indices += [index for batch in loader._order for _, index in batch]
    for start in (0, 32, 64):
        assert sorted(indices[start : start + 32]) == loader.indices.tolist()


@pytest.mark.parametrize("augment", ["flip", "lab2"])
def test_augmentation_is_the_same_whatever_the_number_of_workers(tiny, augment):
    alone = epoch_of(tiny(augment=augment), 1)
    with warnings.catch_warnings():
        # Python 3.12 warns of fork in a process with threads; the loader's workers touch none of torch's
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        helped = epoch_of(tiny(augment=augment, num_workers=2), 1)
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))


@pytest.mark.parametrize("augment", ["flip", "lab2"])
def test_augmentation_is_different_every_epoch(tiny, augment):
    config = tiny(augment=augment, train_limit=8, batch_size=8)
    loader = train_loader(config, prepared_data(config), CPU)
    first, second = (next(iter(loader.batches(epoch))).images for epoch in (1, 2))
    same = [any(torch.equal(a, b) for b in second) for a in first]
    assert sum(same) < len(same)


def test_the_reports_augmentation_keeps_trimaps_trimaps(tiny):
    config = tiny(augment="lab2", border="ignore")
    for batch in train_loader(config, prepared_data(config), CPU).batches(1):
        assert set(batch.targets.unique().tolist()) <= {0, 1}


def test_image_and_mask_are_moved_together(tiny):
    config = tiny(augment="lab2", blur_p=0, elastic_p=1, elastic_alpha=20.0, elastic_sigma=5.0)
    augment = build_augment(config)
    trimap = np.full((32, 32), 2, np.uint8)
    trimap[8:20, 10:24] = 1
    image = np.repeat((trimap == 1)[..., None], 3, axis=2).astype(np.uint8) * 255
    for seed in range(20):
        moved, mask = augment(image, trimap, seed)
        agree = (moved[..., 0] > 127) == (mask == 1)
        assert agree.mean() > 0.93  # what differs is the interpolated rim
