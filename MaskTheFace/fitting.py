"""Mask art tried on: how templates sit on drawn or photographed faces, told and shown on a sheet.

Convention: faces are square tiles, (TILE_PX, TILE_PX, 3) uint8 RGB; points are (x, y) pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from MaskTheFace.art import PLACES, ArtError, for_face, read_art
from MaskTheFace.coverage import WEARS, WORN
from MaskTheFace.images import montage, read_image, write_image
from MaskTheFace.landmarks import (
    CANONICAL,
    LandmarkError,
    Landmarks,
    aligned_landmarks,
    find_landmarks,
)
from MaskTheFace.overlay import Masked, overlay_mask
from MaskTheFace.style import MaskStyle
from MaskTheFace.templates import MaskTemplate

TILE_PX, STRIP_PX = 192, 16
"""Side of a face on the sheet, and height of the line of text below it."""
EYES = slice(36, 48)


@dataclass(frozen=True)
class FittingConfig:
    """Check your own mask art, without a window: a line for each mask, and a sheet to look at."""

    path: Path
    """A PNG with a JSON file of anchors beside it, a masks.cfg, or a folder of these."""
    contact_sheet: Path | None = None
    """Write a picture (.png or .jpg) of every mask on every face."""
    face: tuple[Path, ...] = ()
    """Photos of bare faces to try the masks on; drawn stand-ins unless given."""


def try_all(config: FittingConfig) -> int:
    """Print how every template sits, write the sheet; returns how many templates sit wrong.

    Raises:
        ArtError: the art, or a photo, cannot be used.
        ImageError: a photo cannot be read; the sheet's suffix is none of .png and .jpg.
    """
    art = read_art(config.path)
    faces = [photo_face(path) for path in config.face] or standin_faces()
    tiles: list[np.ndarray] = []
    wrong = 0
    for template in art:
        trials = try_on(template, art, faces)
        print("\n".join(report_lines(template, trials)))
        wrong += any(trial.wrong for trial in trials)
        tiles += sheet_row(template, trials)
    if config.contact_sheet is not None:
        try:
            write_image(config.contact_sheet, montage(tiles, columns=1 + len(faces)))
        except OSError as error:
            raise ArtError(
                f"{config.contact_sheet}: cannot be written ({error.strerror})"
            ) from None
        print(f"{len(art)} masks on {len(faces)} faces -> {config.contact_sheet}")
    return wrong


@dataclass(frozen=True)
class Face:
    """A face to try masks on: a tile, and its points in the tile."""

    name: str
    image: np.ndarray
    landmarks: Landmarks


def standin_faces() -> list[Face]:
    """Return plain drawn faces: frontal, turned, rolled, small, and as large as the tile."""
    return [
        _standin("frontal"),
        _standin("turned left", turn_deg=-35),
        _standin("turned right", turn_deg=35),
        _standin("rolled", roll_deg=20),
        _standin("small", scale=0.25),
        _standin("large", scale=1.05),
    ]


def _standin(name: str, turn_deg: float = 0, roll_deg: float = 0, scale: float = 0.66) -> Face:
    """Turn the mean face as a body with a nose, roll it, and draw it."""
    xy = CANONICAL.astype(np.float64) - [0.5, 0.6]
    # From the side a head is round, and the nose's ridge stands before it.
    depth = 0.16 - 0.9 * xy[:, 0] ** 2
    depth[27:36] += [0.02, 0.04, 0.06, 0.08, 0.02, 0.04, 0.05, 0.04, 0.02]
    turn, roll = np.deg2rad(turn_deg), np.deg2rad(roll_deg)
    xy[:, 0] = xy[:, 0] * np.cos(turn) + depth * np.sin(turn)
    spin = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    xy = TILE_PX * (scale * xy @ spin.T + [0.5, 0.55])
    return Face(name, _drawn(xy), Landmarks(xy - 0.5))


def _drawn(xy: np.ndarray) -> np.ndarray:
    """Draw skin, brows, eyes, nose and mouth of 68 points on a plain ground."""
    fine = 4
    picture = np.full((fine * TILE_PX, fine * TILE_PX, 3), (128, 142, 150), np.uint8)
    points = np.rint(fine * xy).astype(np.int32)
    width = max(1, round(0.02 * float(np.hypot(*(points[16] - points[0])))))
    cv2.fillPoly(picture, [_head(points)], (206, 160, 132), cv2.LINE_AA)
    for brow in (points[17:22], points[22:27]):
        cv2.polylines(picture, [brow], False, (84, 58, 44), 2 * width, cv2.LINE_AA)
    for eye in (points[36:42], points[42:48]):
        cv2.fillPoly(picture, [eye], (245, 243, 240), cv2.LINE_AA)
        centre = tuple(eye.mean(axis=0).astype(int).tolist())
        cv2.circle(picture, centre, round(1.3 * width), (40, 30, 28), -1, cv2.LINE_AA)
    for line in (points[27:31], points[31:36]):
        cv2.polylines(picture, [line], False, (150, 108, 86), width, cv2.LINE_AA)
    cv2.fillPoly(picture, [points[48:60]], (166, 84, 84), cv2.LINE_AA)
    return cv2.resize(picture, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)


def _head(points: np.ndarray) -> np.ndarray:
    """Close the jaw with half an ellipse over the forehead."""
    middle, half = (points[0] + points[16]) / 2, (points[16] - points[0]) / 2
    up = np.array([half[1], -half[0]])
    angles = np.linspace(0, np.pi, 24)[:, None]
    forehead = middle + np.cos(angles) * half + np.sin(angles) * up
    return np.vstack([points[:17], np.rint(forehead)]).astype(np.int32)


def photo_face(path: Path | str) -> Face:
    """Return the largest face of a photo, cut out with room around it.

    Without dlib the photo is taken for a tight crop of one face.

    Raises:
        ArtError: no face found.
        ImageError: the photo cannot be read.
    """
    image = read_image(path)
    try:
        faces = find_landmarks(image)
    except LandmarkError:
        faces = [aligned_landmarks(image)]
    if not faces:
        raise ArtError(f"{path}: no face found; take another photo of a bare face")
    x0, y0, x1, y1 = faces[0].box_xyxy
    side = max(1, round(1.6 * max(x1 - x0, y1 - y0)))
    left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
    height, width = image.shape[:2]
    pad = max(0, -left, -top, left + side - width, top + side - height)
    framed = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    crop = framed[top + pad : top + pad + side, left + pad : left + pad + side]
    tile = cv2.resize(crop, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
    xy = (faces[0].xy - [left, top] + 0.5) * (TILE_PX / side) - 0.5
    return Face(Path(path).name, tile, Landmarks(xy, faces[0].how))


@dataclass(frozen=True)
class Trial:
    """One template on one face; ``meant`` where the face is one that its view is for."""

    face: Face
    masked: Masked
    meant: bool

    @property
    def wrong(self) -> bool:
        """Whether nose or mouth stay bare on a face the template is for."""
        return self.meant and self.masked.wear not in WORN

    @property
    def hides_eyes(self) -> bool:
        """Whether most of the points around the eyes are under the fabric."""
        alpha = self.masked.alpha
        xy = np.rint(self.face.landmarks.xy[EYES]).astype(int)
        columns, rows = np.clip(xy, 0, np.array(alpha.shape[::-1]) - 1).T
        return self.meant and float(alpha[rows, columns].mean()) > 0.5


def try_on(
    template: MaskTemplate, art: Sequence[MaskTemplate], faces: Sequence[Face]
) -> list[Trial]:
    """Put one template on every face.

    Args:
        template: one of ``art``.
        art: all templates: with a view for turned faces, the frontal one is not meant for these.
        faces: to try it on.
    """
    style = MaskStyle(template=template.name)
    return [
        Trial(
            face,
            overlay_mask(face.image, face.landmarks, style, template=template),
            any(template is suited for suited in for_face(art, face.landmarks)),
        )
        for face in faces
    ]


def report_lines(template: MaskTemplate, trials: Sequence[Trial]) -> list[str]:
    """Say what a template is and how it sits; a second line where it leaves faces bare."""
    height, width = template.rgba.shape[:2]
    anchors = ", ".join(
        f"{_place(uv)} ({x:g}, {y:g})"
        for (x, y), uv in zip(template.anchors_xy.tolist(), template.anchors_uv, strict=True)
    )
    worn = [trial.masked.covered for trial in trials if trial.meant]
    sits = "for none of these faces"
    if worn:
        counts = Counter(trial.masked.wear or "out of sight" for trial in trials if trial.meant)
        ways = [f"{way} on {counts[way]}" for way in (*WEARS, "out of sight") if counts[way]]
        least = ", ".join(
            f"{part} {min(getattr(c, part) for c in worn):.2f}"
            for part in ("nose", "mouth", "chin")
        )
        sits = f"worn {', '.join(ways)} of {len(worn)} faces (covered at least: {least})"
    if any(trial.hides_eyes for trial in trials):
        sits += "; hides the eyes"
    lines = [f"{template.name}: {width}x{height} px; anchors {anchors}; {sits}"]
    bare = [trial.face.name for trial in trials if trial.wrong]
    if bare:
        lines.append(
            f"  wrong: nose or mouth stay bare on {', '.join(bare)}; move the anchors, or draw the "
            "art so that it reaches further"
        )
    return lines


def _place(uv: np.ndarray) -> str:
    for name, place in PLACES.items():
        if np.allclose(uv, place, atol=1e-4):
            return name
    return f"u {uv[0]:.2g} v {uv[1]:.2g}"


def sheet_row(template: MaskTemplate, trials: Sequence[Trial]) -> list[np.ndarray]:
    """Return tiles for the contact sheet: the art with its anchors, then each face.

    A red frame marks a face where nose or mouth stay bare; faces of another view are pale.
    """
    tiles = [_art_tile(template)]
    for trial in trials:
        tile = trial.masked.image.copy()
        if not trial.meant:
            tile = 255 - (255 - tile) // 3
        if trial.wrong:
            tile[:4] = tile[-4:] = tile[:, :4] = tile[:, -4:] = (220, 30, 30)
        how = trial.masked.wear if trial.meant else "another view"
        tiles.append(_labelled(tile, f"{how}: {trial.face.name}"))
    return tiles


def _art_tile(template: MaskTemplate) -> np.ndarray:
    """Lay the art on a chequered ground, with a dot for each anchor; name below."""
    height, width = template.rgba.shape[:2]
    scale = 0.86 * TILE_PX / max(width, height)
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    alpha = template.rgba[..., 3:].astype(np.float32) / 255
    art = cv2.resize(
        np.dstack([template.rgba[..., :3] * alpha, alpha]), size, interpolation=cv2.INTER_AREA
    )
    left, top = ((TILE_PX - np.array(size)) // 2).tolist()
    checks = (np.indices((TILE_PX, TILE_PX)) // 12).sum(axis=0) % 2
    tile = np.repeat((205 + 30 * checks)[..., None], 3, axis=2).astype(np.float32)
    part = tile[top : top + size[1], left : left + size[0]]
    part *= 1 - art[..., 3:]
    part += art[..., :3]
    tile = np.clip(np.rint(tile), 0, 255).astype(np.uint8)
    for x, y in (template.anchors_xy * scale + [left, top]).tolist():
        cv2.circle(tile, (round(x), round(y)), 4, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(tile, (round(x), round(y)), 3, (220, 30, 30), -1, cv2.LINE_AA)
    return _labelled(tile, template.name)


def _labelled(tile: np.ndarray, text: str) -> np.ndarray:
    """Put a line of text under a tile; what does not fit is cut off."""
    strip = np.full((STRIP_PX, TILE_PX, 3), 244, np.uint8)
    place = (5, STRIP_PX - 5)
    cv2.putText(strip, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (20, 20, 20), 1, cv2.LINE_AA)
    return np.vstack([tile, strip])
