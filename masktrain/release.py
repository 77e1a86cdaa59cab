"""Weights to hand on, with a card: ``python -m masktrain.release RUN --name NAME``.

Writes reports/weights/<name>/model.safetensors, half the size of best.pt, and README.md beside it.
Every command that takes --weights then takes the name, too.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from MaskTheFace.commands import run_command

# torch takes seconds to import: --help does without it.
if TYPE_CHECKING:
    from masktrain.document import Block
    from masktrain.run_record import RunRecord

CARD = "README.md"


class ReleaseError(ValueError):
    """Weights that cannot be handed on; the message says what to do."""


@dataclass(frozen=True)
class ReleaseConfig:
    """Write the best weights of a run in half precision, with a model card, under a name."""

    run: Annotated[Path, tyro.conf.Positional]
    """A run folder that was evaluated."""
    name: str
    """What the weights are to be called: letters, digits, - and _."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.name):
            raise ValueError(f"a name is of letters, digits, - and _, got {self.name!r}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return an exit code of `MaskTheFace.commands`."""
    return run_command("release", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    config = tyro.cli(ReleaseConfig, args=argv, prog="python -m masktrain.release")
    from masktrain.run_folder import RELEASES

    for path in release(config.run, config.name, RELEASES / config.name):
        print(path)
    return 0


def release(run: Path, name: str, folder: Path) -> tuple[Path, Path]:
    """Write weights and card into a folder of their own.

    Args:
        run: a run folder.
        name: what the card calls the weights.
        folder: where both go; what is there is replaced.

    Returns:
        The weights and the card.

    Raises:
        ReleaseError: nothing was evaluated yet, or the weights do not fit half precision.
        CheckpointError: best.pt is missing or damaged. ContentError: a file of the run is.
    """
    from MaskTheFace.images import write_bytes
    from masktrain.model import load_checkpoint
    from masktrain.run_folder import RELEASED, weights_file
    from masktrain.run_record import RunRecord
    from masktrain.tensors import DoesNotFitError, pack

    record = RunRecord(run, Path())
    if not record.evaluations:
        raise ReleaseError(f"{run} was judged on nothing yet: run masktrain.evaluate first")
    best = weights_file(run)
    checkpoint = load_checkpoint(best)
    try:
        packed = pack(checkpoint)
    except DoesNotFitError as error:
        raise ReleaseError(f"{best}: {error}") from None
    text = card(record, name, packed, checkpoint, folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / RELEASED, packed)
    write_bytes(folder / CARD, text.encode())
    return folder / RELEASED, folder / CARD


def card(
    record: RunRecord, name: str, packed: bytes, checkpoint: Mapping[str, Any], folder: Path
) -> str:
    """Return the card of weights as Markdown: what they are, hash, results, terms, how to judge."""
    from masktrain.document import Bullets, Code, Heading, Paragraph, Table, markdown, parse
    from masktrain.report_content import limits, model_card
    from masktrain.report_origin import data_sheet
    from masktrain.results_table import results_table
    from masktrain.run_folder import RELEASED

    file = [
        ("file", f"`{RELEASED}`, half precision; reading it runs no code"),
        ("size", f"{len(packed) / 1e6:.1f} MB"),
        ("SHA-256", f"`{hashlib.sha256(packed).hexdigest()}`"),
        ("threshold", f"{checkpoint['threshold']:g} ({checkpoint['threshold_from']})"),
        ("run", f"`{record.folder.resolve().name}`, commit {record.commits}"),
    ]
    blocks = [
        Heading(f"Weights: {name}", 1),
        Table(("what", "value"), tuple(file)),
        Paragraph("Judge them on face crops in `no_mask/` and `wearing_mask/`, or on photos:"),
        Code(
            f"python -m masktrain.evaluate --weights {name} --data real_crops/\n"
            f"python -m masktrain.predict --weights {name} --custom photos/\n"
            f"python -m masktrain.explain --weights {name} --data real_crops/"
        ),
        *model_card(record),
        Heading("Results of the run"),
        Paragraph("Of its weights in single precision; brackets hold 95 % intervals."),
        *parse(results_table(record.folder), record.folder),
        *_known_failures(record),
        *limits(record),
        *data_sheet(record),
        Heading("Terms"),
        Bullets(
            (
                "The weights carry the terms of the photos and points that they learned from, see "
                "the data sheet: with UTKFace among them, non-commercial research alone.",
                "The code is MIT.",
            )
        ),
    ]
    return markdown(blocks, folder)


def _known_failures(record: RunRecord) -> list[Block]:
    """Return what bare faces were taken for masked, where the run was probed."""
    from masktrain.document import Bullets, Heading, Paragraph
    from masktrain.run_record import cell

    if not (record.folder / "probes" / "probes.json").is_file():
        return []
    found = record.read("probes/probes.json")
    rows = [*found["probes"], *found["occluders"]]
    failed = [
        f"{row['name']}: {cell(row['after'])}, before {cell(row['before'])}"
        for row in rows
        if not row["passed"]
    ]
    text = (
        f"Of {len(rows)} changes that put no mask on, {len(failed)} raise the share of bare faces "
        "that are taken for masked by more than 2 points"
    )
    several = [Bullets(tuple(failed))] if failed else []
    return [
        Heading("Known failures"),
        Paragraph(text + (": share after the change, and before it." if failed else ".")),
        *several,
    ]


if __name__ == "__main__":
    sys.exit(main())
