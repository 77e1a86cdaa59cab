"""Nobody and no photo stands in two splits, under whatever names; a planted leak is found."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from MaskTheFace.manifest import ManifestRow
from masktrain.face_model import FaceModel
from masktrain.faces import fingerprint, first_copies
from masktrain.leaks import drop_copies, find_leaks

LABELS = ("no_mask", "wearing_mask")


def twins(name: str, split: str, code: int, identity: str = "") -> list[ManifestRow]:
    """Return the two rows of a photo; photos of equal codes are copies of each other."""
    picture = np.random.default_rng(code).bytes(32).hex()
    return [
        ManifestRow(
            path=f"{split}/{label}/{name}.jpg",
            source=f"{name}.png",
            split=split,
            label=label,
            identity=identity or name,
            fingerprint=picture,
        )
        for label in LABELS
    ]


def test_what_is_split_by_person_has_no_leak() -> None:
    rows = [*twins("a", "train", 1, "ann"), *twins("b", "train", 2, "ann"), *twins("c", "test", 3)]
    assert find_leaks(rows) == []


@pytest.mark.parametrize("column", ["identity", "source", "fingerprint"])
def test_a_planted_leak_is_found(column: str) -> None:
    train, test = twins("a", "train", 1)[0], twins("b", "test", 2)[0]
    planted = dataclasses.replace(test, **{column: getattr(train, column)})
    what = "identity a" if column == "identity" else "photo a.png"
    assert find_leaks([train, planted]) == [f"{what} is in train and in test ({planted.source})"]


def test_what_gave_no_crop_cannot_leak() -> None:
    train, test = twins("a", "train", 1)[0], twins("b", "test", 1)[0]
    assert find_leaks([train, dataclasses.replace(test, path="")]) == []


def test_later_copies_lose_their_crops_and_say_why(tmp_path: Path) -> None:
    rows = [*twins("a", "train", 1), *twins("b", "test", 2), *twins("copy", "test", 1)]
    for row in rows:
        path = tmp_path / row.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    kept = drop_copies(rows, tmp_path, "no_mask")
    assert kept[:4] == rows[:4] and not find_leaks(kept)
    (left,) = kept[4:]
    assert (left.source, left.path, left.label, left.status) == ("copy.png", "", "", "skipped")
    assert left.reason == "a copy of a.png; nothing to do"
    assert {path.stem for path in tmp_path.rglob("*.jpg")} == {"a", "b"}


def test_a_photo_encoded_again_is_a_copy_and_another_face_is_not() -> None:
    images = [FaceModel.load().sample(np.random.default_rng(seed))[0] for seed in range(20)]
    again = [cv2.imdecode(cv2.imencode(".jpg", i, [1, 80])[1], 1) for i in images]
    codes = [fingerprint(image) for image in [*images, *again]]
    assert len(set(codes)) > 20
    assert first_copies(codes) == [*range(20), *range(20)]
