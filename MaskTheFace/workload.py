"""What the speed of MaskTheFace is measured on: faces, floors, and the works themselves.

Convention: images are (S, S, 3) uint8 RGB; points are (x, y) pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from MaskTheFace.batch import mask_photos
from MaskTheFace.config import GenerateConfig
from MaskTheFace.fitting import standin_faces
from MaskTheFace.generate import find_jobs
from MaskTheFace.images import ImageError, list_images, read_image, write_image
from MaskTheFace.jobs import CHUNK
from MaskTheFace.landmarks import Landmarks, find_landmarks
from MaskTheFace.manifest import ManifestRow
from MaskTheFace.overlay import overlay_mask
from MaskTheFace.patterns import PATTERNS
from MaskTheFace.stopwatch import Work
from MaskTheFace.style import MaskStyle, sample_style
from MaskTheFace.templates import load_template, nearest_step

ROOM = {112: 1.12, 250: 2.2}
"""Side of a picture relative to the face in it: a tight aligned crop; a photo as in LFW."""
QUALITY = 95
SEED = 0
FULL_STYLE = {
    "light": 0.8,
    "shadow": 0.4,
    "match": 0.9,
    "wrinkles": 0.6,
    "weave": 0.4,
    "pattern_weight": 0.8,
    "front": 0.5,
    "dirt": 0.5,
    "softness": 0.4,
}
"""Every layer of looks switched on."""
LAYERS: dict[str, dict[str, object]] = {
    "light": {"light": 0.0},
    "shadow": {"shadow": 0.0},
    "match": {"match": 0.0},
    "folds and weave": {"wrinkles": 0.0, "weave": 0.0},
    "pattern": {"pattern": None},
    "front": {"front": 0.0},
    "dirt": {"dirt": 0.0},
    "softness": {"softness": 0.0},
}
"""What switching a layer off means."""


@dataclass(frozen=True)
class Sample:
    """A picture of one face, and its points."""

    image: np.ndarray
    landmarks: Landmarks


def standins(count: int, side_px: int) -> list[Sample]:
    """Draw plain faces, with shade and a texture that costs JPEG about what photos do."""
    rng = np.random.default_rng(SEED)
    plain = standin_faces()[0]
    return [
        _textured(framed(_another(Sample(plain.image, plain.landmarks), rng), side_px), rng)
        for _ in range(count)
    ]


def _another(face: Sample, rng: np.random.Generator) -> Sample:
    """Turn, stretch and shade a face a little, so that no two are alike."""
    height, width = face.image.shape[:2]
    middle = (width / 2, height / 2)
    matrix = cv2.getRotationMatrix2D(middle, rng.uniform(-8, 8), rng.uniform(0.85, 1.1))
    matrix[0] *= rng.uniform(0.94, 1.04)
    shaded = np.rint(face.image * _shade(face.landmarks.xy, (height, width))).astype(np.uint8)
    image = cv2.warpAffine(shaded, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return Sample(image, face.landmarks.moved(matrix))


def _shade(xy: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return light (h, w, 1) in 0..1: dark hair, eyes, nose and mouth, as a detector wants."""
    light = np.ones(shape, np.float32)
    face_px = float(xy[16, 0] - xy[0, 0])
    brows = np.vstack([xy[0], xy[17:27], xy[16]])
    hair = np.vstack([brows - [0, 0.12 * face_px], brows[::-1] - [0, 0.33 * face_px]])
    cv2.fillPoly(light, [np.rint(hair).astype(np.int32)], 0.3)
    for part in (xy[36:42], xy[42:48], xy[31:36], xy[48:60]):
        outline = [np.rint(part).astype(np.int32)]
        cv2.polylines(light, outline, True, 0.45, max(1, round(0.05 * face_px)))
    return cv2.GaussianBlur(light, (0, 0), 0.015 * face_px)[..., None]


def _textured(sample: Sample, rng: np.random.Generator) -> Sample:
    side_px = len(sample.image)
    texture = np.zeros((side_px, side_px), np.float32)
    for spread, strength in ((side_px / 8, 10), (6, 5), (1.5, 4), (0.6, 4)):
        noise = rng.standard_normal((side_px, side_px), np.float32)
        hills = np.asarray(cv2.GaussianBlur(noise, (0, 0), spread), np.float32)
        texture += hills * np.float32(strength / max(float(hills.std()), 1e-6))
    bright = rng.uniform(0.7, 1.1) * rng.uniform(0.95, 1.05, 3)
    lit = sample.image * bright.astype(np.float32) + texture[..., None]
    return Sample(np.clip(np.rint(lit), 0, 255).astype(np.uint8), sample.landmarks)


def photo_faces(folder: Path, count: int) -> tuple[list[Sample], int]:
    """Find the first faces of a folder, one a photo; returns them and how many photos were read.

    Raises:
        ImageError: no such folder.
        LandmarkError: dlib or its 68-point model is not installed.
    """
    found: list[Sample] = []
    seen = 0
    for path in list_images(folder):
        if len(found) == count:
            break
        seen += 1
        try:
            image = read_image(path)
        except ImageError:
            continue
        found += [Sample(image, face) for face in find_landmarks(image)[:1]]
    return found, seen


def framed(sample: Sample, side_px: int) -> Sample:
    """Cut a square around a face, with ROOM for that size."""
    x0, y0, x1, y1 = sample.landmarks.box_xyxy
    side = max(8, round(ROOM[side_px] * max(x1 - x0, y1 - y0)))
    left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
    height, width = sample.image.shape[:2]
    pad = max(0, -left, -top, left + side - width, top + side - height)
    wide = cv2.copyMakeBorder(sample.image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    crop = wide[top + pad : top + pad + side, left + pad : left + pad + side]
    how = cv2.INTER_AREA if side > side_px else cv2.INTER_LINEAR
    image = cv2.resize(crop, (side_px, side_px), interpolation=how)
    xy = (sample.landmarks.xy - [left, top] + 0.5) * (side_px / side) - 0.5
    return Sample(image, Landmarks(xy, sample.landmarks.how))


def write_photos(folder: Path, samples: Sequence[Sample], count: int) -> None:
    """Write so many JPEG photos, samples over and over."""
    for place in range(count):
        image = samples[place % len(samples)].image
        write_image(folder / f"{place:05d}.jpg", image, QUALITY)


def jpeg_floor(samples: Sequence[Sample]) -> Work:
    """Decode and encode the pictures as JPEG, in memory: no tool from file to file is faster."""
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    coded = [cv2.imencode(".jpg", sample.image, options)[1] for sample in samples]

    def run() -> None:
        for data in coded:
            cv2.imencode(".jpg", np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)), options)

    return Work("JPEG decode + encode", len(samples), run)


def warp_floor(samples: Sequence[Sample]) -> Work:
    """Warp an RGBA template onto each face and blend it, plainly: a sticker, nothing else."""
    plans = []
    for image, face in ((sample.image, sample.landmarks) for sample in samples):
        rgba = load_template("surgical_pleated", nearest_step(face.width_px / 2)).rgba
        limits = image.shape[1], image.shape[0]
        low = np.array([face.xy[:17, 0].min(), face.xy[28, 1]])
        high = np.array([face.xy[:17, 0].max(), face.xy[8, 1] + 2])
        x0, y0 = np.clip(np.rint(low), 0, np.array(limits) - 2).astype(int).tolist()
        x1, y1 = np.clip(np.rint(high), [x0 + 1, y0 + 1], limits).astype(int).tolist()
        matrix = cv2.getPerspectiveTransform(
            _corners(rgba.shape[1], rgba.shape[0]), _corners(x1 - x0, y1 - y0)
        )
        plans.append((image, rgba, matrix, (x0, y0, x1, y1)))

    def run() -> None:
        for image, rgba, matrix, (x0, y0, x1, y1) in plans:
            layer = cv2.warpPerspective(rgba, matrix, (x1 - x0, y1 - y0))
            alpha = cv2.cvtColor(layer[..., 3], cv2.COLOR_GRAY2RGB)
            color = cv2.multiply(layer[..., :3], alpha, scale=1 / 255)
            out = image.copy()
            part = out[y0:y1, x0:x1]
            part[:] = cv2.add(color, cv2.multiply(part, 255 - alpha, scale=1 / 255))

    return Work("warpPerspective + blend", len(samples), run)


def _corners(width: int, height: int) -> np.ndarray:
    return np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)


def memory_work(name: str, samples: Sequence[Sample]) -> Work:
    """Draw a style for each face and put it on: landmarks known, nothing read or written."""

    def run() -> None:
        rng = np.random.default_rng(SEED)
        for sample in samples:
            overlay_mask(sample.image, sample.landmarks, sample_style(rng))

    return Work(name, len(samples), run)


def style_work(count: int) -> Work:
    """Draw styles, and no pixel."""

    def run() -> None:
        rng = np.random.default_rng(SEED)
        for _ in range(count):
            sample_style(rng)

    return Work("sample_style alone", count, run)


def layer_works(samples: Sequence[Sample]) -> tuple[Work, list[Work]]:
    """Return masks with every layer of looks, and works that switch one layer off each."""
    rng = np.random.default_rng(SEED)
    patterns = list(PATTERNS)
    full = [
        dataclasses.replace(
            sample_style(rng),
            pattern=patterns[place % len(patterns)],
            **FULL_STYLE,  # type: ignore[arg-type]
        )
        for place in range(len(samples))
    ]
    works = []
    for name, change in LAYERS.items():
        styles = [dataclasses.replace(style, **change) for style in full]  # type: ignore[arg-type]
        works.append(_overlay_work(f"without {name}", samples, styles))
    return _overlay_work("every layer on", samples, full), works


def _overlay_work(name: str, samples: Sequence[Sample], styles: Sequence[MaskStyle]) -> Work:
    def run() -> None:
        for sample, style in zip(samples, styles, strict=True):
            overlay_mask(sample.image, sample.landmarks, style)

    return Work(name, len(samples), run)


def random_masks(photos: Path, output: Path, aligned: bool) -> GenerateConfig:
    """Return the settings of works on files: any mask in any colour."""
    return GenerateConfig(
        photos,
        output,
        mask_type="random",
        color="random",
        aligned="yes" if aligned else "auto",
        seed=SEED,
        quality=QUALITY,
    )


def file_work(name: str, config: GenerateConfig) -> tuple[Work, list[ManifestRow]]:
    """Mask a folder of photos, file to file, as one worker of ``generate`` does.

    Returns:
        The work, and the rows of a first go, which loads what is loaded once.

    Raises:
        LandmarkError: dlib is needed and missing.
    """
    jobs = find_jobs(config)
    chunks = [jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK)]

    def run() -> list[ManifestRow]:
        return [row for chunk in chunks for rows in mask_photos(chunk) for row in rows]

    return Work(name, len(jobs), run), run()
