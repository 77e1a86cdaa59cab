"""A sheet on the face chart to paint masks on, and the curves, folds and parts they are made of.

Convention: points are (u, v) on the face chart of geometry.py; colours are RGB 0-255 where they are
named and float32 0..1 on the sheet; light is a factor, 1 for fabric that faces the camera.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

U_RANGE = (-1.4, 1.4)
V_RANGE = (-0.5, 1.5)
SUPERSAMPLE = 4
"""Outlines are drawn this much larger and area-averaged, so that edges are smooth at any size."""
STRAP = (238, 238, 236)
STEEL = (172, 174, 178)
RUBBER = (44, 44, 47)
PLASTIC = (214, 215, 214)

Points = Sequence[tuple[float, float]]
Rgb = tuple[int, int, int]


class Canvas:
    """A sheet on the face chart that layers are painted on, bottom to top.

    Attributes:
        u, v: (h, w) float32 chart coordinates of each pixel.
        rgb: (h, w, 3) float32 premultiplied, 0..1. alpha: (h, w). dye: (h, w).
    """

    def __init__(self, px_per_u: int, color: Rgb, v_range: tuple[float, float] = V_RANGE) -> None:
        self.px_per_u = px_per_u
        self.v_range = v_range
        width = round((U_RANGE[1] - U_RANGE[0]) * px_per_u)
        height = round((v_range[1] - v_range[0]) * px_per_u)
        us = U_RANGE[0] + (np.arange(width, dtype=np.float32) + 0.5) / px_per_u
        vs = v_range[0] + (np.arange(height, dtype=np.float32) + 0.5) / px_per_u
        self.u, self.v = np.meshgrid(us, vs)
        self.color = np.array(color, np.float32) / 255
        self.rgb = np.zeros((height, width, 3), np.float32)
        self.alpha = np.zeros((height, width), np.float32)
        self.dye = np.zeros((height, width), np.float32)

    def area(self, outline: Points) -> np.ndarray:
        """Return the coverage (h, w) in 0..1 of a closed curve given by (u, v) points."""
        big = self._big_sheet()
        cv2.fillPoly(big, [self._pixels(outline)], 255)
        return self._shrunk(big)

    def line(self, points: Points, width_u: float, closed: bool = False) -> np.ndarray:
        """Return the coverage (h, w) in 0..1 of a stroke of ``width_u`` along (u, v) points."""
        big = self._big_sheet()
        thick = max(1, round(width_u * self.px_per_u * SUPERSAMPLE))
        cv2.polylines(big, [self._pixels(points)], closed, 255, thick)
        return self._shrunk(big)

    def disc(self, centre: tuple[float, float], radius_u: float) -> np.ndarray:
        """Return the coverage (h, w) in 0..1 of a disc."""
        distance = np.hypot(self.u - centre[0], self.v - centre[1])
        return np.clip((radius_u - distance) * self.px_per_u + 0.5, 0, 1)

    def _big_sheet(self) -> np.ndarray:
        height, width = self.alpha.shape
        return np.zeros((height * SUPERSAMPLE, width * SUPERSAMPLE), np.uint8)

    def _shrunk(self, big: np.ndarray) -> np.ndarray:
        size = self.alpha.shape[::-1]
        return cv2.resize(big, size, interpolation=cv2.INTER_AREA) / np.float32(255)

    def _pixels(self, points: Points) -> np.ndarray:
        uv = np.asarray(points, np.float32) - [U_RANGE[0], self.v_range[0]]
        return np.rint(uv * self.px_per_u * SUPERSAMPLE - 0.5).astype(np.int32)

    def paint(self, cover: np.ndarray, shade: np.ndarray | float, color: Rgb | None = None) -> None:
        """Lay fabric (``color`` None: the template's, dyeable) over what is there."""
        own = self.color if color is None else np.array(color, np.float32) / 255
        layer = own * np.broadcast_to(np.float32(shade), cover.shape)[..., None]
        self.rgb += cover[..., None] * (layer - self.rgb)
        self.dye += cover * ((1.0 if color is None else 0.0) - self.dye)
        self.alpha += cover * (1 - self.alpha)

    def shade(self, factor: np.ndarray) -> None:
        """Multiply what is painted by (h, w) light."""
        self.rgb *= factor[..., None]


def smooth(points: Points, steps: int = 12) -> list[tuple[float, float]]:
    """Return a closed Catmull-Rom curve through (u, v) points."""
    knots = np.asarray(points, float)
    before, after, beyond = (np.roll(knots, shift, axis=0) for shift in (1, -1, -2))
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (part[:, None] for part in (before, knots, after, beyond))
    curve = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return [tuple(point) for point in curve.reshape(-1, 2)]


def both_sides(right: Points) -> list[tuple[float, float]]:
    """Close a right half, given from top centre to bottom centre, with its mirror image."""
    left = [(-u, v) for u, v in reversed(right) if abs(u) > 1e-6]
    return [*right, *left]


def form_light(canvas: Canvas, bulge: float = 0.28) -> np.ndarray:
    """Return the shading of fabric rounded over a face: darker to the sides and under the chin."""
    side = np.clip(np.abs(canvas.u), 0, 1.2)
    under = np.clip(canvas.v - 0.68, 0, 1)
    ridge = np.exp(-((canvas.u / 0.2) ** 2) - ((canvas.v - 0.28) / 0.26) ** 2)
    # Beside the nose the fabric turns away from the light, over the mouth it stands out again.
    flank = np.exp(-(((np.abs(canvas.u) - 0.34) / 0.16) ** 2) - ((canvas.v - 0.2) / 0.2) ** 2)
    return 1.0 - bulge * side**2 - 0.42 * under**1.4 + 0.07 * ridge - 0.09 * flank


def crease(distance: np.ndarray, width: float, depth: float) -> np.ndarray:
    """Return the light of a fold: a dark line with a lit lip at a signed distance of 0."""
    x = distance / width
    return 1 - depth * np.exp(-(x**2)) + 0.5 * depth * np.exp(-((x - 1.6) ** 2))


def step(distance: np.ndarray, width: float) -> np.ndarray:
    """Return the light of a layer that ends: a shadow that fades away from the edge at 0."""
    beyond = np.clip(distance / width, 0, 1)
    return np.where(distance < 0, 1.0, 0.82 + 0.18 * beyond)


def straps(canvas: Canvas, ends: Sequence[tuple[Points, float]], color: Rgb = STRAP) -> None:
    """Paint straps of given width along (u, v) points, on both sides of the face."""
    for points, width_u in ends:
        for sign in (-1, 1):
            mirrored = [(sign * u, v) for u, v in points]
            # Behind the ears, under hair, nobody knows: there a strap is no longer drawn.
            seen = np.clip((1.16 - np.abs(canvas.u)) / 0.1, 0, 1)
            canvas.paint(canvas.line(mirrored, width_u) * seen, 0.9, color)
            # A round cord: lit along its middle.
            canvas.paint(0.5 * canvas.line(mirrored, width_u * 0.4) * seen, 1.03, color)


def ear_loops(canvas: Canvas, top: tuple[float, float], low: tuple[float, float]) -> None:
    """Paint thin straps from the mask's corners towards the ears."""
    ends = []
    for (u, v), ear in ((top, (1.14, 0.02)), (low, (1.14, 0.2))):
        bow = ((u + ear[0]) / 2, (v + ear[1]) / 2 + 0.015)
        ends.append((((u, v), bow, ear), 0.024))
    straps(canvas, ends)


def hem(canvas: Canvas, outline: Points, cover: np.ndarray, width_u: float) -> None:
    """Press a sewn edge into fabric: a band inside the outline, a seam where it ends."""
    band = canvas.line(outline, 2 * width_u, closed=True) * cover
    seam = canvas.line(outline, 2 * width_u + 0.02, closed=True) * cover - band
    canvas.shade(1 + 0.03 * band - 0.12 * np.clip(seam, 0, 1))


def piping(canvas: Canvas, outline: Points, width_u: float, color: Rgb) -> None:
    """Bind an outline with a band of another colour."""
    canvas.paint(canvas.line(outline, width_u, closed=True), 0.96, color)


def nose_wire(canvas: Canvas, v: float, cover: np.ndarray) -> None:
    """Press the wire's ridge into the fabric over the nose."""
    points = [(-0.3, v + 0.12), (-0.12, v + 0.02), (0, v), (0.12, v + 0.02), (0.3, v + 0.12)]
    canvas.shade(1 + (0.1 * canvas.line(points, 0.02) - 0.08 * canvas.line(points, 0.06)) * cover)


def valve(
    canvas: Canvas, centre: tuple[float, float], radius_u: float, color: Rgb = PLASTIC
) -> None:
    """Paint a round exhalation valve: a rim, a cap with slots, its shadow on the fabric."""
    u, v = centre
    shadow = canvas.disc((u, v + 0.03), radius_u * 1.2)
    canvas.shade(1 - 0.25 * shadow)
    distance = np.hypot(canvas.u - u, canvas.v - v) / radius_u
    light = 1.0 - 0.1 * (canvas.v - v) / radius_u - 0.16 * np.exp(-(((distance - 0.8) / 0.07) ** 2))
    slots = np.abs(np.sin((canvas.v - v) / radius_u * 7)) < 0.3
    light = light - 0.22 * slots * (distance < 0.62)
    canvas.paint(canvas.disc(centre, radius_u), light, color)


def perforate(canvas: Canvas, cover: np.ndarray, pace_u: float) -> None:
    """Punch rows of small dark holes into fabric."""
    row = np.floor(canvas.v / pace_u)
    x = (canvas.u / pace_u + 0.5 * (row % 2)) % 1 - 0.5
    y = (canvas.v / pace_u) % 1 - 0.5
    hole = np.clip((0.24 - np.hypot(x, y)) / 0.16 + 0.5, 0, 1)
    canvas.shade(1 - 0.75 * hole * cover)
