"""Where the face is: 68 points, found by dlib or given, and how we know them.

Convention: points are (x, y) in pixels, origin at the centre of the top-left pixel, in the order of
the iBUG 300-W mark-up that dlib uses (0-16 jaw, 17-26 brows, 27-35 nose, 36-47 eyes, 48-67 mouth).
"""

from __future__ import annotations

import csv
import functools
import importlib.util
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from MaskTheFace.points import CANONICAL as CANONICAL
from MaskTheFace.points import MIRROR as MIRROR

How = Literal["given", "detected", "aligned", "canonical", "model"]
"""given by the user; detected by dlib; fitted by dlib to a crop known to be one face; the mean
layout; drawn together with the face."""

PREDICTOR_ENV = "MASKTHEFACE_PREDICTOR"
DETECT_AT_PX = 640
"""Larger photos are shrunk to this longer side for finding faces, of 80 px and more."""
SMALL_PX, FIRST_LOOK_PX = 320, 215
"""Photos of this longer side and less, mostly crops of one face, get a cheap first look: bare, with
the shorter side at most this long."""
ALIGNED_BOX = (0.065, 0.055, 0.955, 0.95)
"""Where dlib's face box lies in a tight aligned crop (x0, y0, x1, y1 as shares of the side)."""
TIGHT_THRESHOLD, TIGHT_IOU = -0.7, 0.6
"""A face found with less certainty counts where it lies just so in a tight crop."""


class LandmarkError(ValueError):
    """No landmarks can be had; the message says what to do."""


INSTALL = "pip install dlib-bin face_recognition_models"


class FinderMissing(LandmarkError):
    """dlib or its model is not installed; ``what`` says which and what for, in a clause."""

    def __init__(self, what: str, instead: str = "") -> None:
        super().__init__(
            f"{what}: {INSTALL}{instead}; or give landmarks, or prepare tight crops with "
            "--aligned yes"
        )
        self.what = what


@dataclass(frozen=True)
class Landmarks:
    """The 68 points of one face.

    Attributes:
        xy: (68, 2) float32, pixels.
        how: how the points were found.
    """

    xy: np.ndarray
    how: How = "given"

    def __post_init__(self) -> None:
        xy = np.asarray(self.xy, dtype=np.float32)
        if xy.shape != (68, 2):
            raise ValueError(f"landmarks must have shape (68, 2), got {xy.shape}")
        if not np.isfinite(xy).all():
            raise ValueError("landmarks must be finite numbers")
        if (xy.max(axis=0) - xy.min(axis=0)).min() < 1:
            raise ValueError("landmarks must span at least one pixel each way")
        xy.flags.writeable = False
        object.__setattr__(self, "xy", xy)

    @property
    def box_xyxy(self) -> tuple[float, float, float, float]:
        """The smallest box around the points, pixels."""
        x0, y0 = self.xy.min(axis=0)
        x1, y1 = self.xy.max(axis=0)
        return float(x0), float(y0), float(x1), float(y1)

    @property
    def width_px(self) -> float:
        """Face width: from ear to ear along the jaw's ends, or from the box where these fold."""
        span = float(np.linalg.norm(self.xy[16] - self.xy[0]))
        x0, y0, x1, y1 = self.box_xyxy
        return max(span, 0.6 * max(x1 - x0, y1 - y0))

    def moved(self, matrix: np.ndarray) -> Landmarks:
        """Return the points under a (2, 3) affine ``matrix``, source to target pixels."""
        return Landmarks(self.xy @ matrix[:, :2].T + matrix[:, 2], self.how)

    def mirrored(self, width_px: int) -> Landmarks:
        """Return the points of the horizontally flipped image, left and right names exchanged."""
        xy = self.xy[MIRROR].copy()
        xy[:, 0] = width_px - 1 - xy[:, 0]
        return Landmarks(xy, self.how)


def predictor_path() -> Path | None:
    """Return dlib's 68-point model file, or None where there is none.

    Looked for in the environment variable MASKTHEFACE_PREDICTOR, then in the package
    face_recognition_models. The file was trained on iBUG 300-W, which excludes commercial use.
    """
    named = os.environ.get(PREDICTOR_ENV)
    if named:
        if not Path(named).is_file():
            raise LandmarkError(
                f"{named}: no such file; {PREDICTOR_ENV} must name dlib's 68-point model"
            )
        return Path(named)
    # Only located, never imported: the package wants pkg_resources, which new Pythons lack.
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "models" / "shape_predictor_68_face_landmarks.dat"
    return path if path.is_file() else None


@functools.cache
def _predictor() -> Any:
    path = predictor_path()
    if path is None:
        return None
    try:
        import dlib
    except ImportError:
        return None
    try:
        return dlib.shape_predictor(str(path))
    except RuntimeError as error:
        raise LandmarkError(
            f"{path}: cannot be read as dlib's 68-point model ({error}); fetch it again"
        ) from None


@functools.cache
def _detector() -> Any:
    try:
        import dlib
    except ImportError:
        raise FinderMissing("finding faces needs dlib") from None
    return dlib.get_frontal_face_detector()


def find_landmarks(image: np.ndarray, look_again: bool = True) -> list[Landmarks]:
    """Find every face of a photo, largest first.

    Args:
        image: (H, W, 3) uint8 RGB.
        look_again: where nothing is found, look less strictly for one face that fills the picture.

    Returns:
        One Landmarks a face, ``how`` = "detected"; empty where no face is found.

    Raises:
        LandmarkError: dlib or its 68-point model is not installed.
    """
    return fit_landmarks(image, find_boxes(image, look_again))


def find_boxes(image: np.ndarray, look_again: bool = True) -> list[np.ndarray]:
    """Find the boxes of a photo's faces: the first half of ``find_landmarks``.

    Detector and 68-point model each want the processor's cache for themselves: over many photos it
    is faster to find all boxes first.

    Args:
        image: (H, W, 3) uint8 RGB.
        look_again: as for ``find_landmarks``.

    Returns:
        (4,) float64 boxes x0, y0, x1, y1, pixels, surest first; they may reach beyond the photo.

    Raises:
        LandmarkError: dlib or its 68-point model is not installed.
    """
    _need_predictor()
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return _first_look(grey) or _detect_boxes(grey) or (_tight_box(grey) if look_again else [])


def fit_landmarks(image: np.ndarray, boxes: Sequence[np.ndarray]) -> list[Landmarks]:
    """Fit 68 points to each box of ``find_boxes``; largest face first.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (4,) each, x0, y0, x1, y1, pixels.

    Raises:
        LandmarkError: dlib or its 68-point model is not installed.
    """
    predictor = _need_predictor()
    faces = [_fit(predictor, image, box, "detected") for box in boxes]
    return sorted(faces, key=lambda face: -face.width_px)


def _need_predictor() -> Any:
    predictor = _predictor()
    if predictor is None:
        _detector()
        raise FinderMissing(
            "finding faces needs dlib's 68-point model", f", or set {PREDICTOR_ENV} to its file"
        )
    return predictor


def _tight_box(grey: np.ndarray) -> list[np.ndarray]:
    """Look again, less strictly, for one face that fills the picture as in a tight aligned crop."""
    height, width = grey.shape
    expected = np.array(ALIGNED_BOX) * [width, height, width, height]
    near = [box for box in _detect_boxes(grey, TIGHT_THRESHOLD) if _iou(box, expected) > TIGHT_IOU]
    return near[:1]


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))


def _first_look(grey: np.ndarray) -> list[np.ndarray]:
    """Find the faces of a small photo at a third of the cost: no frame, not enlarged beyond need.

    Of 300 photos of LFW (250 px) and 300 of UTKFace (200 px) it finds a face in 299 and 295, in
    3 ms; the careful look takes 8 ms. With it no photo is left without its face; of 310 faces in
    LFW two were missed, in the background and cut by the border.
    """
    if max(grey.shape) > SMALL_PX:
        return []
    scale = min(_careful_scale(grey), FIRST_LOOK_PX / min(grey.shape))
    return _run_detector(_scaled(grey, scale), scale)


def _detect_boxes(grey: np.ndarray, threshold: float = 0.0) -> list[np.ndarray]:
    """Find face boxes (x0, y0, x1, y1), surest first.

    A frame of replicated border lets faces be found that fill the picture.
    """
    scale = _careful_scale(grey)
    grey = _scaled(grey, scale)
    pad = int(0.2 * min(grey.shape))
    framed = cv2.copyMakeBorder(grey, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    return _run_detector(framed, scale, pad, threshold)


def _careful_scale(grey: np.ndarray) -> float:
    """Return the size to look at: HOG's smallest face is 80 px, half the side of a small photo."""
    scale = min(1.0, DETECT_AT_PX / max(grey.shape))
    return max(scale, min(2.0, 200 / min(grey.shape)))


def _scaled(grey: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return grey
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=how)


def _run_detector(
    grey: np.ndarray, scale: float, pad: int = 0, threshold: float = 0.0
) -> list[np.ndarray]:
    """Run dlib on a scaled and padded picture; boxes in pixels of the original."""
    boxes = []
    for found in _detector().run(grey, 0, threshold)[0]:
        corners = np.array([found.left(), found.top(), found.right(), found.bottom()], float)
        boxes.append((corners - pad) / scale)
    return boxes


def aligned_landmarks(image: np.ndarray) -> Landmarks:
    """Return the points of a tight aligned crop, which shows one face: nothing is detected.

    dlib's 68-point model fits them where it is installed; elsewhere the mean layout of an aligned
    crop is laid over the picture.

    Args:
        image: (H, W, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    predictor = _predictor()
    if predictor is not None:
        box = np.array(ALIGNED_BOX) * [width, height, width, height]
        face = _fit(predictor, image, box, "aligned")
        if _plausible(face, width, height):
            return face
    return Landmarks(CANONICAL * np.array([width, height], np.float32), "canonical")


def _fit(predictor: Any, image: np.ndarray, box_xyxy: np.ndarray, how: How) -> Landmarks:
    import dlib

    x0, y0, x1, y1 = (round(float(value)) for value in box_xyxy)
    shape = predictor(np.ascontiguousarray(image), dlib.rectangle(x0, y0, x1, y1))
    return Landmarks(np.array([(p.x, p.y) for p in shape.parts()], np.float32), how)


def _plausible(face: Landmarks, width: int, height: int) -> bool:
    """Tell whether fitted points look like a face that fills the crop: eyes over mouth, inside."""
    xy = face.xy
    drop = xy[48:68, 1].sum() / 20 - xy[36:48, 1].sum() / 12
    inside = np.count_nonzero((xy >= -0.15 * width) & (xy <= (1.15 * width, 1.15 * height)))
    large = face.width_px > 0.35 * min(width, height)
    return bool(large and inside > 0.95 * xy.size and drop > 0.12 * height)


def read_landmarks(path: Path | str) -> dict[str, list[Landmarks]]:
    """Read landmarks a user gives: a CSV with the columns ``file, x0, y0, ..., x67, y67``.

    Args:
        path: the CSV; one row a face, several rows may name the same file.

    Returns:
        File name (as written, forward slashes) to its faces.

    Raises:
        LandmarkError: no such file; a row with other than 137 values, or a value that is no
            number.
    """
    faces: dict[str, list[Landmarks]] = {}
    try:
        # Spreadsheets begin UTF-8 files with a byte order mark.
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LandmarkError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    for row in reader:
        if not row or row[0] == "file":
            continue
        try:
            xy = np.array(row[1:], np.float32).reshape(68, 2)
            faces.setdefault(Path(row[0]).as_posix(), []).append(Landmarks(xy, "given"))
        except ValueError as error:
            raise LandmarkError(
                f"{path}, line {reader.line_num}: want file,x0,y0,...,x67,y67 ({error})"
            ) from None
    return faces
