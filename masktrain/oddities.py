"""What a mask classifier was never meant for, drawn by code: beards, costume, drawings, animals,
statues. None of it wears a mask; a look at what a network says of it tells more than a number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from MaskTheFace.landmarks import Landmarks
from MaskTheFace.occluder_style import OccluderStyle
from MaskTheFace.occluders import occlude
from masktrain.face_model import FaceModel
from masktrain.faces import crop_face

SIDE = 256
Color = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Oddity:
    """A picture, (128, 128, 3) uint8 RGB, and what it shows."""

    name: str
    image: np.ndarray


def draw_oddities() -> list[Oddity]:
    """Return all of them, always the same."""
    model = FaceModel.load()
    found = []
    for name, (seed, change) in _ON_FACES.items():
        image, landmarks = model.sample(np.random.default_rng((11, seed)), size_px=SIDE)
        crop = crop_face(image, landmarks, SIDE)
        found.append(Oddity(name, _small(change(crop.image, crop.landmarks))))
    return found + [Oddity(name, _small(draw())) for name, draw in _WITHOUT.items()]


def _small(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA))


def _bearded(color: Color, size: float) -> Callable[[np.ndarray, Landmarks], np.ndarray]:
    style = OccluderStyle(kind="beard", color=color, size=size, seed=4)
    return lambda image, landmarks: occlude(image, landmarks, style).image


def _points(landmarks: Landmarks, *which: int) -> np.ndarray:
    return landmarks.xy[list(which)].astype(np.float64)


def _filled(image: np.ndarray, points: np.ndarray, color: Color) -> np.ndarray:
    share = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(share, [np.rint(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(share, (0, 0), 1.5).astype(np.float32)[..., None] / 255
    shade = 0.75 + 0.5 * cv2.GaussianBlur(image, (0, 0), 12).mean(axis=2, keepdims=True) / 255
    return np.clip(image + soft * (np.array(color) * shade - image), 0, 255).astype(np.uint8)


def _cowl(image: np.ndarray, landmarks: Landmarks) -> np.ndarray:
    """A hero's cowl: dark, with ears, eyes and chin free."""
    jaw = _points(landmarks, 2, 31, 33, 35, 14)
    top = landmarks.xy[27] - 1.15 * (landmarks.xy[8] - landmarks.xy[27])
    side = 0.75 * (landmarks.xy[16] - landmarks.xy[0])
    ears = [top + side, top + 0.55 * side + [0, 34], top - 0.55 * side + [0, 34], top - side]
    done = _filled(image, np.vstack([jaw, *[[ear] for ear in ears]]), (26, 26, 34))
    for eye in (range(36, 42), range(42, 48)):
        around = landmarks.xy[list(eye)]
        around = around + 0.5 * (around - around.mean(axis=0))
        hole = np.zeros(image.shape[:2], np.uint8)
        cv2.fillPoly(hole, [np.rint(around).astype(np.int32)], 255, cv2.LINE_AA)
        done = np.where(hole[..., None] > 127, image, done)
    return done


def _clown(image: np.ndarray, landmarks: Landmarks) -> np.ndarray:
    """White paint, a red nose and a red mouth."""
    face = np.vstack([landmarks.xy[:17], landmarks.xy[26:16:-1] - [0, 30]])
    done = np.rint(0.35 * image + 0.65 * _filled(image, face, (245, 243, 240))).astype(np.uint8)
    lips = landmarks.xy[48:60]
    done = _filled(done, lips + 0.45 * (lips - lips.mean(axis=0)), (190, 20, 30))
    nose = tuple(np.rint(landmarks.xy[30]).astype(int).tolist())
    cv2.circle(done, nose, 22, (205, 25, 30), -1, cv2.LINE_AA)
    cv2.circle(done, (nose[0] - 7, nose[1] - 8), 5, (250, 200, 200), -1, cv2.LINE_AA)
    return done


def _pencil(image: np.ndarray, _: Landmarks) -> np.ndarray:
    """Pencil on paper."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    around = cv2.GaussianBlur(255 - grey, (0, 0), 5)
    lines = np.clip(grey * 256 / np.maximum(256 - around, 1), 0, 255)
    return np.repeat(lines.astype(np.uint8)[..., None], 3, axis=2)


def _cartoon(image: np.ndarray, _: Landmarks) -> np.ndarray:
    """Few flat colours and black outlines."""
    flat = image
    for _time in range(4):
        flat = cv2.bilateralFilter(flat, 9, 30, 9)
    flat = (flat // 42 * 42 + 21).astype(np.uint8)
    grey = cv2.medianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 5)
    edges = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 15, 4)
    return np.where(edges[..., None] > 0, flat, np.uint8(25))


def _statue(image: np.ndarray, landmarks: Landmarks) -> np.ndarray:
    """Marble: no colour, veins, blank eyes."""
    rng = np.random.default_rng(5)
    plain = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    grey = cv2.GaussianBlur(plain, (0, 0), 1.2)
    noise = sum(
        cv2.resize(rng.normal(0, 1, (n, n)).astype(np.float32), (SIDE, SIDE), interpolation=2) / n
        for n in (4, 8, 16, 32)
    )
    veins = np.exp(-np.abs(np.asarray(noise)) * 30)
    stone = 95 + 0.6 * grey - 26 * veins + rng.normal(0, 3, grey.shape)
    done = np.clip(stone[..., None] * np.array([1.0, 0.985, 0.95]), 0, 255).astype(np.uint8)
    for eye in (range(36, 42), range(42, 48)):
        around = landmarks.xy[list(eye)]
        done = _filled(done, around + 0.15 * (around - around.mean(axis=0)), (200, 196, 188))
    return done


def _scene(color: Color, floor: Color) -> np.ndarray:
    """A blurred room to stand in."""
    image = np.empty((SIDE, SIDE, 3), np.uint8)
    image[:] = color
    image[SIDE * 3 // 4 :] = floor
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 9))


def _ball(image: np.ndarray, at: tuple[int, int], half: tuple[int, int], color: Color) -> None:
    """A round thing, lit from the upper left."""
    ys, xs = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    x, y = (xs - at[0]) / half[0], (ys - at[1]) / half[1]
    reach = np.hypot(x, y)
    height = np.sqrt(np.clip(1 - reach**2, 0, 1))
    light = np.clip(0.45 + 0.5 * (-0.45 * x - 0.5 * y + 0.75 * height), 0.2, 1.15)
    share = np.clip((1 - reach) * min(half) / 1.5, 0, 1)[..., None]
    shade = np.clip(light[..., None] * np.array(color, np.float32), 0, 255)
    image[:] = np.rint(image + share * (shade - image)).astype(np.uint8)


def _triangle(image: np.ndarray, points: list[tuple[int, int]], color: Color) -> None:
    cv2.fillPoly(image, [np.array(points, np.int32)], color, cv2.LINE_AA)


def _fur(image: np.ndarray, scene: np.ndarray) -> np.ndarray:
    """Streak what stands before the scene."""
    noise = np.random.default_rng(2).normal(0, 1, (SIDE, SIDE)).astype(np.float32)
    streaks = cv2.GaussianBlur(noise, (0, 0), sigmaX=0.8, sigmaY=3.0)
    animal = (image != scene).any(axis=2, keepdims=True)
    return np.clip(image + 30 * streaks[..., None] * animal, 0, 255).astype(np.uint8)


def _cat() -> np.ndarray:
    scene = _scene((150, 170, 150), (110, 90, 70))
    image = scene.copy()
    for side in (-1, 1):
        _triangle(image, [(128 + side * 82, 40), (128 + side * 20, 84), (128 + side * 88, 120)],
                  (176, 128, 78))  # fmt: skip
    _ball(image, (128, 142), (92, 84), (216, 160, 100))
    _ball(image, (128, 180), (44, 32), (246, 236, 224))
    for side in (-1, 1):
        _ball(image, (128 + side * 40, 126), (18, 20), (190, 205, 90))
        cv2.ellipse(
            image, (128 + side * 40, 126), (5, 16), 0, 0, 360, (15, 15, 15), -1, cv2.LINE_AA
        )
    image = _fur(image, scene)
    _triangle(image, [(116, 162), (140, 162), (128, 176)], (216, 120, 120))
    for side in (-1, 1):
        cv2.ellipse(image, (128 + side * 12, 178), (12, 9), 0, 0, 180, (90, 50, 40), 2, cv2.LINE_AA)
        for drop in (-10, 0, 10):
            start, end = (128 + side * 34, 178 + drop // 2), (128 + side * 104, 172 + 2 * drop)
            cv2.line(image, start, end, (250, 250, 250), 1, cv2.LINE_AA)
    return image


def _dog() -> np.ndarray:
    scene = _scene((120, 150, 190), (90, 120, 70))
    image = scene.copy()
    _ball(image, (128, 128), (84, 94), (120, 84, 56))
    for side in (-1, 1):
        _ball(image, (128 + side * 86, 130), (28, 70), (82, 56, 38))
    _ball(image, (128, 176), (50, 46), (206, 180, 150))
    image = _fur(image, scene)
    for side in (-1, 1):
        _ball(image, (128 + side * 36, 108), (14, 15), (40, 24, 16))
        cv2.circle(image, (123 + side * 36, 103), 4, (240, 240, 240), -1, cv2.LINE_AA)
    _ball(image, (128, 156), (22, 16), (30, 26, 26))
    cv2.line(image, (128, 170), (128, 190), (50, 34, 28), 3, cv2.LINE_AA)
    cv2.ellipse(image, (128, 190), (24, 14), 0, 10, 170, (50, 34, 28), 3, cv2.LINE_AA)
    _ball(image, (128, 208), (14, 18), (220, 110, 120))
    return image


def _smiley() -> np.ndarray:
    image = _scene((235, 235, 240), (225, 225, 230))
    _ball(image, (128, 132), (96, 96), (255, 215, 60))
    for side in (-1, 1):
        cv2.ellipse(
            image, (128 + side * 34, 106), (10, 18), 0, 0, 360, (50, 35, 10), -1, cv2.LINE_AA
        )
    cv2.ellipse(image, (128, 146), (52, 42), 0, 15, 165, (50, 35, 10), 7, cv2.LINE_AA)
    return image


def _robot() -> np.ndarray:
    image = _scene((60, 70, 90), (40, 45, 60))
    cv2.rectangle(image, (52, 44), (204, 220), (150, 158, 168), -1)
    cv2.rectangle(image, (52, 44), (204, 220), (90, 98, 108), 4)
    for side in (-1, 1):
        _ball(image, (128 + side * 38, 104), (22, 22), (90, 200, 240))
    for column in range(5):
        cv2.rectangle(image, (84 + 19 * column, 160), (98 + 19 * column, 188), (40, 46, 54), -1)
    cv2.line(image, (128, 44), (128, 18), (150, 158, 168), 4)
    _ball(image, (128, 16), (8, 8), (240, 80, 60))
    return image


def _empty_room() -> np.ndarray:
    image = _scene((196, 190, 178), (120, 88, 60))
    cv2.rectangle(image, (30, 30), (110, 130), (150, 190, 220), -1)
    cv2.rectangle(image, (30, 30), (110, 130), (245, 245, 240), 6)
    return image


_ON_FACES: dict[str, tuple[int, Callable[[np.ndarray, Landmarks], np.ndarray]]] = {
    "dark beard": (0, _bearded((34, 24, 18), 1.1)),
    "white beard": (28, _bearded((205, 200, 196), 1.3)),
    "cowl": (2, _cowl),
    "clown": (3, _clown),
    "pencil": (4, _pencil),
    "cartoon": (5, _cartoon),
    "statue": (6, _statue),
}
"""Whose face, and what becomes of it."""
_WITHOUT: dict[str, Callable[[], np.ndarray]] = {
    "cat": _cat,
    "dog": _dog,
    "smiley": _smiley,
    "robot": _robot,
    "empty room": _empty_room,
}
