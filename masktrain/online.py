"""Training crops whose masks are drawn anew in every epoch, by the workers that augment them.

A prepared face wears one mask in its file; here it wears another each time it is seen. What is
kept in memory is the bare crop and its landmarks. A mask depends on (seed, epoch, index) alone.
Both classes are encoded once more before they are shown, twins at the same quality, so that the
encoder leaves its traces in both.
"""

import io
import json
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from MaskTheFace.coverage import WORN, WRONG
from MaskTheFace.images import encode_image, read_image
from MaskTheFace.landmarks import LandmarkError, Landmarks, read_landmarks
from MaskTheFace.overlay import overlay_mask
from MaskTheFace.wear import sample_wear, worn
from masktrain.config import SETTINGS, Ingredient
from masktrain.data import (
    CLASSES,
    CROP_PX,
    WRONGLY_LABEL,
    Crops,
    DataError,
    Seen,
    load_crops,
    resized,
)
from masktrain.multiclass import target_of
from masktrain.occlusion import OccludedCrops, draw_occluder, put_before, shown_alone
from masktrain.prepare import DATA_VERSION, LANDMARKS
from masktrain.styles import draw_style

SPLIT = "train"
CHIN_OUT_SHARE = 0.05
"""Of masks worn well so many leave the chin out on purpose, where ways of wearing are told: among
well-fitting ones a network hardly meets any, and then never names it."""
ATTEMPTS = 4
"""Masks drawn for a face in an epoch before the one in its file is taken."""


QUALITY_SPREAD = 20
"""Online crops are encoded at a JPEG quality up to so much below the one they are stored at."""


@dataclass(frozen=True)
class MaskSettings:
    """How a folder's masks were drawn and stored: online ones are drawn just so."""

    crop_px: int
    quality: int
    mask_types: tuple[str, ...]
    without: tuple[Ingredient, ...]


@dataclass(frozen=True, kw_only=True)
class OnlineCrops(Crops):
    """Bare crops and, for each, twins with a mask that is drawn when it is asked for.

    Args:
        images: (F, S, S, 3) uint8 RGB at the stored size, the bare crops alone; `labels` and
            `paths` have N entries: the bare crops, their masked twins in the same order, then,
            for three classes, those that can wear a mask wrongly.
        faces: (N,) int64, whose twin each crop is: a place in `images`.
        landmarks_xy: (F, 68, 2) float32, in the pixels of `images`.
        settings: How masks are drawn and encoded.
        occluders: Share of faces with something before them that is no mask.
        veils: The class that veils count to, or left_out.
        tells_ways: Aim at how masks are worn, not only at classes.
    """

    faces: np.ndarray
    landmarks_xy: np.ndarray
    settings: MaskSettings
    occluders: float = 0.0
    veils: str = "left_out"
    tells_ways: bool = False

    def seen(self, index: int, seed: int, epoch: int) -> Seen:
        """Return a crop of CROP_PX, dressed as its label says."""
        face = int(self.faces[index])
        landmarks = Landmarks(self.landmarks_xy[face])
        image, label = self.images[face], int(self.labels[index])
        key = seed, epoch, index
        shown = shown_alone(image, landmarks, key, label, self.occluders, self.veils)
        if shown is not None:
            seen = Seen(shown, self.target(index))
        else:
            seen = self._dressed(index, face, landmarks, (seed, epoch))
        # A crop encoded twice at one quality hardly changes the second time, fresh fabric does:
        # a cue. At another quality both change; twins share it.
        rng = np.random.default_rng((seed, epoch, face))
        low, high = max(1, self.settings.quality - QUALITY_SPREAD), self.settings.quality
        encoded = encoded_again(seen.image, int(rng.integers(low, high)))
        return Seen(resized(encoded, CROP_PX), seen.target)

    def digest(self, digest: int = 0) -> int:
        """Return a checksum of pixels, labels and landmarks, to notice changed data."""
        return zlib.crc32(np.ascontiguousarray(self.landmarks_xy).data, super().digest(digest))

    def _dressed(self, index: int, face: int, landmarks: Landmarks, key: tuple[int, int]) -> Seen:
        """Return a face with its mask, and with what is before it, twins alike."""
        before = draw_occluder((*key, face), self.occluders)
        picture, target = self.images[face], 0
        if before is not None and before.beneath:
            picture = put_before(picture, landmarks, before, picture)
        if self.labels[index] != 0:
            picture, target = self._masked(picture, landmarks, index, key)
        if before is not None and not before.beneath:
            wrongly = self.labels[index] == WRONGLY_LABEL
            picture = put_before(picture, landmarks, before, self.images[face], wrongly)
        return Seen(picture, target)

    def _masked(
        self, picture: np.ndarray, landmarks: Landmarks, index: int, key: tuple[int, int]
    ) -> Seen:
        label = int(self.labels[index])
        wrong = label == WRONGLY_LABEL
        for attempt in range(1, 1 + ATTEMPTS):
            rng = np.random.default_rng((*key, index, attempt))
            style = draw_style(rng, SPLIT, self.settings.mask_types, self.settings.without)
            if wrong:
                style = worn(style, sample_wear(rng, style.template), rng)
            elif self.tells_ways and rng.random() < CHIN_OUT_SHARE:
                style = worn(style, "chin_out", rng)
            with suppress(ValueError, cv2.error):  # as in prepare: this face cannot be masked
                masked = overlay_mask(picture, landmarks, style)
                if masked.wear in (WRONG if wrong else WORN):
                    target = target_of(label, masked.wear) if self.tells_ways else label
                    return Seen(masked.image, target)
        return Seen(read_image(self.root / self.paths[index]), self.target(index))


def load_online(
    root: Path, classes: int = 2, occluders: float = 0.0, veils: str = "left_out"
) -> OnlineCrops:
    """Read the bare training crops of a prepared folder and their landmarks.

    Args:
        root: A folder that `masktrain.prepare` wrote.
        classes: 2, or 3 with masks worn incorrectly; then it was prepared with --wear.
        occluders: Share of faces with something before them that is no mask.
        veils: The class that veils count to, or left_out.

    Raises:
        DataError: The folder is of an older version, or something in it is missing or damaged.
    """
    settings = _read_settings(root)
    bare = load_crops(root, SPLIT, settings.crop_px, labels=(0,))
    landmarks_xy = _landmarks_of(root, bare.paths)
    paths, faces, labels = list(bare.paths), list(range(len(bare))), [0] * len(bare)
    for label in range(1, classes):
        for face, path in enumerate(bare.paths):
            twin = path.replace(f"/{CLASSES[0]}/", f"/{CLASSES[label]}/", 1)
            if (root / twin).is_file():
                paths.append(twin)
                faces.append(face)
                labels.append(label)
            elif label == 1:
                raise DataError(
                    f"{root / path} has no masked twin {twin}; remove it, or {_mend(root)}"
                )
        if label not in labels:
            raise DataError(f"{root} has no {CLASSES[label]}/: prepare it with --wear")
    return OnlineCrops(
        images=bare.images,
        labels=np.array(labels, np.int64),
        paths=tuple(paths),
        root=root,
        skipped=bare.skipped,
        faces=np.array(faces, np.int64),
        landmarks_xy=landmarks_xy,
        settings=settings,
        occluders=occluders,
        veils=veils,
        tells_ways=classes > 2,
    )


def load_occluded(root: Path, crops: Crops, share: float, veils: str = "left_out") -> OccludedCrops:
    """Add landmarks to training crops, so that things can be put before their faces.

    Args:
        root: A folder that `masktrain.prepare` wrote.
        crops: Its training crops.
        share: Of faces that get something before them.
        veils: The class that veils count to, or left_out.

    Raises:
        DataError: The folder is of an older version, or its landmarks are missing or damaged.
    """
    settings = _read_settings(root)
    bare = tuple(
        "/".join((*path.split("/")[:1], CLASSES[0], *path.split("/")[2:])) for path in crops.paths
    )
    place = {path: number for number, path in enumerate(crops.paths)}
    return OccludedCrops(
        images=crops.images,
        labels=crops.labels,
        paths=crops.paths,
        root=crops.root,
        skipped=crops.skipped,
        left_out=crops.left_out,
        targets=crops.targets,
        landmarks_xy=_landmarks_of(root, bare) * np.float32(CROP_PX / settings.crop_px),
        faces=np.array([place.get(path, own) for own, path in enumerate(bare)], np.int64),
        share=share,
        veils=veils,
    )


def _landmarks_of(root: Path, bare: Sequence[str]) -> np.ndarray:
    """Return the (N, 68, 2) points of bare crops, in their stored pixels."""
    try:
        points = read_landmarks(root / LANDMARKS)
    except LandmarkError as error:
        raise DataError(f"{error}; {_mend(root)}") from None
    for path in bare:
        if path not in points:
            raise DataError(f"{root / LANDMARKS} has no row for {path}; {_mend(root)}")
    return np.stack([points[path][0].xy for path in bare])


def _read_settings(root: Path) -> MaskSettings:
    path = root / SETTINGS
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["version"] != DATA_VERSION:
            raise DataError(f"{root}: was prepared by another version; {_mend(root)}")
        return MaskSettings(
            values["crop_px"],
            values["quality"],
            tuple(values["mask_types"]),
            tuple(values["without"]),
        )
    except FileNotFoundError:
        raise DataError(
            f"{root}: has no {SETTINGS}, so nothing can be drawn on it while training; "
            "give a folder that masktrain.prepare wrote, or leave out --masks online, --occluders"
        ) from None
    except (OSError, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is damaged ({error}); {_mend(root)}") from None


def _mend(root: Path) -> str:
    return f"delete {root} and prepare it again, or leave out --masks online and --occluders"


def encoded_again(image: np.ndarray, quality: int) -> np.ndarray:
    """Return an image as it comes back from a JPEG of this quality."""
    with Image.open(io.BytesIO(encode_image(".jpg", image, quality))) as opened:
        return np.array(opened.convert("RGB"))
