"""What must not stand in two splits: one person, one photo, or copies of one photo."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from MaskTheFace.manifest import ManifestRow
from masktrain.faces import first_copies


def find_leaks(rows: Sequence[ManifestRow]) -> list[str]:
    """Name whatever stands in more than one split: identities, photos, copies of one photo.

    Args:
        rows: a manifest.

    Returns:
        One sentence a leak; empty where there is none.
    """
    originals = _originals(rows)
    keys = {
        "identity": lambda row: row.identity,
        "photo": lambda row: originals.get(row.source, row.source),
    }
    leaks = []
    for what, key in keys.items():
        seen: dict[str, str] = {}
        for row in rows:
            value = key(row)
            if row.path and value and seen.setdefault(value, row.split) != row.split:
                leaks.append(
                    f"{what} {value} is in {seen[value]} and in {row.split} ({row.source})"
                )
    return leaks


def drop_copies(rows: Sequence[ManifestRow], folder: Path, bare: str) -> list[ManifestRow]:
    """Drop later copies of a photo: under two names one could stand on both sides of the split.

    Args:
        rows: a manifest, in the order of the photos.
        folder: holds the crops; those of copies are deleted.
        bare: label of the row that stays, without its crop, to say so.
    """
    originals = _originals(rows)
    kept = []
    for row in rows:
        original = originals.get(row.source, row.source)
        if original == row.source:
            kept.append(row)
            continue
        if row.path:
            (folder / row.path).unlink(missing_ok=True)
        if row.label == bare:
            reason = f"a copy of {original}; nothing to do"
            row = dataclasses.replace(row, path="", label="", status="skipped", reason=reason)
            kept.append(row)
    return kept


def _originals(rows: Iterable[ManifestRow]) -> dict[str, str]:
    """Map each source to the first source that shows the same photo."""
    codes = {row.source: row.fingerprint for row in rows if row.path and row.fingerprint}
    sources = list(codes)
    return {s: sources[i] for s, i in zip(sources, first_copies(list(codes.values())), strict=True)}
