"""Mask art drawn by code: RGBA with anchor points, at whatever resolution the face needs.

Convention: art is drawn on the face chart of geometry.py (u across, v down). A template's ``rgba``
shows undyed fabric under even light; its alpha is straight (not premultiplied). Where ``dye`` is 0
the colour stays its own (straps, valves, filters).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

U_RANGE = (-1.35, 1.35)
V_RANGE = (-0.45, 1.45)
ROWS_V = np.array([0, 0.25, 0.5, 0.75, 1, 1.2])
COLUMNS_U = np.array([-1, -0.5, 0, 0.5, 1])
"""Where geometry.py knows the chart from landmarks, and so where drawn templates are pinned."""
SUPERSAMPLE = 4
"""Outlines are drawn this much larger and area-averaged, so that edges are smooth at any size."""

Points = Sequence[tuple[float, float]]
Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class MaskTemplate:
    """The art of one mask and where it belongs on a face.

    Attributes:
        name: for manifests.
        rgba: (h, w, 4) uint8, straight alpha.
        anchors_xy: (K, 2) float32 pixels in ``rgba``; at least 4 points, not on one line.
        anchors_uv: (K, 2) float32, the same points on the face chart.
        dye: (h, w) uint8, how far a colour or pattern takes; None for everywhere.
    """

    name: str
    rgba: np.ndarray
    anchors_xy: np.ndarray
    anchors_uv: np.ndarray
    dye: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.rgba.ndim != 3 or self.rgba.shape[2] != 4 or self.rgba.dtype != np.uint8:
            raise ValueError(f"{self.name}: rgba must be (h, w, 4) uint8, got {self.rgba.shape}")
        if self.anchors_xy.shape != self.anchors_uv.shape or self.anchors_xy.shape[1:] != (2,):
            raise ValueError(f"{self.name}: anchors_xy and anchors_uv must both be (K, 2)")
        spread = self.anchors_xy - self.anchors_xy.mean(axis=0)
        if len(self.anchors_xy) < 4 or np.linalg.matrix_rank(spread, tol=1e-3) < 2:
            raise ValueError(f"{self.name}: at least 4 anchors are needed, not all on one line")
        if self.dye is not None and self.dye.shape != self.rgba.shape[:2]:
            raise ValueError(
                f"{self.name}: dye must be {self.rgba.shape[:2]}, got {self.dye.shape}"
            )


@dataclass(frozen=True)
class Art:
    """How one template is drawn: its type, undyed colour, and the function that draws it."""

    kind: str
    color: tuple[int, int, int]
    draw: Callable[[Canvas], None]


class Canvas:
    """A sheet on the face chart that layers are painted on, bottom to top.

    Attributes:
        u, v: (h, w) float32 chart coordinates of each pixel.
        rgb: (h, w, 3) float32, 0..1. alpha: (h, w). dye: (h, w).
    """

    def __init__(self, px_per_u: int, color: tuple[int, int, int]) -> None:
        self.px_per_u = px_per_u
        width = round((U_RANGE[1] - U_RANGE[0]) * px_per_u)
        height = round((V_RANGE[1] - V_RANGE[0]) * px_per_u)
        us = U_RANGE[0] + (np.arange(width, dtype=np.float32) + 0.5) / px_per_u
        vs = V_RANGE[0] + (np.arange(height, dtype=np.float32) + 0.5) / px_per_u
        self.u, self.v = np.meshgrid(us, vs)
        self.color = np.array(color, np.float32) / 255
        self.rgb = np.zeros((height, width, 3), np.float32)
        self.alpha = np.zeros((height, width), np.float32)
        self.dye = np.zeros((height, width), np.float32)

    def area(self, outline: Points) -> np.ndarray:
        """Return the coverage (h, w) in 0..1 of a closed curve given by (u, v) points."""
        height, width = self.alpha.shape
        big = np.zeros((height * SUPERSAMPLE, width * SUPERSAMPLE), np.uint8)
        cv2.fillPoly(big, [self._pixels(outline)], 255)
        return cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA) / np.float32(255)

    def line(self, points: Points, width_u: float) -> np.ndarray:
        """Return the coverage (h, w) in 0..1 of a stroke of ``width_u`` along (u, v) points."""
        height, width = self.alpha.shape
        big = np.zeros((height * SUPERSAMPLE, width * SUPERSAMPLE), np.uint8)
        thick = max(1, round(width_u * self.px_per_u * SUPERSAMPLE))
        cv2.polylines(big, [self._pixels(points)], False, 255, thick)
        return cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA) / np.float32(255)

    def _pixels(self, points: Points) -> np.ndarray:
        uv = np.asarray(points, np.float32) - [U_RANGE[0], V_RANGE[0]]
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
    under = np.clip(canvas.v - 0.7, 0, 1)
    nose = np.exp(-((canvas.u / 0.22) ** 2) - ((canvas.v - 0.25) / 0.3) ** 2)
    return 1.0 - bulge * side**2 - 0.45 * under**1.5 + 0.06 * nose


def crease(canvas: Canvas, distance: np.ndarray, width: float, depth: float) -> np.ndarray:
    """Return the light of a fold: a dark line with a lit lip at a signed distance of 0."""
    x = distance / width
    return 1 - depth * np.exp(-(x**2)) + 0.5 * depth * np.exp(-((x - 1.6) ** 2))


def ear_loops(
    canvas: Canvas, top: tuple[float, float], low: tuple[float, float], shade: float
) -> None:
    """Paint thin straps from the mask's corners towards the ears."""
    for sign in (-1, 1):
        for (u, v), end in ((top, (1.16, 0.02)), (low, (1.16, 0.22))):
            bow = ((u + end[0]) / 2, (v + end[1]) / 2 + 0.015)
            points = [(sign * u, v), (sign * bow[0], bow[1]), (sign * end[0], end[1])]
            canvas.paint(canvas.line(points, 0.028), shade, (236, 236, 236))


SURGICAL = ((0.0, 0.0), (0.16, 0.02), (0.38, 0.13), (0.66, 0.15), (0.90, 0.12), (0.95, 0.30))
SURGICAL_LOW = ((0.90, 0.62), (0.72, 0.96), (0.40, 1.10), (0.0, 1.13))


def _surgical(canvas: Canvas, pleats: int, pleat_depth: float) -> None:
    ear_loops(canvas, (0.90, 0.15), (0.86, 0.66), 0.95)
    cover = canvas.area(smooth(both_sides((*SURGICAL, *SURGICAL_LOW))))
    canvas.paint(cover, form_light(canvas))
    light = np.ones_like(canvas.u)
    # Pleats run across and sag in the middle; they flatten towards the nose.
    sag = 0.10 * (1 - canvas.u**2)
    for place in np.linspace(0.34, 0.80, pleats):
        light *= crease(canvas, canvas.v - place - sag * (place - 0.3), 0.016, pleat_depth)
    hem = 0.05 + 0.12 * np.clip(np.abs(canvas.u) / 0.6, 0, 1) ** 1.5
    light *= crease(canvas, canvas.v - hem - 0.03, 0.012, 0.10)
    light *= crease(canvas, canvas.v - 1.03 + 0.16 * canvas.u**2, 0.012, 0.10)
    canvas.shade(1 + (light - 1) * cover)


def surgical_pleated(canvas: Canvas) -> None:
    """Three-ply medical mask with three pleats and ear loops."""
    _surgical(canvas, pleats=3, pleat_depth=0.16)


def surgical_flat(canvas: Canvas) -> None:
    """The same worn stretched: many faint pleats."""
    _surgical(canvas, pleats=5, pleat_depth=0.07)


def n95_cup(canvas: Canvas) -> None:
    """Moulded cup with a metal nose clip and straps round the head."""
    for sign in (-1, 1):
        canvas.paint(
            canvas.line([(sign * 0.72, 0.3), (sign * 1.3, -0.12)], 0.035), 0.9, (225, 205, 150)
        )
        canvas.paint(
            canvas.line([(sign * 0.74, 0.6), (sign * 1.3, 0.45)], 0.035), 0.85, (225, 205, 150)
        )
    half = (
        (0.0, -0.04),
        (0.2, 0.04),
        (0.48, 0.18),
        (0.76, 0.34),
        (0.80, 0.58),
        (0.66, 0.9),
        (0.0, 1.08),
    )
    cover = canvas.area(smooth(both_sides(half)))
    radius = np.hypot(canvas.u / 0.85, (canvas.v - 0.52) / 0.62)
    cup = 1.03 - 0.26 * np.clip(radius, 0, 1.2) ** 3 - 0.12 * (canvas.v - 0.4)
    canvas.paint(cover, cup)
    canvas.shade(1 + (crease(canvas, radius - 0.84, 0.025, 0.07) - 1) * cover)
    clip = canvas.line([(-0.2, 0.10), (-0.09, 0.03), (0, 0.01), (0.09, 0.03), (0.2, 0.10)], 0.045)
    canvas.paint(clip * cover, 0.85, (170, 172, 176))


def n95_duckbill(canvas: Canvas) -> None:
    """Pouch that stands out in front of the mouth."""
    for sign in (-1, 1):
        canvas.paint(
            canvas.line([(sign * 0.74, 0.36), (sign * 1.3, 0.0)], 0.03), 0.9, (230, 230, 225)
        )
    half = (
        (0.0, 0.0),
        (0.26, 0.07),
        (0.62, 0.26),
        (0.84, 0.52),
        (0.72, 0.72),
        (0.42, 1.02),
        (0.0, 1.12),
    )
    cover = canvas.area(smooth(both_sides(half)))
    edge = 0.56 + 0.03 * canvas.u**2
    upper = np.clip((edge - canvas.v) / 0.04 + 0.5, 0, 1)
    canvas.paint(cover, 0.80 + 0.24 * upper - 0.2 * canvas.u**2)
    canvas.shade(1 + (crease(canvas, canvas.v - edge, 0.018, 0.2) - 1) * cover)


def _kn95(canvas: Canvas, seam_depth: float) -> np.ndarray:
    ear_loops(canvas, (0.88, 0.24), (0.82, 0.62), 0.95)
    half = (
        (0.0, -0.06),
        (0.16, 0.02),
        (0.46, 0.16),
        (0.88, 0.2),
        (0.9, 0.42),
        (0.78, 0.8),
        (0.34, 1.08),
    )
    cover = canvas.area(smooth(both_sides((*half, (0.0, 1.13)))))
    facet = 1.02 - 0.30 * np.abs(canvas.u) - 0.3 * np.clip(canvas.v - 0.65, 0, 1)
    canvas.paint(cover, facet)
    canvas.shade(1 + (crease(canvas, canvas.u, 0.02, seam_depth) - 1) * cover)
    return cover


def kn95_fold(canvas: Canvas) -> None:
    """Fold-flat mask with a seam down the middle and welded ribs."""
    cover = _kn95(canvas, 0.22)
    slant = np.abs(canvas.u) - 0.55 - 0.12 * canvas.v
    canvas.shade(1 + (crease(canvas, slant, 0.014, 0.10) - 1) * cover)


def kn95_boat(canvas: Canvas) -> None:
    """Three-panel fish mask: two folds across."""
    cover = _kn95(canvas, 0.0)
    for place, bend in ((0.33, 0.18), (0.80, -0.16)):
        fold = canvas.v - place - bend * canvas.u**2
        canvas.shade(1 + (crease(canvas, fold, 0.016, 0.2) - 1) * cover)


def cloth_pitta(canvas: Canvas) -> None:
    """Stretch mask in one piece with a seam, cut round the ears."""
    half = (
        (0.0, -0.02),
        (0.18, 0.06),
        (0.46, 0.17),
        (0.78, 0.12),
        (1.08, 0.02),
        (1.14, 0.07),
        (1.02, 0.22),
        (0.93, 0.44),
        (0.88, 0.74),
        (0.66, 1.02),
        (0.0, 1.15),
    )
    cover = canvas.area(smooth(both_sides(half)))
    canvas.paint(cover, form_light(canvas, 0.24))
    canvas.shade(1 + (crease(canvas, canvas.u, 0.015, 0.16) - 1) * cover)


def cloth_fitted(canvas: Canvas) -> None:
    """Sewn two-panel mask with a curved seam and a stitched hem."""
    ear_loops(canvas, (0.94, 0.16), (0.88, 0.56), 0.4)
    half = (
        (0.0, -0.04),
        (0.14, 0.02),
        (0.44, 0.15),
        (0.95, 0.12),
        (0.95, 0.34),
        (0.88, 0.62),
        (0.62, 1.02),
    )
    cover = canvas.area(smooth(both_sides((*half, (0.0, 1.12)))))
    canvas.paint(cover, form_light(canvas, 0.3))
    canvas.shade(1 + (crease(canvas, canvas.u, 0.02, 0.22) - 1) * cover)
    canvas.shade(1 + (crease(canvas, np.abs(canvas.u) - 0.86, 0.012, 0.12) - 1) * cover)


def cloth_wide(canvas: Canvas) -> None:
    """Home-made mask, wide and straight, gathered at the sides."""
    ear_loops(canvas, (0.98, 0.10), (0.96, 0.62), 0.8)
    half = (
        (0.0, 0.02),
        (0.4, 0.10),
        (0.72, 0.06),
        (1.0, 0.04),
        (1.03, 0.34),
        (0.98, 0.72),
        (0.82, 1.06),
    )
    cover = canvas.area(smooth(both_sides((*half, (0.4, 1.16), (0.0, 1.18)))))
    canvas.paint(cover, form_light(canvas, 0.26))
    gather = 1 - 0.14 * np.clip(np.abs(canvas.u) - 0.7, 0, 1) / 0.3 * (
        0.5 + 0.5 * np.sin(canvas.v * 40)
    )
    canvas.shade(1 + (gather - 1) * cover)


def cloth_tube(canvas: Canvas) -> None:
    """Neck tube pulled up over the nose: reaches round the head and down the neck."""
    half = (
        (0.0, -0.06),
        (0.2, 0.03),
        (0.5, 0.12),
        (0.9, 0.04),
        (1.12, 0.0),
        (1.12, 0.5),
        (1.06, 1.0),
    )
    cover = canvas.area(smooth(both_sides((*half, (0.96, 1.4), (0.4, 1.42), (0.0, 1.42)))))
    canvas.paint(cover, form_light(canvas, 0.3))
    drape = np.sin(canvas.v * 17 + 5 * canvas.u**2)
    canvas.shade(1 + 0.08 * drape * np.clip(canvas.v - 0.3, 0, 1) * cover)


def gas_half(canvas: Canvas) -> None:
    """Half-face respirator: rubber body, two round filters, exhalation valve."""
    for sign in (-1, 1):
        canvas.paint(canvas.line([(sign * 0.6, 0.25), (sign * 1.3, -0.1)], 0.07), 0.8, (40, 40, 42))
        canvas.paint(canvas.line([(sign * 0.6, 0.75), (sign * 1.3, 0.5)], 0.07), 0.8, (40, 40, 42))
    half = (
        (0.0, -0.08),
        (0.18, 0.0),
        (0.42, 0.2),
        (0.66, 0.42),
        (0.66, 0.74),
        (0.46, 1.04),
        (0.0, 1.14),
    )
    cover = canvas.area(smooth(both_sides(half)))
    canvas.paint(cover, form_light(canvas, 0.6))
    for sign in (-1, 1):
        radius = np.hypot(canvas.u - sign * 0.58, (canvas.v - 0.62) * 1.05)
        disc = np.clip((0.30 - radius) * canvas.px_per_u + 0.5, 0, 1)
        rings = 0.9 - 0.5 * radius / 0.3 + 0.12 * np.sin(radius * 75)
        canvas.paint(disc, rings, (120, 118, 124))
    radius = np.hypot(canvas.u, canvas.v - 0.66)
    valve = np.clip((0.17 - radius) * canvas.px_per_u + 0.5, 0, 1)
    canvas.paint(valve, 1.0 - 1.6 * radius, (70, 70, 74))


def empty(canvas: Canvas) -> None:
    """A flat shape, as the original tool's ``empty``: the region and nothing in it."""
    canvas.paint(canvas.area(smooth(both_sides((*SURGICAL, *SURGICAL_LOW)))), 1.0)


TEMPLATES: dict[str, Art] = {
    "surgical_pleated": Art("surgical", (150, 195, 220), surgical_pleated),
    "surgical_flat": Art("surgical", (150, 195, 220), surgical_flat),
    "n95_cup": Art("N95", (236, 234, 228), n95_cup),
    "n95_duckbill": Art("N95", (236, 234, 228), n95_duckbill),
    "kn95_fold": Art("KN95", (238, 238, 236), kn95_fold),
    "kn95_boat": Art("KN95", (238, 238, 236), kn95_boat),
    "cloth_pitta": Art("cloth", (70, 72, 78), cloth_pitta),
    "cloth_fitted": Art("cloth", (60, 80, 120), cloth_fitted),
    "cloth_wide": Art("cloth", (200, 196, 188), cloth_wide),
    "cloth_tube": Art("cloth", (50, 50, 56), cloth_tube),
    "gas_half": Art("gas", (48, 50, 54), gas_half),
}
"""What sample_style and the type ``random`` draw from."""

SPECIAL: dict[str, Art] = {
    "empty": Art("empty", (0, 0, 0), empty),
    "inpaint": Art("inpaint", (0, 0, 0), empty),
}
"""Asked for by name only: neither looks like a mask."""

TYPES: dict[str, tuple[str, ...]] = {
    kind: tuple(name for name, art in TEMPLATES.items() if art.kind == kind)
    for kind in ("surgical", "N95", "KN95", "cloth", "gas")
}


@functools.lru_cache(maxsize=128)
def load_template(name: str, px_per_u: int = 128) -> MaskTemplate:
    """Draw a template, once for each name and size.

    Args:
        name: a name of TEMPLATES, or ``empty`` or ``inpaint``.
        px_per_u: resolution; half the face's width in pixels, or somewhat more.

    Raises:
        ValueError: an unknown name.
    """
    art = TEMPLATES.get(name) or SPECIAL.get(name)
    if art is None:
        raise ValueError(f"unknown template {name!r}; have {', '.join([*TEMPLATES, *SPECIAL])}")
    canvas = Canvas(px_per_u, art.color)
    art.draw(canvas)
    # The canvas holds premultiplied layers; a template is straight, like a user's PNG.
    opaque = np.maximum(canvas.alpha, 1e-3)
    rgba = np.dstack([np.clip(canvas.rgb / opaque[..., None], 0, 1), canvas.alpha])
    anchors_uv = chart_anchors()
    anchors_xy = (anchors_uv - [U_RANGE[0], V_RANGE[0]]) * px_per_u - 0.5
    return MaskTemplate(
        name,
        _to_uint8(rgba),
        anchors_xy.astype(np.float32),
        anchors_uv,
        _to_uint8(canvas.dye / opaque),
    )


def _to_uint8(layer: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(layer, 0, 1) * 255).astype(np.uint8)


def chart_anchors() -> np.ndarray:
    """Return the (K, 2) points of the face chart that drawn templates are pinned to."""
    return np.stack(np.meshgrid(COLUMNS_U, ROWS_V), axis=-1).reshape(-1, 2).astype(np.float32)
