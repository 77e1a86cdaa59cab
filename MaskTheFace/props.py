"""Things before a face that are no masks, each drawn on a sketch pad; see occluders.py.

A function takes the pad, the face (its 68 points in units) and the style, and draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from MaskTheFace import hands
from MaskTheFace.occluder_style import OccluderStyle
from MaskTheFace.sketch import Color, Frame, Pad, Point


@dataclass(frozen=True)
class FaceSketch:
    """A face as the drawing functions see it: points in units, and its skin, 0..1."""

    frame: Frame
    points: np.ndarray
    skin: Color

    @property
    def mouth(self) -> Point:
        """Middle of the mouth."""
        x, y = self.points[48:68].mean(axis=0).tolist()
        return x, y

    @property
    def chin(self) -> Point:
        """Lowest point of the jaw."""
        x, y = self.points[8].tolist()
        return x, y

    def eye(self, right: bool) -> Point:
        """Middle of an eye: the one on the right of the picture, or the other."""
        first = 42 if right else 36
        x, y = self.points[first : first + 6].mean(axis=0).tolist()
        return x, y


def _moved(point: Point, style: OccluderStyle) -> Point:
    return point[0] + style.dx, point[1] + style.dy


def hand(pad: Pad, face: FaceSketch, style: OccluderStyle) -> None:
    """A hand before the mouth."""
    hands.hand(pad, _rgb(style, face.skin), _moved(face.mouth, style), style)


def microphone(pad: Pad, face: FaceSketch, style: OccluderStyle) -> None:
    """A ball of wire mesh on a handle."""
    size = style.size
    x, y = _moved((face.mouth[0], face.mouth[1] + 0.22), style)
    lean = math.radians(style.angle_deg)
    end = x + style.side * 3 * math.sin(lean), y + 3 * math.cos(lean)
    handle, height = pad.capsule((x, y), end, 0.15 * size, 0.11 * size)
    pad.lay(pad.inside(handle), (0.09, 0.09, 0.1), 0.6 + 0.9 * height)
    ball, height = pad.ellipse((x, y), (0.33 * size, 0.31 * size))
    u, v = pad.turned((x, y), style.angle_deg * style.side)
    mesh = 0.5 + 0.5 * np.sin(u * 60 / size) * np.sin(v * 60 / size)
    mesh = 0.55 + (mesh - 0.55) * min(1.0, 0.03 / pad.px)  # too fine to be seen: even
    pad.lay(
        pad.inside(ball),
        _rgb(style, (0.32, 0.32, 0.34)),
        (0.35 + 0.75 * height) * (0.6 + 0.6 * mesh),
    )
    ring = np.abs(v - 0.02) - 0.035 * size
    pad.lay(pad.inside(np.maximum(ring, ball)), (0.6, 0.6, 0.62), 0.5 + 0.6 * height)


def cup(pad: Pad, face: FaceSketch, style: OccluderStyle) -> None:
    """A paper cup with its lid, at the lips."""
    size = style.size
    middle = _moved((face.mouth[0], face.mouth[1] + 0.5 * size), style)
    x, y = pad.turned(middle, style.side * style.angle_deg * 0.4)
    taper = 0.42 * size - 0.09 * (y + 0.5 * size)
    wall = np.maximum(np.abs(x) - taper, np.abs(y) - 0.62 * size)
    round_ = np.sqrt(np.clip(1 - (x / np.maximum(taper, 0.05)) ** 2, 0, 1))
    color = _rgb(style, (0.9, 0.88, 0.84))
    pad.lay(pad.inside(wall), color, 0.62 + 0.42 * round_ + 0.08 * x * style.side)
    if style.seed % 2:
        sleeve = np.maximum(wall, np.abs(y - 0.08 * size) - 0.26 * size)
        pad.lay(pad.inside(sleeve), (0.62, 0.45, 0.3), 0.6 + 0.45 * round_)
    lid = np.maximum(np.abs(x) - taper - 0.03, np.abs(y + 0.6 * size) - 0.07 * size)
    pad.lay(
        pad.inside(lid),
        (0.93, 0.93, 0.92) if style.seed % 3 else (0.15, 0.15, 0.16),
        0.7 + 0.35 * round_,
    )


def phone(pad: Pad, face: FaceSketch, style: OccluderStyle) -> None:
    """A telephone held before cheek and mouth."""
    size = style.size
    middle = _moved((face.mouth[0] + style.side * 0.38, face.mouth[1] - 0.05), style)
    angle = style.side * style.angle_deg
    body = pad.box(middle, (0.36 * size, 0.74 * size), angle, 0.09 * size)
    x, y = pad.turned(middle, angle)
    color = _rgb(style, (0.1, 0.1, 0.12))
    pad.lay(pad.inside(body), color, 0.9 + 0.35 * np.clip(-x - y, -0.8, 0.8))
    pad.lay(pad.inside(np.abs(body + 0.02) - 0.02), _pale(color), 0.8)
    for place in range(1 + style.seed % 3):
        lens, _ = pad.ellipse(
            _turned_back(middle, (-0.2 * size, (-0.58 + 0.17 * place) * size), angle),
            (0.065 * size, 0.065 * size),
        )
        pad.lay(pad.inside(lens), (0.03, 0.03, 0.05), 1.0)


def food(pad: Pad, face: FaceSketch, style: OccluderStyle) -> None:
    """An apple, a bun with filling, or a ball of ice cream in its cone."""
    size = style.size
    x, y = _moved((face.mouth[0], face.mouth[1] + 0.12), style)
    kind = style.seed % 3
    if kind == 0:
        body, height = pad.ellipse((x, y + 0.08), (0.42 * size, 0.4 * size), style.angle_deg)
        pad.lay(pad.inside(body), _rgb(style, (0.78, 0.12, 0.12)), 0.5 + 0.55 * height)
        shine, _ = pad.ellipse((x - 0.14 * size, y - 0.08), (0.08 * size, 0.12 * size), 30)
        pad.lay(0.5 * pad.inside(shine, 0.12), (1.0, 0.96, 0.92), 1.0)
    elif kind == 1:
        layers = (
            (0.2, 0.2, (0.78, 0.55, 0.3)),
            (0.06, 0.1, (0.36, 0.2, 0.12)),
            (-0.02, 0.08, (0.36, 0.6, 0.2)),
            (-0.16, 0.22, (0.82, 0.58, 0.32)),
        )
        for down, half, color in layers:
            body, height = pad.ellipse(
                (x, y + (0.1 + down) * size), (0.52 * size, half * size), style.angle_deg * 0.3
            )
            pad.lay(pad.inside(body), color, 0.55 + 0.5 * height)
    else:
        cone = np.maximum(
            np.abs(pad.x - x) - (0.26 * size - 0.3 * (pad.y - y - 0.2)), y + 0.15 - pad.y
        )
        waffle = 0.85 + 0.15 * np.sign(np.sin(28 * (pad.x + pad.y)) * np.sin(28 * (pad.x - pad.y)))
        pad.lay(pad.inside(cone), (0.8, 0.6, 0.36), waffle)
        ball, height = pad.ellipse((x, y), (0.34 * size, 0.32 * size))
        pad.lay(pad.inside(ball), _rgb(style, (0.95, 0.86, 0.78)), 0.65 + 0.4 * height)


def scarf(pad: Pad, face: FaceSketch, style: OccluderStyle) -> None:
    """Cloth around the neck, behind the chin."""
    x, chin = pad.x - np.float32(face.chin[0]), face.chin[1]
    upper = (
        chin
        - 0.12
        + style.dy
        + 0.2 * np.cos(2 * np.clip(x, -1.2, 1.2))
        - 0.4 * np.maximum(np.abs(x) - 0.35, 0)
    )
    folds = np.sin(9 * (pad.y - upper) + 2.2 * x + style.seed % 7) + 0.5 * np.sin(
        17 * pad.y - 5 * x
    )
    threads = 1 + 0.05 * np.sin(90 * x) * min(1.0, 0.02 / pad.px)
    share = pad.inside(upper - pad.y, 0.03)
    pad.lay(share, _rgb(style, (0.35, 0.3, 0.32)), (0.78 + 0.16 * folds) * threads)
    jaw = np.vstack([face.points[:17], face.points[26:16:-1]])
    pad.cut(pad.polygon(jaw, face.frame, 0.04))


def beard(pad: Pad, face: FaceSketch, style: OccluderStyle) -> None:
    """Beard and moustache, from stubble to a long one."""
    points = face.points
    jaw = points[2:15] + (points[2:15] - points[30]) * 0.05
    jaw[3:10, 1] += 0.5 * style.size * np.sin(np.linspace(0, np.pi, 7)) - 0.25
    upper = np.vstack(
        [
            points[14] * 0.9 + points[54] * 0.1,
            points[54] + [0.14, -0.05],
            points[35] + [0.02, 0.05],
            points[33] + [0.0, 0.07],
            points[31] + [-0.02, 0.05],
            points[48] + [-0.14, -0.05],
            points[2] * 0.9 + points[48] * 0.1,
        ]
    )
    share = pad.polygon(np.vstack([jaw, upper]), face.frame, 0.22)
    lips = points[48:60]
    share = share * (1 - pad.polygon(lips + (lips - lips.mean(axis=0)) * 0.06, face.frame, 0.06))
    spread = np.arctan2(pad.x, np.maximum(pad.y + 0.6, 0.1))
    hair = pad.strands(style.seed, pad.y, spread, 90)
    thick = np.clip(style.strength * 1.15 * share + 0.2 * (hair - 1), 0, 1) * np.minimum(
        1, 4 * share
    )
    pad.lay(np.asarray(thick, np.float32), _rgb(style, (0.16, 0.11, 0.08)), 0.9 * hair)


def paint(pad: Pad, face: FaceSketch, style: OccluderStyle) -> None:
    """The lower face, stripes across it or the whole face, in one colour."""
    jaw = face.points[1:16] * 0.98
    whole = style.seed % 4 == 2
    brows = face.points[26:16:-1] - [0, 0.4]
    top = brows if whole else face.points[[35, 33, 31]] + [0, 0.02]
    share = pad.polygon(np.vstack([jaw, top]), face.frame, 0.1)
    if style.seed % 4 == 0:
        share = share * pad.inside(np.sin(5 * pad.y + style.seed % 5) * 0.1, 0.03)
    pad.lay(np.asarray(style.strength * share, np.float32), _rgb(style, (0.75, 0.1, 0.1)), 1.0)


def chin_strap(pad: Pad, face: FaceSketch, style: OccluderStyle) -> None:
    """A helmet, its strap under the chin."""
    color = _rgb(style, (0.12, 0.12, 0.13))
    chin = face.chin[0], face.chin[1] + 0.02
    for side in (face.points[[0, 3, 6]], face.points[[16, 13, 10]]):
        # Along the edge of the jaw, a little inside of it.
        top, cheek, low = side * [0.95, 1.0] + [0.0, 0.02]
        for start, end in ((top - [0, 0.6], cheek), (cheek, low), (low, np.array(chin))):
            strap, height = pad.capsule(_at(start), _at(end), 0.045)
            pad.lay(pad.inside(strap), (0.1, 0.1, 0.11), 0.8 + 0.5 * height)
    cup_, height = pad.ellipse(chin, (0.3 * style.size, 0.1 * style.size))
    pad.lay(pad.inside(cup_), (0.1, 0.1, 0.11), 0.8 + 0.6 * height)
    brow = float(face.points[[19, 24], 1].mean()) - 0.28 + style.dy
    rim = pad.y - brow - 0.18 * (1 - np.clip(np.abs(pad.x), 0, 1.25) ** 2) + 0.12
    shell = np.maximum(rim, np.abs(pad.x) - 1.22)
    pad.lay(pad.inside(shell), color, 0.85 + 0.25 * np.cos(1.6 * (pad.x + 0.3 * style.side)))


def hat(pad: Pad, face: FaceSketch, style: OccluderStyle) -> None:
    """A cap, a woollen hat or a headband, over the forehead."""
    x = pad.x - np.float32(style.dx)
    brow = float(face.points[19:25, 1].mean()) - 0.16 + 0.5 * style.dy
    edge = brow + 0.14 * np.clip(np.abs(x), 0, 1.3) ** 2
    below = pad.y - edge
    dome, _ = pad.ellipse((style.dx, brow + 0.2), (1.14, 1.05 * style.size))
    cloth = np.maximum(below, dome)
    if style.seed % 3 == 0:
        cloth = np.maximum(cloth, -0.42 * style.size - below)
    ribs = 1 + 0.12 * np.sin((30 + style.seed % 30) * x) * min(1.0, 0.03 / pad.px)
    color = _rgb(style, (0.2, 0.2, 0.24))
    pad.lay(pad.inside(cloth, 0.02), color, (0.72 + 0.3 * np.cos(1.2 * x)) * ribs)
    if style.seed % 3 == 1:
        peak, height = pad.ellipse((style.dx, brow), (0.92 * style.size, 0.17))
        pad.lay(pad.inside(peak), color, 0.5 + 0.4 * height)
    elif style.seed % 3 == 2:
        brim = np.maximum(cloth - 0.04, -0.3 - below)
        pad.lay(pad.inside(brim, 0.02), color, (0.8 + 0.3 * np.cos(1.2 * x)) * ribs)


def sunglasses(pad: Pad, face: FaceSketch, style: OccluderStyle) -> None:
    """Dark glasses."""
    eyes = [face.eye(False), face.eye(True)]
    angle = math.degrees(math.atan2(eyes[1][1] - eyes[0][1], eyes[1][0] - eyes[0][0]))
    half = (0.3 * style.size, (0.2 + 0.05 * (style.seed % 3)) * style.size)
    for place, (x, y) in enumerate(eyes):
        middle = x + (0.04 if place else -0.04), y + 0.05
        shape = pad.box(middle, half, angle, half[1] * (0.5 + 0.2 * (style.seed % 3)))
        pad.lay(pad.inside(np.abs(shape) - 0.03), _rgb(style, (0.08, 0.07, 0.07)), 1.0)
        lens = style.strength * pad.inside(shape)
        pad.lay(
            np.asarray(lens, np.float32),
            (0.07, 0.06, 0.06),
            1 + 1.5 * np.clip(middle[1] - pad.y, 0, 0.3),
        )
        ear = face.points[16 if place else 0] - [0, 0.1]
        temple, _ = pad.capsule(
            (middle[0] + (1 if place else -1) * half[0], middle[1] - 0.08), _at(ear), 0.03
        )
        pad.lay(pad.inside(temple), _rgb(style, (0.08, 0.07, 0.07)), 1.0)
    bridge, _ = pad.capsule(
        (eyes[0][0] + half[0] * 0.8, eyes[0][1]), (eyes[1][0] - half[0] * 0.8, eyes[1][1]), 0.03
    )
    pad.lay(pad.inside(bridge), _rgb(style, (0.08, 0.07, 0.07)), 1.0)


def hair(pad: Pad, face: FaceSketch, style: OccluderStyle) -> None:
    """Long hair over one side of the face."""
    side = style.side
    sway = 0.12 * np.sin(2.4 * pad.y + style.seed % 6)
    inner = 0.72 - 0.3 * style.size + style.dx - 0.28 * np.clip(-pad.y - 0.2, 0, 1.2) + sway
    across = side * pad.x
    lock = pad.strands(style.seed, pad.y, across - sway, 70)
    share = pad.inside(inner - across + 0.25 * (lock - 1), 0.06)
    share = share * pad.inside(across - 1.45, 0.2)
    pad.lay(
        np.asarray(share, np.float32),
        _rgb(style, (0.16, 0.1, 0.07)),
        0.85 * lock * (0.8 + 0.25 * np.cos(5 * (across - inner))),
    )


def veil(pad: Pad, face: FaceSketch, style: OccluderStyle) -> None:
    """A veil that leaves the eyes free."""
    eyes = face.points[36:48].mean(axis=0)
    slit, _ = pad.ellipse(_at(eyes), (0.85 * style.size, 0.26 * style.size))
    folds = 1 + 0.1 * np.sin(7 * pad.x + 2 * np.sin(2 * pad.y) + style.seed % 5)
    pad.lay(pad.inside(-slit, 0.04), _rgb(style, (0.1, 0.1, 0.11)), folds)


def no_face(pad: Pad, face: FaceSketch, style: OccluderStyle) -> None:
    """Nothing where the face was: a plain patch, as large as the head or as the picture."""
    middle = (0.3 * style.dx, 0.35 + 0.3 * style.dy)
    half = (1.3 * style.size, 1.55 * style.size)
    soft = 0.02 + 0.1 * (style.seed % 5)
    outline = face.points * (1.1 + 0.4 * style.light) * style.size + [0.3 * style.dx, -0.1]
    share = (
        lambda: pad.inside(pad.ellipse(middle, half)[0], soft),
        lambda: pad.inside(pad.box(middle, half, 0.3 * style.angle_deg, 0.2), soft),
        lambda: np.ones_like(pad.x),
        lambda: pad.polygon(cv2.convexHull(outline.astype(np.float32))[:, 0], face.frame, soft),
    )[style.seed % 4]()
    u, _ = pad.turned(middle, 4 * style.angle_deg)
    slope = 1 + 0.06 * (style.seed % 3) * style.side * np.clip(u, -1.5, 1.5)
    pad.lay(share, _rgb(style, face.skin), slope)


def _at(point: np.ndarray) -> Point:
    return float(point[0]), float(point[1])


def _turned_back(middle: Point, offset: Point, angle_deg: float) -> Point:
    angle = math.radians(angle_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    across, down = offset
    return middle[0] + cos * across - sin * down, middle[1] + sin * across + cos * down


def _rgb(style: OccluderStyle, otherwise: Color) -> Color:
    if style.color is None:
        return otherwise
    red, green, blue = (part / 255 for part in style.color)
    return red, green, blue


def _pale(color: Color) -> Color:
    red, green, blue = (part + 0.45 * (1 - part) for part in color)
    return red, green, blue


DRAW: dict[str, Callable[[Pad, FaceSketch, OccluderStyle], None]] = {
    "hand": hand,
    "microphone": microphone,
    "cup": cup,
    "phone": phone,
    "food": food,
    "scarf": scarf,
    "beard": beard,
    "paint": paint,
    "chin_strap": chin_strap,
    "hat": hat,
    "sunglasses": sunglasses,
    "hair": hair,
    "veil": veil,
    "no_face": no_face,
}
