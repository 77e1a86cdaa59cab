"""A sketch pad on a face: shapes drawn by formula, in units of the face, at the photo's own pixels.

Convention: x runs across the face and y down it, square to it; the unit is half the face's width,
the origin the bridge of the nose (point 28). Colours are 0..1, alpha 0..1, distances in units,
negative inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from MaskTheFace.landmarks import Landmarks

Point = tuple[float, float]
Color = tuple[float, float, float]


@dataclass(frozen=True)
class Frame:
    """Where a face lies: ``to_face`` takes pixels to the units of the face, (2, 3)."""

    to_face: np.ndarray
    unit_px: float

    @classmethod
    def of(cls, landmarks: Landmarks) -> Frame:
        """Return the frame of a face; it follows roll, not turn."""
        xy = landmarks.xy.astype(np.float64)
        unit = landmarks.width_px / 2
        eyes = xy[42:48].mean(axis=0) - xy[36:42].mean(axis=0)
        across = eyes / max(math.hypot(*eyes), 1e-6)
        turn = np.array([across, [-across[1], across[0]]]) / unit
        return cls(np.column_stack([turn, -turn @ xy[28]]), unit)

    def points(self, xy: np.ndarray) -> np.ndarray:
        """Return (N, 2) pixels in the units of the face."""
        return np.asarray(xy @ self.to_face[:, :2].T + self.to_face[:, 2])


def rod(
    x: np.ndarray, y: np.ndarray, start: Point, end: Point, radius: float, end_radius: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return distance to a rod with round ends, its radius there, and how far it stands out, 0..1.

    Args:
        x: (h, w) float32, coordinates; y: the same down. All else in their unit.
        start: where its axis begins; end: and ends.
        radius: at the start; end_radius: at the end.
    """
    along = np.subtract(end, start).astype(np.float32)
    x, y = x - np.float32(start[0]), y - np.float32(start[1])
    length = np.float32(max(float(along @ along), 1e-9))
    place = np.clip((x * along[0] + y * along[1]) / length, 0, 1)
    away = np.hypot(x - place * along[0], y - place * along[1])
    thick = np.float32(radius) + place * np.float32(end_radius - radius)
    return away - thick, thick, np.sqrt(np.clip(1 - (away / thick) ** 2, 0, 1))


def slab(x: np.ndarray, y: np.ndarray, half: Point, round_off: float) -> np.ndarray:
    """Return distance to a box about the origin with rounded corners, (h, w) as ``x`` and ``y``."""
    across = np.abs(x) - np.float32(half[0] - round_off)
    down = np.abs(y) - np.float32(half[1] - round_off)
    outside = np.hypot(np.maximum(across, 0), np.maximum(down, 0))
    return outside + np.minimum(np.maximum(across, down), 0) - np.float32(round_off)


class Pad:
    """What is drawn before a face, over a region of the photo.

    Attributes:
        x: (h, w) float32, coordinate across of each pixel. y: the same down.
        px: size of a pixel, in units.
        rgb: (h, w, 3) float32, premultiplied. alpha: (h, w) float32.
    """

    def __init__(self, frame: Frame, height: int, width: int) -> None:
        (a, b, c), (d, e, f) = frame.to_face.astype(np.float32)
        columns = np.arange(width, dtype=np.float32)
        rows = np.arange(height, dtype=np.float32)[:, None]
        self.x = a * columns + b * rows + c
        self.y = d * columns + e * rows + f
        self.px = 1 / frame.unit_px
        self.rgb = np.zeros((height, width, 3), np.float32)
        self.alpha = np.zeros((height, width), np.float32)

    def inside(self, distance: np.ndarray, soft: float = 0.0) -> np.ndarray:
        """Return the share of each pixel inside a shape, with an edge as soft as wanted."""
        width = max(self.px, soft)
        return np.clip(0.5 - distance / width, 0, 1)

    def lay(self, share: np.ndarray, color: Color, light: np.ndarray | float) -> None:
        """Lay a colour over what is there: ``share`` (h, w), ``light`` (h, w) or a number."""
        shade = np.clip(np.multiply.outer(light, np.asarray(color, np.float32)), 0, 1)
        self.rgb += share[..., None] * (shade - self.rgb)
        self.alpha += share * (1 - self.alpha)

    def cut(self, share: np.ndarray) -> None:
        """Take away what was drawn where ``share`` is 1."""
        self.rgb *= 1 - share[..., None]
        self.alpha *= 1 - share

    def turned(self, middle: Point, angle_deg: float) -> tuple[np.ndarray, np.ndarray]:
        """Return coordinates about a point, turned clockwise."""
        angle = math.radians(angle_deg)
        x, y = self.x - np.float32(middle[0]), self.y - np.float32(middle[1])
        cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        return cos * x + sin * y, cos * y - sin * x

    def capsule(
        self, start: Point, end: Point, radius: float, end_radius: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return distance to a rod with round ends, and how far it stands out, 1 at its axis."""
        last = radius if end_radius is None else end_radius
        distance, _, rise = rod(self.x, self.y, start, end, radius, last)
        return distance, rise

    def ellipse(
        self, middle: Point, half: Point, angle_deg: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return distance to an ellipse (near its edge) and its height as a ball, 0..1."""
        x, y = self.turned(middle, angle_deg)
        reach = np.hypot(x / half[0], y / half[1])
        return (reach - 1) * min(half), np.sqrt(np.clip(1 - reach**2, 0, 1))

    def box(
        self, middle: Point, half: Point, angle_deg: float = 0.0, round_off: float = 0.0
    ) -> np.ndarray:
        """Return distance to a turned box with rounded corners."""
        return slab(*self.turned(middle, angle_deg), half, round_off)

    def polygon(self, points: np.ndarray, frame: Frame, soft: float = 0.0) -> np.ndarray:
        """Return the share of each pixel inside a polygon of (N, 2) points in units."""
        turn = np.linalg.inv(frame.to_face[:, :2])
        pixels = (points - frame.to_face[:, 2]) @ turn.T
        share = np.zeros(self.alpha.shape, np.uint8)
        cv2.fillPoly(share, [np.rint(pixels * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        filled = share.astype(np.float32) / 255
        blur = soft / self.px / 2
        return np.asarray(cv2.GaussianBlur(filled, (0, 0), blur)) if blur > 0.3 else filled

    def strands(self, seed: int, along: np.ndarray, across: np.ndarray, fine: float) -> np.ndarray:
        """Return the texture of hair, about 1: streaks along one coordinate, fine across it."""
        rng = np.random.default_rng(seed)
        noise = rng.normal(0, 1, (64, 256)).astype(np.float32)
        sheet = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigmaX=1.0, sigmaY=7.0), np.float32)
        sheet /= np.float32(max(float(sheet.std()), 1e-6))
        columns = np.abs(np.mod(across * np.float32(fine), 510) - 255).astype(np.float32)
        # There and back again: the sheet has an end, hair shows none.
        rows = np.abs(np.mod(along * np.float32(20), 126) - 63).astype(np.float32)
        return np.asarray(1 + 0.16 * cv2.remap(sheet, columns, rows, cv2.INTER_LINEAR))

    def mottled(self, seed: int, fine: float, strength: float) -> np.ndarray:
        """Return uneven light, about 1: ``fine`` spots a unit, ``strength`` their spread."""
        rng = np.random.default_rng(seed)
        sheet = rng.normal(0, strength, (64, 64)).astype(np.float32)
        columns, rows = (
            np.abs(np.mod(place * np.float32(fine), 124) - 62).astype(np.float32)
            for place in (self.x, self.y)
        )
        return np.asarray(1 + cv2.remap(sheet, columns, rows, cv2.INTER_CUBIC))
