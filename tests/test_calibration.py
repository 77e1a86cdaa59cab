"""Calibration: the error of scores that are known to be right or wrong, and the temperature."""

import json

import numpy as np
import pytest

from masktrain.calibration import (
    calibration_error,
    calibration_of,
    fit_temperature,
    tempered,
)
from masktrain.metrics import Scores
from masktrain.multiclass import ClassScores


def honest(n: int = 6000, seed: int = 0) -> Scores:
    """Return scores that are the shares of masks."""
    rng = np.random.default_rng(seed)
    chances = rng.beta(0.6, 0.6, n)
    return Scores((rng.random(n) < chances).astype(int), chances, 0.5)


def classes(n: int = 4000, sharper: float = 1.0) -> ClassScores:
    """Return probabilities of three classes whose logits are too large by a factor."""
    rng = np.random.default_rng(1)
    chances = rng.dirichlet((0.7, 0.7, 0.7), n)
    labels = np.array([rng.choice(3, p=row) for row in chances])
    sharp = np.maximum(chances, 1e-9) ** sharper
    return ClassScores(labels, sharp / sharp.sum(axis=1, keepdims=True), 0.5)


def test_honest_scores_have_next_to_no_error_and_sure_ones_have_their_mistakes() -> None:
    assert calibration_error(honest()).value < 0.02
    sure = Scores(np.array([1, 1, 1, 0] * 50), np.ones(200), 3.0)
    found = calibration_error(sure)
    assert found.value == pytest.approx(0.25) and found.low < 0.25 < found.high
    assert calibration_error(classes()).value < 0.03
    assert calibration_error(classes(sharper=3.0)).value > 0.08


def test_faces_of_one_person_count_less() -> None:
    scores = honest(400)
    alone, together = (
        calibration_error(scores, names) for names in (None, [str(i // 40) for i in range(400)])
    )
    assert alone.value == together.value
    assert together.high - together.low > alone.high - alone.low


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_used_is_found_and_mends_the_error(factor: float) -> None:
    sharp = tempered(honest(), 1 / factor)
    assert fit_temperature(sharp) == pytest.approx(factor, rel=0.06)
    found = calibration_of(sharp, tempered(honest(seed=5), 1 / factor), "val")
    assert found.ece_tempered is not None and found.ece_tempered.value < 0.03
    assert found.temperature_from == "val" and "temperature" in found.summary()


def test_three_classes_have_a_temperature_too() -> None:
    assert fit_temperature(classes(sharper=2.0)) == pytest.approx(2.0, rel=0.08)


def test_a_temperature_changes_neither_order_nor_answers() -> None:
    scores = honest(300)
    mended = tempered(scores, 2.5)
    assert isinstance(mended, Scores) and np.array_equal(mended.said, scores.said)
    assert np.array_equal(np.argsort(mended.scores), np.argsort(scores.scores))
    many = tempered(classes(200), 2.5)
    assert np.array_equal(many.said, classes(200).said)
    with pytest.raises(ValueError, match="above 0"):
        tempered(scores, 0.0)


def test_scores_without_a_mistake_have_no_temperature() -> None:
    labels = np.arange(100) % 2
    perfect = Scores(labels, 0.1 + 0.8 * labels, 0.1)
    assert fit_temperature(perfect) is None
    assert calibration_of(honest(), perfect, "val") == calibration_of(honest())


def test_of_one_person_the_error_has_no_limits() -> None:
    found = calibration_error(honest(100), ["me"] * 100)
    assert found.value == calibration_error(honest(100)).value
    assert np.isnan([found.low, found.high]).all()


def test_without_validation_scores_nothing_is_fitted() -> None:
    record = calibration_of(honest(100)).to_dict()
    assert record["temperature"] is None and record["ece_tempered"] is None
    assert json.loads(json.dumps(record, allow_nan=False))["n"] == 100
