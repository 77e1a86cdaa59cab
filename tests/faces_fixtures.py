"""Faces for tests, drawn by code: no photo, no network, the same pixels everywhere."""

import cv2
import numpy as np

from MaskTheFace.landmarks import CANONICAL, Landmarks

# Tests run side by side: OpenCV's own threads would only wait for each other.
cv2.setNumThreads(1)

SKINS = ((224, 172, 140), (198, 134, 96), (141, 85, 54), (240, 200, 176), (92, 58, 40))


def drawn_face(size_px: int = 160, person: int = 0) -> tuple[np.ndarray, Landmarks]:
    """Draw a frontal face whose features lie on the canonical landmarks.

    Args:
        size_px: side of the picture.
        person: picks skin, background and noise; every number gives another picture.

    Returns:
        (size_px, size_px, 3) uint8 RGB and its landmarks.
    """
    side = size_px if size_px > 600 else 4 * size_px
    rng = np.random.default_rng(person)
    skin = np.array(SKINS[person % len(SKINS)], float)
    points = CANONICAL * side
    picture = np.empty((side, side, 3), np.float32)
    picture[:] = rng.uniform(60, 200, 3)
    _fill(picture, np.vstack([points[:17], points[26:16:-1] - [0, 0.16 * side]]), 0.3 * skin)
    _fill(picture, np.vstack([points[:17], points[26:16:-1] - [0, 0.02 * side]]), skin)
    for part in (points[17:22], points[22:27]):
        _stroke(picture, part, 0.25 * skin, 0.022 * side)
    for part in (points[36:42], points[42:48]):
        _fill(picture, part, np.array([245, 245, 245]))
        _stroke(picture, np.vstack([part, part[:1]]), 0.3 * skin, 0.012 * side)
        centre = tuple(np.rint(part.mean(axis=0)).astype(int).tolist())
        cv2.circle(picture, centre, round(0.022 * side), (30, 20, 20), -1)
    _stroke(picture, points[27:31] + [0.03 * side, 0], 0.85 * skin, 0.02 * side)
    _stroke(picture, points[31:36], 0.55 * skin, 0.02 * side)
    _fill(picture, points[48:60], skin * [0.75, 0.5, 0.5])
    _stroke(picture, points[60:65], 0.35 * skin, 0.01 * side)
    small = cv2.resize(picture, (size_px, size_px), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), size_px / 160) + rng.normal(0, 3, small.shape)
    image = np.clip(np.rint(small), 0, 255).astype(np.uint8)
    return image, Landmarks((CANONICAL * size_px - 0.5).astype(np.float32), "given")


def _fill(picture: np.ndarray, outline: np.ndarray, color: np.ndarray) -> None:
    cv2.fillPoly(picture, [np.rint(outline).astype(np.int32)], color.tolist(), cv2.LINE_AA)


def _stroke(picture: np.ndarray, line: np.ndarray, color: np.ndarray, width: float) -> None:
    points = [np.rint(line).astype(np.int32)]
    cv2.polylines(picture, points, False, color.tolist(), max(1, round(width)), cv2.LINE_AA)
