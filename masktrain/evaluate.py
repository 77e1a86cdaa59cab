"""Measure a checkpoint on a folder of crops: ``python -m masktrain.evaluate --weights F --data D``.

The folder has no_mask/ and wearing_mask/, or a prepared data set's train/, val/ and test/ with
these inside. Threshold and preprocessing come from the checkpoint. Writes metrics.json,
predictions.csv and four figures, and prints the same numbers.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from MaskTheFace.commands import run_command

# torch, matplotlib and scikit-learn take seconds to import: --help does without them.
if TYPE_CHECKING:
    import torch

    from masktrain.data import Crops
    from masktrain.metrics import Evaluation, Scores
    from masktrain.model import Classifier

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

    evaluation: Evaluation
    scores: Scores
    crops: Crops
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
        ValueError: the device cannot be used.
        NonFiniteError: the network gives nan.
    """
    from masktrain.data import load_crops
    from masktrain.engine import pick_device
    from masktrain.metrics import evaluate_scores
    from masktrain.model import load_classifier

    weights = config.weights / "weights" / "best.pt" if config.weights.is_dir() else config.weights
    device = pick_device(config.device)
    classifier = load_classifier(weights, str(device))
    split = _default_split(config.data) if config.split is None else config.split
    crops = load_crops(config.data, split, need_both=False)
    scores = _score(classifier, crops, config.batch_size, device)
    label = "-".join(filter(None, (Path(os.path.abspath(config.data)).name, split)))
    return Result(
        evaluation=evaluate_scores(scores, *_threshold(classifier, config.threshold)),
        scores=scores,
        crops=crops,
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
    record["skipped"] = [{"path": p, "reason": why} for p, why in result.crops.skipped]
    text = json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False)
    write_bytes(result.folder / "metrics.json", (text + "\n").encode())


def describe(result: Result) -> str:
    """Return what a person reads at the end: the numbers, what was left out, and where all is."""
    lines = [result.evaluation.summary()]
    if not result.scores.both_classes:
        present = "wearing_mask" if result.evaluation.n_wearing_mask else "no_mask"
        lines.append(f"only {present} faces: what needs both classes is unknown (-, null)")
    skipped = result.crops.skipped
    if skipped:
        lines.append(f"skipped {len(skipped):,} files that cannot be read:")
        lines += [f"  {path}: {reason}" for path, reason in skipped[:SHOWN_SKIPPED]]
    if len(skipped) > SHOWN_SKIPPED:
        lines.append(f"  ... all of them are in {result.folder / 'metrics.json'}")
    if result.crops.left_out:
        lines.append(f"left out {result.crops.left_out:,} files of worn_incorrectly/: no class")
    return "\n".join([*lines, f"written to {result.folder}"])


def _score(classifier: Classifier, crops: Crops, batch_size: int, device: torch.device) -> Scores:
    from tqdm.auto import tqdm

    from masktrain.augment import eval_transform
    from masktrain.data import eval_loader
    from masktrain.engine import collect_scores

    loader = eval_loader(crops, eval_transform(classifier.preprocessing), batch_size)
    shown = tqdm(loader, desc="evaluating", unit="batch", leave=False, disable=None)
    return collect_scores(classifier.net, shown, device)


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
    run = weights.parent.parent if weights.parent.name == "weights" else weights.parent
    return run / "eval" / (label if weights.stem == "best" else f"{label}-{weights.stem}")


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

    curves = [(result.label, result.scores)]
    drawn = {
        "confusion_matrix.png": figures.confusion_figure(result.evaluation, title=result.label),
        "roc.png": figures.roc_figure(curves),
        "pr.png": figures.pr_figure(curves),
        "calibration.png": figures.calibration_figure(curves),
    }
    for name, figure in drawn.items():
        figures.save_figure(figure, result.folder / name)


def _write_predictions(result: Result) -> None:
    from masktrain.data import CLASSES

    path = result.folder / "predictions.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label", "score"))
        labels, scores = result.scores.labels.tolist(), result.scores.scores.tolist()
        for crop, label, score in zip(result.crops.paths, labels, scores, strict=True):
            writer.writerow((crop, CLASSES[label], score))


if __name__ == "__main__":
    sys.exit(main())
