"""From what a threshold shall do to its value, chosen on validation scores and never on a test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from masktrain.metrics import Floats, Scores

RULES = "a number from 0 to 1, youden, fnr=0.02 (share of masks missed) or cost=5:1 (a missed mask "
RULES += "costs five times a false alarm)"


@dataclass(frozen=True)
class Rule:
    """What a threshold shall do.

    Args:
        kind: youden: sensitivity + specificity at its highest; fnr: the highest threshold that
            misses no more than a share of the masks; cost: the least cost of all mistakes.
        fnr: that share.
        missed: cost of a missed mask. false_alarm: cost of a false alarm.
    """

    kind: Literal["youden", "fnr", "cost"]
    fnr: float = 0.0
    missed: float = 1.0
    false_alarm: float = 1.0

    def __str__(self) -> str:
        if self.kind == "fnr":
            return f"fnr={self.fnr:g}"
        return f"cost={self.missed:g}:{self.false_alarm:g}" if self.kind == "cost" else self.kind


def parse_threshold(text: str) -> float | Rule:
    """Read a threshold or a rule for one, as the command line gives it.

    Raises:
        ValueError: it is neither; the message says what can be given.
    """
    kind, _, rest = text.partition("=")
    try:
        if text == "youden":
            return Rule("youden")
        if kind == "fnr":
            return Rule("fnr", fnr=_share(rest))
        if kind == "cost":
            missed, _, false_alarm = rest.partition(":")
            return Rule("cost", missed=_cost(missed), false_alarm=_cost(false_alarm))
        return _share(text)
    except ValueError:
        raise ValueError(f"threshold must be {RULES}, got {text}") from None


def choose_threshold(scores: Scores, rule: Rule) -> float:
    """Return the threshold that does what a rule says on these scores.

    Between two scores any threshold does the same: the middle is taken.

    Raises:
        ValueError: a class is missing.
    """
    if not scores.both_classes:
        raise ValueError("a threshold can only be chosen on faces of both classes")
    at, missed, false_alarms = _mistakes(scores)
    masked = int(scores.labels.sum())
    bare = len(scores.labels) - masked
    if rule.kind == "fnr":
        return float(at[missed <= rule.fnr * masked].max())
    if rule.kind == "cost":
        loss = rule.missed * missed + rule.false_alarm * false_alarms
    else:
        loss = missed / masked + false_alarms / bare
    best = np.flatnonzero(loss == loss.min())  # not always neighbours: the middle one, no mean
    return float(at[best[len(best) // 2]])


def _mistakes(scores: Scores) -> tuple[Floats, Floats, Floats]:
    """Return thresholds that tell apart, rising, with missed masks and false alarms at each."""
    levels, place = np.unique(scores.scores, return_inverse=True)
    at = np.concatenate([[levels[0] / 2], (levels[1:] + levels[:-1]) / 2, [(levels[-1] + 1) / 2]])
    masks = np.bincount(place, weights=scores.labels, minlength=len(levels))
    bare = np.bincount(place, weights=1 - scores.labels, minlength=len(levels))
    missed = np.concatenate([[0.0], masks.cumsum()])
    return at, missed, bare.sum() - np.concatenate([[0.0], bare.cumsum()])


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def _cost(text: str) -> float:
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise ValueError
    return value
