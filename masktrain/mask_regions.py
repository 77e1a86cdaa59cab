"""What the generator knows about a crop of prepared data: where its mask lies, to the pixel.

The mask is drawn again from the manifest's style on the stored bare twin; its alpha is the region.
Of a bare crop it is the alpha of the mask that its twin wears: where a mask would lie.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from MaskTheFace.coverage import COVERED
from MaskTheFace.images import ImageError, read_image
from MaskTheFace.landmarks import Landmarks, read_landmarks
from MaskTheFace.manifest import MANIFEST, ManifestRow, rows_by_path
from MaskTheFace.overlay import overlay_mask
from MaskTheFace.style import MaskStyle
from masktrain.config import SETTINGS
from masktrain.heat import MASK, face_discs
from masktrain.metrics import Floats
from masktrain.prepare import BARE, LANDMARKS, MASKED

SAME_WITHIN = 12.0
"""Grey levels, mean over the fabric, by which a mask drawn again may differ from the stored one."""


class RegionError(ValueError):
    """Where the mask lies on a crop cannot be known; the message says why."""


@dataclass(frozen=True)
class Drawn:
    """What the generator knows about one crop.

    Attributes:
        regions: by name (`heat.REGIONS`), (S, S) in 0..1; of a bare crop whose twin is missing
            there is no mask.
        template: the mask's art; wear: how it is worn; both empty for a bare crop.
    """

    regions: Mapping[str, Floats]
    template: str = ""
    wear: str = ""


@dataclass(frozen=True)
class PreparedFaces:
    """A folder that `masktrain.prepare` wrote.

    Attributes:
        root: the folder.
        rows: of its manifest, by path.
        points: landmarks of its bare crops, by path.
    """

    root: Path
    rows: Mapping[str, ManifestRow]
    points: Mapping[str, Landmarks]

    def drawn(self, path: str, side_px: int) -> Drawn:
        """Return the regions of a crop, on pixels of a square of this side.

        Args:
            path: relative to the folder, <split>/<class>/<name>.
            side_px: side of the network's input.

        Raises:
            RegionError: the crop is not in the manifest, its bare twin is gone, or its mask drawn
                again is not the one on the picture.
        """
        split, label, name = path.split("/", 2)
        bare_path = f"{split}/{BARE}/{name}"
        face = self.points.get(bare_path)
        row = self.rows.get(path)
        if face is None or row is None:
            raise RegionError(f"{path}: the manifest or {LANDMARKS} does not know it")
        try:
            bare = read_image(self.root / bare_path)
        except ImageError as error:
            raise RegionError(str(error)) from None
        scale = side_px / len(bare)
        # Points count from the centre of the first pixel.
        xy = (face.xy.astype(np.float64) + 0.5) * scale - 0.5
        regions = face_discs(xy, face.width_px * scale, side_px)
        worn = row if label != BARE else self.rows.get(f"{split}/{MASKED}/{name}")
        if worn is not None and worn.style:
            regions |= {MASK: resized_alpha(self._alpha(worn, bare, face), side_px)}
        elif label != BARE:
            raise RegionError(f"{path}: the manifest does not say which mask it wears")
        return Drawn(regions, row.template, row.wear)

    def _alpha(self, row: ManifestRow, bare: np.ndarray, face: Landmarks) -> np.ndarray:
        """Draw a mask again and return its alpha, once it is seen to be the one on the picture."""
        try:
            masked = overlay_mask(bare, face, MaskStyle.from_json(row.style))
            stored = read_image(self.root / row.path)
        except ValueError as error:
            raise RegionError(f"{row.path}: its mask cannot be drawn again ({error})") from None
        away = difference(masked.image, stored, masked.alpha)
        if not away <= SAME_WITHIN:
            raise RegionError(
                f"{row.path}: its mask drawn again is {away:.0f} grey levels off the picture; "
                "it was drawn by another version, prepare the data again"
            )
        return masked.alpha


def read_prepared(data: Path) -> PreparedFaces | None:
    """Return what the generator wrote down about a folder; None where it did not draw it.

    Raises:
        ValueError: its manifest or its landmarks are damaged; the message names the file.
    """
    if not ((data / MANIFEST).is_file() and (data / LANDMARKS).is_file()):
        return None
    points = {path: faces[0] for path, faces in read_landmarks(data / LANDMARKS).items() if faces}
    return PreparedFaces(data, rows_by_path(data), points)


def shows_nobody(data: Path) -> bool:
    """Return whether a prepared folder shows people who do not exist, of the embedded model."""
    try:
        settings = json.loads((data / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and settings.get("faces") == "demo"


def difference(drawn: np.ndarray, stored: np.ndarray, alpha: np.ndarray) -> float:
    """Return how far two pictures differ where fabric lies, in grey levels; infinite where none
    does or they are not of one size.

    Args:
        drawn: (H, W, 3) uint8 RGB.
        stored: the same.
        alpha: (H, W) float32 in 0..1.
    """
    fabric = alpha >= COVERED
    if drawn.shape != stored.shape or not fabric.any():
        return float("inf")
    return float(np.abs(drawn[fabric].astype(np.float64) - stored[fabric]).mean())


def resized_alpha(alpha: np.ndarray, side_px: int) -> Floats:
    """Return an alpha at another size, by area where it shrinks, (S, S) in 0..1."""
    how = cv2.INTER_AREA if side_px <= len(alpha) else cv2.INTER_LINEAR
    small = cv2.resize(alpha, (side_px, side_px), interpolation=how)
    return np.clip(small.astype(np.float64), 0, 1)
