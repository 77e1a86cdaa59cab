"""Is one run better than another? ``python -m masktrain.compare RUN RUN --faces NAME``.

Both runs were evaluated on the same faces; their predictions.csv are compared face by face:
McNemar's exact test of the mistakes, and a paired bootstrap of the areas, by people where they
are known. Writes compare.md and compare.json into the first run.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from MaskTheFace.commands import run_command

# SciPy and scikit-learn take seconds to import: --help does without them.
if TYPE_CHECKING:
    from masktrain.metrics import Interval, Scores


class CompareError(ValueError):
    """Runs that cannot be compared; the message says what to do."""


@dataclass(frozen=True)
class CompareConfig:
    """Compare two runs on the same faces."""

    runs: Annotated[tuple[Path, Path], tyro.conf.Positional, tyro.conf.arg(metavar="RUN RUN")]
    """Two run folders that were evaluated on the same faces."""
    faces: str = ""
    """Name of a folder in eval/ of both; not needed where they share one alone."""
    output: Path | None = None
    """Folder to write; by default <first run>/compare/<second run>-<faces>."""


@dataclass(frozen=True)
class Comparison:
    """How the second run differs from the first, on the same faces.

    Attributes:
        n: faces. of: how many each run was asked about. people: whose the faces are; each
            another's where nobody knows.
        first, second: names of the runs.
        only_first, only_second: faces that one of them alone gets right.
        mcnemar_p: how easily chance alone would make these two counts so unequal, if every face
            were another person's.
        accuracy: second minus first.
        roc_auc: second minus first, mask or none; None with one class alone.
    """

    faces: str
    n: int
    of: tuple[int, int]
    people: int
    first: str
    second: str
    only_first: int
    only_second: int
    mcnemar_p: float
    accuracy: Interval
    roc_auc: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that strict JSON accepts."""
        from masktrain.metrics import json_safe

        record: dict[str, Any] = json_safe(asdict(self))
        return record

    def markdown(self) -> str:
        """Return what a person reads."""
        area = "-" if self.roc_auc is None else self.roc_auc.cell("+")
        whose, hint = "", ""
        left = "" if set(self.of) == {self.n} else f" of {self.of[0]:,} and {self.of[1]:,}"
        if self.people < self.n:
            whose = f" of {self.people:,} people, who are resampled whole"
            hint = " (which takes each face for another person's: the intervals do not)"
        return (
            f"# {self.second} against {self.first}\n\n"
            f"On the same {self.n:,} faces ({self.faces}){left}{whose}; a positive number is in "
            f"favour of {self.second}.\n\n"
            "| measure | difference, 95 % interval |\n|---|---|\n"
            f"| share told right | {self.accuracy.cell('+')} |\n"
            f"| ROC-AUC, mask or none | {area} |\n\n"
            f"{self.only_second:,} faces are told right by {self.second} alone, "
            f"{self.only_first:,} by {self.first} alone: McNemar's exact p "
            f"{self.mcnemar_p:.3g}{hint}.\n"
        )


@dataclass(frozen=True, eq=False)
class Predictions:
    """What predictions.csv of a run says: one entry a face."""

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    right: tuple[bool, ...]
    chances: tuple[float, ...]
    """Probability of a mask worn well, among mask worn well and none."""
    people: tuple[str, ...]
    """Whose faces they are; empty where nobody knows."""
    source: tuple[str, ...]
    """Folder, split and occluders that they are of."""

    def only(self, places: Sequence[int]) -> Predictions:
        """Return some of the faces."""
        return Predictions(
            tuple(self.paths[place] for place in places),
            tuple(self.labels[place] for place in places),
            tuple(self.right[place] for place in places),
            tuple(self.chances[place] for place in places),
            tuple(self.people[place] for place in places),
            self.source,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return an exit code of `MaskTheFace.commands`."""
    return run_command("compare", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    config = tyro.cli(CompareConfig, args=argv, prog="python -m masktrain.compare")
    from MaskTheFace.images import write_bytes
    from masktrain.run_folder import write_json

    found = compare(config)
    first, second = config.runs
    folder = config.output or first / "compare" / f"{second.name}-{found.faces}"
    write_json(folder / "compare.json", found.to_dict())
    write_bytes(folder / "compare.md", found.markdown().encode())
    print(found.markdown())
    print(f"written to {folder}")
    return 0


def compare(config: CompareConfig) -> Comparison:
    """Compare two runs face by face; nothing is written.

    Raises:
        CompareError: they share no evaluated faces, or a file is damaged.
    """
    import numpy as np
    from scipy.stats import binomtest

    from masktrain.resampling import people_among, share_difference

    faces = config.faces or _shared(config.runs)
    every = [_read(run / "eval" / faces) for run in config.runs]
    _refuse_others(*every)
    first, second = _common(*every)
    if not first.paths:
        raise CompareError(
            f"the runs were not evaluated on the same faces of {faces}: evaluate both again"
        )
    people = [a or b for a, b in zip(first.people, second.people, strict=True)]
    one, two = np.array(first.right), np.array(second.right)
    gained, lost = int((two & ~one).sum()), int((one & ~two).sum())
    p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    names = [run.name or str(run) for run in config.runs]
    return Comparison(
        faces=faces,
        n=len(first.paths),
        of=(len(every[0].paths), len(every[1].paths)),
        people=people_among(len(people), people),
        first=names[0],
        second=names[1],
        only_first=lost,
        only_second=gained,
        mcnemar_p=float(p),
        accuracy=share_difference(one, two, people),
        roc_auc=_auc_difference(first, second, people),
    )


def _auc_difference(
    first: Predictions, second: Predictions, people: Sequence[str]
) -> Interval | None:
    """Return how much larger the area of the second is, over the same resampled faces."""
    from masktrain.multiclass import CLASSES
    from masktrain.resampling import auc_difference

    known = [place for place, label in enumerate(first.labels) if label in CLASSES[:2]]
    if not known:
        return None
    first, second = first.only(known), second.only(known)
    one, two = _scores(first), _scores(second)
    whose = [people[place] for place in known]
    return auc_difference(one, two, whose) if one.both_classes else None


def _scores(found: Predictions) -> Scores:
    """Return scores of mask or none."""
    import numpy as np

    from masktrain.metrics import Scores
    from masktrain.multiclass import CLASSES

    labels = np.array([CLASSES.index(label) for label in found.labels])
    return Scores(labels, np.array(found.chances), 0.0)


def _common(first: Predictions, second: Predictions) -> tuple[Predictions, Predictions]:
    """Return what both say of the faces that both were asked about, in the order of the first."""
    places = {key: place for place, key in enumerate(zip(second.paths, second.labels, strict=True))}
    pairs = [
        (place, places[key])
        for place, key in enumerate(zip(first.paths, first.labels, strict=True))
        if key in places
    ]
    return first.only([one for one, _ in pairs]), second.only([two for _, two in pairs])


def _refuse_others(first: Predictions, second: Predictions) -> None:
    """Raise CompareError for faces of two folders, unless they have the same names throughout;
    with other things before them the same faces are other pictures."""
    renamed = first.source[-1] == second.source[-1] and set(first.paths) == set(second.paths)
    if first.source != second.source and not renamed:
        one, two = (", ".join(each.source) for each in (first, second))
        raise CompareError(
            f"the runs were evaluated on other faces ({one}; {two} as folder, split, occluders): "
            "evaluate both on the same ones"
        )


def _shared(runs: Sequence[Path]) -> str:
    names = [{path.parent.name for path in run.glob("eval/*/predictions.csv")} for run in runs]
    for run, found in zip(runs, names, strict=True):
        if not found:
            raise CompareError(f"{run} has no eval/*/predictions.csv: run masktrain.evaluate first")
    both = sorted(set.intersection(*names))
    if len(both) != 1:
        which = f"more than one set of faces: give --faces, one of {', '.join(both)}"
        raise CompareError(f"the runs share {which if both else 'no set of faces'}")
    return both[0]


def _read(folder: Path) -> Predictions:
    path = folder / "predictions.csv"
    try:
        record = json.loads((folder / "metrics.json").read_text("utf-8"))
        threshold = record.get("threshold")
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if rows and "said" not in rows[0]:  # masks worn wrongly are no class of such a network
            rows = [row for row in rows if row["label"] in ("no_mask", "wearing_mask")]
        told = [_told(row, threshold) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CompareError(f"{path} cannot be used ({error}): evaluate that run again") from None
    return Predictions(
        tuple(row["path"] for row in rows),
        tuple(row["label"] for row in rows),
        tuple(right for right, _ in told),
        tuple(chance for _, chance in told),
        tuple(row.get("identity") or "" for row in rows),
        tuple(str(record.get(name) or "-") for name in ("data", "split", "occluders")),
    )


def _told(row: Mapping[str, str], threshold: float | None) -> tuple[bool, float]:
    """Return whether a face is told right, and how probable a mask is."""
    if "said" in row:
        bare, masked = float(row["no_mask"]), float(row["wearing_mask"])
        chance = masked / (bare + masked) if bare + masked else 0.5
        return row["said"] == row["label"], chance
    chance = float(row["score"])
    said = "wearing_mask" if chance >= float(threshold or 0) else "no_mask"
    return said == row["label"], chance


if __name__ == "__main__":
    sys.exit(main())
