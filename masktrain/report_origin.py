"""The part of a report that says where a network comes from: data, machine, commands, terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from masktrain.config import PrepareConfig
from masktrain.document import Block, Code, Heading, Paragraph, Picture, Table
from masktrain.run_record import RunRecord

WATTS_A_CORE = 10
"""Assumed draw of a busy server core with its share of memory and cooling."""
WATTS_A_GPU = {"H200": 700, "H100": 700, "A100": 400, "L4": 72, "T4": 70, "V100": 300}
WATTS_ANOTHER_GPU = 300
SOURCES = {
    "UTKFace": "web photos with age, gender and ethnicity; non-commercial research",
    "LFW": "press photos of public figures; research",
    "embedded model": "drawn people, fitted to UTKFace: non-commercial research",
    "other": "photos of the user's own, under their own terms",
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
            Paragraph(
                f"Crops by split, from `{run.data['data']}`. Faces are split by identity before "
                "masks are drawn, twins stay on one side, copies are dropped, and some masks and "
                "prints are kept for the test alone."
            ),
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


def reproduce(run: RunRecord) -> list[Block]:
    """Return commands, commit, versions, machine, time and an estimate of the energy."""
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
    table = Table(("what", "value"), tuple(rows))
    return [Heading("How to reproduce"), table, Code("\n".join(commands(run)))]


def commands(run: RunRecord) -> list[str]:
    """Return the commands that made the run and its numbers, as far as its files say."""
    name = run.folder.resolve().name
    found = []
    if run.prepared:
        found.append(_prepare_command(run))
    words = run.environment.get("command", ())
    if words:
        found.append("python -m masktrain." + " ".join(words).replace("train.py", "train"))
    for record in run.evaluations.values():
        split = f" --split {record['split']}" if record["split"] else ""
        data = record.get("data", "<data>")
        share = record.get("occluders")
        before = f" --occluders {share:g}" if share else ""
        words = f"--weights runs/{name} --data {data}{split}{before}"
        found.append(f"python -m masktrain.evaluate {words}")
    return found


def _prepare_command(run: RunRecord) -> str:
    """Return the command that prepared its faces: every setting that is not the default."""
    words = [f"python -m masktrain.prepare --faces {run.prepared.get('faces')}"]
    usual = asdict(PrepareConfig())
    for name in sorted(usual.keys() & run.prepared.keys() - {"faces", "output", "workers"}):
        value, flag = run.prepared[name], name.replace("_", "-")
        if value == (list(usual[name]) if isinstance(usual[name], tuple) else usual[name]):
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}")
        else:
            several = value if isinstance(value, list) else [value]
            words.append(f"--{flag} {' '.join(map(str, several))}")
    return " ".join([*words, f"--output {run.data.get('data', run.config.get('data'))}"])


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
        ("Masks", "drawn by MaskTheFace from what people wear; styles are in manifest.csv"),
        ("Labels", "from the rendered mask: nose tip and mouth covered is wearing_mask"),
        ("Splits", "by identity, before masks are drawn; copies dropped"),
        ("Landmarks", _landmarks(run.prepared)),
        ("Kept here", "no photo: only numbers, weights and drawings of people who do not exist"),
    ]
    return [Heading("Data sheet"), Table(("item", "value"), tuple(rows))]


def _landmarks(prepared: Mapping[str, Any]) -> str:
    if prepared.get("faces") == "demo":
        return "of the embedded model; no landmark model was used"
    dlib = "dlib's model, trained on iBUG 300-W (no commercial use)"
    if prepared.get("aligned") == "yes":
        return f"{dlib}, where it was installed; else the mean layout of aligned crops"
    return f"{dlib}, or, on tight crops, the mean; landmarks_how in manifest.csv says which"
