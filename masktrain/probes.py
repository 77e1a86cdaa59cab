"""Does a network look at masks, or at something else? The command is
``python -m masktrain.probes --weights RUN --data DIR``.

Bare faces of prepared data are changed in ways that put no mask on them; a network that looks at
masks does not begin to see any. For each probe: how many faces are taken for masked, before and
after, and the difference with its interval. Beside it, how far pixel statistics alone would come.
Writes probes.md, probes.json and probes.jpg.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from MaskTheFace.commands import run_command

# torch takes seconds to import, OpenCV longer than --help may: both wait.
if TYPE_CHECKING:
    from masktrain.metrics import Interval
    from masktrain.predictor import Predictor
    from masktrain.probe_images import ProbeFace

MOST_MORE = 0.02
"""A probe is passed where it raises the share taken for masked by no more than this."""
SHOWN = 8


@dataclass(frozen=True)
class ProbesConfig:
    """Look for shortcuts: change bare faces without putting a mask on, and ask the network."""

    weights: Path
    """A checkpoint, a run folder (its weights/best.pt), or a name in reports/weights."""
    data: Path
    """A folder that masktrain.prepare wrote."""
    split: str = "test"
    """Whose bare faces are changed."""
    limit: int = 400
    """At most so many faces; 0: all."""
    output: Path | None = None
    """Folder to write; by default <run folder>/probes, of last.pt probes-last."""
    batch_size: int = 64
    """Crops that go through the network at once."""
    device: str = "auto"
    """auto (cuda if there is one), cpu, cuda, cuda:1, mps ..."""
    seed: int = 0
    """Seed of every change."""

    def __post_init__(self) -> None:
        """Check the values; raise ValueError naming the field, the rule and the value."""
        for name, least in (("limit", 0), ("batch_size", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")


@dataclass(frozen=True)
class Probe:
    """What one change did.

    Attributes:
        name: of the change.
        n: faces.
        before: share of the untouched faces taken for masked.
        after: the same once they are changed.
        more: after minus before, on the same faces.
    """

    name: str
    n: int
    before: Interval
    after: Interval
    more: Interval

    @property
    def passed(self) -> bool:
        """Whether the change makes no more than two in a hundred faces look masked."""
        return self.more.value <= MOST_MORE


@dataclass(frozen=True)
class Report:
    """All probes of a network, and what pixel statistics alone tell."""

    probes: tuple[Probe, ...]
    occluders: tuple[Probe, ...]
    background_auc: Interval
    network_auc: Interval
    """Between the bare faces and their masked twins as they are."""
    statistics_auc: Mapping[str, Interval]
    source: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that strict JSON accepts."""
        from masktrain.metrics import json_safe

        record: dict[str, Any] = json_safe(asdict(self))
        for kind in ("probes", "occluders"):
            for row, probe in zip(record[kind], getattr(self, kind), strict=True):
                row["passed"] = probe.passed
        return record

    def markdown(self) -> str:
        """Return the tables that a person reads."""
        source = self.source
        network = f"{source['model']}, epoch {source['epoch']}"
        return "\n".join(
            [
                "# Shortcut probes",
                "",
                f"{network}, on {self.probes[0].n:,} bare faces of {source['data']}, "
                f"{source['split']}. Each is changed without putting a mask on; counted is how "
                "often a mask is seen, worn well or wrongly, with 95 % intervals (Wilson; for the "
                "difference on the same faces Agresti and Min). Passed: no more than "
                f"{100 * MOST_MORE:.0f} points above the untouched faces.",
                "",
                *_table("change", self.probes),
                "",
                "Things before the face that are no mask, each on all of the faces:",
                "",
                *_table("before the face", self.occluders),
                "",
                "With the face itself painted over, masked and bare pictures are told apart with "
                f"AUC {self.background_auc.cell()}: .5 is as it should be.",
                "",
                "A logistic regression on mean, deviation and JPEG size of the crops, fitted to "
                "the training split, tells masked from bare with AUC "
                + ", ".join(f"{auc.cell()} ({name})" for name, auc in self.statistics_auc.items())
                + f"; the network with {self.network_auc.cell()}. What lies between must come from "
                "looking at the face.",
                "",
            ]
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return an exit code of `MaskTheFace.commands`."""
    return run_command("probes", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    import tyro

    config = tyro.cli(ProbesConfig, args=argv, prog="python -m masktrain.probes")
    from MaskTheFace.images import write_bytes, write_image
    from masktrain.run_folder import write_json

    report, sheet, folder = probe(config)
    write_image(folder / "probes.jpg", sheet)
    write_json(folder / "probes.json", report.to_dict())
    write_bytes(folder / "probes.md", report.markdown().encode())
    print(report.markdown())
    print(f"written to {folder}")
    return 0


def probe(config: ProbesConfig) -> tuple[Report, np.ndarray, Path]:
    """Probe a network; nothing is written yet.

    Returns:
        The report; a sheet of examples, (H, W, 3) uint8 RGB, a row for each change; the folder
        that they belong into.

    Raises:
        CheckpointError: the weights are missing or damaged.
        DataError: no prepared faces in the folder.
        ValueError: the device cannot be used; the results would replace those of other faces.
    """
    from MaskTheFace.images import montage
    from MaskTheFace.occluder_style import SHARES
    from masktrain.pixel_statistics import statistics_auc
    from masktrain.predictor import Predictor, refuse_other_faces
    from masktrain.probe_images import PROBES, faceless, load_faces, with_occluder
    from masktrain.run_folder import own_folder

    asked = Predictor.open(config.weights, config.device, config.batch_size)
    folder = config.output or own_folder(asked.weights, "probes")
    refuse_other_faces(folder / "probes.json", config.data)
    faces = load_faces(config.data, config.split, config.limit)
    untouched = _said(asked, [face.image for face in faces])
    rows: list[list[np.ndarray]] = [[face.image for face in faces[:SHOWN]]]

    def look(name: str, change: Callable[[ProbeFace, np.random.Generator], np.ndarray]) -> Probe:
        images = [
            change(face, np.random.default_rng((config.seed, number)))
            for number, face in enumerate(faces)
        ]
        rows.append(images[:SHOWN])
        return _compared(name, untouched, _said(asked, images))

    probes = tuple(look(name, change) for name, change in PROBES.items())
    occluders = tuple(look(kind, with_occluder(kind)) for kind in SHARES)
    report = Report(
        probes=probes,
        occluders=occluders,
        background_auc=_auc(
            asked,
            [faceless(face, face.image) for face in faces],
            [faceless(face, face.masked) for face in faces],
        ),
        network_auc=_auc(asked, [face.image for face in faces], [face.masked for face in faces]),
        statistics_auc=statistics_auc(config.data, config.split),
        source=asked.source() | {"data": config.data.as_posix(), "split": config.split},
    )
    sheet = montage([image for row in rows for image in row], min(SHOWN, len(faces)))
    return report, sheet, folder


def _chances(asked: Predictor, images: Sequence[np.ndarray]) -> np.ndarray:
    """Return the probability of a mask, worn well or wrongly, (N,)."""
    from masktrain.metrics import Scores

    scores = asked.score_pictures(images)
    return scores.scores if isinstance(scores, Scores) else 1 - scores.scores[:, 0]


def _said(asked: Predictor, images: Sequence[np.ndarray]) -> np.ndarray:
    """Return (N,) bool: a mask is seen, worn well or wrongly."""
    from masktrain.metrics import Scores

    scores = asked.score_pictures(images)
    if isinstance(scores, Scores):
        return np.asarray(scores.scores >= asked.classifier.threshold)
    return np.asarray(scores.said != 0)


def _compared(name: str, before: np.ndarray, after: np.ndarray) -> Probe:
    from masktrain.metrics import paired_difference, wilson

    count = len(before)
    return Probe(
        name,
        count,
        wilson(int(before.sum()), count),
        wilson(int(after.sum()), count),
        paired_difference(before, after),
    )


def _auc(asked: Predictor, bare: Sequence[np.ndarray], masked: Sequence[np.ndarray]) -> Interval:
    """Return the AUC between pictures of bare faces and of their masked twins."""
    from masktrain.metrics import Scores, evaluate_scores

    labels = np.repeat([0, 1], [len(bare), len(masked)])
    return evaluate_scores(Scores(labels, _chances(asked, [*bare, *masked]), 0.0)).roc_auc


def _table(head: str, probes: Sequence[Probe]) -> list[str]:
    lines = [f"| {head} | taken for masked | before | difference | |", "|---|---|---|---|---|"]
    for row in probes:
        verdict = "passed" if row.passed else "not passed"
        cells = (row.after.cell(), row.before.cell(), row.more.cell("+"), verdict)
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
