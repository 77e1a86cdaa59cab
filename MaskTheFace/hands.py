"""Hands before a face: open across the mouth, or a fist one coughs into; see occluders.py.

A hand is built in its own frame, u across it and v from the wrist to the fingertips, in widths of
the palm. Parts melt into one another; where two meet, light falls into a valley.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from MaskTheFace import sketch
from MaskTheFace.occluder_style import OccluderStyle
from MaskTheFace.sketch import Color, Pad, Point

PALM = 0.95
"""Width of a palm in half face widths: 7 cm beside 7.4 cm, slender, to leave some face in view."""
MELT = 0.05
"""How far parts that meet melt into one another, in widths of the palm."""


@dataclass(frozen=True)
class Finger:
    """A finger: where it begins, in the frame of the hand, and its size, in widths of the palm."""

    u: float
    v: float
    length: float
    radius: float


FINGERS = (
    Finger(-0.36, 0.38, 0.74, 0.128),
    Finger(-0.12, 0.45, 0.84, 0.132),
    Finger(0.12, 0.43, 0.78, 0.126),
    Finger(0.345, 0.33, 0.6, 0.112),
)
"""Index to little finger: the middle one reaches nearly as far as the palm is wide."""


class Hand:
    """What has been drawn of a hand: distance to it, and how far it stands out.

    Args:
        pad: it is drawn on.
        middle: of the palm, in units of the face.
        angle_deg: of the fingers to the vertical, clockwise.
        side: 1 or -1, the thumb's.
        size: width of the palm in units of the face.
    """

    def __init__(self, pad: Pad, middle: Point, angle_deg: float, side: int, size: float) -> None:
        self.pad = pad
        u, v = pad.turned(middle, angle_deg)
        self.u, self.v = u * np.float32(-side / size), v * np.float32(-1 / size)
        self.size = size
        self.distance = np.full(u.shape, 9, np.float32)
        self.height = np.zeros(u.shape, np.float32)

    def rod(
        self, start: Point, end: Point, radius: float, end_radius: float, flat: float = 1.0
    ) -> None:
        """Add a part with round ends; ``flat`` is how far it stands out for its width."""
        distance, thick, rise = sketch.rod(self.u, self.v, start, end, radius, end_radius)
        self._add(distance, np.float32(flat) * rise * thick)

    def slab(self, middle: Point, half: Point, round_off: float, thick: float) -> None:
        """Add a flat part with round corners."""
        u, v = self.u - np.float32(middle[0]), self.v - np.float32(middle[1])
        distance = sketch.slab(u, v, half, round_off)
        rise = np.clip(-distance / np.float32(thick), 0, 1)
        self._add(distance, np.float32(thick) * np.sqrt(rise * (2 - rise)))

    def _add(self, distance: np.ndarray, height: np.ndarray) -> None:
        near = np.clip(MELT - np.abs(self.distance - distance), 0, None) / MELT
        melted = near**2 * np.float32(MELT / 4)
        self.distance = np.minimum(self.distance, distance) - melted
        self.height = np.maximum(self.height, height)

    def spot(self, middle: Point, half: Point) -> np.ndarray:
        """Return a soft spot, 1 in its middle and 0 beyond its rim."""
        reach = ((self.u - middle[0]) / half[0]) ** 2 + ((self.v - middle[1]) / half[1]) ** 2
        return np.clip(1 - reach, 0, 1) ** 2

    def light(self) -> np.ndarray:
        """Return how light the skin is, (h, w), lit from above: 1 where it faces the light."""
        step = np.float32(0.55 * self.size / self.pad.px)  # flatter than it is: light comes round
        down, across = np.gradient(self.height * step)
        steep = np.sqrt(1 + down**2 + across**2)
        facing = (0.86 + 0.5 * down + 0.1 * across) / steep
        return np.asarray(0.48 + 0.58 * np.clip(facing, 0, 1), np.float32)


def hand(pad: Pad, skin: Color, mouth: Point, style: OccluderStyle) -> None:
    """Draw a hand before the mouth, the wrist coming in from below or from the side."""
    rng = np.random.default_rng(style.seed)
    fist, nails, sleeve = rng.random(3) < (0.25, 0.8, 0.45)
    size = PALM * style.size
    lean = math.radians(style.angle_deg + (35 if fist else 0))
    forth = np.array([-style.side * math.sin(lean), -math.cos(lean)])
    palm = np.array(mouth) - forth * (0.35 if fist else rng.uniform(0.6, 1.0)) * size
    drawn = Hand(
        pad, (float(palm[0]), float(palm[1])), -style.side * math.degrees(lean), style.side, size
    )
    drawn.slab((0.0, -0.02), (0.49, 0.5), 0.26, 0.17)
    drawn.rod((0.02, 0.05), (rng.normal(0, 0.1), -2.6), 0.34, 0.42, flat=0.45)
    tips: list[tuple[Point, float]] = []
    if fist:
        _curl(drawn)
    else:
        tips = _stretch(drawn, rng)
    shade = rng.uniform(0.86, 1.03) * rng.normal(1, (0.012, 0.025, 0.035))
    red, green, blue = np.clip(np.array(skin) * shade, 0, 1).tolist()
    color = red, green, blue
    share = pad.inside(drawn.distance * drawn.size)
    light = drawn.light() * pad.mottled(style.seed, 2.2, 0.05)
    pad.lay(share, color, light)
    _color_joints(drawn, color, share * light)
    if nails:
        _nails(drawn, tips, color)
    if sleeve:
        _sleeve(drawn, sum(skin) / 3, rng)


def _stretch(drawn: Hand, rng: np.random.Generator) -> list[tuple[Point, float]]:
    """Add four fingers side by side and the thumb; return where the tips are and which way."""
    fan, tips = rng.uniform(0.02, 0.16), []
    for place, finger in enumerate(FINGERS):
        turn = fan * (place - 1.5) + rng.normal(0, 0.02)
        bend = turn + rng.normal(0, 0.05) - 0.04 * (place - 1.5)
        root = (finger.u, finger.v - 0.12)
        joint = _ahead(root, turn, 0.12 + 0.48 * finger.length)
        tip = _ahead(joint, bend, 0.52 * finger.length - finger.radius)
        drawn.rod(root, joint, finger.radius * 1.06, finger.radius)
        drawn.rod(joint, tip, finger.radius, 0.8 * finger.radius)
        tips.append((tip, bend))
    away = rng.uniform(-0.55, -0.1)
    joint = _ahead((-0.38, -0.25), away - 0.3, 0.46)
    tip = _ahead(joint, away + 0.2, 0.3)
    drawn.rod((-0.36, -0.3), joint, 0.19, 0.15)
    drawn.rod(joint, tip, 0.15, 0.12)
    return [*tips, (tip, away + 0.2)]


def _curl(drawn: Hand) -> None:
    """Add four fingers that are bent away at the first joint, and the thumb along them."""
    for finger in FINGERS:
        drawn.rod((finger.u, 0.2), (finger.u, finger.v + 0.12), 0.125, 0.135)
    drawn.rod((-0.4, -0.3), (-0.52, 0.12), 0.18, 0.15)
    drawn.rod((-0.52, 0.12), (-0.36, 0.5), 0.15, 0.13)


def _ahead(start: Point, turn: float, length: float) -> Point:
    """Return the point so far ahead, turned from v towards u, in radians."""
    return start[0] + length * math.sin(turn), start[1] + length * math.cos(turn)


def _color_joints(drawn: Hand, color: Color, share: np.ndarray) -> None:
    """Make the knuckles redder and a little darker, as their skin is."""
    red = (color[0] * 0.94, color[1] * 0.78, color[2] * 0.74)
    for finger in FINGERS:
        root = drawn.spot((finger.u, finger.v + 0.02), (0.15, 0.13))
        joint = drawn.spot((finger.u, finger.v + 0.48 * finger.length), (0.13, 0.09))
        drawn.pad.lay(0.35 * share * np.maximum(root, joint), red, 1.0)


def _nails(drawn: Hand, tips: list[tuple[Point, float]], color: Color) -> None:
    pale = (color[0] * 0.55 + 0.45, color[1] * 0.6 + 0.32, color[2] * 0.6 + 0.3)
    for (u, v), turn in tips:
        cos, sin = math.cos(turn), math.sin(turn)
        across = (drawn.u - u) * cos - (drawn.v - v) * sin
        along = (drawn.u - u) * sin + (drawn.v - v) * cos - 0.01
        reach = np.sqrt((across / 0.062) ** 2 + (along / 0.085) ** 2)
        edge = drawn.pad.inside((reach - 1) * 0.06 * drawn.size, 0.025)
        drawn.pad.lay(0.5 * edge, pale, 0.9 + 0.1 * np.clip(1 - reach, 0, 1))


def _sleeve(drawn: Hand, brightness: float, rng: np.random.Generator) -> None:
    """Add a sleeve; in a dark photo, as the skin tells, none is bright."""
    cuff = np.float32(rng.uniform(-1.25, -0.8)) + 0.04 * drawn.u
    wide = np.abs(drawn.u) - np.float32(0.5) + 0.05 * drawn.v
    edge = np.maximum(drawn.v - cuff, wide) * drawn.size
    round_ = np.sqrt(np.clip(1 - (drawn.u / 0.62) ** 2, 0, 1))
    folds = 0.06 * np.sin(9 * drawn.v + 3 * drawn.u + rng.uniform(0, 6))
    hem = 0.12 * (np.abs(drawn.v - cuff + 0.1) < 0.018)
    dyed = (0.08 + 0.8 * rng.random(3) ** 1.4) * min(0.4 + brightness, 1)
    red, green, blue = dyed.tolist()
    drawn.pad.lay(drawn.pad.inside(edge), (red, green, blue), 0.5 + 0.5 * round_ + folds - hem)
