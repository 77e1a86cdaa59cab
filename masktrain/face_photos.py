"""From a folder of photos to textures the face model can be fitted to.

Every photo is measured; the best are warped to the mean shape, and what their tight crops do not
show is filled in.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm.auto import tqdm

from MaskTheFace.images import ImageError, list_images, read_image
from MaskTheFace.landmarks import MIRROR, aligned_landmarks
from masktrain.face_model import FaceModelError
from masktrain.face_texture import (
    FACE_PX,
    TEXTURE_PX,
    thin_plate_basis,
    thin_plate_centres,
    thin_plate_system,
)

MIN_PHOTOS = 40
FILL_MODES = 48


@dataclass(frozen=True)
class _Measured:
    """One usable photo: its points and what speaks for and against it."""

    path: Path
    xy: np.ndarray
    turned: float
    blurred: float
    cut: float


def read_textures(folder: Path, limit: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the photos of a folder as textures of one shape.

    Args:
        folder: tight, aligned photos of one bare face each.
        limit: use at most this many, the sharpest and most frontal ones.

    Returns:
        Textures (N, 128, 128, 3) uint8 YCrCb, shapes (N, 68, 2) and their mean (68, 2).

    Raises:
        FaceModelError: too few usable photos.
        ImageError: no such folder.
    """
    measured = _measure_all(list_images(folder))
    if len(measured) < MIN_PHOTOS:
        raise FaceModelError(
            f"{folder}: {len(measured)} usable colour photos of one aligned face each; "
            f"at least {MIN_PHOTOS} are needed"
        )
    photos = _choose(measured, limit)
    matrices, shapes, mean = _align(np.stack([photo.xy for photo in photos]))
    textures, seen = _textures(photos, matrices, shapes, mean)
    textures, strangeness = _fill_unseen(textures, seen)
    # Hands, microphones, sunglasses: what the first modes describe worst is rarely a bare face.
    usual = strangeness <= np.quantile(strangeness, 0.9)
    return textures[usual], shapes[usual], mean


def _measure_all(paths: list[Path]) -> list[_Measured]:
    measured = (_measure(path) for path in tqdm(paths, desc="measure", disable=None))
    return [photo for photo in measured if photo is not None]


def _measure(path: Path) -> _Measured | None:
    """Measure one photo; None where it is unreadable, grey, or its points are in doubt."""
    try:
        image = read_image(path)
    except ImageError:
        return None
    colour = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[..., 1:].mean(axis=(0, 1)) - 128
    if np.abs(colour).max() < 4:
        return None
    found = aligned_landmarks(image)
    width = image.shape[1]
    again = aligned_landmarks(np.ascontiguousarray(image[:, ::-1])).mirrored(width)
    doubt = np.linalg.norm(found.xy - again.xy, axis=1).mean() / found.width_px
    if "canonical" in (found.how, again.how) or doubt > 0.025:
        return None
    xy = (found.xy + again.xy) / 2
    ears = [np.linalg.norm(xy[30] - xy[side].mean(axis=0)) for side in (slice(0, 3), slice(14, 17))]
    turned = float(abs(np.log(ears[0] / ears[1])))
    return _Measured(path, xy, turned, -_sharpness(image), float(xy[8, 1] / len(image)))


def _sharpness(image: np.ndarray) -> float:
    """Return the contrast of details of 1 to 3 px in a 128 px face, grey levels."""
    grey = cv2.resize(
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (128, 128), interpolation=cv2.INTER_AREA
    )
    middle = grey[30:110, 24:104].astype(np.float32)
    return float((cv2.GaussianBlur(middle, (0, 0), 1) - cv2.GaussianBlur(middle, (0, 0), 3)).std())


def _choose(photos: list[_Measured], limit: int) -> list[_Measured]:
    """Keep the frontal, sharp photos that show something below the chin, in order of path."""

    def ranks(values: list[float]) -> np.ndarray:
        return np.argsort(np.argsort(values, kind="stable"), kind="stable") / len(values)

    demerit = (
        np.maximum(ranks([photo.turned for photo in photos]), 0.3)
        + 0.7 * ranks([photo.blurred for photo in photos])
        + 0.7 * ranks([photo.cut for photo in photos])
    )
    # A tenth more than asked for: as many are left out later for looking unusual.
    best = np.argsort(demerit, kind="stable")[: int(np.ceil(limit / 0.9))]
    return [photos[index] for index in sorted(best)]


def _align(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Align shapes by similarity (generalised Procrustes), mirror-symmetric mean.

    Args:
        points: (N, 68, 2) photo pixels.

    Returns:
        Matrices (N, 2, 3), photo to texture pixels; shapes (N, 68, 2), mean (68, 2) in the latter.
    """
    mean = points.mean(axis=0)
    for _ in range(5):
        mean = mean - (mean.min(axis=0) + mean.max(axis=0)) / 2
        mean = (mean + mean[MIRROR] * [-1, 1]) / 2
        mean = mean * (FACE_PX / np.ptp(mean, axis=0).max()) + (TEXTURE_PX - 1) / 2
        matrices = np.stack([_similarity(xy, mean) for xy in points])
        shapes = np.einsum("nij,nkj->nki", matrices[:, :, :2], points) + matrices[:, None, :, 2]
        mean, settled = shapes.mean(axis=0), mean
    return matrices, shapes, settled


def _similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the least-squares similarity (2, 3): one division of complex numbers."""
    a = (source - source.mean(axis=0)) @ [1, 1j]
    b = (target - target.mean(axis=0)) @ [1, 1j]
    turn = np.vdot(a, b) / np.vdot(a, a)
    rotation = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    shift = target.mean(axis=0) - rotation @ source.mean(axis=0)
    return np.hstack([rotation, shift[:, None]])


def _textures(
    photos: list[_Measured], matrices: np.ndarray, shapes: np.ndarray, mean: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Warp the photos to the mean shape.

    Returns:
        (N, 128, 128, 3) uint8 YCrCb, and (N, 128, 128) bool: what the photo shows.
    """
    centres = thin_plate_centres(mean)
    rows, columns = np.mgrid[:TEXTURE_PX, :TEXTURE_PX]
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1)
    solver = np.linalg.inv(thin_plate_system(centres))[:, : len(centres)]
    warp = (thin_plate_basis(pixels, centres) @ solver).astype(np.float32)
    textures = np.empty((len(photos), TEXTURE_PX, TEXTURE_PX, 3), np.uint8)
    seen = np.empty((len(photos), TEXTURE_PX, TEXTURE_PX), bool)
    for index, photo in enumerate(tqdm(photos, desc="warp", disable=None)):
        image = read_image(photo.path)
        back = cv2.invertAffineTransform(matrices[index])
        ends = thin_plate_centres(shapes[index]) @ back[:, :2].T + back[:, 2]
        x, y = (warp @ ends.astype(np.float32)).T.reshape(2, TEXTURE_PX, TEXTURE_PX).copy()
        # Prefilter by the shrink from photo to texture, or skin would alias.
        shrink = float(np.hypot(*back[0, :2]))
        image = cv2.GaussianBlur(image, (0, 0), max(0.3, 0.4 * shrink))
        warped = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        textures[index] = cv2.cvtColor(warped, cv2.COLOR_RGB2YCrCb)
        height, width = image.shape[:2]
        seen[index] = (x >= 1) & (x <= width - 2) & (y >= 1) & (y <= height - 2)
    return textures, seen


def _fill_unseen(textures: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill what tight crops do not show (neck, hair, background) by expectation-maximisation.

    Pixels spread outwards first; then a low-rank model of all photos and the fill improve each
    other; last, the model's error at the photo's edge is spread outwards, so that no seam is left.

    Returns:
        Textures, filled, and for each the RMS error, grey levels, of the low-rank model where seen.
    """
    for texture, shown in zip(textures, seen, strict=True):
        texture[~shown] = _spread(texture.astype(np.float32), shown)[~shown]
    flat = textures.reshape(len(textures), -1).astype(np.float32)
    hidden = np.repeat(~seen.reshape(len(seen), -1), 3, axis=1)
    basis = np.random.default_rng(0).standard_normal(
        (flat.shape[1], min(FILL_MODES, len(flat) // 2))
    )
    basis = basis.astype(np.float32)
    for _ in range(5):
        mean = flat.mean(axis=0)
        flat -= mean
        for _ in range(2):
            basis = _orthonormal(flat.T @ (flat @ basis))
        codes = flat @ basis
        spread = codes.var(axis=0)
        rest = max(1e-6, (flat.var() * flat.shape[1] - spread.sum()) / flat.shape[1])
        model = (codes * (spread / (spread + rest))) @ basis.T + mean
        flat += mean
        flat[hidden] = model[hidden]
    return _close_seams(textures, seen, model.reshape(textures.shape))


def _orthonormal(columns: np.ndarray) -> np.ndarray:
    """Span the same space by orthonormal columns; a tall QR takes ten times as long."""
    squares, vectors = np.linalg.eigh(columns.T.astype(np.float64) @ columns)
    turn = vectors / np.sqrt(np.maximum(squares, 1e-12 * squares[-1]))
    return columns @ turn.astype(np.float32)


def _close_seams(
    textures: np.ndarray, seen: np.ndarray, model: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    strangeness = np.empty(len(textures))
    for index, (texture, shown) in enumerate(zip(textures, seen, strict=True)):
        error = texture - model[index]
        strangeness[index] = np.sqrt((error[shown, 0] ** 2).mean())
        filled = model[index] + _spread(error, shown)
        texture[~shown] = np.clip(np.rint(filled[~shown]), 0, 255)
    return textures, strangeness


def _spread(image: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Continue (H, W, 3) float32 beyond what is shown, more and more blurred.

    Normalised convolution: a blur of what is known over a blur of where it is known.
    """
    weight = shown.astype(np.float32)
    known = image * weight[..., None]
    total, confidence = known.copy(), weight.copy()
    for sigma in (2, 5, 12, 30):
        near = cv2.GaussianBlur(weight, (0, 0), sigma)
        blurred = cv2.GaussianBlur(known, (0, 0), sigma) / np.maximum(near, 1e-4)[..., None]
        share = np.clip(2.2 * near, 0, 1) * (1 - confidence)
        total += blurred * share[..., None]
        confidence += share
    return total / np.maximum(confidence, 1e-6)[..., None]
