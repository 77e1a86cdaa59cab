"""The report of an explanation: rows of numbers, the text a person reads, the JSON a program does.

All rows but those of wrong answers are of faces told rightly: evidence for a wrong answer is
another thing, and would blur how well the right ones are founded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from masktrain.heat import MASK, REGIONS, FaceHeat, Focus, focus
from masktrain.heat_figures import NAMES
from masktrain.metrics import Interval, json_safe
from masktrain.multiclass import CLASSES
from masktrain.outcomes import OUTCOMES
from masktrain.slices import ordered

MIN_FACES = 5
"""A slice of fewer faces is listed, but not named as the worst."""
FOLLOWS = 0.5
"""A cell that follows its place by less than this says little about where."""
SHOWN_LEFT_OUT = 5
TITLES = {"answer": "class and answer", "template": "mask", "wear": "worn"}


@dataclass(frozen=True)
class Row:
    """Where the heat of some faces lies, by one method.

    Attributes:
        kind: answer, template, wear or the name of a fact. name: of the slice.
        faces: how many; those whose map has no heat among them.
        focus: by region.
    """

    method: str
    kind: str
    name: str
    faces: int
    focus: Mapping[str, Focus]


@dataclass(frozen=True)
class Grid:
    """A picture of some faces.

    Attributes:
        name: the outcome, one of `outcomes.OUTCOMES`, which is the file's name too.
        of: how many faces have it. paths: those drawn, from the left.
    """

    name: str
    of: int
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What an explanation found.

    Attributes:
        source: weights, network, data and split.
        methods: how each works here, in words.
        grids: the pictures.
        follow: see `attribution.Cells`; None where Grad-CAM was not asked for.
        faces: those measured; empty where nobody knows where the masks lie.
        no_numbers: why there are none; empty where there are.
        left_out: path and reason of each face without known regions.
    """

    source: Mapping[str, Any]
    methods: Mapping[str, str]
    grids: tuple[Grid, ...]
    follow: float | None
    faces: tuple[FaceHeat, ...]
    no_numbers: str
    left_out: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that strict JSON accepts."""
        record: dict[str, Any] = json_safe(
            {
                **self.source,
                "methods": dict(self.methods),
                "gradcam_follow": self.follow,
                "grids": [asdict(grid) for grid in self.grids],
                "rows": [asdict(row) for row in self.rows],
                "worst": {method: self._worst_names(method) for method in self.methods},
                "no_numbers": self.no_numbers or None,
                "left_out": [{"path": path, "reason": why} for path, why in self.left_out],
                "faces": [_face_record(face) for face in self.faces],
            }
        )
        return record

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every row, method by method."""
        return tuple(
            _row(method, kind, name, faces)
            for method in self.methods
            for kind, name, faces in _slices(self.faces)
        )

    def markdown(self) -> str:
        """Return the text that a person reads."""
        source = self.source
        network = f"{source['model']}, epoch {source['epoch']}"
        split = f", {source['split']}" if source["split"] else ""
        lines = [
            "# Where the network looks",
            "",
            f"{network}, on {source['n']:,} faces of {source['data']}{split}. Explained is what "
            "the network said, be it right or wrong: the log-odds of that class against the rest. "
            "Heat is what speaks for it.",
            "",
            *(f"- {NAMES[name]}: {how}" for name, how in self.methods.items()),
            *self._warning(),
            "",
            *self._pictures(),
            *(self._numbers() if self.faces else ["## No numbers", "", self.no_numbers, ""]),
        ]
        return "\n".join(lines)

    @cached_property
    def sliced_by(self) -> tuple[str, ...]:
        """What faces are sliced by: their masks, and all else that is known of them."""
        return "template", "wear", *_facts(self.faces)

    def _worst_names(self, method: str) -> dict[str, str | None]:
        found = {kind: worst_of(self.rows, method, kind) for kind in self.sliced_by}
        return {kind: row.name if row else None for kind, row in found.items()}

    def _warning(self) -> list[str]:
        if self.follow is None or not self.follow < FOLLOWS:
            return []
        return [
            "",
            f"**Trust Grad-CAM little here**: where a cell lies a pixel further, the place that it "
            f"reads lies {self.follow:.2f} pixels further (measured; 1 would be just there). Every "
            "cell reads most of the picture, so that its heat says little about where.",
        ]

    def _pictures(self) -> list[str]:
        lines = ["## Pictures", "", _COLORS, ""]
        for grid in self.grids:
            how = "drawn by chance" if grid.name.startswith("true") else "the most wrong first"
            text = f"{OUTCOMES[grid.name]}; {len(grid.paths)} of {grid.of:,}, {how}"
            lines.append(f"- [{grid.name}.png]({grid.name}.png): {text}")
        return [*lines, ""]

    def _numbers(self) -> list[str]:
        lines = ["## Share of heat inside the mask", "", *_EXPLAINED, ""]
        for method in self.methods:
            lines += [f"### {NAMES[method]}", ""]
            for kind in ("answer", *self.sliced_by):
                if chosen := [r for r in self.rows if r.method == method and r.kind == kind]:
                    lines += [*_table(TITLES.get(kind, kind), chosen), ""]
            worst = [(worst_of(self.rows, method, kind), kind) for kind in self.sliced_by]
            lines += [*(_worst_line(row, kind) for row, kind in worst), ""]
        if self.left_out:
            lines.append(f"Left out {len(self.left_out):,} faces without a known mask:")
            lines += [f"- {why}" for _, why in self.left_out[:SHOWN_LEFT_OUT]]
            lines.append("")
        return lines


_COLORS = (
    "Each map is scaled to its own highest value. Blue, where it is known: the edge of the mask; "
    "dashed, on bare faces: of the mask that the masked twin wears."
)
_EXPLAINED = (
    "Heat is the positive part of a map, taken for mass that sums to 1: faint heat all over weighs "
    "as much as one bright spot. The mask is its alpha, drawn again from the manifest and checked "
    "against the picture; for bare faces the place where their twin's mask lies. Nose, mouth and "
    "chin are discs with a radius of .12 face widths around the landmarks. Area is the share of "
    "the picture that a region takes up, which evenly spread heat would give: 1.0 times chance; "
    "more than 1 / area cannot be. Mean over faces, 95 % intervals by bootstrap over faces. No "
    "heat: faces of which no pixel speaks for the answer; they are in no mean.",
    "",
    "All but the wrong answers of the first table are told rightly. Of a mask worn wrongly the "
    "skin that it leaves bare is evidence too, and lies outside of it. The worst of many slices is "
    "low by chance too: read its interval.",
)


def worst_of(rows: Sequence[Row], method: str, kind: str) -> Row | None:
    """Return the slice, of enough faces, whose heat is least on the mask against chance."""
    slices = [
        row
        for row in rows
        if row.method == method
        and row.kind == kind
        and row.focus[MASK].n >= MIN_FACES
        and math.isfinite(row.focus[MASK].times.value)
    ]
    return min(slices, key=lambda row: row.focus[MASK].times.value, default=None)


def _slices(faces: Sequence[FaceHeat]) -> list[tuple[str, str, list[FaceHeat]]]:
    """Return kind, name and faces of every slice that has any."""
    found: list[tuple[str, str, list[FaceHeat]]] = []
    for label, name in enumerate(CLASSES):
        for right, word in ((True, "rightly"), (False, "wrongly")):
            here = [face for face in faces if face.label == label and face.right == right]
            found.append(("answer", f"{name}, told {word}", here))
    told = [face for face in faces if face.right]
    well = [face for face in told if face.label == 1]
    found += _by("template", well, lambda face: face.template)
    found += _by("wear", told, lambda face: face.wear)
    for fact in _facts(faces):
        found += _by(fact, well, partial(_fact_of, fact))
    return [entry for entry in found if entry[2]]


def _facts(faces: Sequence[FaceHeat]) -> tuple[str, ...]:
    """Return the names of what is known of some faces, in order, but for wear, a kind by itself."""
    return tuple(dict.fromkeys(name for face in faces for name in face.facts if name != "wear"))


def _fact_of(name: str, face: FaceHeat) -> str:
    return face.facts.get(name, "")


def _by(
    kind: str, faces: Sequence[FaceHeat], key: Callable[[FaceHeat], str]
) -> list[tuple[str, str, list[FaceHeat]]]:
    names = ordered({key(face) for face in faces} - {""})
    return [(kind, name, [face for face in faces if key(face) == name]) for name in names]


def _row(method: str, kind: str, name: str, faces: Sequence[FaceHeat]) -> Row:
    return Row(
        method,
        kind,
        name,
        len(faces),
        {region: _focus(method, region, faces) for region in REGIONS},
    )


def _focus(method: str, region: str, faces: Sequence[FaceHeat]) -> Focus:
    known = [face for face in faces if region in face.areas]
    shares = np.array([face.shares[method][region] for face in known], np.float64)
    return focus(shares, np.array([face.areas[region] for face in known], np.float64))


def _face_record(face: FaceHeat) -> dict[str, Any]:
    record = asdict(face)
    return record | {"label": CLASSES[face.label], "said": CLASSES[face.said]}


def _table(head: str, rows: Sequence[Row]) -> list[str]:
    discs = [region for region in REGIONS if region != MASK]
    words = [head, "faces", "no heat", "heat in the mask", "its area", "times chance", *discs]
    lines = [f"| {' | '.join(words)} |", "|" + "---|" * len(words)]
    for row in rows:
        mask = row.focus[MASK]
        cells = [row.name, f"{row.faces:,}", f"{mask.blank:,}", _cell(mask.heat)]
        cells += [_number(mask.area), _cell(mask.times)]
        cells += [_short(row.focus[region]) for region in discs]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(found: Interval) -> str:
    return "-" if math.isnan(found.value) else found.cell()


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _short(found: Focus) -> str:
    if math.isnan(found.heat.value):
        return "-"
    return f"{found.heat.value:.3f}, {found.times.value:.1f} x"


def _worst_line(row: Row | None, kind: str) -> str:
    title = TITLES.get(kind, kind)
    if row is None:
        return f"- {title}: no slice has {MIN_FACES} faces, none is named as the worst."
    mask = row.focus[MASK]
    return f"- Worst slice: {title} **{row.name}**, {mask.times.cell()} times chance, n = {mask.n}."
