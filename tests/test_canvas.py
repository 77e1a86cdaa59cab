"""The sheet that masks are painted on: layers, coverage and parts do what they say."""

import numpy as np
import pytest

from MaskTheFace.canvas import (
    Canvas,
    both_sides,
    crease,
    hem,
    perforate,
    piping,
    step,
    straps,
    valve,
)

SQUARE = [(-0.5, 0.2), (0.5, 0.2), (0.5, 0.8), (-0.5, 0.8)]


def sheet() -> Canvas:
    return Canvas(60, (200, 100, 50))


def test_an_area_covers_its_area() -> None:
    canvas = sheet()
    assert canvas.area(SQUARE).sum() / 60**2 == pytest.approx(0.6, rel=0.03)
    assert canvas.disc((0, 0.5), 0.3).sum() / 60**2 == pytest.approx(np.pi * 0.09, rel=0.03)


def test_paint_lies_over_what_is_there() -> None:
    canvas = sheet()
    canvas.paint(canvas.area(SQUARE), 1.0)
    canvas.paint(canvas.disc((0, 0.5), 0.1), 1.0, (0, 0, 255))
    row, column = (np.array([0.5 + 0.5, 0 + 1.4]) * 60).astype(int)
    assert canvas.rgb[row, column] == pytest.approx([0, 0, 1], abs=0.01)
    assert canvas.dye[row, column] == 0 and canvas.alpha[row, column] == 1
    assert canvas.rgb[row + 14, column] == pytest.approx(np.array([200, 100, 50]) / 255, abs=0.01)
    assert canvas.dye[row + 14, column] == 1


def test_half_covered_twice_is_three_quarters() -> None:
    canvas = sheet()
    half = np.full_like(canvas.alpha, 0.5)
    canvas.paint(half, 1.0)
    canvas.paint(half, 1.0)
    assert canvas.alpha == pytest.approx(0.75)


def test_straps_come_on_both_sides_and_end_behind_the_ear() -> None:
    canvas = sheet()
    straps(canvas, [(((0.8, 0.2), (1.4, 0.2)), 0.05)])
    assert np.allclose(canvas.alpha, canvas.alpha[:, ::-1], atol=0.3)
    assert canvas.alpha[:, canvas.u[0] > 1.2].max() == 0
    assert canvas.alpha[:, (canvas.u[0] > 0.9) & (canvas.u[0] < 1.0)].max() > 0.9
    assert not canvas.dye.any()


def test_a_fold_is_dark_at_its_line_and_lit_beside_it() -> None:
    canvas = sheet()
    light = crease(canvas.v - 0.5, 0.05, 0.2)
    assert light.min() == pytest.approx(0.8, abs=0.02) and light.max() > 1.05
    assert step(np.array([-0.1]), 0.1) == 1 and step(np.array([0.0]), 0.1) < 0.9


@pytest.mark.parametrize("part", ["valve", "hem", "piping", "perforate"])
def test_parts_stay_where_they_are_put(part: str) -> None:
    canvas = sheet()
    cover = canvas.area(SQUARE)
    canvas.paint(cover, 1.0)
    before = canvas.rgb.copy()
    if part == "valve":
        valve(canvas, (0.1, 0.5), 0.15)
    elif part == "hem":
        hem(canvas, SQUARE, cover, 0.04)
    elif part == "piping":
        piping(canvas, SQUARE, 0.05, (10, 10, 10))
    else:
        perforate(canvas, cover, 0.1)
    changed = np.abs(canvas.rgb - before).max(axis=2) > 1e-3
    assert changed.any()
    far = (np.abs(canvas.u) > 0.6) | (canvas.v < 0.1) | (canvas.v > 0.9)
    assert not changed[far].any()


def test_a_half_outline_is_closed_with_its_mirror_image() -> None:
    outline = both_sides([(0.0, 0.0), (0.5, 0.3), (0.0, 1.0)])
    assert outline == [(0.0, 0.0), (0.5, 0.3), (0.0, 1.0), (-0.5, 0.3)]
