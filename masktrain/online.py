"""Training crops whose masks are drawn anew in every epoch, by the workers that augment them.

A prepared face wears one mask in its file; here it wears another each time it is seen. What is
kept in memory is the bare crop and its landmarks. A mask depends on (seed, epoch, index) alone.
Both classes are encoded once more before they are shown, twins at the same quality, so that the
encoder leaves its traces in both.
"""

import io
import json
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from MaskTheFace.images import encode_image, read_image
from MaskTheFace.landmarks import LandmarkError, Landmarks, read_landmarks
from MaskTheFace.overlay import overlay_mask
from MaskTheFace.wear import WORN
from masktrain.config import Ingredient
from masktrain.data import CLASSES, CROP_PX, Crops, DataError, load_crops, resized
from masktrain.prepare import DATA_VERSION, LANDMARKS
from masktrain.styles import draw_style

SPLIT = "train"
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
    """Bare crops and, for each, a masked twin that is drawn when it is asked for.

    Args:
        images: (N / 2, S, S, 3) uint8 RGB at the stored size, the bare crops alone; `labels` and
            `paths` have N entries, first the bare crops, then their twins in the same order.
        landmarks_xy: (N / 2, 68, 2) float32, in the pixels of `images`.
        settings: How masks are drawn and encoded.
    """

    landmarks_xy: np.ndarray
    settings: MaskSettings

    def pixels(self, index: int, seed: int, epoch: int) -> np.ndarray:
        """Return a crop as (CROP_PX, CROP_PX, 3) uint8 RGB; from N / 2 on it wears a mask."""
        bare = index < len(self.images)
        picture = self.images[index] if bare else self._masked(index, seed, epoch)
        # A crop encoded twice at one quality hardly changes the second time, fresh fabric does:
        # a cue. At another quality both change; twins share it.
        rng = np.random.default_rng((seed, epoch, index % len(self.images)))
        low, high = max(1, self.settings.quality - QUALITY_SPREAD), self.settings.quality
        return resized(_encoded_again(picture, int(rng.integers(low, high))), CROP_PX)

    def digest(self, digest: int = 0) -> int:
        """Return a checksum of pixels, labels and landmarks, to notice changed data."""
        return zlib.crc32(np.ascontiguousarray(self.landmarks_xy).data, super().digest(digest))

    def _masked(self, index: int, seed: int, epoch: int) -> np.ndarray:
        face = index - len(self.images)
        landmarks = Landmarks(self.landmarks_xy[face])
        for attempt in range(1, 1 + ATTEMPTS):
            rng = np.random.default_rng((seed, epoch, index, attempt))
            style = draw_style(rng, SPLIT, self.settings.mask_types, self.settings.without)
            with suppress(ValueError, cv2.error):  # as in prepare: this face cannot be masked
                masked = overlay_mask(self.images[face], landmarks, style)
                if masked.wear in WORN:
                    return masked.image
        return read_image(self.root / self.paths[index])


def load_online(root: Path) -> OnlineCrops:
    """Read the bare training crops of a prepared folder and their landmarks.

    Args:
        root: A folder that `masktrain.prepare` wrote.

    Raises:
        DataError: The folder is of an older version, or something in it is missing or damaged.
    """
    settings = _read_settings(root)
    bare = load_crops(root, SPLIT, settings.crop_px, labels=(0,))
    try:
        points = read_landmarks(root / LANDMARKS)
    except LandmarkError as error:
        raise DataError(f"{error}; {_mend(root)}") from None
    twins = tuple(path.replace(f"/{CLASSES[0]}/", f"/{CLASSES[1]}/", 1) for path in bare.paths)
    for path, twin in zip(bare.paths, twins, strict=True):
        if path not in points:
            raise DataError(f"{root / LANDMARKS} has no row for {path}; {_mend(root)}")
        if not (root / twin).is_file():
            raise DataError(f"{root / path} has no masked twin {twin}; remove it, or {_mend(root)}")
    return OnlineCrops(
        images=bare.images,
        labels=np.repeat(np.array([0, 1], np.int64), len(bare)),
        paths=bare.paths + twins,
        root=root,
        skipped=bare.skipped,
        landmarks_xy=np.stack([points[path][0].xy for path in bare.paths]),
        settings=settings,
    )


def _read_settings(root: Path) -> MaskSettings:
    path = root / "prepare.json"
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
            f"{root}: has no prepare.json, so no masks can be drawn on it online; "
            "give a folder that masktrain.prepare wrote, or train with --masks files"
        ) from None
    except (OSError, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is damaged ({error}); {_mend(root)}") from None


def _mend(root: Path) -> str:
    return f"delete {root} and prepare it again, or train with --masks files"


def _encoded_again(image: np.ndarray, quality: int) -> np.ndarray:
    with Image.open(io.BytesIO(encode_image(".jpg", image, quality))) as opened:
        return np.array(opened.convert("RGB"))
