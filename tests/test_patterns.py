"""Prints are weights in 0..1, reproducible, seamless in resolution; tiles are never stretched."""

import numpy as np
import pytest

from MaskTheFace.patterns import PATTERNS, pattern_weights, tile_colors


def chart(columns: int = 120) -> tuple[np.ndarray, np.ndarray]:
    us = np.linspace(-1, 1, columns, dtype=np.float32)
    vs = np.linspace(0, 1, columns // 2, dtype=np.float32)
    u, v = np.meshgrid(us, vs)
    return u, v


@pytest.mark.parametrize("name", PATTERNS)
def test_weights_are_shares(name: str) -> None:
    for seed in range(5):
        for weight in pattern_weights(name, *chart(), 0.25, seed):
            assert weight.shape == (60, 120)
            assert np.isfinite(weight).all()
            assert weight.min() >= 0 and weight.max() <= 1


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_shows_and_leaves_fabric_between(name: str) -> None:
    seen = [pattern_weights(name, *chart(), 0.3, seed)[0].mean() for seed in range(12)]
    assert 0.01 < np.mean(seen) < 0.8


@pytest.mark.parametrize("name", PATTERNS)
def test_a_seed_is_a_layout(name: str) -> None:
    one, two = (pattern_weights(name, *chart(), 0.25, 3) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two))


@pytest.mark.parametrize("name", PATTERNS)
def test_a_finer_chart_shows_the_same_print(name: str) -> None:
    u, v = chart()
    whole = pattern_weights(name, u, v, 0.4, 1)
    part = pattern_weights(name, u[::3, ::3], v[::3, ::3], 0.4, 1)
    assert all(np.array_equal(a[::3, ::3], b) for a, b in zip(whole, part))


def test_an_unknown_pattern_is_named() -> None:
    with pytest.raises(ValueError, match="unknown pattern 'tartan'; have stripes, checks"):
        pattern_weights("tartan", *chart(), 0.25, 0)


def test_a_tile_repeats_edge_to_edge_in_its_own_shape() -> None:
    tile = np.zeros((2, 4, 3), np.uint8)
    tile[0, 0] = (255, 0, 0)
    u, v = np.meshgrid((np.arange(80) + 0.5) / 10, (np.arange(80) + 0.5) / 10)
    red = tile_colors(tile, u, v, scale=4.0, px_per_u=10)[..., 0] > 0
    # One tile is 40 x 20 px here, its first pixel a square of 10 x 10 px.
    expected = np.zeros((80, 80), bool)
    for top in range(0, 80, 20):
        for left in range(0, 80, 40):
            expected[top : top + 10, left : left + 10] = True
    assert np.array_equal(red, expected)


def test_a_fine_tile_is_shrunk_by_area_not_sampled() -> None:
    tile = np.zeros((512, 512, 3), np.uint8)
    tile[::2] = 255
    seen = tile_colors(tile, *chart(), scale=0.25, px_per_u=60)
    assert np.abs(seen - 127.5).max() < 8


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 900, 3), (900, 1, 3), (7, 5, 3)])
def test_tiles_of_any_shape_can_be_laid(shape: tuple[int, int, int]) -> None:
    tile = np.full(shape, 77, np.uint8)
    assert (tile_colors(tile, *chart(), 0.25, 60) == 77).all()
