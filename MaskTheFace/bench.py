"""``python -m MaskTheFace.bench``: how fast masks are put on, held against what bounds any tool.

Everything is timed on one core, in rounds, between two goes of the floors; ratios to the floors
travel from machine to machine, images a second do not. Only workers are timed by the wall clock.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from MaskTheFace import workload
from MaskTheFace.commands import run_command
from MaskTheFace.generate import generate
from MaskTheFace.images import write_bytes
from MaskTheFace.landmarks import LandmarkError
from MaskTheFace.stopwatch import Measured, measure
from MaskTheFace.workload import Sample

MEMORY = "{} px, memory to memory, landmarks known"
CROPS = "112 px aligned crops, landmarks fitted, file to file"
PHOTOS = "250 px photos, faces found, file to file"
REACH = {MEMORY.format(112): "2,500", CROPS: "1,000", PHOTOS: "200"}
"""Images a second on one core of a current server that are within reach."""
ORIGINAL = {CROPS: "50", PHOTOS: "20-26"}
"""Images a second of the original tool on a core of the same kind."""
FEWEST_PHOTOS = 20
"""``generate`` gives fewer photos to no other process."""


class BenchError(ValueError):
    """Nothing can be measured; the message says what to do."""


@dataclass(frozen=True)
class BenchConfig:
    """Measure how fast masks are put on; prints a table in Markdown."""

    photos: Path | None = None
    """A folder of photos of bare faces (needs dlib); drawn stand-ins unless given."""
    output: Path | None = None
    """Also write the table to this file, .md."""
    images: int = 96
    """Different faces; each is masked once in a round."""
    rounds: int = 9
    """How often everything is timed."""
    worker_photos: int = 400
    """Photos for one and for two workers."""
    quick: bool = False
    """A few images, once or twice: to see that it runs, not how fast."""

    def __post_init__(self) -> None:
        for name, least in (("images", 1), ("rounds", 1), ("worker_photos", 2 * FEWEST_PHOTOS)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")

    def sized(self) -> BenchConfig:
        """Return the settings with ``quick`` applied."""
        if not self.quick:
            return self
        return dataclasses.replace(self, images=4, rounds=2, worker_photos=2 * FEWEST_PHOTOS)


def bench(config: BenchConfig) -> str:
    """Measure everything, and return the report in Markdown.

    Raises:
        BenchError: no face in the photos.
        ImageError: no such folder of photos.
        LandmarkError: photos are given, and dlib or its model is missing.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return _report(config.sized())
    finally:
        cv2.setNumThreads(threads)


def _report(config: BenchConfig) -> str:
    faces = {112: workload.standins(config.images, 112), 250: workload.standins(config.images, 250)}
    what = f"{config.images} drawn stand-in faces, shaded and textured; no photos (--photos DIR)"
    if config.photos is not None:
        found, seen = workload.photo_faces(config.photos, config.images)
        if not found:
            raise BenchError(f"{config.photos}: no face found in {seen} photos; give others")
        faces = {side: [workload.framed(face, side) for face in found] for side in (112, 250)}
        what = f"{len(found)} faces from {seen} photos, one a photo, framed alike"
    if config.quick:
        what += ". Quick: too few to tell how fast"
    with tempfile.TemporaryDirectory() as folder:
        return "\n".join(
            [
                "# Speed of MaskTheFace",
                "",
                f"{_machine()}.",
                f"Pictures: {what}.",
                f"One core, one process, processor time; medians of {config.rounds} rounds "
                "(least - most), each work between two goes of the floors.",
                "",
                *_works(faces, Path(folder), config.rounds),
                "",
                *_layers(faces[112], config.rounds),
                "",
                *_workers(faces[250], Path(folder), config),
                "",
            ]
        )


def _machine() -> str:
    cpu = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    versions = [f"Python {platform.python_version()}", f"NumPy {np.__version__}"]
    versions.append(f"OpenCV {cv2.__version__}")
    for package in ("dlib", "dlib-bin"):
        try:
            versions.append(f"dlib {importlib.metadata.version(package)}")
            break
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"{cpu}, {os.cpu_count()} cores; {', '.join(versions)}"


def _works(faces: dict[int, list[Sample]], folder: Path, rounds: int) -> Iterator[str]:
    """Measure whole ways, from memory or file to memory or file; returns lines of the report."""
    start = time.perf_counter()
    notes, works = [], {}
    floors = {
        side: [workload.jpeg_floor(some), workload.warp_floor(some)] for side, some in faces.items()
    }
    for side, name in ((112, CROPS), (250, PHOTOS)):
        memory = workload.memory_work(MEMORY.format(side), faces[side])
        for work in (memory, *floors[side]):
            work.run()
        works[side] = [memory]
        photos = folder / f"photos{side}"
        workload.write_photos(photos, faces[side], len(faces[side]))
        settings = workload.random_masks(photos, folder / f"masked{side}", aligned=side == 112)
        try:
            work, rows = workload.file_work(name, settings)
        except LandmarkError as error:
            notes.append(f"Not measured: {name} ({error}).")
            continue
        works[side].append(work)
        masked = len({row.source for row in rows if row.path})
        how = ", ".join(sorted({row.landmarks_how for row in rows if row.path}))
        notes.append(f"{name}: {masked} of {work.count} masked (landmarks: {how or 'none'}).")
    notes.append(
        f"Warm-up, not counted: {time.perf_counter() - start:.1f} s for templates, folds and "
        "prints drawn once, and dlib's models read."
    )
    measured = {side: measure(works[side], floors[side], rounds) for side in works}
    yield from _floor_table(measured)
    yield ""
    yield "| work | images/s | x JPEG floor | x warp floor | within reach | original tool |"
    yield "|---|---|---|---|---|---|"
    for side, results in measured.items():
        for one in results[: len(works[side])]:
            ratios = [_spread(one.ratios[:, place], "{:.2f}") for place in range(2)]
            yield (
                f"| {one.name} | {_spread(one.rates, '{:,.0f}')} | {' | '.join(ratios)} | "
                f"{REACH.get(one.name, '')} | {ORIGINAL.get(one.name, '')} |"
            )
    yield ""
    yield "Times the floor's time; within reach and original tool: images/s a core, for comparison."
    yield from notes


def _floor_table(measured: dict[int, list[Measured]]) -> Iterator[str]:
    yield "| floor | us an image | images/s |"
    yield "|---|---|---|"
    for side, results in measured.items():
        for floor in results[-2:]:
            micro = _spread(1e6 * floor.seconds, "{:,.0f}")
            yield f"| {floor.name}, {side} px | {micro} | {_spread(floor.rates, '{:,.0f}')} |"


def _layers(faces: Sequence[Sample], rounds: int) -> Iterator[str]:
    """Measure what each layer of looks costs at 112 px; returns lines of the report."""
    full, works = workload.layer_works(faces)
    works.append(workload.style_work(len(faces)))
    for work in (full, *works):
        work.run()
    *measured, whole = measure(works, [full], rounds)
    yield "| looks at 112 px | us a face | share of every layer on | the layer costs, us |"
    yield "|---|---|---|---|"
    yield f"| {whole.name} | {_spread(1e6 * whole.seconds, '{:,.0f}')} | 1 | |"
    for one in measured:
        share = one.ratios[:, 0]
        cost = "" if one is measured[-1] else f"{1e6 * _cost(whole, share):+,.0f}"
        micro = _spread(1e6 * one.seconds, "{:,.0f}")
        yield f"| {one.name} | {micro} | {_spread(share, '{:.2f}')} | {cost} |"


def _cost(whole: Measured, share: np.ndarray) -> float:
    return float(np.median(whole.seconds) * (1 - np.median(share)))


def _workers(faces: Sequence[Sample], folder: Path, config: BenchConfig) -> Iterator[str]:
    """Measure ``generate`` with 1 and 2 processes; returns lines of the report.

    What a run costs before its first photo and what each photo costs are told apart by runs over
    half of the photos and over all.
    """
    if (os.cpu_count() or 1) < 2:
        yield "Workers: not measured, one core only."
        return
    photos = folder / "workers"
    workload.write_photos(photos, faces, config.worker_photos)
    rounds = 1 if config.quick else 3
    half = config.worker_photos // 2
    seconds = np.empty((rounds, 2, 2))
    try:
        for one_round in range(rounds):
            for place, (workers, limit) in enumerate(
                (workers, limit) for workers in (1, 2) for limit in (half, 2 * half)
            ):
                output = folder / f"workers-{one_round}-{place}"
                settings = workload.random_masks(photos, output, aligned=False)
                start = time.perf_counter()
                generate(dataclasses.replace(settings, workers=workers, limit=limit))
                seconds[one_round].flat[place] = time.perf_counter() - start
    except LandmarkError as error:
        yield f"Workers: not measured ({error})."
        return
    # Noise can make a start look negative, or half of the work free.
    a_photo = np.maximum(seconds[:, :, 1] - seconds[:, :, 0], 1e-6) / half
    start_up = np.maximum(2 * seconds[:, :, 0] - seconds[:, :, 1], 0)
    yield f"| generate, {2 * half} photos of 250 px | images/s | start-up, s |"
    yield "|---|---|---|"
    for place, name in enumerate(("1 worker", "2 workers")):
        rates = _spread(1 / a_photo[:, place], "{:,.0f}")
        yield f"| {name} | {rates} | {_spread(start_up[:, place], '{:.2f}')} |"
    ratio = _spread(a_photo[:, 0] / a_photo[:, 1], "{:.2f}")
    yield ""
    yield f"Two workers are {ratio} times as fast as one, by the wall clock, start-up left out."


def _spread(values: np.ndarray, form: str) -> str:
    low, middle, high = (form.format(value) for value in np.percentile(values, (0, 50, 100)))
    return f"{middle} ({low} - {high})"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 1 where nothing can be measured."""
    return run_command("MaskTheFace.bench", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    import tyro

    config = tyro.cli(BenchConfig, args=argv, prog="python -m MaskTheFace.bench")
    report = bench(config)
    if config.output is not None:
        write_bytes(config.output, report.encode())
    print(report, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
