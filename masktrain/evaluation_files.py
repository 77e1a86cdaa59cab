"""What an evaluation leaves behind: metrics.json, predictions.csv, slices, mistakes and figures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masktrain.calibration import Calibration
from masktrain.data import CLASSES, Crops
from masktrain.engine import AnyScores
from masktrain.metrics import Evaluation
from masktrain.multiclass import ClassEvaluation, ClassScores
from masktrain.slices import Slices
from masktrain.wrongly import Wrongly, rows_of


@dataclass(frozen=True)
class Result:
    """What an evaluation found, from what, and where it is written."""

    evaluation: Evaluation | ClassEvaluation
    scores: AnyScores
    crops: Crops
    ways: list[str]
    """How the mask of each crop is worn; empty where that is not known."""
    wrongly: Wrongly | None
    """What a network of two classes says of masks worn wrongly, where the folder has any."""
    slices: Slices
    calibration: Calibration
    identities: list[str] | None
    """Whose face each crop shows, where that is known."""
    source: dict[str, Any]
    """Weights, their hash, architecture and epoch, data and split: as metrics.json keeps them."""
    label: str
    """Short name of the faces, for figures and folders."""
    folder: Path


def write_result(result: Result) -> None:
    """Write figures, the worst mistakes, predictions.csv, slices.md and, when all else is there,
    metrics.json.

    Raises:
        OSError: a file cannot be written.
    """
    from MaskTheFace.images import write_bytes, write_image
    from masktrain.pictures import top_losses

    result.folder.mkdir(parents=True, exist_ok=True)
    # Of two evaluations no mixture must stay: what is stopped here has no numbers.
    (result.folder / "metrics.json").unlink(missing_ok=True)
    _write_figures(result)
    _write_predictions(result)
    write_bytes(result.folder / "slices.md", result.slices.markdown().encode())
    found = result.evaluation
    threshold = found.threshold if isinstance(found, Evaluation) else 0.5
    worst = top_losses(result.crops, result.scores, threshold)
    write_image(result.folder / "top_losses.jpg", worst)
    record = result.evaluation.to_dict() | result.source
    record["calibration"] = result.calibration.to_dict()
    record["slices"] = result.slices.to_dict()
    record["left_out"] = result.crops.left_out
    if result.wrongly is not None:
        record["worn_incorrectly"] = result.wrongly.to_dict()
    record["skipped"] = [{"path": p, "reason": why} for p, why in result.crops.skipped]
    text = json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False)
    write_bytes(result.folder / "metrics.json", (text + "\n").encode())


def _write_figures(result: Result) -> None:
    from masktrain import figures
    from masktrain.report import named_views
    from masktrain.resampling import Band, pr_band, roc_band

    curves = named_views(result.label, result.scores)

    def bands(kind: str) -> list[Band | None]:
        draw = {"roc": roc_band, "pr": pr_band}[kind]
        return [
            draw(scores, result.identities) if scores.both_classes else None for _, scores in curves
        ]

    drawn = {
        "confusion_matrix.png": figures.confusion_figure(result.evaluation, title=result.label),
        "roc.png": figures.roc_figure(curves, bands=bands("roc")),
        "pr.png": figures.pr_figure(curves, bands=bands("pr")),
        "calibration.png": figures.calibration_figure(curves),
        "slices.png": figures.slices_figure(result.slices),
    }
    for name, figure in drawn.items():
        figures.save_figure(figure, result.folder / name)


def _write_predictions(result: Result) -> None:
    """Write a row for each crop: what it is, what the network says, and what the person may do."""
    from MaskTheFace.images import write_bytes

    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(_prediction_rows(result))
    write_bytes(result.folder / "predictions.csv", table.getvalue().encode())


def _prediction_rows(result: Result) -> Iterator[tuple[object, ...]]:
    from MaskTheFace.wear import advice

    scores = result.scores
    labels = [CLASSES[label] for label in scores.labels]
    people = dict(zip(result.crops.paths, result.identities or ()))
    if isinstance(scores, ClassScores):
        yield "path", "label", "wear", "said", "said_wear", *CLASSES, "advice", "identity"
        told = zip(scores.said, scores.said_ways, scores.scores, strict=True)
        for crop, label, known, (said, way, chances) in zip(
            result.crops.paths, labels, result.ways, told, strict=True
        ):
            name = CLASSES[int(said)]
            hint, person = advice(name, way), people.get(crop, "")
            yield crop, label, known, name, way, *chances.tolist(), hint, person
        return
    assert isinstance(result.evaluation, Evaluation)
    yield "path", "label", "score", "advice", "identity"
    at = result.evaluation.threshold
    rows = list(zip(result.crops.paths, labels, scores.scores.tolist(), strict=True))
    rows += [(crop, CLASSES[2], score) for crop, score in rows_of(result.wrongly)]
    for crop, label, score in rows:
        yield crop, label, score, advice(CLASSES[int(score >= at)]), people.get(crop, "")
