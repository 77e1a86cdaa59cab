"""From 68 points to where each point of a mask lands. Pure points: no pixels, no chance.

Convention: the *face chart* has u across the face, -1 at the jaw's edge on the left of the picture,
0 on the ridge of the nose, 1 on the right; and v down it, 0 at the bridge of the nose (point 28), 1
at the chin (point 8). Its edges follow the jaw from beside the eyes to below the mouth, so a mask
drawn on the chart follows jaw, cheeks and nose over roll and yaw. Image points are (x, y) pixels.
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np

from MaskTheFace.landmarks import Landmarks
from MaskTheFace.style import MaskStyle
from MaskTheFace.templates import COLUMNS_U, ROWS_V

Box = tuple[int, int, int, int]
BELOW_CHIN = 0.09
"""The last row lies under the jaw by this share of the length from nasion to chin."""
# The points of the first five rows: on the jaw left, on the jaw right, in the middle of the face.
LEFT = (1, 2, 3, 4, 5)
RIGHT = (15, 14, 13, 12, 11)
MIDDLE = (28, 30, 51, 57, 8)
SHAKES = 499
"""Different cuts that a seed picks from."""
PINNED_FROM = 0.45
"""Of a mask that slid the ears hold what lies further out: its edges and the loops."""
GATHERED = 0.6
"""Where the ears hold its sides, a mask that slid is folded together by this share."""
SAGS = 0.2
"""Where no nose holds it up, the middle of a hanging mask's upper edge sinks by this share of the
slip; from SAGS_WITHIN outwards it does not."""
SAGS_WITHIN = 0.5
LEAST_HALF_WIDTH = 0.10
"""The far side of a turned face keeps this share of the face width: it must not fold."""


def chart_grid(landmarks: Landmarks, bulge: float = 0.0) -> np.ndarray:
    """Return the image points of the chart's grid, ROWS_V by COLUMNS_U.

    Args:
        landmarks: one face.
        bulge: how far the middle of the fabric stands off the face, in half face widths; it shows
            where the face is turned.

    Returns:
        (6, 5, 2) float64, rows by v, columns by u, pixels.
    """
    known = _GRID @ landmarks.xy.astype(np.float64)
    grid = known[:30].reshape(6, 5, 2)
    eyes, ends, offset, length = known[30:]
    across = eyes / max(math.hypot(*eyes), 1e-6)
    width = max(math.hypot(*ends), 1.0)
    turn = _turn(float(offset @ across), width)
    if abs(turn) > 0.05:
        _tent(grid, across, turn, bulge * width / 2)
    _keep_apart(grid, across, LEAST_HALF_WIDTH * width / 2)
    grid[5] += BELOW_CHIN * length
    return grid


def _grid_weights() -> np.ndarray:
    """Return the (34, 68) weights that give what is known of a face from its landmarks.

    Thirty points of the grid before any correction, then four vectors: from eye to eye, from end to
    end of the jaw, from the middle of the jaw to the tip of the nose, from nasion to chin.
    """
    weights = np.zeros((6, 5, 68))
    for row, (left, middle, right) in enumerate(zip(LEFT, MIDDLE, RIGHT, strict=True)):
        weights[row, 0, left] = weights[row, 2, middle] = weights[row, 4, right] = 1
        weights[row, 1, [left, middle]] = weights[row, 3, [right, middle]] = 0.5
    # The bridge point alone sits high on deep noses; between 28 and 29 is where nose wires lie.
    weights[0, 2], weights[0, 1], weights[0, 3] = 0, 0, 0
    weights[0, 2, [28, 29]] = 0.6, 0.4
    for column, edge in ((1, LEFT[0]), (3, RIGHT[0])):
        weights[0, column, edge] = 0.5
        weights[0, column, [28, 29]] = 0.3, 0.2
    # The bottom row follows the jaw instead of cutting across it.
    weights[4, 1], weights[4, 3] = 0, 0
    weights[4, 1, [6, 7]] = weights[4, 3, [10, 9]] = 0.5
    weights[5] = weights[4]
    vectors = np.zeros((4, 68))
    vectors[0, 42:48], vectors[0, 36:42] = 1 / 6, -1 / 6
    vectors[1, [16, 0]] = 1, -1
    vectors[2, [30, 2, 14]] = 1, -0.5, -0.5
    vectors[3, [8, 27]] = 1, -1
    return np.vstack([weights.reshape(30, 68), vectors])


_GRID = _grid_weights()


def turn_of(landmarks: Landmarks) -> float:
    """Return the sine of the head's turn, about -1..1; positive to the right of the picture."""
    eyes, ends, offset, _ = _GRID[30:] @ landmarks.xy.astype(np.float64)
    across = eyes / max(math.hypot(*eyes), 1e-6)
    return _turn(float(offset @ across), max(math.hypot(*ends), 1.0))


def _turn(offset_px: float, width_px: float) -> float:
    # The tip of the nose stands about .55 half face widths before the plane of the jaw.
    return min(max(offset_px / (0.55 * width_px / 2), -1.0), 1.0)


def _tent(grid: np.ndarray, across: np.ndarray, turn: float, depth_px: float) -> None:
    """Stretch the fabric from the tip of the nose to the chin, and let it stand off the face.

    Seen from the side, cloth bridges the hollow of the mouth and shows in front of the cheek.
    """
    sign = math.copysign(1.0, turn)
    tip, chin = grid[1, 2].copy(), grid[4, 2].copy()
    for row, share in ((2, 1 / 3), (3, 2 / 3)):
        behind = sign * float((tip + share * (chin - tip) - grid[row, 2]) @ across)
        if behind > 0:
            grid[row, 1:4] += (sign * behind * abs(turn) * across) * _MIDDLE_SHARE
    grid += (turn * depth_px * across) * _DEPTH


_MIDDLE_SHARE = np.array([0.5, 1.0, 0.5])[:, None]
_DEPTH = (np.array([0.1, 0.6, 1.0, 0.8, 0.4, 0.1])[:, None] * np.array([0.0, 0.7, 1.0, 0.7, 0.0]))[
    ..., None
]
"""How far each point of the grid stands off a face, in shares of the bulge."""


def _keep_apart(grid: np.ndarray, across: np.ndarray, least_px: float) -> None:
    """Push columns outwards along the eye line where the face turns away: they must not fold."""
    reach = grid @ across
    gaps = reach[:, 1:] - reach[:, :-1]
    if gaps.min() >= least_px:
        return
    for inner, outer, sign in ((2, 1, -1.0), (1, 0, -1.0), (2, 3, 1.0), (3, 4, 1.0)):
        missing = np.maximum(least_px - sign * (reach[:, outer] - reach[:, inner]), 0)
        reach[:, outer] += sign * missing
        grid[:, outer] += (sign * missing)[:, None] * across


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
    # All but the outermost knots: what lies beyond belongs to the first or the last cell.
    cell = np.searchsorted(knots[1:-1], values, side="right")
    return cell, ((values - knots[cell]) / (knots[cell + 1] - knots[cell]))[:, None]


def fit_points(
    uv: np.ndarray, landmarks: Landmarks, style: MaskStyle, bulge: float = 0.0
) -> np.ndarray:
    """Return where points of a mask land on this face, worn this way.

    Args:
        uv: (K, 2) points on the face chart.
        landmarks: one face.
        style: ``top``, ``bottom``, ``width``, ``slip``, ``pinned``, ``tilt_deg``, ``pivot``,
            ``shape``, ``flat_fit``, ``flip`` and ``seed`` are used.
        bulge: how far the mask stands off the face, in half face widths.

    Returns:
        (K, 2) float64 pixels.
    """
    u, v = uv[:, 0] * (-1.0 if style.flip else 1.0), uv[:, 1].astype(np.float64)
    if style.pinned:
        held = style.pinned * _smooth((np.abs(u) - PINNED_FROM) / (1 - PINNED_FROM))
        v = 0.5 + (v - 0.5) * (1 - GATHERED * held)
        slip = style.slip * (1 - held)
        width = style.width + (1 - style.width) * held
    else:
        slip, width = np.full_like(v, style.slip), np.full_like(v, style.width)
    worn = style.top + v * (1 + style.bottom - style.top) + (1 - style.hang) * slip
    grid = chart_grid(landmarks, bulge)
    sags = SAGS * (1 - v) * (1 - _smooth(np.abs(u) / SAGS_WITHIN))
    hangs = (style.hang * slip * (1 + sags))[:, None] * (grid[4, 2] - grid[0, 2])
    hold = _hold(grid, style.pivot)
    if style.shape:
        grid = _reshaped(grid, style)
    if style.flat_fit:
        grid = _flattened(grid)
    points = chart_to_image(np.stack([u * width, worn], axis=1), grid) + hangs
    if not style.tilt_deg:
        return points
    angle = math.radians(style.tilt_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    return (points - hold) @ np.array([[cos, sin], [-sin, cos]]) + hold


def _smooth(share: np.ndarray) -> np.ndarray:
    """Return 0 below 0, 1 above 1, and a smooth step between."""
    share = np.clip(share, 0, 1)
    return np.asarray(share * share * (3 - 2 * share))


def _hold(grid: np.ndarray, pivot: float) -> np.ndarray:
    """Return the image point that a mask turns about: the middle of the face, or near an ear."""
    ear = grid[0, 4 if pivot > 0 else 0]
    return np.asarray((1 - abs(pivot)) * grid[2, 2] + abs(pivot) * ear)


def _reshaped(grid: np.ndarray, style: MaskStyle) -> np.ndarray:
    """Shake the grid, so that no two masks of one design have the same cut or sit alike."""
    shake = style.shape * _shakes()[style.seed % SHAKES]
    if style.flip:
        shake = shake[:, ::-1] * [-1, 1]
    right, down = (grid[2, 4] - grid[2, 0]) / 2, grid[4, 2] - grid[0, 2]
    return grid + shake[..., :1] * right + shake[..., 1:] * down


@functools.cache
def _shakes() -> np.ndarray:
    """Return SHAKES smooth ways to shake a grid, (SHAKES, 6, 5, 2), deviation about 1."""
    few = np.random.default_rng(2).normal(0, 1, (SHAKES, 3, 3, 2))
    # Neighbours move together: cloth is cut in long curves.
    return np.stack([cv2.resize(one, (5, 6), interpolation=cv2.INTER_LINEAR) for one in few])


def _flattened(grid: np.ndarray) -> np.ndarray:
    """Return the grid as one homography of the chart would have it, fitted to six of its points.

    That is the fit of the original MaskTheFace: jaw, cheeks and nose are not followed.
    """
    uv = np.stack(np.meshgrid(COLUMNS_U, ROWS_V), axis=-1)
    six = [(0, 0), (0, 2), (0, 4), (3, 0), (4, 2), (3, 4)]
    rows, columns = zip(*six, strict=True)
    matrix, _ = cv2.findHomography(uv[rows, columns], grid[rows, columns])
    if matrix is None:
        return grid
    flat = cv2.perspectiveTransform(uv.reshape(1, -1, 2).astype(np.float64), matrix)
    return np.asarray(flat).reshape(6, 5, 2)


def art_positions(
    anchors_xy: np.ndarray, target_xy: np.ndarray, box: Box
) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each pixel of a region, where in the art it lies.

    Args:
        anchors_xy: (K, 2) pixels of the art.
        target_xy: (K, 2) pixels of the image, where the anchors land.
        box: the region of the image, (x0, y0, x1, y1), ends excluded.

    Returns:
        x and y in the art, each (y1 - y0, x1 - x0) float32.
    """
    unit = max(float(np.ptp(target_xy, axis=0).max()), 1.0)
    weights = thin_plate(target_xy / unit, anchors_xy)
    x0, y0, x1, y1 = box
    # The spline is smooth: solved on a coarse lattice, linear between.
    step = max(1.0, unit / 18)
    xs, across = _lattice(x0, x1, step)
    ys, down = _lattice(y0, y1, step)
    coarse = np.empty((len(ys), len(xs), 2))
    coarse[..., 0], coarse[..., 1] = xs / unit, ys[:, None] / unit
    mapped = thin_plate_map(coarse.reshape(-1, 2), target_xy / unit, weights)
    planes = mapped.astype(np.float32).T.reshape(2, len(ys), len(xs))
    art_x, art_y = down @ planes @ across.T
    return art_x, art_y


def _lattice(start: int, stop: int, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return lattice points that lie alike from both ends, and the weights (pixels, points)."""
    length = stop - start
    count = math.ceil((length - 1) / step) + 1
    points = start + (length - 1) / 2 + (np.arange(count) - (count - 1) / 2) * step
    distance = np.abs(np.arange(start, stop)[:, None] - points)
    distance /= -step
    distance += 1
    return points, np.maximum(distance, 0).astype(np.float32)


def thin_plate(source_xy: np.ndarray, target_xy: np.ndarray, smoothing: float = 3e-3) -> np.ndarray:
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
    square = (a[:, :1] - b[:, 0]) ** 2 + (a[:, 1:] - b[:, 1]) ** 2
    return 0.5 * square * np.log(square + 1e-20)
