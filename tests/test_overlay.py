"""One mask on one face, as physics: nothing outside changes, no rim, mirror and scale laws."""

import dataclasses
import itertools

import cv2
import numpy as np
import pytest
from faces_fixtures import drawn_face
from hypothesis import given, settings
from hypothesis import strategies as st

from MaskTheFace.coverage import covered_shares
from MaskTheFace.landmarks import CANONICAL, Landmarks
from MaskTheFace.overlay import Masked, overlay_mask
from MaskTheFace.style import MaskStyle, sample_style
from MaskTheFace.templates import SPECIAL, TEMPLATES, MaskTemplate, load_template

PLAIN = MaskStyle(wrinkles=0, weave=0, light=0, shadow=0, grain=0, match=0, softness=0.3)
FACE, POINTS = drawn_face(160)


def in_a_scene(margin: int = 90) -> tuple[np.ndarray, Landmarks]:
    """Return a face with room on all sides, unevenly, off the pixel grid."""
    around = (margin, margin + 7, margin + 11, margin - 5)
    scene = cv2.copyMakeBorder(FACE, *around, cv2.BORDER_REPLICATE)
    return scene, Landmarks(POINTS.xy + [margin + 11.3, margin - 0.2])


def distorted(seed: int, roll_deg: float, yaw: float) -> Landmarks:
    """Return the face's points rolled, turned and shaken."""
    rng = np.random.default_rng(seed)
    xy = CANONICAL - [0.5, 0.55]
    xy = xy * np.where(xy[:, :1] * np.sign(yaw) > 0, [1 - abs(yaw), 1], [1, 1])
    angle = np.deg2rad(roll_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Landmarks((xy @ turn.T + 0.5) * 160 + rng.normal(0, 1.5, (68, 2)))


def check_laws(image: np.ndarray, masked: Masked) -> None:
    assert masked.image.shape == image.shape and masked.image.dtype == np.uint8
    assert masked.alpha.shape == masked.changed.shape == image.shape[:2]
    assert masked.alpha.dtype == np.float32 and masked.changed.dtype == bool
    assert np.array_equal(masked.image[~masked.changed], image[~masked.changed])
    assert np.isfinite(masked.alpha).all()
    assert masked.alpha.min() >= 0 and masked.alpha.max() <= 1
    assert not masked.alpha[~masked.changed].any()
    assert all(0 <= share <= 1 for share in dataclasses.astuple(masked.covered))


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a.astype(int) - b).max(axis=2)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    roll_deg=st.floats(-45, 45),
    yaw=st.floats(-0.8, 0.8),
)
def test_laws_hold_for_any_style_on_any_pose(seed: int, roll_deg: float, yaw: float) -> None:
    before = FACE.copy()
    style = sample_style(np.random.default_rng(seed))
    masked = overlay_mask(FACE, distorted(seed, roll_deg, yaw), style)
    assert np.array_equal(FACE, before)
    check_laws(FACE, masked)
    assert masked.changed.any()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), spread=st.floats(2, 150))
def test_wild_points_break_no_law(seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    points = Landmarks(rng.normal(80, spread, (68, 2)))
    check_laws(FACE, overlay_mask(FACE, points, MaskStyle()))


@pytest.mark.parametrize("name", [*TEMPLATES, *SPECIAL])
def test_laws_hold_for_every_template_in_a_scene(name: str) -> None:
    scene, points = in_a_scene()
    scene.flags.writeable = False
    masked = overlay_mask(scene, points, MaskStyle(template=name))
    check_laws(scene, masked)
    assert 0.05 < masked.changed.mean() < 0.5


@pytest.mark.parametrize("name", TEMPLATES)
def test_worn_correctly_a_mask_covers_nose_mouth_and_chin(name: str) -> None:
    covered = overlay_mask(FACE, POINTS, MaskStyle(template=name)).covered
    assert min(dataclasses.astuple(covered)) > 0.9
    if name != "gas_full":
        assert overlay_mask(FACE, POINTS, MaskStyle(template=name)).alpha[40:50, 60:100].max() == 0


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_slipped_mask_loses_the_nose_and_keeps_the_chin(name: str) -> None:
    covered = overlay_mask(FACE, POINTS, MaskStyle(template=name, slip=0.6)).covered
    assert covered.nose < 0.25
    assert covered.chin > 0.9


def test_sliding_down_only_ever_bares_the_nose() -> None:
    slips = np.linspace(0, 0.8, 9)
    shares = [overlay_mask(FACE, POINTS, MaskStyle(slip=slip)).covered for slip in slips]
    noses = [share.nose for share in shares]
    assert all(a >= b - 1e-6 for a, b in itertools.pairwise(noses))
    assert noses[0] > 0.9 and noses[-1] == 0 and shares[-1].mouth < 0.5


@pytest.mark.parametrize("grey", [0, 128, 255])
@pytest.mark.parametrize("softness", [0, 1.3])
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_mask_as_grey_as_the_face_leaves_no_rim(name: str, softness: float, grey: int) -> None:
    art = load_template(name, 96)
    rgba = np.dstack([np.full((*art.rgba.shape[:2], 3), grey, np.uint8), art.rgba[..., 3]])
    face = np.full((130, 130, 3), grey, np.uint8)
    style = dataclasses.replace(PLAIN, softness=softness, template=name)
    points = Landmarks(CANONICAL * 100 + 15)
    masked = overlay_mask(face, points, style, dataclasses.replace(art, rgba=rgba))
    assert masked.covered.mouth > 0.99
    # Two for the sheen of cloth in even light, one for rounding.
    assert difference(masked.image, face).max() <= 3


def test_at_the_edge_of_a_white_mask_on_a_black_face_light_only_falls() -> None:
    art = load_template("surgical_pleated", 96)
    rgba = np.dstack([np.full((*art.rgba.shape[:2], 3), 255, np.uint8), art.rgba[..., 3]])
    face = np.zeros_like(FACE)
    masked = overlay_mask(face, POINTS, PLAIN, dataclasses.replace(art, rgba=rgba))
    # The pixel is the alpha: no ringing, no dark or bright line.
    assert np.abs(masked.image[..., 0] - 255 * masked.alpha).max() < 3.5


def test_the_shadow_falls_on_skin_and_only_darkens() -> None:
    skin = np.full_like(FACE, 180)
    style = dataclasses.replace(PLAIN, shadow=0.6)
    masked = overlay_mask(skin, POINTS, style)
    around = masked.changed & (masked.alpha == 0)
    assert around.any()
    assert (masked.image[around] <= 180).all() and (masked.image[around] < 175).any()
    bare = overlay_mask(skin, POINTS, PLAIN)
    assert not (bare.changed & (bare.alpha == 0)).any()


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_mirrored_face_gets_the_mirrored_mask(name: str) -> None:
    scene, points = in_a_scene()
    for seed in range(2):
        style = dataclasses.replace(
            sample_style(np.random.default_rng(seed), [name]), pattern="floral", tilt_deg=3.0
        )
        masked = overlay_mask(scene, points, style).image
        flipped = np.ascontiguousarray(scene[:, ::-1])
        again = overlay_mask(flipped, points.mirrored(scene.shape[1]), style.mirrored()).image
        off = difference(masked, again[:, ::-1])
        assert (off > 2).mean() < 0.003
        assert off.mean() < 0.1


@pytest.mark.parametrize("name", TEMPLATES)
def test_at_twice_the_size_it_is_the_same_mask(name: str) -> None:
    large, large_points = drawn_face(320)
    small = cv2.resize(large, (160, 160), interpolation=cv2.INTER_AREA)
    points = Landmarks((large_points.xy + 0.5) / 2 - 0.5)
    style = MaskStyle(template=name, weave=0, grain=0)
    shrunk = cv2.resize(
        overlay_mask(large, large_points, style).image, (160, 160), interpolation=cv2.INTER_AREA
    )
    off = difference(shrunk, overlay_mask(small, points, style).image)
    assert off.mean() < 2
    assert (off > 24).mean() < 0.005


def test_a_mask_is_the_same_every_time() -> None:
    style = sample_style(np.random.default_rng(5))
    one, two = (overlay_mask(FACE, POINTS, style) for _ in range(2))
    assert np.array_equal(one.image, two.image) and np.array_equal(one.alpha, two.alpha)


def test_a_mask_moves_with_its_face() -> None:
    scene, points = in_a_scene()
    style = dataclasses.replace(PLAIN, softness=0.5)
    alpha = overlay_mask(scene, points, style).alpha
    rolled = overlay_mask(np.roll(scene, 24, axis=1), Landmarks(points.xy + [24, 0]), style).alpha
    assert np.abs(alpha[:, :-24] - rolled[:, 24:]).max() < 0.02


@pytest.mark.parametrize("cut", [(0, 90), (70, 160)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_face_cut_by_the_border_is_masked_as_far_as_it_shows(
    cut: tuple[int, int], axis: int
) -> None:
    style = dataclasses.replace(PLAIN, template="cloth_wide", softness=0)
    whole = overlay_mask(FACE, POINTS, style).alpha
    part = np.ascontiguousarray(np.take(FACE, range(*cut), axis=axis))
    shift = [0, cut[0]] if axis == 0 else [cut[0], 0]
    masked = overlay_mask(part, Landmarks(POINTS.xy - shift), style)
    check_laws(part, masked)
    off = np.abs(masked.alpha - np.take(whole, range(*cut), axis=axis))
    # The spline is solved on another lattice: a fifth of a pixel at most, at a few edges.
    assert off.max() < 0.25 and (off > 0.1).mean() < 0.002


def test_a_face_out_of_the_picture_changes_nothing() -> None:
    masked = overlay_mask(FACE, Landmarks(POINTS.xy + 5000), MaskStyle())
    assert np.array_equal(masked.image, FACE)
    assert not masked.changed.any() and masked.covered.mouth == 0


@pytest.mark.parametrize("size_px", [24, 40, 1500])
def test_small_and_large_faces_are_masked(size_px: int) -> None:
    image, points = drawn_face(size_px)
    masked = overlay_mask(image, points, MaskStyle(template="cloth_fitted"))
    check_laws(image, masked)
    assert min(dataclasses.astuple(masked.covered)) > 0.9


def test_dye_pattern_and_tile_reach_the_fabric() -> None:
    red = overlay_mask(FACE, POINTS, dataclasses.replace(PLAIN, color=(220, 20, 20))).image
    y, x = np.rint(POINTS.xy[57]).astype(int)[::-1]
    assert red[y, x, 0] > red[y, x, 1] + 60
    tile = np.full((8, 8, 3), (10, 200, 10), np.uint8)
    green = overlay_mask(FACE, POINTS, PLAIN, tile=tile).image
    assert green[y, x, 1] > green[y, x, 0] + 60
    dots = overlay_mask(FACE, POINTS, dataclasses.replace(PLAIN, pattern="dots")).image
    assert difference(dots, overlay_mask(FACE, POINTS, PLAIN).image).max() > 60


def test_weights_of_0_keep_the_own_colour() -> None:
    own = overlay_mask(FACE, POINTS, PLAIN).image
    style = dataclasses.replace(
        PLAIN, color=(200, 0, 0), color_weight=0, pattern="dots", pattern_weight=0
    )
    assert np.abs(overlay_mask(FACE, POINTS, style).image.astype(int) - own).mean() < 4


def test_a_mask_in_a_dark_photo_is_dark() -> None:
    dark = (FACE * 0.15).astype(np.uint8)
    white = MaskStyle(template="kn95_fold", light=1.0)
    lit, unlit = (
        overlay_mask(image, POINTS, white).image[90:140, 60:100].mean() for image in (FACE, dark)
    )
    assert unlit < 0.6 * lit


def test_thin_fabric_lets_the_face_through() -> None:
    masked = overlay_mask(FACE, POINTS, dataclasses.replace(PLAIN, opacity=0.7))
    assert masked.alpha.max() == pytest.approx(0.7, abs=0.01)


def test_a_users_own_art_needs_six_anchors_only() -> None:
    rgba = np.full((60, 90, 4), (40, 90, 200, 255), np.uint8)
    rgba[:, :5, 3] = 0
    anchors_xy = np.array([[5, 5], [45, 0], [85, 5], [10, 50], [45, 58], [80, 50]], np.float32)
    anchors_uv = np.array(
        [[-0.9, 0.1], [0, 0], [0.9, 0.1], [-0.8, 0.8], [0, 1.1], [0.8, 0.8]], np.float32
    )
    mine = MaskTemplate("mine", rgba, anchors_xy, anchors_uv)
    masked = overlay_mask(FACE, POINTS, dataclasses.replace(PLAIN, template="mine"), mine)
    check_laws(FACE, masked)
    assert min(dataclasses.astuple(masked.covered)) > 0.9
    assert np.abs(masked.image[110, 80].astype(int) - (40, 90, 200)).max() <= 3


def own_art() -> MaskTemplate:
    """Return a user's art, red on its left half and blue on its right."""
    rgba = np.zeros((60, 90, 4), np.uint8)
    rgba[:, :45] = (220, 30, 30, 255)
    rgba[:, 45:] = (30, 30, 220, 255)
    rgba[:, :4, 3] = 0
    anchors_xy = np.array([[5, 5], [45, 0], [85, 5], [10, 50], [45, 58], [80, 50]], np.float32)
    anchors_uv = np.array(
        [[-0.9, 0.1], [0, 0], [0.9, 0.1], [-0.8, 0.8], [0, 1.1], [0.8, 0.8]], np.float32
    )
    return MaskTemplate("mine", rgba, anchors_xy, anchors_uv)


@pytest.mark.parametrize(
    "change",
    [
        {"color": (0, 255, 0), "color_weight": 0.0},
        {"pattern": "dots", "pattern_weight": 0.0},
        {"tile": True, "pattern_weight": 0.0},
    ],
)
def test_own_art_keeps_its_colours_at_weight_0(change: dict) -> None:
    tile = np.full((8, 8, 3), 200, np.uint8) if change.pop("tile", False) else None
    plain = overlay_mask(FACE, POINTS, PLAIN, own_art()).image
    style = dataclasses.replace(PLAIN, **change)
    assert difference(overlay_mask(FACE, POINTS, style, own_art(), tile).image, plain).max() <= 2


def test_own_art_is_dyed_by_half_at_weight_a_half() -> None:
    style = dataclasses.replace(PLAIN, color=(0, 255, 0), color_weight=0.5)
    image = overlay_mask(FACE, POINTS, style, own_art()).image.astype(int)
    left, right = image[105, 60], image[105, 100]
    assert left[0] > 80 > left[2] and right[2] > 80 > right[0]
    assert min(left[1], right[1]) > 70


@pytest.mark.parametrize("x", [-163, -110, 120, 166])
def test_a_sliver_of_a_face_takes_a_tile(x: int) -> None:
    tile = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    points = Landmarks(CANONICAL * 150 + [x, 0])
    check_laws(FACE, overlay_mask(FACE, points, MaskStyle(), tile=tile))


def test_the_templates_of_a_process_cannot_be_painted_over() -> None:
    for template in (load_template("n95_cup", 48), own_art()):
        with pytest.raises(ValueError, match="read-only"):
            template.rgba[0, 0] = 0


def test_inpaint_smears_and_leaves_the_rest() -> None:
    masked = overlay_mask(FACE, POINTS, MaskStyle(template="inpaint", shadow=0))
    check_laws(FACE, masked)
    assert masked.covered.mouth > 0.9
    assert difference(masked.image, FACE).max() > 20


@pytest.mark.parametrize(
    "image",
    [
        FACE[..., 0],
        np.dstack([FACE, FACE[..., :1]]),
        FACE.astype(np.float32),
        np.zeros((0, 0, 3), np.uint8),
    ],
    ids=["grey", "four channels", "float", "empty"],
)
def test_other_arrays_are_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"image must be \(H, W, 3\) uint8 RGB, got"):
        overlay_mask(image, POINTS, MaskStyle())
    with pytest.raises(ValueError, match=r"tile must be \(H, W, 3\) uint8 RGB, got"):
        overlay_mask(FACE, POINTS, MaskStyle(), tile=image)


def test_unknown_names_and_foreign_landmarks_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown template 'nope'"):
        overlay_mask(FACE, POINTS, MaskStyle(template="nope"))
    with pytest.raises(ValueError, match="unknown pattern 'nope'"):
        overlay_mask(FACE, POINTS, MaskStyle(pattern="nope"))
    huge = Landmarks(POINTS.xy * 1000 - 80_000)
    with pytest.raises(ValueError, match="px wide in an image of 160 px"):
        overlay_mask(FACE, huge, MaskStyle())


def test_coverage_is_the_mean_alpha_around_a_landmark() -> None:
    alpha = np.zeros((160, 160), np.float32)
    alpha[round(float(POINTS.xy[30, 1])) + 1 :] = 1
    covered = covered_shares(alpha, POINTS)
    assert 0.2 < covered.nose < 0.6
    assert covered.mouth == covered.chin == 1
