"""Crops in memory, and batches that neither workers nor history can change."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import SPLIT_SIZES, draw_face, write_rgb

from masktrain.augment import eval_transform, train_transform
from masktrain.data import (
    CLASSES,
    DataError,
    EpochSampler,
    count_data,
    eval_loader,
    load_crops,
    train_loader,
)
from masktrain.model import Preprocessing

PREPROCESSING = Preprocessing()


def batches(root: Path, workers: int, epoch: int, seed: int = 0) -> list[tuple[torch.Tensor, ...]]:
    """Return every training batch of an epoch."""
    crops = load_crops(root, "train")
    loader = train_loader(crops, train_transform(PREPROCESSING), 8, seed, workers)
    assert isinstance(loader.sampler, EpochSampler)
    loader.sampler.epoch = epoch
    return list(loader)


def same(a: list[tuple[torch.Tensor, ...]], b: list[tuple[torch.Tensor, ...]]) -> bool:
    """Return whether two epochs agree in every bit."""
    return len(a) == len(b) and all(
        torch.equal(x, y) for left, right in zip(a, b) for x, y in zip(left, right)
    )


def test_crops_keep_pixels_labels_and_names(tiny_data: Path) -> None:
    crops = load_crops(tiny_data, "train")
    size = SPLIT_SIZES["train"]
    assert crops.images.shape == (2 * size, 128, 128, 3) and crops.images.dtype == np.uint8
    assert crops.labels.tolist() == [0] * size + [1] * size
    assert crops.paths[0] == "train/no_mask/000.png"
    assert np.array_equal(crops.images[0], draw_face(0, masked=False))
    assert crops.skipped == () and crops.left_out == 0


def test_the_class_map_is_not_an_accident_of_sorting() -> None:
    assert CLASSES == ("no_mask", "wearing_mask", "worn_incorrectly")


def test_a_folder_without_splits_is_read_directly(tiny_data: Path) -> None:
    crops = load_crops(tiny_data / "val", None)
    assert len(crops) == 2 * SPLIT_SIZES["val"]
    assert crops.paths[0] == "no_mask/000.png"


def test_other_sizes_are_resized(tmp_path: Path) -> None:
    for label, side_px in (("no_mask", 400), ("wearing_mask", 50)):
        image = np.full((side_px, side_px, 3), (200, 30, 40), np.uint8)
        write_rgb(tmp_path / label / "a.png", image)
    images = load_crops(tmp_path, None).images
    assert images.shape == (2, 128, 128, 3)
    assert np.array_equal(np.unique(images.reshape(-1, 3), axis=0), [[200, 30, 40]])


def test_strange_files_are_converted_or_named(tiny_data: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_data / "val", tmp_path, dirs_exist_ok=True)
    bare = tmp_path / "no_mask"
    (bare / "empty.jpg").touch()
    (bare / "cut off ü.jpg").write_bytes(cv2.imencode(".jpg", draw_face(0, False))[1][:700])
    cv2.imwrite(str(bare / "grey.v2.png"), np.full((128, 128), 77, np.uint8))
    (bare / "notes.txt").write_text("not an image", encoding="utf-8")
    write_rgb(tmp_path / "worn_incorrectly" / "a.png", draw_face(1, masked=True))
    crops = load_crops(tmp_path, None)
    assert len(crops) == 2 * SPLIT_SIZES["val"] + 1
    assert sorted(path for path, _ in crops.skipped) == [
        "no_mask/cut off ü.jpg",
        "no_mask/empty.jpg",
    ]
    assert all("\n" not in reason for _, reason in crops.skipped)
    assert crops.left_out == 1


def test_wrong_folders_get_one_clear_line(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        load_crops(tmp_path / "nowhere", "train")
    shutil.copytree(tiny_data / "val" / "no_mask", tmp_path / "no_mask")
    with pytest.raises(DataError, match="has no folder wearing_mask"):
        load_crops(tmp_path, None)
    (tmp_path / "wearing_mask").mkdir()
    with pytest.raises(DataError, match=r"no readable image in .*wearing_mask"):
        load_crops(tmp_path, None)
    (tmp_path / "wearing_mask" / "a.jpg").touch()
    with pytest.raises(DataError, match=r"1 skipped; first: .*a.jpg"):
        load_crops(tmp_path, None)


def test_one_class_is_enough_where_the_caller_says_so(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no readable image"):
        load_crops(tmp_path, None, need_all=False)
    shutil.copytree(tiny_data / "val" / "no_mask", tmp_path / "no_mask")
    assert set(load_crops(tmp_path, None, need_all=False).labels) == {0}


def test_batches_are_the_same_bytes_for_0_and_2_workers(tiny_data: Path) -> None:
    assert same(batches(tiny_data, 0, epoch=3), batches(tiny_data, 2, epoch=3))


def test_batches_depend_on_seed_and_epoch_and_nothing_else(tiny_data: Path) -> None:
    first = batches(tiny_data, 0, epoch=1)
    torch.rand(7)  # a different past
    assert same(first, batches(tiny_data, 0, epoch=1))
    assert not same(first, batches(tiny_data, 0, epoch=2))
    assert not same(first, batches(tiny_data, 0, epoch=1, seed=1))


def test_workers_that_live_on_see_the_next_epoch(tiny_data: Path) -> None:
    crops = load_crops(tiny_data, "train")
    loader = train_loader(crops, train_transform(PREPROCESSING), 8, 0, workers=1)
    assert isinstance(loader.sampler, EpochSampler)
    for epoch in (1, 2):
        loader.sampler.epoch = epoch
        assert same(list(loader), batches(tiny_data, 0, epoch))


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_does_not_disturb_the_generator_of_training(tiny_data: Path, workers: int) -> None:
    crops = load_crops(tiny_data, "val")
    augmented = train_loader(crops, train_transform(PREPROCESSING), 4, 0, workers)
    plain = eval_loader(crops, eval_transform(PREPROCESSING), 4, workers)
    before = torch.get_rng_state()
    for loader in (augmented, plain):
        list(loader)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_shows_every_crop_once() -> None:
    sampler = EpochSampler(100, seed=0)
    sampler.epoch = 4
    keys = list(sampler)
    assert {epoch for epoch, _ in keys} == {4}
    indices = [index for _, index in keys]
    assert sorted(indices) == list(range(100)) and indices != list(range(100))


def test_a_short_last_batch_is_dropped_in_training_unless_it_is_the_only_one(
    tiny_data: Path,
) -> None:
    crops = load_crops(tiny_data, "train")
    transform = eval_transform(PREPROCESSING)
    assert len(train_loader(crops, transform, 10, 0)) == 3
    assert len(train_loader(crops, transform, 100, 0)) == 1


def test_evaluation_shows_every_crop_in_order(tiny_data: Path) -> None:
    crops = load_crops(tiny_data, "val")
    found = list(eval_loader(crops, eval_transform(PREPROCESSING), 5))
    assert torch.cat([indices for _, _, indices in found]).tolist() == list(range(len(crops)))
    assert torch.cat([labels for _, labels, _ in found]).tolist() == crops.labels.tolist()
    assert found[0][0].shape == (5, 3, 112, 112)


def test_counts_come_from_folders_and_manifest(tiny_data: Path, tmp_path: Path) -> None:
    counts = {(c.split, c.label): c for c in count_data(tiny_data)}
    assert counts["train", "no_mask"].crops == SPLIT_SIZES["train"]
    assert counts["train", "wearing_mask"].identities == SPLIT_SIZES["train"] // 2
    shutil.copytree(tiny_data / "val", tmp_path / "val")
    without = {(c.split, c.label): c for c in count_data(tmp_path)}
    assert without["val", "no_mask"].identities is None
    assert without["test", "no_mask"].crops == 0
