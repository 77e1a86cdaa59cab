"""The fabric of one mask as it lies on one face, before the light of the photo: colour and folds.

Convention: planes are (h, w) float32 over the region of the mask, one for red, green and blue,
0..255, premultiplied; alpha is 0..1. Planes, because one factor for three channels is several times
faster on them.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np

from MaskTheFace.fabric import BANK, FOLD_UNIT, fold_map, stain_map, weave
from MaskTheFace.patterns import printed_sheet, tile_colors
from MaskTheFace.style import MaskStyle
from MaskTheFace.templates import TONE_UNIT, MaskTemplate

SOAK = (0.35, 0.42, 0.55)
"""How much red, green and blue the darkest stain takes away: dirt is brownish."""
SHEEN = 0.03
"""Dark cloth is never quite black: where the folds catch light it keeps this share of white."""
TRIM_WHITE = (255, 255, 255)
Planes = list[np.ndarray]
Ink = tuple[np.ndarray | np.float32, list[np.ndarray] | list[np.float32]]
"""How far a colour covers what is below, and its red, green and blue, 0..255."""


@dataclass(frozen=True)
class Lay:
    """How a template's art lies on the region of a mask.

    Attributes:
        template: the art.
        art_x: (h, w) float32, where in the art each pixel of the region lies. art_y: the same.
        blur_px: deviation of the blur it gets.
    """

    template: MaskTemplate
    art_x: np.ndarray
    art_y: np.ndarray
    blur_px: float

    @functools.cached_property
    def chart(self) -> tuple[np.ndarray, np.ndarray]:
        """Chart coordinates (u, v) of each pixel, (h, w) each."""
        return self.template.chart(self.art_x, self.art_y)

    def warped(self, sheet: np.ndarray) -> Planes:
        """Lay (h, w, 4) uint8 art on the region; returns its planes as float32."""
        layer = cv2.remap(sheet, self.art_x, self.art_y, cv2.INTER_LINEAR)
        if self.blur_px > 0.3:
            side = 2 * math.ceil(2.2 * self.blur_px) + 1
            layer = cv2.GaussianBlur(layer, (side, side), self.blur_px)
        return [plane.astype(np.float32) for plane in cv2.split(layer)]


def draped(lay: Lay, style: MaskStyle, tile: np.ndarray | None) -> tuple[Planes, np.ndarray]:
    """Return the fabric under even light, and its alpha.

    Args:
        lay: the art and where it lies.
        style: colours, print, folds, stains and thickness are used.
        tile: (h, w, 3) uint8 RGB, a user's own print.
    """
    template = lay.template
    folds = fold_map(style.seed % BANK, *template.size_wh)
    fabric, trim, alpha, folds = lay.warped(cv2.merge([*template.tones, folds]))
    alpha *= np.float32(style.opacity / 255)
    folds -= 128
    folds *= np.float32(FOLD_UNIT * style.wrinkles)
    folds += 1
    if style.weave > 0:
        threads = weave(*lay.chart, template.px_per_u, style.weave)
        if threads is not None:
            folds *= threads
    folds *= np.float32(style.opacity)
    fabric *= folds
    inks = _inks(lay, style, tile)
    if template.dye is None:
        planes = lay.warped(template.premultiplied)[:3]
        for plane in planes:
            plane *= folds
        fabric *= np.float32(TONE_UNIT)
        for share, color in inks:
            for plane, part in zip(planes, color, strict=True):
                plane += share * (fabric * part - plane)
    else:
        planes = _dyed(fabric, trim, alpha, style, _mixed(template.own_color, inks))
    if style.dirt > 0:
        _soil(planes, lay, style)
    return planes, alpha


def _dyed(
    fabric: np.ndarray, trim: np.ndarray, alpha: np.ndarray, style: MaskStyle, colors: Planes
) -> Planes:
    """Colour the tones of the art: the fabric where it takes dye, the trim elsewhere."""
    fabric *= np.float32(TONE_UNIT)
    trim *= np.float32(TONE_UNIT * style.opacity)
    sheen = np.maximum(fabric - np.float32(0.75) * alpha, 0)
    sheen *= np.float32(SHEEN * 255)
    planes = []
    for color, other in zip(colors, style.trim or TRIM_WHITE, strict=True):
        plane = fabric * color
        plane += trim * np.float32(other)
        plane += sheen
        planes.append(plane)
    return planes


def _inks(lay: Lay, style: MaskStyle, tile: np.ndarray | None) -> list[Ink]:
    """Return what lies over the art's own colour, bottom to top: dye, then print."""
    inks: list[Ink] = []
    if style.color is not None:
        inks.append((np.float32(style.color_weight), [np.float32(part) for part in style.color]))
    if tile is not None:
        printed = tile_colors(tile, *lay.chart, style.pattern_scale, lay.template.px_per_u)
        inks.append((np.float32(style.pattern_weight), list(np.moveaxis(printed, 2, 0))))
    elif style.pattern is not None:
        second, third = printed_sheet(lay.template, style)
        # Four planes are warped faster than two.
        shares = lay.warped(cv2.merge([second, third, second, third]))[:2]
        for share, color in zip(shares, style.pattern_colors, strict=True):
            share *= np.float32(style.pattern_weight / 255)
            inks.append((share, [np.float32(part) for part in color]))
    return inks


def _mixed(own: np.ndarray, inks: list[Ink]) -> Planes:
    """Return the cloth's red, green and blue before any light: numbers or (h, w), 0..255."""
    colors = [np.asarray(part * 255, np.float32) for part in own]
    for share, ink in inks:
        colors = [
            np.asarray(color + share * (np.asarray(part) - color), np.float32)
            for color, part in zip(colors, ink, strict=True)
        ]
    return colors


def _soil(planes: Planes, lay: Lay, style: MaskStyle) -> None:
    """Lay stains on the fabric, in place."""
    stains = stain_map(style.seed // BANK % BANK, *lay.template.size_wh)
    dark = cv2.remap(stains, lay.art_x, lay.art_y, cv2.INTER_LINEAR).astype(np.float32)
    for plane, soak in zip(planes, SOAK, strict=True):
        plane *= 1 - dark * np.float32(soak * style.dirt / 255)
