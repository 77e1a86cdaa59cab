"""Measure a checkpoint on a folder of crops: ``python -m masktrain.evaluate --weights F --data D``.

The folder has no_mask/ and wearing_mask/ (and worn_incorrectly/: a class for networks of three,
reported apart by those of two), or a prepared data set's train/, val/ and test/ with
these inside. Preprocessing comes from the checkpoint, and so does the threshold, unless one is
given or chosen on the run's validation scores. Writes metrics.json, predictions.csv, slices.md,
the worst mistakes and figures (`evaluation_files`), and prints the same numbers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from MaskTheFace.commands import run_command

# torch, matplotlib and scikit-learn take seconds to import: --help does without them.
if TYPE_CHECKING:
    import numpy as np
    import torch

    from masktrain.data import Crops
    from masktrain.engine import AnyScores
    from masktrain.evaluation_files import Result
    from masktrain.model import Classifier
    from masktrain.wrongly import Wrongly

SHOWN_SKIPPED = 10


@dataclass(frozen=True)
class EvaluateConfig:
    """Measure a trained classifier on crops whose labels are known."""

    weights: Path
    """A checkpoint, a run folder (its weights/best.pt), or a name in reports/weights."""
    data: Path
    """Folder of crops: no_mask/ and wearing_mask/, or prepared data with these in each split."""
    split: str | None = None
    """train, val or test of prepared data; by default test if there is one, else the folder."""
    output: Path | None = None
    """Folder to write; by default <run folder>/eval/<data name>-<split>."""
    threshold: str | None = None
    """Score from which on a face counts as masked; by default the checkpoint's. Or how to choose
    it on --chosen-on: youden, fnr=0.02 (share of masks missed), cost=5:1 (missed : false alarm).
    Of three classes it is that of mask or none, the third put aside."""
    chosen_on: Literal["val", "real_val"] = "val"
    """Validation scores of the run that choose threshold and temperature, at the same epoch."""
    facts: Path | None = None
    """A CSV with a column path and others (age, skin_tone ...; identity): more slices."""
    occluders: float = 0.0
    """Of prepared data: share of faces that get a hand, cup, hat ... before them; sliced by it."""
    batch_size: int = 64
    """Crops that go through the network at once."""
    device: str = "auto"
    """auto (cuda if there is one), cpu, cuda, cuda:1, mps ..."""

    def __post_init__(self) -> None:
        """Check the values; raise ValueError naming the field, the rule and the value."""
        if not 0 <= self.occluders <= 1:
            raise ValueError(f"occluders must be in [0, 1], got {self.occluders}")
        if self.threshold is not None:
            from masktrain.thresholds import parse_threshold

            parse_threshold(self.threshold)
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {self.batch_size}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return an exit code of `MaskTheFace.commands`."""
    return run_command("evaluate", lambda: _run(argv), "no metrics.json was written")


def _run(argv: Sequence[str] | None) -> int:
    config = tyro.cli(EvaluateConfig, args=argv, prog="python -m masktrain.evaluate")
    from masktrain.evaluation_files import write_result

    result = evaluate(config)
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
    from masktrain.calibration import calibration_of
    from masktrain.data import load_crops, wear_by_path
    from masktrain.engine import pick_device
    from masktrain.evaluation_files import Result
    from masktrain.model import load_classifier
    from masktrain.multiclass import measure
    from masktrain.online import load_occluded
    from masktrain.run_folder import results_folder, weights_file
    from masktrain.slices import facts_of, identities_of, slice_scores

    weights = weights_file(config.weights)
    device = pick_device(config.device)
    classifier = load_classifier(weights, str(device))
    classes = len(classifier.preprocessing.class_names)
    split = default_split(config.data) if config.split is None else config.split
    threshold = _threshold(classifier, weights, config)
    crops = load_crops(config.data, split, need_all=False, labels=range(classes))
    before: dict[str, list[str]] = {}
    if config.occluders:
        crops, before["before the face"] = load_occluded(
            config.data, crops, config.occluders
        ).drawn()
    scores = score_crops(classifier, crops, config.batch_size, device)
    wrongly = None
    if crops.left_out:
        third = load_crops(config.data, split, need_all=False, labels=(2,), may_be_empty=True)
        crops = dataclasses.replace(crops, skipped=crops.skipped + third.skipped)
        if len(third):
            wrongly = _score_wrongly(classifier, third, config, device, threshold[0])
    known = wear_by_path(config.data)
    ways = [known.get(path, "") for path in crops.paths]
    label = label_of(config.data, split) + ("-occluded" if before else "")
    facts = {**facts_of(config.data, crops.paths, config.facts), **before}
    validation = _validation(weights, classifier, config.chosen_on)
    identities = identities_of(config.data, crops.paths, config.facts)
    return Result(
        evaluation=measure(scores, *threshold, ways, identities),
        scores=scores,
        crops=crops,
        wrongly=wrongly,
        slices=slice_scores(scores, facts, threshold[0]),
        calibration=calibration_of(scores, validation, config.chosen_on, identities),
        identities=identities,
        source=source_of(weights, classifier)
        | {"data": config.data.as_posix(), "split": split, "occluders": config.occluders},
        label=label,
        folder=config.output or results_folder(weights, "eval", label),
    )


def describe(result: Result) -> str:
    """Return what a person reads at the end: the numbers, what was left out, and where all is."""
    lines = [result.evaluation.summary(), result.calibration.summary()]
    if worst := result.slices.worst:
        several = f"worst of {len(result.slices.rows)} slices"
        lines.append(f"{several}: {worst.fact} {worst.value}, {worst.right.cell()} of {worst.n:,}")
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


def score_crops(
    classifier: Classifier, crops: Crops, batch_size: int, device: torch.device
) -> AnyScores:
    """Return labels and scores of every crop, in order, with progress on a terminal."""
    from tqdm.auto import tqdm

    from masktrain.augment import eval_transform
    from masktrain.data import eval_loader
    from masktrain.engine import collect_scores

    loader = eval_loader(crops, eval_transform(classifier.preprocessing), batch_size)
    shown = tqdm(loader, desc="evaluating", unit="batch", leave=False, disable=None)
    return collect_scores(classifier.net, shown, device)


def score_pictures(
    classifier: Classifier, images: Sequence[np.ndarray], batch_size: int, device: torch.device
) -> AnyScores:
    """Return scores of pictures in memory, (S, S, 3) uint8 RGB each; their labels are all 0."""
    import numpy as np

    from masktrain.data import CROP_PX, Crops, resized

    crops = Crops(
        images=np.stack([resized(image, CROP_PX) for image in images]),
        labels=np.zeros(len(images), np.int64),
        paths=("",) * len(images),
        root=Path(),
    )
    return score_crops(classifier, crops, batch_size, device)


def _score_wrongly(
    classifier: Classifier,
    crops: Crops,
    config: EvaluateConfig,
    device: torch.device,
    threshold: float,
) -> Wrongly:
    """Ask a network of two classes about masks worn incorrectly, which are neither."""
    import numpy as np

    from masktrain.data import wear_by_path
    from masktrain.wrongly import Wrongly

    unlabelled = dataclasses.replace(crops, labels=np.zeros_like(crops.labels))
    scores = score_crops(classifier, unlabelled, config.batch_size, device).scores
    known = wear_by_path(config.data)
    ways = tuple(known.get(path, "") for path in crops.paths)
    return Wrongly(crops.paths, ways, scores, threshold)


def _threshold(classifier: Classifier, weights: Path, config: EvaluateConfig) -> tuple[float, str]:
    """Return the threshold, and where it is from."""
    from masktrain.multiclass import ClassScores
    from masktrain.thresholds import choose_threshold, parse_threshold

    if config.threshold is None:
        return classifier.threshold, classifier.threshold_from
    wanted = parse_threshold(config.threshold)
    if isinstance(wanted, float):
        return wanted, "--threshold"
    scores = _validation(weights, classifier, config.chosen_on)
    if scores is None:
        raise ValueError(
            f"--threshold {wanted} is chosen on the run's own {config.chosen_on} scores of epoch "
            f"{classifier.epoch}, which lie in no folder scores/ beside {weights}; give a number"
        )
    two = scores.without_third() if isinstance(scores, ClassScores) else scores
    return choose_threshold(two, wanted), f"{wanted} on {config.chosen_on}"


def _validation(weights: Path, classifier: Classifier, series: str) -> AnyScores | None:
    """Return what the run kept of its validation at the epoch of these weights, if it did."""
    from masktrain.run_folder import read_scores, run_of, scores_file

    run = run_of(weights)
    if not scores_file(run, series, classifier.epoch).is_file():
        return None
    return read_scores(run, series, classifier.epoch)


def default_split(data: Path) -> str | None:
    """Return test for a prepared data set, None for a folder with the classes inside."""
    from masktrain.data import CLASSES

    flat = any((data / name).is_dir() for name in CLASSES)
    return "test" if (data / "test").is_dir() and not flat else None


def label_of(data: Path, split: str | None) -> str:
    """Return the short name of a folder's faces: its own, and the split."""
    return "-".join(filter(None, (Path(os.path.abspath(data)).name, split)))


def source_of(weights: Path, classifier: Classifier) -> dict[str, Any]:
    """Return which network it is, as records keep it: file, its hash, architecture, epoch."""
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "weights": weights.as_posix(),
        "weights_sha256": digest,
        "model": classifier.arch,
        "epoch": classifier.epoch,
    }


if __name__ == "__main__":
    sys.exit(main())
