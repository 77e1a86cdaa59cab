"""Three classes: from labels and probabilities to numbers with 95 % intervals.

Convention: labels are places in `CLASSES`; probabilities are (N, K) and sum to 1; a face is said to
be of its most probable class. What cannot be known (recall of a class without faces) is nan here,
null in JSON.

A network of three classes has an output for each way to wear a mask: the probability of a class is
the sum over its ways. It aims at a way where that is known, as on drawn masks, else at a class.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from MaskTheFace.coverage import WEARS, label_of
from masktrain.metrics import (
    UNKNOWN,
    Evaluation,
    Floats,
    Interval,
    Ints,
    Scores,
    evaluate_scores,
    json_safe,
    mean_of_rates,
    wilson,
)
from masktrain.resampling import auc_by_identity

CLASSES = ("no_mask", "wearing_mask", "worn_incorrectly")
OUTPUTS = (CLASSES[0], *WEARS)
"""What each logit of a network of three classes stands for."""
CLASS_OF_OUTPUT = (0, *(CLASSES.index(label_of(way)) for way in WEARS))
CLASS_OF_TARGET = (*range(len(CLASSES)), *CLASS_OF_OUTPUT[1:])
"""A target is a label, or, where the way is known, the number of classes plus a place in WEARS."""
MEMBERS = np.array(
    [[of == label for of in CLASS_OF_OUTPUT] for label in range(len(CLASSES))]
    + [[output == way for output in OUTPUTS] for way in WEARS]
)
"""(T, O) bool: the outputs that a target may go to."""


def target_of(label: int, way: str) -> int:
    """Return what training aims at for a crop: its way where that is known and of its class."""
    known = way in WEARS and label_of(way) == CLASSES[label]
    return len(CLASSES) + OUTPUTS.index(way) - 1 if known else label


@dataclass(frozen=True, eq=False)
class ClassScores:
    """What a model of several classes said about labelled faces.

    Args:
        labels: (N,) integers, places in CLASSES.
        scores: (N, K) probabilities, in the order of the labels.
        loss: mean cross-entropy, in nats a face.
        ways: (N, W) probabilities of WEARS, from networks that tell them.

    Raises:
        ValueError: empty, unequal lengths, labels or probabilities out of range.
    """

    labels: Ints
    scores: Floats
    loss: float
    ways: Floats | None = None

    @classmethod
    def of_outputs(cls, labels: Ints, outputs: Floats, loss: float) -> ClassScores:
        """Return the scores of a network's probabilities, (N, O): each class sums its ways."""
        chances = outputs @ MEMBERS[: len(CLASSES)].T
        return cls(labels, chances, loss, outputs[:, 1:])

    def __post_init__(self) -> None:
        labels, scores = np.asarray(self.labels), np.asarray(self.scores, dtype=np.float64)
        if labels.ndim != 1 or scores.ndim != 2 or len(labels) != len(scores) or not labels.size:
            raise ValueError(
                "labels must be (N,) and scores (N, K) with N > 0, "
                f"got shapes {labels.shape} and {scores.shape}"
            )
        if not np.isin(labels, range(scores.shape[1])).all():
            raise ValueError(f"labels must be 0 to {scores.shape[1] - 1}, got {labels.max()}")
        if not (np.all(scores >= 0) and np.allclose(scores.sum(axis=1), 1, atol=1e-4)):
            raise ValueError("probabilities must be >= 0 and sum to 1")
        object.__setattr__(self, "labels", labels.astype(np.int64))
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "loss", float(self.loss))

    @property
    def said(self) -> Ints:
        """The class of each face that the model holds most probable, (N,)."""
        return np.asarray(self.scores.argmax(axis=1), np.int64)

    @property
    def said_ways(self) -> tuple[str, ...]:
        """How each mask is worn, the most probable way of the class that the model says; empty for
        no mask, and where the network does not tell."""
        if self.ways is None:
            return ("",) * len(self.labels)
        of_said = MEMBERS[self.said][:, 1:]
        best = np.where(of_said, self.ways, -1).argmax(axis=1)
        return tuple(WEARS[way] if label else "" for way, label in zip(best, self.said))

    @property
    def of_label(self) -> Floats:
        """The probability of each face's true class, (N,)."""
        return np.asarray(np.take_along_axis(self.scores, self.labels[:, None], axis=1)[:, 0])

    @property
    def of_said(self) -> Floats:
        """The probability of the class that the model says, (N,)."""
        return np.asarray(self.scores.max(axis=1))

    @property
    def auc(self) -> float:
        """Mean over the classes present of the area under ROC, one against the rest; or nan."""
        areas = [scores.auc for _, scores in self.views() if scores.both_classes]
        return float(np.mean(areas)) if areas else math.nan

    def accuracy(self) -> float:
        """Return the share of faces whose class was said."""
        return float(np.mean(self.said == self.labels))

    def balanced_accuracy(self) -> float:
        """Return the mean of the recalls of the classes present."""
        right = self.said == self.labels
        return float(np.mean([right[self.labels == label].mean() for label in set(self.labels)]))

    def against_rest(self, label: int) -> Scores:
        """Return one class against all others, as scores of a yes or no."""
        yes, chance = self.labels == label, np.clip(self.scores[:, label], 1e-12, 1 - 1e-12)
        loss = -float(np.mean(np.log(np.where(yes, chance, 1 - chance))))
        return Scores(yes.astype(np.int64), np.clip(self.scores[:, label], 0, 1), loss)

    def without_third(self) -> Scores:
        """Return the answer to the old question, mask or no mask, with the third class put aside:
        its faces left out, its probability shared out to the other two.

        Raises:
            ValueError: there are no other faces.
        """
        kept = self.labels < 2
        labels, scores = self.labels[kept], self.scores[kept]
        both = scores[:, :2].sum(axis=1)
        chance = np.divide(scores[:, 1], both, out=np.full(len(both), 0.5), where=both > 0)
        said = np.clip(chance, 1e-12, 1 - 1e-12)
        loss = -float(np.log(np.where(labels == 1, said, 1 - said)).mean()) if kept.any() else 0.0
        return Scores(labels, chance, loss)

    def views(self) -> list[tuple[str, Scores]]:
        """Return each class against the rest, under its name."""
        return [(CLASSES[k], self.against_rest(k)) for k in range(self.scores.shape[1])]


@dataclass(frozen=True)
class ClassRow:
    """How well one class is told from the rest."""

    name: str
    n: int
    precision: Interval
    recall: Interval
    roc_auc: Interval
    pr_auc: Interval


@dataclass(frozen=True)
class WayRow:
    """How well masks worn in one way are told."""

    name: str
    n: int
    class_right: Interval
    """Share said to be of their class."""
    way_right: Interval
    """Share said to be worn just so; unknown where the network does not tell."""


@dataclass(frozen=True)
class ClassEvaluation:
    """A model's performance on three classes, on one set of faces.

    Attributes:
        n: faces. loss: mean cross-entropy.
        confusion: K rows of K counts: true class down, said class across.
        accuracy: share of faces whose class was said.
        balanced_accuracy: mean of the recalls of the classes present (macro recall).
        classes: one row a class.
        two_classes: the old question, mask or no mask, with the third class put aside; None where
            there are no such faces.
        ways: one row for each way to wear a mask that is known of some of the faces.
    """

    n: int
    loss: float
    confusion: tuple[tuple[int, ...], ...]
    accuracy: Interval
    balanced_accuracy: Interval
    classes: tuple[ClassRow, ...]
    two_classes: Evaluation | None
    ways: tuple[WayRow, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that strict JSON accepts: nan becomes None."""
        record: dict[str, Any] = json_safe(asdict(self))
        return record

    def summary(self) -> str:
        """Return the tables that a person reads on the screen."""
        counts = ", ".join(f"{row.n:,} {row.name}" for row in self.classes)
        width = max(len(row.name) for row in self.classes) + 2
        lines = [
            f"{self.n:,} faces: {counts}",
            f"accuracy           {self.accuracy}",
            f"macro recall       {self.balanced_accuracy}",
            "",
            f"{'true / said':{width}}" + "".join(f"{row.name:>18}" for row in self.classes),
        ]
        for row, found in zip(self.classes, self.confusion, strict=True):
            lines.append(f"{row.name:{width}}" + "".join(f"{count:>18,}" for count in found))
        lines.append("")
        for measure in ("precision", "recall", "roc_auc"):
            title = {"roc_auc": "ROC-AUC against the rest"}.get(measure, measure)
            lines.append(f"{title}, 95 % interval")
            lines += [f"  {row.name:{width}}{getattr(row, measure)}" for row in self.classes]
        if self.ways:
            lines += ["", "by way to wear it: class said right | way said right"]
            lines += [
                f"  {row.name:{width}}{row.class_right} | {row.way_right} of {row.n:,}"
                for row in self.ways
            ]
        if self.two_classes is not None:
            lines += ["", "mask or no mask, the third class put aside:", self.two_classes.summary()]
        return "\n".join(lines)


def evaluate_classes(
    scores: ClassScores,
    ways: Sequence[str] = (),
    threshold: float = 0.5,
    threshold_from: str = "fixed",
    identities: Sequence[str] | None = None,
) -> ClassEvaluation:
    """Return every number for one set of scores, with 95 % intervals.

    Args:
        scores: of N faces.
        ways: how each wears its mask, empty where that is not known; or nothing.
        threshold: of the old question, mask or no mask; the three classes need none.
        threshold_from: where it is from.
        identities: whose face each is, where that is known.

    Rates have Wilson's score interval; the mean of recalls is carried over from these (Newcombe's
    square-and-add); areas have a seeded bootstrap. For ROC-AUC people are drawn, where they are
    known; else faces are taken to be independent.
    """
    count = scores.scores.shape[1]
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (scores.labels, scores.said), 1)
    rows = tuple(_class_rows(scores, confusion, identities))
    return ClassEvaluation(
        n=len(scores.labels),
        loss=scores.loss,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        accuracy=wilson(int(np.trace(confusion)), len(scores.labels)),
        balanced_accuracy=mean_of_rates([row.recall for row in rows if row.n]),
        classes=rows,
        two_classes=_two_classes(scores, threshold, threshold_from, identities),
        ways=_way_rows(scores, np.array(ways, str)),
    )


def _class_rows(
    scores: ClassScores, confusion: np.ndarray, identities: Sequence[str] | None
) -> Iterator[ClassRow]:
    """Yield how well each class is told from the rest; confusion has true classes down."""
    for label, (name, view) in enumerate(scores.views()):
        right, true = int(confusion[label, label]), int(confusion[label].sum())
        # Without such faces it would be 0 whatever the model does.
        precision = wilson(right, int(confusion[:, label].sum())) if true else UNKNOWN
        areas = _of_people(evaluate_scores(view), view, identities)
        yield ClassRow(name, true, precision, wilson(right, true), areas.roc_auc, areas.pr_auc)


def _two_classes(
    scores: ClassScores, threshold: float, threshold_from: str, identities: Sequence[str] | None
) -> Evaluation | None:
    """Return how the old question, mask or no mask, is answered; None without such faces."""
    kept = np.flatnonzero(scores.labels < 2)
    if not len(kept):
        return None
    view = scores.without_third()
    people = None if identities is None else [identities[place] for place in kept.tolist()]
    return _of_people(evaluate_scores(view, threshold, threshold_from), view, people)


def _of_people(found: Evaluation, scores: Scores, identities: Sequence[str] | None) -> Evaluation:
    """Return an evaluation whose ROC-AUC knows that faces of one person are alike."""
    if identities is None or not scores.both_classes:
        return found
    return replace(found, roc_auc=auc_by_identity(scores, identities))


def _way_rows(scores: ClassScores, ways: np.ndarray) -> tuple[WayRow, ...]:
    right, told = scores.said == scores.labels, np.array(scores.said_ways)
    rows = []
    for way in WEARS:
        worn = ways == way
        count = int(worn.sum())
        if count:
            named = wilson(int((told[worn] == way).sum()), count)
            named = UNKNOWN if scores.ways is None else named
            rows.append(WayRow(way, count, wilson(int(right[worn].sum()), count), named))
    return tuple(rows)


def measure(
    scores: Scores | ClassScores,
    threshold: float = 0.5,
    threshold_from: str = "fixed",
    ways: Sequence[str] = (),
    identities: Sequence[str] | None = None,
) -> Evaluation | ClassEvaluation:
    """Return every number for scores of either kind.

    The threshold is that of mask or no mask; how masks are worn matters for three classes alone.
    """
    if isinstance(scores, ClassScores):
        return evaluate_classes(scores, ways, threshold, threshold_from, identities)
    return _of_people(evaluate_scores(scores, threshold, threshold_from), scores, identities)
