"""The bootstrap by identity: what is drawn together, and limits that are known otherwise."""

import numpy as np
import pytest

from masktrain.metrics import Scores, evaluate_scores, pr_points, roc_points
from masktrain.resampling import (
    auc_by_identity,
    auc_difference,
    people_among,
    percentiles,
    pr_band,
    resampled_weights,
    roc_band,
)


def sample(n: int = 300, skill: float = 1.5, seed: int = 0) -> Scores:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    return Scores(labels, 1 / (1 + np.exp(-rng.normal(skill * (labels - 0.5), 1))), 0.5)


def test_faces_of_one_person_are_drawn_together_and_unknown_ones_alone() -> None:
    weights = resampled_weights(6, ["a", "b", "a", "", "", "b"], 200)
    assert np.array_equal(weights[:, 0], weights[:, 2])
    assert np.array_equal(weights[:, 1], weights[:, 5])
    assert not np.array_equal(weights[:, 3], weights[:, 4])
    assert weights.mean() == pytest.approx(1, abs=0.1)
    assert np.array_equal(weights, resampled_weights(6, ["a", "b", "a", "", "", "b"], 200))
    with pytest.raises(ValueError, match="2 identities for 3 faces"):
        resampled_weights(3, ["a", "b"])


def test_with_everybody_alone_the_area_has_about_the_interval_of_evaluate() -> None:
    scores = sample()
    one, two = auc_by_identity(scores, None), evaluate_scores(scores).roc_auc
    assert one.value == two.value
    assert (one.low, one.high) == pytest.approx((two.low, two.high), abs=0.008)


def test_copies_of_faces_do_not_make_it_surer() -> None:
    few = sample(80)
    many = Scores(np.repeat(few.labels, 10), np.repeat(few.scores, 10), 0.5)
    people = [str(place // 10) for place in range(800)]
    spans = [
        found.high - found.low
        for found in (
            auc_by_identity(few, None),
            auc_by_identity(many, None),
            auc_by_identity(many, people),
        )
    ]
    assert spans[1] < 0.5 * spans[0] and spans[2] == pytest.approx(spans[0], rel=0.15)


def test_a_perfect_ranking_is_as_sure_as_its_people_are_many() -> None:
    scores = Scores(np.array([0] * 40 + [1] * 40), np.linspace(0, 1, 80), 0.1)
    alone = auc_by_identity(scores, None)
    few = auc_by_identity(scores, [str(place % 4) for place in range(80)])
    assert alone.value == few.value == few.high == 1 and few.low < alone.low < 1


def test_bands_hold_their_curve() -> None:
    scores = sample()
    roc, points = roc_band(scores), roc_points(scores)
    assert roc is not None
    curve = np.interp(roc.x, points.fpr, points.tpr)
    assert (roc.low <= curve + 1e-9).mean() > 0.97 and (curve <= roc.high + 1e-9).mean() > 0.97
    assert (roc.high - roc.low).max() > 0.03
    pr, staircase = pr_band(scores), pr_points(scores)
    assert pr is not None
    recall, precision = staircase.recall[::-1], staircase.precision[::-1]
    curve = precision[np.searchsorted(recall, pr.x, side="left").clip(0, len(recall) - 1)]
    assert (pr.low <= curve + 1e-9).mean() > 0.95 and (curve <= pr.high + 1e-9).mean() > 0.95


def test_a_band_holds_where_one_class_has_few_faces() -> None:
    labels = np.repeat([0, 1], [60, 3])
    scores = Scores(labels, np.clip(np.random.default_rng(0).normal(labels, 0.6), 0, 1), 0.5)
    for draw in (roc_band, pr_band):
        band = draw(scores)
        assert band is not None and np.isfinite([band.low, band.high]).all()


def test_a_band_needs_both_classes() -> None:
    only = Scores(np.array([1, 1]), np.array([0.4, 0.6]), 0.1)
    for band in (roc_band, pr_band):
        with pytest.raises(ValueError, match="both classes"):
            band(only)


def test_two_models_are_compared_on_the_same_draws() -> None:
    first = sample(400, skill=1.0)
    rng = np.random.default_rng(9)
    near = np.clip(first.scores + rng.normal(0, 0.01, 400), 0, 1)
    second = Scores(first.labels, near, 0.5)
    found = auc_difference(first, second)
    assert found.value == pytest.approx(second.auc - first.auc)
    alone = auc_by_identity(first, None)
    assert found.high - found.low < 0.3 * (alone.high - alone.low)
    assert found.low <= 0 <= found.high
    with pytest.raises(ValueError, match="same faces"):
        auc_difference(first, sample(400, seed=4))


def test_percentiles_hold_their_value() -> None:
    found = percentiles(0.5, np.array([0.6, 0.7, np.nan]))
    assert (found.low, found.value) == (0.5, 0.5) and found.high == pytest.approx(0.6975)


def test_where_nobody_knows_whose_faces_they_are_each_is_anothers() -> None:
    perfect = Scores(np.array([0] * 40 + [1] * 40), np.linspace(0, 1, 80), 0.1)
    for scores in (sample(), perfect):
        nobody = [""] * len(scores.labels)
        assert auc_by_identity(scores, nobody) == auc_by_identity(scores, None)
        assert people_among(len(nobody), nobody) == len(nobody)


def test_of_one_person_in_a_class_no_limits_are_claimed() -> None:
    scores = sample(60)
    other = Scores(scores.labels, scores.scores[::-1].copy(), 0.5)
    people = ["me" if label else str(place) for place, label in enumerate(scores.labels)]
    for found in (auc_by_identity(scores, people), auc_difference(scores, other, people)):
        assert np.isfinite(found.value) and np.isnan([found.low, found.high]).all()
    assert roc_band(scores, people) is None and pr_band(scores, people) is None
    lone = Scores(np.arange(60) == 0, sample(60).scores, 0.5)
    assert np.isnan(auc_by_identity(lone, None).low), "one masked face"


def test_two_that_make_no_mistake_are_as_alike_as_their_people_are_many() -> None:
    labels = np.array([0] * 20 + [1] * 20)
    first = Scores(labels, np.linspace(0, 1, 40), 0.1)
    second = Scores(labels, np.linspace(0, 0.9, 40), 0.1)
    found = auc_difference(first, second)
    assert found.value == 0 and found.low < -0.05 and found.high > 0.05
    assert auc_difference(first, first).low == 0
