"""Things before a face while training, the same on bare and on masked crops: they tell nothing.

What is before a face in an epoch depends on (seed, epoch, face) alone: its twins share it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from MaskTheFace.coverage import COVERED, covered_shares
from MaskTheFace.landmarks import Landmarks
from MaskTheFace.occluder_style import BENEATH, SHARES, OccluderStyle
from MaskTheFace.occluders import hidden_share, occlude, sample_occluder
from masktrain.data import CLASSES, WRONGLY_LABEL, Crops, Seen

MOST_HIDDEN = 0.7
"""Where more of the lower face is hidden nobody could tell whether there is a mask."""
LEAST_SEEN = 0.5
"""Of a mask worn wrongly so much stays in view."""
MASK_DIFFERS = 24
"""Where a masked crop differs from its bare twin by more, of 255, there is its mask."""
STREAM = 7
"""Keeps these dice apart from those of masks and encoders, which are keyed alike."""
VEIL_SHARE, NO_FACE_SHARE, ALONE_STREAM = 0.04, 0.08, 8
"""Of the crops of the class that veils count to, so many show a veil; for each bare crop whose
face has something before it, so many show no face at all, as when a face was found where is none.
Otherwise a network has never seen that and says what it likes."""
BEFORE = tuple(kind for kind in SHARES if kind not in BENEATH)
"""What can be laid over a mask that is drawn already."""


def draw_occluder(
    key: tuple[int, int, int], share: float, kinds: tuple[str, ...] = tuple(SHARES)
) -> OccluderStyle | None:
    """Return what is before a face, or None for nothing.

    Args:
        key: seed, epoch and number of the face.
        share: of faces that get something.
        kinds: names of OCCLUDERS.
    """
    if share <= 0:
        return None
    rng = np.random.default_rng((*key, STREAM))
    return sample_occluder(rng, kinds) if rng.random() < share else None


def draw_alone(
    key: tuple[int, int, int], label: int, share: float, veils: str
) -> OccluderStyle | None:
    """Return what crops of one class alone show, a veil or no face at all, or None for neither.

    Args:
        key: seed, epoch and number of the crop.
        label: its class.
        share: of faces that get something before them.
        veils: the class that veils count to, or left_out.
    """
    rng = np.random.default_rng((*key, ALONE_STREAM))
    at = rng.random()
    veil = VEIL_SHARE if CLASSES[label] == veils else 0.0
    if at < veil:
        return sample_occluder(rng, ("veil",))
    absent = NO_FACE_SHARE * share if label == 0 else 0.0
    return sample_occluder(rng, ("no_face",)) if at < veil + absent else None


def shown_alone(
    image: np.ndarray,
    landmarks: Landmarks,
    key: tuple[int, int, int],
    label: int,
    share: float,
    veils: str,
) -> np.ndarray | None:
    """Return a crop with what its class alone shows, or None for nothing: see `draw_alone`."""
    style = draw_alone(key, label, share, veils)
    return None if style is None else occlude(image, landmarks, style).image


def put_before(
    image: np.ndarray,
    landmarks: Landmarks,
    style: OccluderStyle,
    bare: np.ndarray,
    wrongly: bool = False,
) -> np.ndarray:
    """Return an image with something before the face, or as it was where too much would be hidden.

    For bare faces and masks worn well that depends on the face and on what is before it, never on
    the mask. What lies beneath a mask may hide any part of the face.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: the face, in its pixels.
        style: what.
        bare: the same face without a mask.
        wrongly: it wears a mask wrongly. Then the mask stays in view, and so do nose or mouth:
            how it is worn shows there.
    """
    done = occlude(image, landmarks, style, bare)
    if style.beneath:
        return done.image
    if hidden_share(done.alpha, landmarks) > MOST_HIDDEN:
        return image
    if wrongly and not _how_shows(image, bare, done.alpha, landmarks):
        return image
    return done.image


def _how_shows(
    masked: np.ndarray, bare: np.ndarray, hidden: np.ndarray, landmarks: Landmarks
) -> bool:
    """Return whether one still sees how a mask is worn, ``hidden`` being before it."""
    covered = covered_shares(hidden, landmarks)
    mask = np.abs(masked.astype(np.int16) - bare).max(axis=2) > MASK_DIFFERS
    seen = 1 - float(hidden[mask].mean()) if mask.any() else 1.0
    return min(covered.nose, covered.mouth) < COVERED and seen >= LEAST_SEEN


@dataclass(frozen=True, kw_only=True)
class OccludedCrops(Crops):
    """Crops from files, some with something before them.

    Args:
        landmarks_xy: (N, 68, 2) float32, in the pixels of `images`; twins share them.
        faces: (N,) int64, the place of the bare crop of each face: twins have the same.
        share: of faces that get something before them.
        veils: the class that veils count to, or left_out.
    """

    landmarks_xy: np.ndarray
    faces: np.ndarray
    share: float
    veils: str = "left_out"

    def seen(self, index: int, seed: int, epoch: int) -> Seen:
        """Return what training sees of a crop in an epoch."""
        image, landmarks = self.images[index], Landmarks(self.landmarks_xy[index])
        key, label = (seed, epoch, index), int(self.labels[index])
        shown = shown_alone(image, landmarks, key, label, self.share, self.veils)
        if shown is None:
            shown, _ = self._behind(index, seed, epoch)
        return Seen(shown, self.target(index))

    def drawn(self) -> tuple[Crops, list[str]]:
        """Return the crops as they are seen once, and what is before each face, or nothing.

        What crops of one class alone show would say nothing about telling the classes apart.
        """
        found = [self._behind(index, 0, 0) for index in range(len(self))]
        plain = Crops(
            images=np.stack([image for image, _ in found]),
            labels=self.labels,
            paths=self.paths,
            root=self.root,
            skipped=self.skipped,
            left_out=self.left_out,
        )
        return plain, [kind for _, kind in found]

    def _behind(self, index: int, seed: int, epoch: int) -> tuple[np.ndarray, str]:
        """Return a crop with something before the face, and what."""
        image, landmarks = self.images[index], Landmarks(self.landmarks_xy[index])
        style = draw_occluder((seed, epoch, int(self.faces[index])), self.share, BEFORE)
        if style is None:
            return image, "nothing"
        bare = self.images[int(self.faces[index])]
        done = put_before(image, landmarks, style, bare, self.labels[index] == WRONGLY_LABEL)
        return done, "nothing" if done is image else style.kind
