"""Textures of the face model: faces warped to one shape, taken apart into halves and put together.

Convention: a texture is (128, 128, 3) float32 YCrCb, 0..1, colour stored at half size. A face and
its mirror image are equally likely, so every mode is even (equal to its mirror image) or odd (its
negative) and half of it is enough; the halves of the three planes, one after the other, are a
*flat half*. Shapes are (68, 2) float, (x, y) in texture pixels.
"""

from __future__ import annotations

import cv2
import numpy as np

TEXTURE_PX = 128
FACE_PX = 95
"""Longer side of the mean face in a texture, pixels: 1.35 times that is the texture."""
_PLANES = (
    (TEXTURE_PX, TEXTURE_PX),
    (TEXTURE_PX // 2, TEXTURE_PX // 2),
    (TEXTURE_PX // 2, TEXTURE_PX // 2),
)


def join_halves(even: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Put an even and an odd flat half together to a texture (128, 128, 3) float32 YCrCb.

    The colour planes are centred on 0.5, as OpenCV's float conversion has them, where luma is 0..1.
    """
    planes, start = [], 0
    for rows, columns in _PLANES:
        stop = start + rows * columns // 2
        left_even = even[start:stop].reshape(rows, columns // 2)
        left_odd = odd[start:stop].reshape(rows, columns // 2)
        plane = np.hstack([left_even + left_odd, (left_even - left_odd)[:, ::-1]])
        if rows != TEXTURE_PX:
            plane = cv2.resize(plane, (TEXTURE_PX, TEXTURE_PX), interpolation=cv2.INTER_LINEAR)
        planes.append(plane)
        start = stop
    return cv2.merge(planes)


def split_halves(texture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take a texture (128, 128, 3) float32 YCrCb apart into its even and its odd flat half."""
    even, odd = [], []
    for channel, (rows, columns) in enumerate(_PLANES):
        plane = texture[..., channel]
        if rows != TEXTURE_PX:
            plane = cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_AREA)
        left, right = plane[:, : columns // 2], plane[:, ::-1][:, : columns // 2]
        even.append(((left + right) / 2).ravel())
        odd.append(((left - right) / 2).ravel())
    return np.concatenate(even), np.concatenate(odd)


def face_weight(shape_mean: np.ndarray) -> np.ndarray:
    """Return (128, 128) float32 in [0, 1]: 1 on the face up to the hairline, 0 around it."""
    jaw, brows = shape_mean[:17], shape_mean[26:16:-1]
    forehead = brows - [0, 0.28 * FACE_PX]
    mask = np.zeros((TEXTURE_PX, TEXTURE_PX), np.float32)
    hull = cv2.convexHull(np.vstack([jaw, forehead]).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 1.0)
    return cv2.GaussianBlur(mask, (0, 0), 4.0)


def thin_plate_centres(shape: np.ndarray) -> np.ndarray:
    """Return the points that hold a warp: the 68 and a fixed ring beside them, (68 + 16, 2)."""
    side = np.linspace(-8, TEXTURE_PX + 7, 5)
    low, high = np.full(4, side[0]), np.full(4, side[-1])
    ring = np.vstack([
        np.stack([side[:-1], low], 1), np.stack([high, side[:-1]], 1),
        np.stack([side[1:], high], 1), np.stack([low, side[1:]], 1),
    ])  # fmt: skip
    return np.vstack([shape, ring]).astype(np.float32)


def thin_plate_system(centres: np.ndarray) -> np.ndarray:
    """Return the (K + 3, K + 3) matrix of a smoothed thin-plate spline (Bookstein 1989)."""
    count = len(centres)
    system = np.zeros((count + 3, count + 3))
    system[:count] = thin_plate_basis(centres, centres)
    # Smoothing of a few tenths of a pixel: landmarks are no better than that, and a fold is worse.
    system[:count, :count] += 50 * np.eye(count)
    system[count:, :count] = system[:count, count:].T
    return system


def thin_plate_basis(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return (N, K + 3): r^2 log r^2 from each of N points to each of K centres, then 1, x, y."""
    points, centres = points.astype(np.float32), centres.astype(np.float32)
    squares = (points[:, :1] - centres[:, 0]) ** 2 + (points[:, 1:] - centres[:, 1]) ** 2
    bends = squares * np.log(squares + np.float32(1e-6))
    return np.hstack([bends, np.ones((len(points), 1), np.float32), points])
