"""What a report says of a run: every number is read from the run's files.

Each section is a function from the run to blocks of a document; a section whose files are missing
says so, or is left out.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from masktrain.document import Block, Bullets, Code, Heading, Paragraph, Picture, Table, parse

WATTS_A_CORE = 10
"""Assumed draw of a busy server core with its share of memory and cooling."""
WATTS_A_GPU = {"H200": 700, "H100": 700, "A100": 400, "L4": 72, "T4": 70, "V100": 300}
WATTS_ANOTHER_GPU = 300
RECIPE = {
    "model": "network",
    "init": "first weights",
    "classes": "classes",
    "epochs": "epochs",
    "batch_size": "batch size",
    "optimizer": "optimiser",
    "lr": "highest learning rate",
    "weight_decay": "weight decay",
    "warmup_epochs": "epochs of warm-up",
    "first_px": "side of the first crops, px",
    "masks": "masks",
    "occluders": "share of faces with something before them",
    "select": "epoch chosen by",
    "seed": "seed",
}


class ContentError(ValueError):
    """A file of a run that cannot be used; the message names it."""


@dataclass(frozen=True)
class RunRecord:
    """A run folder and what else a report tells.

    Attributes:
        folder: the run.
        ablations: folder with <plan>/ablation.md.
    """

    folder: Path
    ablations: Path

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Settings of the run."""
        return self._json("config.json")

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        """Machine, versions, commit and command; empty where the run does not say."""
        return self._json("env.json") if (self.folder / "env.json").is_file() else {}

    @cached_property
    def evaluations(self) -> Mapping[str, Mapping[str, Any]]:
        """metrics.json of every set of faces, by its name."""
        paths = sorted(self.folder.glob("eval/*/metrics.json"))
        return {path.parent.name: self._json(path.relative_to(self.folder)) for path in paths}

    @cached_property
    def history(self) -> Sequence[Mapping[str, str]]:
        """Rows of results.csv."""
        with (self.folder / "results.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @property
    def headline(self) -> str | None:
        """Name of the real faces that chose nothing, a test by its name first; or None."""
        chose = Path(self.config.get("real_val") or "").name
        real = [name for name, found in self.evaluations.items() if found["split"] is None]
        free = [name for name in real if name != chose]
        return next((name for name in free if "test" in name), free[0] if free else None)

    def _json(self, name: Path | str) -> Mapping[str, Any]:
        path = self.folder / name
        try:
            record: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ContentError(f"{self.folder} has no {name}: give a run folder") from None
        except ValueError as error:
            raise ContentError(f"{path} is damaged: {error}") from None
        return record


def content(run: RunRecord, pictures: Mapping[str, Path], stages: Sequence[Any]) -> list[Block]:
    """Return the whole report.

    Args:
        run: what it is about.
        pictures: drawn for it: `samples`, `network`, `oddities`, as far as there are any.
        stages: of the network, as in `architecture`; none: left out.
    """
    name = run.folder.resolve().name
    blocks: list[Block] = [Heading(f"masktrain: {name}", 1), *_summary(run), *_task(run)]
    blocks += [*_data(run, pictures), *_network(run, pictures, stages), *_training(run)]
    blocks += [*_results(run), *_slices(run), *_calibration(run), *_probes(run)]
    blocks += [*_explanation(run), *_ablations(run), *_qualitative(pictures), *limits()]
    return [*blocks, *_reproduce(run), *model_card(run), *data_sheet(run)]


def gathered(blocks: Sequence[Block], folder: Path) -> list[Block]:
    """Copy every picture into a folder, under a name of its own, and let the blocks name these.

    Raises:
        OSError: a picture cannot be copied.
    """
    found: list[Block] = []
    for block in blocks:
        if isinstance(block, Picture) and not block.path.resolve().is_relative_to(folder.resolve()):
            kept = folder / "figures" / "-".join(block.path.parts[-3:])
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(block.path, kept)
            block = Picture(kept, block.caption)
        found.append(block)
    return found


Pictures = Mapping[str, Path]


def _summary(run: RunRecord) -> list[Block]:
    name = run.headline
    if name is None:
        return [Paragraph("No real faces that chose nothing were judged yet: no headline.")]
    found = run.evaluations[name]
    two = found.get("two_classes") or found
    parts = [
        f"**Headline.** On {two['n']:,} real faces ({name}) that chose nothing, mask or none: "
        f"ROC-AUC {_cell(two['roc_auc'])}, balanced accuracy {_cell(two['balanced_accuracy'])} "
        f"at threshold {two['threshold']:g}. No real mask was trained on."
    ]
    if "classes" in found:
        parts.append(
            f"Three classes on {found['n']:,} faces: macro recall "
            f"{_cell(found['balanced_accuracy'])}."
        )
    return [Paragraph(" ".join(parts) + " Brackets hold 95 % intervals.")]


def _cell(interval: Mapping[str, float | None]) -> str:
    if interval["value"] is None:
        return "unknown"
    if interval["low"] is None:
        return f"{interval['value']:.3f}"
    return f"{interval['value']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})"


def _task(run: RunRecord) -> list[Block]:
    three = (
        " A third class, worn incorrectly, holds masks that leave nose or mouth free; the network "
        "also learns how each is worn, so that it can say what to do."
        if run.config.get("classes") == 3
        else " Masks that leave nose or mouth free are neither class and are left out."
    )
    return [
        Heading("Task"),
        Paragraph(
            "Is this face wearing a mask? The network sees a square crop of one face and answers "
            "with a probability. A mask is worn when it covers the tip of the nose and the mouth, "
            f"as seen on the picture.{three}"
        ),
        Paragraph(
            "It learned from photos of bare faces alone: MaskTheFace drew masks of many types, "
            "colours and ways of wearing onto them. The question of this report is how well that "
            "holds for real masks."
        ),
    ]


def _data(run: RunRecord, pictures: Pictures) -> list[Block]:
    blocks: list[Block] = [Heading("Data")]
    path = run.folder / "data.json"
    if path.is_file():
        data = json.loads(path.read_text(encoding="utf-8"))
        names = list(dict.fromkeys(name for counts in data["crops"].values() for name in counts))
        rows = [
            (series, *(f"{counts.get(name, 0):,}" for name in names))
            for series, counts in data["crops"].items()
        ]
        blocks += [
            Paragraph(
                f"Crops by split, from `{data['data']}`. Faces are split by identity before masks "
                "are drawn, twins stay on one side, copies are dropped, and some masks and prints "
                "are kept for the test alone."
            ),
            Table(("split", *names), tuple(rows)),
        ]
    if "samples" in pictures:
        blocks.append(
            Picture(
                pictures["samples"],
                "Training crops as the network sees them, drawn on people who do not exist.",
            )
        )
    return blocks


def _network(run: RunRecord, pictures: Pictures, stages: Sequence[Any]) -> list[Block]:
    if not stages:
        return []
    total = sum(stage.parameters for stage in stages)
    rows = [
        (stage.name, stage.what, " x ".join(map(str, stage.shape)), f"{stage.parameters:,}")
        for stage in stages
    ]
    name = str(run.config["model"])
    return [
        Heading("Network"),
        Paragraph(_DESCRIPTIONS.get(name, _DESCRIPTIONS["mobilenet"])),
        Paragraph(f"As built here, {name} has {total:,} parameters."),
        *(
            [Picture(pictures["network"], f"{name}, stage by stage.")]
            if "network" in pictures
            else []
        ),
        Table(("stage", "what it is", "what leaves it", "parameters"), tuple(rows)),
    ]


_DESCRIPTIONS = {
    "resnet50": (
        "ResNet-50 (He et al. 2016) is a convolutional network of 50 layers. A first convolution "
        "and a maximum shrink the crop to a quarter; four stages of bottleneck blocks follow. A "
        "block squeezes its input with a 1x1 convolution, looks around with a 3x3 one, widens the "
        "result fourfold with another 1x1 and adds it to its input, so that it only has to learn "
        "what to change. Each stage but the first halves height and width and doubles the "
        "channels. The mean over what is left of the picture goes to a linear layer."
    ),
    "resnet18": (
        "ResNet-18 (He et al. 2016): a first convolution and a maximum shrink the crop to a "
        "quarter; four stages of two blocks follow, each two 3x3 convolutions whose result is "
        "added to the block's input. The mean over what is left goes to a linear layer."
    ),
    "mobilenet": (
        "A MobileNet (Sandler et al. 2018; Howard et al. 2019): inverted residual blocks widen "
        "their input with a 1x1 convolution, filter each channel by itself and narrow it again, at "
        "a small part of the cost of a ResNet."
    ),
}


def _training(run: RunRecord) -> list[Block]:
    rows = [(title, f"{run.config[name]}") for name, title in RECIPE.items() if name in run.config]
    blocks: list[Block] = [Heading("Training"), Table(("setting", "value"), tuple(rows))]
    blocks += _figure(run, "results.png", "Loss, accuracy, ROC-AUC and learning rate by epoch.")
    return blocks + _figure(
        run, "roc.png", "ROC curves of every epoch: a fan that closes as the network learns."
    )


def _figure(run: RunRecord, name: str, caption: str) -> list[Block]:
    path = run.folder / name
    return [Picture(path, caption)] if path.is_file() else []


def _results(run: RunRecord) -> list[Block]:
    path = run.folder / "results.md"
    if not path.is_file():
        return [Heading("Results"), Paragraph("Nothing was evaluated yet.")]
    blocks = [Heading("Results"), *parse(path.read_text(encoding="utf-8"), run.folder)]
    for name in run.evaluations:
        for figure, caption in (
            ("confusion_matrix.png", "counts of true and said classes"),
            ("roc.png", "ROC curve with its 95 % band"),
            ("pr.png", "precision-recall curve with its 95 % band"),
        ):
            if name == run.headline or figure == "confusion_matrix.png":
                blocks += _figure(run, f"eval/{name}/{figure}", f"{name}: {caption}.")
    return blocks


def _slices(run: RunRecord) -> list[Block]:
    blocks: list[Block] = []
    for name in run.evaluations:
        path = run.folder / "eval" / name / "slices.md"
        if path.is_file():
            parts = parse(path.read_text(encoding="utf-8"), path.parent)[1:]
            blocks += [Heading(name, 3), *parts]
            blocks += _figure(run, f"eval/{name}/slices.png", f"{name}: share told right by slice.")
    return [Heading("Slices"), *blocks] if blocks else []


def _calibration(run: RunRecord) -> list[Block]:
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
            _cell(one["ece"]),
            "-" if one["temperature"] is None else f"{one['temperature']:.2f}",
            "-" if one["ece_tempered"] is None else _cell(one["ece_tempered"]),
        )
        for name, one in found.items()
    ]
    head = ("faces", "n", "calibration error", "temperature", "error with it")
    text = (
        "The mean gap between the probability that the network states and the share of cases in "
        "which it is right, over 15 bins (ECE). The temperature was fitted on validation scores "
        "alone; it changes no answer."
    )
    blocks: list[Block] = [Heading("Calibration"), Paragraph(text), Table(head, tuple(rows))]
    name = run.headline
    if name is not None:
        blocks += _figure(run, f"eval/{name}/calibration.png", f"{name}: stated and observed.")
    return blocks


def _markdown_section(title: str, path: Path) -> list[Block]:
    """Return a file's own words under a heading; nothing where there is no such file."""
    if not path.is_file():
        return []
    return [Heading(title), *parse(path.read_text(encoding="utf-8"), path.parent)[1:]]


def _probes(run: RunRecord) -> list[Block]:
    return _markdown_section("Shortcut probes", run.folder / "probes" / "probes.md")


def _explanation(run: RunRecord) -> list[Block]:
    blocks: list[Block] = []
    for path in sorted(run.folder.glob("explain/*/explain.md")):
        parts = parse(path.read_text(encoding="utf-8"), path.parent, deeper=2)
        blocks += [part for part in parts if not isinstance(part, Picture) or part.path.is_file()]
        blocks += _heat_pictures(path.parent)
    return [Heading("What it looks at"), *blocks] if blocks else []


def _heat_pictures(folder: Path) -> list[Block]:
    """Return the pictures of an explanation; none where they show people: reports are published."""
    path = folder / "explain.json"
    if not path.is_file():
        return []
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ContentError(f"{path} is damaged: {error}") from None
    if not record.get("shows_nobody"):
        return []
    names = [grid["name"] for grid in record["grids"] if (folder / f"{grid['name']}.png").is_file()]
    return [
        Picture(folder / f"{name}.png", f"{name.replace('_', ' ')}, of people who do not exist.")
        for name in names
    ]


def _ablations(run: RunRecord) -> list[Block]:
    from masktrain.plans import PLANS

    blocks: list[Block] = []
    for path in sorted(run.ablations.glob("*/ablation.md")):
        blocks += parse(path.read_text(encoding="utf-8"), path.parent, deeper=2)
    missing = [
        f"`{plan.name}`: {plan.title.lower()}"
        for plan in PLANS.values()
        if not (run.ablations / plan.name / "ablation.md").is_file()
    ]
    if missing:
        blocks += [Paragraph("Planned and not run:"), Bullets(tuple(missing))]
    return [Heading("Ablations"), *blocks]


def _qualitative(pictures: Pictures) -> list[Block]:
    if "oddities" not in pictures:
        return []
    return [
        Heading("Out of its domain"),
        Picture(
            pictures["oddities"],
            "Pictures that no network of masks was meant for, drawn by code, with what it says.",
        ),
    ]


def limits() -> list[Block]:
    """Return what such a network cannot do, and must not be used for."""
    return [
        Heading("Limits and ethics"),
        Bullets(
            (
                "**Trained on drawn masks.** Materials and ways of wearing that MaskTheFace does "
                "not draw are unknown to it.",
                "**Crops in.** It judges a crop of one face; a finder that misses masked faces "
                "hides them from it. What is no face gets an answer all the same.",
                "**Bare faces carry their bias.** Photos of celebrities and of the web are no "
                "sample of any people; a group that is rare there may be judged worse.",
                "**A score is no proof.** It does not say who somebody is, whether a mask "
                "protects, or why somebody wears none. It is no reason to turn anybody away "
                "without a human look.",
                "**Watching people needs their consent** or a law; storing what a kiosk sees is "
                "not needed for this task.",
                "**One seed, one choice.** real_val chose the epoch, so its own numbers are a "
                "little kind; intervals are about other photos, not about another training.",
            )
        ),
    ]


def _reproduce(run: RunRecord) -> list[Block]:
    found = run.environment
    rows = [
        ("commit", str(found.get("git_commit") or "unknown")),
        ("seed", str(run.config.get("seed"))),
        ("device", f"{found.get('device')}, {found.get('cores')} cores, {found.get('precision')}"),
        ("Python", str(found.get("python"))),
        ("packages", ", ".join(f"{k} {v}" for k, v in found.get("packages", {}).items())),
        ("time", f"{_hours(run):.1f} hours for {len(run.history) - 1} epochs and their evaluation"),
        ("energy", _energy(run)),
    ]
    command = "python -m masktrain." + " ".join(found.get("command", ())).replace(
        "train.py", "train"
    )
    blocks: list[Block] = [Heading("How to reproduce"), Table(("what", "value"), tuple(rows))]
    return [*blocks, Code(command)] if found.get("command") else blocks


def _hours(run: RunRecord) -> float:
    return sum(float(row["time_s"]) for row in run.history if row.get("time_s")) / 3600


def _energy(run: RunRecord) -> str:
    """Return an estimate of the energy, with what it assumes."""
    device = str(run.environment.get("device", "cpu"))
    if device.startswith("cuda"):
        known = (watts for name, watts in WATTS_A_GPU.items() if name in device)
        watts = next(known, WATTS_ANOTHER_GPU)
        return f"about {_hours(run) * watts / 1000:.2f} kWh (a GPU at {watts} W, an upper bound)"
    cores = int(run.environment.get("cores") or 1)
    used = _hours(run) * cores * WATTS_A_CORE / 1000
    return f"about {used:.2f} kWh (assumed: {WATTS_A_CORE} W for each of {cores} cores)"


def model_card(run: RunRecord) -> list[Block]:
    """Return what the network is, what it is for and how good it is, in a table."""
    classes = "no_mask, wearing_mask" + (
        ", worn_incorrectly" if run.config.get("classes") == 3 else ""
    )
    rows = [
        ("What it is", f"{run.config['model']} for crops of 112 px; classes {classes}"),
        ("Meant for", "reminders at kiosks, counting, teaching and research on synthetic data"),
        ("Not meant for", "decisions about people, identification, medical use, other pictures"),
        ("Trained on", "bare faces with drawn masks; no real mask"),
        ("Judged on", ", ".join(run.evaluations) or "nothing yet"),
        ("Headline", _headline_line(run)),
        ("Terms", "the code's are MIT; weights carry the terms of the photos they learned from"),
    ]
    return [Heading("Model card"), Table(("item", "value"), tuple(rows))]


def _headline_line(run: RunRecord) -> str:
    if run.headline is None:
        return "none yet"
    found = run.evaluations[run.headline]
    two = found.get("two_classes") or found
    return (
        f"{run.headline}: ROC-AUC {_cell(two['roc_auc'])}, "
        f"balanced accuracy {_cell(two['balanced_accuracy'])}"
    )


def data_sheet(run: RunRecord) -> list[Block]:
    """Return what it learned from, and on which terms, in a table."""
    rows = [
        ("Bare faces", f"`{run.config.get('data') or run.config.get('faces')}`"),
        ("Masks", "drawn by MaskTheFace from what people wear; styles are in manifest.csv"),
        ("Labels", "from the rendered mask: nose tip and mouth covered is wearing_mask"),
        ("Splits", "by identity, before masks are drawn; copies dropped"),
        ("UTKFace", "web photos with age, gender and ethnicity; non-commercial research"),
        ("LFW", "press photos of public figures; research"),
        ("Landmarks", "dlib's model, trained on iBUG 300-W: no commercial use"),
        ("Kept here", "no photo: only numbers, weights and drawings of people who do not exist"),
    ]
    return [Heading("Data sheet"), Table(("item", "value"), tuple(rows))]
