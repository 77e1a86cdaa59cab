"""Photos in, masked pictures and their manifest rows out: the work of one process.

Photos are worked on some dozens at a time, one kind of step after the other: dlib's detector, its
68-point model (65 MB of tables) and the drawing each want the processor's cache for themselves.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from MaskTheFace.art import ArtError, draw_view, fingerprint, read_art
from MaskTheFace.config import GenerateConfig, Wanted
from MaskTheFace.coverage import COVERED, label_of
from MaskTheFace.images import encode_grey, encode_image, read_image, write_bytes
from MaskTheFace.landmarks import (
    LandmarkError,
    Landmarks,
    aligned_landmarks,
    find_boxes,
    fit_landmarks,
)
from MaskTheFace.manifest import ManifestRow, format_box
from MaskTheFace.overlay import Masked, overlay_mask
from MaskTheFace.patterns import PATTERNS
from MaskTheFace.style import MaskStyle, parse_color, sample_style
from MaskTheFace.templates import SPECIAL, MaskTemplate
from MaskTheFace.wear import sample_wear, worn

ATTEMPTS = 8
"""A mask on the forehead or beside the face may lie off the picture: then it is drawn again."""
BATCH_PIXELS = 24_000_000
"""Photos held in memory at once: as many as are handed over, or this many pixels and one more."""


@dataclass(frozen=True)
class PhotoJob:
    """One photo with all a worker needs; ``stem`` names its output, without mask and suffix.

    ``art`` is the fingerprint of ``config.art``, as ``load_art`` returns it.
    """

    path: Path
    source: str
    stem: str
    config: GenerateConfig
    faces: tuple[Landmarks, ...] | None = None
    art: str = ""

    @property
    def suffix(self) -> str:
        """How its pictures are encoded."""
        return ".png" if self.path.suffix.lower() == ".png" else ".jpg"

    def rng(self) -> np.random.Generator:
        """Return the dice of this photo: the same whoever throws them, and when."""
        digest = hashlib.sha256(self.source.encode()).digest()
        return np.random.default_rng([self.config.seed, int.from_bytes(digest[:8], "big")])

    def picture(self, wanted: Wanted) -> str:
        """Name the picture with this mask, relative to the output folder, without suffix."""
        return f"{self.stem}_{wanted.kind}"

    def row(self, **values: str) -> ManifestRow:
        """Return a manifest row about this photo."""
        return ManifestRow(**{"source": self.source, "seed": str(self.config.seed), **values})


@dataclass
class _Photo:
    """A photo on its way: each step fills in the next field; ``rows`` ends it."""

    job: PhotoJob
    image: np.ndarray
    boxes: Sequence[np.ndarray] = ()
    faces: Sequence[Landmarks] = ()
    rows: list[ManifestRow] = dataclasses.field(default_factory=list)


def mask_photos(jobs: Sequence[PhotoJob]) -> list[list[ManifestRow]]:
    """Mask every face of each photo; for each photo a row for each face, or one that says why not.

    Args:
        jobs: photos; how they are grouped never changes a result.

    Returns:
        The rows of each job, in the order of the jobs; the pictures are written.

    Raises:
        ArtError: the user's own art cannot be read any more, or was changed.
        LandmarkError: dlib is needed and missing: no photo could be done.
        OSError: the disk is full or cannot be written.
    """
    for job in jobs:
        _own_art(job)
    return [photo.rows for batch in _batches(jobs) for photo in _mask_batch(batch)]


_ART: dict[str, list[MaskTemplate]] = {}


def load_art(path: Path) -> str:
    """Read a user's own art, keep it for this process, and return its fingerprint.

    Raises:
        ArtError: it cannot be used.
    """
    art = read_art(path)
    name = fingerprint(art)
    if name not in _ART:
        _ART.clear()
        _ART[name] = art
    return name


def _own_art(job: PhotoJob) -> list[MaskTemplate]:
    """Return the user's own art, read once in each process; empty where none is asked for."""
    path = job.config.art
    if path is None:
        return []
    if job.art not in _ART and load_art(path) != job.art:
        raise ArtError(f"{path}: was changed while masks were drawn; run again")
    return _ART[job.art]


def _batches(jobs: Sequence[PhotoJob]) -> Iterator[list[_Photo]]:
    """Read photos until they fill the memory allowed, then hand them on."""
    batch: list[_Photo] = []
    pixels = 0
    for job in jobs:
        photo = _Photo(job, np.empty((0, 0, 3), np.uint8))
        _step(_read, photo)
        batch.append(photo)
        pixels += photo.image.shape[0] * photo.image.shape[1]
        if pixels > BATCH_PIXELS:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def _mask_batch(batch: list[_Photo]) -> list[_Photo]:
    for step in (_find, _fit, _mask):
        for photo in batch:
            _step(step, photo)
    return batch


def _step(step: Callable[[_Photo], None], photo: _Photo) -> None:
    """Take a step with a photo; what is wrong with it ends its own way only."""
    if photo.rows:
        return
    try:
        step(photo)
    except LandmarkError:
        raise
    except (ValueError, cv2.error) as error:
        reason = str(error).replace(f"{photo.job.path}: ", "")
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        reason = "the file name is too long; shorten it"
    else:
        return
    photo.rows = [photo.job.row(status="failed", reason=reason)]


def _read(photo: _Photo) -> None:
    photo.image = read_image(photo.job.path)


def _find(photo: _Photo) -> None:
    job = photo.job
    if job.faces is None and job.config.aligned != "yes":
        photo.boxes = find_boxes(photo.image, look_again=job.config.aligned == "auto")


def _fit(photo: _Photo) -> None:
    job = photo.job
    if job.faces is not None:
        photo.faces = job.faces
    elif job.config.aligned == "yes":
        photo.faces = [aligned_landmarks(photo.image)]
    else:
        photo.faces = fit_landmarks(photo.image, photo.boxes)


def _mask(photo: _Photo) -> None:
    job = photo.job
    if not photo.faces:
        reason = "no face found; for tight aligned crops say --aligned yes, or give --landmarks"
        if job.faces is not None:
            reason = "the landmark file has no row for this photo; add one"
        photo.rows = [job.row(status="skipped", reason=reason)]
        return
    rng = job.rng()
    rows: list[ManifestRow] = []
    for wanted in job.config.wanted(rng):
        rows += _mask_faces(photo, wanted, rng)
    if job.config.write_original_image and any(row.path for row in rows):
        path = _write_picture(job, photo.image, f"original/{job.stem}")
        rows.insert(0, job.row(path=path, label="no_mask", size_wh=_size(photo.image)))
    photo.image = np.empty((0, 0, 3), np.uint8)
    photo.rows = rows


def _mask_faces(photo: _Photo, wanted: Wanted, rng: np.random.Generator) -> list[ManifestRow]:
    """Mask all faces of a photo in one picture; a row for each face."""
    job, out = photo.job, photo.image
    tile = None if wanted.print_file is None else _read_print(*_stamped(wanted.print_file))
    cover, art = _Cover(job.config, out), _own_art(job)
    rows = []
    for face in photo.faces:
        template = draw_view(art, face, rng) if art else None
        try:
            for _ in range(ATTEMPTS):
                style = draw_style(wanted, job.config, rng)
                if template is not None:
                    style = dataclasses.replace(style, template=template.name)
                masked = overlay_mask(out, face, style, template, tile)
                if masked.wear or job.config.wear == "correct":
                    break
            if not masked.changed.any():
                raise ValueError("the landmarks lie outside the photo; give them in its own pixels")
        except (ValueError, cv2.error) as error:
            rows.append(_bare_row(job, face, str(error)))
            continue
        out = masked.image
        cover.add(masked.alpha)
        rows.append(_mask_row(job, face, style, masked, wanted))
    if all(row.status == "failed" for row in rows):
        return rows
    name = job.picture(wanted)
    if job.config.write_alpha:
        write_bytes(job.config.output_folder / f"alpha/{name}.png", encode_grey(cover.grey()))
    path, size = _write_picture(job, out, name), _size(out)
    done = []
    for row, face in zip(rows, photo.faces, strict=True):
        label = "no_mask" if row.status == "failed" else row.label
        hidden = cover.hidden(face)
        done.append(dataclasses.replace(row, path=path, size_wh=size, label=label, hidden=hidden))
    return done


def _stamped(path: str) -> tuple[str, int, int]:
    """Return a file with its time and size: changed, it is another."""
    found = Path(path).stat()
    return path, found.st_mtime_ns, found.st_size


@functools.lru_cache(maxsize=64)
def _read_print(path: str, *_stamp: int) -> np.ndarray:
    tile = read_image(path)
    tile.flags.writeable = False
    return tile


class _Cover:
    """What the fabric of all masks in a picture hides, kept only where it is asked for."""

    def __init__(self, config: GenerateConfig, image: np.ndarray) -> None:
        self._clear: np.ndarray | None = None
        if config.write_alpha or "coco" in config.annotations:
            self._clear = np.ones(image.shape[:2], np.float32)

    def add(self, alpha: np.ndarray) -> None:
        if self._clear is not None:
            self._clear *= 1 - alpha

    def grey(self) -> np.ndarray:
        assert self._clear is not None
        return np.rint(255 * (1 - self._clear)).astype(np.uint8)

    def hidden(self, face: Landmarks) -> str:
        """Return 68 digits, 1 where a point of the face lies under fabric."""
        if self._clear is None:
            return ""
        height, width = self._clear.shape
        x, y = np.rint(np.clip(face.xy, 0, [width - 1, height - 1])).astype(int).T
        return "".join("1" if clear <= 1 - COVERED else "0" for clear in self._clear[y, x])


def draw_style(wanted: Wanted, config: GenerateConfig, rng: np.random.Generator) -> MaskStyle:
    """Draw how the mask sits; colour and pattern only as asked for."""
    if wanted.kind in SPECIAL:
        return MaskStyle(
            template=wanted.kind, shadow=0, wrinkles=0, weave=0, light=0, softness=0, match=0
        )
    drawn = sample_style(rng, wanted.templates, ())
    if config.wear != "correct":
        drawn = worn(drawn, sample_wear(rng, drawn.template, config.wear), rng)
    changes: dict[str, object] = {"color": None, "pattern": None}
    if wanted.color is None:
        changes["trim"] = None
    if wanted.color == "random":
        changes["color"] = drawn.color
    elif wanted.color is not None:
        changes |= {"color": parse_color(wanted.color), "color_weight": config.color_weight}
    if wanted.pattern is not None:
        name = str(rng.choice(list(PATTERNS))) if wanted.pattern == "random" else wanted.pattern
        changes |= {
            "pattern": name if name in PATTERNS else None,
            "pattern_weight": config.pattern_weight,
        }
    return dataclasses.replace(drawn, **changes)  # type: ignore[arg-type]


def _write_picture(job: PhotoJob, image: np.ndarray, name: str) -> str:
    """Write a picture; return its path relative to the output folder."""
    folder = "images/" if "yolo" in job.config.annotations else ""
    path = f"{folder}{name}{job.suffix}"
    data = encode_image(job.suffix, image, job.config.quality)
    write_bytes(job.config.output_folder / path, data)
    return path


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} {image.shape[0]}"


def _face_facts(job: PhotoJob, face: Landmarks) -> dict[str, str]:
    points = " ".join(map(str, face.xy.ravel())) if job.config.keeps_points else ""
    return {
        "box_xyxy": format_box(face.box_xyxy),
        "landmarks_how": face.how,
        "points": points,
    }


def _bare_row(job: PhotoJob, face: Landmarks, reason: str) -> ManifestRow:
    return job.row(status="failed", reason=reason, **_face_facts(job, face))


def _mask_row(
    job: PhotoJob, face: Landmarks, style: MaskStyle, masked: Masked, wanted: Wanted
) -> ManifestRow:
    covered = masked.covered
    return job.row(
        label=label_of(masked.wear),
        **_face_facts(job, face),
        template=style.template,
        pattern=style.pattern or wanted.pattern or "",
        style=style.to_json(),
        wear=masked.wear,
        covered_nose=f"{covered.nose:.3f}",
        covered_mouth=f"{covered.mouth:.3f}",
        covered_chin=f"{covered.chin:.3f}",
    )
