"""Bare faces -> data/<name>/{train,val,test}/{no_mask,wearing_mask}/ and a manifest, with no leak.

Identities are split first; then each face is cropped, masked, and both twins are written by the
same encoder into the same split. ``python -m masktrain.prepare`` is the command.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from MaskTheFace.commands import run_command
from MaskTheFace.coverage import WORN, WRONG, WRONGLY
from MaskTheFace.images import (
    encode_image,
    montage,
    read_image,
    write_bytes,
    write_image,
)
from MaskTheFace.jobs import one_by_one, run_journalled
from MaskTheFace.manifest import (
    MANIFEST,
    Journal,
    ManifestRow,
    format_box,
    read_manifest,
    write_manifest,
)
from MaskTheFace.overlay import Masked, overlay_mask
from MaskTheFace.style import MaskStyle
from MaskTheFace.wear import sample_wear, worn
from masktrain.config import SETTINGS, PrepareConfig, parse_prepare
from masktrain.faces import (
    BUILT_IN,
    FaceCrop,
    FaceRef,
    fingerprint,
    list_faces,
    open_face,
    source_name,
    stable_hash,
)
from masktrain.leaks import drop_copies, find_leaks
from masktrain.styles import draw_style, is_held_out

BARE, MASKED = "no_mask", "wearing_mask"
LABELS = (BARE, MASKED, WRONGLY)
ATTEMPTS = 8
"""So often a face is given another wrongly worn mask before it goes without."""
CROWD, CROWD_SHARE = 200, 0.1
"""A folder of more photos, and of more than this share, hardly shows one person (LFW has 530 of
its best known, 4 %)."""
SPLITS = ("train", "val", "test")
LANDMARKS = "landmarks.csv"
"""The 68 points of every bare crop, in its pixels, as `MaskTheFace.landmarks` reads them."""
DATA_VERSION = 6
"""Raised when the same settings would give other crops: data of an older version is refused."""


NOT_WRONG = "no wrongly worn mask would show in the crop of this face; nothing to do"


class PrepareError(ValueError):
    """Data that cannot be prepared; the message says what to do."""


@dataclass(frozen=True)
class FaceJob:
    """One face with everything a worker needs to know about it."""

    ref: FaceRef
    split: str
    folder: Path
    config: PrepareConfig

    @property
    def source(self) -> str:
        """What the manifest calls the face."""
        return self.ref.source


def prepare(config: PrepareConfig) -> Path:
    """Prepare a data folder, or return at once where it is there already.

    An interrupted run goes on where it stopped. The bytes written depend on the settings and the
    photos, never on the number of workers.

    Args:
        config: what to prepare.

    Returns:
        The data folder.

    Raises:
        FaceError: no faces. PrepareError: the folder holds other data; too few faces; a leak.
        ValueError: a mask type that does not exist.
    """
    folder = config.output or default_folder(config)
    if _already_prepared(folder, config):
        _refuse_new_photos(folder, config)
        return folder
    refs = list_faces(config.faces, config.seed, config.limit)
    _warn_of_crowds(refs)
    splits = split_identities([ref.identity for ref in refs], config)
    jobs = [FaceJob(ref, splits[ref.identity], folder, config) for ref in refs]
    _style_for(jobs[0])  # refuses unknown mask types before anything is written
    try:
        _write_all(jobs, folder, config)
    except OSError as error:
        raise PrepareError(
            f"{folder}: cannot be written ({error.strerror or error}); mend that, then run again"
        ) from None
    return folder


def _warn_of_crowds(refs: Sequence[FaceRef]) -> None:
    """Say so where a folder of hundreds would pass as one person: its photos share a split."""
    (name, most), *_ = Counter(ref.identity for ref in refs).most_common(1)
    if most > CROWD and most > CROWD_SHARE * len(refs):
        warnings.warn(
            f"{name}/ holds {most:,} of {len(refs):,} photos and counts as one person, as every "
            "folder does; if it shows many, put their photos into the folder above it",
            stacklevel=3,
        )


def _write_all(jobs: Sequence[FaceJob], folder: Path, config: PrepareConfig) -> None:
    """Write settings, crops and, once all is checked, the manifest that marks them complete."""
    write_bytes(_settings_path(folder), _settings(config).encode())
    journal = Journal(folder / ".journal.csv")
    pairs = partial(one_by_one, make_pair)
    rows = drop_copies(run_journalled(pairs, jobs, journal, config.workers, "masks"), folder, BARE)
    leaks = find_leaks(rows)
    if leaks:
        raise PrepareError(f"{folder}: {leaks[0]}; report this, the data must not be used")
    if not any(row.path for row in rows):
        raise PrepareError(f"{folder}: no face could be used; the first reason: {rows[0].reason}")
    write_samples(folder, rows)
    write_bytes(folder / LANDMARKS, _landmarks_csv(rows).encode())
    write_manifest(folder / MANIFEST, rows)
    journal.remove()


def default_folder(config: PrepareConfig) -> Path:
    """Return data/<name>, named after the source, the third class and the limit."""
    name = source_name(config.faces) + ("-wear" if config.wear else "")
    return Path("data") / (f"{name}-{config.limit}" if config.limit else name)


def split_identities(identities: Iterable[str], config: PrepareConfig) -> dict[str, str]:
    """Give every identity to one split, by a hash of its name.

    Args:
        identities: one a face; people may come more than once.
        config: ``seed``, ``val_share`` and ``test_share`` are used.

    Raises:
        PrepareError: fewer identities than splits.
    """
    people = sorted(set(identities), key=lambda name: stable_hash(config.seed, f"split:{name}"))
    shares = {"test": config.test_share, "val": config.val_share}
    counts = {
        split: max(1, round(share * len(people))) for split, share in shares.items() if share > 0
    }
    if len(people) <= sum(counts.values()):
        raise PrepareError(
            f"{len(people)} people are too few to split; give at least 10 bare faces "
            "(a sub-folder counts as one person)"
        )
    order = [split for split, count in counts.items() for _ in range(count)]
    order += ["train"] * (len(people) - len(order))
    return dict(zip(people, order, strict=True))


def _settings(config: PrepareConfig) -> str:
    """Return what the data depends on, as JSON: all settings but where and how fast."""
    values = dataclasses.asdict(config)
    for name in ("output", "workers"):
        del values[name]
    faces = os.path.normpath(config.faces)
    if faces in BUILT_IN and config.faces not in BUILT_IN:
        faces = os.path.join(".", faces)  # a folder of the user's that has their name
    values |= {"faces": faces, "version": DATA_VERSION}
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


def _settings_path(folder: Path) -> Path:
    return folder / SETTINGS


def _already_prepared(folder: Path, config: PrepareConfig) -> bool:
    """Tell whether the folder holds just this data; raise where it holds other data."""
    if folder.exists() and not folder.is_dir():
        raise PrepareError(f"{folder}: is a file; give another --output")
    settings = _settings_path(folder)
    if settings.is_file() and settings.read_text(encoding="utf-8") != _settings(config):
        raise PrepareError(
            f"{folder}: was prepared with other settings or an older version; "
            "delete it, or prepare with another --output and train with --data"
        )
    if not settings.is_file() and folder.is_dir() and any(folder.iterdir()):
        raise PrepareError(
            f"{folder}: holds files that prepare did not write; give another --output"
        )
    return (folder / MANIFEST).is_file()


def _refuse_new_photos(folder: Path, config: PrepareConfig) -> None:
    """Say so where photos have been added since; one taken away leaves its crops as they are, and
    data that hold as many as the limit allows need no more."""
    if config.faces in BUILT_IN or not Path(config.faces).is_dir():
        return
    known = {row.source for row in read_manifest(folder / MANIFEST)}
    refs = list_faces(config.faces, config.seed, config.limit)
    new = [ref.source for ref in refs if ref.source not in known]
    if new and not (config.limit and len(known) >= config.limit):
        raise PrepareError(
            f"{folder}: {len(new):,} photos, such as {new[0]}, have been added to {config.faces} "
            "since it was prepared; delete it, or prepare with another --output"
        )


def make_pair(job: FaceJob) -> list[ManifestRow]:
    """Crop one face, mask it, write both twins; return their rows, or one that says why not."""
    config = job.config
    try:
        face = open_face(job.ref, config.crop_px, config.aligned)
        style = _style_for(job)
        masked = overlay_mask(face.image, face.landmarks, style)
    except (ValueError, cv2.error) as error:
        reason = str(error).replace(f"{job.ref.path}: ", "")
        return [_row(job, status="failed", reason=reason)]
    if masked.wear not in WORN:
        reason = "the mask would not cover nose and mouth on this pose; nothing to do"
        return [_row(job, status="skipped", reason=reason, box_xyxy=format_box(face.box_xyxy))]
    rows = _write_twins(job, face, masked, style)
    return rows + _wrongly_worn(job, face, style) if config.wear else rows


def _style_for(job: FaceJob) -> MaskStyle:
    rng = np.random.default_rng(stable_hash(job.config.seed, f"style:{job.ref.source}"))
    return draw_style(rng, job.split, job.config.mask_types, job.config.without)


def _write_twins(
    job: FaceJob, face: FaceCrop, masked: Masked, style: MaskStyle
) -> list[ManifestRow]:
    return [
        _write_crop(job, face, BARE, face.image),
        _write_crop(job, face, MASKED, masked.image, **_mask_facts(masked, style)),
    ]


def _wrongly_worn(job: FaceJob, face: FaceCrop, style: MaskStyle) -> list[ManifestRow]:
    """Write the same mask worn wrongly; what the picture shows decides whether it is."""
    rng = np.random.default_rng(stable_hash(job.config.seed, f"wear:{job.ref.source}"))
    for _ in range(ATTEMPTS):
        slipped = worn(style, sample_wear(rng, style.template), rng)
        with suppress(ValueError, cv2.error):  # drawn again
            masked = overlay_mask(face.image, face.landmarks, slipped)
            if masked.wear in WRONG:
                facts = _mask_facts(masked, slipped)
                return [_write_crop(job, face, WRONGLY, masked.image, **facts)]
    return [_row(job, status="skipped", label=WRONGLY, reason=NOT_WRONG)]


def _write_crop(
    job: FaceJob, face: FaceCrop, label: str, image: np.ndarray, **facts: str
) -> ManifestRow:
    path = f"{job.split}/{label}/{job.ref.key}.jpg"
    write_bytes(job.folder / path, encode_image(".jpg", image, job.config.quality))
    return _row(
        job,
        path=path,
        label=label,
        box_xyxy=format_box(face.box_xyxy),
        landmarks_how=face.landmarks.how,
        fingerprint=fingerprint(face.image),
        points=" ".join(map(str, face.landmarks.xy.ravel())),
        **facts,
    )


def _mask_facts(masked: Masked, style: MaskStyle) -> dict[str, str]:
    return {
        "template": style.template,
        "pattern": style.pattern or "",
        "held_out": str(int(is_held_out(style))),
        "style": style.to_json(),
        "wear": masked.wear,
        "covered_nose": f"{masked.covered.nose:.3f}",
        "covered_mouth": f"{masked.covered.mouth:.3f}",
        "covered_chin": f"{masked.covered.chin:.3f}",
    }


def _landmarks_csv(rows: Iterable[ManifestRow]) -> str:
    """Return the points of every bare crop as `MaskTheFace.landmarks.read_landmarks` reads them."""
    lines = [["file", *(f"{axis}{i}" for i in range(68) for axis in "xy")]]
    lines += [[row.path, *row.points.split()] for row in rows if row.path and row.label == BARE]
    return "".join(",".join(line) + "\n" for line in lines)


def _row(job: FaceJob, **values: str) -> ManifestRow:
    known = {"source": job.ref.source, "identity": job.ref.identity, "split": job.split}
    return ManifestRow(**{**known, "seed": str(job.config.seed), **values})


def summarize(folder: Path) -> str:
    """Return what a prepared folder holds and what was left out, in a few lines."""
    rows = read_manifest(folder / MANIFEST)
    lines = [f"{folder}: {sum(1 for row in rows if row.path)} crops, no leak found"]
    labels = LABELS[: 3 if any(row.label == WRONGLY and row.path for row in rows) else 2]
    for split in SPLITS:
        here = [row for row in rows if row.split == split and row.path]
        people = len({row.identity for row in here})
        counts = ", ".join(f"{sum(row.label == name for row in here)} {name}" for name in labels)
        lines.append(f"  {split:5s} {counts}, of {people} people")
    used = {row.source for row in rows if row.path}
    out = [row for row in rows if row.source not in used]
    lacking = [row for row in rows if row.source in used and not row.path]
    if lacking:
        lines.append(f"  {len(lacking)} faces without {WRONGLY}: {lacking[0].reason}")
    if out:
        lines.append(
            f"  {len(out)} photos gave nothing; manifest.csv says why, the first: {out[0].source}"
        )
        lines.append(f"    {out[0].reason}")
    lines.append(f"  look at {folder / 'samples.jpg'} before you train")
    return "\n".join(lines)


def write_samples(folder: Path, rows: Sequence[ManifestRow], columns: int = 10) -> Path:
    """Write samples.jpg: bare faces in one row, their masked twins below, then those with a mask
    worn wrongly; two such groups."""
    pairs: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        if row.path:
            pairs[row.source][row.label] = row.path
    whole = max(len(pair) for pair in pairs.values())
    chosen = [pair for pair in pairs.values() if len(pair) == whole][: 2 * columns]
    sheet = []
    for start in range(0, len(chosen), columns):
        for label in LABELS:
            if not all(label in pair for pair in chosen):
                continue
            line = [read_image(folder / pair[label]) for pair in chosen[start : start + columns]]
            blank = [np.full_like(line[0], 255)] * (columns - len(line))
            sheet += line + blank
    path = folder / "samples.jpg"
    write_image(path, montage(sheet, columns))
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command("prepare", lambda: _run(argv), "the same command goes on from here")


def _run(argv: Sequence[str] | None) -> int:
    print(summarize(prepare(parse_prepare(argv))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
