"""What the photo itself says about its light and its camera: measured on the face, given to masks.

Convention: images are (h, w, 3) uint8 RGB; results are in units of full scale (0..1) or pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

SAMPLE_PX = 72
"""Noise and blur are measured on so many pixels each way; more would tell no more."""
LIGHT_CELL = 1 / 14
"""Light is looked at in cells of this share of the face width."""
SKIN_RGB = (1.24, 0.95, 0.81)
"""Colour of skin under white light relative to its own mean: the middle of many photos."""
SKIN_SPREAD, CAST_SHARE = 0.1, 0.85
"""Skin differs from person to person by about this (in logarithms); of what lies beyond, this share
is put down to the colour of the light."""
SHARP_RATIO, FLAT_RATIO = 0.365, 0.25
"""Detail between neighbours relative to detail between second neighbours, in a sharp photo of a
face and in a very soft one. Medians over 150 aligned faces at 80-200 px, blurred on purpose."""


@dataclass(frozen=True)
class Light:
    """How a face is lit.

    Attributes:
        gain: (h, w) float32, light on each pixel relative to an evenly lit, well exposed face.
        cast: colour of the light, red, green and blue around 1.
    """

    gain: np.ndarray
    cast: tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """What a camera did to a photo: deviation of its noise, 0..1, and of its blur in pixels."""

    noise: float
    blur_px: float


def measure_light(face: np.ndarray, cover: np.ndarray, width_px: float, light: float) -> Light:
    """Measure the light on the part of a photo that a mask will hide.

    Args:
        face: (h, w, 3) uint8 RGB, the region of the mask.
        cover: (h, w) float32 in 0..1, the mask.
        width_px: width of the face.
        light: how far the mask takes the light over, 0..1.
    """
    height, width = cover.shape
    cell = max(1.0, LIGHT_CELL * width_px)
    size = max(3, round(width / cell)), max(3, round(height / cell))
    # Four pixels of each cell are enough: what follows looks at broad light only.
    small = cv2.resize(face, size, interpolation=cv2.INTER_LINEAR)
    weight = cv2.resize(cover, size, interpolation=cv2.INTER_LINEAR).reshape(-1)
    if float(weight.sum()) < 1e-3:
        weight[:] = 1
    mean = (weight @ small.reshape(-1, 3)) / (255 * float(weight.sum()))
    level = max(float(mean.sum()) / 3, 0.02)
    # Where the face turns from the light, so does the mask; and in a dark photo nothing is white.
    grey = cv2.transform(small, _MEAN).astype(np.float32)
    broad = cv2.GaussianBlur(grey, (0, 0), 1.4, borderType=cv2.BORDER_REPLICATE)
    relative = np.minimum(np.maximum(broad * np.float32(1 / (255 * level)), 0.45), 1.25)
    exposure = min(max(level / 0.6, 0.25), 1.1) ** (0.8 * light)
    relative = np.float32(exposure) * relative ** np.float32(light)
    gain = cv2.resize(relative, (width, height), interpolation=cv2.INTER_LINEAR)
    return Light(gain, _cast(mean / level, light))


_MEAN = np.full((1, 3), 1 / 3, np.float32)


def _cast(tint: np.ndarray, light: float) -> tuple[float, float, float]:
    """Return the colour of the light, from the colour of skin relative to its brightness."""
    power = CAST_SHARE * light
    red, green, blue = (
        math.exp(power * _beyond(math.log(min(max(part / usual, 0.4), 2.0)), SKIN_SPREAD))
        for part, usual in zip(tint.tolist(), SKIN_RGB, strict=True)
    )
    mean = (red + green + blue) / 3
    return red / mean, green / mean, blue / mean


def _beyond(value: float, spread: float) -> float:
    """Return how far a value lies outside of -spread..spread, with its sign."""
    return math.copysign(max(abs(value) - spread, 0.0), value)


def measure_camera(face: np.ndarray) -> Camera:
    """Measure noise and blur of a photo in the middle of a (h, w, 3) uint8 RGB region."""
    height, width = face.shape[:2]
    if min(height, width) < 24:
        return Camera(0.0, 0.0)
    # As much off one side as off the other, so that a mirror image measures the same.
    top, left = max(0, height - SAMPLE_PX) // 2, max(0, width - SAMPLE_PX) // 2
    grey = cv2.cvtColor(face[top : height - top, left : width - left], cv2.COLOR_RGB2GRAY)
    levels = grey.astype(np.int16)
    # Grey levels are whole numbers, so a strong blur shows only in a coarser picture.
    coarse = levels[:, :-2] + 2 * levels[:, 1:-1] + levels[:, 2:]
    blur_px = max(_blur(levels, 1), 2 * _blur(coarse, 2))
    # In the smoothest parts of the face what is left of detail is the camera's noise.
    detail = np.abs(cv2.Laplacian(grey, cv2.CV_16S)).astype(np.float32)
    parts = cv2.resize(detail, (8, 8), interpolation=cv2.INTER_AREA).ravel()
    quiet = float(np.partition(parts, 6)[6])
    # Of white noise of deviation s, the mean absolute Laplacian is sqrt(20) s sqrt(2 / pi).
    return Camera(quiet / (255 * 3.57), blur_px)


def _blur(levels: np.ndarray, lag: int) -> float:
    """Return the deviation of a blur, in steps of ``lag``, from how detail fades with scale."""
    middle = 2 * levels[:, 2 * lag : -2 * lag]
    near = cv2.norm(levels[:, lag : -3 * lag] + levels[:, 3 * lag : -lag] - middle)
    far = cv2.norm(levels[:, : -4 * lag] + levels[:, 4 * lag :] - middle)
    ratio = max(near / max(far, 1e-3), FLAT_RATIO + 0.03)
    return min(max((SHARP_RATIO - ratio) / (ratio - FLAT_RATIO), 0.0), 1.2)


@dataclass(frozen=True)
class Film:
    """How a photo as a whole renders: brightness of black, 0..1, and 1 where it has no colour."""

    black: float
    grey: float


def measure_film(image: np.ndarray) -> Film:
    """Measure how a whole photo, (H, W, 3) uint8 RGB, renders black and colour.

    Black is more than 0 in haze and faded prints. Grey asks for colour anywhere, not on the mean:
    skin in cool light is neutral, its photo is not without colour.
    """
    small = cv2.resize(image, (24, 24), interpolation=cv2.INTER_LINEAR).reshape(-1, 3)
    red, green, blue = small[:, 0], small[:, 1], small[:, 2]
    most = np.maximum(np.maximum(red, green), blue)
    least = np.minimum(np.minimum(red, green), blue)
    chroma = float(np.partition(most - least, 518)[518])  # nine in ten pixels have less
    darkest = float(most.min()) / 255
    return Film(
        black=min(max(0.8 * (darkest - 0.1), 0.0), 0.2),
        grey=min(max((16 - chroma) / 6, 0.0), 1.0),
    )


def in_front(face: np.ndarray, u: np.ndarray, v: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Guess what hangs before a mask: dark hair at its sides, the frame of glasses at its top.

    Args:
        face: (h, w, 3) uint8 RGB, the region of the mask.
        u: (h, w) float32 chart coordinate across. v: the same down.
        cover: (h, w) float32 in 0..1, the mask.

    Returns:
        (h, w) float32 in 0..1; 0 where there is no telling.
    """
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
    skin = float((grey * cover).sum() / max(float(cover.sum()), 1e-3))
    dark = np.clip((0.5 * skin - grey) / max(0.2 * skin, 1.0), 0, 1)
    side = np.clip((np.abs(u) - 0.72) * 6, 0, 1)
    top = np.clip((0.1 - v) * 14, 0, 1)
    return np.asarray(dark * np.maximum(side, top), np.float32)
