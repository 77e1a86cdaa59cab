"""YOLO, COCO and landmark files say where each face is, in the pixels of its picture."""

import json
from pathlib import Path

import numpy as np
import pytest

from MaskTheFace.annotations import (
    CLASSES,
    coco,
    face_box,
    landmarks_csv,
    pictures,
    write_coco,
    write_yolo,
    yolo_lines,
)
from MaskTheFace.landmarks import CANONICAL, read_landmarks
from MaskTheFace.manifest import ManifestRow
from MaskTheFace.points import EDGES, NAMES


def face_row(xy: np.ndarray, path: str = "images/a_cloth.jpg", **values: str) -> ManifestRow:
    points = " ".join(map(str, np.asarray(xy, np.float32).ravel()))
    known = {"label": "wearing_mask", "template": "cloth_wide", "hidden": "0" * 34 + "1" * 34}
    known |= {"path": path, "source": "a.jpg", "size_wh": "200 100", "points": points}
    return ManifestRow(**{**known, **values})


def test_every_point_has_a_name_and_edges_join_points_of_one_part() -> None:
    assert len(NAMES) == len(set(NAMES)) == 68
    assert NAMES[8] == "jaw_8" and NAMES[30] == "nose_3" and NAMES[67] == "mouth_19"
    for start, end in EDGES:
        assert NAMES[start].rpartition("_")[0] == NAMES[end].rpartition("_")[0]


def test_a_box_holds_all_points_of_a_face_inside_the_picture() -> None:
    xy = 20 + 60 * CANONICAL
    x0, y0, x1, y1 = face_box(xy, 200, 100)
    assert x0 <= xy[:, 0].min() + 0.5 and x1 >= xy[:, 0].max() + 0.5
    assert y0 < xy[:, 1].min() and y1 > xy[:, 1].max()
    assert (x1 - x0) < 1.01 * np.ptp(xy[:, 0]) + 1 and (y1 - y0) < 1.2 * np.ptp(xy[:, 1])


def test_a_box_ends_at_the_border_and_a_face_outside_has_none() -> None:
    assert face_box(100 * CANONICAL - 50, 200, 100)[:2] == (0, 0)
    assert face_box(100 * CANONICAL + [150, 50], 200, 100)[2:] == (200, 100)
    assert face_box(50 * CANONICAL - [60, 0], 200, 100) is None


def test_the_box_moves_and_grows_with_the_face() -> None:
    small = np.array(face_box(40 * CANONICAL + 10, 1000, 1000))
    moved = np.array(face_box(40 * CANONICAL + 110, 1000, 1000))
    assert np.allclose(moved - small, 100, atol=1e-3)
    large = np.array(face_box(2 * (40 * CANONICAL + 10.5) - 0.5, 1000, 1000))
    assert np.allclose(large, 2 * small, atol=1e-3)


def test_classes_follow_the_wear() -> None:
    rows = [
        face_row(50 * CANONICAL, label=label, template=template)
        for label, template in (
            ("wearing_mask", "x"),
            ("worn_incorrectly", "x"),
            ("no_mask", ""),
            ("", "x"),  # a mask out of sight
        )
    ]
    (picture,) = pictures(rows)
    labels = [face.label for face in picture.faces]
    assert labels == ["wearing_mask", "worn_incorrectly", "no_mask", "no_mask"]
    assert [line[0] for line in yolo_lines(picture).splitlines()] == list("1200")


def test_a_bare_original_shows_the_same_faces_without_a_mask() -> None:
    bare = ManifestRow(
        path="images/original/a.jpg", source="a.jpg", label="no_mask", size_wh="200 100"
    )
    rows = [bare, face_row(60 * CANONICAL), face_row(40 * CANONICAL + 90)]
    rows += [face_row(60 * CANONICAL, "images/a_gas.jpg"), face_row(0.1 + CANONICAL, source="b")]
    original, masked, *_ = pictures(rows)
    assert [face.label for face in original.faces] == ["no_mask"] * 2
    assert [face.box_xyxy for face in original.faces] == [face.box_xyxy for face in masked.faces]
    assert not any(face.hidden.any() for face in original.faces)


def test_what_has_no_picture_has_no_annotation() -> None:
    assert pictures([ManifestRow(source="wall.jpg", status="skipped", reason="no face")]) == []
    assert pictures([face_row(60 * CANONICAL, path="", size_wh="", status="failed")]) == []


def test_yolo_files_lie_where_trainers_look_and_give_the_box_back(tmp_path: Path) -> None:
    (picture,) = found = pictures([face_row(60 * CANONICAL + 20)])
    write_yolo(tmp_path, found)
    label, x, y, width, height = (tmp_path / "labels/a_cloth.txt").read_text().split()
    assert (tmp_path / "classes.txt").read_text().split()[int(label)] == "wearing_mask"
    half = np.array([float(width), float(height)]) / 2
    centre = np.array([float(x), float(y)])
    box = np.concatenate([centre - half, centre + half]) * [200, 100, 200, 100]
    assert np.allclose(box, picture.faces[0].box_xyxy, atol=1e-3)
    names = (tmp_path / "data.yaml").read_text()
    assert all(f"{number}: {name}" in names for number, name in enumerate(CLASSES))


def test_coco_numbers_agree_and_hidden_points_are_told_from_seen_ones(tmp_path: Path) -> None:
    rows = [face_row(60 * CANONICAL), face_row(120 * CANONICAL + [40, 0])]
    write_coco(tmp_path / "a.json", pictures([*rows, face_row(9 * CANONICAL, "images/b.png")]))
    data = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in data["images"]] == [
        "images/a_cloth.jpg",
        "images/b.png",
    ]
    assert data["images"][0] | {"width": 200, "height": 100} == data["images"][0]
    assert [face["id"] for face in data["annotations"]] == [1, 2, 3]
    assert [face["image_id"] for face in data["annotations"]] == [1, 1, 2]
    names = {category["id"]: category["name"] for category in data["categories"]}
    inside, cut, _ = data["annotations"]
    assert names[inside["category_id"]] == "wearing_mask"
    assert inside["num_keypoints"] == 68
    assert inside["keypoints"][2::3] == [2] * 34 + [1] * 34
    assert cut["keypoints"][24:27] == [0, 0, 0] and cut["num_keypoints"] < 68
    for face in data["annotations"]:
        x, y, width, height = face["bbox"]
        assert x >= 0 and y >= 0 and x + width <= 200 and y + height <= 100
        assert face["area"] == pytest.approx(width * height, rel=0.01)


def test_an_empty_run_is_still_valid_coco() -> None:
    assert coco([])["images"] == [] and len(coco([])["categories"]) == 3


def test_landmarks_are_read_back_bit_for_bit_once_for_each_face(tmp_path: Path) -> None:
    odd = 'x,"ä"\n顔.jpg'
    faces = [np.float32(97.3) * CANONICAL, CANONICAL * np.float32(31.7) + np.float32(0.1)]
    rows = [face_row(xy, path, source=odd) for path in ("a", "b") for xy in faces]
    rows += [face_row(faces[0], "", source="bare.jpg", status="failed")]
    rows += [ManifestRow(source="wall.jpg", status="skipped", reason="no face")]
    (tmp_path / "landmarks.csv").write_text(landmarks_csv(rows), encoding="utf-8", newline="")
    read = read_landmarks(tmp_path / "landmarks.csv")
    assert list(read) == [odd, "bare.jpg"]
    assert [np.array_equal(got.xy, xy) for got, xy in zip(read[odd], faces)] == [True, True]
    assert len(read["bare.jpg"]) == 1
