"""Thresholds that do what a rule says, on the scores they are chosen on."""

import numpy as np
import pytest

from masktrain.metrics import Scores, roc_points
from masktrain.thresholds import Rule, choose_threshold, parse_threshold


def sample(seed: int = 0, n: int = 400) -> Scores:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    scores = 1 / (1 + np.exp(-(rng.normal(0, 1.5, n) + 2 * labels - 1)))
    return Scores(labels, scores.round(3), 0.5)


def mistakes(scores: Scores, threshold: float) -> tuple[int, int]:
    said = scores.scores >= threshold
    return int((~said & (scores.labels == 1)).sum()), int((said & (scores.labels == 0)).sum())


@pytest.mark.parametrize("seed", range(5))
def test_youden_is_the_highest_of_all(seed: int) -> None:
    scores = sample(seed)
    at = choose_threshold(scores, Rule("youden"))
    missed, alarms = mistakes(scores, at)
    masked = int(scores.labels.sum())
    found = 1 - missed / masked - alarms / (len(scores.labels) - masked)
    points = roc_points(scores)
    assert found == pytest.approx((points.tpr - points.fpr).max())


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 1.0])
def test_a_fixed_share_of_missed_masks_is_kept_with_the_fewest_false_alarms(share: float) -> None:
    scores = sample()
    at = choose_threshold(scores, Rule("fnr", fnr=share))
    missed, alarms = mistakes(scores, at)
    masked = int(scores.labels.sum())
    assert missed <= share * masked
    for other in np.linspace(0, 1, 400):
        found = mistakes(scores, float(other))
        assert found[0] > share * masked or found[1] >= alarms


@pytest.mark.parametrize("costs", [(5.0, 1.0), (1.0, 5.0), (1.0, 1.0)])
def test_the_least_cost_is_found(costs: tuple[float, float]) -> None:
    scores = sample()
    at = choose_threshold(scores, Rule("cost", missed=costs[0], false_alarm=costs[1]))
    least = np.dot(mistakes(scores, at), costs)
    assert all(np.dot(mistakes(scores, t), costs) >= least for t in np.linspace(0, 1, 400))


def test_a_dear_missed_mask_lowers_the_threshold() -> None:
    at = [choose_threshold(sample(), Rule("cost", missed=cost)) for cost in (0.1, 1.0, 10.0)]
    assert at[0] > at[1] > at[2]


def test_a_threshold_lies_between_two_scores() -> None:
    scores = Scores(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.8]), 0.1)
    assert choose_threshold(scores, Rule("youden")) == pytest.approx(0.4)


def test_rules_are_read_and_written() -> None:
    assert parse_threshold("0.4") == 0.4 and parse_threshold("youden") == Rule("youden")
    for text in ("youden", "fnr=0.02", "cost=5:1", "cost=0.5:2"):
        assert str(parse_threshold(text)) == text


@pytest.mark.parametrize("text", ["best", "1.5", "fnr=2", "fnr=", "cost=5", "cost=0:1", "nan", ""])
def test_what_is_no_rule_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"threshold must be a number .* youden, fnr=0\.02"):
        parse_threshold(text)


def test_nothing_is_chosen_on_one_class() -> None:
    with pytest.raises(ValueError, match="both classes"):
        choose_threshold(Scores(np.array([1, 1]), np.array([0.4, 0.6]), 0.1), Rule("youden"))


@pytest.mark.parametrize("rule", [Rule("youden"), Rule("cost"), Rule("cost", missed=3.0)])
def test_of_thresholds_that_tie_none_is_taken_that_is_worse(rule: Rule) -> None:
    scores = Scores(np.array([0, 1, 0, 1]), np.array([0.2, 0.4, 0.6, 0.8]), 0.1)
    assert choose_threshold(scores, Rule("youden")) in (pytest.approx(0.3), pytest.approx(0.7))
    for seed in range(30):
        scores = sample(seed, 60)
        masked = int(scores.labels.sum())
        prices = (1 / masked, 1 / (60 - masked)) if rule.kind == "youden" else (rule.missed, 1.0)
        loss = np.dot(mistakes(scores, choose_threshold(scores, rule)), prices)
        every = [np.dot(mistakes(scores, t), prices) for t in np.linspace(0, 1.001, 2000)]
        assert loss <= min(every) + 1e-9
