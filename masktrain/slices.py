"""How good a model is on parts of its faces: by mask, wear, pose, size and, where known, by group.

Convention: a slice is all faces that share a fact; its number is the share of them that the model
gets right, with Wilson's 95 % interval. What is known of a face comes from the manifest of
prepared data, from file names as UTKFace has them, and from a CSV of the user's.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from masktrain.document import table_text
from masktrain.metrics import Interval, Scores, json_safe, wilson
from masktrain.multiclass import CLASSES, ClassScores

LEAST_FACES = 20
"""Smaller slices are shown, but none of them is named as the worst."""
MOST_VALUES = 30
"""A column of a CSV with more values than this is no way to slice."""
UTK_NAME = re.compile(r"(?<!\d)(\d{1,3})_([01])_([0-4])_\d{8,}")
LFW_NAME = re.compile(r"(?:.*/)?(?P<person>[^/]+)/(?P=person)_\d{4}\.\w+")
DEMO_SOURCE = "demo:"
UTK_GENDER = ("male", "female")
UTK_GROUP = ("White", "Black", "Asian", "Indian", "other")
STATEMENT = (
    "Age, gender and ethnicity are what somebody wrote into file names or a list, not what people "
    "say of themselves; groups differ in photos, light and age as well. A gap says that the model "
    "does worse on these photos, not why, and no gap is no proof of fairness: small slices hide "
    "much."
)
ONLY_CLASS = "Nothing but the class is known of these faces."
Facts = Mapping[str, Sequence[str]]
"""Name of a fact to its value for each face, (N,); empty text where it is not known."""


class SlicesError(ValueError):
    """Facts that cannot be used; the message names the file and says what to do."""


@dataclass(frozen=True)
class Slice:
    """The faces that share a fact."""

    fact: str
    value: str
    n: int
    right: Interval
    """Share that the model gets right."""


@dataclass(frozen=True)
class Slices:
    """All slices of a set of faces, and the worst."""

    n: int
    right: Interval
    rows: tuple[Slice, ...]

    @property
    def worst(self) -> Slice | None:
        """The slice of 20 faces or more with the lowest share right; None where there is none."""
        large = [row for row in self.rows if row.n >= LEAST_FACES]
        return min(large, key=lambda row: row.right.value, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that strict JSON accepts."""
        record: dict[str, Any] = json_safe(asdict(self) | {"worst": None})
        if self.worst is not None:
            record["worst"] = json_safe(asdict(self.worst))
        return record

    def markdown(self) -> str:
        """Return the table that a person reads."""
        lines = [
            "# Slices",
            "",
            f"Share of faces told right, with 95 % intervals; of all {self.n:,}: "
            f"{self.right.cell()}.",
            "",
            "| fact | value | n | told right |",
            "|---|---|---|---|",
            *(
                f"| {table_text(row.fact)} | {table_text(row.value)} | {row.n:,} | "
                f"{row.right.cell()} |"
                for row in self.rows
            ),
            "",
            self._worst(),
        ]
        if any(row.fact in ("age", "gender", "ethnicity", "skin tone") for row in self.rows):
            lines += ["", STATEMENT]
        return "\n".join(lines) + "\n"

    def _worst(self) -> str:
        if self.worst is None:
            return f"No slice has {LEAST_FACES} faces: none is named as the worst."
        if {row.fact for row in self.rows} == {"class"}:
            return ONLY_CLASS
        return (
            f"Worst of {len(self.rows)} slices, among those of {LEAST_FACES} faces or more: "
            f"**{self.worst.fact} {self.worst.value}**, {self.worst.right.cell()} of "
            f"{self.worst.n:,}. The worst of many looks worse than it is.{self._small()}"
        )

    def _small(self) -> str:
        """Name the smaller slices that are worse beyond doubt."""
        assert self.worst is not None
        sure = [
            f"{row.fact} {row.value}, {row.right.cell()} of {row.n}"
            for row in self.rows
            if row.n < LEAST_FACES and row.right.high < self.worst.right.value
        ]
        return f" Smaller, and lower beyond chance: {'; '.join(sure)}." if sure else ""


def slice_scores(scores: Scores | ClassScores, facts: Facts, threshold: float = 0.5) -> Slices:
    """Return how good a model is on each slice.

    Args:
        scores: of N faces.
        facts: what is known of them.
        threshold: for two classes: from which score on a face counts as masked.
    """
    said = scores.said if isinstance(scores, ClassScores) else scores.scores >= threshold
    right = np.asarray(said == scores.labels)
    classes = [CLASSES[label] for label in scores.labels]
    rows = []
    for fact, values in {"class": classes, **facts}.items():
        known = np.array(values, str)
        for value in ordered(set(known.tolist()) - {""}):
            chosen = right[known == value]
            rows.append(Slice(fact, value, len(chosen), wilson(int(chosen.sum()), len(chosen))))
    return Slices(len(right), wilson(int(right.sum()), len(right)), tuple(rows))


def ordered(values: set[str]) -> list[str]:
    """Sort numbers (in "20 to 39", by the first) as numbers, all else as text."""
    return sorted(values, key=lambda value: (*_leading(value), value))


def _leading(value: str) -> tuple[bool, float]:
    match = re.match(r"\d+", value)
    return (False, float(match[0])) if match else (True, 0.0)


def facts_of(root: Path, paths: Sequence[str], listed: Path | None = None) -> Facts:
    """Return what is known of crops.

    Args:
        root: their folder; the manifest, landmarks and settings of prepared data lie in it.
        paths: of the crops, relative to it.
        listed: a CSV with a column `path` (or a file's name alone) and any others.

    Raises:
        SlicesError: the CSV cannot be used.
    """
    facts: dict[str, list[str]] = _from_manifest(root, paths)
    facts |= _from_names(paths)
    if listed is not None:
        facts |= _from_csv(listed, paths)
    return {name: values for name, values in facts.items() if any(values)}


def _from_manifest(root: Path, paths: Sequence[str]) -> dict[str, list[str]]:
    from MaskTheFace.manifest import ManifestRow, rows_by_path
    from MaskTheFace.style import MaskStyle
    from MaskTheFace.templates import TEMPLATES

    known = rows_by_path(root)
    if not known:
        return {}
    rows = [known.get(path, ManifestRow()) for path in paths]
    styles = [MaskStyle.from_json(row.style) if row.style else None for row in rows]
    return {
        "mask type": [TEMPLATES[style.template].kind if style else "" for style in styles],
        "pattern": [style.pattern or "plain" if style else "" for style in styles],
        "colour": [_color_name(style.color) if style and style.color else "" for style in styles],
        "art": [
            {"1": "kept from training", "0": "as in training"}.get(row.held_out, "") for row in rows
        ],
        "wear": [row.wear for row in rows],
        "turn": _turns(root, paths),
        "face": [_size_name(row.box_xyxy) for row in rows],
    }


def _color_name(rgb: Sequence[int]) -> str:
    """Name a colour in words people use; the borders are by eye."""
    import colorsys

    hue, lightness, saturation = colorsys.rgb_to_hls(*(part / 255 for part in rgb))
    if lightness < 0.16:
        return "black"
    if saturation < 0.14 or lightness > 0.94:
        return "white" if lightness > 0.8 else "grey"
    for border, name in ((20, "red"), (45, "orange"), (70, "yellow"), (165, "green")):
        if hue * 360 < border:
            return name
    for border, name in ((255, "blue"), (290, "purple"), (340, "pink")):
        if hue * 360 < border:
            return name
    return "red"


def _turns(root: Path, paths: Sequence[str]) -> list[str]:
    """Return how far each head is turned, from the landmarks of its bare crop."""
    from MaskTheFace.geometry import turn_of
    from MaskTheFace.landmarks import read_landmarks
    from masktrain.prepare import LANDMARKS

    if not (root / LANDMARKS).is_file():
        return [""] * len(paths)
    points = read_landmarks(root / LANDMARKS)
    found = []
    for path in paths:
        split, _, name = path.partition("/")
        bare = f"{split}/{CLASSES[0]}/{name.partition('/')[2]}"
        turn = abs(turn_of(points[bare][0])) if bare in points else None
        found.append("" if turn is None else _turn_name(turn))
    return found


def _turn_name(turn: float) -> str:
    if turn < 0.17:
        return "0 to 10 degrees"
    return "10 to 25 degrees" if turn < 0.42 else "25 degrees and more"


def _size_name(box_xyxy: str) -> str:
    if not box_xyxy:
        return ""
    x0, y0, x1, y1 = map(int, box_xyxy.split())
    side = max(x1 - x0, y1 - y0)
    for border in (48, 96, 192):
        if side < border:
            return f"{border // 2} to {border - 1} px" if border > 48 else "up to 47 px"
    return "192 px and more"


def sources_of(root: Path, paths: Sequence[str]) -> dict[str, int]:
    """Return how many crops are of a known source of photos, by what the manifest says they were
    cut from; others, and all of a folder without a manifest, apart."""
    from MaskTheFace.manifest import rows_by_path

    known = rows_by_path(root)
    counts = Counter(_source_of(known[path].source if path in known else "") for path in paths)
    order = ("UTKFace", "LFW", "embedded model", "other")
    return {name: counts[name] for name in order if counts[name]}


def _source_of(source: str) -> str:
    if source.startswith(DEMO_SOURCE):
        return "embedded model"
    if UTK_NAME.match(source.rpartition("/")[2]):
        return "UTKFace"
    return "LFW" if LFW_NAME.fullmatch(source) else "other"


def _from_names(paths: Sequence[str]) -> dict[str, list[str]]:
    """Read age, gender and ethnicity out of file names as UTKFace has them."""
    found = [UTK_NAME.search(Path(path).name) for path in paths]
    return {
        "age": [_age_name(int(match[1])) if match else "" for match in found],
        "gender": [UTK_GENDER[int(match[2])] if match else "" for match in found],
        "ethnicity": [UTK_GROUP[int(match[3])] if match else "" for match in found],
    }


def _age_name(age: int) -> str:
    for low, high in ((0, 12), (13, 19), (20, 39), (40, 59)):
        if age <= high:
            return f"{low} to {high}"
    return "60 and more"


def _read_csv(path: Path) -> list[dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SlicesError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from None
    rows = list(csv.DictReader(text.splitlines()))
    if not rows or "path" not in rows[0]:
        raise SlicesError(f"{path}: needs a column path, and a row for each crop")
    return rows


def _from_csv(path: Path, paths: Sequence[str]) -> dict[str, list[str]]:
    rows = _read_csv(path)
    found = _rows_by_path(rows, paths)
    if not any(found):
        raise SlicesError(f"{path}: none of its paths is a crop that is evaluated")
    names = [name for name in rows[0] if name and name not in ("path", "identity")]
    if "class" in names:
        raise SlicesError(f"{path}: class is what the folders say; give that column another name")
    facts = {
        name.replace("_", " "): [row[name] or "" if row else "" for row in found] for name in names
    }
    for name, values in facts.items():
        if len(set(values)) > MOST_VALUES:
            raise SlicesError(
                f"{path}: {name} has {len(set(values))} values; put them into at most "
                f"{MOST_VALUES} groups, or leave the column out"
            )
    return facts


def _rows_by_path(
    rows: Sequence[dict[str, str]], paths: Sequence[str]
) -> list[dict[str, str] | None]:
    """Return the row of each crop: that of its path, or of its name where no folder is given."""
    known = {Path(row["path"]).as_posix(): row for row in rows if row["path"]}
    return [known.get(crop) or known.get(Path(crop).name) for crop in paths]


def identities_of(root: Path, paths: Sequence[str], listed: Path | None = None) -> list[str] | None:
    """Return whose face each crop shows, from the manifest or a CSV's column `identity`; or None.

    Raises:
        SlicesError: the CSV cannot be used.
    """
    from MaskTheFace.manifest import rows_by_path

    known = rows_by_path(root)
    names = [known[path].identity if path in known else "" for path in paths]
    if listed is not None:
        found = _rows_by_path(_read_csv(listed), paths)
        told = [row.get("identity") or "" if row else "" for row in found]
        names = [one or other for one, other in zip(told, names, strict=True)]
    return names if any(names) else None
