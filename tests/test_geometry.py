"""From 68 points to where each point of a mask lands: charts, wear and thin-plate splines."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from MaskTheFace.geometry import (
    COLUMNS_U,
    ROWS_V,
    chart_grid,
    chart_to_image,
    fit_points,
    thin_plate,
    thin_plate_map,
)
from MaskTheFace.landmarks import CANONICAL, Landmarks
from MaskTheFace.style import MaskStyle
from MaskTheFace.templates import chart_anchors

FACE = Landmarks(CANONICAL * 200)
ANCHORS = chart_anchors()


def turned(angle_deg: float, yaw: float) -> Landmarks:
    """Return the face rolled by degrees and turned: its far side pressed together by ``yaw``."""
    xy = CANONICAL - [0.5, 0.55]
    xy[:, 0] = np.where(xy[:, 0] * np.sign(yaw) > 0, xy[:, 0] * (1 - abs(yaw)), xy[:, 0])
    angle = np.deg2rad(angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Landmarks((xy @ turn.T + 0.5) * 200)


def cell_areas(grid: np.ndarray) -> np.ndarray:
    """Return twice the signed area of every cell of a grid of points."""
    diagonal, other = grid[1:, 1:] - grid[:-1, :-1], grid[1:, :-1] - grid[:-1, 1:]
    return diagonal[..., 0] * other[..., 1] - diagonal[..., 1] * other[..., 0]


def test_the_chart_meets_bridge_jaw_and_chin() -> None:
    grid = chart_grid(FACE)
    assert np.allclose(grid[4, 2], FACE.xy[8])
    assert np.allclose(grid[0, 0], FACE.xy[1]) and np.allclose(grid[0, 4], FACE.xy[15])
    assert FACE.xy[28][1] <= grid[0, 2][1] <= FACE.xy[29][1]
    assert (grid[5, :, 1] > grid[4, :, 1]).all()


def test_the_chart_puts_grid_points_where_the_grid_says() -> None:
    grid = chart_grid(FACE)
    uv = np.stack(np.meshgrid(COLUMNS_U, ROWS_V), axis=-1).reshape(-1, 2)
    assert np.allclose(chart_to_image(uv, grid), grid.reshape(-1, 2))


def test_the_chart_goes_on_in_straight_lines_beyond_its_edge() -> None:
    grid = chart_grid(FACE)
    edge, in_, out = chart_to_image(np.array([[1.0, 0.3], [0.9, 0.3], [1.1, 0.3]]), grid)
    assert np.allclose(out - edge, edge - in_)


@pytest.mark.parametrize("yaw", [0.0, 0.35])
def test_a_flat_fit_is_one_homography_which_the_usual_fit_is_not(yaw: float) -> None:
    uv = np.stack(np.meshgrid(COLUMNS_U, ROWS_V), axis=-1).reshape(-1, 2)
    face = turned(10, yaw)
    off_px = {}
    for flat in (False, True):
        points = fit_points(uv, face, MaskStyle(flat_fit=flat, shape=0.0))
        matrix, _ = cv2.findHomography(uv, points)
        laid = cv2.perspectiveTransform(uv[None], matrix)[0]
        off_px[flat] = np.abs(laid - points).max()
    assert off_px[True] < 0.01 < 3 < off_px[False], "of a face of 200 px"


@settings(max_examples=40, deadline=None)
@given(roll=st.floats(-60, 60), yaw=st.floats(-0.95, 0.95))
def test_a_rolled_or_turned_face_never_folds_the_chart(roll: float, yaw: float) -> None:
    areas = cell_areas(chart_grid(turned(roll, yaw)))
    assert (np.sign(areas) == np.sign(areas[0, 0])).all()


@settings(max_examples=20, deadline=None)
@given(angle=st.floats(-np.pi, np.pi), scale=st.floats(0.2, 20), x=st.floats(-900, 900))
def test_points_move_with_the_face(angle: float, scale: float, x: float) -> None:
    matrix = np.array(
        [
            [scale * np.cos(angle), -scale * np.sin(angle), x],
            [scale * np.sin(angle), scale * np.cos(angle), 7.0],
        ]
    )
    style = MaskStyle(tilt_deg=4, slip=0.1, hang=0.6, width=0.95, top=0.02, bottom=0.05)
    moved = fit_points(ANCHORS, FACE.moved(matrix), style)
    expected = fit_points(ANCHORS, FACE, style) @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(moved - expected).max() < 1e-4 * scale * 200


def test_points_obey_the_mirror_law() -> None:
    style = MaskStyle(tilt_deg=5, slip=0.2, hang=0.7, pinned=0.2, width=1.05)
    face = turned(12, 0.3)
    points = fit_points(ANCHORS, face, style)
    mirrored = fit_points(ANCHORS, face.mirrored(200), style.mirrored())
    assert np.abs((199 - mirrored[:, 0]) - points[:, 0]).max() < 1e-3
    assert np.abs(mirrored[:, 1] - points[:, 1]).max() < 1e-3


def test_style_moves_the_edges_it_names() -> None:
    usual = fit_points(ANCHORS, FACE, MaskStyle())
    top, chin = ANCHORS[:, 1] == 0, ANCHORS[:, 1] == 1
    lower = fit_points(ANCHORS, FACE, MaskStyle(top=0.1))
    assert (lower[top, 1] > usual[top, 1]).all() and np.allclose(lower[chin], usual[chin])
    longer = fit_points(ANCHORS, FACE, MaskStyle(bottom=0.1))
    assert (longer[chin, 1] > usual[chin, 1]).all() and np.allclose(longer[top], usual[top])
    slipped = fit_points(ANCHORS, FACE, MaskStyle(slip=0.4))
    assert (slipped[:, 1] > usual[:, 1]).all()
    wider = fit_points(ANCHORS, FACE, MaskStyle(width=1.2))
    assert np.ptp(wider[:, 0]) > 1.15 * np.ptp(usual[:, 0])


@pytest.mark.parametrize("yaw", [0.0, 0.4])
def test_a_hanging_mask_keeps_its_form_where_one_that_follows_the_jaw_does_not(yaw: float) -> None:
    face = turned(0, yaw)
    usual = fit_points(ANCHORS, face, MaskStyle())
    moved = {
        hang: fit_points(ANCHORS, face, MaskStyle(slip=0.4, hang=hang)) - usual for hang in (0, 1)
    }
    grid = chart_grid(face)
    away = (np.abs(ANCHORS[:, 0]) > 0.6) | (ANCHORS[:, 1] == 1)  # where it does not sag
    assert np.allclose(moved[1][away], 0.4 * (grid[4, 2] - grid[0, 2]), atol=1e-6)
    assert np.ptp(moved[0][away], axis=0).max() > 10


def test_the_middle_of_a_hanging_upper_edge_sinks_below_its_sides() -> None:
    usual = fit_points(ANCHORS, FACE, MaskStyle())
    hanging = fit_points(ANCHORS, FACE, MaskStyle(slip=0.4, hang=1.0))
    edge = ANCHORS[:, 1] == 0
    fallen = (hanging - usual)[edge, 1]
    middle = np.abs(ANCHORS[edge, 0]) < 0.1
    sides = np.abs(ANCHORS[edge, 0]) > 0.5
    assert middle.any() and sides.any()
    assert fallen[middle].min() > 1.1 * fallen[sides].max()


def test_a_tilted_mask_turns_clockwise_as_the_viewer_sees_it() -> None:
    usual = fit_points(ANCHORS, FACE, MaskStyle())
    tilted = fit_points(ANCHORS, FACE, MaskStyle(tilt_deg=10))
    left, right = usual[:, 0] < 60, usual[:, 0] > 140
    assert (tilted[left, 1] < usual[left, 1]).all()
    assert (tilted[right, 1] > usual[right, 1]).all()


def test_a_thin_plate_without_smoothing_meets_its_points() -> None:
    rng = np.random.default_rng(0)
    source, target = rng.uniform(0, 1, (12, 2)), rng.uniform(0, 1, (12, 2))
    weights = thin_plate(source, target, smoothing=0)
    assert np.allclose(thin_plate_map(source, source, weights), target, atol=1e-8)


def test_a_thin_plate_reproduces_any_affine_map() -> None:
    rng = np.random.default_rng(1)
    source, matrix = rng.uniform(0, 1, (8, 2)), rng.normal(0, 1, (2, 2))
    weights = thin_plate(source, source @ matrix + 3)
    elsewhere = rng.uniform(-1, 2, (50, 2))
    mapped = thin_plate_map(elsewhere, source, weights)
    assert np.allclose(mapped, elsewhere @ matrix + 3, atol=1e-6)


def test_points_that_meet_do_not_break_the_spline() -> None:
    source = np.array([[0, 0], [0, 0], [1, 0], [0, 1], [1, 1]], float)
    target = np.array([[0, 0], [0.01, 0], [1, 0], [0, 1], [1, 1]], float)
    assert np.isfinite(thin_plate(source, target)).all()


@pytest.mark.parametrize("shrunk", [1e-3, 1e-6])
def test_a_collapsed_face_still_gives_finite_points(shrunk: float) -> None:
    flat = Landmarks(FACE.xy * [1, shrunk] + np.linspace(0, 2, 68)[:, None])
    assert np.isfinite(fit_points(ANCHORS, flat, MaskStyle())).all()
