"""Ask a network about anybody's photos: ``python -m masktrain.predict --weights RUN --custom DIR``.

Photos of any size; faces are found, cut out and judged, each with how it was found. Below them is
what the network says of pictures that it was never meant for, drawn by code. Writes
predictions.csv and predictions.png.
"""

from __future__ import annotations

import csv
import io
import itertools
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from MaskTheFace.commands import run_command

# torch and OpenCV take seconds to import: --help does without them.
if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from masktrain.finders import Finder, FoundFace
    from masktrain.predictor import Predictor

COLUMNS = ("photo", "face", "found_by", "box_xyxy", "said", "probability", "said_wear", "advice")
DRAWN = "drawn by code"
CAPTION_LETTERS = 26


@dataclass(frozen=True)
class PredictConfig:
    """Say of every face in some photos whether it wears a mask."""

    weights: Path
    """A checkpoint, a run folder (its weights/best.pt), or a name in reports/weights."""
    custom: Path | None = None
    """A folder of photos, or one photo; without it only the drawn examples are shown."""
    finder: Path | None = None
    """YuNet's .onnx file (https://github.com/opencv/opencv_zoo, models/face_detection_yunet), which
    finds masked faces too; else dlib, which misses most of them."""
    threshold: float | None = None
    """Lowest score at which a face counts as masked; by default the checkpoint's. For networks of
    two classes."""
    crops: Path | None = None
    """Folder to write the crop of every face that was found to, for you to sort into no_mask/ and
    wearing_mask/ and evaluate on; what lies there stays: another finder wants another folder."""
    limit: int = 0
    """At most so many photos; 0: all."""
    shown: int = 48
    """Faces on the sheet; predictions.csv has all."""
    output: Path | None = None
    """Folder to write; by default <run folder>/predictions, of last.pt predictions-last."""
    device: str = "auto"
    """auto (cuda if there is one), cpu, cuda, cuda:1, mps ..."""

    def __post_init__(self) -> None:
        """Check the values; raise ValueError naming the field, the rule and the value."""
        for name, least in (("limit", 0), ("shown", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {self.threshold}")
        if self.crops is not None and self.custom is None:
            raise ValueError("crops are cut from photos: give these with --custom")


@dataclass(frozen=True, eq=False)
class Prediction:
    """One face, or one drawn picture, and what the network says of it."""

    photo: str
    face: int
    """Number in its photo, from 1, largest first."""
    found: FoundFace
    said: str
    probability: float
    """Of what is said."""
    way: str
    """How the mask is worn, from networks that tell it."""

    @property
    def advice(self) -> str:
        """What the person may do; empty for nothing."""
        from MaskTheFace.wear import advice

        return advice(self.said, self.way)

    def row(self) -> tuple[object, ...]:
        """Return the values of COLUMNS."""
        box = " ".join(map(str, self.found.box_xyxy))
        told = (self.said, f"{self.probability:.4f}", self.way, self.advice)
        return self.photo, self.face, self.found.how, box, *told


@dataclass(frozen=True, eq=False)
class Predictions:
    """Everything that was asked about.

    Attributes:
        faces: in the user's photos.
        oddities: pictures that no network of masks was meant for.
        failed: (photo, reason) of each that could not be read.
    """

    faces: tuple[Prediction, ...]
    oddities: tuple[Prediction, ...]
    failed: tuple[tuple[str, str], ...]
    folder: Path

    def csv(self) -> str:
        """Return a row for each face and each drawn picture."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(one.row() for one in (*self.faces, *self.oddities))
        return text.getvalue()

    def summary(self) -> str:
        """Return what a person reads at the end."""
        lines = [_counts("faces", self.faces)] if self.faces else []
        from masktrain.finders import WHOLE

        whole = sum(one.found.how == WHOLE for one in self.faces)
        if whole:
            lines.append(f"  {whole} photos without a face that was found: taken as they are")
        lines.append(_counts("pictures drawn by code, none with a mask", self.oddities))
        lines += [f"skipped {photo}: {reason}" for photo, reason in self.failed]
        return "\n".join([*lines, f"written to {self.folder}"])


def _counts(what: str, found: Sequence[Prediction]) -> str:
    said = [one.said for one in found]
    counts = ", ".join(f"{said.count(name)} {name}" for name in dict.fromkeys(said))
    return f"{len(found)} {what}: {counts}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return an exit code of `MaskTheFace.commands`."""
    return run_command("predict", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    import tyro

    config = tyro.cli(PredictConfig, args=argv, prog="python -m masktrain.predict")
    from MaskTheFace.images import write_bytes
    from masktrain.figures import save_figure

    found = predict(config)
    write_bytes(found.folder / "predictions.csv", found.csv().encode())
    if config.crops is not None:
        write_crops(config.crops, found.faces)
    save_figure(sheet(found, config.shown), found.folder / "predictions.png")
    print(found.summary())
    return 0


def predict(config: PredictConfig) -> Predictions:
    """Find and judge every face; nothing is written yet.

    Raises:
        CheckpointError: the weights are missing or damaged.
        FaceError: the finder cannot be used. ImageError: no such folder.
        ValueError: the device cannot be used; nothing to look at.
    """
    from masktrain.finders import FoundFace, open_finder
    from masktrain.oddities import draw_oddities
    from masktrain.predictor import Predictor
    from masktrain.run_folder import own_folder

    asked = Predictor.open(config.weights, config.device)
    named: list[Named] = []
    failed: list[tuple[str, str]] = []
    if config.custom is not None:
        named, failed = _find_faces(config.custom, open_finder(config.finder), config.limit)
    drawn = [
        (oddity.name, 1, FoundFace(oddity.image, (0, 0, *oddity.image.shape[1::-1]), DRAWN))
        for oddity in draw_oddities()
    ]
    told = _judge(asked, [*named, *drawn], config.threshold)
    return Predictions(
        faces=tuple(told[: len(named)]),
        oddities=tuple(told[len(named) :]),
        failed=tuple(failed),
        folder=config.output or own_folder(asked.weights, "predictions"),
    )


Named = tuple[str, int, "FoundFace"]


def _find_faces(
    custom: Path, find: Finder, limit: int
) -> tuple[list[Named], list[tuple[str, str]]]:
    from MaskTheFace.images import ImageError, list_images, read_image, relative_name

    photos = [custom] if custom.is_file() else list_images(custom)
    if not photos:
        raise ValueError(f"{custom}: no images in this folder; give one that holds photos")
    named: list[Named] = []
    failed = []
    for photo in photos[: limit or None]:
        name = photo.name if photo == custom else relative_name(photo, custom)
        try:
            faces = find(read_image(photo))
        except ImageError as error:
            failed.append((name, str(error)))
            continue
        named += [(name, number, face) for number, face in enumerate(faces, 1)]
    return named, failed


def _judge(asked: Predictor, named: Sequence[Named], threshold: float | None) -> list[Prediction]:
    from masktrain.data import CLASSES
    from masktrain.multiclass import ClassScores
    from masktrain.outcomes import answers_of

    scores = asked.score_pictures([face.image for _, _, face in named])
    if threshold is None:
        threshold = asked.classifier.threshold
    elif isinstance(scores, ClassScores):
        raise ValueError("--threshold is for networks of two classes; this one says the likeliest")
    answers = answers_of(scores, threshold)
    ways = scores.said_ways if isinstance(scores, ClassScores) else ("",) * len(named)
    told = zip(named, answers.said, answers.of_said, ways, strict=True)
    return [
        Prediction(photo, number, face, CLASSES[int(said)], float(sure), way)
        for (photo, number, face), said, sure, way in told
    ]


def write_crops(folder: Path, faces: Sequence[Prediction]) -> None:
    """Write every face that was found as <photo>-<number>.png, at the network's own framing.

    A name that another picture has, of this call or an earlier one, gets " (2)" and so on.

    Raises:
        OSError: one cannot be written.
    """
    from MaskTheFace.images import write_image
    from masktrain.finders import WHOLE

    for face in faces:
        if face.found.how != WHOLE:
            photo = "-".join(Path(face.photo).with_suffix("").parts)
            path = _free(folder, f"{photo}-{face.face}", face.found.image)
            write_image(path, face.found.image)


def _free(folder: Path, name: str, image: np.ndarray) -> Path:
    """Return the first path of this name that is not another picture's."""
    names = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
    paths = (folder / f"{one}.png" for one in names)
    return next(path for path in paths if not path.exists() or _is(path, image))


def _is(path: Path, image: np.ndarray) -> bool:
    import numpy as np

    from MaskTheFace.images import ImageError, read_image

    try:
        return np.array_equal(read_image(path), image)
    except ImageError:
        return False


def sheet(found: Predictions, shown: int) -> Figure:
    """Draw faces with what is said of them, then the pictures drawn by code."""
    from masktrain.figures import sectioned_grid

    sections = {}
    if found.faces:
        several = f", the first {shown}" if len(found.faces) > shown else ""
        sections[f"your photos: {len(found.faces)} faces{several}"] = found.faces[:shown]
    sections["never meant for: drawn by code, none wears a mask"] = found.oddities
    return sectioned_grid(
        {
            title: [(one.found.image, _caption(one)) for one in several]
            for title, several in sections.items()
        }
    )


def _caption(one: Prediction) -> str:
    name = one.photo if len(one.photo) <= 24 else f"...{one.photo[-21:]}"
    how = "" if one.found.how == DRAWN else f"({one.found.how})"
    way = f", {one.way}" if one.way not in ("", "correct") else ""
    todo = "" if one.found.how == DRAWN else textwrap.fill(one.advice, CAPTION_LETTERS)
    lines = (name, f"{one.said}{way} {one.probability:.2f}", todo, how)
    return "\n".join(filter(None, lines))


if __name__ == "__main__":
    sys.exit(main())
