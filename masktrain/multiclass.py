"""Three classes: from labels and probabilities to numbers with 95 % intervals.

Convention: labels are places in `CLASSES`; probabilities are (N, K) and sum to 1; a face is said to
be of its most probable class. What cannot be known (recall of a class without faces) is nan here,
null in JSON.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

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

CLASSES = ("no_mask", "wearing_mask", "worn_incorrectly")


@dataclass(frozen=True, eq=False)
class ClassScores:
    """What a model of several classes said about labelled faces.

    Args:
        labels: (N,) integers, places in CLASSES.
        scores: (N, K) probabilities, in the order of the labels.
        loss: mean cross-entropy, in nats a face.

    Raises:
        ValueError: empty, unequal lengths, labels or probabilities out of range.
    """

    labels: Ints
    scores: Floats
    loss: float

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
    """

    n: int
    loss: float
    confusion: tuple[tuple[int, ...], ...]
    accuracy: Interval
    balanced_accuracy: Interval
    classes: tuple[ClassRow, ...]
    two_classes: Evaluation | None

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
        if self.two_classes is not None:
            lines += ["", "mask or no mask, the third class put aside:", self.two_classes.summary()]
        return "\n".join(lines)


def evaluate_classes(scores: ClassScores) -> ClassEvaluation:
    """Return every number for one set of scores, with 95 % intervals.

    Rates have Wilson's score interval; the mean of recalls is carried over from these (Newcombe's
    square-and-add); areas have a seeded bootstrap. Faces are taken to be independent.
    """
    count = scores.scores.shape[1]
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (scores.labels, scores.said), 1)
    rows = []
    for label, (name, view) in enumerate(scores.views()):
        right, true = int(confusion[label, label]), int(confusion[label].sum())
        said = int(confusion[:, label].sum())
        areas = evaluate_scores(view)
        rows.append(
            ClassRow(
                name,
                true,
                # Without such faces it would be 0 whatever the model does.
                wilson(right, said) if true else UNKNOWN,
                wilson(right, true),
                areas.roc_auc,
                areas.pr_auc,
            )
        )
    return ClassEvaluation(
        n=len(scores.labels),
        loss=scores.loss,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        accuracy=wilson(int(np.trace(confusion)), len(scores.labels)),
        balanced_accuracy=mean_of_rates([row.recall for row in rows if row.n]),
        classes=tuple(rows),
        two_classes=evaluate_scores(scores.without_third()) if (scores.labels < 2).any() else None,
    )


def measure(
    scores: Scores | ClassScores, threshold: float = 0.5, threshold_from: str = "fixed"
) -> Evaluation | ClassEvaluation:
    """Return every number for scores of either kind; the threshold is for two classes alone."""
    if isinstance(scores, ClassScores):
        return evaluate_classes(scores)
    return evaluate_scores(scores, threshold, threshold_from)
