"""Three classes: the numbers are those of scikit-learn, with intervals."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from MaskTheFace.coverage import WEARS, label_of
from masktrain.metrics import Scores, evaluate_scores
from masktrain.multiclass import (
    CLASS_OF_TARGET,
    CLASSES,
    MEMBERS,
    OUTPUTS,
    ClassEvaluation,
    ClassScores,
    evaluate_classes,
    measure,
    target_of,
)
from masktrain.wrongly import Wrongly, rows_of


def sample(n: int = 300, seed: int = 0, skill: float = 2.0) -> ClassScores:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    logits = rng.normal(0, 1, (n, 3))
    logits[np.arange(n), labels] += skill
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return ClassScores(labels, chances, log_loss(labels, chances))


def test_numbers_are_scikit_learns() -> None:
    scores = sample()
    found = evaluate_classes(scores)
    labels, said = scores.labels, scores.said
    assert found.confusion == tuple(map(tuple, confusion_matrix(labels, said).tolist()))
    assert found.accuracy.value == pytest.approx(accuracy_score(labels, said))
    assert found.balanced_accuracy.value == pytest.approx(
        recall_score(labels, said, average="macro")
    )
    assert found.balanced_accuracy.value == pytest.approx(scores.balanced_accuracy())
    one_by_one = zip(
        found.classes,
        precision_score(labels, said, average=None),
        recall_score(labels, said, average=None),
        strict=True,
    )
    for row, precision, recall in one_by_one:
        assert (row.precision.value, row.recall.value) == pytest.approx((precision, recall))
        assert row.recall.low < recall < row.recall.high
        assert row.roc_auc.low < row.roc_auc.value < row.roc_auc.high
    wanted = roc_auc_score(labels, scores.scores, multi_class="ovr", average="macro")
    assert scores.auc == pytest.approx(wanted)


def test_macro_recall_is_surer_than_each_recall_and_less_sure_with_fewer_faces() -> None:
    wide = [evaluate_classes(sample(n)).balanced_accuracy for n in (60, 600)]
    spans = [one.high - one.low for one in wide]
    assert spans[0] > 2 * spans[1]
    row = evaluate_classes(sample(600)).classes[0].recall
    assert spans[1] < row.high - row.low


def test_a_class_without_faces_is_unknown_and_not_zero() -> None:
    whole = sample()
    kept = whole.labels != 2
    scores = ClassScores(whole.labels[kept], whole.scores[kept], 0.5)
    found = evaluate_classes(scores)
    assert math.isnan(found.classes[2].recall.value) and found.classes[2].n == 0
    assert math.isnan(found.classes[2].precision.value)
    recalls = [row.recall.value for row in found.classes[:2]]
    assert found.balanced_accuracy.value == pytest.approx(np.mean(recalls))
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["classes"][2]["n"] == 0
    assert not math.isnan(scores.auc)


def test_one_class_against_the_rest_is_a_yes_or_no() -> None:
    scores = sample()
    for label, (name, view) in enumerate(scores.views()):
        assert name == CLASSES[label] and isinstance(view, Scores)
        assert view.labels.sum() == (scores.labels == label).sum()
        assert view.loss == pytest.approx(log_loss(view.labels, view.scores), rel=1e-6)


def test_the_old_question_is_asked_with_the_third_class_put_aside() -> None:
    whole = sample()
    kept = whole.labels != 2
    scores = whole.without_third()
    first, second = whole.scores[kept][:, :2].T
    assert np.array_equal(scores.said, (second >= first).astype(int))
    assert scores.loss == pytest.approx(log_loss(scores.labels, scores.scores))
    tiny = ClassScores(np.array([1, 0]), np.array([[1e-20, 1e-15, 1], [0, 0, 1]]), 1.0)
    assert tiny.without_third().scores == pytest.approx([1, 0.5], abs=1e-4)
    assert evaluate_classes(whole).two_classes == evaluate_scores(scores)
    only = ClassScores(np.array([2, 2]), np.full((2, 3), 1 / 3), 1.0)
    assert evaluate_classes(only).two_classes is None


def test_what_a_person_reads_has_every_count() -> None:
    found = evaluate_classes(sample())
    text = found.summary()
    for name, row in zip(CLASSES, found.confusion, strict=True):
        line = next(line for line in text.splitlines() if line.startswith(name))
        assert line.split()[1:] == [str(count) for count in row]


def test_kinds_of_scores_are_told_apart() -> None:
    assert isinstance(measure(sample()), ClassEvaluation)
    assert measure(Scores(np.array([0, 1]), np.array([0.2, 0.9]), 0.1), 0.95).fn == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("labels", "scores", "words"),
    [
        ([], np.zeros((0, 3)), "N > 0"),
        ([0, 1], [[1, 0, 0]], "got shapes"),
        ([3], [[1, 0, 0]], "labels must be 0 to 2"),
        ([0], [[0.5, 0.6, 0.1]], "sum to 1"),
        ([0], [[1.5, -0.5, 0]], "sum to 1"),
    ],
)
def test_impossible_scores_are_refused(labels: list[int], scores: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ClassScores(np.array(labels, int), np.array(scores, float), 0.0)


def test_classes_sum_their_ways_and_the_way_said_is_of_the_class_said() -> None:
    rng = np.random.default_rng(1)
    outputs = rng.dirichlet(np.full(len(OUTPUTS), 0.4), 200)
    outputs[0] = [0.1, 0.3, 0, 0.2, 0.2, 0.2, 0]  # the likeliest way is of another class
    labels = rng.integers(0, 3, 200)
    scores = ClassScores.of_outputs(labels, outputs, 1.0)
    classes = [0 if name == "no_mask" else CLASSES.index(label_of(name)) for name in OUTPUTS]
    for label in range(3):
        chosen = [place for place, of in enumerate(classes) if of == label]
        assert scores.scores[:, label] == pytest.approx(outputs[:, chosen].sum(axis=1))
    assert scores.said[0] == 2 and scores.said_ways[0] == "nose_out"
    for said, way in zip(scores.said, scores.said_ways, strict=True):
        assert (label_of(way) or "no_mask") == CLASSES[said]
    assert sample(5).said_ways == ("",) * 5


def test_a_target_is_a_way_where_it_is_known_and_of_the_class() -> None:
    for label in range(3):
        assert target_of(label, "") == label == CLASS_OF_TARGET[label]
    targets = {way: target_of(CLASSES.index(label_of(way)), way) for way in WEARS}
    assert len(set(targets.values()) | {0, 1, 2}) == len(MEMBERS) == len(CLASS_OF_TARGET)
    for way, target in targets.items():
        assert CLASSES[CLASS_OF_TARGET[target]] == label_of(way)
        assert [OUTPUTS[place] for place in np.flatnonzero(MEMBERS[target])] == [way]
    assert target_of(1, "nose_out") == 1 and target_of(0, "correct") == 0


def test_ways_have_a_row_with_what_is_said_of_them() -> None:
    ways = ("correct", "correct", "chin_out", "nose_out", "")
    outputs = np.zeros((5, len(OUTPUTS)))
    for place, said in enumerate(("correct", "chin_out", "nose_out", "nose_out", "no_mask")):
        outputs[place, OUTPUTS.index(said)] = 1
    scores = ClassScores.of_outputs(np.array([1, 1, 1, 2, 0]), outputs, 1.0)
    found = {row.name: row for row in evaluate_classes(scores, ways).ways}
    assert {name: row.n for name, row in found.items()} == {
        "correct": 2,
        "chin_out": 1,
        "nose_out": 1,
    }
    assert (found["correct"].class_right.value, found["correct"].way_right.value) == (1, 0.5)
    assert (found["chin_out"].class_right.value, found["chin_out"].way_right.value) == (0, 0)
    assert found["nose_out"].way_right.value == 1
    assert "chin_out" in evaluate_classes(scores, ways).summary()
    assert evaluate_classes(scores).ways == ()


def test_masks_worn_wrongly_are_counted_by_way() -> None:
    ways = ("nose_out",) * 4 + ("under_chin",) * 3 + ("",)
    chances = np.array([0.9, 0.8, 0.6, 0.1, 0.2, 0.1, 0.3, 0.99])
    wrongly = Wrongly(tuple("abcdefgh"), ways, chances, 0.5)
    found = {name: (n, taken.value) for name, n, taken, _ in wrongly.rows()}
    assert found == {"all": (8, 0.5), "nose_out": (4, 0.75), "under_chin": (3, 0.0)}
    assert wrongly.to_dict()["nose_out"]["median_score"] == pytest.approx(0.7)
    assert "nose_out" in wrongly.summary() and "of 8" in wrongly.summary()
    assert rows_of(wrongly)[0] == ("a", 0.9) and rows_of(None) == []
