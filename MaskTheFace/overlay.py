"""overlay_mask: one mask on one face. Warp, light, blend; pure pixels, no chance, no files.

Convention: images are (H, W, 3) uint8 RGB; points are (x, y) pixels. Everything between is float32
and premultiplied: fabric in planes of 0..255, alpha and light in 0..1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from MaskTheFace.cloth import Lay, Planes, draped
from MaskTheFace.coverage import Covered, covered_shares, way_of
from MaskTheFace.fabric import camera_noise
from MaskTheFace.geometry import Box, art_positions, fit_points
from MaskTheFace.landmarks import Landmarks
from MaskTheFace.patterns import PATTERNS
from MaskTheFace.photo import (
    Camera,
    Film,
    in_front,
    measure_camera,
    measure_film,
    measure_light,
)
from MaskTheFace.style import MaskStyle
from MaskTheFace.templates import MaskTemplate, load_template, nearest_step

LARGEST_FACE = 8
"""A face this many times as wide as the image is no face in it: the landmarks are wrong."""
Chart = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Masked:
    """A face with a mask on.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        alpha: (H, W) float32 in 0..1, how far the fabric hides the face.
        changed: (H, W) bool, every pixel that was touched, shadow included.
        covered: what the mask covers.
        wear: how it is worn, one of wear.WEARS; empty where no mask is to be seen. It decides the
            class.
    """

    image: np.ndarray
    alpha: np.ndarray
    changed: np.ndarray
    covered: Covered
    wear: str


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
    width_px = landmarks.width_px
    _check(image, width_px, style, tile)
    if template is None:
        template = load_template(style.template, nearest_step(width_px / 2))
    else:
        template = template.near(width_px / 2)
    points = fit_points(template.fitted_uv, landmarks, style, template.bulge)
    x0, y0, x1, y1 = box = _region(points, width_px, image.shape)
    out, alpha = image.copy(), np.zeros(image.shape[:2], np.float32)
    changed = np.zeros(image.shape[:2], bool)
    if x1 > x0 and y1 > y0:
        anchors = points[: len(template.anchors_uv)]
        art_xy = art_positions(template.anchors_xy, anchors, box)
        face = image[y0:y1, x0:x1]
        scene = Scene(face, width_px, measure_camera(face), measure_film(image))
        part = _laid(scene, template, art_xy, style, tile)
        out[y0:y1, x0:x1], alpha[y0:y1, x0:x1], changed[y0:y1, x0:x1] = part
    covered = covered_shares(alpha, landmarks, width_px)
    return Masked(out, alpha, changed, covered, way_of(alpha, landmarks, covered))


@dataclass(frozen=True)
class Scene:
    """The part of a photo that a mask will lie on, and what is known of the photo."""

    face: np.ndarray
    width_px: float
    camera: Camera
    film: Film
    lit_like: np.ndarray | None = None
    """What light is measured on where that is another picture than the one that is drawn on."""


def _check(image: np.ndarray, width_px: float, style: MaskStyle, tile: np.ndarray | None) -> None:
    """Raise ValueError where a picture, a pattern or the size of the face cannot be right."""
    check_rgb("image", image)
    if tile is not None:
        check_rgb("tile", tile)
    if width_px > LARGEST_FACE * max(image.shape[:2]):
        raise ValueError(
            f"the face is {width_px:.0f} px wide in an image of {image.shape[1]} px; "
            "landmarks must be in the image's pixels"
        )
    if style.pattern is not None and style.pattern not in PATTERNS and tile is None:
        raise ValueError(f"unknown pattern {style.pattern!r}; have {', '.join(PATTERNS)}")


def _laid(
    scene: Scene, template: MaskTemplate, art_xy: Chart, style: MaskStyle, tile: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay the art on the scene: image, alpha, changed."""
    blur_px = math.hypot(style.softness / 100 * scene.width_px, style.match * scene.camera.blur_px)
    lay = Lay(template, *art_xy, blur_px)
    fabric, cover = draped(lay, style, tile)
    if style.front > 0:
        _let_through(fabric, cover, scene.face, lay.chart, style)
    return compose(scene, fabric, cover, style)


def check_rgb(what: str, image: np.ndarray) -> None:
    """Raise ValueError unless an image is (H, W, 3) uint8 RGB and not empty."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"{what} must be (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")


def _region(points: np.ndarray, width_px: float, shape: tuple[int, ...]) -> Box:
    """Return the part of the image (x0, y0, x1, y1) that the mask and its shadow can reach."""
    margin = 0.08 * width_px + 3
    # Rounded to whole pixels, both included, so that a mirror image has the mirrored region.
    x0, y0 = np.rint(points.min(axis=0) - margin).tolist()
    x1, y1 = (np.rint(points.max(axis=0) + margin) + 1).tolist()
    height, width = shape[:2]
    return max(0, int(x0)), max(0, int(y0)), min(width, int(x1)), min(height, int(y1))


def _let_through(
    fabric: Planes, cover: np.ndarray, face: np.ndarray, chart: Chart, style: MaskStyle
) -> None:
    """Take fabric away where hair or glasses are guessed before it, in place."""
    left = 1 - np.float32(style.front) * in_front(face, *chart, cover)
    cover *= left
    for plane in fabric:
        plane *= left


def compose(
    scene: Scene, fabric: Planes, cover: np.ndarray, style: MaskStyle
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Light the fabric and lay it with its shadow on the face: image, alpha, changed."""
    cover[cover < 1 / 255] = 0
    if not cover.any():
        return scene.face, cover, cover > 0
    if style.template == "inpaint":
        return _inpainted(scene.face, cover)
    shade = _shadow(cover, scene.width_px, style)
    touched = (cover > 0) | (shade < 1)
    _light(fabric, cover, scene, style)
    shade *= 1 - cover
    planes = []
    for skin, plane in zip(cv2.split(scene.face), fabric, strict=True):
        plane += skin * shade
        plane += np.float32(0.5)
        np.maximum(plane, 0, out=plane)
        np.minimum(plane, 255, out=plane)
        planes.append(plane.astype(np.uint8))
    return cv2.merge(planes), cover, touched


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
    left = 1 - np.float32(0.6 * style.shadow) * dark
    left[left > 1 - 1 / 512] = 1
    return np.asarray(left, np.float32)


def _light(fabric: Planes, cover: np.ndarray, scene: Scene, style: MaskStyle) -> None:
    """Give premultiplied fabric the light of the face and the camera's noise, in place."""
    lit = scene.face if scene.lit_like is None else scene.lit_like
    light = measure_light(lit, cover, scene.width_px, style.light)
    # Taken over whole: any colour left on a mask in a grey photo would tell it.
    colorless = np.float32(scene.film.grey if style.match > 0 else 0)
    if colorless > 0:
        grey = (fabric[0] + fabric[1] + fabric[2]) * np.float32(1 / 3)
        for plane in fabric:
            plane += colorless * (grey - plane)
    full = cover * np.float32(255)
    black = scene.film.black * style.match
    lifted = full * np.float32(black)
    noise = math.hypot(style.grain, style.match * scene.camera.noise)
    if noise > 1e-3:
        grains = camera_noise(style.seed, *cover.shape)
        grains = (grains[:, ::-1] if style.flip else grains) * full
        grains *= np.float32(noise)
    for plane, cast in zip(fabric, light.cast, strict=True):
        plane *= light.gain * np.float32(cast ** (1 - scene.film.grey) * (1 - black))
        if black > 0:
            plane += lifted
        np.minimum(plane, full, out=plane)
        if noise > 1e-3:
            plane += grains


def _inpainted(face: np.ndarray, cover: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fill the region from its surroundings, as the original tool's ``inpaint`` does."""
    hole = (cover > 0.5).astype(np.uint8)
    filled = cv2.inpaint(face, hole, 3, cv2.INPAINT_TELEA)
    soft = cover[..., None]
    mixed = np.rint(face + soft * (filled.astype(np.float32) - face)).astype(np.uint8)
    return mixed, cover, cover > 0
