"""How masks are worn: the class is read off the rendered mask, not off what was asked for."""

from collections import Counter

import numpy as np
import pytest
from faces_fixtures import drawn_face

from MaskTheFace.coverage import COVERED, WEARS, WORN, WRONG, Covered, label_of, way_of
from MaskTheFace.overlay import overlay_mask
from MaskTheFace.style import MaskStyle, sample_style
from MaskTheFace.templates import TEMPLATES
from MaskTheFace.wear import ADVICE, ASKED, LOOPLESS, SHARES, sample_wear, worn

FACE, POINTS = drawn_face()


def render(way: str, seed: int, **changes: object) -> tuple[MaskStyle, str, Covered, np.ndarray]:
    rng = np.random.default_rng([seed, WEARS.index(way)])
    style = worn(sample_style(rng, ["surgical_pleated", "kn95_fold", "cloth_fitted"]), way, rng)
    masked = overlay_mask(FACE, POINTS, style)
    return style, masked.wear, masked.covered, masked.alpha


@pytest.mark.parametrize("way", WEARS)
def test_what_is_asked_for_is_mostly_what_comes_out(way: str) -> None:
    found = Counter(render(way, seed)[1] for seed in range(20))
    assert found[way] >= 16, found


@pytest.mark.parametrize("way", WEARS)
def test_the_class_follows_from_what_is_covered_alone(way: str) -> None:
    for seed in range(6):
        _, found, covered, _ = render(way, seed)
        wearing = covered.nose >= COVERED and covered.mouth >= COVERED
        assert (label_of(found) == "wearing_mask") == wearing
        if found == "nose_out":
            assert covered.mouth >= COVERED > covered.nose
        elif found in ("under_chin", "one_ear", "forehead"):
            assert covered.mouth < COVERED


def test_a_sliding_mask_goes_from_correct_over_nose_out_to_under_the_chin() -> None:
    slips = np.linspace(0, 0.9, 19)
    seen = [overlay_mask(FACE, POINTS, MaskStyle(slip=slip, pinned=0.5)).wear for slip in slips]
    assert list(dict.fromkeys(seen)) == ["correct", "nose_out", "under_chin"]


def test_where_a_mask_lies_names_it() -> None:
    height, width = FACE.shape[:2]
    ways = {}
    for name, point in {"eyes": 27, "chin": 8, "left ear": 2, "right ear": 14}.items():
        alpha = np.zeros((height, width), np.float32)
        x, y = POINTS.xy[point].astype(int)
        alpha[max(0, y - 32) : y + 32, max(0, x - 32) : x + 32] = 1
        ways[name] = way_of(alpha, POINTS, Covered(0, 0, 0))
    assert ways == {
        "eyes": "forehead",
        "chin": "under_chin",
        "left ear": "one_ear",
        "right ear": "one_ear",
    }


def test_no_mask_to_be_seen_has_no_way_and_no_class() -> None:
    nothing = np.zeros(FACE.shape[:2], np.float32)
    assert way_of(nothing, POINTS, Covered(0, 0, 0)) == "" == label_of("")
    thin = overlay_mask(FACE, POINTS, MaskStyle(opacity=0.4))
    assert thin.wear == "" and thin.alpha.any()
    away = overlay_mask(FACE, POINTS, MaskStyle(slip=9.0))
    assert away.wear == "" and not away.alpha.any()


@pytest.mark.parametrize("way", WRONG)
def test_a_mirrored_face_wears_it_mirrored(way: str) -> None:
    style, found, _, alpha = render(way, 3)
    width = FACE.shape[1]
    other = overlay_mask(FACE[:, ::-1].copy(), POINTS.mirrored(width), style.mirrored())
    assert other.wear == found
    assert np.abs(other.alpha[:, ::-1] - alpha).mean() < 0.01


def test_shares_are_kept_and_what_has_no_loops_hangs_from_no_ear() -> None:
    rng = np.random.default_rng(0)
    drawn = Counter(sample_wear(rng, "surgical_pleated") for _ in range(3000))
    assert sum(SHARES.values()) == pytest.approx(1) and set(drawn) == set(WRONG)
    for way in WRONG:
        assert drawn[way] / 3000 == pytest.approx(SHARES[way], abs=0.04)
    assert set(TEMPLATES) > LOOPLESS
    for template in LOOPLESS:
        assert "one_ear" not in {sample_wear(rng, template) for _ in range(60)}


def test_every_way_can_be_asked_for_and_unknown_ones_cannot() -> None:
    rng = np.random.default_rng(1)
    for asked in ASKED:
        got = {sample_wear(rng, "surgical_pleated", asked) for _ in range(40)}
        assert got == {asked} if asked in WEARS else got <= set(WEARS)
    assert {sample_wear(rng, "n95_cup", "random") for _ in range(80)} >= {"correct", "nose_out"}
    with pytest.raises(ValueError, match="unknown way to wear a mask 'upside_down'"):
        sample_wear(rng, "n95_cup", "upside_down")
    for way in ("upside_down", ""):
        with pytest.raises(ValueError, match="unknown way"):
            worn(MaskStyle(), way, rng)


def test_ways_take_equally_many_draws_so_that_later_choices_stay() -> None:
    states = set()
    for way in WEARS:
        rng = np.random.default_rng(5)
        worn(MaskStyle(), way, rng)
        states.add(rng.integers(1 << 40))
    assert len(states) == 1


def test_there_is_advice_for_every_way_and_none_for_a_mask_worn_well() -> None:
    assert set(WEARS) < set(ADVICE) and ADVICE["correct"] == ADVICE["wearing_mask"] == ""
    assert all(ADVICE[way] for way in (*WRONG, "chin_out", "no_mask", "worn_incorrectly"))
    assert set(WORN) | set(WRONG) == set(WEARS)
