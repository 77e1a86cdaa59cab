"""The manifest: a row for every output, and one for every input that gave none.

It is a CSV in UTF-8; paths use forward slashes and are relative to the folder that holds it. While
work is under way rows are appended to a journal beside it, so that an interrupted run loses
nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Literal

from MaskTheFace.images import write_bytes

MANIFEST = "manifest.csv"
"""Its name in a folder of outputs."""
Status = Literal["ok", "skipped", "failed"]


@dataclass(frozen=True)
class ManifestRow:
    """One output, or one input that gave none. All values are text, empty where none applies."""

    path: str = ""
    """The output file; empty where there is none."""
    source: str = ""
    """The input."""
    status: str = "ok"
    """ok; skipped: left out for the reason given; failed: could not be used."""
    reason: str = ""
    """Why there is no output, and what to do."""
    split: str = ""
    """train, val or test."""
    label: str = ""
    """Class name: no_mask or wearing_mask."""
    identity: str = ""
    """Whose face it is; faces of one identity share a split."""
    box_xyxy: str = ""
    """Face box in the source, pixels: x0 y0 x1 y1."""
    landmarks_how: str = ""
    """given, detected, aligned, canonical or model; see landmarks.py."""
    template: str = ""
    """The mask's art."""
    pattern: str = ""
    """The print on it."""
    held_out: str = ""
    """1 where template or pattern are kept from training."""
    style: str = ""
    """The whole MaskStyle as JSON: draws the same mask again."""
    wear: str = ""
    """How the mask is worn."""
    covered_nose: str = ""
    """Mean alpha over the tip of the nose, 0 to 1."""
    covered_mouth: str = ""
    """The same for the mouth."""
    covered_chin: str = ""
    """The same for the chin."""
    seed: str = ""
    """Seed of the run that drew it."""
    fingerprint: str = ""
    """256-bit difference hash of the bare crop; equal for copies of one photo."""
    size_wh: str = ""
    """Journal only: width and height of the output, pixels."""
    points: str = ""
    """Journal only: the 68 points in the output's pixels, x0 y0 x1 y1 ..."""
    hidden: str = ""
    """Journal only: 68 digits, 1 where fabric lies over the point."""


JOURNAL_COLUMNS = tuple(field.name for field in fields(ManifestRow))
COLUMNS = tuple(name for name in JOURNAL_COLUMNS if name not in ("size_wh", "points", "hidden"))
"""What a finished manifest holds: the rest has gone to files of its own by then."""


def write_manifest(
    path: Path, rows: Iterable[ManifestRow], columns: Sequence[str] = COLUMNS
) -> None:
    """Write all rows under a header, whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(map(attrgetter(*columns), rows))
    write_bytes(path, text.getvalue().encode())


def read_manifest(path: Path) -> list[ManifestRow]:
    """Read the rows of a manifest or of a journal.

    A last line that was cut off by a crash is left out, as are columns this version does not know.
    """
    # A crash may cut a character in two.
    with open(path, newline="", encoding="utf-8", errors="replace") as stream:
        records = list(csv.DictReader(stream))
    return [
        ManifestRow(**{name: record[name] for name in JOURNAL_COLUMNS if name in record})
        for record in records
        if None not in record.values()
    ]


def rows_by_path(folder: Path) -> dict[str, ManifestRow]:
    """Return the row of each output in a folder's manifest; empty where there is none."""
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    return {row.path: row for row in read_manifest(path) if row.path}


def finished(path: Path) -> dict[str, list[ManifestRow]]:
    """Return the rows of a journal by source, without the sources to be done again.

    Empty where there is no journal.
    """
    if not path.is_file():
        return {}
    rows = read_manifest(path)
    # Of the last source, rows may be missing; what failed may be mended by now.
    again = {row.source for row in rows[-1:]}
    again |= {r.source for r in rows if not (r.path and (path.parent / r.path).is_file())}
    done: dict[str, list[ManifestRow]] = {}
    for row in rows:
        if row.source not in again:
            done.setdefault(row.source, []).append(row)
    return done


class Journal:
    """Rows on disk as they come: what an interrupted run need not do again.

    Attributes:
        done: rows of an earlier run, by source, of every source whose outputs are all there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done = finished(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Rewritten whole first: a line cut off by a crash must not swallow the next one.
        known = (row for rows in self.done.values() for row in rows)
        write_manifest(path, known, JOURNAL_COLUMNS)
        self._stream = open(path, "a", newline="", encoding="utf-8")  # noqa: SIM115 - closed below
        self._writer = csv.writer(self._stream, lineterminator="\n")

    def add(self, rows: Iterable[ManifestRow]) -> None:
        """Append rows and hand them to the operating system."""
        self._writer.writerows(map(attrgetter(*JOURNAL_COLUMNS), rows))
        self._stream.flush()

    def close(self) -> None:
        """Close the file; it stays until ``remove``."""
        self._stream.close()

    def remove(self) -> None:
        """Close and delete the journal, once its rows are in a manifest."""
        self.close()
        self.path.unlink(missing_ok=True)


def format_box(box_xyxy: tuple[float, float, float, float]) -> str:
    """Return a box as manifests hold it: whole pixels, separated by spaces."""
    return " ".join(str(round(value)) for value in box_xyxy)
