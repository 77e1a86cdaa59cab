"""Where does a network look? ``python -m masktrain.explain --weights RUN --data FOLDER``.

Grad-CAM and occlusion maps of true and false positives and negatives, as pictures; and for data
that masktrain.prepare drew, the share of heat inside the mask's exact alpha, by class and answer,
mask, way of wearing it and all that evaluation slices by. Writes explain.md, explain.json and a
picture for each outcome.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from MaskTheFace.commands import run_command

# torch, captum, matplotlib and OpenCV take seconds to import: --help does without them.
if TYPE_CHECKING:
    from masktrain.explain_report import Report
    from masktrain.heat import FaceHeat
    from masktrain.heat_figures import Panel
    from masktrain.mask_regions import PreparedFaces

SHOWN = 8
Method = Literal["both", "gradcam", "occlusion"]


@dataclass(frozen=True)
class ExplainConfig:
    """Show where a network looks, and measure how much of that is the mask."""

    weights: Path
    """A checkpoint, a run folder (its weights/best.pt), or a name in reports/weights."""
    data: Path
    """Folder of crops: no_mask/ and wearing_mask/, or prepared data with these in each split."""
    split: str | None = None
    """train, val or test of prepared data; by default test if there is one, else the folder."""
    method: Method = "both"
    """gradcam, occlusion (170 passes a face; 1 s for a MobileNetV2 on one core) or both."""
    limit: int = 100
    """Measure at most so many faces of each class told rightly, and told wrongly; 0: all."""
    output: Path | None = None
    """Folder to write; by default <run folder>/explain/<data name>-<split>."""
    batch_size: int = 32
    """Crops that go through the network at once."""
    device: str = "auto"
    """auto (cuda if there is one), cpu, cuda, cuda:1, mps ..."""
    seed: int = 0
    """Seed of which faces are drawn and measured."""

    def __post_init__(self) -> None:
        """Check the values; raise ValueError naming the field, the rule and the value."""
        for name, least in (("limit", 0), ("batch_size", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods asked for, in the order of the pictures."""
        return ("gradcam", "occlusion") if self.method == "both" else (self.method,)


@dataclass(frozen=True)
class Explanation:
    """A report, the faces of each of its pictures, and the folder that they belong into."""

    report: Report
    panels: Mapping[str, Sequence[Panel]]
    folder: Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return an exit code of `MaskTheFace.commands`."""
    return run_command("explain", lambda: _run(argv), "no explain.json was written")


def _run(argv: Sequence[str] | None) -> int:
    import tyro

    config = tyro.cli(ExplainConfig, args=argv, prog="python -m masktrain.explain")
    explanation = explain(config)
    write_explanation(explanation)
    print(explanation.report.markdown())
    print(f"written to {explanation.folder}")
    return 0


def explain(config: ExplainConfig) -> Explanation:
    """Explain a network on a folder; nothing is written yet.

    Every crop is scored, so that the errors are found; then the faces to draw and those to measure
    are explained.

    Raises:
        CheckpointError: the weights are missing or damaged.
        DataError: there is nothing to explain in the folder.
        ExplainError: captum is missing; Grad-CAM does not know the network.
        NonFiniteError: the network or an explanation gives nan.
        ValueError: the device cannot be used; the folder's manifest or landmarks are damaged.
    """
    from masktrain.explain_report import Grid, Report
    from masktrain.heat_maps import Looker
    from masktrain.mask_regions import read_prepared, shows_nobody
    from masktrain.outcomes import answers_of, pick_measured, pick_shown
    from masktrain.predictor import Predictor, faces_label, split_of
    from masktrain.run_folder import results_folder

    asked = Predictor.open(config.weights, config.device, config.batch_size)
    data, split = split_of(config.data, config.split)
    crops = asked.load(data, split)
    prepared = read_prepared(data)
    answers = answers_of(asked.score(crops), asked.classifier.threshold)
    shown = pick_shown(answers, SHOWN, config.seed)
    measured = pick_measured(answers, config.limit, config.seed).tolist() if prepared else []
    looker = Looker(asked.classifier, asked.device, config.methods, config.batch_size, prepared)
    looked = looker.look(crops, answers, measured, [*chain(*shown.values())])
    source = asked.source() | {
        "data": data.as_posix(),
        "split": split,
        "n": len(crops),
        "outcomes": answers.count(),
        "skipped": len(crops.skipped),
        "seed": config.seed,
        "shows_nobody": shows_nobody(data),
    }
    report = Report(
        source=source,
        methods=looked.methods,
        grids=tuple(
            Grid(name, answers.count()[name], tuple(crops.paths[place] for place in some))
            for name, some in shown.items()
        ),
        follow=looked.cells.follow if looked.cells else None,
        faces=_with_facts(looked.faces, data),
        no_numbers=_why_no_numbers(data, prepared, len(looked.faces)),
        left_out=tuple(looked.left_out),
    )
    panels = {name: [looked.panels[place] for place in some] for name, some in shown.items()}
    folder = config.output or results_folder(asked.weights, "explain", faces_label(data, split))
    return Explanation(report, panels, folder)


def _with_facts(faces: Sequence[FaceHeat], data: Path) -> tuple[FaceHeat, ...]:
    """Add what is known of each face: pose, size, colour of the mask, age ..."""
    from masktrain.slices import facts_of

    facts = facts_of(data, [face.path for face in faces])
    return tuple(
        dataclasses.replace(face, facts={name: values[place] for name, values in facts.items()})
        for place, face in enumerate(faces)
    )


def write_explanation(explanation: Explanation) -> None:
    """Write a picture for each outcome, explain.md and, when all else is there, explain.json.

    Those of an earlier explanation in the same folder are removed first: of an outcome that no
    longer occurs no picture must stay.

    Raises:
        OSError: a file cannot be written.
    """
    from MaskTheFace.images import write_bytes
    from masktrain.figures import save_figure
    from masktrain.heat_figures import heat_figure
    from masktrain.outcomes import OUTCOMES

    folder = explanation.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("explain.json", *(f"{name}.png" for name in OUTCOMES)):
        (folder / name).unlink(missing_ok=True)
    for name, panels in explanation.panels.items():
        title = f"{name.replace('_', ' ')}: {OUTCOMES[name]}"
        save_figure(heat_figure(panels, title), folder / f"{name}.png")
    report = explanation.report
    write_bytes(folder / "explain.md", report.markdown().encode())
    text = json.dumps(report.to_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_bytes(folder / "explain.json", text.encode())


def _why_no_numbers(data: Path, prepared: PreparedFaces | None, faces: int) -> str:
    """Return why no share of heat is known; empty where some is."""
    if prepared is None:
        return (
            f"{data.as_posix()} has no manifest.csv and landmarks.csv of masktrain.prepare: where "
            "the mask lies on a photo nobody wrote down, so that there are pictures, and no share "
            "of heat inside the mask. Give a folder that masktrain.prepare wrote for that."
        )
    if not faces:
        return "No mask could be drawn again, so that nobody knows where it lies; see left_out."
    return ""


if __name__ == "__main__":
    sys.exit(main())
