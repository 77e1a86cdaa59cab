"""Heat is mass: its shares add up, evenly spread heat is chance, and what is unknown is said."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from MaskTheFace.landmarks import CANONICAL
from masktrain.explain_report import Report, worst_of
from masktrain.heat import DISCS, FaceHeat, as_mass, disc, face_discs, focus, share_inside
from masktrain.metrics import Scores
from masktrain.multiclass import ClassScores
from masktrain.outcomes import OUTCOMES, answers_of, pick_measured, pick_shown

MAPS = hnp.arrays(np.float64, (6, 6), elements=st.floats(-1e6, 1e6))
REGIONS = hnp.arrays(np.float64, (6, 6), elements=st.floats(0, 1))


@given(MAPS, REGIONS)
def test_a_share_and_that_of_the_rest_are_the_whole(
    evidence: np.ndarray, region: np.ndarray
) -> None:
    mass = as_mass(evidence)
    inside, outside = share_inside(mass, region), share_inside(mass, 1 - region)
    if (evidence > 0).any():
        assert mass.sum() == pytest.approx(1) and mass.min() >= 0
        assert 0 <= inside <= 1 and inside + outside == pytest.approx(1)
    else:
        assert not mass.any() and math.isnan(inside) and math.isnan(outside)


@given(MAPS, REGIONS, st.floats(1e-3, 1e3))
def test_shares_do_not_know_how_strong_the_evidence_is(
    evidence: np.ndarray, region: np.ndarray, scale: float
) -> None:
    once, more = (share_inside(as_mass(k * evidence), region) for k in (1.0, scale))
    assert once == pytest.approx(more, nan_ok=True)


@given(MAPS)
def test_what_speaks_against_is_no_heat(evidence: np.ndarray) -> None:
    assert np.array_equal(as_mass(evidence) > 0, as_mass(np.maximum(evidence, 0)) > 0)
    assert not as_mass(-np.abs(evidence)).any()


def test_evenly_spread_heat_is_one_times_chance() -> None:
    rng = np.random.default_rng(0)
    regions = rng.random((20, 8, 8)) * rng.random((20, 1, 1))
    even = as_mass(np.full((8, 8), 3.0))
    shares = np.array([share_inside(even, region) for region in regions])
    areas = regions.mean(axis=(1, 2))
    assert shares == pytest.approx(areas)
    found = focus(shares, areas)
    assert found.times.value == pytest.approx(1) and found.times.high == pytest.approx(1)
    assert found.heat.low < found.heat.value < found.heat.high
    assert found.area == pytest.approx(found.heat.value)


def test_all_heat_inside_is_one_over_the_area() -> None:
    found = focus(np.ones(7), np.full(7, 0.2))
    assert found.heat.value == 1 and found.times.value == pytest.approx(5)


def test_maps_without_heat_are_counted_and_in_no_mean() -> None:
    shares, areas = np.array([0.5, math.nan, 0.7]), np.array([0.2, 0.9, 0.4])
    found = focus(shares, areas)
    assert (found.n, found.blank) == (2, 1)
    assert found.heat.value == pytest.approx(0.6) and found.area == pytest.approx(0.3)
    assert found.times.value == pytest.approx(2)
    assert 0.5 <= found.heat.low < 0.6 < found.heat.high <= 0.7
    none = focus(np.array([math.nan]), np.array([0.3]))
    assert (none.n, none.blank) == (0, 1) and math.isnan(none.heat.value)
    one = focus(np.array([0.5]), np.array([0.25]))
    assert one.times.value == 2 and math.isnan(one.times.low), "one face has no interval"


def test_the_interval_covers_the_truth_in_most_samples() -> None:
    rng, inside = np.random.default_rng(1), 0
    for _ in range(60):
        areas = rng.uniform(0.1, 0.4, 40)
        shares = np.clip(1.5 * areas + rng.normal(0, 0.1, 40), 0, 1)
        times = focus(shares, areas).times
        inside += times.low <= 1.5 <= times.high
    assert 51 <= inside <= 60


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (np.zeros(4), r"must be \(H, W\)"),
        (np.array([[math.nan, 1.0]]), "nan or infinity"),
        (np.array([[math.inf, 1.0]]), "nan or infinity"),
    ],
)
def test_what_is_no_map_is_refused(evidence: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        as_mass(evidence)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="of one shape"):
        share_inside(np.ones((2, 2)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="one area a share"):
        focus(np.ones(2), np.ones(3))


@given(st.floats(-20, 130), st.floats(-20, 130), st.floats(1, 30))
def test_a_disc_has_the_area_of_a_disc_and_is_cut_at_the_border(
    x: float, y: float, radius_px: float
) -> None:
    area = disc(np.array([x, y]), radius_px, 112).sum()
    whole = math.pi * radius_px**2
    if radius_px <= min(x, y, 111 - x, 111 - y):
        assert abs(area - whole) <= 8 * radius_px + 4
    else:
        assert area <= whole + 8 * radius_px + 4


def test_the_discs_on_an_upright_face_lie_apart_and_on_their_landmarks() -> None:
    xy = CANONICAL * 112
    width_px = float(np.linalg.norm(xy[16] - xy[0]))
    discs = face_discs(xy, width_px, 112)
    assert tuple(discs) == DISCS
    assert sum(discs.values()).max() == 1
    for name, point in (("nose", xy[30]), ("chin", xy[8])):
        x, y = np.rint(point).astype(int)
        assert discs[name][y, x] == 1
    assert 0.01 < discs["mouth"].mean() < 0.06


def test_outcomes_of_two_classes_follow_the_threshold() -> None:
    scores = Scores(np.array([1, 0, 0, 1, 1]), np.array([0.9, 0.6, 0.2, 0.4, 0.6]), 0.0)
    answers = answers_of(scores, 0.5)
    assert [list(OUTCOMES)[place] for place in answers.outcomes] == [
        "true_positives",
        "false_positives",
        "true_negatives",
        "false_negatives",
        "true_positives",
    ]
    assert answers.of_said.tolist() == pytest.approx([0.9, 0.6, 0.8, 0.6, 0.6])
    assert answers_of(scores, 0.7).count() == {
        "true_positives": 1,
        "false_positives": 0,
        "true_negatives": 2,
        "false_negatives": 2,
    }


def test_a_mask_seen_but_said_to_be_worn_otherwise_is_an_outcome_of_its_own() -> None:
    said = np.array([[0, 1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 1]], float)
    answers = answers_of(ClassScores(np.array([1, 1, 2, 2, 0]), said, 0.0), 0.5)
    assert answers.count() == {
        "true_positives": 1,
        "false_positives": 1,
        "true_negatives": 0,
        "false_negatives": 1,
        "worn_otherwise": 2,
    }


def test_the_most_wrong_are_shown_first_and_right_ones_by_chance() -> None:
    rng = np.random.default_rng(0)
    answers = answers_of(Scores(rng.integers(0, 2, 300), rng.random(300), 0.0), 0.5)
    shown = pick_shown(answers, 8, 0)
    assert set(shown) == set(list(OUTCOMES)[:4])
    for name, places in shown.items():
        assert len(places) == len(set(places)) == 8
        assert {list(OUTCOMES)[answers.outcomes[place]] for place in places} == {name}
    wrong = answers.of_label[shown["false_negatives"]]
    assert (np.diff(wrong) >= 0).all()
    assert wrong[0] == answers.of_label[(answers.labels == 1) & ~answers.right].min()
    assert shown == pick_shown(answers, 8, 0) and shown != pick_shown(answers, 8, 1)


def test_measured_are_so_many_of_each_class_and_answer_and_all_at_zero() -> None:
    labels = np.repeat([0, 1], 50)
    answers = answers_of(
        Scores(labels, np.where(np.arange(100) % 10, labels, 1 - labels), 0.0), 0.5
    )
    some = pick_measured(answers, 7, 0)
    assert np.array_equal(some, np.unique(some))
    for label in (0, 1):
        here = answers.of(some).labels == label
        assert (here & answers.of(some).right).sum() == 7
        assert (here & ~answers.of(some).right).sum() == 5, "there are no more"
    assert np.array_equal(pick_measured(answers, 0, 0), np.arange(100))


def face(name: str, inside: float, wear: str, right: bool = True) -> FaceHeat:
    areas, shares = {"mask": 0.2, "nose": 0.02}, {"mask": inside, "nose": 0.1}
    said = 1 if right else 0
    return FaceHeat("p", 1, said, 0.9, name, wear, areas, {"occlusion": shares})


def test_the_worst_slice_is_of_faces_told_rightly_and_not_of_a_handful() -> None:
    faces = [face("good", 0.8, "correct")] * 6 + [face("bad", 0.3, "chin_out")] * 6
    faces += [face("rare", 0.0, "correct")] * 4 + [face("good", 0.0, "correct", right=False)] * 9
    faces += [face("blank", math.nan, "correct")] * 5
    report = Report({}, {"occlusion": "a patch"}, (), None, tuple(faces), "", ())
    worst = worst_of(report.rows, "occlusion", "template")
    assert worst is not None and (worst.name, worst.faces) == ("bad", 6)
    assert worst.focus["mask"].times.value == pytest.approx(1.5)
    assert worst.focus["nose"].times.value == pytest.approx(5)
    assert worst.focus["chin"].n == 0, "nobody knows where it is"
    rows = {row.name: row for row in report.rows}
    assert rows["wearing_mask, told wrongly"].faces == 9
    assert rows["wearing_mask, told rightly"].faces == 21
    assert (rows["blank"].faces, rows["blank"].focus["mask"].blank) == (5, 5)
    assert worst_of(report.rows, "gradcam", "template") is None


def test_all_that_is_known_of_a_face_makes_slices() -> None:
    faces = [
        dataclasses.replace(face("a", inside, "correct"), facts={"age": age, "wear": "correct"})
        for inside, age in ((0.9, "20 to 39"), (0.2, "0 to 12"))
        for _ in range(6)
    ]
    report = Report({"source": 1}, {"occlusion": "a patch"}, (), None, tuple(faces), "", ())
    assert report.sliced_by == ("template", "wear", "age")
    assert [row.name for row in report.rows if row.kind == "age"] == ["0 to 12", "20 to 39"]
    assert report.to_dict()["worst"]["occlusion"]["age"] == "0 to 12"
