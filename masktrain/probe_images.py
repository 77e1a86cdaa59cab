"""The pictures that shortcut probes ask about: bare faces, changed without putting a mask on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from MaskTheFace.images import read_image
from MaskTheFace.landmarks import LandmarkError, Landmarks, read_landmarks
from MaskTheFace.manifest import MANIFEST, read_manifest
from MaskTheFace.occluder_style import BENEATH
from MaskTheFace.occluders import hidden_share, occlude, sample_occluder
from MaskTheFace.overlay import overlay_mask
from MaskTheFace.style import MaskStyle
from masktrain.data import CLASSES, DataError
from masktrain.occlusion import MOST_HIDDEN
from masktrain.online import encoded_again
from masktrain.prepare import LANDMARKS

TRIES = 8
"""So often an occluder is drawn again where it hides so much that nobody could tell."""
Change = Callable[["ProbeFace", np.random.Generator], np.ndarray]


@dataclass(frozen=True, eq=False)
class ProbeFace:
    """A bare face and its masked twin.

    Attributes:
        image: (S, S, 3) uint8 RGB, the stored bare crop.
        masked: the same, the stored masked one.
        landmarks: in their pixels.
        style: of the mask.
    """

    image: np.ndarray
    masked: np.ndarray
    landmarks: Landmarks
    style: MaskStyle


def load_faces(data: Path, split: str, limit: int = 0) -> list[ProbeFace]:
    """Read the twins of a split of prepared data, in the order of their paths.

    Args:
        data: a folder that `masktrain.prepare` wrote.
        split: train, val or test.
        limit: at most so many, spread evenly; 0 for all.

    Raises:
        DataError: it is no such folder, or has no faces in this split.
    """
    try:
        points = read_landmarks(data / LANDMARKS)
        rows = read_manifest(data / MANIFEST)
    except (LandmarkError, OSError) as error:
        raise DataError(f"{error}; give a folder that masktrain.prepare wrote") from None
    styles = {row.path: row.style for row in rows if row.style}
    found = []
    for path in sorted(points):
        twin = path.replace(f"/{CLASSES[0]}/", f"/{CLASSES[1]}/", 1)
        if path.startswith(f"{split}/") and twin in styles:
            found.append((path, twin))
    if not found:
        raise DataError(f"{data} has no faces in {split}: give train, val or test")
    count = min(limit or len(found), len(found))
    chosen = np.linspace(0, len(found) - 1, count).round().astype(int).tolist()
    return [
        ProbeFace(
            read_image(data / path),
            read_image(data / twin),
            points[path][0],
            MaskStyle.from_json(styles[twin]),
        )
        for path, twin in (found[place] for place in chosen)
    ]


def _taken_off(face: ProbeFace, _: np.random.Generator) -> np.ndarray:
    """Put the mask on, then put the bare pixels back under it: what the brush left stays."""
    cover = overlay_mask(face.image, face.landmarks, face.style).alpha
    inside = (cover > 0.02).astype(np.float32)[..., None]
    return np.rint(face.masked + inside * (face.image.astype(np.float32) - face.masked)).astype(
        np.uint8
    )


def _compressed(face: ProbeFace, rng: np.random.Generator) -> np.ndarray:
    """Encode the crop again, at any quality from 40 to 90."""
    return encoded_again(face.image, int(rng.integers(40, 91)))


def _patch(face: ProbeFace, rng: np.random.Generator) -> np.ndarray:
    """Lay a patch of the mask's own colours into a corner, off the face."""
    image = face.image.copy()
    side = len(image)
    size = side // 4
    top = 0 if rng.random() < 0.5 else side - size
    left = 0 if rng.random() < 0.5 else side - size
    image[top : top + size, left : left + size] = _fabric(face, size)
    return image


def _fabric(face: ProbeFace, size: int) -> np.ndarray:
    """Return a square of the mask as it was drawn, from where it covers the mouth."""
    x, y = np.rint(face.landmarks.xy[48:68].mean(axis=0)).astype(int).tolist()
    half = max(3, round(0.12 * face.landmarks.width_px))
    y, x = min(y, len(face.masked) - 1), min(x, face.masked.shape[1] - 1)
    rows, columns = (slice(max(0, at - half), at + half) for at in (y, x))
    return np.asarray(cv2.resize(face.masked[rows, columns], (size, size)))


def _tinted(face: ProbeFace, rng: np.random.Generator) -> np.ndarray:
    """Give the lower half of the face another colour; mouth and nose stay to be seen."""
    color = np.array(face.style.color or (150, 195, 220), np.float32)
    nose = face.landmarks.xy[29, 1]
    rows = np.arange(len(face.image), dtype=np.float32)
    share = (0.35 * np.clip((rows - nose) / 4, 0, 1))[:, None, None]
    return np.rint(face.image * (1 - share) + color * share).astype(np.uint8)


def _on_forehead(face: ProbeFace, _: np.random.Generator) -> np.ndarray:
    """Lay fabric on the forehead, without edge, strap or fold of a mask."""
    image = face.image.astype(np.float32)
    brow = face.landmarks.xy[17:27].mean(axis=0)
    up = brow - face.landmarks.xy[28]
    middle = brow + 1.1 * up
    half = 0.3 * face.landmarks.width_px
    axes = (round(float(half)), round(float(0.5 * half)))
    share = np.zeros(image.shape[:2], np.uint8)
    centre = tuple(np.rint(middle).astype(int).tolist())
    cv2.ellipse(share, centre, axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
    soft = cv2.GaussianBlur(share, (5, 5), 0).astype(np.float32)[..., None] / 255
    cloth = cv2.resize(_fabric(face, 32), image.shape[1::-1]).astype(np.float32)
    return np.rint(image + soft * (cloth - image)).astype(np.uint8)


def _no_face(face: ProbeFace, _: np.random.Generator) -> np.ndarray:
    return faceless(face, face.image)


def faceless(face: ProbeFace, image: np.ndarray) -> np.ndarray:
    """Return a crop with all that a mask can reach painted over in one colour."""
    cover = overlay_mask(face.image, face.landmarks, face.style).changed.astype(np.uint8)
    hull = cv2.convexHull(np.rint(face.landmarks.xy).astype(np.int32))
    cv2.fillConvexPoly(cover, hull, 1)
    # Encoding spreads what was there by a block.
    reach = np.ones((17, 17), np.uint8)
    hidden = cv2.dilate(cover, reach)[..., None]
    return np.where(hidden > 0, np.uint8(127), image)


PROBES: dict[str, Change] = {
    "mask put on and taken off": _taken_off,
    "compressed again": _compressed,
    "patch of the mask in a corner": _patch,
    "lower half tinted": _tinted,
    "fabric on the forehead": _on_forehead,
    "background only": _no_face,
}
"""Changes that put no mask on a face."""


def with_occluder(kind: str) -> Change:
    """Return the change that puts one kind of occluder before a face, leaving it to be judged."""

    def change(face: ProbeFace, rng: np.random.Generator) -> np.ndarray:
        for _ in range(TRIES):
            done = occlude(face.image, face.landmarks, sample_occluder(rng, [kind]))
            if kind in BENEATH or hidden_share(done.alpha, face.landmarks) <= MOST_HIDDEN:
                break
        return done.image

    return change
