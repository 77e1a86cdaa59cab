"""Which masks a split may show, and what is gone when an ingredient is taken away."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from MaskTheFace.patterns import PATTERNS
from MaskTheFace.style import MaskStyle
from MaskTheFace.templates import TEMPLATES, TYPES
from masktrain.config import Ingredient
from masktrain.styles import HELD_OUT_PATTERNS, HELD_OUT_TEMPLATES, draw_style, is_held_out


def drawn(split: str, count: int = 400, *without: Ingredient) -> list[MaskStyle]:
    """Return the first styles of a split, one for each seed."""
    return [draw_style(np.random.default_rng(seed), split, (), without) for seed in range(count)]


def test_what_is_held_out_comes_in_the_test_only() -> None:
    assert set(TEMPLATES) > HELD_OUT_TEMPLATES and set(PATTERNS) > HELD_OUT_PATTERNS
    for split in ("train", "val"):
        assert not any(is_held_out(style) for style in drawn(split))
    seen = {name for style in drawn("test", 800) for name in (style.template, style.pattern)}
    assert seen > HELD_OUT_TEMPLATES | HELD_OUT_PATTERNS


def test_every_mask_type_keeps_a_template_for_training() -> None:
    kinds = {TEMPLATES[name].kind for name in TEMPLATES if name not in HELD_OUT_TEMPLATES}
    assert kinds >= set(TYPES)
    assert {TEMPLATES[style.template].kind for style in drawn("train")} == set(TYPES)


def test_mask_types_can_be_chosen_and_must_exist() -> None:
    style = draw_style(np.random.default_rng(0), "train", ["KN95"])
    assert TEMPLATES[style.template].kind == "KN95"
    with pytest.raises(ValueError, match="unknown mask type 'velvet'"):
        draw_style(np.random.default_rng(0), "train", ["velvet"])


def test_without_light_nothing_of_the_photo_is_on_the_mask_and_all_else_stays() -> None:
    names = {"light", "shadow", "softness", "grain", "match"}
    for usual, bare in zip(drawn("train", 50), drawn("train", 50, "light"), strict=True):
        assert {getattr(bare, name) for name in names} == {0.0}
        assert bare == dataclasses.replace(usual, **dict.fromkeys(names, 0.0))


def test_without_patterns_every_mask_is_plain() -> None:
    assert any(style.pattern for style in drawn("train"))
    assert not any(style.pattern for style in drawn("train", 400, "patterns"))


def test_without_colors_every_mask_is_of_one_colour() -> None:
    assert len({style.color for style in drawn("train", 50)}) > 10
    styles = drawn("train", 50, "colors")
    assert len({style.color for style in styles}) == 1
    assert not any(style.pattern for style in styles)
    assert len({style.template for style in styles}) > 5


def test_without_the_prior_templates_come_evenly_and_sit_alike() -> None:
    styles = drawn("train", 1200, "prior")
    counts = Counter(style.template for style in styles)
    allowed = {name for kind in TYPES.values() for name in kind} - HELD_OUT_TEMPLATES
    assert set(counts) == allowed
    even = len(styles) / len(allowed)
    # Five standard deviations of a binomial count.
    assert all(abs(count - even) < 5 * even**0.5 for count in counts.values())
    assert len({(s.top, s.bottom, s.width, s.tilt_deg, s.shape) for s in styles}) == 1
    colors = np.array([style.color for style in styles])
    assert np.allclose(colors.mean(axis=0), 127.5, atol=5 * 74 / len(styles) ** 0.5)


def test_without_the_fit_every_mask_is_laid_on_flat_and_all_else_stays() -> None:
    for usual, flat in zip(drawn("train", 20), drawn("train", 20, "fit"), strict=True):
        assert flat == dataclasses.replace(usual, flat_fit=True) != usual
