"""Photos -> masked photos and a manifest: parallel, resumable, nothing lost in silence."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from MaskTheFace.annotations import landmarks_csv, pictures, write_coco, write_yolo
from MaskTheFace.art import art_pictures
from MaskTheFace.batch import PhotoJob, load_art, mask_photos
from MaskTheFace.config import GenerateConfig, parse_code
from MaskTheFace.images import (
    fit_square,
    list_images,
    montage,
    read_image,
    relative_name,
    write_bytes,
    write_image,
)
from MaskTheFace.jobs import run_journalled
from MaskTheFace.landmarks import LandmarkError, read_landmarks
from MaskTheFace.manifest import Journal, ManifestRow, finished, write_manifest

SHEET_PAIRS, SHEET_COLUMNS, SHEET_PX = 24, 4, 192
"""A contact sheet: this many pairs at most, so many in a row, each picture so large."""


class GenerateError(ValueError):
    """Nothing can be generated; the message says what to do."""


def generate(config: GenerateConfig) -> list[ManifestRow]:
    """Mask every photo of a folder (or one photo), and write the manifest beside the results.

    Interrupted, the same command goes on where it stopped.

    Args:
        config: what to do.

    Returns:
        The manifest: at least one row for every photo, paths relative to the output folder.

    Raises:
        GenerateError: no such path, an empty folder, a full disk.
        LandmarkError: dlib is needed and missing, or the landmark file is bad.
        ArtError: the user's own art cannot be used.
    """
    if config.dry_run:
        raise GenerateError("a dry run writes nothing; ask plan() what would be done")
    jobs = find_jobs(config)
    try:
        journal = Journal(_journal_path(config, jobs))
        tell = _print_rows if config.verbose else None
        rows = run_journalled(mask_photos, jobs, journal, config.workers, "photos", tell)
        _write_by_products(config, jobs, rows)
        write_manifest(config.manifest_path, _rebased(rows, config))
        journal.remove()
    except OSError as error:
        raise GenerateError(
            f"{config.output_folder}: cannot be written ({error.strerror or error}); "
            "mend that, then run again"
        ) from None
    return rows


def find_jobs(config: GenerateConfig) -> list[PhotoJob]:
    """List the photos to mask, sorted, each with a name of its own for its output.

    Raises:
        GenerateError: no such path, or no photo there.
        LandmarkError: the landmark file is bad.
        ArtError: the user's own art cannot be used.
    """
    if not config.path.exists():
        raise GenerateError(f"{config.path}: no such file or folder; check the path")
    art = load_art(config.art) if config.art else ""
    folder = config.path if config.path.is_dir() else config.path.parent
    paths = list_images(folder) if config.path.is_dir() else [config.path]
    paths = _outside(paths, config.output_folder)
    if config.art and config.path.is_dir():
        paths = _without_art(paths, config.art)
    paths = paths[: config.limit]
    if not paths:
        raise GenerateError(f"{config.path}: no images in this folder; check the path")
    given = read_landmarks(config.landmarks) if config.landmarks else None
    jobs, stems = [], set[str]()
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
        jobs.append(PhotoJob(path, source, stem, config, faces, art))
    return jobs


def _outside(paths: Sequence[Path], output: Path) -> list[Path]:
    """Leave out the results of earlier runs, where the output lies among the photos."""
    output = output.resolve()
    here = {path.parent for path in paths}
    inside = {folder for folder in here if output in (real := folder.resolve(), *real.parents)}
    return [path for path in paths if path.parent not in inside]


def _without_art(paths: Sequence[Path], art: Path) -> list[Path]:
    """Leave out the user's own art, where it lies among the photos."""
    own = art_pictures(art)
    return [path for path in paths if path.suffix.lower() != ".png" or path.resolve() not in own]


def _journal_path(config: GenerateConfig, jobs: Sequence[PhotoJob]) -> Path:
    return config.output_folder / f".journal-{config.digest()}{jobs[0].art}.csv"


def _print_rows(job: PhotoJob, rows: Sequence[ManifestRow]) -> None:
    shown = dict.fromkeys(row.path or row.reason for row in rows)
    print(f"{job.source}: {', '.join(shown)}")


def _rebased(rows: Sequence[ManifestRow], config: GenerateConfig) -> Iterator[ManifestRow]:
    """Make paths relative to the folder that holds the manifest."""
    home, output = config.manifest_path.parent.resolve(), config.output_folder.resolve()
    for row in rows:
        if row.path and home != output:
            path = Path(os.path.relpath(output / row.path, home)).as_posix()
            row = dataclasses.replace(row, path=path)
        yield row


def _write_by_products(
    config: GenerateConfig, jobs: Sequence[PhotoJob], rows: Sequence[ManifestRow]
) -> None:
    """Write what is gathered from all photos: from rows alone, whoever drew them and when."""
    output = config.output_folder
    if config.write_landmarks:
        write_bytes(output / "landmarks.csv", landmarks_csv(rows).encode())
    if config.annotations:
        found = pictures(rows)
        if "yolo" in config.annotations:
            write_yolo(output, found)
        if "coco" in config.annotations:
            write_coco(output / "annotations.json", found)
    if config.contact_sheet is not None:
        sheet = contact_sheet(jobs, rows, output)
        if sheet is not None:
            write_image(config.contact_sheet, sheet)


def contact_sheet(
    jobs: Sequence[PhotoJob], rows: Sequence[ManifestRow], output: Path
) -> np.ndarray | None:
    """Lay pictures from all over the run out beside their bare photos.

    Args:
        jobs: where the bare photos are.
        rows: the manifest.
        output: where the pictures are.

    Returns:
        (H, W, 3) uint8 RGB, pairs of squares; None where nothing was masked.
    """
    paths = {job.source: job.path for job in jobs}
    masked = list({row.path: row.source for row in rows if row.template}.items())
    count = min(SHEET_PAIRS, len(masked))
    pairs = []
    for place in range(count):
        path, source = masked[place * len(masked) // count]
        both = [read_image(paths[source]), read_image(output / path)]
        pairs.append(montage([fit_square(image, SHEET_PX) for image in both], 2))
    return montage(pairs, min(SHEET_COLUMNS, count), pad_px=6) if pairs else None


def plan(config: GenerateConfig) -> str:
    """Say what ``generate`` would do, and write nothing.

    Raises:
        GenerateError: as ``generate``, before it writes.
        LandmarkError: the landmark file is bad.
        ArtError: the user's own art cannot be used.
    """
    jobs = find_jobs(config)
    done = finished(_journal_path(config, jobs))
    names = [
        f"{job.picture(wanted)}{job.suffix}" for job in jobs for wanted in config.wanted(job.rng())
    ]
    how = {"yes": "one a photo, not detected"}.get(config.aligned, "found by dlib")
    if config.landmarks:
        count = sum(len(job.faces or ()) for job in jobs)
        how = f"{count} given by {config.landmarks}"
    lines = [
        f"{len(jobs)} photos in {config.path}, {sum(job.source in done for job in jobs)} of them "
        "done by an interrupted run",
        f"{len(names)} pictures to {config.output_folder} (first: {names[0]})",
        f"masks: {', '.join(config.codes) or config.art or config.mask_type}; faces: {how}",
        f"manifest: {config.manifest_path}",
    ]
    if config.verbose:
        lines += [job.source for job in jobs if job.source not in done]
    return "\n".join([*lines, "nothing was written (--dry-run)"])


def closing_line(rows: Sequence[ManifestRow], config: GenerateConfig) -> str:
    """Say how many photos were masked, how many not, and why."""
    sources = {row.source for row in rows}
    good = {row.source for row in rows if row.path}
    count = f"{len(good)} of {len(sources)} photos masked"
    if len(good) < len(sources):
        count += f", {len(sources) - len(good)} not"
    place = f"{config.output_folder} ({config.manifest_path.name} lists every photo)"
    lines = [f"{count} -> {place}"]
    reasons: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for row in rows:
        if row.status != "ok":
            where = "with a face left bare" if row.source in good else "not"
            reasons[where, row.reason][row.source] = None
    for (where, reason), names in sorted(reasons.items(), key=lambda item: -len(item[1])):
        lines.append(f"  {len(names)} {where}: {reason} (first: {next(iter(names))})")
    return "\n".join(lines)


__all__ = [
    "GenerateConfig",
    "GenerateError",
    "LandmarkError",
    "closing_line",
    "generate",
    "parse_code",
    "plan",
]
