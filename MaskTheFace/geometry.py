"""From 68 points to where each point of a mask lands. Pure points: no pixels, no chance.

Convention: the *face chart* has u across the face, -1 at the jaw's edge on the left of the picture,
0 on the ridge of the nose, 1 on the right; and v down it, 0 at the bridge of the nose (point 28), 1
at the chin (point 8). Its edges follow the jaw from beside the eyes to below the mouth, so a mask
drawn on the chart follows jaw, cheeks and nose over roll and yaw. Image points are (x, y) pixels.
"""

from __future__ import annotations

import numpy as np

from MaskTheFace.landmarks import Landmarks
from MaskTheFace.style import MaskStyle
from MaskTheFace.templates import COLUMNS_U, ROWS_V

BELOW_CHIN = 0.09
"""The last row lies under the jaw by this share of the length from nasion to chin."""
# The points of the first five rows: on the jaw left, on the jaw right, in the middle of the face.
LEFT = (1, 2, 3, 4, 5)
RIGHT = (15, 14, 13, 12, 11)
MIDDLE = (28, 30, 51, 57, 8)
LEAST_HALF_WIDTH = 0.10
"""The far side of a turned face keeps this share of the face width: it must not fold."""


def chart_grid(landmarks: Landmarks) -> np.ndarray:
    """Return the image points of the chart's grid, ROWS_V by COLUMNS_U.

    Args:
        landmarks: one face.

    Returns:
        (6, 5, 2) float64, rows by v, columns by u, pixels.
    """
    xy = landmarks.xy.astype(np.float64)
    middle = xy[list(MIDDLE)]
    # The bridge point alone sits high on deep noses; between 28 and 29 is where nose wires lie.
    middle[0] = 0.6 * xy[28] + 0.4 * xy[29]
    left, right = _kept_apart(xy, middle)
    grid = np.empty((6, 5, 2))
    grid[:5, 0], grid[:5, 2], grid[:5, 4] = left, middle, right
    grid[:5, 1] = (left + middle) / 2
    grid[:5, 3] = (right + middle) / 2
    # The bottom row follows the jaw instead of cutting across it.
    grid[4, 1] = (xy[6] + xy[7]) / 2
    grid[4, 3] = (xy[10] + xy[9]) / 2
    grid[5] = grid[4] + BELOW_CHIN * (xy[8] - xy[27])
    return grid


def _kept_apart(xy: np.ndarray, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both edges, pushed outwards along the eye line where the face turns away."""
    across = xy[42:48].mean(axis=0) - xy[36:42].mean(axis=0)
    across /= max(float(np.linalg.norm(across)), 1e-6)
    least = LEAST_HALF_WIDTH * max(float(np.linalg.norm(xy[16] - xy[0])), 1.0)
    left, right = xy[list(LEFT)], xy[list(RIGHT)]
    for edge, sign in ((left, -1.0), (right, 1.0)):
        reach = sign * ((edge - middle) @ across)
        edge += np.clip(least - reach, 0, None)[:, None] * (sign * across)
    return left, right


def chart_to_image(uv: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Map chart points to the image: bilinear between grid points, linear beyond them.

    Args:
        uv: (K, 2) chart points.
        grid: (6, 5, 2) from chart_grid.

    Returns:
        (K, 2) float64 pixels.
    """
    column, a = _cell(COLUMNS_U, uv[:, 0])
    row, b = _cell(ROWS_V, uv[:, 1])
    upper = (1 - a) * grid[row, column] + a * grid[row, column + 1]
    lower = (1 - a) * grid[row + 1, column] + a * grid[row + 1, column + 1]
    return (1 - b) * upper + b * lower


def _cell(knots: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each value's cell among the knots and its place in it, (N,) and (N, 1)."""
    cell = np.clip(np.searchsorted(knots, values, side="right") - 1, 0, len(knots) - 2)
    return cell, ((values - knots[cell]) / (knots[cell + 1] - knots[cell]))[:, None]


def fit_points(anchors_uv: np.ndarray, landmarks: Landmarks, style: MaskStyle) -> np.ndarray:
    """Return where each anchor of a template lands on this face, worn this way.

    Args:
        anchors_uv: (K, 2) anchors on the face chart.
        landmarks: one face.
        style: ``top``, ``bottom``, ``width``, ``slip``, ``tilt_deg`` and ``flip`` are used.

    Returns:
        (K, 2) float64 pixels.
    """
    u, v = anchors_uv[:, 0].astype(np.float64), anchors_uv[:, 1].astype(np.float64)
    if style.flip:
        u = -u
    worn = style.top + v * (1 + style.bottom - style.top) + style.slip
    grid = chart_grid(landmarks)
    points = chart_to_image(np.stack([u * style.width, worn], axis=1), grid)
    angle = np.deg2rad(style.tilt_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = grid[2, 2]
    return (points - middle) @ turn.T + middle


def thin_plate(source_xy: np.ndarray, target_xy: np.ndarray, smoothing: float = 1e-3) -> np.ndarray:
    """Solve for the thin-plate spline that sends source points to target points.

    Source: F. L. Bookstein, "Principal warps", IEEE PAMI 11(6), 1989.

    Args:
        source_xy: (K, 2). target_xy: (K, 2).
        smoothing: added to the kernel's diagonal: points that nearly meet must not fold the plane.

    Returns:
        (K + 3, 2) weights for thin_plate_map.
    """
    count = len(source_xy)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(source_xy, source_xy) + smoothing * np.eye(count)
    system[:count, count] = system[count, :count] = 1
    system[:count, count + 1 :] = source_xy
    system[count + 1 :, :count] = source_xy.T
    wanted = np.vstack([target_xy, np.zeros((3, 2))])
    return np.linalg.solve(system, wanted)


def thin_plate_map(points_xy: np.ndarray, source_xy: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Apply a spline from thin_plate to (N, 2) points; returns (N, 2)."""
    count = len(source_xy)
    plane = weights[count] + points_xy @ weights[count + 1 :]
    return _kernel(points_xy, source_xy) @ weights[:count] + plane


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    square = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
    return np.where(square > 0, 0.5 * square * np.log(np.maximum(square, 1e-12)), 0.0)
