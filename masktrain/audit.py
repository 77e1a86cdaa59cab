"""Does anything leak between the splits? ``python -m masktrain.audit --data DIR [--against DIR]``.

Looks for near copies across splits, and in another folder such as a real test set, by perceptual
hash; then trains a small network twice: on the honest split, and on a naive one that deals the same
crops out at random, so that people and photos stand on both sides. How much better the naive one
looks is what a leak would be worth. Writes audit.md and audit.json into the data folder; with
--output RUN/audit into that of a run, whose report shows them.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from MaskTheFace.commands import run_command
from masktrain.config import TrainConfig

# torch and scikit-learn take seconds to import: --help does without them.
if TYPE_CHECKING:
    from masktrain.data import Crops
    from masktrain.metrics import Interval

SHOWN = 10
"""Copies of each folder that are named; audit.json has all."""
LIMIT = (
    "A copy is found where both show about the same part of the photo, whatever their size and "
    "compression. One that was cut out some per cent larger or aside, or mirrored, is not."
)


@dataclass(frozen=True)
class AuditConfig:
    """Look for leaks in prepared data, and measure what a naive split would have claimed."""

    data: Path
    """A folder that masktrain.prepare wrote."""
    against: tuple[Path, ...] = ()
    """Other folders of crops that must not hold copies of it: real photos that judge."""
    epochs: int = 4
    """Passes of the two short trainings; 0: only look for copies."""
    output: Path | None = None
    """Folder to write; by default the data folder."""
    device: str = "auto"
    """auto (cuda if there is one), cpu, cuda, cuda:1, mps ..."""
    seed: int = 0
    """Seed of the naive split and of both trainings."""

    def __post_init__(self) -> None:
        """Check the values; raise ValueError naming the field, the rule and the value."""
        for name in ("epochs", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class Copies:
    """Near copies of the data's photos somewhere else."""

    where: str
    n: int
    """Photos looked at there."""
    pairs: tuple[tuple[str, str], ...]
    """A photo of the data and its copy."""


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        copies: across the splits, then in every other folder.
        honest: ROC-AUC on the validation split as prepared; None where nothing was trained.
        naive: on as many crops dealt out at random.
    """

    copies: tuple[Copies, ...]
    honest: Interval | None
    naive: Interval | None

    @property
    def clean(self) -> bool:
        """Whether there are no copies anywhere."""
        return not any(found.pairs for found in self.copies)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that strict JSON accepts."""
        from masktrain.metrics import json_safe

        record: dict[str, Any] = json_safe(asdict(self))
        return record | {"clean": self.clean}

    def markdown(self) -> str:
        """Return what a person reads."""
        lines = ["# Leak audit", "", "| where | photos | near copies |", "|---|---|---|"]
        lines += [f"| {one.where} | {one.n:,} | {len(one.pairs)} |" for one in self.copies]
        lines += ["", LIMIT]
        pairs = [pair for one in self.copies for pair in one.pairs[:SHOWN]]
        if pairs:
            lines += ["", *(f"- {first}: {second}" for first, second in pairs)]
        if self.honest is not None and self.naive is not None:
            lines += [
                "",
                "| split | ROC-AUC of a small network on its validation crops |",
                "|---|---|",
                f"| honest: by identity, before masks are drawn | {self.honest.cell()} |",
                f"| naive: crops dealt out at random | {self.naive.cell()} |",
                "",
                "What the naive split adds is no skill: people, and twins of one photo, stand on "
                "both sides of it.",
            ]
        return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 where copies were found, else as `MaskTheFace.commands`."""
    return run_command("audit", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    import tyro

    from MaskTheFace.images import write_bytes

    config = tyro.cli(AuditConfig, args=argv, prog="python -m masktrain.audit")
    found = audit(config)
    folder = config.output or config.data
    text = json.dumps(found.to_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_bytes(folder / "audit.json", text.encode())
    write_bytes(folder / "audit.md", found.markdown().encode())
    print(found.markdown())
    print(f"written to {folder}")
    return 0 if found.clean else 1


def audit(config: AuditConfig) -> Audit:
    """Look for copies and train the two networks; nothing is written.

    Raises:
        DataError: the folder was not prepared, or crops are missing.
        ValueError: the device cannot be used.
    """
    own, splits = _prints(config.data)
    copies = [Copies("between the splits", len(own), _across(own, splits))]
    for folder in config.against:
        other = _prints_of_folder(folder)
        copies.append(Copies(folder.name, len(other), _shared(own, other)))
    if not config.epochs:
        return Audit(tuple(copies), None, None)
    honest, naive = (_trained(config, crops) for crops in _both_splits(config))
    return Audit(tuple(copies), honest, naive)


Prints = dict[str, str]
"""Path to the fingerprint of `faces.fingerprint`."""


def _prints(data: Path) -> tuple[Prints, dict[str, str]]:
    """Return fingerprint and split of each bare crop, from the manifest."""
    from MaskTheFace.manifest import MANIFEST, read_manifest
    from masktrain.data import CLASSES, DataError

    path = data / MANIFEST
    if not path.is_file():
        raise DataError(f"{data} has no {MANIFEST}: give a folder that masktrain.prepare wrote")
    rows = [row for row in read_manifest(path) if row.path and row.label == CLASSES[0]]
    prints = {row.path: row.fingerprint for row in rows if row.fingerprint}
    return prints, {row.path: row.split for row in rows}


def _prints_of_folder(folder: Path) -> Prints:
    from MaskTheFace.images import ImageError, list_images, read_image, relative_name
    from masktrain.faces import fingerprint

    prints = {}
    for path in list_images(folder):
        try:
            prints[relative_name(path, folder)] = fingerprint(read_image(path))
        except ImageError:
            continue  # what cannot be read is no copy
    return prints


def _across(prints: Prints, splits: dict[str, str]) -> tuple[tuple[str, str], ...]:
    from masktrain.faces import first_copies

    names = list(prints)
    pairs = []
    for place, first in enumerate(first_copies(list(prints.values())) if names else []):
        if splits[names[first]] != splits[names[place]]:
            pairs.append((names[first], names[place]))
    return tuple(pairs)


def _shared(own: Prints, other: Prints) -> tuple[tuple[str, str], ...]:
    from masktrain.faces import first_copies

    names = [*own, *other]
    first = first_copies([*own.values(), *other.values()]) if names else []
    return tuple(
        (names[first[place]], names[place])
        for place in range(len(own), len(names))
        if first[place] < len(own)
    )


def _both_splits(config: AuditConfig) -> tuple[dict[str, Crops], dict[str, Crops]]:
    """Return train and val as they are, and the same crops dealt out at random."""
    from masktrain.data import load_crops

    train, val = (load_crops(config.data, split) for split in ("train", "val"))
    images = np.concatenate([train.images, val.images])
    labels = np.concatenate([train.labels, val.labels])
    paths = np.array([*train.paths, *val.paths])
    order = np.random.default_rng(config.seed).permutation(len(labels))

    def dealt(chosen: np.ndarray) -> Crops:
        chosen = np.sort(chosen)
        return dataclasses.replace(
            train, images=images[chosen], labels=labels[chosen], paths=tuple(paths[chosen])
        )

    naive = {"train": dealt(order[len(val) :]), "val": dealt(order[: len(val)])}
    return {"train": train, "val": val}, naive


def _trained(config: AuditConfig, crops: dict[str, Crops]) -> Interval:
    """Train a small network; return its ROC-AUC on the validation crops after the last epoch."""
    from masktrain.engine import collect_scores, pick_device
    from masktrain.metrics import Scores, evaluate_scores
    from masktrain.plans import RECIPE
    from masktrain.session import build_session

    recipe: TrainConfig = dataclasses.replace(
        RECIPE, model="mobilenet_v3_small", epochs=config.epochs, seed=config.seed
    )
    session = build_session(recipe, config.data, pick_device(config.device), crops)
    for epoch in range(1, config.epochs + 1):
        session.train_epoch(epoch)
    scores = collect_scores(session.net, session.evals["val"], session.device, session.precision)
    assert isinstance(scores, Scores)
    return evaluate_scores(scores).roc_auc


if __name__ == "__main__":
    sys.exit(main())
