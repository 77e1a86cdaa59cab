"""What a network said about labelled faces, right or wrong, and which of them to look at.

Convention: labels and answers are places in `multiclass.CLASSES`; positive is whoever shows a mask,
worn well or wrongly, so that a network of three classes has the four outcomes of two. Where it
sees a mask but mistakes how it is worn, the outcome is `worn_otherwise`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from masktrain.metrics import Floats, Ints, Scores
from masktrain.multiclass import ClassScores

OUTCOMES = {
    "true_positives": "a mask, and said to be one",
    "false_positives": "no mask, and said to be one",
    "true_negatives": "no mask, and said to be none",
    "false_negatives": "a mask, and said to be none",
    "worn_otherwise": "a mask, and said to be worn otherwise",
}
"""Each outcome in words."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network said.

    Attributes:
        labels: (N,) the true classes.
        said: (N,) the answers.
        of_said: (N,) the probability of each answer.
        of_label: (N,) the probability of each true class.
    """

    labels: Ints
    said: Ints
    of_said: Floats
    of_label: Floats

    @property
    def right(self) -> np.ndarray:
        """Whether each answer is the true class, (N,) bool."""
        return self.said == self.labels

    @property
    def outcomes(self) -> Ints:
        """The outcome of each face, (N,), a place among `OUTCOMES`."""
        masked, says = self.labels > 0, self.said > 0
        two = np.where(says, np.where(masked, 0, 1), np.where(masked, 3, 2))
        return np.where(masked & says & ~self.right, 4, two).astype(np.int64)

    def of(self, places: Sequence[int]) -> Answers:
        """Return the answers about some of the faces."""
        chosen = np.asarray(places, np.int64)
        return Answers(
            self.labels[chosen], self.said[chosen], self.of_said[chosen], self.of_label[chosen]
        )

    def count(self) -> dict[str, int]:
        """Return how many faces each outcome has; `worn_otherwise` only where there are any."""
        counts = np.bincount(self.outcomes, minlength=len(OUTCOMES)).tolist()
        return {
            name: count
            for name, count in zip(OUTCOMES, counts, strict=True)
            if count or name != "worn_otherwise"
        }


def answers_of(scores: Scores | ClassScores, threshold: float) -> Answers:
    """Return the answers in some scores; the threshold is for two classes alone."""
    if isinstance(scores, ClassScores):
        return Answers(scores.labels, scores.said, scores.of_said, scores.of_label)
    said = (scores.scores >= threshold).astype(np.int64)
    of_said = np.where(said == 1, scores.scores, 1 - scores.scores)
    return Answers(scores.labels, said, of_said, scores.of_label)


def pick_shown(answers: Answers, count: int, seed: int) -> dict[str, list[int]]:
    """Return at most so many faces of each outcome that occurs, for pictures.

    Right answers are drawn by chance; of wrong ones the most wrong come first.
    """
    outcomes, rng = answers.outcomes, np.random.default_rng(seed)
    shown = {}
    for place, name in enumerate(OUTCOMES):
        here = np.flatnonzero(outcomes == place)
        if name.startswith("true"):
            here = np.sort(rng.permutation(here)[:count])
        else:
            here = here[np.argsort(answers.of_label[here], kind="stable")][:count]
        if len(here):
            shown[name] = here.tolist()
    return shown


def pick_measured(answers: Answers, limit: int, seed: int) -> Ints:
    """Return which faces to measure: of each class at most so many told rightly, and so many
    told wrongly, drawn by chance; 0 for all. Sorted."""
    rng, chosen = np.random.default_rng(seed), []
    for label in range(int(answers.labels.max()) + 1):
        for right in (True, False):
            here = np.flatnonzero((answers.labels == label) & (answers.right == right))
            chosen.append(rng.permutation(here)[: limit or len(here)])
    return np.sort(np.concatenate(chosen)).astype(np.int64)
