"""overlay_mask: one mask on one face. Warp, light, blend; pure pixels, no chance, no files.

Convention: images are (H, W, 3) uint8 RGB; points are (x, y) pixels. Everything between is float32,
premultiplied, 0..1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from MaskTheFace.fabric import BANK, FOLD_UNIT, camera_noise, fold_map, stain_map, weave
from MaskTheFace.geometry import fit_points, thin_plate, thin_plate_map
from MaskTheFace.landmarks import Landmarks
from MaskTheFace.patterns import pattern_weights, tile_colors
from MaskTheFace.photo import Light, black_level, in_front, measure_light
from MaskTheFace.style import MaskStyle
from MaskTheFace.templates import MaskTemplate, load_template, nearest_step

COVERED = 0.5
"""From this mean alpha on a landmark is covered."""
COVER_RADIUS = 0.03
"""A landmark counts as covered by the mean alpha in a disc of this share of the face width."""
LARGEST_FACE = 8
"""A face this many times as wide as the image is no face in it: the landmarks are wrong."""
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Covered:
    """Mean alpha over the tip of the nose, the mouth and the chin, each 0..1."""

    nose: float
    mouth: float
    chin: float

    @property
    def wear(self) -> str:
        """How the mask is worn: correct, chin_out, or incorrect where nose or mouth are bare."""
        if min(self.nose, self.mouth) < COVERED:
            return "incorrect"
        return "correct" if self.chin >= COVERED else "chin_out"


@dataclass(frozen=True)
class Masked:
    """A face with a mask on.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        alpha: (H, W) float32 in 0..1, how far the fabric hides the face.
        changed: (H, W) bool, every pixel that was touched, shadow included.
        covered: what the mask covers; it decides the class.
    """

    image: np.ndarray
    alpha: np.ndarray
    changed: np.ndarray
    covered: Covered


def overlay_mask(
    image: np.ndarray,
    landmarks: Landmarks,
    style: MaskStyle,
    template: MaskTemplate | None = None,
    tile: np.ndarray | None = None,
) -> Masked:
    """Put a mask on one face.

    Args:
        image: (H, W, 3) uint8 RGB; never written to.
        landmarks: the face, in the image's pixels; it may reach beyond the border.
        style: every choice about the mask.
        template: a user's own art in place of ``style.template``.
        tile: (h, w, 3) uint8 RGB, a user's own pattern in place of ``style.pattern``.

    Returns:
        Masked; outside ``changed`` its image equals the input bit for bit.

    Raises:
        ValueError: an image or tile of another shape or dtype; an unknown template or pattern;
            a face many times as large as the image.
    """
    _check_rgb("image", image)
    if tile is not None:
        _check_rgb("tile", tile)
    width_px = landmarks.width_px
    if width_px > LARGEST_FACE * max(image.shape[:2]):
        raise ValueError(
            f"the face is {width_px:.0f} px wide in an image of {image.shape[1]} px; "
            "landmarks must be in the image's pixels"
        )
    if template is None:
        template = load_template(style.template, nearest_step(width_px / 2))
    else:
        template = template.near(width_px / 2)
    count = len(template.anchors_uv)
    points = fit_points(template.fitted_uv, landmarks, style, template.bulge)
    box = _region(points, width_px, image.shape)
    out, alpha = image.copy(), np.zeros(image.shape[:2], np.float32)
    changed = np.zeros(image.shape[:2], bool)
    x0, y0, x1, y1 = box
    if x1 > x0 and y1 > y0:
        face = image[y0:y1, x0:x1]
        fabric, cover = _warped(template, points[:count], box, face, style, tile)
        part = _composed(face, fabric, cover, width_px, style, black_level(image))
        out[y0:y1, x0:x1], alpha[y0:y1, x0:x1], changed[y0:y1, x0:x1] = part
    return Masked(out, alpha, changed, covered_shares(alpha, landmarks, width_px))


def _check_rgb(what: str, image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"{what} must be (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")


def covered_shares(
    alpha: np.ndarray, landmarks: Landmarks, width_px: float | None = None
) -> Covered:
    """Return how far the tip of the nose (30), the mouth (48-67) and the chin (8) are covered.

    A landmark beyond the border of the picture counts as the nearest pixel inside. ``width_px`` is the
    face width, where it is known already.
    """
    xy = landmarks.xy
    radius = max(1.0, COVER_RADIUS * (width_px or landmarks.width_px))
    points = (xy[30], xy[48:68].mean(axis=0), xy[8])
    return Covered(*(_disc_mean(alpha, point, radius) for point in points))


def _disc_mean(alpha: np.ndarray, point_xy: np.ndarray, radius: float) -> float:
    height, width = alpha.shape
    x = min(max(float(point_xy[0]), 0.0), width - 1.0)
    y = min(max(float(point_xy[1]), 0.0), height - 1.0)
    left, top = max(0, int(x - radius)), max(0, int(y - radius))
    part = alpha[top : int(y + radius) + 2, left : int(x + radius) + 2]
    ys = np.arange(top, top + part.shape[0])[:, None]
    xs = np.arange(left, left + part.shape[1])
    inside = (xs - x) ** 2 + (ys - y) ** 2 <= radius * radius
    return float(part[inside].mean()) if inside.any() else float(alpha[round(y), round(x)])


def _region(points: np.ndarray, width_px: float, shape: tuple[int, ...]) -> Box:
    """Return the part of the image (x0, y0, x1, y1) that the mask and its shadow can reach."""
    margin = 0.08 * width_px + 3
    # Rounded to whole pixels, both included, so that a mirror image has the mirrored region.
    x0, y0 = np.rint(points.min(axis=0) - margin).tolist()
    x1, y1 = (np.rint(points.max(axis=0) + margin) + 1).tolist()
    height, width = shape[:2]
    return max(0, int(x0)), max(0, int(y0)), min(width, int(x1)), min(height, int(y1))


def _art_positions(anchors_xy: np.ndarray, target_xy: np.ndarray, box: Box) -> np.ndarray:
    """Return, for each pixel of the region, where in the art it lies: (h, w, 2) float32."""
    unit = max(float(np.ptp(target_xy, axis=0).max()), 1.0)
    weights = thin_plate(target_xy / unit, anchors_xy)
    x0, y0, x1, y1 = box
    step = max(1, int(unit / 18))
    columns, rows = -(-(x1 - x0) // step) + 2, -(-(y1 - y0) // step) + 2
    # The spline is smooth: solved at the centres of step x step blocks, then enlarged. A frame of
    # blocks lies around the region, as enlarging only repeats what is beyond the last centre.
    xs = x0 + (np.arange(columns) - 0.5) * step - 0.5
    ys = y0 + (np.arange(rows) - 0.5) * step - 0.5
    coarse = np.empty((rows, columns, 2))
    coarse[..., 0], coarse[..., 1] = xs / unit, ys[:, None] / unit
    mapped = thin_plate_map(coarse.reshape(-1, 2), target_xy / unit, weights)
    dense = cv2.resize(
        mapped.reshape(rows, columns, 2).astype(np.float32), (columns * step, rows * step)
    )
    return np.ascontiguousarray(dense[step : step + y1 - y0, step : step + x1 - x0])


def _warped(
    template: MaskTemplate,
    points: np.ndarray,
    box: Box,
    face: np.ndarray,
    style: MaskStyle,
    tile: np.ndarray | None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the fabric on the region under even light, and its alpha: planes (h, w), 0..255, 0..1.

    Planes, because one factor for three channels is several times faster on them.
    """
    art_xy = _art_positions(template.anchors_xy, points, box)
    *rgb, alpha = _floats(cv2.remap(template.premultiplied, art_xy, None, cv2.INTER_LINEAR))
    alpha *= np.float32(1 / 255)
    dye, folds, stains = _floats(_extra_layers(template, art_xy, style))
    dye *= np.float32(1 / 255)
    chart = None
    if style.pattern is not None or tile is not None or style.weave > 0 or style.front > 0:
        chart = cv2.transform(art_xy, template.affine)
    rgb = _dyed(rgb, alpha, dye, template, chart, style, tile)
    light = _folds(folds, dye, chart, template, style)
    left = np.float32(style.opacity)
    if style.front > 0 and chart is not None:
        left = left * (1 - np.float32(style.front) * in_front(face, chart, alpha))
    alpha *= left
    light *= left
    for plane, soak in zip(rgb, (0.35, 0.42, 0.55), strict=True):
        plane *= light
        if style.dirt > 0:
            plane *= 1 - stains * np.float32(soak * style.dirt / 255)
    return rgb, alpha


def _floats(layer: np.ndarray) -> list[np.ndarray]:
    return [plane.astype(np.float32) for plane in cv2.split(layer)]


def _extra_layers(template: MaskTemplate, art_xy: np.ndarray, style: MaskStyle) -> np.ndarray:
    """Warp what lies on the art beside its colour: dye, folds, stains; (h, w, 3) uint8."""
    height, width = template.rgba.shape[:2]
    dye = np.full((height, width), 255, np.uint8) if template.dye is None else template.dye
    folds = fold_map(style.seed % BANK, width, height)
    stains = folds
    if style.dirt > 0:
        stains = stain_map(style.seed // BANK % BANK, width, height)
    return cv2.remap(cv2.merge([dye, folds, stains]), art_xy, None, cv2.INTER_LINEAR)


def _dyed(
    rgb: list[np.ndarray],
    alpha: np.ndarray,
    dye: np.ndarray,
    template: MaskTemplate,
    chart: np.ndarray | None,
    style: MaskStyle,
    tile: np.ndarray | None,
) -> list[np.ndarray]:
    """Replace the art's own colour by the style's, and keep its shading."""
    if style.trim is not None:
        plain = 1 - dye
        for plane, part in zip(rgb, style.trim, strict=True):
            plane *= 1 + plain * np.float32(part / 200 - 1)
    if style.color is None and style.pattern is None and tile is None:
        return rgb
    # The art's own brightness, relative to its undyed colour, is its shading.
    shading = (rgb[0] + rgb[1] + rgb[2]) * np.float32(1 / (3 * 255 * template.own_light))
    # Dark cloth is never quite black: it keeps a sheen where the folds catch light.
    sheen = np.maximum(shading - np.float32(0.75) * alpha, 0) * np.float32(0.04 * 255)
    colors = _fabric_colors(style, template.own_color, chart, tile)
    for plane, color in zip(rgb, colors, strict=True):
        dyed = shading * color
        dyed += sheen
        dyed -= plane
        dyed *= dye
        plane += dyed
    return rgb


def _fabric_colors(
    style: MaskStyle, own: np.ndarray, chart: np.ndarray | None, tile: np.ndarray | None
) -> list[np.ndarray | np.float32]:
    """Return the cloth's red, green and blue before any light: numbers or (h, w), 0..255."""
    wanted = own * 255 if style.color is None else np.array(style.color)
    plain = own * 255 + style.color_weight * (wanted - own * 255)
    colors: list[np.ndarray | np.float32] = [np.float32(part) for part in plain]
    if chart is None:
        return colors
    u, v = cv2.split(chart)
    weight = np.float32(style.pattern_weight)
    if tile is not None:
        printed = tile_colors(tile, u, v, style.pattern_scale)
        return [part + weight * (printed[..., i] - part) for i, part in enumerate(colors)]
    if style.pattern is not None:
        weights = pattern_weights(style.pattern, u, v, style.pattern_scale, style.seed)
        for share, ink in zip(weights, style.pattern_colors, strict=True):
            share = (weight * share).astype(np.float32)
            colors = [part + share * (np.float32(i) - part) for part, i in zip(colors, ink)]
    return colors


def _folds(
    folds: np.ndarray,
    dye: np.ndarray,
    chart: np.ndarray | None,
    template: MaskTemplate,
    style: MaskStyle,
) -> np.ndarray:
    """Return the light of wrinkles and weave on the dyeable fabric, (h, w) around 1."""
    folds -= 128
    folds *= np.float32(FOLD_UNIT * style.wrinkles)
    folds *= dye
    folds += 1
    if chart is not None and style.weave > 0:
        threads = weave(chart, template.px_per_u, style.weave)
        if threads is not None:
            folds *= threads
    return folds


def _composed(
    face: np.ndarray,
    fabric: list[np.ndarray],
    cover: np.ndarray,
    width_px: float,
    style: MaskStyle,
    black: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Light the fabric and lay it with its shadow on the face: image, alpha, changed."""
    if float(cover.max()) <= 1 / 255:
        nothing = np.zeros_like(cover)
        return face, nothing, nothing > 0
    if style.template == "inpaint":
        return _inpainted(face, cover)
    seen = measure_light(face, cover, width_px, style.light)
    fabric, cover = _blurred(fabric, cover, style, width_px, seen.blur_px)
    shade = _shadow(cover, width_px, style)
    touched = (cover > 0) | (shade < 1)
    _light(fabric, cover, seen, style, black * style.match)
    shade *= 1 - cover
    planes = []
    for skin, plane in zip(cv2.split(face), fabric, strict=True):
        plane += skin * shade
        plane += np.float32(0.5)
        np.clip(plane, 0, 255, out=plane)
        planes.append(plane.astype(np.uint8))
    return cv2.merge(planes), cover, touched


def _blurred(
    fabric: list[np.ndarray], cover: np.ndarray, style: MaskStyle, width_px: float, blur_px: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """Make the mask as soft as the photo, and as much softer as the style says."""
    sigma = math.hypot(style.softness / 100 * width_px, style.match * blur_px)
    if sigma > 0.3:
        *fabric, cover = cv2.split(cv2.GaussianBlur(cv2.merge([*fabric, cover]), (0, 0), sigma))
    # Rounding in warp and blur must not lift full cover above 1.
    np.minimum(cover, 1, out=cover)
    cover[cover < 1 / 255] = 0
    return fabric, cover


def _shadow(cover: np.ndarray, width_px: float, style: MaskStyle) -> np.ndarray:
    """Return the light left on the skin around the mask, (h, w) in 0..1: soft, and more below."""
    if style.shadow == 0:
        return np.ones_like(cover)
    reach = 2 * max(1, round(0.02 * width_px)) + 1
    dark = cv2.blur(cv2.blur(cover, (reach, reach)), (reach, reach))
    drop = reach // 3
    if 0 < drop < len(dark):
        # Light comes from above: most of the shadow falls below the edge.
        dark[drop:] = 0.5 * (dark[drop:] + dark[:-drop])
    dark *= np.float32(-0.6 * style.shadow)
    dark += 1
    dark[dark > 1 - 1 / 512] = 1
    return dark


def _light(
    fabric: list[np.ndarray], cover: np.ndarray, seen: Light, style: MaskStyle, black: float
) -> None:
    """Give premultiplied fabric the light of the face and the camera's noise, in place."""
    if seen.grey * style.match > 0:
        grey = (fabric[0] + fabric[1] + fabric[2]) * np.float32(1 / 3)
        for plane in fabric:
            plane += np.float32(seen.grey * style.match) * (grey - plane)
    full = cover * np.float32(255)
    lifted = full * np.float32(black)
    noise = math.hypot(style.grain, style.match * seen.noise)
    grains = None
    if noise > 1e-3:
        grains = camera_noise(style.seed, *cover.shape)
        grains = (grains[:, ::-1] if style.flip else grains) * full
        grains *= np.float32(noise)
    for plane, cast in zip(fabric, seen.cast, strict=True):
        plane *= seen.gain * np.float32(cast * (1 - black))
        plane += lifted
        np.minimum(plane, full, out=plane)
        if grains is not None:
            plane += grains


def _inpainted(face: np.ndarray, cover: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fill the region from its surroundings, as the original tool's ``inpaint`` does."""
    hole = (cover > 0.5).astype(np.uint8)
    filled = cv2.inpaint(face, hole, 3, cv2.INPAINT_TELEA)
    soft = cover[..., None]
    mixed = np.rint(face + soft * (filled.astype(np.float32) - face)).astype(np.uint8)
    return mixed, cover, cover > 0
