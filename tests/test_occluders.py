"""Things before a face: where they lie, what they leave alone, and no chance in them."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from faces_fixtures import drawn_face

from MaskTheFace.hands import hand
from MaskTheFace.landmarks import Landmarks
from MaskTheFace.occluder_style import (
    ASKED_FOR,
    BENEATH,
    LIGHT_ONLY,
    OCCLUDERS,
    SHARES,
    OccluderStyle,
)
from MaskTheFace.occluders import hidden_share, occlude, sample_occluder
from MaskTheFace.overlay import overlay_mask
from MaskTheFace.props import DRAW
from MaskTheFace.sketch import Frame, Pad
from MaskTheFace.style import MaskStyle
from masktrain.occlusion import MOST_HIDDEN

FACE, POINTS = drawn_face(160)
OPEN, FIST = 2, 1
"""Seeds of hands."""
SOLID = [kind for kind in OCCLUDERS if kind not in LIGHT_ONLY]


def turned(image: np.ndarray, points: Landmarks) -> tuple[np.ndarray, Landmarks]:
    """Return the picture turned by a quarter, with its points."""
    side = image.shape[0]
    xy = np.stack([side - 1 - points.xy[:, 1], points.xy[:, 0]], axis=1)
    return np.rot90(image, -1).copy(), Landmarks(xy)


@pytest.mark.parametrize("kind", OCCLUDERS)
def test_the_same_style_draws_the_same_and_the_photo_is_left_alone(kind: str) -> None:
    before = FACE.copy()
    style = sample_occluder(np.random.default_rng(3), [kind])
    one, two = occlude(FACE, POINTS, style), occlude(FACE, POINTS, style)
    assert np.array_equal(one.image, two.image) and np.array_equal(FACE, before)
    assert one.image.dtype == np.uint8 and one.image.shape == FACE.shape
    assert not np.array_equal(one.image, FACE)
    assert np.array_equal(one.image[~one.changed], FACE[~one.changed])


@pytest.mark.parametrize("kind", SOLID)
def test_what_hides_nothing_touches_little_and_what_hides_is_seen(kind: str) -> None:
    done = occlude(FACE, POINTS, OccluderStyle(kind=kind, seed=1))
    apart = np.abs(done.image.astype(int) - FACE).mean(axis=2)
    assert done.alpha.min() >= 0 and done.alpha.max() > 0.5
    assert apart[done.alpha > 0.9].mean() > 12 if (done.alpha > 0.9).any() else True
    around = apart[done.alpha == 0]
    assert not around.size or around.mean() < 4, "no more than a shadow around it"


@pytest.mark.parametrize(
    ("kind", "over", "beside"),
    [
        ("hand", range(48, 68), range(17, 27)),
        ("fist", range(48, 68), range(17, 27)),
        ("sunglasses", range(36, 48), range(48, 68)),
        ("beard", (7, 8, 9), range(36, 48)),
        ("paint", (48, 54, 57, 66), range(36, 48)),
        ("cup", (57, 66), range(17, 27)),
        ("food", (57, 62, 66), range(17, 27)),
        ("microphone", (57,), range(17, 27)),
        ("veil", range(48, 68), range(36, 48)),
        ("chin_strap", (8,), range(27, 36)),
        ("hat", (), range(27, 68)),
        ("scarf", (), range(17, 68)),
        ("no_face", range(17, 68), ()),
    ],
)
def test_each_thing_lies_where_it_belongs(
    kind: str, over: Sequence[int], beside: Sequence[int]
) -> None:
    hands = {"hand": OPEN, "fist": FIST}
    style = OccluderStyle("hand" if kind in hands else kind, seed=hands.get(kind, 1))
    alpha = occlude(FACE, POINTS, style).alpha

    def hidden(points: Sequence[int]) -> float:
        columns, rows = np.rint(POINTS.xy[list(points)]).astype(int).T
        return float(alpha[np.clip(rows, 0, 159), np.clip(columns, 0, 159)].mean())

    assert not over or hidden(over) > 0.6
    assert not beside or hidden(beside) < 0.1


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        *(("hand", seed) for seed in (OPEN, FIST)),
        ("sunglasses", 1),
        ("beard", 1),
        ("hair", 1),
        ("cup", 1),
    ],
)
def test_things_turn_with_the_head(kind: str, seed: int) -> None:
    style = OccluderStyle(kind=kind, seed=seed)
    upright = occlude(FACE, POINTS, style).alpha
    lying = occlude(*turned(FACE, POINTS), style).alpha
    assert np.abs(np.rot90(upright, -1) - lying).mean() < 0.02


@pytest.mark.parametrize("kind", ["phone", "hair", "shadow"])
def test_sides_can_be_exchanged(kind: str) -> None:
    for side in (-1, 1):
        style = OccluderStyle(kind=kind, side=side, seed=1)
        apart = np.abs(occlude(FACE, POINTS, style).image.astype(int) - FACE).sum(axis=2)
        left, right = apart[:, :80].sum(), apart[:, 80:].sum()
        assert (right > 1.3 * left) if side > 0 else (left > 1.3 * right)


@pytest.mark.parametrize("kind", [kind for kind in SOLID if kind not in BENEATH])
def test_things_look_the_same_before_a_bare_face_and_before_its_masked_twin(kind: str) -> None:
    """What they are lit like must not tell what is beneath them."""
    styles = {
        "black": MaskStyle(color=(10, 10, 12), template="cloth_bound"),
        "forehead": MaskStyle(color=(20, 200, 60), template="cloth_fitted", slip=-1.0),
    }
    thing = dataclasses.replace(sample_occluder(np.random.default_rng(9), [kind]), light=1.0)
    bare = occlude(FACE, POINTS, thing)
    for style in styles.values():
        masked = overlay_mask(FACE, POINTS, style).image
        twin = occlude(masked, POINTS, thing, FACE)
        assert np.array_equal(bare.alpha, twin.alpha)
        solid = bare.alpha > 0.995
        apart = np.abs(bare.image[solid].astype(int) - twin.image[solid])
        assert solid.any() and apart.max() <= 2


def test_a_hand_has_the_skin_of_the_face_even_before_a_mask() -> None:
    masked = overlay_mask(FACE, POINTS, MaskStyle(color=(20, 200, 60), template="cloth_fitted"))
    style = OccluderStyle(kind="hand", seed=1)
    bare, worn = (occlude(image, POINTS, style) for image in (FACE, masked.image))
    inside = bare.alpha > 0.99
    assert np.abs(bare.image[inside].astype(int) - worn.image[inside]).mean() < 12
    skin = FACE[60:80, 75:85].reshape(-1, 3).mean(axis=0)
    assert np.abs(np.median(bare.image[inside], axis=0) - skin).max() < 70


@pytest.mark.parametrize("kind", sorted(LIGHT_ONLY))
def test_light_hides_nothing_and_keeps_the_pattern_of_the_face(kind: str) -> None:
    done = occlude(FACE, POINTS, OccluderStyle(kind=kind, seed=1))
    assert not done.alpha.any() and done.changed.any()
    lit = done.changed & (FACE > 30).all(axis=2)
    before, after = FACE[lit].mean(axis=1), done.image[lit].mean(axis=1)
    assert np.corrcoef(before, after)[0, 1] > 0.5


def test_a_tint_also_comes_over_the_lower_face_and_may_add_light() -> None:
    brighter = []
    for color in ((235, 240, 250), None):
        style = OccluderStyle(kind="tint", seed=8, color=color)
        apart = occlude(FACE, POINTS, style).image.astype(int) - FACE
        upper, lower = np.abs(apart[:40]).mean(), np.abs(apart[120:]).mean()
        assert lower > 5 * upper
        brighter.append((apart > 2).any())
    assert brighter == [True, False]


@pytest.mark.parametrize("side_px", [24, 400])
@pytest.mark.parametrize("kind", OCCLUDERS)
def test_small_and_large_faces_get_the_same_thing(kind: str, side_px: int) -> None:
    image, points = drawn_face(side_px)
    style = OccluderStyle(kind=kind, seed=1)
    here = occlude(image, points, style).alpha.mean()
    assert here == pytest.approx(occlude(FACE, POINTS, style).alpha.mean(), abs=0.05)


def test_how_much_is_hidden_is_a_share_of_the_lower_face() -> None:
    assert hidden_share(np.ones((160, 160), np.float32), POINTS) == 1
    assert hidden_share(np.zeros((160, 160), np.float32), POINTS) == 0
    veil = occlude(FACE, POINTS, OccluderStyle(kind="veil")).alpha
    glasses = occlude(FACE, POINTS, OccluderStyle(kind="sunglasses")).alpha
    assert hidden_share(veil, POINTS) > 0.95 and hidden_share(glasses, POINTS) < 0.05


def test_shares_are_kept_and_what_the_user_decides_is_not_drawn_unasked() -> None:
    rng = np.random.default_rng(0)
    drawn = Counter(sample_occluder(rng).kind for _ in range(3000))
    assert sum(SHARES.values()) == pytest.approx(1) and set(drawn) == set(SHARES)
    for kind, share in SHARES.items():
        assert drawn[kind] / 3000 == pytest.approx(share, abs=0.03)
    assert not set(ASKED_FOR) & set(drawn)
    assert sample_occluder(rng, ["veil"]).kind == "veil"
    assert set(DRAW) | LIGHT_ONLY == set(OCCLUDERS) and set(OCCLUDERS) > BENEATH


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "parrot"}, "unknown occluder 'parrot'; have hand"),
        ({"side": 0}, "side must be -1 or 1"),
        ({"size": 0.0}, "size must be > 0"),
        ({"strength": 1.5}, "strength must be between 0 and 1"),
        ({"dx": float("nan")}, "dx must be a finite number"),
    ],
)
def test_impossible_styles_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        OccluderStyle(**changes)  # type: ignore[arg-type]


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="image must be"):
        occlude(FACE.astype(float), POINTS, OccluderStyle())
    with pytest.raises(ValueError, match="bare must be of the image's shape"):
        occlude(FACE, POINTS, OccluderStyle(), FACE[:50].copy())
    with pytest.raises(ValueError, match="must be among"):
        sample_occluder(np.random.default_rng(0), [])
    with pytest.raises(ValueError, match="unknown fields in an occluder: hat"):
        OccluderStyle.from_json('{"hat": 1}')


def test_a_style_comes_back_from_its_json() -> None:
    rng = np.random.default_rng(4)
    for kind in OCCLUDERS:
        style = sample_occluder(rng, [kind])
        assert OccluderStyle.from_json(style.to_json()) == style
    other = dataclasses.replace(OccluderStyle(), color=(1, 2, 3))
    assert OccluderStyle.from_json(other.to_json()) == other


def test_a_sketch_pad_measures_in_face_widths() -> None:
    frame = Frame.of(POINTS)
    ends = frame.points(POINTS.xy[[0, 16, 28]].astype(float))
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(2, abs=0.05)
    assert ends[2] == pytest.approx([0, 0], abs=1e-6)
    pad = Pad(frame, 160, 160)
    disc, height = pad.ellipse((0, 0), (0.5, 0.5))
    area = float(pad.inside(disc).sum()) * pad.px**2
    assert area == pytest.approx(np.pi / 4, rel=0.02)
    assert height.max() == pytest.approx(1, abs=0.01) and height[disc > 0].max() == 0


def test_hands_are_open_or_fists_and_some_come_out_of_a_sleeve() -> None:
    reaches, sleeves = [], 0
    for seed in range(24):
        pad = Pad(Frame.of(POINTS), 160, 160)
        hand(pad, (0.8, 0.6, 0.5), (0.0, 0.3), OccluderStyle(kind="hand", seed=seed, size=0.5))
        reaches.append((0.3 - float(pad.y[pad.alpha > 0.5].min())) / 0.5)
        solid = pad.alpha > 0.99
        red, green, blue = (pad.rgb[solid] / pad.alpha[solid][:, None]).T
        sleeves += bool(((red < green) | (green < blue)).any())
    assert reaches[FIST] < 0.4 < reaches[OPEN]
    # Half a face is 7 cm wide: fingers reach some 4 cm beyond the mouth, a fist does 2.
    assert 0.2 < min(reaches) < 0.35 and 0.55 < max(reaches) < 0.8
    assert 4 <= sleeves <= 16


def test_few_hands_hide_so_much_that_they_are_left_out() -> None:
    rng = np.random.default_rng(0)
    hands = [occlude(FACE, POINTS, sample_occluder(rng, ["hand"])) for _ in range(60)]
    shares = [hidden_share(done.alpha, POINTS) for done in hands]
    assert np.mean(np.array(shares) > MOST_HIDDEN) < 0.25
    assert 0.4 < np.median(shares) < 0.65


def test_a_hand_may_wear_a_glove() -> None:
    glove = OccluderStyle(kind="hand", seed=OPEN, color=(40, 60, 200))
    red, _, blue = occlude(FACE, POINTS, glove).image[110:130, 75:85].reshape(-1, 3).mean(axis=0)
    assert blue > red + 60
