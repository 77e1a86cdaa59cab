"""The part of a report that says where a network comes from: data, machine, commands, terms."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from masktrain.config import PrepareConfig
from masktrain.document import Block, Code, Heading, Paragraph, Picture, Table
from masktrain.run_folder import WEIGHTS, is_best
from masktrain.run_record import RunRecord, mask_or_none

WATTS_A_CORE = 10
"""Assumed draw of a busy server core with its share of memory and cooling."""
WATTS_A_GPU = {"H200": 700, "H100": 700, "A100": 400, "L4": 72, "T4": 70, "V100": 300}
WATTS_ANOTHER_GPU = 300
SOURCES = {
    "UTKFace": "web photos with age, gender and ethnicity; non-commercial research",
    "LFW": "press photos of public figures; research",
    "embedded model": "drawn people, fitted to UTKFace: non-commercial research",
    "other": "photos of no source that file names tell, under their own terms",
}


def data(run: RunRecord, pictures: Mapping[str, Path]) -> list[Block]:
    """Return what it learned from, with pictures of people who do not exist."""
    blocks: list[Block] = [Heading("Data")]
    crops = run.data.get("crops", {})
    if crops:
        names = list(dict.fromkeys(name for counts in crops.values() for name in counts))
        rows = [
            (series, *(f"{counts.get(name, 0):,}" for name in names))
            for series, counts in crops.items()
        ]
        blocks += [
            Paragraph(f"Crops by split, from `{run.data['data']}`. {_split_how(run)}"),
            Table(("split", *names), tuple(rows)),
        ]
    else:
        blocks.append(Paragraph("The run did not write down how many crops it learned from."))
    if "samples" in pictures:
        blocks.append(
            Picture(
                pictures["samples"],
                "Training crops as the network sees them, drawn on people who do not exist.",
            )
        )
    return blocks


def _split_how(run: RunRecord) -> str:
    if not run.prepared:
        return "How these were made and split its files do not say."
    return (
        "Faces are split before masks are drawn, by person where folders name one, else by photo; "
        "twins stay on one side, copies are dropped, and some masks and prints are kept for the "
        "test alone."
    )


def reproduce(run: RunRecord) -> list[Block]:
    """Return commands, commit, versions, machine, time and an estimate of the energy."""
    found = run.environment
    rows = [
        ("commit", run.commits),
        ("seed", str(run.config.get("seed"))),
        ("device", f"{found.get('device')}, {found.get('cores')} cores, {found.get('precision')}"),
        ("Python", str(found.get("python"))),
        ("packages", ", ".join(f"{k} {v}" for k, v in found.get("packages", {}).items())),
        ("time", f"{_hours(run):.1f} hours for {len(run.history) - 1} epochs and their evaluation"),
        ("energy", _energy(run)),
    ]
    table = Table(("what", "value"), tuple(rows))
    return [Heading("How to reproduce"), table, Code("\n".join(commands(run)))]


def commands(run: RunRecord) -> list[str]:
    """Return the commands that made the run and its numbers, as far as its files say."""
    found = [_prepare_command(run)] if run.prepared else []
    later = run.environment.get("resumed", ())
    # Going on where a run was stopped changes no result; going on for longer does.
    longer = [one for one in later if any(w.split("=")[0] == "--epochs" for w in one["command"])]
    for part in (run.environment, *longer):
        if words := part.get("command", ()):
            module = Path(words[0]).stem
            found.append(shlex.join(["python", "-m", f"masktrain.{module}", *words[1:]]))
    return found + [_evaluate_command(run, record) for record in run.evaluations.values()]


def _evaluate_command(run: RunRecord, record: Mapping[str, Any]) -> str:
    """Return the command that judged the run on some faces."""
    weights = Path(record.get("weights", WEIGHTS[0]))
    own = Path("runs") / run.folder.resolve().name
    words = ["--weights", str(own if is_best(weights) else weights)]
    words += ["--data", record.get("data", "DATA")]
    if record["split"]:
        words += ["--split", record["split"]]
    if record.get("occluders"):
        words += ["--occluders", f"{record['occluders']:g}"]
    two = mask_or_none(record)
    if two.get("threshold_from", "fixed") != "fixed":
        words += ["--threshold", str(two["threshold"])]
    return shlex.join(["python", "-m", "masktrain.evaluate", *words])


def _prepare_command(run: RunRecord) -> str:
    """Return the command that prepared its faces: every setting that is not the default."""
    words = ["python", "-m", "masktrain.prepare", "--faces", str(run.prepared.get("faces"))]
    usual = asdict(PrepareConfig())
    for name in sorted(usual.keys() & run.prepared.keys() - {"faces", "output", "workers"}):
        value, flag = run.prepared[name], name.replace("_", "-")
        if value == (list(usual[name]) if isinstance(usual[name], tuple) else usual[name]):
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}")
        else:
            several = value if isinstance(value, list) else [value]
            words += [f"--{flag}", *map(str, several)]
    data = run.data.get("data", run.config.get("data"))
    return shlex.join([*words, "--output", str(data)])


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


def data_sheet(run: RunRecord) -> list[Block]:
    """Return what it learned from, and on which terms, in a table."""
    found = run.data.get("sources")
    named = found or dict.fromkeys(SOURCES, 0)
    rows = [
        ("Bare faces", f"`{run.config.get('data') or run.config.get('faces')}`"),
        *(
            (name, (f"{named[name]:,} training faces: " if found else "if used: ") + terms)
            for name, terms in SOURCES.items()
            if name in named
        ),
        *(_drawing(run.prepared) if run.prepared else [("Masks, labels, splits", "unknown")]),
        ("Kept here", "no photo: only numbers, weights and drawings of people who do not exist"),
    ]
    return [Heading("Data sheet"), Table(("item", "value"), tuple(rows))]


def _drawing(prepared: Mapping[str, Any]) -> list[tuple[str, str]]:
    without = prepared.get("without") or ()
    prior = "in even shares" if "prior" in without else "in shares that people wear"
    less = f", without {', '.join(without)}" if without else ""
    return [
        ("Masks", f"drawn by MaskTheFace {prior}{less}; styles are in manifest.csv"),
        ("Labels", "from the rendered mask: nose tip and mouth covered is wearing_mask"),
        ("Splits", "by person where folders name one, else by photo; copies dropped"),
        ("Landmarks", _landmarks(prepared)),
    ]


def _landmarks(prepared: Mapping[str, Any]) -> str:
    if prepared.get("faces") == "demo":
        return "of the embedded model; no landmark model was used"
    dlib = "dlib's model, trained on iBUG 300-W (no commercial use)"
    if prepared.get("aligned") == "yes":
        return f"{dlib}, where it was installed; else the mean layout of aligned crops"
    return f"{dlib}, or, on tight crops, the mean; landmarks_how in manifest.csv says which"
