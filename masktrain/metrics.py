"""From labels and scores to numbers with 95 % intervals.

Convention: label 1 is ``wearing_mask`` (the positive class), 0 is ``no_mask``; a score is the
probability of ``wearing_mask``; a face counts as masked when its score is at or above the
threshold. What cannot be known (specificity without bare faces, say) is nan here, null in JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, bootstrap, ttest_1samp
from scipy.stats import t as student
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESAMPLES = 1000
# How many resampled faces are held at once; bounds the memory of the bootstrap to about 100 MB.
_BATCH_FACES = 2_000_000


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model said about labelled faces.

    Args:
        labels: (N,) integers, 1 wearing_mask, 0 no_mask.
        scores: (N,) in [0, 1], the probability of wearing_mask, in the order of the labels.
        loss: mean binary cross-entropy, in nats a face.

    Raises:
        ValueError: empty, unequal lengths, labels other than 0 and 1, scores outside [0, 1].
    """

    labels: Ints
    scores: Floats
    loss: float

    def __post_init__(self) -> None:
        labels, scores = np.asarray(self.labels), np.asarray(self.scores, dtype=np.float64)
        if labels.ndim != 1 or labels.shape != scores.shape or not labels.size:
            raise ValueError(
                "labels and scores must be (N,) with N > 0, "
                f"got shapes {labels.shape} and {scores.shape}"
            )
        if not np.isin(labels, (0, 1)).all():
            raise ValueError(f"labels must be 0 or 1, got {np.unique(labels)[:5].tolist()}")
        wrong = ~((scores >= 0) & (scores <= 1))
        if wrong.any():
            raise ValueError(f"scores must lie in [0, 1], got {scores[wrong][0]}")
        object.__setattr__(self, "labels", labels.astype(np.int64))
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "loss", float(self.loss))

    @property
    def both_classes(self) -> bool:
        """Whether masked and bare faces are both present."""
        return bool(self.labels.min() != self.labels.max())

    @property
    def auc(self) -> float:
        """Area under the ROC curve; nan when only one class is present."""
        return float(roc_auc_score(self.labels, self.scores)) if self.both_classes else math.nan

    @property
    def said(self) -> Ints:
        """The class of each face at threshold 0.5, (N,)."""
        return (self.scores >= 0.5).astype(np.int64)

    @property
    def of_label(self) -> Floats:
        """The probability of each face's true class, (N,)."""
        return np.where(self.labels == 1, self.scores, 1 - self.scores)

    def accuracy(self) -> float:
        """Return the share of faces on the right side of threshold 0.5."""
        return float(np.mean(self.said == self.labels))

    def balanced_accuracy(self) -> float:
        """Return the mean of the rates at which masked and bare faces are told, at 0.5."""
        right = self.said == self.labels
        return float(np.mean([right[self.labels == label].mean() for label in set(self.labels)]))

    def views(self) -> list[tuple[str, Scores]]:
        """Return the scores under the name of the class that they are the probability of."""
        return [("wearing_mask", self)]


@dataclass(frozen=True)
class Interval:
    """An estimate and the limits of its 95 % interval; nan where unknown."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "     -"
        limits = "" if math.isnan(self.low) else f"   {self.low:.4f} to {self.high:.4f}"
        return f"{self.value:.4f}{limits}"

    @classmethod
    def stored(cls, record: Mapping[str, float | None]) -> Interval:
        """Return what `json_safe` made of one: None, and what is missing, is nan again."""
        numbers = (record.get(name) for name in ("value", "low", "high"))
        return cls(*(math.nan if number is None else number for number in numbers))

    def cell(self, sign: str = "") -> str:
        """Return 0.957 (0.948 to 0.963); a rounded -0.000 loses its sign with the rounding."""
        value, low, high = (
            format(number, f"{sign}z.3f") for number in (self.value, self.low, self.high)
        )
        return value if low.endswith("nan") else f"{value} ({low} to {high})"


_ROW_NAMES = {"balanced_accuracy": "balanced accuracy", "f1": "F1"}
_ROW_NAMES |= {"roc_auc": "ROC-AUC", "pr_auc": "PR-AUC"}
UNKNOWN = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Evaluation:
    """A model's performance at one threshold, on one set of faces."""

    n: int
    n_wearing_mask: int
    n_no_mask: int
    loss: float
    threshold: float
    threshold_from: str
    tp: int
    fp: int
    fn: int
    tn: int
    accuracy: Interval
    balanced_accuracy: Interval
    sensitivity: Interval
    specificity: Interval
    precision: Interval
    f1: Interval
    roc_auc: Interval
    pr_auc: Interval

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that strict JSON accepts: nan becomes None."""
        return {key: json_safe(value) for key, value in asdict(self).items()}

    def summary(self) -> str:
        """Return the table that a person reads on the screen."""
        loss = "-" if math.isnan(self.loss) else f"{self.loss:.4f}"
        head = (
            f"{self.n:,} faces: {self.n_wearing_mask:,} wearing_mask, {self.n_no_mask:,} no_mask\n"
            f"threshold          {self.threshold:.4f}   ({self.threshold_from})\n"
            f"loss               {loss}\n"
            f"{'':19}{'value':6}   95 % interval"
        )
        rows = [
            f"{_ROW_NAMES.get(field.name, field.name):19}{getattr(self, field.name)}"
            for field in fields(self)
            if isinstance(getattr(self, field.name), Interval)
        ]
        missed = f"missed masks {self.fn:,} of {self.n_wearing_mask:,}"
        false = f"false alarms {self.fp:,} of {self.n_no_mask:,}"
        return "\n".join([head, *rows, f"{missed}, {false}"])


@dataclass(frozen=True, eq=False)
class RocPoints:
    """A ROC curve: three (K,) arrays, from (0, 0) to (1, 1)."""

    fpr: Floats
    tpr: Floats
    thresholds: Floats


@dataclass(frozen=True, eq=False)
class PrPoints:
    """A precision-recall curve: recall falls from 1 to 0; one threshold fewer than points."""

    precision: Floats
    recall: Floats
    thresholds: Floats


@dataclass(frozen=True, eq=False)
class CalibrationPoints:
    """Predicted and observed share of masks in each score bin that has faces: (K,) arrays."""

    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats
    count: Ints


def evaluate_scores(
    scores: Scores, threshold: float = 0.5, threshold_from: str = "fixed"
) -> Evaluation:
    """Return every number for one set of scores, each rate and area with a 95 % interval.

    Rates have Wilson's score interval; balanced accuracy and F1 are carried over from it in
    closed form; the two areas have a percentile bootstrap that resamples each class by itself
    (seeded: the same scores give the same limits). Faces are taken to be independent.

    Args:
        scores: what the model said.
        threshold: a face scoring at or above it counts as masked.
        threshold_from: where the threshold came from, kept for the record.

    Raises:
        ValueError: the threshold is not in [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must lie in [0, 1], got {threshold}")
    masked, said = scores.labels == 1, scores.scores >= threshold
    tp, fp, fn, tn = (int(np.sum(a & b)) for a in (said, ~said) for b in (masked, ~masked))
    sensitivity, specificity = wilson(tp, tp + fn), wilson(tn, tn + fp)
    roc_auc, pr_auc = _areas(scores)
    both = scores.both_classes
    return Evaluation(
        n=masked.size,
        n_wearing_mask=tp + fn,
        n_no_mask=tn + fp,
        loss=scores.loss,
        threshold=float(threshold),
        threshold_from=threshold_from,
        tp=tp,
        fp=fp,
        fn=fn,
        tn=tn,
        accuracy=wilson(tp + tn, masked.size),
        balanced_accuracy=mean_of_rates((sensitivity, specificity)),
        sensitivity=sensitivity,
        specificity=specificity,
        # With one class these would be 0 or 1 whatever the model does.
        precision=wilson(tp, tp + fp) if both else UNKNOWN,
        f1=_f1(tp, fp, fn) if both else UNKNOWN,
        roc_auc=roc_auc,
        pr_auc=pr_auc,
    )


def wilson(successes: int, trials: int) -> Interval:
    """Return a proportion with Wilson's 95 % score interval; nan without trials."""
    if trials == 0:
        return UNKNOWN
    limits = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    value = successes / trials
    # At 0 and 1 the closed form misses the end of the range by a rounding error.
    return Interval(value, min(float(limits.low), value), max(float(limits.high), value))


def mean_of_rates(rates: Sequence[Interval]) -> Interval:
    """Return the mean of independent rates, by Newcombe's square-and-add (MOVER); nan of none."""
    if not rates:
        return UNKNOWN
    value = sum(rate.value for rate in rates) / len(rates)
    down = math.hypot(*(rate.value - rate.low for rate in rates)) / len(rates)
    up = math.hypot(*(rate.high - rate.value for rate in rates)) / len(rates)
    return Interval(value, value - down, value + up)


def difference(first: Interval, second: Interval) -> Interval:
    """Return how much larger a number is on one set of faces than on another, both independent.

    The limits are carried over from both (MOVER). Source: R. G. Newcombe, Statistics in Medicine
    17(8), 1998, method 10.
    """
    value = first.value - second.value
    down = math.hypot(first.value - first.low, second.high - second.value)
    up = math.hypot(first.high - first.value, second.value - second.low)
    return Interval(value, value - down, value + up)


def paired_difference(before: NDArray[Any], after: NDArray[Any]) -> Interval:
    """Return how much larger a share is after than before, on the same faces.

    Half a face is added to each of the four cells, so that no change at all is not taken for
    certain. Source: A. Agresti and Y. Min, Statistics in Medicine 24(5), 2005.

    Args:
        before: (N,) bool.
        after: (N,) bool, of the same faces.
    """
    gained, lost = float(np.sum(after & ~before)), float(np.sum(before & ~after))
    count = len(before)
    value = (gained - lost) / count
    gained, lost, count = gained + 0.5, lost + 0.5, count + 2
    middle = (gained - lost) / count
    reach = 1.959964 * math.sqrt(gained + lost - (gained - lost) ** 2 / count) / count
    return Interval(value, min(middle - reach, value), max(middle + reach, value))


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean of a few independent runs with Student's 95 % interval.

    Args:
        values: a number for each run; of one run alone the limits are nan.
    """
    runs = np.asarray(values, dtype=np.float64)
    mean = float(runs.mean())
    if runs.size < 2:
        return Interval(mean, math.nan, math.nan)
    reach = float(student.ppf(0.975, runs.size - 1) * runs.std(ddof=1) / math.sqrt(runs.size))
    return Interval(mean, mean - reach, mean + reach)


def paired_p(differences: Sequence[float]) -> float:
    """Return p of the paired t-test: how easily equal runs would differ so much, or more.

    Args:
        differences: one for each pair of runs; nan for fewer than two, or without any spread.
    """
    found = np.asarray(differences, dtype=np.float64)
    if found.size < 2 or not found.std():
        return math.nan
    return float(ttest_1samp(found, 0.0).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values after Holm's correction for their number; nan stays nan and counts."""
    adjusted, highest = [math.nan] * len(p), 0.0
    known = sorted((value, place) for place, value in enumerate(p) if not math.isnan(value))
    for rank, (value, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(p) - rank) * value))
        adjusted[place] = highest
    return adjusted


def roc_points(scores: Scores) -> RocPoints:
    """Return the ROC curve.

    Raises:
        ValueError: only one class is present.
    """
    _need_both_classes(scores)
    return RocPoints(*roc_curve(scores.labels, scores.scores))


def pr_points(scores: Scores) -> PrPoints:
    """Return the precision-recall curve.

    Raises:
        ValueError: only one class is present.
    """
    _need_both_classes(scores)
    return PrPoints(*precision_recall_curve(scores.labels, scores.scores))


def calibration_points(scores: Scores, bins: int = 10) -> CalibrationPoints:
    """Return how often faces with a given score do wear a mask, in bins of equal width.

    Bins without faces are left out; the limits are Wilson's 95 % interval.
    """
    bin_of = np.minimum((scores.scores * bins).astype(np.int64), bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    filled = count > 0
    predicted = np.bincount(bin_of, weights=scores.scores, minlength=bins)[filled] / count[filled]
    masked = np.bincount(bin_of, weights=scores.labels, minlength=bins)[filled]
    rates = [wilson(int(k), int(n)) for k, n in zip(masked, count[filled], strict=True)]
    observed, low, high = np.array([(r.value, r.low, r.high) for r in rates]).T
    return CalibrationPoints(predicted, observed, low, high, count[filled])


def _need_both_classes(scores: Scores) -> None:
    if not scores.both_classes:
        raise ValueError("a curve needs faces of both classes, got only one")


def _f1(tp: int, fp: int, fn: int) -> Interval:
    """Return F1: with j = tp / (tp + fp + fn), a proportion, F1 is 2 j / (1 + j)."""
    j = wilson(tp, tp + fp + fn)
    return Interval(*(2 * limit / (1 + limit) for limit in (j.value, j.low, j.high)))


def _areas(scores: Scores) -> tuple[Interval, Interval]:
    """Return ROC-AUC and PR-AUC (average precision) with bootstrap intervals."""
    if not scores.both_classes:
        return UNKNOWN, UNKNOWN
    labels = scores.labels
    values = (scores.auc, float(average_precision_score(labels, scores.scores)))
    smaller = int(min(labels.sum(), (1 - labels).sum()))
    if values[0] == 1.0:
        # Every resample of a perfect ranking is perfect, so the bootstrap would claim certainty.
        # Disjoint pairs of a masked and a bare face are independent trials of the ROC-AUC.
        low = wilson(smaller, smaller).low
        return Interval(1.0, low, 1.0), Interval(1.0, low, 1.0)
    if smaller < 2:
        return Interval(values[0], math.nan, math.nan), Interval(values[1], math.nan, math.nan)
    levels = np.unique(scores.scores, return_inverse=True)[1]
    limits = bootstrap(
        (levels[labels == 0], levels[labels == 1]),
        _resampled_areas,
        n_resamples=RESAMPLES,
        batch=max(1, _BATCH_FACES // labels.size),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    roc, pr = zip(values, limits.low, limits.high, strict=True)
    return Interval(*map(float, roc)), Interval(*map(float, pr))


def _resampled_areas(bare: Ints, masked: Ints, axis: int = -1) -> Floats:
    """Return (2, ...) ROC-AUC and average precision of faces given by their score's level.

    A level is the score's place among the distinct scores, so that one count per level replaces
    sorting and keeps ties; scikit-learn's functions, which tests compare, take one set at a time.
    """
    levels = int(max(bare.max(), masked.max())) + 1
    hits = _count_levels(masked, levels)[..., ::-1].cumsum(axis=-1)
    alarms = _count_levels(bare, levels)[..., ::-1].cumsum(axis=-1)
    tpr, fpr = hits / masked.shape[axis], alarms / bare.shape[axis]
    precision = hits / np.maximum(hits + alarms, 1)
    roc = np.trapezoid(tpr, fpr, axis=-1) + tpr[..., 0] * fpr[..., 0] / 2
    pr = np.sum(np.diff(tpr, prepend=0.0, axis=-1) * precision, axis=-1)
    return np.stack([roc, pr])


def _count_levels(faces: Ints, levels: int) -> Ints:
    """Return (..., levels) counts of the last axis of faces: (..., N)."""
    rows = faces.reshape(-1, faces.shape[-1])
    keys = rows + levels * np.arange(len(rows))[:, None]
    counts = np.bincount(keys.ravel(), minlength=levels * len(rows))
    return counts.reshape(*faces.shape[:-1], levels)


def json_safe(value: Any) -> Any:
    """Return plain values that strict JSON accepts: a number that is not finite becomes None."""
    if isinstance(value, dict):
        return {key: json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
