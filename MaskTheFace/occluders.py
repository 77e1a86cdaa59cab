"""What hides a face and is no mask: hands, scarves, beards, cups ..., or a shadow on half of it.

A network that has met these on bare and on masked faces alike does not take them for masks. As for
masks, every choice is in a frozen style, and the light, blur and noise of the photo are taken over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from MaskTheFace.landmarks import Landmarks
from MaskTheFace.occluder_style import LIGHT_ONLY, OCCLUDERS, SHARES, OccluderStyle
from MaskTheFace.overlay import Scene, check_rgb, compose
from MaskTheFace.photo import measure_camera, measure_film
from MaskTheFace.props import DRAW, FaceSketch
from MaskTheFace.sketch import Frame, Pad
from MaskTheFace.style import MaskStyle, Rgb

HAIR_COLORS: tuple[Rgb, ...] = (
    (24, 18, 15),
    (48, 32, 22),
    (84, 56, 36),
    (130, 92, 56),
    (150, 146, 142),
    (196, 190, 184),
)
PAINT_THIN = 0.75
"""Paint is drawn this dense at most, and so lets the skin through: a lower face under solid paint
looks like a smooth mask, and calling it none teaches to overlook masks."""


@dataclass(frozen=True)
class Occluded:
    """A face with something before it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        alpha: (H, W) float32 in 0..1, how far the face, or the mask on it, is hidden.
        changed: (H, W) bool, every pixel that was touched.
    """

    image: np.ndarray
    alpha: np.ndarray
    changed: np.ndarray


def sample_occluder(
    rng: np.random.Generator, kinds: Sequence[str] = tuple(SHARES)
) -> OccluderStyle:
    """Draw what is before a face.

    Args:
        rng: the only source of chance.
        kinds: names of OCCLUDERS to draw from; they keep their shares among themselves.

    Raises:
        ValueError: no kind, or an unknown one.
    """
    unknown = [kind for kind in kinds if kind not in OCCLUDERS]
    if unknown or not kinds:
        raise ValueError(f"occluders must be among {', '.join(OCCLUDERS)}, got {list(kinds)}")
    weights = np.array([SHARES.get(kind, 0.05) for kind in kinds])
    kind = kinds[int(np.searchsorted(weights.cumsum() / weights.sum(), rng.random()))]
    share = rng.random(8).tolist()
    normal = rng.standard_normal(3).tolist()
    return OccluderStyle(
        kind=kind,
        color=_color(kind, rng),
        side=1 if share[0] < 0.5 else -1,
        size=min(max(1 + 0.14 * normal[0], 0.7), 1.4),
        dx=0.16 * normal[1],
        dy=0.1 * normal[2],
        angle_deg=-20 + 90 * share[1] ** 1.5,
        strength=(0.55 + 0.45 * share[2] ** 0.5) * (PAINT_THIN if kind == "paint" else 1),
        light=0.3 + 0.7 * share[3],
        seed=int(share[4] * 2**31),
    )


def _color(kind: str, rng: np.random.Generator) -> Rgb | None:
    """Draw a colour where the kind comes in several; the same number of draws for all."""
    free, off, usual = rng.random(3), rng.normal(0, 9, 3), rng.random(2)
    if kind in ("hair", "beard"):
        base = np.array(HAIR_COLORS[int(usual[0] * len(HAIR_COLORS))]) + off.mean() + 0.3 * off
    elif kind in ("hand", "food") or usual[1] < 0.4:
        return None
    elif kind in ("sunglasses", "veil", "microphone"):
        base = 10 + 90 * free**2
    else:
        base = 20 + 220 * free
    red, green, blue = np.clip(base, 0, 255).astype(int).tolist()
    return red, green, blue


def occlude(
    image: np.ndarray, landmarks: Landmarks, style: OccluderStyle, bare: np.ndarray | None = None
) -> Occluded:
    """Put something before one face, or change the light on one side of it.

    Args:
        image: (H, W, 3) uint8 RGB, the face bare or masked; never written to.
        landmarks: the face, in the image's pixels.
        style: every choice.
        bare: the same face without a mask, where ``image`` has one: light, blur and skin are
            measured on it. Measured on fabric they would tell what lies beneath.

    Raises:
        ValueError: an image of another shape or dtype.
    """
    seen = image if bare is None else bare
    check_rgb("image", image)
    check_rgb("bare", seen)
    if seen.shape != image.shape:
        raise ValueError(f"bare must be of the image's shape {image.shape}, got {seen.shape}")
    frame = Frame.of(landmarks)
    pad = Pad(frame, *image.shape[:2])
    if style.kind in LIGHT_ONLY:
        return _relit(image, pad, style)
    DRAW[style.kind](pad, _sketched(seen, landmarks, frame), style)
    camera = measure_camera(seen)
    layer = np.dstack([pad.rgb * np.float32(255), pad.alpha])
    if camera.blur_px > 0.3:
        side = 2 * math.ceil(2.2 * camera.blur_px) + 1
        layer = np.asarray(cv2.GaussianBlur(layer, (side, side), camera.blur_px), np.float32)
    *planes, cover = (np.asarray(plane, np.float32) for plane in cv2.split(layer))
    # Skin and hair are taken from the photo, or are dark: its light is in them already. What is in
    # the place of a face must not show its relief.
    own = style.kind in ("hand", "beard", "hair", "no_face")
    look = MaskStyle(light=0.0 if own else style.light, shadow=0.25, seed=style.seed % 2**31)
    scene = Scene(image, landmarks.width_px, camera, measure_film(seen), seen)
    return Occluded(*compose(scene, planes, cover, look))


def _sketched(image: np.ndarray, landmarks: Landmarks, frame: Frame) -> FaceSketch:
    """Measure the skin around the bridge of the nose and the eyes."""
    height, width = image.shape[:2]
    xy = landmarks.xy
    down = 0.12 * (xy[8] - xy[27])
    brow = 0.5 * (xy[21] + xy[22])
    lids = [0.5 * (xy[a] + xy[b]) for a, b in ((20, 38), (23, 43))]
    below = [xy[place] + down for place in (41, 40, 47, 46)]
    places = np.rint(np.stack([brow, brow - down, *xy[27:29], *lids, *below])).astype(int)
    columns, rows = np.clip(places, 0, [width - 1, height - 1]).T
    smooth = cv2.blur(image, (max(1, round(landmarks.width_px / 24)),) * 2)
    found = smooth[rows, columns]
    # Shadows of brows and glasses are darker than skin, shine and glints brighter.
    lit = found[np.argsort(found.sum(axis=1))[len(found) // 3 : -2]]
    red, green, blue = (lit.mean(axis=0) / 255).tolist()
    return FaceSketch(frame, frame.points(xy.astype(np.float64)), (red, green, blue))


def _relit(image: np.ndarray, pad: Pad, style: OccluderStyle) -> Occluded:
    """Darken or tint one side of the picture, or its lower part, from an edge sharp or soft on."""
    lower = style.kind == "tint" and style.seed % 3 > 0
    turn = 90 * style.side * (lower or style.seed % 4 == 0)
    # Below the eyes nearly level: as the upper edge of a mask lies, and of a window's shade.
    lean = 0.2 * style.angle_deg if lower else style.angle_deg
    u, _ = pad.turned((style.dx, (0.2 if lower else 0.4) + style.dy), lean + turn)
    # Mostly sharp: light that changes slowly is hardly taken for fabric.
    soft = 0.03 + 0.5 * ((style.seed % 7) / 6) ** 2
    side = pad.inside(-style.side * u, soft)
    share = side[..., None]
    if style.kind == "shadow":
        out = image * (1 - share * np.float32(0.35 + 0.4 * style.strength))
    elif style.color is not None:  # haze or a reflection: light of any colour, white too, is added
        out = image + np.float32(0.45 * style.strength) * share * (
            np.array(style.color, np.float32) - image
        )
    else:  # a filter takes light away
        wheel = style.seed % 360 / 360
        hue = np.array([abs((wheel + third) % 1 * 2 - 1) for third in (0, 1 / 3, 2 / 3)])
        taken = 0.6 * style.strength * (1 - hue / hue.max())
        out = image * (1 - share * taken.astype(np.float32))
    out = np.clip(np.rint(out), 0, 255).astype(np.uint8)
    return Occluded(out, np.zeros(image.shape[:2], np.float32), side > 0)


def hidden_share(alpha: np.ndarray, landmarks: Landmarks) -> float:
    """Return how much of the lower face, from the tip of the nose to the jaw, is hidden, 0..1.

    Args:
        alpha: (H, W) float32 in 0..1, as in ``Occluded``.
        landmarks: the face, in the same pixels; what lies beyond the border is not looked at.
    """
    lower = np.vstack([landmarks.xy[2:15], landmarks.xy[30:31]])
    inside = np.zeros(alpha.shape, np.uint8)
    cv2.fillPoly(inside, [np.rint(lower).astype(np.int32)], 1)
    return float(alpha[inside > 0].mean()) if inside.any() else 0.0
