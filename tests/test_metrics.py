"""What the numbers must obey, whatever the model."""

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from masktrain import metrics
from masktrain.metrics import (
    UNKNOWN,
    Evaluation,
    Interval,
    Scores,
    difference,
    evaluate_scores,
    wilson,
)

RATES = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "f1")
AREAS = ("roc_auc", "pr_auc")


def make_scores(n: int = 400, separation: float = 1.0, seed: int = 0) -> Scores:
    """Return scores of a model whose logits differ by 2 x separation between the classes."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 2)
    logits = rng.normal(size=n) * 1.5 + separation * (2 * labels - 1)
    return Scores(labels, 1 / (1 + np.exp(-logits)), 0.5)


def interval(evaluation: Evaluation, name: str) -> Interval:
    found = getattr(evaluation, name)
    assert isinstance(found, Interval)
    return found


def width(found: Interval) -> float:
    return found.high - found.low


@given(st.integers(1, 500), st.data())
def test_rates_have_wilsons_interval(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    ours = metrics.wilson(successes, trials)
    theirs = binomtest(successes, trials).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0 <= ours.low <= ours.value <= ours.high <= 1


def test_wilson_agrees_with_a_published_example() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    ours = metrics.wilson(81, 263)
    assert (ours.low, ours.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_counts_add_up_and_give_the_rates() -> None:
    scores = make_scores()
    e = evaluate_scores(scores, 0.4)
    assert e.tp + e.fn == e.n_wearing_mask == scores.labels.sum()
    assert e.tn + e.fp == e.n_no_mask and e.n == e.n_no_mask + e.n_wearing_mask
    assert (
        e.accuracy.value == np.mean((scores.scores >= 0.4) == scores.labels) == (e.tp + e.tn) / e.n
    )
    assert e.sensitivity.value == e.tp / e.n_wearing_mask
    assert e.specificity.value == e.tn / e.n_no_mask
    assert e.balanced_accuracy.value == (e.sensitivity.value + e.specificity.value) / 2
    assert e.precision.value == e.tp / (e.tp + e.fp)
    assert e.f1.value == pytest.approx(f1_score(scores.labels, scores.scores >= 0.4))


def test_a_score_at_the_threshold_counts_as_masked() -> None:
    e = evaluate_scores(Scores(np.array([0, 1]), np.array([0.3, 0.7]), 0.0), threshold=0.7)
    assert (e.tp, e.fp, e.fn, e.tn) == (1, 0, 0, 1)


def test_raising_the_threshold_trades_sensitivity_for_specificity_and_leaves_areas_alone() -> None:
    scores = make_scores()
    low, middle, high = (evaluate_scores(scores, t) for t in (0.2, 0.5, 0.8))
    assert low.sensitivity.value > middle.sensitivity.value > high.sensitivity.value
    assert low.specificity.value < middle.specificity.value < high.specificity.value
    assert low.roc_auc == middle.roc_auc == high.roc_auc
    assert low.pr_auc == middle.pr_auc == high.pr_auc


def test_areas_depend_on_the_order_of_scores_only() -> None:
    scores = make_scores()
    squeezed = Scores(scores.labels, 0.4 + 0.1 * scores.scores**3, scores.loss)
    for name in AREAS:
        assert interval(evaluate_scores(squeezed), name) == interval(evaluate_scores(scores), name)


def test_swapping_the_classes_keeps_the_auc_and_inverting_the_scores_complements_it() -> None:
    scores = make_scores()
    swapped = Scores(1 - scores.labels, 1 - scores.scores, scores.loss)
    inverted = Scores(scores.labels, 1 - scores.scores, scores.loss)
    assert swapped.auc == pytest.approx(scores.auc)
    assert inverted.auc == pytest.approx(1 - scores.auc)


def test_the_order_of_faces_changes_no_value() -> None:
    scores = make_scores()
    order = np.random.default_rng(1).permutation(scores.labels.size)
    shuffled = Scores(scores.labels[order], scores.scores[order], scores.loss)
    ours, theirs = evaluate_scores(scores), evaluate_scores(shuffled)
    for name in RATES + AREAS:
        assert interval(ours, name).value == pytest.approx(interval(theirs, name).value)


@pytest.mark.parametrize("levels", [2, 7, 10_000])
def test_the_resampled_areas_are_scikit_learns_with_and_without_ties(levels: int) -> None:
    scores = make_scores(301)
    rounded = np.round(scores.scores * levels) / levels
    rank, labels = np.unique(rounded, return_inverse=True)[1], scores.labels
    bare, masked = rank[labels == 0], rank[labels == 1]
    theirs = (roc_auc_score(labels, rounded), average_precision_score(labels, rounded))
    assert metrics._resampled_areas(bare, masked) == pytest.approx(theirs)
    several = metrics._resampled_areas(np.stack([bare, bare]), np.stack([masked, masked]))
    assert several == pytest.approx(np.stack([theirs, theirs], axis=1))


def test_intervals_hold_their_value_and_narrow_with_more_faces() -> None:
    few, many = (evaluate_scores(make_scores(n)) for n in (100, 10_000))
    for name in RATES + AREAS:
        for found in (interval(few, name), interval(many, name)):
            assert 0 <= found.low < found.value < found.high <= 1, name
        # Ten times narrower for a hundred times the faces, within chance.
        assert 5 < width(interval(few, name)) / width(interval(many, name)) < 20, name


def test_intervals_cover_the_truth_about_nineteen_times_in_twenty() -> None:
    truth = evaluate_scores(make_scores(20_000, seed=99))
    trials = [evaluate_scores(make_scores(120, seed=seed)) for seed in range(60)]
    for name in RATES + AREAS:
        found, value = [interval(trial, name) for trial in trials], interval(truth, name).value
        assert 0.85 <= np.mean([one.low <= value <= one.high for one in found]) <= 1.0, name


def test_the_same_scores_give_the_same_intervals() -> None:
    assert evaluate_scores(make_scores()) == evaluate_scores(make_scores())


@pytest.mark.parametrize("name", RATES + AREAS)
def test_a_perfect_model_is_not_certain(name: str) -> None:
    labels = np.arange(40) % 2
    found = interval(
        evaluate_scores(Scores(labels, 0.1 + 0.8 * labels.astype(np.float64), 0.1)), name
    )
    assert found.value == found.high == 1.0
    assert 0.7 < found.low < 1.0


def test_an_always_yes_model_scores_the_prevalence_and_half_of_the_rest() -> None:
    labels = np.array([1] * 30 + [0] * 10)
    e = evaluate_scores(Scores(labels, np.full(40, 0.9), 0.1))
    assert e.accuracy.value == e.precision.value == 0.75 == pytest.approx(e.pr_auc.value)
    assert e.balanced_accuracy.value == 0.5 == e.roc_auc.value


@pytest.mark.parametrize("label", [0, 1])
def test_with_one_class_what_needs_both_is_null_in_json_and_never_nan(label: int) -> None:
    e = evaluate_scores(Scores(np.full(5, label), np.linspace(0.1, 0.9, 5), math.nan))
    read = json.loads(json.dumps(e.to_dict(), allow_nan=False))
    known = {"accuracy", "sensitivity" if label else "specificity"}
    for name in RATES + AREAS:
        assert (read[name]["value"] is not None) == (name in known), name
    assert read["loss"] is None and read["n"] == 5
    assert "nan" not in e.summary()


def test_a_single_face_of_a_class_gives_areas_without_an_interval() -> None:
    e = evaluate_scores(Scores(np.array([1, 0, 0]), np.array([0.5, 0.2, 0.7]), 0.1))
    assert e.roc_auc.value == 0.5 and e.to_dict()["roc_auc"]["low"] is None


def test_a_model_that_never_alarms_has_no_precision_and_an_f1_of_zero() -> None:
    e = evaluate_scores(Scores(np.array([0, 1, 0, 1]), np.full(4, 0.1), 0.1))
    assert math.isnan(e.precision.value) and e.f1.value == 0.0


@pytest.mark.filterwarnings("error")
def test_one_class_gives_no_warning_and_no_auc() -> None:
    assert math.isnan(Scores(np.ones(3, np.int64), np.full(3, 0.5), 0.1).auc)


@pytest.mark.parametrize(
    ("labels", "scores", "words"),
    [
        ([], [], "N > 0"),
        ([0, 1], [0.5], "shapes"),
        ([0, 2], [0.5, 0.5], "0 or 1"),
        ([0, 1], [0.5, 1.5], "1.5"),
        ([0, 1], [0.5, math.nan], "nan"),
    ],
)
def test_impossible_scores_are_refused(labels: list[int], scores: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Scores(np.array(labels), np.array(scores), 0.1)


def test_an_impossible_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match="threshold must lie in"):
        evaluate_scores(make_scores(), threshold=1.5)


def test_curves_start_and_end_in_the_corners() -> None:
    roc, pr = metrics.roc_points(make_scores()), metrics.pr_points(make_scores())
    assert (roc.fpr[0], roc.tpr[0], roc.fpr[-1], roc.tpr[-1]) == (0, 0, 1, 1)
    assert (pr.recall[0], pr.recall[-1], pr.precision[-1]) == (1, 0, 1)
    assert np.trapezoid(roc.tpr, roc.fpr) == pytest.approx(make_scores().auc)


def test_curves_of_one_class_are_refused() -> None:
    for points in (metrics.roc_points, metrics.pr_points):
        with pytest.raises(ValueError, match="both classes"):
            points(Scores(np.ones(3, np.int64), np.full(3, 0.5), 0.1))


def test_calibration_accounts_for_every_face_and_finds_an_honest_model_honest() -> None:
    rng = np.random.default_rng(0)
    chance = rng.uniform(size=20_000)
    honest = Scores((rng.uniform(size=chance.size) < chance).astype(int), chance, 0.1)
    points = metrics.calibration_points(honest)
    assert points.count.sum() == chance.size and len(points.count) == 10
    assert np.abs(points.observed - points.predicted).max() < 0.05
    inside = (points.low <= points.predicted) & (points.predicted <= points.high)
    assert inside.sum() >= 8


def test_scores_of_exactly_nought_and_one_have_a_bin() -> None:
    points = metrics.calibration_points(Scores(np.array([0, 1]), np.array([0.0, 1.0]), 0.1))
    assert points.predicted.tolist() == points.observed.tolist() == [0.0, 1.0]


def test_three_thousand_faces_take_under_three_seconds() -> None:
    scores = make_scores(3000)
    start = time.perf_counter()
    evaluate_scores(scores)
    assert time.perf_counter() - start < 3


def test_the_summary_names_every_rate_with_its_limits() -> None:
    e = evaluate_scores(make_scores(), 0.45, "val")
    text = e.summary()
    for name in RATES + AREAS:
        found = interval(e, name)
        assert f"{found.low:.4f} to {found.high:.4f}" in text
    assert "400 faces: 200 wearing_mask, 200 no_mask" in text
    assert "0.4500   (val)" in text and max(map(len, text.splitlines())) <= 80


def test_a_difference_carries_the_limits_of_both_over() -> None:
    found = difference(Interval(0.9, 0.86, 0.92), Interval(0.8, 0.77, 0.84))
    assert found.value == pytest.approx(0.1)
    assert found.value - found.low == pytest.approx(math.hypot(0.04, 0.04))
    assert found.high - found.value == pytest.approx(math.hypot(0.02, 0.03))
    assert math.isnan(difference(Interval(0.9, 0.86, 0.92), UNKNOWN).value)


def test_a_difference_of_rates_holds_the_truth_in_about_95_of_100() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        one, other = wilson(int(rng.binomial(60, 0.9)), 60), wilson(int(rng.binomial(90, 0.75)), 90)
        found = difference(one, other)
        held += found.low <= 0.15 <= found.high
    assert 0.93 <= held / 1000 <= 0.98
