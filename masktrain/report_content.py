"""What a report says of a run: every number is read from the run's files.

Each section is a function from the run to blocks of a document; a section whose files are missing
says so, or is left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from masktrain.best import LAST
from masktrain.config import FULL_PX, TrainConfig
from masktrain.document import Block, Bullets, Heading, Paragraph, Picture, Table, parse
from masktrain.explain_report import TITLES
from masktrain.report_origin import data, data_sheet, reproduce
from masktrain.report_results import (
    audit,
    calibration,
    comparisons,
    figure,
    probes,
    results,
    slices,
)
from masktrain.run_record import RunRecord, cell, mask_or_none

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


def content(run: RunRecord, pictures: Mapping[str, Path], stages: Sequence[Any]) -> list[Block]:
    """Return the whole report.

    Args:
        run: what it is about.
        pictures: drawn for it: `samples`, `network`, `oddities`, as far as there are any.
        stages: of the network, as in `architecture`; none: left out.
    """
    name = run.folder.resolve().name
    blocks: list[Block] = [Heading(f"masktrain: {name}", 1), *_summary(run), *_task(run)]
    blocks += [*data(run, pictures), *_network(run, pictures, stages), *_training(run)]
    blocks += [*results(run), *slices(run), *calibration(run), *comparisons(run)]
    blocks += [
        *probes(run),
        *audit(run),
        *_explanation(run),
        *_ablations(run),
        *_qualitative(pictures),
        *limits(run),
    ]
    return [*blocks, *reproduce(run), *model_card(run), *data_sheet(run)]


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
        text = "No real faces but those that chose epoch or threshold were judged yet: no headline."
        return [Paragraph(text)]
    found = run.evaluations[name]
    two = mask_or_none(found)
    parts = [
        f"**Headline.** On {two['n']:,} real faces ({name}), which chose neither epoch nor "
        "threshold, mask or none: "
        f"ROC-AUC {cell(two['roc_auc'])}, balanced accuracy {cell(two['balanced_accuracy'])} "
        f"at threshold {two['threshold']:g}."
    ]
    if run.drawn:
        parts[0] += " No real mask was trained on."
    if "classes" in found:
        parts.append(
            f"Three classes on {found['n']:,} faces: macro recall "
            f"{cell(found['balanced_accuracy'])}."
        )
    return [Paragraph(" ".join(parts) + " Brackets hold 95 % intervals.")]


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
        Paragraph(_learned_from(run)),
    ]


def _learned_from(run: RunRecord) -> str:
    if run.drawn:
        return (
            "It learned from photos of bare faces alone: MaskTheFace drew masks of many types, "
            "colours and ways of wearing onto them. The question of this report is how well that "
            "holds for real masks."
        )
    if run.prepared:
        return (
            "MaskTheFace drew the masks that it learned from onto photos of bare faces; but it "
            f"began with the weights `{run.config.get('init')}`, and what these had seen its files "
            "do not say."
        )
    return "Who wears the masks that it learned from, or drew them, its files do not say."


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
    "shufflenet_v2_x0_5": (
        "ShuffleNet v2 at half the width (Ma et al. 2018): in each unit but the first of a stage "
        "half of the channels pass untouched, the other half go through a 1x1, a 3x3 filter for "
        "each channel by itself and another 1x1 convolution, and then the halves are shuffled, so "
        "that each sees the other in the next unit. The mean over what is left goes to a linear "
        "layer. It is the smallest network here."
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
    blocks += figure(run, "results.png", "Loss, accuracy, ROC-AUC and learning rate by epoch.")
    blocks += figure(
        run, "roc.png", "ROC curves of every epoch: a fan that closes as the network learns."
    )
    return blocks + _sizes(run) + _restarts(run)


def _sizes(run: RunRecord) -> list[Block]:
    """Say what the curves of a run mean that began with small crops."""
    config = TrainConfig.from_dict(run.config)
    if config.first_px == FULL_PX:
        return []
    sides = [config.side_px(epoch) for epoch in range(1, config.epochs + 1)]
    full = sides.index(FULL_PX) + 1
    begun = f"Epochs before the {_nth(full)} were trained on crops of {config.first_px} px and "
    begun += "more, "
    if any(row.get("side_px") for row in run.history):
        text = "and judged on these: only those from there on, at the full size, are chosen from."
    else:
        text = f"but judged at {FULL_PX} px, where such a network is lost: the first part of the "
        text += "curves of val and real_val says little about what was learned."
    return [Paragraph(begun + text)]


def _restarts(run: RunRecord) -> list[Block]:
    """Say where the rate of a run began anew."""
    restarts = TrainConfig.from_dict(run.config).restarts
    if not restarts:
        return []
    after = " and ".join(_nth(epoch) for epoch in restarts)
    return [
        Paragraph(
            f"After the {after} epoch the learning rate began anew, on crops at the full size. "
            "The settings above are those of the last part; env.json has the command of each."
        )
    ]


def _nth(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0)
    return f"{number}{ending or 'th'}"


def _explanation(run: RunRecord) -> list[Block]:
    blocks: list[Block] = []
    for path in sorted(run.folder.glob("explain/*/explain.md")):
        pictures = _heat_pictures(run, path.parent)
        blocks += _in_brief(
            parse(path.read_text(encoding="utf-8"), path.parent, deeper=2), pictures
        )
        blocks.append(
            Paragraph(f"Tables of all slices: `{path.relative_to(run.folder).as_posix()}`.")
        )
        blocks += pictures
    return [Heading("What it looks at"), *blocks] if blocks else []


def _in_brief(parts: Sequence[Block], pictures: Sequence[Block]) -> list[Block]:
    """Return an explanation without its tables of slices and, where the report shows no pictures
    of it, without what tells them."""
    kept: list[Block] = []
    about_pictures = False
    for part in parts:
        if isinstance(part, Heading):
            about_pictures = part.text == "Pictures"
        of_slices = isinstance(part, Table) and part.head[0] != TITLES["answer"]
        if not of_slices and (pictures or not about_pictures):
            kept.append(part)
    return kept


def _heat_pictures(run: RunRecord, folder: Path) -> list[Block]:
    """Return the pictures of an explanation; none where they show people: reports are published."""
    path = folder / "explain.json"
    if not path.is_file():
        return []
    record = run.read(path.relative_to(run.folder))
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
        blocks += [Paragraph("Plans of masktrain.ablate without a table:"), Bullets(tuple(missing))]
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


def limits(run: RunRecord) -> list[Block]:
    """Return what such a network cannot do, and must not be used for."""
    select = run.config.get("select")
    chose = "Validation crops of the data that it learned from chose the epoch"
    if select == "real_val":
        chose = "Real photos (real_val) chose the epoch, so their own numbers are a little kind"
    elif select == LAST:
        chose = "The last epoch is kept, whatever any faces said"
    unknown = (
        "**Trained on drawn masks.** Materials and ways of wearing that MaskTheFace does not draw "
        "are unknown to it."
        if run.drawn
        else "**What it learned from is not known here**, and so neither is what it never met."
    )
    return [
        Heading("Limits and ethics"),
        Bullets(
            (
                unknown,
                "**Crops in.** It judges a crop of one face; a finder that misses masked faces "
                "hides them from it. What is no face gets an answer all the same.",
                "**Bare faces carry their bias.** Photos of celebrities and of the web are no "
                "sample of any people; a group that is rare there may be judged worse.",
                "**A score is no proof.** It does not say who somebody is, whether a mask "
                "protects, or why somebody wears none. It is no reason to turn anybody away "
                "without a human look.",
                "**Watching people needs their consent** or a law; storing what a kiosk sees is "
                "not needed for this task.",
                f"**One seed, one choice.** {chose}; intervals are about other photos, not about "
                "another training.",
            )
        ),
    ]


def model_card(run: RunRecord) -> list[Block]:
    """Return what the network is, what it is for and how good it is, in a table."""
    classes = "no_mask, wearing_mask" + (
        ", worn_incorrectly" if run.config.get("classes") == 3 else ""
    )
    rows = [
        ("What it is", f"{run.config['model']} for crops of 112 px; classes {classes}"),
        (
            "Meant for",
            "teaching and research; reminders at kiosks and counting, where the terms of the "
            "photos that it learned from allow these",
        ),
        ("Not meant for", "decisions about people, identification, medical use, other pictures"),
        ("Trained on", "bare faces with drawn masks; no real mask" if run.drawn else "unknown"),
        ("Judged on", ", ".join(run.evaluations) or "nothing yet"),
        ("Headline", _headline_line(run)),
        ("Terms", "the code's are MIT; weights carry the terms of the photos they learned from"),
    ]
    return [Heading("Model card"), Table(("item", "value"), tuple(rows))]


def _headline_line(run: RunRecord) -> str:
    if run.headline is None:
        return "none yet"
    found = run.evaluations[run.headline]
    two = mask_or_none(found)
    return (
        f"{run.headline}: ROC-AUC {cell(two['roc_auc'])}, "
        f"balanced accuracy {cell(two['balanced_accuracy'])}"
        + (f"; macro recall {cell(found['balanced_accuracy'])}" if "classes" in found else "")
    )
