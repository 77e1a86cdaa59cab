"""Measure a checkpoint on a folder of crops: ``python -m masktrain.evaluate --weights F --data D``.

The folder has no_mask/ and wearing_mask/ (and worn_incorrectly/: a class for networks of three,
reported apart by those of two), or a prepared data set's train/, val/ and test/ with
these inside. Threshold and preprocessing come from the checkpoint. Writes metrics.json,
predictions.csv and four figures, and prints the same numbers.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from MaskTheFace.commands import run_command

# torch, matplotlib and scikit-learn take seconds to import: --help does without them.
if TYPE_CHECKING:
    import torch

    from masktrain.data import Crops
    from masktrain.engine import AnyScores
    from masktrain.metrics import Evaluation
    from masktrain.model import Classifier
    from masktrain.multiclass import ClassEvaluation
    from masktrain.wrongly import Wrongly

SHOWN_SKIPPED = 10


@dataclass(frozen=True)
class EvaluateConfig:
    """Measure a trained classifier on crops whose labels are known."""

    weights: Path
    """A checkpoint, or a run folder (its weights/best.pt)."""
    data: Path
    """Folder of crops: no_mask/ and wearing_mask/, or prepared data with these in each split."""
    split: str | None = None
    """train, val or test of prepared data; by default test if there is one, else the folder."""
    output: Path | None = None
    """Folder to write; by default <run folder>/eval/<data name>-<split>."""
    threshold: float | None = None
    """Score from which on a face counts as masked; by default the checkpoint's."""
    batch_size: int = 64
    """Crops that go through the network at once."""
    device: str = "auto"
    """auto (cuda if there is one), cpu, cuda, cuda:1, mps ..."""

    def __post_init__(self) -> None:
        """Check the values; raise ValueError naming the field, the rule and the value."""
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {self.threshold}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {self.batch_size}")


@dataclass(frozen=True)
class Result:
    """What an evaluation found, from what, and where it is written."""

    evaluation: Evaluation | ClassEvaluation
    scores: AnyScores
    crops: Crops
    wrongly: Wrongly | None
    """What a network of two classes says of masks worn wrongly, where the folder has any."""
    source: dict[str, Any]
    """Weights, their hash, architecture and epoch, data and split: as metrics.json keeps them."""
    label: str
    """Short name of the faces, for figures and folders."""
    folder: Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return an exit code of `MaskTheFace.commands`."""
    return run_command("evaluate", lambda: _run(argv), "no metrics.json was written")


def _run(argv: Sequence[str] | None) -> int:
    result = evaluate(tyro.cli(EvaluateConfig, args=argv, prog="python -m masktrain.evaluate"))
    write_result(result)
    print(describe(result))
    return 0


def evaluate(config: EvaluateConfig) -> Result:
    """Score every crop and measure; nothing is written yet.

    Raises:
        CheckpointError: the weights are missing or damaged.
        DataError: there is nothing to evaluate in the folder.
        ValueError: the device cannot be used; a threshold for a network of three classes.
        NonFiniteError: the network gives nan.
    """
    from masktrain.data import load_crops, wear_by_path
    from masktrain.engine import pick_device
    from masktrain.model import load_classifier
    from masktrain.multiclass import measure
    from masktrain.run_folder import weights_file

    weights = weights_file(config.weights)
    device = pick_device(config.device)
    classifier = load_classifier(weights, str(device))
    classes = len(classifier.preprocessing.class_names)
    if classes > 2 and config.threshold is not None:
        raise ValueError(f"--threshold is for two classes, {weights} tells {classes}; leave it out")
    split = _default_split(config.data) if config.split is None else config.split
    crops = load_crops(config.data, split, need_all=False, labels=range(classes))
    scores = _score(classifier, crops, config.batch_size, device)
    wrongly = None
    if crops.left_out:
        third = load_crops(config.data, split, need_all=False, labels=(2,), may_be_empty=True)
        crops = dataclasses.replace(crops, skipped=crops.skipped + third.skipped)
        wrongly = _score_wrongly(classifier, third, config, device) if len(third) else None
    known = wear_by_path(config.data)
    ways = [known.get(path, "") for path in crops.paths]
    label = "-".join(filter(None, (Path(os.path.abspath(config.data)).name, split)))
    return Result(
        evaluation=measure(scores, *_threshold(classifier, config.threshold), ways),
        scores=scores,
        crops=crops,
        wrongly=wrongly,
        source=_source(weights, classifier) | {"data": config.data.as_posix(), "split": split},
        label=label,
        folder=config.output or _default_output(weights, label),
    )


def write_result(result: Result) -> None:
    """Write the figures, predictions.csv and, when all else is there, metrics.json.

    Raises:
        OSError: a file cannot be written.
    """
    from MaskTheFace.images import write_bytes

    result.folder.mkdir(parents=True, exist_ok=True)
    _write_figures(result)
    _write_predictions(result)
    record = result.evaluation.to_dict() | result.source
    record["left_out"] = result.crops.left_out
    if result.wrongly is not None:
        record["worn_incorrectly"] = result.wrongly.to_dict()
    record["skipped"] = [{"path": p, "reason": why} for p, why in result.crops.skipped]
    text = json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False)
    write_bytes(result.folder / "metrics.json", (text + "\n").encode())


def describe(result: Result) -> str:
    """Return what a person reads at the end: the numbers, what was left out, and where all is."""
    lines = [result.evaluation.summary()]
    present = set(result.crops.labels.tolist())
    if len(present) == 1:
        from masktrain.data import CLASSES

        only = CLASSES[present.pop()]
        lines.append(f"only {only} faces: what needs both classes is unknown (-, null)")
    skipped = result.crops.skipped
    if skipped:
        lines.append(f"skipped {len(skipped):,} files that cannot be read:")
        lines += [f"  {path}: {reason}" for path, reason in skipped[:SHOWN_SKIPPED]]
    if len(skipped) > SHOWN_SKIPPED:
        lines.append(f"  ... all of them are in {result.folder / 'metrics.json'}")
    if result.wrongly is not None:
        lines.append(result.wrongly.summary())
    return "\n".join([*lines, f"written to {result.folder}"])


def _score(
    classifier: Classifier, crops: Crops, batch_size: int, device: torch.device
) -> AnyScores:
    from tqdm.auto import tqdm

    from masktrain.augment import eval_transform
    from masktrain.data import eval_loader
    from masktrain.engine import collect_scores

    loader = eval_loader(crops, eval_transform(classifier.preprocessing), batch_size)
    shown = tqdm(loader, desc="evaluating", unit="batch", leave=False, disable=None)
    return collect_scores(classifier.net, shown, device)


def _score_wrongly(
    classifier: Classifier, crops: Crops, config: EvaluateConfig, device: torch.device
) -> Wrongly:
    """Ask a network of two classes about masks worn incorrectly, which are neither."""
    import numpy as np

    from masktrain.data import wear_by_path
    from masktrain.wrongly import Wrongly

    unlabelled = dataclasses.replace(crops, labels=np.zeros_like(crops.labels))
    scores = _score(classifier, unlabelled, config.batch_size, device).scores
    known = wear_by_path(config.data)
    ways = tuple(known.get(path, "") for path in crops.paths)
    return Wrongly(crops.paths, ways, scores, _threshold(classifier, config.threshold)[0])


def _threshold(classifier: Classifier, given: float | None) -> tuple[float, str]:
    if given is None:
        return classifier.threshold, classifier.threshold_from
    return given, "--threshold"


def _default_split(data: Path) -> str | None:
    """Return test for a prepared data set, None for a folder with the classes inside."""
    from masktrain.data import CLASSES

    flat = any((data / name).is_dir() for name in CLASSES)
    return "test" if (data / "test").is_dir() and not flat else None


def _default_output(weights: Path, label: str) -> Path:
    """Return <run folder>/eval/<label>; other weights than best.pt add their name."""
    from masktrain.run_folder import run_of

    return (
        run_of(weights) / "eval" / (label if weights.stem == "best" else f"{label}-{weights.stem}")
    )


def _source(weights: Path, classifier: Classifier) -> dict[str, Any]:
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "weights": weights.as_posix(),
        "weights_sha256": digest,
        "model": classifier.arch,
        "epoch": classifier.epoch,
    }


def _write_figures(result: Result) -> None:
    from masktrain import figures
    from masktrain.report import named_views

    curves = named_views(result.label, result.scores)
    drawn = {
        "confusion_matrix.png": figures.confusion_figure(result.evaluation, title=result.label),
        "roc.png": figures.roc_figure(curves),
        "pr.png": figures.pr_figure(curves),
        "calibration.png": figures.calibration_figure(curves),
    }
    for name, figure in drawn.items():
        figures.save_figure(figure, result.folder / name)


def _write_predictions(result: Result) -> None:
    """Write a row for each crop: what it is, what the network says, and what the person may do."""
    path = result.folder / "predictions.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows(_prediction_rows(result))


def _prediction_rows(result: Result) -> Iterator[tuple[object, ...]]:
    from MaskTheFace.wear import advice
    from masktrain.data import CLASSES, wear_by_path
    from masktrain.metrics import Evaluation
    from masktrain.multiclass import ClassScores
    from masktrain.wrongly import rows_of

    scores, ways = result.scores, wear_by_path(result.crops.root)
    labels = [CLASSES[label] for label in scores.labels]
    if isinstance(scores, ClassScores):
        yield "path", "label", "wear", "said", "said_wear", *CLASSES, "advice"
        told = zip(result.crops.paths, labels, scores.said, scores.said_ways, scores.scores)
        for crop, label, said, way, chances in told:
            name = CLASSES[int(said)]
            known = ways.get(crop, "")
            yield crop, label, known, name, way, *chances.tolist(), advice(name, way)
        return
    assert isinstance(result.evaluation, Evaluation)
    yield "path", "label", "score", "advice"
    at = result.evaluation.threshold
    rows = list(zip(result.crops.paths, labels, scores.scores.tolist(), strict=True))
    rows += [(crop, CLASSES[2], score) for crop, score in rows_of(result.wrongly)]
    for crop, label, score in rows:
        yield crop, label, score, advice(CLASSES[int(score >= at)])


if __name__ == "__main__":
    sys.exit(main())
