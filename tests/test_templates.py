"""Mask art drawn by code: every template, at any size; a user's own is checked where it is made."""

import numpy as np
import pytest

from MaskTheFace.canvas import smooth
from MaskTheFace.templates import (
    SPECIAL,
    TEMPLATES,
    TYPES,
    MaskTemplate,
    chart_anchors,
    load_template,
)

ALL = [*TEMPLATES, *SPECIAL]
CORNERS = np.array([[-1, 0], [1, 0], [-1, 1], [1, 1], [0, 0], [0, 1]], np.float32)


def template_height(name: str) -> float:
    low, high = {**TEMPLATES, **SPECIAL}[name].v_range
    return high - low


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("px_per_u", [24, 96])
def test_a_template_is_drawn_at_the_size_asked_for(name: str, px_per_u: int) -> None:
    template = load_template(name, px_per_u)
    assert template.name == name
    assert template.rgba.dtype == np.uint8
    assert template.rgba.shape == (
        round(template_height(name) * px_per_u),
        round(2.8 * px_per_u),
        4,
    )
    across = np.ptp(template.anchors_xy[:, 0]) / np.ptp(template.anchors_uv[:, 0])
    assert across == pytest.approx(px_per_u)


@pytest.mark.parametrize("name", ALL)
def test_art_hides_the_mouth_and_leaves_its_sheet_free_at_the_top(name: str) -> None:
    template = load_template(name, 64)
    mouth = template.anchors_xy[(template.anchors_uv == [0, 0.5]).all(axis=1)][0]
    x, y = np.rint(mouth).astype(int)
    assert template.rgba[y, x, 3] == 255
    assert (template.rgba[:6, :, 3] == 0).all()


@pytest.mark.parametrize("name", ALL)
def test_art_is_symmetric(name: str) -> None:
    alpha = load_template(name, 64).rgba[..., 3].astype(int)
    assert (np.abs(alpha - alpha[:, ::-1]) > 40).mean() < 0.01


@pytest.mark.parametrize("name", ALL)
def test_outlines_are_smooth_at_any_size(name: str) -> None:
    alpha = load_template(name, 48).rgba[..., 3]
    assert ((alpha > 20) & (alpha < 235)).sum() > 20


@pytest.mark.parametrize("name", TEMPLATES)
def test_fabric_takes_colour(name: str) -> None:
    template = load_template(name, 64)
    assert template.dye is not None
    solid = template.rgba[..., 3] > 250
    assert (template.dye[solid] > 200).mean() > 0.25


@pytest.mark.parametrize("name", TEMPLATES)
def test_sizes_show_the_same_art(name: str) -> None:
    small, large = load_template(name, 32), load_template(name, 128)
    shares = [template.rgba[..., 3].mean() / 255 for template in (small, large)]
    assert shares[0] == pytest.approx(shares[1], abs=0.02)


def test_every_type_of_the_original_tool_is_there() -> None:
    assert list(TYPES) == ["surgical", "N95", "KN95", "cloth", "gas"]
    assert all(TYPES.values())
    assert set(SPECIAL) == {"empty", "inpaint"}


def test_a_template_is_drawn_once() -> None:
    assert load_template("n95_cup", 48) is load_template("n95_cup", 48)


def test_an_unknown_template_is_named() -> None:
    with pytest.raises(ValueError, match="unknown template 'bandana'; have surgical_pleated"):
        load_template("bandana")


def test_anchors_lie_on_the_chart() -> None:
    anchors = chart_anchors()
    assert anchors.shape == (30, 2)
    assert [0, 1] in anchors.tolist() and [-1, 0] in anchors.tolist()


def test_a_smooth_curve_meets_its_points() -> None:
    points = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    curve = smooth(points, steps=8)
    assert len(curve) == 32
    assert curve[::8] == points


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rgba": np.zeros((8, 8, 3), np.uint8)}, r"mine: rgba must be \(h, w, 4\) uint8"),
        ({"rgba": np.zeros((8, 8, 4), np.float32)}, r"mine: rgba must be \(h, w, 4\) uint8"),
        ({"anchors_xy": np.zeros((5, 2))}, "anchors_xy and anchors_uv must both be"),
        ({"anchors_xy": np.zeros((6, 3)), "anchors_uv": np.zeros((6, 3))}, "must both be"),
        ({"anchors_xy": CORNERS[:3], "anchors_uv": CORNERS[:3]}, "at least 4 anchors"),
        ({"anchors_xy": CORNERS * [1, 0]}, "not all on one line"),
        ({"dye": np.zeros((4, 4), np.uint8)}, r"dye must be \(8, 8\), got \(4, 4\)"),
    ],
)
def test_a_users_template_is_checked(change: dict, message: str) -> None:
    good = {
        "name": "mine",
        "rgba": np.zeros((8, 8, 4), np.uint8),
        "anchors_xy": CORNERS,
        "anchors_uv": CORNERS,
    }
    MaskTemplate(**good)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        MaskTemplate(**{**good, **change})  # type: ignore[arg-type]
