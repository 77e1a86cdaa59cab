"""The bootstrap by identity: faces of one person are drawn together, as they are alike.

Where nobody knows whose faces they are, each is drawn for itself. Seeded: the same faces give the
same limits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masktrain.metrics import (
    RESAMPLES,
    Floats,
    Interval,
    Scores,
    paired_difference,
    pr_points,
    roc_points,
    wilson,
)

Identities = Sequence[str] | None
LEVEL = (2.5, 97.5)
GRID = np.linspace(0, 1, 201)


@dataclass(frozen=True, eq=False)
class Band:
    """A curve with the limits of its 95 % band at each place: (K,) arrays."""

    x: Floats
    low: Floats
    high: Floats


def resampled_weights(
    count: int, identities: Identities = None, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """Return how often each face is drawn in each resample, (R, N).

    Args:
        count: N, faces.
        identities: (N,) whose face each is; empty text: nobody else's. None: all are different.
        resamples: R.
        seed: of the draw.
    """
    of_face = _people(count, identities)
    several = int(of_face.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(several, np.full(several, 1 / several), size=resamples)
    return drawn[:, of_face].astype(np.float64)


def _people(count: int, identities: Identities) -> NDArray[np.intp]:
    """Return the number of the person that each face shows, (N,), from 0."""
    names = list(identities) if identities is not None else [""] * count
    if len(names) != count:
        raise ValueError(f"{len(names)} identities for {count} faces")
    people = [name or f"\0{place}" for place, name in enumerate(names)]
    return np.unique(people, return_inverse=True)[1]


def _people_a_class(scores: Scores, identities: Identities) -> int:
    """Return how many people the class with fewer of them shows."""
    people = _people(len(scores.labels), identities)
    return min(len(set(people[scores.labels == label].tolist())) for label in (0, 1))


def percentiles(value: float, resampled: Floats) -> Interval:
    """Return a value with the 95 % percentile interval of its resamples; nan ones are left out."""
    low, high = np.nanpercentile(resampled, LEVEL)
    return Interval(value, min(float(low), value), max(float(high), value))


def auc_by_identity(scores: Scores, identities: Identities) -> Interval:
    """Return ROC-AUC with an interval that knows who is who; its limits are nan where one person
    makes up a class: how others differ nobody can say then.

    Raises:
        ValueError: only one class is present.
    """
    roc_points(scores)
    several = _people_a_class(scores, identities)
    if several == 1:
        return Interval(scores.auc, math.nan, math.nan)
    if scores.auc == 1.0:
        # No resample of a perfect ranking is less: people are the trials then, as in `metrics`.
        return Interval(1.0, wilson(several, several).low, 1.0)
    tpr, fpr = _rates(scores, resampled_weights(len(scores.labels), identities))
    return percentiles(scores.auc, np.asarray(np.trapezoid(tpr, fpr, axis=1)))


def auc_difference(first: Scores, second: Scores, identities: Identities = None) -> Interval:
    """Return how much larger the ROC-AUC of the second is, with the same faces in each resample.

    Args:
        first: what one model said of N faces.
        second: what another said of the same, in the same order.
        identities: (N,), whose face each is.

    Raises:
        ValueError: the labels differ, or only one class is present.
    """
    if not np.array_equal(first.labels, second.labels):
        raise ValueError("both must have scored the same faces in the same order")
    roc_points(first)
    several, apart = _people_a_class(first, identities), second.auc - first.auc
    if np.array_equal(first.scores, second.scores):
        return Interval(0.0, 0.0, 0.0)
    if several == 1:
        return Interval(apart, math.nan, math.nan)
    weights = resampled_weights(len(first.labels), identities)
    one, two = (
        np.asarray(np.trapezoid(*_rates(scores, weights), axis=1)) for scores in (first, second)
    )
    if not np.nan_to_num(two - one).any():  # no resample differs: people are the trials then
        return paired_difference(np.zeros(several, bool), np.zeros(several, bool))
    return percentiles(apart, two - one)


def share_difference(first: NDArray[Any], second: NDArray[Any], identities: Identities) -> Interval:
    """Return how much larger the share of faces that the second gets right is, on the same faces.

    Args:
        first: (N,) bool.
        second: (N,) bool, of the same faces.
        identities: (N,), whose face each is. Where nobody has two, each face is for itself and no
            bootstrap is needed. The limits of one person alone are nan.
    """
    several = people_among(len(first), identities)
    if several == len(first):
        return paired_difference(first, second)
    apart = second.astype(np.float64) - first
    if several == 1:
        return Interval(float(apart.mean()), math.nan, math.nan)
    if not apart.any():  # no resample differs either: people are the trials then
        return paired_difference(np.zeros(several, bool), np.zeros(several, bool))
    weights = resampled_weights(len(first), identities)
    return percentiles(float(apart.mean()), weights @ apart / weights.sum(axis=1))


def people_among(count: int, identities: Identities) -> int:
    """Return how many people so many faces show; where nobody knows, each is another's."""
    return int(_people(count, identities or None).max(initial=-1)) + 1


def roc_band(scores: Scores, identities: Identities = None) -> Band | None:
    """Return the 95 % band of a ROC curve: sensitivity at each false-positive rate of a grid.

    None where one person makes up a class, as for `auc_by_identity`.

    Raises:
        ValueError: only one class is present.
    """
    roc_points(scores)
    if _people_a_class(scores, identities) == 1:
        return None
    tpr, fpr = _rates(scores, resampled_weights(len(scores.labels), identities))
    # A resample without one of the classes has no curve.
    whole = np.isfinite(fpr).all(axis=1) & np.isfinite(tpr).all(axis=1)
    rows = [np.interp(GRID, x, y) for x, y in zip(fpr[whole], tpr[whole], strict=True)]
    low, high = np.percentile(rows, LEVEL, axis=0)
    return Band(GRID, low, high)


def pr_band(scores: Scores, identities: Identities = None) -> Band | None:
    """Return the 95 % band of a precision-recall curve: precision at each recall of a grid.

    None where one person makes up a class, as for `auc_by_identity`.

    Raises:
        ValueError: only one class is present.
    """
    pr_points(scores)
    if _people_a_class(scores, identities) == 1:
        return None
    weights = resampled_weights(len(scores.labels), identities)
    hits, alarms = _found(scores, weights)
    rows = []
    for hit, alarm in zip(hits, alarms, strict=True):
        if hit[-1]:
            recall, precision = hit / hit[-1], hit / np.maximum(hit + alarm, 1)
            # The staircase: the precision of the first threshold that reaches a recall.
            rows.append(precision[np.searchsorted(recall, GRID[1:], side="left")])
    low, high = np.percentile(rows, LEVEL, axis=0)
    return Band(GRID[1:], low, high)


def _rates(scores: Scores, weights: Floats) -> tuple[Floats, Floats]:
    """Return (R, L + 1) sensitivity and false-positive rate, from the strictest threshold on."""
    hits, alarms = _found(scores, weights)
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample may lack a class: nan
        tpr, fpr = hits / hits[:, -1:], alarms / alarms[:, -1:]
    start = np.zeros((len(weights), 1))
    return np.hstack([start, tpr]), np.hstack([start, fpr])


def _found(scores: Scores, weights: Floats) -> tuple[Floats, Floats]:
    """Return (R, L) masks found and false alarms as the threshold falls past each score."""
    order = np.argsort(-scores.scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores.scores[order], prepend=np.inf))
    drawn, masked = weights[:, order], scores.labels[order] == 1
    return (
        np.add.reduceat(drawn * masked, starts, axis=1).cumsum(axis=1),
        np.add.reduceat(drawn * ~masked, starts, axis=1).cumsum(axis=1),
    )
