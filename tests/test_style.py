"""MaskStyle holds every choice; sample_style draws what people wear, from what it may draw."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from MaskTheFace.patterns import PATTERNS
from MaskTheFace.style import TYPE_SHARES, MaskStyle, parse_color, sample_style
from MaskTheFace.templates import SPECIAL, TEMPLATES, TYPES


def draws(count: int, **kwargs: object) -> list[MaskStyle]:
    rng = np.random.default_rng(0)
    return [sample_style(rng, **kwargs) for _ in range(count)]  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_a_style_survives_json_bit_for_bit(seed: int) -> None:
    style = sample_style(np.random.default_rng(seed))
    assert MaskStyle.from_json(style.to_json()) == style
    assert "\n" not in style.to_json()
    json.loads(style.to_json(), parse_constant=lambda name: pytest.fail(name))


def test_a_style_of_an_older_version_is_read_and_not_matched_to_the_photo() -> None:
    fields = json.loads(MaskStyle(color=(1, 2, 3)).to_json())
    for name in ("match", "front", "dirt", "trim", "shape", "flat_fit"):
        del fields[name]
    style = MaskStyle.from_json(json.dumps(fields))
    assert style == MaskStyle(color=(1, 2, 3), match=0.0)


def test_a_style_of_a_newer_version_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown fields in a mask style: sparkle"):
        MaskStyle.from_json(MaskStyle().to_json()[:-1] + ',"sparkle":1}')


def test_a_style_without_colour_survives_json() -> None:
    assert MaskStyle.from_json(MaskStyle().to_json()) == MaskStyle()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_mirroring_twice_changes_nothing(seed: int) -> None:
    style = sample_style(np.random.default_rng(seed))
    assert style.mirrored() != style
    assert style.mirrored().mirrored() == style


def test_the_same_generator_state_draws_the_same_style() -> None:
    assert draws(20) == draws(20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"opacity": 1.5}, "opacity must be between 0 and 1, got 1.5"),
        ({"shadow": -0.1}, "shadow must be between 0 and 1, got -0.1"),
        ({"light": float("nan")}, "light must be a finite number, got nan"),
        ({"width": 0.0}, "width must be > 0, got 0.0"),
        ({"width": float("nan")}, "width must be a finite number"),
        ({"slip": float("inf")}, "slip must be a finite number, got inf"),
        ({"pattern_scale": -1.0}, "pattern_scale must be > 0"),
        ({"softness": -0.1}, "softness must be >= 0, got -0.1"),
        ({"grain": -0.1}, "grain must be >= 0, got -0.1"),
        ({"shape": -0.1}, "shape must be >= 0, got -0.1"),
        ({"match": 1.1}, "match must be between 0 and 1, got 1.1"),
        ({"trim": (0, 0, 300)}, "a colour is three numbers from 0 to 255"),
        ({"color": (0, 0, 256)}, "a colour is three numbers from 0 to 255"),
        ({"color": (0, 0)}, "a colour is three numbers from 0 to 255"),
        ({"pattern_colors": ((0, 0, 0), (0, -1, 0))}, "a colour is three numbers"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_impossible_styles_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskStyle(**change)


def test_a_style_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MaskStyle().opacity = 0.5  # type: ignore[misc]


@pytest.fixture(scope="module")
def many() -> list[MaskStyle]:
    return draws(2000)


def test_types_come_in_the_shares_people_wear(many: list[MaskStyle]) -> None:
    kinds = [TEMPLATES[style.template].kind for style in many]
    for kind, share in TYPE_SHARES.items():
        assert abs(kinds.count(kind) / len(kinds) - share) < 0.04
    assert sum(TYPE_SHARES.values()) == pytest.approx(1)
    assert not {style.template for style in many} & set(SPECIAL)


def test_all_templates_and_patterns_come_up(many: list[MaskStyle]) -> None:
    assert {style.template for style in many} == set(TEMPLATES)
    assert {style.pattern for style in many} == {None, *PATTERNS}


def test_only_what_may_be_drawn_is_drawn() -> None:
    styles = draws(300, templates=["cloth_wide", "n95_cup"], patterns=["dots"])
    assert {style.template for style in styles} == {"cloth_wide", "n95_cup"}
    assert {style.pattern for style in styles} == {None, "dots"}
    assert {style.pattern for style in draws(200, patterns=[])} == {None}


def test_left_out_templates_keep_the_shares_of_the_types() -> None:
    allowed = [name for name in TEMPLATES if name not in ("surgical_flat", "cloth_tube")]
    kinds = [TEMPLATES[style.template].kind for style in draws(1000, templates=allowed)]
    assert abs(kinds.count("surgical") / 1000 - TYPE_SHARES["surgical"]) < 0.05


@pytest.mark.parametrize("templates", [[], ["empty"], ["velvet"]])
def test_nothing_to_draw_is_an_error(templates: list[str]) -> None:
    with pytest.raises(ValueError, match="no drawable template among"):
        sample_style(np.random.default_rng(0), templates)


def test_drawn_masks_are_worn_correctly_and_vary() -> None:
    styles = draws(500)
    assert all(style.slip == 0 for style in styles)
    assert 0.4 < np.mean([style.flip for style in styles]) < 0.6
    assert len({style.seed for style in styles}) == 500
    colors = np.array([style.color for style in styles])
    assert (colors.std(axis=0) > 50).all()


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_has_a_template_and_a_share(kind: str) -> None:
    assert TYPES[kind] and kind in TYPE_SHARES


def test_colours_are_read_from_hex() -> None:
    assert parse_color("#1e90ff") == (30, 144, 255)
    assert parse_color("1E90FF") == (30, 144, 255)


@pytest.mark.parametrize("text", ["", "#fff", "blue", "#12345g", "#1234567", "# 12345", "-12345"])
def test_other_colours_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a colour looks like #1e90ff"):
        parse_color(text)
