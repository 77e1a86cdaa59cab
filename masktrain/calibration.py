"""Whether a score of .9 means nine in ten: calibration error, and a temperature that mends it.

Source: C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017. The temperature is
fitted on validation scores; it changes neither the order of faces nor any answer at one half.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from masktrain.metrics import Floats, Interval, Scores, json_safe
from masktrain.multiclass import ClassScores
from masktrain.resampling import Identities, people_among, percentiles, resampled_weights

BINS = 15
_LEAST = 1e-12
_STEEPEST = 3.0
"""Natural logarithm of the most that logits are multiplied or divided by."""


@dataclass(frozen=True)
class Calibration:
    """How far scores are from shares.

    Attributes:
        ece: expected calibration error. n: faces.
        temperature: logits are divided by it; None where there was nothing to fit it on, or
            nothing to mend there.
        temperature_from: what it was fitted on.
        ece_tempered: the error with it.
    """

    n: int
    ece: Interval
    temperature: float | None = None
    temperature_from: str = ""
    ece_tempered: Interval | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that strict JSON accepts."""
        record: dict[str, Any] = json_safe(asdict(self))
        return record

    def summary(self) -> str:
        """Return the line that a person reads on the screen."""
        text = f"calibration error  {self.ece}"
        if self.temperature is None:
            return text
        mended = f"temperature {self.temperature:.2f} of {self.temperature_from}"
        return f"{text}\n  with {mended}: {self.ece_tempered}"


def calibration_of(
    scores: Scores | ClassScores,
    fitted_on: Scores | ClassScores | None = None,
    name: str = "",
    identities: Identities = None,
) -> Calibration:
    """Return the calibration of scores, and what a temperature would make of it.

    Args:
        scores: what the model said.
        fitted_on: validation scores for the temperature; never those that are judged.
        name: of these.
        identities: (N,), whose face each is, for the intervals; see `resampling`.
    """
    count = len(scores.labels)
    error = calibration_error(scores, identities)
    if fitted_on is None:
        return Calibration(count, error)
    temperature = fit_temperature(fitted_on)
    if temperature is None:
        return Calibration(count, error)
    mended = calibration_error(tempered(scores, temperature), identities)
    return Calibration(count, error, temperature, name, mended)


def calibration_error(scores: Scores | ClassScores, identities: Identities = None) -> Interval:
    """Return the expected calibration error with a 95 % bootstrap interval.

    Of one score it is about the probability of wearing_mask, of several about the class said:
    the mean over 15 bins of equal width of |share of faces - mean score|, weighted by their faces.
    A bootstrap of few faces is a little too high, as is the error itself; of one person's faces
    the limits are nan.
    """
    if isinstance(scores, Scores):
        sure, true = scores.scores, scores.labels.astype(np.float64)
    else:
        sure, true = scores.of_said, (scores.said == scores.labels).astype(np.float64)
    bins = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    one = _error(np.ones((1, len(bins))), bins, sure, true)
    if people_among(len(bins), identities) == 1:
        return Interval(float(one[0]), math.nan, math.nan)
    weights = resampled_weights(len(bins), identities)
    return percentiles(float(one[0]), _error(weights, bins, sure, true))


def _error(weights: Floats, bins: np.ndarray, sure: Floats, true: Floats) -> Floats:
    """Return the (R,) errors under (R, N) weights."""
    inside = np.eye(BINS)[bins]
    gaps = np.abs((weights * (true - sure)) @ inside)
    return np.asarray(gaps.sum(axis=1) / weights.sum(axis=1))


def fit_temperature(scores: Scores | ClassScores) -> float | None:
    """Return the temperature at which these scores have the least cross-entropy.

    None where there is none: of scores that make no mistake, the steeper the better.
    """
    if (scores.said == scores.labels).all():
        return None

    def loss(log_temperature: float) -> float:
        mended = tempered(scores, float(np.exp(log_temperature)))
        return -float(np.log(np.maximum(mended.of_label, _LEAST)).mean())

    best = minimize_scalar(loss, bounds=(-_STEEPEST, _STEEPEST), method="bounded").x
    return float(np.exp(best)) if abs(best) < 0.99 * _STEEPEST else None


def tempered(scores: Scores | ClassScores, temperature: float) -> Scores | ClassScores:
    """Return scores whose logits are divided by a temperature; the loss is that of the new ones.

    Raises:
        ValueError: the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"a temperature is above 0, got {temperature}")
    found = scores.scores
    both = found if found.ndim == 2 else np.stack([1 - found, found], axis=1)
    logits = np.log(np.maximum(both, _LEAST)) / temperature
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    true = np.take_along_axis(chances, scores.labels[:, None], axis=1)
    loss = -float(np.log(np.maximum(true, _LEAST)).mean())
    if isinstance(scores, Scores):
        return Scores(scores.labels, chances[:, 1], loss)
    return dataclasses.replace(scores, scores=chances, loss=loss, ways=None)
