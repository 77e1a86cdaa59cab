"""Measure a checkpoint on a folder of crops: ``python -m masktrain.evaluate --weights F --data D``.

The folder has no_mask/ and wearing_mask/ (and worn_incorrectly/: a class for networks of three,
reported apart by those of two), or a prepared data set's train/, val/ and test/ with
these inside. Preprocessing comes from the checkpoint, and so does the threshold, unless one is
given or chosen on the run's validation scores. Writes metrics.json, predictions.csv, slices.md,
the worst mistakes and figures (`evaluation_files`), and prints the same numbers.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from MaskTheFace.commands import run_command

# torch, matplotlib and scikit-learn take seconds to import: --help does without them.
if TYPE_CHECKING:
    from masktrain.data import Crops
    from masktrain.engine import AnyScores
    from masktrain.evaluation_files import Result
    from masktrain.predictor import Predictor
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
    """Lowest score at which a face counts as masked; by default the checkpoint's. Or how to choose
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
        ValueError: the device cannot be used; the results would replace those of other faces.
        NonFiniteError: the network gives nan.
    """
    from masktrain.calibration import calibration_of
    from masktrain.data import wear_by_path
    from masktrain.evaluation_files import Result
    from masktrain.multiclass import measure
    from masktrain.predictor import Predictor, faces_label, refuse_other_faces, split_of
    from masktrain.run_folder import results_folder
    from masktrain.slices import facts_of, identities_of, slice_scores

    data, split = split_of(config.data, config.split)
    config = dataclasses.replace(config, data=data, split=split)
    asked = Predictor.open(config.weights, config.device, config.batch_size)
    label = faces_label(data, split) + ("-occluded" if config.occluders else "")
    folder = config.output or results_folder(asked.weights, "eval", label)
    refuse_other_faces(folder / "metrics.json", data)
    threshold = _threshold(asked, config)
    crops, before = _with_occluders(asked.load(data, split), config)
    scores = asked.score(crops)
    known = wear_by_path(data)
    crops, wrongly = _score_wrongly(asked, crops, config, known, threshold[0])
    ways = [known.get(path, "") for path in crops.paths]
    facts = {**facts_of(data, crops.paths, config.facts), **before}
    validation = None if _judged_on(asked, config) else _validation(asked, config.chosen_on)
    identities = identities_of(data, crops.paths, config.facts)
    return Result(
        evaluation=measure(scores, *threshold, ways, identities),
        scores=scores,
        crops=crops,
        ways=ways,
        wrongly=wrongly,
        slices=slice_scores(scores, facts, threshold[0]),
        calibration=calibration_of(scores, validation, config.chosen_on, identities),
        identities=identities,
        source=asked.source()
        | {"data": data.as_posix(), "split": split, "occluders": config.occluders},
        label=label,
        folder=folder,
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


def _with_occluders(crops: Crops, config: EvaluateConfig) -> tuple[Crops, dict[str, list[str]]]:
    """Put things before some of the faces; say what is before each, as one more fact."""
    if not config.occluders:
        return crops, {}
    from masktrain.online import load_occluded

    drawn, names = load_occluded(config.data, crops, config.occluders).drawn()
    return drawn, {"before the face": names}


def _score_wrongly(
    asked: Predictor,
    crops: Crops,
    config: EvaluateConfig,
    known: Mapping[str, str],
    threshold: float,
) -> tuple[Crops, Wrongly | None]:
    """Ask a network of two classes about masks worn incorrectly, which are neither.

    Args:
        known: how the mask of each crop is worn, where that is known.

    Returns:
        The crops, with what could not be read of the third class noted, and what was said of it.
    """
    if not crops.left_out:
        return crops, None
    import numpy as np

    from masktrain.data import load_crops
    from masktrain.wrongly import Wrongly

    third = load_crops(config.data, config.split, need_all=False, labels=(2,), may_be_empty=True)
    crops = dataclasses.replace(crops, skipped=crops.skipped + third.skipped)
    if not len(third):
        return crops, None
    scores = asked.score(dataclasses.replace(third, labels=np.zeros_like(third.labels))).scores
    ways = tuple(known.get(path, "") for path in third.paths)
    return crops, Wrongly(third.paths, ways, scores, threshold)


def _threshold(asked: Predictor, config: EvaluateConfig) -> tuple[float, str]:
    """Return the threshold, and where it is from."""
    from masktrain.multiclass import ClassScores
    from masktrain.thresholds import choose_threshold, parse_threshold

    if config.threshold is None:
        return asked.classifier.threshold, asked.classifier.threshold_from
    wanted = parse_threshold(config.threshold)
    if isinstance(wanted, float):
        return wanted, "--threshold"
    scores = _validation(asked, config.chosen_on)
    if scores is None:
        raise ValueError(
            f"--threshold {wanted} is chosen on the run's own {config.chosen_on} scores of epoch "
            f"{asked.classifier.epoch}, which lie in no folder scores/ beside {asked.weights}, "
            "or are of smaller crops than it is used on; give a number"
        )
    two = scores.without_third() if isinstance(scores, ClassScores) else scores
    here = ", the faces judged here" if _judged_on(asked, config) else ""
    return choose_threshold(two, wanted), f"{wanted} on {config.chosen_on}{here}"


def _judged_on(asked: Predictor, config: EvaluateConfig) -> bool:
    """Return whether the faces to be judged are those that choose threshold and temperature."""
    from masktrain.predictor import same_folder
    from masktrain.run_folder import data_of, run_of

    run = asked.classifier.config
    if config.chosen_on == "val":
        learned_from = run.get("data") or data_of(run_of(asked.weights))
        return config.split == "val" and same_folder(learned_from, config.data)
    return config.split is None and same_folder(run.get("real_val"), config.data)


def _validation(asked: Predictor, series: str) -> AnyScores | None:
    """Return what the run kept of its validation at the epoch of these weights, if it did.

    Scores of an epoch that was judged on smaller crops are none of the network as it is used.
    """
    from masktrain.run_folder import read_scores, run_of, scores_file

    run, epoch = run_of(asked.weights), asked.classifier.epoch
    if asked.on_smaller_crops or not scores_file(run, series, epoch).is_file():
        return None
    return read_scores(run, series, epoch)


if __name__ == "__main__":
    sys.exit(main())
