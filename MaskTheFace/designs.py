"""The masks themselves, painted on a Canvas: one short function each.

Shapes and proportions are our own, drawn from how such masks are cut and sewn. A half outline runs
down the right side, from the top of the nose to below the chin; its mirror image closes it.
"""

from __future__ import annotations

import numpy as np

from MaskTheFace.canvas import (
    PLASTIC,
    RUBBER,
    STEEL,
    Canvas,
    Points,
    both_sides,
    crease,
    ear_loops,
    form_light,
    hem,
    nose_wire,
    perforate,
    piping,
    smooth,
    step,
    straps,
    valve,
)

SURGICAL = (
    *((0.0, 0.03), (0.16, 0.05), (0.38, 0.13), (0.66, 0.15), (0.90, 0.12), (0.97, 0.30)),
    *((0.98, 0.62), (0.94, 0.92), (0.66, 1.10), (0.30, 1.12), (0.0, 1.12)),
)
SURGICAL_SHORT = (
    *((0.0, 0.06), (0.16, 0.09), (0.36, 0.18), (0.62, 0.22), (0.84, 0.22), (0.88, 0.36)),
    *((0.88, 0.60), (0.80, 0.86), (0.54, 1.05), (0.24, 1.09), (0.0, 1.09)),
)
CUP = (
    *((0.0, -0.04), (0.2, 0.04), (0.48, 0.18), (0.76, 0.34), (0.84, 0.58)),
    *((0.78, 0.86), (0.5, 1.08), (0.0, 1.13)),
)
DUCKBILL = (
    *((0.0, 0.0), (0.26, 0.07), (0.62, 0.26), (0.84, 0.52)),
    *((0.8, 0.78), (0.54, 1.06), (0.0, 1.15)),
)
FOLD_FLAT = (
    *((0.0, -0.06), (0.16, 0.02), (0.46, 0.16), (0.88, 0.2)),
    *((0.95, 0.44), (0.92, 0.8), (0.62, 1.07), (0.26, 1.12), (0.0, 1.13)),
)
PITTA = (
    *((0.0, 0.03), (0.18, 0.08), (0.46, 0.15), (0.78, 0.12), (1.08, 0.02), (1.13, 0.06)),
    *((1.06, 0.22), (0.97, 0.44), (0.96, 0.76), (0.80, 1.02), (0.40, 1.11), (0.0, 1.12)),
)
FITTED = (
    *((0.0, -0.01), (0.14, 0.04), (0.44, 0.14), (0.95, 0.12), (0.97, 0.34)),
    *((0.96, 0.64), (0.86, 0.96), (0.50, 1.09), (0.0, 1.12)),
)
WIDE = (
    *((0.0, 0.02), (0.4, 0.10), (0.72, 0.06), (1.0, 0.04), (1.03, 0.34)),
    *((1.03, 0.72), (0.97, 1.02), (0.5, 1.12), (0.0, 1.13)),
)
TUBE = (
    *((0.0, -0.06), (0.2, 0.03), (0.5, 0.12), (0.9, 0.04), (1.16, 0.0), (1.16, 0.5)),
    *((1.1, 1.0), (1.0, 1.42), (0.4, 1.44), (0.0, 1.44)),
)
BANDANA = (
    *((0.0, -0.02), (0.2, 0.05), (0.55, 0.10), (0.95, 0.06), (1.22, -0.02), (1.2, 0.22)),
    *((1.0, 0.62), (0.7, 1.06), (0.35, 1.34), (0.0, 1.46)),
)
POINTED = (
    *((0.0, -0.02), (0.12, 0.04), (0.40, 0.19), (0.72, 0.22), (0.98, 0.10), (1.0, 0.26)),
    *((0.95, 0.58), (0.86, 0.92), (0.50, 1.09), (0.0, 1.13)),
)
RESPIRATOR = (
    *((0.0, -0.08), (0.18, 0.0), (0.42, 0.2), (0.66, 0.42)),
    *((0.66, 0.74), (0.46, 1.04), (0.0, 1.14)),
)
FULL_FACE = (
    *((0.0, -0.84), (0.45, -0.8), (0.86, -0.56), (0.99, -0.1), (0.94, 0.4)),
    *((0.74, 0.84), (0.42, 1.1), (0.0, 1.16)),
)
VISOR = (
    (0.0, -0.7),
    (0.4, -0.66),
    (0.76, -0.46),
    (0.86, -0.1),
    (0.72, 0.2),
    (0.34, 0.3),
    (0.0, 0.12),
)


def _outline(half: Points) -> list[tuple[float, float]]:
    return smooth(both_sides(half))


def _lit(canvas: Canvas, light: np.ndarray, cover: np.ndarray) -> None:
    """Multiply by ``light`` inside ``cover`` only."""
    canvas.shade(1 + (light - 1) * cover)


def _surgical(canvas: Canvas, half: Points, pleats: int, depth: float) -> np.ndarray:
    outline = _outline(half)
    cover = canvas.area(outline)
    canvas.paint(cover, form_light(canvas))
    light = np.ones_like(canvas.u)
    # Pleats run across and sag in the middle; each layer throws a shadow on the next.
    sag = 0.10 * (1 - canvas.u**2)
    for place in np.linspace(0.34, 0.80, pleats):
        below = canvas.v - place - sag * (place - 0.3)
        light = light * crease(below, 0.016, depth) * step(below, 0.1) ** (2 * depth)
    upper = 0.05 + 0.12 * np.clip(np.abs(canvas.u) / 0.6, 0, 1) ** 1.5
    light = light * crease(canvas.v - upper - 0.03, 0.012, 0.10)
    light = light * crease(canvas.v - 1.03 + 0.16 * canvas.u**2, 0.012, 0.10)
    light = light * crease(np.abs(canvas.u) - 0.84, 0.012, 0.10)
    _lit(canvas, light, cover)
    nose_wire(canvas, half[0][1] + 0.06, cover)
    return cover


def surgical_pleated(canvas: Canvas) -> None:
    """Three-ply medical mask with three pleats and ear loops."""
    ear_loops(canvas, (0.90, 0.15), (0.86, 0.66))
    _surgical(canvas, SURGICAL, pleats=3, depth=0.16)


def surgical_flat(canvas: Canvas) -> None:
    """The same worn stretched: many faint pleats."""
    ear_loops(canvas, (0.90, 0.15), (0.86, 0.66))
    _surgical(canvas, SURGICAL, pleats=5, depth=0.07)


def surgical_short(canvas: Canvas) -> None:
    """A small one that stands off the cheeks, its sides gathered by the loops."""
    ear_loops(canvas, (0.83, 0.24), (0.80, 0.62))
    cover = _surgical(canvas, SURGICAL_SHORT, pleats=3, depth=0.24)
    side = np.clip((np.abs(canvas.u) - 0.5) / 0.35, 0, 1)
    _lit(canvas, 1 - 0.14 * side * (0.5 + 0.5 * np.sin(canvas.v * 26)), cover)


def surgical_tied(canvas: Canvas) -> None:
    """Tied behind the head: two straps a side, one up over the ear, one down round the neck."""
    straps(canvas, [(((0.88, 0.16), (1.4, -0.48)), 0.07), (((0.84, 0.7), (1.4, 0.62)), 0.07)])
    cover = _surgical(canvas, SURGICAL, pleats=3, depth=0.13)
    _lit(canvas, crease(canvas.v - 0.13, 0.012, 0.1), cover)


def _cup(canvas: Canvas) -> None:
    bands = [(((0.72, 0.3), (1.4, -0.2)), 0.045), (((0.74, 0.6), (1.4, 0.42)), 0.045)]
    straps(canvas, bands, (226, 208, 152))
    cover = canvas.area(_outline(CUP))
    radius = np.hypot(canvas.u / 0.85, (canvas.v - 0.52) / 0.62)
    cup = 1.03 - 0.3 * np.clip(radius, 0, 1.2) ** 3 - 0.14 * (canvas.v - 0.4)
    canvas.paint(cover, cup)
    _lit(canvas, crease(radius - 0.84, 0.025, 0.09), cover)
    clip = canvas.line([(-0.2, 0.10), (-0.09, 0.03), (0, 0.01), (0.09, 0.03), (0.2, 0.10)], 0.045)
    canvas.paint(clip * cover, 0.9, STEEL)


def n95_cup(canvas: Canvas) -> None:
    """Moulded cup with a metal nose clip and straps round the head."""
    _cup(canvas)


def n95_valve(canvas: Canvas) -> None:
    """The cup with an exhalation valve in front of the mouth."""
    _cup(canvas)
    valve(canvas, (0.0, 0.62), 0.19)


def n95_duckbill(canvas: Canvas) -> None:
    """Pouch that stands out in front of the mouth."""
    straps(canvas, [(((0.74, 0.36), (1.4, -0.06)), 0.035), (((0.74, 0.6), (1.4, 0.5)), 0.035)])
    cover = canvas.area(_outline(DUCKBILL))
    edge = 0.56 + 0.03 * canvas.u**2
    upper = np.clip((edge - canvas.v) / 0.04 + 0.5, 0, 1)
    canvas.paint(cover, 0.80 + 0.24 * upper - 0.2 * canvas.u**2)
    _lit(canvas, crease(canvas.v - edge, 0.018, 0.2), cover)


def _fold_flat(canvas: Canvas, seam_depth: float) -> np.ndarray:
    ear_loops(canvas, (0.88, 0.24), (0.82, 0.62))
    outline = _outline(FOLD_FLAT)
    cover = canvas.area(outline)
    facet = 1.02 - 0.30 * np.abs(canvas.u) - 0.3 * np.clip(canvas.v - 0.65, 0, 1)
    canvas.paint(cover, facet)
    _lit(canvas, crease(canvas.u, 0.02, seam_depth), cover)
    hem(canvas, outline, cover, 0.04)
    return cover


def kn95_fold(canvas: Canvas) -> None:
    """Fold-flat mask with a seam down the middle and welded ribs."""
    cover = _fold_flat(canvas, 0.22)
    slant = np.abs(canvas.u) - 0.55 - 0.12 * canvas.v
    _lit(canvas, crease(slant, 0.014, 0.10), cover)
    nose_wire(canvas, 0.04, cover)


def kn95_valve(canvas: Canvas) -> None:
    """Fold-flat mask with a valve on one cheek."""
    _fold_flat(canvas, 0.2)
    valve(canvas, (0.46, 0.56), 0.16)


def kn95_boat(canvas: Canvas) -> None:
    """Three-panel fish mask: two folds across."""
    cover = _fold_flat(canvas, 0.0)
    for place, bend in ((0.33, 0.18), (0.80, -0.16)):
        below = canvas.v - place - bend * canvas.u**2
        _lit(canvas, crease(below, 0.016, 0.2) * step(below, 0.16) ** 0.5, cover)


def _pitta(canvas: Canvas) -> np.ndarray:
    cover = canvas.area(_outline(PITTA))
    canvas.paint(cover, form_light(canvas, 0.24))
    _lit(canvas, crease(canvas.u, 0.015, 0.16), cover)
    # The ear pulls the fabric: folds run from the ear loop towards the mouth.
    pull = np.abs(canvas.u) - 0.62 - 0.5 * np.abs(canvas.v - 0.3)
    _lit(canvas, crease(pull, 0.05, 0.06), cover)
    return cover


def cloth_pitta(canvas: Canvas) -> None:
    """Stretch mask in one piece with a seam, cut round the ears."""
    _pitta(canvas)


def cloth_vents(canvas: Canvas) -> None:
    """Stretch mask with a small valve on each side of the mouth."""
    _pitta(canvas)
    for sign in (-1, 1):
        valve(canvas, (sign * 0.4, 0.56), 0.12, (60, 60, 64))


def cloth_fitted(canvas: Canvas) -> None:
    """Sewn two-panel mask with a curved seam and a stitched hem."""
    ear_loops(canvas, (0.94, 0.16), (0.88, 0.56))
    outline = _outline(FITTED)
    cover = canvas.area(outline)
    canvas.paint(cover, form_light(canvas, 0.3))
    _lit(canvas, crease(canvas.u, 0.02, 0.22), cover)
    _lit(canvas, crease(np.abs(canvas.u) - 0.86, 0.012, 0.12), cover)
    hem(canvas, outline, cover, 0.035)


def cloth_bound(canvas: Canvas) -> None:
    """Sewn mask with bound edges and a valve on one cheek."""
    ear_loops(canvas, (0.94, 0.16), (0.88, 0.56))
    outline = _outline(FITTED)
    canvas.paint(canvas.area(outline), form_light(canvas, 0.3))
    piping(canvas, outline, 0.055, (52, 52, 56))
    valve(canvas, (0.42, 0.54), 0.14, PLASTIC)


def cloth_wide(canvas: Canvas) -> None:
    """Home-made mask, wide and straight, gathered at the sides."""
    ear_loops(canvas, (0.98, 0.10), (0.96, 0.62))
    outline = _outline(WIDE)
    cover = canvas.area(outline)
    canvas.paint(cover, form_light(canvas, 0.26))
    side = np.clip(np.abs(canvas.u) - 0.62, 0, 1) / 0.38
    _lit(canvas, 1 - 0.17 * side * (0.5 + 0.5 * np.sin(canvas.v * 34)), cover)
    for place in (0.36, 0.62, 0.86):
        below = canvas.v - place - 0.05 * (1 - canvas.u**2)
        _lit(canvas, crease(below, 0.03, 0.09), cover)
    hem(canvas, outline, cover, 0.04)


def cloth_pointed(canvas: Canvas) -> None:
    """Three-dimensional cut that stands off the mouth: a front and two side panels."""
    ear_loops(canvas, (0.98, 0.14), (0.92, 0.46))
    outline = _outline(POINTED)
    cover = canvas.area(outline)
    front = 1.05 - 0.5 * np.clip(canvas.v - 0.62, 0, 1)
    side = np.abs(canvas.u) - 0.42 - 0.1 * np.sin(canvas.v * 3)
    canvas.paint(cover, np.where(side > 0, 0.9 - 0.22 * np.clip(side, 0, 1), front))
    _lit(canvas, crease(side, 0.02, 0.2), cover)
    hem(canvas, outline, cover, 0.03)


def cloth_sport(canvas: Canvas) -> None:
    """Neoprene sports mask: perforated front, two valves, bound edges, wide straps."""
    straps(canvas, [(((0.9, 0.3), (1.4, 0.12)), 0.26)], (48, 48, 52))
    outline = _outline(FITTED)
    cover = canvas.area(outline)
    canvas.paint(cover, form_light(canvas, 0.34))
    panel = np.clip((0.36 - np.hypot(canvas.u, (canvas.v - 0.56) * 1.1)) * 12, 0, 1)
    perforate(canvas, panel * cover, 0.09)
    piping(canvas, outline, 0.06, (34, 34, 36))
    for sign in (-1, 1):
        valve(canvas, (sign * 0.52, 0.54), 0.15, (30, 30, 33))


def cloth_tube(canvas: Canvas) -> None:
    """Neck tube pulled up over the nose: reaches round the head and down the neck."""
    cover = canvas.area(_outline(TUBE))
    canvas.paint(cover, form_light(canvas, 0.3))
    drape = np.sin(canvas.v * 17 + 5 * canvas.u**2) + 0.6 * np.sin(canvas.v * 41 - 7 * canvas.u**2)
    _lit(canvas, 1 + 0.08 * drape * np.clip(canvas.v - 0.3, 0, 1), cover)


def cloth_scarf(canvas: Canvas) -> None:
    """Thick scarf wound over mouth and nose: heavy folds round the face."""
    cover = canvas.area(_outline(TUBE))
    canvas.paint(cover, form_light(canvas, 0.3))
    bend = canvas.v - 0.16 * (1 - canvas.u**2)
    light = np.ones_like(canvas.u)
    for place in (0.2, 0.42, 0.66, 0.92, 1.2):
        light = light * crease(bend - place, 0.05, 0.24) * step(bend - place, 0.2)
    _lit(canvas, light, cover)


def cloth_bandana(canvas: Canvas) -> None:
    """Kerchief knotted behind the head, its point hanging over the chin."""
    outline = _outline(BANDANA)
    cover = canvas.area(outline)
    canvas.paint(cover, form_light(canvas, 0.24))
    for slope, depth in ((0.55, 0.12), (0.9, 0.1), (1.5, 0.12)):
        hang = canvas.v - 0.1 - slope * (1 - np.abs(canvas.u)) * 0.8
        _lit(canvas, crease(hang, 0.05, depth), cover)
    hem(canvas, outline, cover, 0.025)


def _filters(canvas: Canvas, places: Points, radius_u: float) -> None:
    for centre in places:
        distance = np.hypot(canvas.u - centre[0], canvas.v - centre[1]) / radius_u
        canvas.shade(1 - 0.35 * canvas.disc((centre[0], centre[1] + 0.04), radius_u * 1.1))
        rings = 0.95 - 0.4 * distance + 0.12 * np.sin(distance * 22)
        canvas.paint(canvas.disc(centre, radius_u), rings, (122, 120, 126))


def gas_half(canvas: Canvas) -> None:
    """Half-face respirator: rubber body, two round filters, exhalation valve."""
    straps(canvas, [(((0.6, 0.25), (1.4, -0.15)), 0.08), (((0.6, 0.75), (1.4, 0.5)), 0.08)], RUBBER)
    canvas.paint(canvas.area(_outline(RESPIRATOR)), form_light(canvas, 0.6))
    _filters(canvas, [(-0.58, 0.62), (0.58, 0.62)], 0.30)
    valve(canvas, (0.0, 0.66), 0.17, (76, 76, 80))


def gas_full(canvas: Canvas) -> None:
    """Full-face gas mask: rubber frame, clear visor over the eyes, filter before the mouth."""
    straps(canvas, [(((0.9, -0.3), (1.4, -0.5)), 0.1), (((0.86, 0.4), (1.4, 0.4)), 0.1)], RUBBER)
    frame = canvas.area(_outline(FULL_FACE))
    canvas.paint(frame, form_light(canvas, 0.45))
    visor = canvas.area(_outline(VISOR))
    glare = 0.5 + 0.5 * np.clip(1 - np.abs(canvas.u + 0.5 * canvas.v + 0.5) / 0.12, 0, 1)
    canvas.paint(visor, glare, (205, 215, 220))
    clear = 1 - 0.8 * visor
    for layer in (canvas.alpha, canvas.rgb[..., 0], canvas.rgb[..., 1], canvas.rgb[..., 2]):
        layer *= clear
    _filters(canvas, [(0.0, 0.68)], 0.32)


def empty(canvas: Canvas) -> None:
    """A flat shape, as the original tool's ``empty``: the region and nothing in it."""
    canvas.paint(canvas.area(_outline(SURGICAL)), 1.0)
