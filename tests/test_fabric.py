"""Folds, stains, weave and noise: banks that repeat themselves, of the stated scale."""

import numpy as np
import pytest

from MaskTheFace.fabric import BANK, THREAD_U, camera_noise, fold_map, stain_map, weave


@pytest.mark.parametrize("number", [0, 1, BANK - 1])
def test_folds_darken_and_lighten_about_evenly(number: int) -> None:
    folds = fold_map(number, 140, 100)
    assert folds.shape == (100, 140) and folds.dtype == np.uint8
    assert abs(float(folds.mean()) - 128) < 12
    assert folds.std() > 4


def test_folds_of_all_sizes_are_the_same_folds() -> None:
    small, large = fold_map(5, 70, 50).astype(int), fold_map(5, 280, 200).astype(int)
    assert np.abs(large[2::4, 2::4] - small).mean() < 4


def test_numbers_are_different_folds_and_stains() -> None:
    assert not np.array_equal(fold_map(0, 70, 50), fold_map(1, 70, 50))
    assert not np.array_equal(stain_map(0, 70, 50), stain_map(1, 70, 50))
    assert fold_map(0, 70, 50) is fold_map(0, 70, 50)


def test_stains_leave_most_of_the_cloth_clean() -> None:
    shares = [(stain_map(number, 140, 100) > 40).mean() for number in range(8)]
    assert 0.02 < np.mean(shares) < 0.5


def test_threads_finer_than_pixels_are_not_drawn() -> None:
    u, v = np.meshgrid(np.linspace(0, 1, 60, dtype=np.float32), np.linspace(0, 1, 60))
    assert weave(u, v, px_per_u=2 / THREAD_U, strength=1) is None
    assert weave(u, v, px_per_u=20 / THREAD_U, strength=0) is None
    threads = weave(u, v, px_per_u=20 / THREAD_U, strength=1)
    assert threads is not None
    assert threads.mean() == pytest.approx(1, abs=0.01) and 0.01 < threads.std() < 0.05


@pytest.mark.parametrize("shape", [(1, 1), (90, 112), (512, 512), (700, 900)])
def test_noise_has_deviation_1_at_any_size(shape: tuple[int, int]) -> None:
    noise = camera_noise(12345, *shape)
    assert noise.shape == shape and noise.dtype == np.float32
    if noise.size > 100:
        assert noise.std() == pytest.approx(1, abs=0.1)
        assert abs(float(noise.mean())) < 0.1


def test_a_seed_picks_the_noise() -> None:
    assert np.array_equal(camera_noise(7, 40, 50), camera_noise(7, 40, 50))
    assert not np.array_equal(camera_noise(7, 40, 50), camera_noise(8, 40, 50))
