"""overlay_mask: one mask on one face. Warp, light, blend; pure pixels, no chance, no files.

Convention: images are (H, W, 3) uint8 RGB; points are (x, y) pixels. Everything between is float32,
premultiplied, 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from MaskTheFace.geometry import fit_points, thin_plate, thin_plate_map
from MaskTheFace.landmarks import Landmarks
from MaskTheFace.patterns import pattern_weights, tile_colors
from MaskTheFace.style import MaskStyle
from MaskTheFace.templates import MaskTemplate, load_template

COVERED = 0.5
"""From this mean alpha on a landmark is covered."""
COVER_RADIUS = 0.03
"""A landmark counts as covered by the mean alpha in a disc of this share of the face width."""
PX_PER_U_STEPS = (24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Templates are drawn at these sizes; the next larger one is taken and shrunk by area."""
THREAD_U = 0.066
"""Distance of two threads of the weave, in u."""
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
    if landmarks.width_px > LARGEST_FACE * max(image.shape[:2]):
        raise ValueError(
            f"the face is {landmarks.width_px:.0f} px wide in an image of {image.shape[1]} px; "
            "landmarks must be in the image's pixels"
        )
    if template is None:
        template = load_template(style.template, _resolution(landmarks))
    target_xy = fit_points(template.anchors_uv, landmarks, style)
    box = _region(target_xy, template, landmarks, image.shape)
    layer = np.zeros((0, 0, 4), np.float32)
    if box[2] > box[0] and box[3] > box[1]:
        fabric = _dyed(template, style, tile)
        layer = _warped(fabric, template.anchors_xy, target_xy, box)
    return _composed(image, layer, box, landmarks, style)


def _check_rgb(what: str, image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"{what} must be (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")


def covered_shares(alpha: np.ndarray, landmarks: Landmarks) -> Covered:
    """Return how far the tip of the nose (30), the mouth (48-67) and the chin (8) are covered.

    A landmark beyond the border of the picture counts as the nearest pixel inside.
    """
    xy = landmarks.xy
    radius = max(1.0, COVER_RADIUS * landmarks.width_px)
    points = (xy[30], xy[48:68].mean(axis=0), xy[8])
    return Covered(*(_disc_mean(alpha, point, radius) for point in points))


def _disc_mean(alpha: np.ndarray, point_xy: np.ndarray, radius: float) -> float:
    height, width = alpha.shape
    x = float(np.clip(point_xy[0], 0, width - 1))
    y = float(np.clip(point_xy[1], 0, height - 1))
    left, top = max(0, int(x - radius)), max(0, int(y - radius))
    part = alpha[top : int(y + radius) + 2, left : int(x + radius) + 2]
    ys, xs = np.mgrid[top : top + part.shape[0], left : left + part.shape[1]]
    inside = np.hypot(xs - x, ys - y) <= radius
    return float(part[inside].mean()) if inside.any() else float(alpha[round(y), round(x)])


def _resolution(landmarks: Landmarks) -> int:
    wanted = landmarks.width_px / 2
    return next((step for step in PX_PER_U_STEPS if step >= wanted), PX_PER_U_STEPS[-1])


def _region(
    target_xy: np.ndarray, template: MaskTemplate, landmarks: Landmarks, shape: tuple
) -> Box:
    """Return the part of the image (x0, y0, x1, y1) that the mask and its shadow can reach."""
    anchors = template.anchors_xy
    # Art reaches beyond its anchors (straps, chin wrap) by as much as the template's sheet does.
    height, width = template.rgba.shape[:2]
    span = np.ptp(anchors, axis=0)
    beyond = max(
        (-anchors.min(axis=0) / span).max(),
        ((np.array([width, height]) - anchors.max(axis=0)) / span).max(),
    )
    margin = (
        max(float(beyond), 0.0) * np.ptp(target_xy, axis=0).max() + 0.08 * landmarks.width_px + 4
    )
    # Rounded to whole pixels, both included, so that a mirror image has the mirrored region.
    x0, y0 = np.rint(target_xy.min(axis=0) - margin)
    x1, y1 = np.rint(target_xy.max(axis=0) + margin) + 1
    image_height, image_width = shape[:2]
    return max(0, int(x0)), max(0, int(y0)), min(image_width, int(x1)), min(image_height, int(y1))


def _dyed(template: MaskTemplate, style: MaskStyle, tile: np.ndarray | None) -> np.ndarray:
    """Return the template in the style's colours: (h, w, 4) float32, premultiplied, 0..1."""
    rgba = template.rgba.astype(np.float32) / 255
    alpha = rgba[..., 3:]
    light = rgba[..., :3]
    u, v = _chart_of(template)
    dye = (
        np.float32(1) if template.dye is None else template.dye[..., None].astype(np.float32) / 255
    )
    if style.color is not None or style.pattern is not None or tile is not None:
        # The art's own brightness, relative to its undyed colour, is its shading.
        own = np.median(light[alpha[..., 0] > 0.9], axis=0) if (alpha > 0.9).any() else np.ones(3)
        shading = light.mean(axis=2, keepdims=True) / max(float(np.mean(own)), 1e-3)
        fabric = _fabric_color(style, own, u, v, tile)
        # Dark cloth is never quite black: it keeps a sheen where the folds catch light.
        dyed = fabric * shading + 0.05 * np.clip(shading - 0.75, 0, 1)
        light = light + dye * (dyed - light)
    folds = _folds(u, v, style)[..., None]
    light = np.clip(light * (1 + dye * (folds - 1)), 0, 1)
    alpha = alpha * np.float32(style.opacity)
    return np.dstack([light * alpha, alpha]).astype(np.float32)


def _chart_of(template: MaskTemplate) -> tuple[np.ndarray, np.ndarray]:
    """Return the chart coordinates (u, v) of every pixel of a template, from its anchors."""
    height, width = template.rgba.shape[:2]
    xy1 = np.column_stack([template.anchors_xy, np.ones(len(template.anchors_xy))])
    affine, *_ = np.linalg.lstsq(xy1, template.anchors_uv, rcond=None)
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    u = xs * np.float32(affine[0, 0]) + ys * np.float32(affine[1, 0]) + np.float32(affine[2, 0])
    v = xs * np.float32(affine[0, 1]) + ys * np.float32(affine[1, 1]) + np.float32(affine[2, 1])
    return u, v


def _fabric_color(
    style: MaskStyle, own: np.ndarray, u: np.ndarray, v: np.ndarray, tile: np.ndarray | None
) -> np.ndarray:
    """Return the cloth's colour before any light: (h, w, 3) or (3,) float32, 0..1."""
    fabric: np.ndarray = np.asarray(own, np.float32)
    if style.color is not None:
        fabric = fabric + style.color_weight * (np.array(style.color, np.float32) / 255 - fabric)
    if tile is not None:
        print_rgb = tile_colors(tile, u, v, style.pattern_scale) / 255
        return fabric + style.pattern_weight * (print_rgb - fabric)
    if style.pattern is not None:
        second, third = pattern_weights(style.pattern, u, v, style.pattern_scale, style.seed)
        for weight, color in zip((second, third), style.pattern_colors, strict=True):
            ink = (style.pattern_weight * weight)[..., None].astype(np.float32)
            fabric = fabric + ink * (np.array(color, np.float32) / 255 - fabric)
    return fabric


def _folds(u: np.ndarray, v: np.ndarray, style: MaskStyle) -> np.ndarray:
    """Return the light of wrinkles and weave, (h, w) around 1."""
    rng = np.random.default_rng(style.seed)
    light = np.ones_like(u)
    for _ in range(6):
        # Cloth over a face hangs in folds that run from the nose and mouth to the ears.
        u0, v0 = rng.uniform(-0.9, 0.9), rng.uniform(0.1, 1.0)
        slope = -0.5 * u0 + rng.normal(0, 0.35)
        distance = (v - v0) - slope * (u - u0)
        along = np.exp(-(((u - u0) / rng.uniform(0.15, 0.5)) ** 2))
        wide = rng.uniform(0.02, 0.08)
        ridge = np.exp(-((distance / wide) ** 2)) - 0.7 * np.exp(-((distance / wide - 1.5) ** 2))
        light += rng.normal(0, 0.09) * style.wrinkles * along * ridge
    thread_px = THREAD_U / max(float(u[0, 1] - u[0, 0]), 1e-6)
    # Threads finer than the picture's pixels are not drawn: they would come out as noise.
    visible = float(np.clip((thread_px - 4) / 6, 0, 1))
    if visible * style.weave > 0:
        pace = 2 * np.pi / THREAD_U
        light += 0.05 * visible * style.weave * np.sin(u * pace) * np.sin(v * pace)
    return light


def _warped(
    fabric: np.ndarray, anchors_xy: np.ndarray, target_xy: np.ndarray, box: Box
) -> np.ndarray:
    """Warp (h, w, 4) premultiplied art onto a region of the image; returns (height, width, 4)."""
    scale = np.ptp(target_xy, axis=0).max() / np.ptp(anchors_xy, axis=0).max()
    if scale < 0.9:
        # Bilinear sampling alone would skip pixels: aliasing that a network could learn.
        size = tuple(max(8, round(side * scale)) for side in fabric.shape[1::-1])
        ratio = np.array(size) / fabric.shape[1::-1]
        fabric = cv2.resize(fabric, size, interpolation=cv2.INTER_AREA)
        anchors_xy = (anchors_xy + 0.5) * ratio - 0.5
    unit = max(float(np.ptp(target_xy, axis=0).max()), 1.0)
    weights = thin_plate(target_xy / unit, anchors_xy)
    x0, y0, x1, y1 = box
    step = max(1, int(unit / 24))
    columns, rows = -(-(x1 - x0) // step) + 2, -(-(y1 - y0) // step) + 2
    # The spline is smooth: solved at the centres of step x step blocks, then enlarged. A frame of
    # blocks lies around the region, as enlarging only repeats what is beyond the last centre.
    xs = x0 + (np.arange(columns) - 0.5) * step - 0.5
    ys = y0 + (np.arange(rows) - 0.5) * step - 0.5
    coarse = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2) / unit
    mapped = thin_plate_map(coarse, target_xy / unit, weights).reshape(rows, columns, 2)
    dense = cv2.resize(
        mapped.astype(np.float32), (columns * step, rows * step), interpolation=cv2.INTER_LINEAR
    )
    dense = np.ascontiguousarray(dense[step : step + y1 - y0, step : step + x1 - x0])
    return cv2.remap(
        fabric, dense[..., 0], dense[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )


def _composed(
    image: np.ndarray, layer: np.ndarray, box: Box, landmarks: Landmarks, style: MaskStyle
) -> Masked:
    """Light the warped fabric, lay it and its shadow on the image."""
    out = image.copy()
    alpha = np.zeros(image.shape[:2], np.float32)
    changed = np.zeros(image.shape[:2], bool)
    if layer.size and layer[..., 3].max() > 1 / 255:
        x0, y0, x1, y1 = box
        face = image[y0:y1, x0:x1]
        softness = style.softness / 100 * landmarks.width_px
        if softness > 0.15:
            layer = cv2.GaussianBlur(layer, (0, 0), softness)
        # Rounding in warp and blur must not lift full cover above 1.
        layer = np.minimum(layer, 1)
        layer[layer[..., 3] < 1 / 255] = 0
        cover = layer[..., 3]
        shade = _shadow(cover, landmarks.width_px, style)
        if style.template == "inpaint":
            blended = _inpainted(face, cover)
        else:
            lit = _lit(layer, face, landmarks, style)
            blended = lit + (1 - cover[..., None]) * (
                shade[..., None] * (face.astype(np.float32) / 255)
            )
        touched = (cover > 0) | (shade < 1 - 1 / 512)
        pixels = np.rint(np.clip(blended, 0, 1) * 255).astype(np.uint8)
        out[y0:y1, x0:x1] = np.where(touched[..., None], pixels, face)
        alpha[y0:y1, x0:x1] = cover
        changed[y0:y1, x0:x1] = touched
    return Masked(out, alpha, changed, covered_shares(alpha, landmarks))


def _shadow(cover: np.ndarray, width_px: float, style: MaskStyle) -> np.ndarray:
    """Return the light left on the skin around the mask, (h, w) in 0..1: a soft contact shadow."""
    spread = max(0.6, 0.018 * width_px)
    dark = cv2.GaussianBlur(cover, (0, 0), spread)
    return 1 - 0.6 * np.float32(style.shadow) * dark


def _lit(layer: np.ndarray, face: np.ndarray, landmarks: Landmarks, style: MaskStyle) -> np.ndarray:
    """Give premultiplied fabric the light of the face and the camera's noise; (h, w, 3)."""
    cover = layer[..., 3]
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    broad = cv2.GaussianBlur(grey, (0, 0), max(1.0, 0.12 * landmarks.width_px))
    level = float((broad * cover).sum() / max(float(cover.sum()), 1e-3))
    # Where the face turns from the light, so does the mask; and in a dark photo nothing is white.
    relative = np.clip(broad / max(level, 0.02), 0.45, 1.5) ** style.light
    exposure = np.clip(level / 0.55, 0.3, 1.25) ** (0.6 * style.light)
    lit = layer[..., :3] * (relative * np.float32(exposure))[..., None]
    lit = np.minimum(lit, cover[..., None])
    if style.grain > 0:
        noise = (
            np.random.default_rng(style.seed)
            .normal(0, style.grain, lit.shape[:2])
            .astype(np.float32)
        )
        if style.flip:
            noise = noise[:, ::-1]
        lit = lit + noise[..., None] * cover[..., None]
    return lit


def _inpainted(face: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Fill the region from its surroundings, as the original tool's ``inpaint`` does; (h, w, 3)."""
    hole = (cover > 0.5).astype(np.uint8)
    return cv2.inpaint(face, hole, 3, cv2.INPAINT_TELEA).astype(np.float32) / 255
