"""Faces in anybody's photos: by OpenCV's YuNet, whose model file the user has, else by dlib.

dlib's finder misses most masked faces; YuNet finds most (its file is not in OpenCV's wheel:
models/face_detection_yunet in https://github.com/opencv/opencv_zoo, MIT). Where neither finds one
the whole picture is taken for a crop, and every face says how it was found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from MaskTheFace.landmarks import INSTALL, FinderMissing, LandmarkError, find_landmarks
from masktrain.faces import CROP_SCALE, FaceError, crop_face, cut_square

LONGEST_PX = 1600
"""Larger photos are searched at this size."""
SURE = 0.7
"""YuNet's score from which on a face counts as found."""
POINTER = b"version https://git-lfs"
"""How a file begins that Git LFS leaves in a network's place."""
WHOLE = "whole picture"
"""How a crop was found where nobody found a face."""
Finder = Callable[[np.ndarray], list["FoundFace"]]


@dataclass(frozen=True, eq=False)
class FoundFace:
    """A face cut out of a photo.

    Attributes:
        image: (S, S, 3) uint8 RGB, the canonical crop.
        box_xyxy: the face in the photo's pixels.
        how: yunet, dlib, or WHOLE.
    """

    image: np.ndarray
    box_xyxy: tuple[int, int, int, int]
    how: str


def open_finder(model: Path | None, crop_px: int = 128) -> Finder:
    """Return what finds the faces of a photo, largest first.

    Args:
        model: YuNet's ONNX file; None: dlib.
        crop_px: side of the crops.

    Raises:
        FaceError: the file is missing or no YuNet.
    """
    if model is None:
        return lambda image: _by_dlib(image, crop_px) or [_whole(image, crop_px)]
    if not model.is_file():
        raise FaceError(f"no file {model}: give YuNet's .onnx with --finder, or leave it out")
    # Its notes about backends are nothing that a user could act on.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        net = cv2.FaceDetectorYN.create(str(model), "", (320, 320), SURE)
    except cv2.error as error:
        why = str(error).strip().splitlines()[-1]
        with model.open("rb") as file:
            pointer = file.read(len(POINTER)) == POINTER
        hint = ": it is Git LFS's pointer, download the file itself" if pointer else ""
        raise FaceError(f"{model} is no YuNet model that OpenCV can read ({why}){hint}") from None
    return lambda image: _by_yunet(net, image, crop_px) or [_whole(image, crop_px)]


def _by_yunet(net: cv2.FaceDetectorYN, image: np.ndarray, crop_px: int) -> list[FoundFace]:
    height, width = image.shape[:2]
    scale = min(1.0, LONGEST_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    net.setInputSize(size)
    small = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, rows = net.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    found = []
    for x, y, w, h in [] if rows is None else rows[:, :4] / scale:
        square = cut_square(image, (x + w / 2, y + h / 2), CROP_SCALE * max(w, h), crop_px)
        box = round(float(x)), round(float(y)), round(float(x + w)), round(float(y + h))
        found.append(FoundFace(square, box, "yunet"))
    return sorted(found, key=lambda face: face.box_xyxy[0] - face.box_xyxy[2])


def _by_dlib(image: np.ndarray, crop_px: int) -> list[FoundFace]:
    try:
        faces = find_landmarks(image)
    except FinderMissing as error:
        raise FaceError(
            f"{error.what}: {INSTALL}; or give YuNet's .onnx, which finds masked faces, too, with "
            "--finder (https://github.com/opencv/opencv_zoo)"
        ) from None
    except LandmarkError as error:
        raise FaceError(str(error)) from None
    crops = [crop_face(image, face, crop_px) for face in faces]
    return [
        FoundFace(crop.image, tuple(map(round, crop.box_xyxy)), "dlib")  # type: ignore[arg-type]
        for crop in crops
    ]


def _whole(image: np.ndarray, crop_px: int) -> FoundFace:
    height, width = image.shape[:2]
    square = cut_square(image, (width / 2, height / 2), max(height, width), crop_px)
    return FoundFace(square, (0, 0, width, height), WHOLE)
