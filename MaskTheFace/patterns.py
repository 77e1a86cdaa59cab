"""Printed patterns, drawn by code as weights of a second and a third colour, or given as a tile.

Convention: a pattern function takes pixel coordinates measured in repeats (x to the right, y down,
1.0 = one repeat) and a generator for its layout, and returns two weights in 0..1 of the same shape.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from MaskTheFace.style import MaskStyle
    from MaskTheFace.templates import MaskTemplate

Weights = tuple[np.ndarray, np.ndarray]
EDGE = 0.06
"""Width of a printed edge in repeats: soft, so that no stair-steps show."""


def _step(distance: np.ndarray) -> np.ndarray:
    """Return 1 inside (positive distance), 0 outside, with a soft edge."""
    return np.clip(distance / EDGE + 0.5, 0, 1)


def _band(phase: np.ndarray, share: float) -> np.ndarray:
    """Return a soft stripe that covers ``share`` of each whole number of ``phase``."""
    return _step(share / 2 - np.abs(phase % 1 - 0.5))


def _stripes(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    angle = rng.choice([0.0, np.pi / 2, np.pi / 4, rng.uniform(0, np.pi)])
    phase = x * np.cos(angle) + y * np.sin(angle)
    return _band(phase, rng.uniform(0.2, 0.5)), _band(phase * 2 + 0.3, 0.12)


def _checks(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    across, down = _band(x, 0.5), _band(y, 0.5)
    return across * (1 - down) + down * (1 - across), np.zeros_like(x)


def _plaid(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    wide = 0.45 * (_band(x, 0.45) + _band(y, 0.45))
    return wide, 0.8 * np.maximum(_band(x + 0.5, 0.08), _band(y + 0.5, 0.08))


def _dots(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    shifted = x + 0.5 * (np.floor(y) % 2)
    radius = np.hypot(shifted % 1 - 0.5, y % 1 - 0.5)
    return _step(rng.uniform(0.18, 0.34) - radius), np.zeros_like(x)


def _zigzag(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    return _band(y + 0.5 * np.abs(x % 1 - 0.5), 0.4), np.zeros_like(x)


def _blobs(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return smooth random hills, mean 0, deviation about 1: waves in random directions."""
    hills = np.zeros_like(x)
    for _ in range(10):
        angle, phase, pace = rng.uniform(0, 2 * np.pi, 3)
        waves = x * np.cos(angle) + y * np.sin(angle)
        hills += np.sin(waves * (2 + pace) + phase)
    return hills / np.sqrt(5)


def _camouflage(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    return _step(_blobs(x, y, rng) - 0.3), _step(_blobs(x, y, rng) - 0.8)


def _floral(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    salt = int(rng.integers(1 << 16))
    # A cheap hash moves and turns each flower, so that the print does not look ruled.
    chance = np.sin((column * 127.1 + row * 311.7 + salt) % 6283.2) * 43758.5453 % 1
    dx = x - column - 0.5 + 0.3 * (chance - 0.5)
    dy = y - row - 0.5 + 0.3 * ((chance * 7) % 1 - 0.5)
    radius, angle = np.hypot(dx, dy), np.arctan2(dy, dx) + chance * 6.28
    petals = _step(0.24 + 0.1 * np.cos(5 * angle) - radius)
    return petals, _step(0.09 - radius)


def _lettering(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    """Rows of strokes that read as print from afar."""
    salt = rng.uniform(0, 100)
    letter = np.floor(x * 5)
    on = np.sin((letter + salt) * 12.9898 + np.floor(y * 2) * 78.233) * 43758.5453 % 1 > 0.3
    upright = _band(x * 5, 0.45) * on
    bars = _band(x * 5, 0.9) * on * _band(y * 8 + np.floor(letter * 2.7), 0.35)
    line = _band(y * 2, 0.5)
    return np.clip(np.maximum(upright, bars) * line, 0, 1), np.zeros_like(x)


def _emblem(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    """One mark on plain fabric, anywhere on the mask."""
    dx, dy = x - rng.uniform(-1.6, 1.6), y - rng.uniform(0.8, 2.2)
    angle = np.arctan2(dy, dx)
    lobes = int(rng.integers(2, 7))
    radius = np.hypot(dx, dy * rng.uniform(0.8, 2.0))
    return _step(0.4 + 0.16 * np.cos(lobes * angle) - radius), _step(0.16 - radius)


def _two_tone(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    """Panels of two colours: left and right, or above and below."""
    middle = rng.uniform(1.0, 2.2)
    panel = _step((y - middle) / 4) if rng.random() < 0.5 else _step((np.abs(x) - middle) / 4)
    return panel, np.zeros_like(x)


def _gradient(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    """One colour that fades into another, across or down."""
    angle, middle = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 2.0)
    return _shares((x * np.cos(angle) + (y - middle) * np.sin(angle)) / 3 + 0.5), np.zeros_like(x)


def _speckle(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    """Flecks of knitted and felted cloth."""
    salt = int(rng.integers(1 << 16))
    cells = np.floor(x * 7) * 127.1 + np.floor(y * 9) * 311.7 + salt
    chance = np.sin(cells % 6283.2) * 43758.5453 % 1
    return 0.9 * (chance < 0.3), 0.9 * (chance > 0.88)


def _leopard(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    """Broken rings with a darker heart."""
    column, row = np.floor(x), np.floor(y)
    salt = int(rng.integers(1 << 16))
    chance = np.sin((column * 127.1 + row * 311.7 + salt) % 6283.2) * 43758.5453 % 1
    dx = x - column - 0.5 + 0.36 * (chance - 0.5)
    dy = y - row - 0.5 + 0.36 * ((chance * 5) % 1 - 0.5)
    angle = np.arctan2(dy, dx) + chance * 6.28
    radius = np.hypot(dx, dy * 1.2) + 0.04 * np.sin(3 * angle)
    ring = _step(0.085 - np.abs(radius - 0.26)) * (np.sin(angle * 1.5) > -0.75)
    return ring, 0.6 * _step(0.17 - radius)


def _lace(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    """A net with blossoms woven in: the second colour is what shines through the holes."""
    net_x, net_y = x * 4, y * 4 + 0.5 * (np.floor(x * 4) % 2)
    holes = _step(0.34 - np.hypot(net_x % 1 - 0.5, net_y % 1 - 0.5))
    petals, _ = _floral(x * 0.8, y * 0.8, rng)
    return holes * (1 - petals), np.zeros_like(x)


def _grin(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    """A mouth printed where the mouth is: lips or bared teeth."""
    wide = float(rng.uniform(1.0, 1.8))
    dx, dy = x / (0.42 * wide), (y - 0.62) / (0.2 * wide)
    bend = float(rng.uniform(0.2, 0.9))
    inside = 1 - np.hypot(dx, dy + bend * (dx**2 - 0.4))
    lips = _shares(inside * 5)
    gap = _shares(1 - np.abs(dx * 6 % 1 - 0.5) * 9) + _shares(1 - np.abs(dy + bend * dx**2) * 6)
    teeth = _shares((inside - 0.3) * 6) * (1 - np.minimum(gap, 1))
    return lips, teeth


def _slogan(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    """A word or a number in large letters before the mouth; it means nothing."""
    letters = "".join(rng.choice(list("ABCDEFGHKLMNORSTUVX0123456789"), rng.integers(2, 7)))
    sheet = np.zeros((48, 34 * len(letters)), np.uint8)
    font = (cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SIMPLEX)
    cv2.putText(sheet, letters, (4, 38), font[int(rng.integers(3))], 1.2, 255, 4, cv2.LINE_AA)
    tall = float(rng.uniform(0.12, 0.3))
    left = float(rng.uniform(-0.5, 0.2)) - tall * len(letters) * 0.25
    at_x = ((x - left) / tall * 48).astype(np.float32)
    at_y = ((y - float(rng.uniform(0.4, 0.85))) / tall * 48).astype(np.float32)
    return cv2.remap(sheet, at_x, at_y, cv2.INTER_LINEAR) / np.float32(255), np.zeros_like(x)


def _shares(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 1)


PATTERNS: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], Weights]] = {
    "stripes": _stripes,
    "checks": _checks,
    "plaid": _plaid,
    "dots": _dots,
    "zigzag": _zigzag,
    "camouflage": _camouflage,
    "floral": _floral,
    "lettering": _lettering,
    "emblem": _emblem,
    "two_tone": _two_tone,
    "gradient": _gradient,
    "speckle": _speckle,
    "leopard": _leopard,
    "lace": _lace,
    "grin": _grin,
    "slogan": _slogan,
}


MOTIFS = frozenset({"grin", "slogan"})
"""Printed once, at a place of the face: they take (u, v) themselves, whatever the scale."""


def pattern_weights(
    name: str, u: np.ndarray, v: np.ndarray, scale: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of the second and third colour over the fabric.

    Args:
        name: a name of PATTERNS.
        u: (H, W) chart coordinate across the face.
        v: (H, W) chart coordinate down the face.
        scale: length of one repeat in u.
        seed: picks the layout.

    Returns:
        Two (H, W) float arrays in 0..1; the third colour lies over the second.

    Raises:
        ValueError: an unknown name.
    """
    if name not in PATTERNS:
        raise ValueError(f"unknown pattern {name!r}; have {', '.join(PATTERNS)}")
    # A face is about as long from bridge to chin (v) as half of it is wide (u): one scale serves
    # both.
    if name in MOTIFS:
        scale = 1.0
    return PATTERNS[name](u / scale, v / scale, np.random.default_rng(seed))


def tile_colors(
    tile: np.ndarray, u: np.ndarray, v: np.ndarray, scale: float, px_per_u: float
) -> np.ndarray:
    """Return the colours of a user's tile laid edge to edge over the fabric, never stretched.

    Args:
        tile: (h, w, 3) uint8 RGB.
        u: (H, W) chart coordinate. v: the same, down.
        scale: width of one tile in u.
        px_per_u: pixels of the fabric to one u.

    Returns:
        (H, W, 3) float32, 0..255.
    """
    # One repeat in pixels of the fabric: a larger tile is shrunk by area, or it would alias.
    wanted = max(1, round(scale * px_per_u))
    if tile.shape[1] > wanted:
        size = (wanted, max(1, round(tile.shape[0] * wanted / tile.shape[1])))
        tile = cv2.resize(tile, size, interpolation=cv2.INTER_AREA)
    height, width = tile.shape[:2]
    columns = np.floor((u / scale % 1) * width).astype(int) % width
    rows = np.floor((v / scale * width / height % 1) * height).astype(int) % height
    return tile[rows, columns].astype(np.float32)


LAYOUTS, SCALE_STEPS = 12, 5
"""Drawn prints come in so many layouts and in sizes that differ by a fifth of an octave, so that a
sheet once drawn is used again."""
CACHED_PX = 200_000
"""Larger sheets are drawn anew each time: a thousand of them would not fit into memory."""


def printed_sheet(template: MaskTemplate, style: MaskStyle) -> tuple[np.ndarray, np.ndarray]:
    """Return the two inks of a drawn print over a template's sheet, each (h, w) uint8."""
    height, width = template.rgba.shape[:2]
    step = round(SCALE_STEPS * float(np.log2(style.pattern_scale)))
    if style.pattern in MOTIFS:
        step = 0
    draw = _sheet if height * width <= CACHED_PX else _sheet.__wrapped__
    place = tuple(template.affine.ravel().tolist())
    return draw(str(style.pattern), style.seed % LAYOUTS, step, width, height, place)


@functools.lru_cache(maxsize=1500)
def _sheet(
    name: str, layout: int, step: int, width: int, height: int, place: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    xs, ys = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    u = place[0] * xs + place[1] * ys + place[2]
    v = place[3] * xs + place[4] * ys + place[5]
    u, v = np.broadcast_to(u, (height, width)), np.broadcast_to(v, (height, width))
    weights = pattern_weights(
        name, u.astype(np.float32), v.astype(np.float32), 2.0 ** (step / SCALE_STEPS), layout
    )
    second, third = (np.rint(weight * 255).astype(np.uint8) for weight in weights)
    return second, third
