"""Mask art: RGBA with anchor points, drawn by code at whatever resolution the face needs.

Convention: art is drawn on the face chart of geometry.py (u across, v down). A template's ``rgba``
shows undyed fabric under even light; its alpha is straight (not premultiplied). Where ``dye`` is 0
the colour stays its own (straps, valves, filters).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from MaskTheFace import designs
from MaskTheFace.canvas import U_RANGE, V_RANGE, Canvas, Rgb

ROWS_V = np.array([0, 0.25, 0.5, 0.75, 1, 1.2])
COLUMNS_U = np.array([-1, -0.5, 0, 0.5, 1])
"""Where geometry.py knows the chart from landmarks, and so where drawn templates are pinned."""
TONE_UNIT = 1 / 200
PX_PER_U_STEPS = tuple(round(16 * 2 ** (step / 3)) for step in range(13))
"""Templates are drawn at these sizes, 16 to 256 px to half a face; the nearest one is taken. Larger
faces get the largest, enlarged: all designs at twice its size would fill a gigabyte."""


@dataclass(frozen=True)
class MaskTemplate:
    """The art of one mask and where it belongs on a face.

    Attributes:
        name: for manifests.
        rgba: (h, w, 4) uint8, straight alpha.
        anchors_xy: (K, 2) float32 pixels in ``rgba``; at least 4 points, not on one line.
        anchors_uv: (K, 2) float32, the same points on the face chart.
        dye: (h, w) uint8, how far a colour or pattern takes; None for everywhere.
        bulge: how far its middle stands off the face, in half face widths.
    """

    name: str
    rgba: np.ndarray
    anchors_xy: np.ndarray
    anchors_uv: np.ndarray
    dye: np.ndarray | None = None
    bulge: float = 0.05

    def __post_init__(self) -> None:
        if self.rgba.ndim != 3 or self.rgba.shape[2] != 4 or self.rgba.dtype != np.uint8:
            raise ValueError(f"{self.name}: rgba must be (h, w, 4) uint8, got {self.rgba.shape}")
        if self.anchors_xy.shape != self.anchors_uv.shape or self.anchors_xy.shape[1:] != (2,):
            raise ValueError(f"{self.name}: anchors_xy and anchors_uv must both be (K, 2)")
        for name in ("rgba", "anchors_xy", "anchors_uv", "dye"):
            if (array := getattr(self, name)) is not None:
                # Templates are shared by many masks: locked, through a view of the caller's array.
                locked = array.view()
                locked.flags.writeable = False
                object.__setattr__(self, name, locked)
        spread = self.anchors_xy - self.anchors_xy.mean(axis=0)
        if len(self.anchors_xy) < 4 or np.linalg.matrix_rank(spread, tol=1e-3) < 2:
            raise ValueError(f"{self.name}: at least 4 anchors are needed, not all on one line")
        if self.dye is not None and self.dye.shape != self.rgba.shape[:2]:
            raise ValueError(
                f"{self.name}: dye must be {self.rgba.shape[:2]}, got {self.dye.shape}"
            )

    @functools.cached_property
    def affine(self) -> np.ndarray:
        """The (2, 3) map from pixels of the art to the chart, fitted to the anchors."""
        xy1 = np.column_stack([self.anchors_xy, np.ones(len(self.anchors_xy))])
        solution, *_ = np.linalg.lstsq(xy1, self.anchors_uv.astype(np.float64), rcond=None)
        solution[np.abs(solution) < 1e-9] = 0
        return np.asarray(solution.T, np.float32)

    @functools.cached_property
    def px_per_u(self) -> float:
        """Pixels of the art to one u."""
        return float(1 / max(np.hypot(*self.affine[:, 0]), 1e-6))

    @functools.cached_property
    def premultiplied(self) -> np.ndarray:
        """The art as the warp wants it: (h, w, 4) uint8, colour times alpha."""
        alpha = self.rgba[..., 3:].astype(np.float32)
        color = np.rint(self.rgba[..., :3] * (alpha / 255)).astype(np.uint8)
        return np.dstack([color, self.rgba[..., 3]])

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the art, pixels."""
        height, width = self.rgba.shape[:2]
        return width, height

    @functools.cached_property
    def tones(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The art without its colour, as the warp wants it: fabric, trim, alpha.

        Each (h, w) uint8. Fabric and trim are light times alpha, in TONE_UNIT, relative to the
        undyed fabric where the art takes dye and to white where it does not.
        """
        alpha = self.rgba[..., 3]
        dye = np.full_like(alpha, 255) if self.dye is None else self.dye
        share = dye.astype(np.float32) / 255
        grey = self.rgba[..., :3].astype(np.float32).mean(axis=2) / 255 * (alpha / np.float32(255))
        parts = (grey * share / self.own_light, grey * (1 - share))
        fabric, trim = (
            np.clip(np.rint(part / TONE_UNIT), 0, 255).astype(np.uint8) for part in parts
        )
        return fabric, trim, alpha

    @functools.cached_property
    def own_light(self) -> float:
        """Median brightness of the solid, dyeable fabric, 0..1: what its folds are relative to."""
        solid = self.rgba[..., 3] > 230
        if self.dye is not None:
            solid &= self.dye > 127
        grey = self.rgba[..., :3].astype(np.float32).mean(axis=2) / 255
        return float(max(np.median(grey[solid]), 1e-2)) if solid.any() else 1.0

    @functools.cached_property
    def own_color(self) -> np.ndarray:
        """Median colour of the solid, dyeable fabric, (3,) float32, 0..1."""
        solid = self.rgba[..., 3] > 230
        if self.dye is not None:
            solid &= self.dye > 127
        rgb = self.rgba[..., :3][solid] if solid.any() else np.full((1, 3), 255)
        return np.asarray(np.median(rgb, axis=0) / 255, np.float32)

    @functools.cached_property
    def outline_uv(self) -> np.ndarray:
        """Twelve chart points (12, 2) around everything that is painted."""
        rows, columns = np.nonzero(self.rgba[..., 3] > 2)
        if not len(rows):
            return np.zeros((12, 2), np.float32)
        x0, x1, y0, y1 = columns.min() - 1, columns.max() + 1, rows.min() - 1, rows.max() + 1
        xs, ys = np.linspace(x0, x1, 4), np.linspace(y0, y1, 4)
        frame = [(x, y) for x in xs for y in (y0, y1)] + [(x, y) for y in ys[1:3] for x in (x0, x1)]
        return np.asarray(frame, np.float32) @ self.affine[:, :2].T + self.affine[:, 2]

    @functools.cached_property
    def fitted_uv(self) -> np.ndarray:
        """The anchors, then the outline: all chart points that are fitted to a face."""
        return np.concatenate([self.anchors_uv, self.outline_uv]).astype(np.float64)

    def chart(self, art_x: np.ndarray, art_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the chart coordinates (u, v) of pixels of the art, of the shape of ``art_x``."""
        (a, b, c), (d, e, f) = self.affine
        if b == d == 0:  # drawn art lies straight on its sheet
            return a * art_x + c, e * art_y + f
        return a * art_x + b * art_y + c, d * art_x + e * art_y + f

    def near(self, px_per_u: float) -> MaskTemplate:
        """Return the art shrunk by area to about ``px_per_u``, or itself where it is no larger.

        Like drawn art it comes at 256 px to half a face at most.
        """
        px_per_u = min(px_per_u, PX_PER_U_STEPS[-1])
        halvings = np.ceil(2 * np.log2(max(px_per_u / self.px_per_u, 1e-3)) - 0.3)
        scale = float(2.0 ** (halvings / 2))
        return self if scale >= 1 else self._level(scale)

    def _level(self, scale: float) -> MaskTemplate:
        levels = self.__dict__.setdefault("_levels", {})
        if scale not in levels:
            levels[scale] = self._shrunk(scale)
        return levels[scale]

    def _shrunk(self, scale: float) -> MaskTemplate:
        height, width = self.rgba.shape[:2]
        size = (max(8, round(width * scale)), max(8, round(height * scale)))
        ratio = np.array(size) / (width, height)
        layer = cv2.resize(self.premultiplied, size, interpolation=cv2.INTER_AREA)
        alpha = np.maximum(layer[..., 3:], 1)
        color = np.minimum(np.rint(layer[..., :3] * (255.0 / alpha)), 255).astype(np.uint8)
        dye = self.dye
        if dye is not None:
            dye = cv2.resize(dye, size, interpolation=cv2.INTER_AREA)
        anchors_xy = ((self.anchors_xy + 0.5) * ratio - 0.5).astype(np.float32)
        rgba = np.dstack([color, layer[..., 3]])
        return MaskTemplate(self.name, rgba, anchors_xy, self.anchors_uv, dye, self.bulge)


@dataclass(frozen=True)
class Art:
    """How one template is drawn: its type, undyed colour, the function that draws it.

    ``bulge`` as in MaskTemplate; ``v_range`` where the sheet must reach further than usual.
    """

    kind: str
    color: Rgb
    draw: Callable[[Canvas], None]
    bulge: float = 0.06
    v_range: tuple[float, float] = V_RANGE


BLUE, WHITE = (150, 195, 220), (238, 238, 236)
TEMPLATES: dict[str, Art] = {
    "surgical_pleated": Art("surgical", BLUE, designs.surgical_pleated, 0.05),
    "surgical_flat": Art("surgical", BLUE, designs.surgical_flat, 0.04),
    "surgical_short": Art("surgical", BLUE, designs.surgical_short, 0.07),
    "surgical_tied": Art("surgical", BLUE, designs.surgical_tied, 0.04),
    "n95_cup": Art("N95", (236, 234, 228), designs.n95_cup, 0.15),
    "n95_valve": Art("N95", (236, 234, 228), designs.n95_valve, 0.15),
    "n95_duckbill": Art("N95", (236, 234, 228), designs.n95_duckbill, 0.15),
    "kn95_fold": Art("KN95", WHITE, designs.kn95_fold, 0.12),
    "kn95_valve": Art("KN95", WHITE, designs.kn95_valve, 0.12),
    "kn95_boat": Art("KN95", WHITE, designs.kn95_boat, 0.10),
    "cloth_pitta": Art("cloth", (70, 72, 78), designs.cloth_pitta, 0.04),
    "cloth_vents": Art("cloth", (70, 72, 78), designs.cloth_vents, 0.04),
    "cloth_fitted": Art("cloth", (60, 80, 120), designs.cloth_fitted, 0.05),
    "cloth_bound": Art("cloth", (90, 94, 104), designs.cloth_bound, 0.05),
    "cloth_wide": Art("cloth", (200, 196, 188), designs.cloth_wide, 0.03),
    "cloth_pointed": Art("cloth", (188, 186, 182), designs.cloth_pointed, 0.10),
    "cloth_sport": Art("cloth", (62, 62, 66), designs.cloth_sport, 0.05),
    "cloth_tube": Art("cloth", (50, 50, 56), designs.cloth_tube, 0.01),
    "cloth_scarf": Art("cloth", (120, 92, 84), designs.cloth_scarf, 0.04),
    "cloth_bandana": Art("cloth", (150, 40, 44), designs.cloth_bandana, 0.02),
    "gas_half": Art("gas", (64, 66, 70), designs.gas_half, 0.12),
    "gas_full": Art("gas", (60, 62, 66), designs.gas_full, 0.07, (-0.95, 1.5)),
}
"""What sample_style and the type ``random`` draw from."""

SPECIAL: dict[str, Art] = {
    "empty": Art("empty", (0, 0, 0), designs.empty),
    "inpaint": Art("inpaint", (0, 0, 0), designs.empty),
}
"""Asked for by name only: neither looks like a mask."""

TYPES: dict[str, tuple[str, ...]] = {
    kind: tuple(name for name, art in TEMPLATES.items() if art.kind == kind)
    for kind in ("surgical", "N95", "KN95", "cloth", "gas")
}


def nearest_step(px_per_u: float) -> int:
    """Return the step of PX_PER_U_STEPS nearest to a wanted resolution."""
    place = round(3 * float(np.log2(max(px_per_u, 1.0) / 16)))
    return PX_PER_U_STEPS[min(max(place, 0), len(PX_PER_U_STEPS) - 1)]


@functools.lru_cache(maxsize=256)
def load_template(name: str, px_per_u: int = 128) -> MaskTemplate:
    """Draw a template, once for each name and size.

    Args:
        name: a name of TEMPLATES, or ``empty`` or ``inpaint``.
        px_per_u: resolution; about half the face's width in pixels.

    Raises:
        ValueError: an unknown name.
    """
    art = TEMPLATES.get(name) or SPECIAL.get(name)
    if art is None:
        raise ValueError(f"unknown template {name!r}; have {', '.join([*TEMPLATES, *SPECIAL])}")
    canvas = Canvas(px_per_u, art.color, art.v_range)
    art.draw(canvas)
    # The canvas holds premultiplied layers; a template is straight, like a user's PNG.
    opaque = np.maximum(canvas.alpha, 1e-3)
    rgba = np.dstack([np.clip(canvas.rgb / opaque[..., None], 0, 1), canvas.alpha])
    anchors_uv = chart_anchors()
    anchors_xy = (anchors_uv - [U_RANGE[0], art.v_range[0]]) * px_per_u - 0.5
    dye = _to_uint8(canvas.dye / opaque)
    return MaskTemplate(
        name, _to_uint8(rgba), anchors_xy.astype(np.float32), anchors_uv, dye, art.bulge
    )


def _to_uint8(layer: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(layer, 0, 1) * 255).astype(np.uint8)


def chart_anchors() -> np.ndarray:
    """Return the (K, 2) points of the face chart that drawn templates are pinned to."""
    return np.stack(np.meshgrid(COLUMNS_U, ROWS_V), axis=-1).reshape(-1, 2).astype(np.float32)
