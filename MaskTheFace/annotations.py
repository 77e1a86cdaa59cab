"""What detectors are trained on: every face of every picture as YOLO and COCO want it.

Classes follow the rendered mask: ``wearing_mask`` covers nose tip and mouth, ``worn_incorrectly``
leaves one of them bare, ``no_mask`` shows no mask. A face that could not be masked in a picture
where others were is there, bare: it is ``no_mask``. A photo without a picture has no annotation.

Convention: boxes are x0, y0, x1, y1 in pixels, measured from the outer edge of the picture (the
centre of the top-left pixel is at 0.5, 0.5), as YOLO and COCO measure them; points in manifest rows
and in landmarks.csv are measured from the centre of the top-left pixel, as everywhere else.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np

from MaskTheFace.images import write_bytes
from MaskTheFace.manifest import ManifestRow
from MaskTheFace.points import EDGES, NAMES

CLASSES = ("no_mask", "wearing_mask", "worn_incorrectly")
"""YOLO's class 0, 1, 2; COCO's category 1, 2, 3."""
ABOVE, BELOW = 0.06, 0.07
"""How far a face's box reaches beyond its points, in heights of these: with the sides left as they
are, the median of 214 boxes drawn by hand (Kaggle's mask detection set) around faces dlib found.
Such boxes begin a little over the brows; the hair is no part of them."""


@dataclass(frozen=True)
class AnnotatedFace:
    """One face of a picture.

    Attributes:
        box_xyxy: inside the picture, pixels from its outer edge.
        label: one of CLASSES.
        xy: (68, 2) float32, pixels from the centre of the top-left pixel.
        hidden: (68,) bool, which points lie under fabric.
    """

    box_xyxy: tuple[float, float, float, float]
    label: str
    xy: np.ndarray
    hidden: np.ndarray


@dataclass(frozen=True)
class Picture:
    """One written picture with its faces; ``path`` is relative to the output folder."""

    path: str
    width_px: int
    height_px: int
    faces: tuple[AnnotatedFace, ...]


def face_box(
    xy: np.ndarray, width_px: int, height_px: int
) -> tuple[float, float, float, float] | None:
    """Return the box of a face, clipped to the picture.

    Args:
        xy: (68, 2) points, pixels from the centre of the top-left pixel.
        width_px: width of the picture.
        height_px: its height.

    Returns:
        x0, y0, x1, y1 in pixels from the outer edge; None for a face outside the picture.
    """
    x0, y0 = (xy.min(axis=0) + 0.5).tolist()
    x1, y1 = (xy.max(axis=0) + 0.5).tolist()
    tall = y1 - y0
    x0, x1 = max(x0, 0.0), min(x1, float(width_px))
    y0, y1 = max(y0 - ABOVE * tall, 0.0), min(y1 + BELOW * tall, float(height_px))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def pictures(rows: Iterable[ManifestRow]) -> list[Picture]:
    """Gather the pictures of a journal's rows, in their order, with the faces of each.

    Args:
        rows: as a run gives them, with ``size_wh`` and ``points``; a bare original has no points of
            its own and takes those of its photo's first picture.
    """
    found = []
    for _, group in groupby(rows, key=attrgetter("source")):
        of_source = list(group)
        for path, members in groupby(of_source, key=attrgetter("path")):
            if path:
                found.append(_picture(path, list(members), of_source))
    return found


def _picture(path: str, members: list[ManifestRow], of_source: list[ManifestRow]) -> Picture:
    width, height = map(int, members[0].size_wh.split())
    bare = not any(row.points for row in members)
    faces = []
    for row in faces_of(of_source) if bare else members:
        xy = points_of(row)
        box = face_box(xy, width, height)
        if box is not None:
            label = "no_mask" if bare else row.label or "no_mask"
            hidden = np.array([digit == "1" for digit in row.hidden or "0" * 68])
            faces.append(AnnotatedFace(box, label, xy, hidden & (not bare)))
    return Picture(path, width, height, tuple(faces))


def faces_of(rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    """Return one row for each face of one photo: those of its first picture that has points."""
    with_points = [row for row in rows if row.points]
    return [row for row in with_points if row.path == with_points[0].path]


def points_of(row: ManifestRow) -> np.ndarray:
    """Return the (68, 2) float32 points that a journal row holds, pixels."""
    return np.array(row.points.split(), np.float32).reshape(68, 2)


def landmarks_csv(rows: Iterable[ManifestRow]) -> str:
    """Return the points of every face of every photo as ``read_landmarks`` reads them."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", *(f"{axis}{i}" for i in range(68) for axis in "xy")])
    for source, group in groupby(rows, key=attrgetter("source")):
        for row in faces_of(list(group)):
            writer.writerow([source, *row.points.split()])
    return text.getvalue()


def yolo_lines(picture: Picture) -> str:
    """Return a picture's label file: class, centre x and y, width, height of each face, 0..1."""
    size = np.array([picture.width_px, picture.height_px])
    lines = []
    for face in picture.faces:
        low, high = np.array(face.box_xyxy[:2]) / size, np.array(face.box_xyxy[2:]) / size
        values = " ".join(f"{value:.6f}" for value in (*(low + high) / 2, *(high - low)))
        lines.append(f"{CLASSES.index(face.label)} {values}\n")
    return "".join(lines)


def write_yolo(folder: Path, found: Iterable[Picture]) -> None:
    """Write labels/, classes.txt and data.yaml beside images/, where YOLO trainers look for them.

    Args:
        folder: the output folder.
        found: pictures whose paths begin with ``images/``.

    Raises:
        OSError: the folder cannot be written.
    """
    for picture in found:
        name = picture.path.removeprefix("images/").rpartition(".")[0]
        write_bytes(folder / f"labels/{name}.txt", yolo_lines(picture).encode())
    write_bytes(folder / "classes.txt", ("\n".join(CLASSES) + "\n").encode())
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(CLASSES))
    # No split is made here: whose faces these are is not known.
    text = f"train: images\nval: images  # give a folder of other people\nnames:\n{names}"
    write_bytes(folder / "data.yaml", text.encode())


def coco(found: Iterable[Picture]) -> dict[str, object]:
    """Return COCO's annotations of all pictures, keypoints included.

    A point's visibility is 2 where it is seen, 1 where fabric hides it, 0 beyond the border.
    """
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, picture in enumerate(found, start=1):
        size = {"width": picture.width_px, "height": picture.height_px}
        images.append({"id": number, "file_name": picture.path, **size})
        for face in picture.faces:
            identity = {"id": len(annotations) + 1, "image_id": number}
            annotations.append(identity | _coco_face(face, picture))
    points = {
        "supercategory": "face",
        "keypoints": NAMES,
        "skeleton": [(start + 1, end + 1) for start, end in EDGES],
    }
    categories = [{"id": i, "name": name, **points} for i, name in enumerate(CLASSES, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _coco_face(face: AnnotatedFace, picture: Picture) -> dict[str, object]:
    x0, y0, x1, y1 = face.box_xyxy
    keypoints: list[float] = []
    for (x, y), hidden in zip((face.xy + 0.5).tolist(), face.hidden):
        inside = 0 <= x <= picture.width_px and 0 <= y <= picture.height_px
        keypoints += [round(x, 2), round(y, 2), 1 if hidden else 2] if inside else [0, 0, 0]
    return {
        "category_id": CLASSES.index(face.label) + 1,
        "bbox": [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)],
        "area": round((x1 - x0) * (y1 - y0), 2),
        "iscrowd": 0,
        "num_keypoints": sum(seen > 0 for seen in keypoints[2::3]),
        "keypoints": keypoints,
    }


def write_coco(path: Path, found: Iterable[Picture]) -> None:
    """Write ``coco`` as JSON.

    Raises:
        OSError: the file cannot be written.
    """
    write_bytes(path, json.dumps(coco(found), separators=(",", ":"), ensure_ascii=False).encode())
