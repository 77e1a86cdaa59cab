"""The part of a report that says how good a network is: results, slices, calibration, probes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from masktrain.calibration import BINS
from masktrain.document import Block, Heading, Paragraph, Picture, Table, parse
from masktrain.run_record import RunRecord, cell
from masktrain.slices import LEAST_FACES, ONLY_CLASS


def results(run: RunRecord) -> list[Block]:
    """Return how good it is on each set of faces it was judged on."""
    path = run.folder / "results.md"
    if not path.is_file():
        return [Heading("Results"), Paragraph("Nothing was evaluated yet.")]
    blocks = [Heading("Results"), *parse(path.read_text(encoding="utf-8"), run.folder)]
    for name, found in run.evaluations.items():
        blocks += [*_by_class(name, found), *_by_way(name, found)]
        for drawn, caption in (
            ("confusion_matrix.png", "counts of true and said classes"),
            ("roc.png", "ROC curve with its 95 % band"),
            ("pr.png", "precision-recall curve with its 95 % band"),
        ):
            if name == run.headline or drawn == "confusion_matrix.png":
                blocks += figure(run, f"eval/{name}/{drawn}", f"{name}: {caption}.")
    return blocks


def _by_class(name: str, found: Mapping[str, Any]) -> list[Block]:
    """Return precision, recall and area of each of three classes."""
    columns = ("precision", "recall", "roc_auc")
    rows: list[tuple[str, ...]] = [
        (row["name"], f"{row['n']:,}", *(cell(row[column]) for column in columns))
        for row in found.get("classes", ())
        if row["n"]
    ]
    head = ("class", "n", "precision", "recall", "ROC-AUC against the rest")
    return [Heading(f"{name}, by class", 3), Table(head, tuple(rows))] if rows else []


def _by_way(name: str, found: Mapping[str, Any]) -> list[Block]:
    """Return how masks worn in each way are told; of two classes, the ways that are neither."""
    rows = [
        (row["name"], f"{row['n']:,}", cell(row["class_right"]), cell(row["way_right"]))
        for row in found.get("ways", ())
    ]
    if rows:
        told = ("way to wear it", "n", "class said right", "way said right")
        return [Heading(f"{name}, by way to wear a mask", 3), Table(told, tuple(rows))]
    left_out = [
        (way, f"{row['n']:,}", cell(row["said_wearing_mask"]))
        for way, row in found.get("worn_incorrectly", {}).items()
    ]
    if not left_out:
        return []
    head = ("way to wear it", "n", "said to wear a mask")
    title = f"{name}, masks worn incorrectly, which are neither class"
    return [Heading(title, 3), Table(head, tuple(left_out))]


def slices(run: RunRecord) -> list[Block]:
    """Return how good it is on parts of each set of faces, where more than the class is known."""
    blocks: list[Block] = []
    for name in run.evaluations:
        path = run.folder / "eval" / name / "slices.md"
        text = path.read_text(encoding="utf-8") if path.is_file() else ONLY_CLASS
        if ONLY_CLASS not in text:  # the results say how good it is on each class
            blocks += [Heading(name, 3), *map(_of_size, parse(text, path.parent)[1:])]
            blocks.append(Paragraph(f"Smaller slices: `eval/{name}/slices.md`."))
            blocks += figure(run, f"eval/{name}/slices.png", f"{name}: share told right by slice.")
    return [Heading("Slices"), *blocks] if blocks else []


def _of_size(block: Block) -> Block:
    """Return a table of slices without the small ones, which say little; else the block."""
    if not isinstance(block, Table) or "n" not in block.head:
        return block
    column = block.head.index("n")
    rows = [row for row in block.rows if int(row[column].replace(",", "")) >= LEAST_FACES]
    return Table(block.head, tuple(rows))


def calibration(run: RunRecord) -> list[Block]:
    """Return how far the stated probabilities are those observed."""
    found = {
        name: record["calibration"]
        for name, record in run.evaluations.items()
        if "calibration" in record
    }
    if not found:
        return []
    rows = [
        (
            name,
            f"{one['n']:,}",
            cell(one["ece"]),
            "-" if one["temperature"] is None else f"{one['temperature']:.2f}",
            "-" if one["ece_tempered"] is None else cell(one["ece_tempered"]),
        )
        for name, one in found.items()
    ]
    head = ("faces", "n", "calibration error", "temperature", "error with it")
    fitted = {one["temperature_from"] for one in found.values() if one.get("temperature_from")}
    text = (
        "The mean gap between the probability that the network states and the share of cases in "
        f"which it is right, over {BINS} bins (ECE). The temperature was fitted on validation "
        f"scores alone ({', '.join(sorted(fitted)) or 'none were kept'}); it changes no "
        "answer at one half."
    )
    blocks: list[Block] = [Heading("Calibration"), Paragraph(text), Table(head, tuple(rows))]
    name = run.headline
    if name is not None:
        blocks += figure(run, f"eval/{name}/calibration.png", f"{name}: stated and observed.")
    return blocks


def figure(run: RunRecord, name: str, caption: str) -> list[Block]:
    """Return a picture of the run; nothing where it was not drawn."""
    path = run.folder / name
    return [Picture(path, caption)] if path.is_file() else []


def section_of(title: str, path: Path) -> list[Block]:
    """Return a file's own words under a heading; nothing where there is no such file."""
    if not path.is_file():
        return []
    return [Heading(title), *parse(path.read_text(encoding="utf-8"), path.parent)[1:]]


def probes(run: RunRecord) -> list[Block]:
    """Return what changes of bare faces make it see a mask."""
    return section_of("Shortcut probes", run.folder / "probes" / "probes.md")


def audit(run: RunRecord) -> list[Block]:
    """Return whether its data leak, where that was looked at (`audit --output <run>/audit`)."""
    return section_of("Leak audit", run.folder / "audit" / "audit.md")


def comparisons(run: RunRecord) -> list[Block]:
    """Return how it compares with other runs on the same faces, where that was asked."""
    blocks: list[Block] = []
    for path in sorted(run.folder.glob("compare/*/compare.md")):
        blocks += parse(path.read_text(encoding="utf-8"), path.parent, deeper=2)
    return [Heading("Comparisons"), *blocks] if blocks else []
