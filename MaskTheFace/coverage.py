"""What a rendered mask covers, and what follows from it: how it is worn, and of which class it is.

Wearing a mask means that it covers the tip of the nose and the mouth; what was asked for does not
matter, only what is on the picture.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from MaskTheFace.landmarks import Landmarks

Wear = Literal["correct", "chin_out", "nose_out", "under_chin", "one_ear", "forehead"]
"""correct: over nose, mouth and chin; chin_out: over nose and mouth; nose_out: over the mouth, not
the nose; the others cover no mouth: below it, beside it, or above it, over brow or eyes."""
WEARS: tuple[Wear, ...] = get_args(Wear)
WORN: tuple[Wear, ...] = ("correct", "chin_out")
"""Ways that count as wearing a mask: nose and mouth are covered."""
WRONG: tuple[Wear, ...] = ("nose_out", "under_chin", "one_ear", "forehead")
WEARING, WRONGLY = "wearing_mask", "worn_incorrectly"
COVERED = 0.5
"""From this mean alpha on a landmark is covered."""
SEEN = 0.08
"""A mask is in the picture where it shows on this share of the face's square at least. With less,
a hem beside the ear or below the chin is cut off by the random crop of training, while the label
stays: at .05 a network saw none of those that hang from an ear (reports/LOG.md)."""
COVER_RADIUS = 0.03
"""A landmark counts as covered by the mean alpha in a disc of this share of the face width."""


@dataclass(frozen=True)
class Covered:
    """Mean alpha over the tip of the nose, the mouth and the chin, each 0..1."""

    nose: float
    mouth: float
    chin: float


def covered_shares(
    alpha: np.ndarray, landmarks: Landmarks, width_px: float | None = None
) -> Covered:
    """Return how far the tip of the nose (30), the mouth (48-67) and the chin (8) are covered.

    A landmark beyond the border of the picture counts as the nearest pixel inside. ``width_px`` is
    the face width, where it is known already.
    """
    xy = landmarks.xy
    radius = max(1.0, COVER_RADIUS * (width_px or landmarks.width_px))
    height, width = alpha.shape
    points = np.stack([xy[30], xy[48:68].mean(axis=0), xy[8]])
    centres = np.rint(points).astype(np.intp)
    xs, ys = _disc(math.floor(4 * radius) / 4)
    rows = np.minimum(np.maximum(centres[:, 1:] + ys, 0), height - 1)
    columns = np.minimum(np.maximum(centres[:, :1] + xs, 0), width - 1)
    nose, mouth, chin = alpha[rows, columns].mean(axis=1).tolist()
    return Covered(nose, mouth, chin)


@functools.lru_cache(maxsize=512)
def _disc(radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the (x, y) offsets of the pixels of a disc."""
    reach = math.ceil(radius)
    ys, xs = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = xs**2 + ys**2 <= radius**2
    return xs[inside], ys[inside]


def label_of(way: str) -> str:
    """Return the class of a way of wearing; empty for a mask that cannot be seen.

    Raises:
        ValueError: no such way.
    """
    if way not in (*WEARS, ""):
        raise ValueError(f"unknown way to wear a mask {way!r}; have {', '.join(WEARS)}")
    return WEARING if way in WORN else way and WRONGLY


def way_of(alpha: np.ndarray, landmarks: Landmarks, covered: Covered) -> Wear | Literal[""]:
    """Name how a rendered mask is worn.

    Args:
        alpha: (H, W) float32 in 0..1, what the mask hides.
        landmarks: the face, in the same pixels.
        covered: mean alpha on nose, mouth and chin.

    Returns:
        The way; empty where no mask is to be seen, or only a veil of one.
    """
    if covered.mouth >= COVERED and covered.nose >= COVERED:
        return "correct" if covered.chin >= COVERED else "chin_out"
    if float(alpha.sum()) < SEEN * landmarks.width_px**2 or float(alpha.max()) < COVERED:
        return ""
    if covered.mouth >= COVERED:
        return "nose_out"
    across, down = _centre(alpha, landmarks)
    if down < 0.25:
        return "forehead"
    return "one_ear" if abs(across) > 0.5 else "under_chin"


def _centre(alpha: np.ndarray, landmarks: Landmarks) -> tuple[float, float]:
    """Return where the middle of a mask lies: across, in half face widths from the middle of the
    face, and down, 0 at the bridge of the nose and 1 at the chin."""
    rows, columns = np.nonzero(alpha > COVERED)
    if not len(rows):
        rows, columns = np.nonzero(alpha > 0)
    middle = np.array([columns.mean(), rows.mean()])
    xy = landmarks.xy.astype(np.float64)
    bridge, chin = xy[28], xy[8]
    axis = chin - bridge
    length = max(float(np.hypot(*axis)), 1e-6)
    axis /= length
    side = np.array([axis[1], -axis[0]])
    offset = middle - bridge
    return float(offset @ side) / (landmarks.width_px / 2), float(offset @ axis) / length
