"""Photos -> masked photos and a manifest: parallel, resumable, nothing lost in silence."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from MaskTheFace.images import (
    encode_image,
    list_images,
    read_image,
    relative_name,
    write_bytes,
)
from MaskTheFace.jobs import run_jobs
from MaskTheFace.landmarks import (
    LandmarkError,
    Landmarks,
    aligned_landmarks,
    find_landmarks,
    read_landmarks,
)
from MaskTheFace.manifest import Journal, ManifestRow, format_box, write_manifest
from MaskTheFace.overlay import Masked, overlay_mask
from MaskTheFace.patterns import PATTERNS
from MaskTheFace.style import MaskStyle, parse_color, sample_style
from MaskTheFace.templates import SPECIAL, TEMPLATES, TYPES

Kind = Literal["surgical", "N95", "KN95", "cloth", "gas", "empty", "inpaint", "random", "all"]


class GenerateError(ValueError):
    """Nothing can be generated; the message says what to do."""


@dataclass(frozen=True)
class GenerateConfig:
    """Draw masks on photos of bare faces."""

    path: Path
    """A photo, or a folder of photos (searched through and through)."""
    output: Path | None = None
    """Folder to write; by default <path>_masked beside the input."""
    mask_type: Kind = "surgical"
    """Which mask; random: another one for each face; all: one picture of each type."""
    color: str | None = None
    """Colour of the fabric, #rrggbb, or random for what people wear. Off unless given."""
    color_weight: float = 0.5
    """How far the colour replaces the mask's own, 0 to 1."""
    pattern: str | None = None
    """A picture file to print on the fabric, or the name of a built-in pattern."""
    pattern_weight: float = 0.5
    """How solid the print is, 0 to 1."""
    code: str | None = None
    """Comma list of masks, one drawn for each photo: type, type-#rrggbb or type-patternfile."""
    aligned: Literal["auto", "yes", "no"] = "auto"
    """yes: photos are tight crops of one face, nothing is detected; no: faces are found; auto:
    found, and looked for again, less strictly, where one would fill a tight crop."""
    landmarks: Path | None = None
    """CSV of your own points, one face a row: file,x0,y0,...,x67,y67; nothing is detected."""
    write_original_image: bool = False
    """Also write the bare photo, by the same encoder, into original/."""
    seed: int = 0
    """Seed of every choice."""
    quality: int = 95
    """JPEG quality, 1 to 100."""
    workers: int = 0
    """Processes; 0: one for each core. Never changes a result."""
    verbose: bool = False
    """Print a line for each photo."""

    def __post_init__(self) -> None:
        for name in ("color_weight", "pattern_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality must be between 1 and 100, got {self.quality}")
        if self.color not in (None, "random"):
            parse_color(str(self.color))
        if self.pattern is not None:
            _check_pattern(self.pattern)
        for code in self.codes:
            parse_code(code)

    @property
    def codes(self) -> list[str]:
        """The parts of ``code``."""
        return [part.strip() for part in (self.code or "").split(",") if part.strip()]


@dataclass(frozen=True)
class Wanted:
    """One mask asked for: a type, and what to dye or print it with."""

    kind: str
    color: str | None = None
    pattern: str | None = None


@dataclass(frozen=True)
class PhotoJob:
    """One photo with all a worker needs; ``stem`` names its output, without mask and suffix."""

    path: Path
    source: str
    stem: str
    output: Path
    config: GenerateConfig
    faces: tuple[Landmarks, ...] | None = None


def parse_code(code: str) -> Wanted:
    """Read ``type``, ``type-#rrggbb`` or ``type-patternfile``.

    Raises:
        ValueError: an unknown type, a bad colour, or a pattern that is not there.
    """
    kind, _, extra = code.partition("-")
    if kind not in (*TYPES, *SPECIAL, "random"):
        known = ", ".join([*TYPES, *SPECIAL, "random"])
        raise ValueError(f"--code {code!r}: unknown mask type {kind!r}; have {known}")
    if not extra:
        return Wanted(kind)
    if extra.startswith("#"):
        parse_color(extra)
        return Wanted(kind, color=extra)
    _check_pattern(extra)
    return Wanted(kind, pattern=extra)


def _check_pattern(pattern: str) -> None:
    if pattern not in PATTERNS and pattern != "random" and not Path(pattern).is_file():
        known = ", ".join([*PATTERNS, "random"])
        raise ValueError(f"pattern {pattern!r} is neither a file nor one of {known}")


def output_folder(config: GenerateConfig) -> Path:
    """Return where the results go."""
    if config.output is not None:
        return config.output
    # "." and ".." have no name of their own.
    path = config.path.resolve() if config.path.name in ("", "..") else config.path
    base = path if path.is_dir() else path.with_suffix("")
    return base.with_name(f"{base.name}_masked")


def generate(config: GenerateConfig) -> list[ManifestRow]:
    """Mask every photo of a folder (or one photo), and write ``manifest.csv`` beside the results.

    Interrupted, the same command goes on where it stopped.

    Args:
        config: what to do.

    Returns:
        The manifest: at least one row for every photo.

    Raises:
        GenerateError: no such path, an empty folder, a full disk.
        LandmarkError: dlib is needed and missing, or the landmark file is bad.
    """
    output = output_folder(config)
    jobs = list(_jobs(config, output))
    if not jobs:
        raise GenerateError(f"{config.path}: no images in this folder; check the path")
    try:
        journal = Journal(output / f".journal-{_digest(config)}.csv")
        rows = _run(jobs, config, journal)
        write_manifest(output / "manifest.csv", rows)
        journal.remove()
    except OSError as error:
        raise GenerateError(
            f"{output}: cannot be written ({error.strerror or error}); mend that, then run again"
        ) from None
    return rows


def _run(jobs: Sequence[PhotoJob], config: GenerateConfig, journal: Journal) -> list[ManifestRow]:
    """Do what an earlier, interrupted run has not; return all rows in the order of the jobs."""
    done = journal.done
    todo = [job for job in jobs if job.source not in done]
    try:
        for job, rows in _shown(run_jobs(mask_photo, todo, config.workers), len(todo), config):
            journal.add(rows)
            done[job.source] = rows
    finally:
        journal.close()
    return [row for job in jobs for row in done[job.source]]


def _digest(config: GenerateConfig) -> str:
    """Name the settings that decide the result: only a journal of the same ones may go on."""
    values = dataclasses.asdict(dataclasses.replace(config, workers=0, verbose=False))
    text = json.dumps({name: str(value) for name, value in values.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _shown(
    results: Iterator[tuple[PhotoJob, list[ManifestRow]]], total: int, config: GenerateConfig
) -> Iterator[tuple[PhotoJob, list[ManifestRow]]]:
    from tqdm.auto import tqdm

    for job, rows in tqdm(results, total=total, desc="photos", disable=None):
        if config.verbose:
            print(f"{job.source}: {', '.join(row.path or row.reason for row in rows)}")
        yield job, rows


def _jobs(config: GenerateConfig, output: Path) -> Iterator[PhotoJob]:
    if not config.path.exists():
        raise GenerateError(f"{config.path}: no such file or folder; check the path")
    folder = config.path if config.path.is_dir() else config.path.parent
    paths = list_images(folder) if config.path.is_dir() else [config.path]
    paths = [path for path in paths if output.resolve() not in path.resolve().parents]
    given = read_landmarks(config.landmarks) if config.landmarks else None
    stems: set[str] = set()
    for path in paths:
        source = relative_name(path, folder)
        stem = source.removesuffix(path.suffix)
        if stem in stems:
            # a.jpg and a.png in one folder: the second keeps its suffix in the name.
            stem = source
        while stem in stems:
            stem += "_"
        stems.add(stem)
        faces = None if given is None else tuple(given.get(source, ()))
        yield PhotoJob(path, source, stem, output, config, faces)


def mask_photo(job: PhotoJob) -> list[ManifestRow]:
    """Mask every face of one photo; a row for each, or one that says why there is none."""
    try:
        image = read_image(job.path)
        faces = _faces_of(image, job)
    except LandmarkError:
        raise  # dlib is missing: no photo could be done
    except (ValueError, cv2.error) as error:
        return [_row(job, status="failed", reason=str(error).replace(f"{job.path}: ", ""))]
    if not faces:
        reason = "no face found; for tight aligned crops say --aligned yes, or give --landmarks"
        if job.faces is not None:
            reason = "the landmark file has no row for this photo; add one"
        return [_row(job, status="skipped", reason=reason)]
    rng = np.random.default_rng(_photo_seed(job))
    rows: list[ManifestRow] = []
    try:
        if job.config.write_original_image:
            rows.append(_write(job, image, f"original/{job.stem}", label="no_mask"))
        for wanted in _wanted(job.config, rng):
            rows.extend(_mask_faces(job, image, faces, wanted, rng))
    except (ValueError, cv2.error) as error:
        return [_row(job, status="failed", reason=str(error))]
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return [_row(job, status="failed", reason="the file name is too long; shorten it")]
    return rows


def _photo_seed(job: PhotoJob) -> list[int]:
    digest = hashlib.sha256(job.source.encode()).digest()
    return [job.config.seed, int.from_bytes(digest[:8], "big")]


def _faces_of(image: np.ndarray, job: PhotoJob) -> list[Landmarks]:
    if job.faces is not None:
        return list(job.faces)
    if job.config.aligned == "yes":
        return [aligned_landmarks(image)]
    return find_landmarks(image, look_again=job.config.aligned == "auto")


def _wanted(config: GenerateConfig, rng: np.random.Generator) -> list[Wanted]:
    if config.codes:
        return [parse_code(str(rng.choice(config.codes)))]
    kinds = list(TYPES) if config.mask_type == "all" else [config.mask_type]
    return [Wanted(kind, config.color, config.pattern) for kind in kinds]


def _mask_faces(
    job: PhotoJob,
    image: np.ndarray,
    faces: list[Landmarks],
    wanted: Wanted,
    rng: np.random.Generator,
) -> list[ManifestRow]:
    """Mask all faces of a photo in one picture; a row for each face."""
    rows, out = [], image
    name = f"{job.stem}_{wanted.kind}"
    tile = None
    if wanted.pattern and wanted.pattern not in (*PATTERNS, "random"):
        tile = read_image(wanted.pattern)
    for face in faces:
        style = _style(wanted, job.config, rng)
        masked = overlay_mask(out, face, style, tile=tile)
        if not masked.changed.any():
            raise GenerateError("the landmarks lie outside the photo; give them in its own pixels")
        out = masked.image
        rows.append(_mask_row(job, face, style, masked, wanted))
    written = _write(job, out, name)
    return [dataclasses.replace(row, path=written.path) for row in rows]


def _style(wanted: Wanted, config: GenerateConfig, rng: np.random.Generator) -> MaskStyle:
    """Draw how the mask sits; colour and pattern only as asked for."""
    if wanted.kind in SPECIAL:
        return MaskStyle(template=wanted.kind, shadow=0.0, wrinkles=0.0, light=0.0, grain=0.0)
    templates = TEMPLATES if wanted.kind == "random" else TYPES[wanted.kind]
    drawn = sample_style(rng, tuple(templates), ())
    changes: dict[str, object] = {"color": None, "pattern": None}
    if wanted.color == "random":
        changes = {"color": drawn.color, "pattern": None}
    elif wanted.color is not None:
        changes |= {"color": parse_color(wanted.color), "color_weight": config.color_weight}
    if wanted.pattern is not None:
        name = str(rng.choice(list(PATTERNS))) if wanted.pattern == "random" else wanted.pattern
        changes |= {
            "pattern": name if name in PATTERNS else None,
            "pattern_weight": config.pattern_weight,
        }
    return dataclasses.replace(drawn, **changes)  # type: ignore[arg-type]


def _write(job: PhotoJob, image: np.ndarray, name: str, **facts: str) -> ManifestRow:
    suffix = ".png" if job.path.suffix.lower() == ".png" else ".jpg"
    path = f"{name}{suffix}"
    write_bytes(job.output / path, encode_image(suffix, image, job.config.quality))
    return _row(job, path=path, **facts)


def _mask_row(
    job: PhotoJob, face: Landmarks, style: MaskStyle, masked: Masked, wanted: Wanted
) -> ManifestRow:
    covered = masked.covered
    return _row(
        job,
        label="wearing_mask" if covered.wear != "incorrect" else "",
        box_xyxy=format_box(face.box_xyxy),
        landmarks_how=face.how,
        template=style.template,
        pattern=style.pattern or wanted.pattern or "",
        style=style.to_json(),
        wear=covered.wear,
        covered_nose=f"{covered.nose:.3f}",
        covered_mouth=f"{covered.mouth:.3f}",
        covered_chin=f"{covered.chin:.3f}",
    )


def _row(job: PhotoJob, **values: str) -> ManifestRow:
    return ManifestRow(**{"source": job.source, "seed": str(job.config.seed), **values})


def closing_line(rows: Sequence[ManifestRow], output: Path) -> str:
    """Say how many photos were masked, how many not, and why."""
    sources = {row.source for row in rows}
    good = {row.source for row in rows if row.path}
    lines = [
        f"{len(good)} of {len(sources)} photos masked -> {output} (manifest.csv lists every photo)"
    ]
    reasons: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if not row.path:
            reasons[row.reason].append(row.source)
    for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
        lines.append(f"  {len(names)} not: {reason} (first: {names[0]})")
    return "\n".join(lines)


__all__ = [
    "GenerateConfig",
    "GenerateError",
    "LandmarkError",
    "closing_line",
    "generate",
    "output_folder",
    "parse_code",
]
