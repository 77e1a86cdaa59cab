"""Sources of bare faces -> aligned crops, and whose face each is.

Convention: a canonical crop is a square of 1.3 x the longer side of the face box, borders
replicated, not rotated; (S, S, 3) uint8 RGB with landmarks in its own pixels.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from MaskTheFace.images import ImageError, list_images, read_image, relative_name
from MaskTheFace.landmarks import LandmarkError, Landmarks, aligned_landmarks, find_landmarks

if TYPE_CHECKING:
    from masktrain.face_model import FaceModel

CROP_SCALE = 1.3
FOREHEAD = 0.26
"""Landmarks end at the brows, face boxes above the forehead: by this share of the length from
nasion to chin. On real crops, boxed by a detector, a network that had seen crops cut without it was
best after enlarging by 1.2 and moving up by a twentieth (reports/LOG.md)."""
COPY_BITS = 12
"""Photos whose fingerprints differ in no more bits are copies: encoded again at JPEG quality 80,
4,198 aligned faces differed in 2 bits at the median and in 12 at most."""
BUILT_IN = ("demo", "lfw")
"""Sources that are no folder of the user's."""
DEMO_FACES = 2000
DEMO_PX = 160
LFW_IMAGES = 13_233
UNFINISHED = ".masktrain-download-unfinished"
Aligned = Literal["auto", "yes", "no"]


class FaceError(ValueError):
    """A source of faces, or one photo of it, that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class FaceRef:
    """One bare face to be had: cheap to list, opened later in a worker.

    Attributes:
        source: what the manifest calls it: a path relative to the source's folder, or ``demo:17``.
        identity: whose face it is; the photo itself where no person is known.
        path: the photo, or None for a face that is drawn.
        seed: draws the face where there is no photo.
    """

    source: str
    identity: str
    path: Path | None = None
    seed: tuple[int, int] = (0, 0)

    @property
    def key(self) -> str:
        """A file name for this face: readable, plain ASCII, unique."""
        digest = hashlib.sha256(self.source.encode()).hexdigest()[:12]
        plain = re.sub(r"[^A-Za-z0-9]+", "_", str(Path(self.source).with_suffix(""))).strip("_")
        return f"{plain[-48:] or 'face'}-{digest}"


@dataclass(frozen=True)
class FaceCrop:
    """A bare face, ready for a mask.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        landmarks: in the crop's pixels.
        box_xyxy: the face box in the photo's pixels.
    """

    image: np.ndarray
    landmarks: Landmarks
    box_xyxy: tuple[float, float, float, float]


def list_faces(faces: str, seed: int = 0, limit: int = 0) -> list[FaceRef]:
    """List the faces of a source.

    Args:
        faces: ``demo`` (the embedded face model), ``lfw``, or a folder, flat or one a person.
        seed: draws the demo faces, and picks which to keep under a limit.
        limit: keep at most this many; 0 for all (demo: 2000).

    Raises:
        FaceError: no such folder, an empty one, or LFW cannot be had.
    """
    if faces == "demo":
        return [_demo_ref(seed, index) for index in range(limit or DEMO_FACES)]
    refs = _folder_refs(lfw_folder() if faces == "lfw" else Path(faces))
    if limit and limit < len(refs):
        # By hash and not by name: the first files of a sorted folder are all of one age, say.
        refs = sorted(refs, key=lambda ref: stable_hash(seed, ref.source))[:limit]
    return sorted(refs, key=lambda ref: ref.source)


def stable_hash(seed: int, text: str) -> int:
    """Return a 64-bit number that depends on both and on nothing else, on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{text}".encode()).digest()[:8], "big")


def _demo_ref(seed: int, index: int) -> FaceRef:
    return FaceRef(f"demo:{seed}:{index:05d}", f"demo-{seed}-{index:05d}", None, (seed, index))


def _folder_refs(folder: Path) -> list[FaceRef]:
    try:
        paths = list_images(folder)
    except ImageError:
        raise FaceError(f"{folder}: no such folder of faces; give demo, lfw or a folder") from None
    if not paths:
        raise FaceError(
            f"{folder}: no images in this folder; give one that holds photos of bare faces"
        )
    refs = []
    for path in paths:
        source = relative_name(path, folder)
        # A photo in a person's folder is that person's; a photo that lies loose is its own.
        identity = source.rpartition("/")[0] or source
        refs.append(FaceRef(source, identity, path))
    return refs


def lfw_folder() -> Path:
    """Return scikit-learn's folder of LFW photos, downloaded if need be.

    scikit-learn only downloads and unpacks; reading the full set through it takes 9.9 GB of memory.

    Raises:
        FaceError: the download failed or was left unfinished.
    """
    from sklearn.datasets import get_data_home

    home = Path(get_data_home()) / "lfw_home"
    folder, mark = home / "lfw_funneled", home / UNFINISHED
    if mark.exists() or not folder.is_dir():
        _download_lfw(home, mark)
    count = len(list_images(folder))
    if count != LFW_IMAGES:
        warnings.warn(f"{folder} holds {count} photos, all of LFW are {LFW_IMAGES}", stacklevel=2)
    return folder


def _download_lfw(home: Path, mark: Path) -> None:
    from sklearn.datasets import fetch_lfw_people

    home.mkdir(parents=True, exist_ok=True)
    if mark.exists():
        raise FaceError(
            f"{home}: an earlier download was cut off; delete this folder and try again"
        )
    mark.touch()
    try:
        # Few people and small: what is wanted is the side effect, the unpacked folder.
        fetch_lfw_people(min_faces_per_person=500, resize=0.1)
    except Exception as error:
        if not (home / "lfw_funneled").exists():
            mark.unlink(missing_ok=True)
        raise FaceError(
            f"LFW could not be downloaded ({type(error).__name__}: {error}); "
            f"unpack lfw-funneled.tgz into {home}, or use --faces demo or a folder of your own"
        ) from None
    mark.unlink(missing_ok=True)


@functools.cache
def _face_model() -> FaceModel:
    from masktrain.face_model import FaceModel

    return FaceModel.load()


def open_face(ref: FaceRef, crop_px: int = 128, aligned: Aligned = "auto") -> FaceCrop:
    """Open one face and cut its canonical crop; of several faces in a photo the largest is taken.

    Args:
        ref: from list_faces.
        crop_px: side of the crop.
        aligned: ``yes``: a tight crop of one face, nothing is detected; ``no`` and ``auto``:
            detect; ``auto`` looks again, less strictly, where a tight crop would show its face.

    Raises:
        FaceError: no face in the photo. ImageError: the photo cannot be read.
    """
    if ref.path is None:
        image, landmarks = _face_model().sample(np.random.default_rng(ref.seed), size_px=DEMO_PX)
    else:
        image = read_image(ref.path)
        landmarks = _landmarks_of(image, ref.path, aligned)
    return crop_face(image, landmarks, crop_px)


def _landmarks_of(image: np.ndarray, path: Path, aligned: Aligned) -> Landmarks:
    if aligned == "yes":
        return aligned_landmarks(image)
    try:
        faces = find_landmarks(image, look_again=aligned == "auto")
    except LandmarkError as error:
        raise FaceError(f"{path}: {error}") from None
    if not faces:
        raise FaceError(f"{path}: no face found; prepare tight aligned crops with --aligned yes")
    return faces[0]


def crop_face(image: np.ndarray, landmarks: Landmarks, crop_px: int = 128) -> FaceCrop:
    """Cut the canonical crop of a face out of a photo.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: the face, in the image's pixels.
        crop_px: side of the crop.
    """
    x0, y0, x1, y1 = box = face_box(landmarks)
    side = max(8, round(CROP_SCALE * max(x1 - x0, y1 - y0)))
    left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
    crop = _cut(image, left, top, side, crop_px)
    scale = crop_px / side
    # Pixel centres, not corners, are the points' origin: hence the halves.
    shift = np.array([(0.5 - left) * scale - 0.5, (0.5 - top) * scale - 0.5])
    matrix = np.column_stack([np.eye(2) * scale, shift])
    return FaceCrop(crop, landmarks.moved(matrix), box)


def face_box(landmarks: Landmarks) -> tuple[float, float, float, float]:
    """Return the box of a face (x0, y0, x1, y1) in pixels: its landmarks and its forehead."""
    xy = landmarks.xy
    forehead = xy[[19, 24]] + FOREHEAD * (xy[27] - xy[8])
    points = np.concatenate([xy, forehead])
    x0, y0 = points.min(axis=0).tolist()
    x1, y1 = points.max(axis=0).tolist()
    return x0, y0, x1, y1


def cut_square(
    image: np.ndarray, middle: tuple[float, float], side: float, crop_px: int = 128
) -> np.ndarray:
    """Cut a square out of a photo; what is beyond its border repeats it.

    Args:
        image: (H, W, 3) uint8 RGB.
        middle: of the square, x and y in pixels.
        side: of the square, pixels.
        crop_px: side of the crop that is made of it.
    """
    whole = max(8, round(side))
    left, top = round(middle[0] - whole / 2), round(middle[1] - whole / 2)
    return _cut(image, left, top, whole, crop_px)


def _cut(image: np.ndarray, left: int, top: int, side: int, crop_px: int) -> np.ndarray:
    height, width = image.shape[:2]
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    square = image[rows[:, None], columns[None]]
    shrink = cv2.INTER_AREA if side > crop_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (crop_px, crop_px), interpolation=shrink))


def fingerprint(image: np.ndarray) -> str:
    """Return a 256-bit difference hash of an image, as hex: see ``first_copies``."""
    grey = cv2.resize(
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (17, 16), interpolation=cv2.INTER_AREA
    )
    return np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes().hex()


def first_copies(fingerprints: Sequence[str]) -> list[int]:
    """Find copies of one photo, re-encoded ones included.

    Args:
        fingerprints: from ``fingerprint``.

    Returns:
        For each the index of the first within COPY_BITS of it: its own where there is none.
    """
    codes = np.array([list(bytes.fromhex(code)) for code in fingerprints], np.uint8)
    signs = np.unpackbits(codes.reshape(len(codes), 32), axis=1).astype(np.float32) * 2 - 1
    first = []
    for start in range(0, len(signs), 1024):
        block = signs[start : start + 1024]
        # Of 256 signs the product counts the equal minus the different ones.
        apart = (256 - block @ signs[: start + len(block)].T) / 2
        first += (apart <= COPY_BITS).argmax(axis=1).tolist()
    return first


def source_name(faces: str) -> str:
    """Return the name a source gives to its data folder."""
    if faces in BUILT_IN:
        return faces
    return re.sub(r"[^\w.-]+", "_", os.path.basename(os.path.abspath(faces))) or "faces"
