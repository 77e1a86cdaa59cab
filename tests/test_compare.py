"""Two runs on the same faces: counts, tests and limits, from their files alone."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from masktrain.compare import CompareConfig, CompareError, compare, main
from masktrain.metrics import Scores

LABELS = ("no_mask", "wearing_mask")


def written(
    run: Path,
    scores: np.ndarray,
    labels: np.ndarray,
    name: str = "real",
    people: Sequence[str] | None = None,
) -> Path:
    """Leave what evaluate would have left of a network of two classes."""
    folder = run / "eval" / name
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"threshold": 0.5}))
    with (folder / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "score", "advice", "identity"))
        for place, (score, label) in enumerate(zip(scores, labels, strict=True)):
            person = people[place] if people else ""
            writer.writerow((f"{LABELS[label]}/{place}.jpg", LABELS[label], score, "", person))
        writer.writerow(("worn_incorrectly/x.jpg", "worn_incorrectly", 0.7, "", ""))
    return run


def sample(skill: float, seed: int, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(n) % 2
    rng = np.random.default_rng(seed)
    return 1 / (1 + np.exp(-rng.normal(skill * (labels - 0.5), 1))), labels


def test_counts_p_and_areas_are_those_of_the_files(tmp_path: Path) -> None:
    (one, labels), (two, _) = sample(1.0, 0), sample(4.0, 1)
    first, second = written(tmp_path / "a", one, labels), written(tmp_path / "b", two, labels)
    found = compare(CompareConfig((first, second)))
    right = [(scores >= 0.5) == labels for scores in (one, two)]
    gained, lost = int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())
    assert (found.n, found.only_second, found.only_first) == (200, gained, lost)
    assert found.mcnemar_p == pytest.approx(binomtest(gained, gained + lost).pvalue)
    assert found.accuracy.value == pytest.approx(right[1].mean() - right[0].mean())
    areas = [Scores(labels, scores, 0.0).auc for scores in (one, two)]
    assert found.roc_auc is not None
    assert found.roc_auc.value == pytest.approx(areas[1] - areas[0])
    assert found.roc_auc.low > 0 and found.accuracy.low > 0 and found.mcnemar_p < 0.001


def test_many_photos_of_a_few_people_are_no_more_certain_than_the_people(tmp_path: Path) -> None:
    several = 10
    people = [f"{place % several}" for place in range(200)]
    (one, labels), (two, _) = sample(1.0, 0), sample(2.0, 1)
    # All photos of a person are scored alike: 200 faces say what 10 say.
    one, two = (scores[np.arange(200) % several] for scores in (one, two))
    labels = labels[np.arange(200) % several]
    runs = [written(tmp_path / name, scores, labels) for name, scores in (("a", one), ("b", two))]
    grouped = [
        written(tmp_path / name, scores, labels, people=people)
        for name, scores in (("c", one), ("d", two))
    ]
    alone, by_people = (compare(CompareConfig((one, two))) for one, two in (runs, grouped))
    for name in ("accuracy", "roc_auc"):
        narrow, wide = getattr(alone, name), getattr(by_people, name)
        assert wide.value == pytest.approx(narrow.value) and narrow.value > 0
        assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert (alone.people, by_people.people) == (200, 10)
    assert "of 10 people" in by_people.markdown() and "another" not in alone.markdown()
    # Whichever run knows whose faces they are tells it for both.
    assert compare(CompareConfig((runs[0], grouped[1]))).roc_auc == by_people.roc_auc


def test_no_difference_on_few_people_is_not_certain(tmp_path: Path) -> None:
    scores, labels = sample(9.0, 0, 40)
    several = [f"{place % 4}" for place in range(40)]
    run = written(tmp_path / "a", scores, labels, people=several)
    found = compare(CompareConfig((run, run)))
    assert found.accuracy.value == 0 and found.accuracy.low < -0.2 and found.accuracy.high > 0.2
    lone = written(tmp_path / "b", scores, labels, people=["me"] * 40)
    other = written(tmp_path / "c", 1 - scores, labels, people=["me"] * 40)
    found = compare(CompareConfig((lone, other)))
    assert found.roc_auc is not None and found.roc_auc.value < -0.5
    assert np.isnan([found.accuracy.low, found.accuracy.high, found.roc_auc.low]).all()


def test_a_run_against_itself_shows_nothing(tmp_path: Path) -> None:
    run = written(tmp_path / "a", *sample(1.0, 0))
    found = compare(CompareConfig((run, run)))
    assert (found.only_first, found.only_second, found.mcnemar_p) == (0, 0, 1.0)
    assert found.roc_auc is not None and found.roc_auc.low == found.roc_auc.high == 0
    assert found.accuracy.low <= 0 <= found.accuracy.high


def test_three_classes_are_compared_with_two_on_the_faces_of_both(tmp_path: Path) -> None:
    scores, labels = sample(3.0, 0, 40)
    two = written(tmp_path / "two", scores, labels)
    folder = tmp_path / "three" / "eval" / "real"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text("{}")
    with (folder / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "said", *LABELS, "worn_incorrectly"))
        for place, label in enumerate(labels):
            chances = (0.9, 0.1, 0.0) if label == 0 else (0.1, 0.2, 0.7)
            said = "no_mask" if label == 0 else "worn_incorrectly"
            writer.writerow((f"{LABELS[label]}/{place}.jpg", LABELS[label], said, *chances))
        writer.writerow(("worn_incorrectly/x.jpg", "worn_incorrectly", "worn_incorrectly", 0, 0, 1))
    found = compare(CompareConfig((two, tmp_path / "three")))
    assert found.n == 40 and found.roc_auc is not None
    assert found.roc_auc.value == pytest.approx(1 - Scores(labels, scores, 0.0).auc)
    assert found.only_first >= 15, "worn incorrectly is not wearing"


def test_the_command_writes_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [written(tmp_path / n, *sample(s, 3)) for n, s in (("a", 1.0), ("b", 2.0))]
    assert main([str(run) for run in runs]) == 0
    out = capsys.readouterr().out
    folder = tmp_path / "a/compare/b-real"
    assert (folder / "compare.md").read_text() in out
    record = json.loads((folder / "compare.json").read_text())
    assert record["n"] == 200 and f"{record['only_second']:,} faces are told right by b" in out


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    scores, labels = sample(1.0, 0, 20)
    first = written(tmp_path / "a", scores, labels)
    (tmp_path / "none").mkdir()
    with pytest.raises(CompareError, match=r"none has no eval/.*run masktrain\.evaluate"):
        compare(CompareConfig((first, tmp_path / "none")))
    other = written(tmp_path / "b", scores, labels, "other")
    with pytest.raises(CompareError, match="share no set of faces"):
        compare(CompareConfig((first, other)))
    written(tmp_path / "a2", scores, labels)
    both = written(tmp_path / "a2", scores, labels, "second")
    with pytest.raises(CompareError, match="--faces, one of real, second"):
        compare(CompareConfig((both, both)))
    written(tmp_path / "c", scores, 1 - labels)
    with pytest.raises(CompareError, match="not evaluated on the same faces"):
        compare(CompareConfig((first, tmp_path / "c")))
    (first / "eval/real/predictions.csv").write_text("path,label\na,no_mask\n")
    with pytest.raises(CompareError, match=r"predictions\.csv cannot be used"):
        compare(CompareConfig((first, tmp_path / "c")))


def test_other_faces_of_the_same_name_are_not_compared(tmp_path: Path) -> None:
    scores, labels = sample(2.0, 0)
    whole = written(tmp_path / "a", scores, labels)
    half = written(tmp_path / "b", scores[:100], labels[:100])
    found = compare(CompareConfig((whole, half)))
    assert (found.n, found.of) == (100, (200, 100))
    assert "same 100 faces (real) of 200 and 100" in found.markdown()
    for run, data in ((whole, "p/real"), (half, "q/real")):
        path = run / "eval/real/metrics.json"
        path.write_text(json.dumps({"threshold": 0.5, "data": data, "split": None}))
    with pytest.raises(CompareError, match="evaluated on other faces"):
        compare(CompareConfig((whole, half)))
    hidden = written(tmp_path / "d", scores, labels)
    for run, share in ((whole, 0.25), (hidden, 0.5)):
        path = run / "eval/real/metrics.json"
        record = {"threshold": 0.5, "data": "p/real", "split": None, "occluders": share}
        path.write_text(json.dumps(record))
    with pytest.raises(CompareError, match=r"0\.25; p/real, -, 0\.5 as folder"):
        compare(CompareConfig((whole, hidden)))
    whole, moved = written(tmp_path / "e", scores, labels), written(tmp_path / "c", scores, labels)
    record = {"threshold": 0.5, "data": "p/real", "split": None, "occluders": 0.0}
    (whole / "eval/real/metrics.json").write_text(json.dumps(record))
    assert compare(CompareConfig((whole, moved))).n == 200, "the same names throughout"
