"""What fabric does to light: folds, weave, stains, and the noise of the camera that saw it.

Banks of such maps are made once for each size and picked by a style's seed, so that a new mask
costs a look-up. Convention: (h, w) float32 or uint8 as said; light is a factor around 1.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

BANK = 48
"""Different sets of folds, and of stains."""
NOISE_PX = 512
FOLD_UNIT = 1 / 256
"""One step of a fold map in light: 128 is a factor of 1, 255 of about 1.5."""
THREAD_U = 0.066
"""Distance of two threads of the weave, in u."""


@functools.lru_cache(maxsize=200)
def fold_map(number: int, width: int, height: int) -> np.ndarray:
    """Return the light of one set of folds at full strength, stretched over a sheet of art.

    Args:
        number: which of the BANK sets.
        width, height: the sheet's, pixels.

    Returns:
        (height, width) uint8, in FOLD_UNIT around 128.
    """
    rng = np.random.default_rng([number, 7])
    # Folds are smooth: drawn on a small sheet, then enlarged.
    u, v = np.meshgrid(
        np.linspace(-1.4, 1.4, 128, dtype=np.float32), np.linspace(-0.5, 1.5, 96, dtype=np.float32)
    )
    light = np.zeros_like(u)
    for _ in range(9):
        # Cloth over a face hangs in folds that run from the nose and mouth to the ears.
        u0, v0 = rng.uniform(-0.9, 0.9), rng.uniform(0.05, 1.05)
        slope = -0.5 * u0 + rng.normal(0, 0.4)
        distance = (v - v0) - slope * (u - u0) + rng.normal(0, 0.15) * (u - u0) ** 2
        along = np.exp(-(((u - u0) / rng.uniform(0.12, 0.5)) ** 2))
        wide = rng.uniform(0.02, 0.09)
        ridge = np.exp(-((distance / wide) ** 2)) - 0.7 * np.exp(-((distance / wide - 1.5) ** 2))
        light += rng.normal(0, 0.17) * along * ridge
    light += 0.09 * _blotches(rng, u.shape, 18) + 0.05 * _crumple(rng, u.shape)
    # A whole mask is no darker for its folds.
    steps = np.clip(128 + (light - light.mean()) / FOLD_UNIT, 0, 255)
    return _kept(cv2.resize(np.rint(steps).astype(np.uint8), (width, height)))


@functools.lru_cache(maxsize=100)
def stain_map(number: int, width: int, height: int) -> np.ndarray:
    """Return where one set of stains lies, (height, width) uint8, 255 where darkest."""
    rng = np.random.default_rng([number, 8])
    hills = _blotches(rng, (96, 128), 9) + 0.7 * _blotches(rng, (96, 128), 3)
    dark = np.rint(np.clip((hills - 0.7) / 1.5, 0, 1) * 255).astype(np.uint8)
    return _kept(cv2.resize(dark, (width, height)))


def _kept(bank: np.ndarray) -> np.ndarray:
    """Lock an array that many masks will share."""
    bank.flags.writeable = False
    return bank


def _blotches(rng: np.random.Generator, shape: tuple[int, int], spread: float) -> np.ndarray:
    hills = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), spread)
    return np.asarray(hills / max(float(hills.std()), 1e-6), np.float32)


def _crumple(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return the light on fabric that has been folded and pulled open: small flat facets."""
    hills = _blotches(rng, shape, 5) + 0.6 * _blotches(rng, shape, 2.5)
    return np.asarray(np.gradient(np.abs(hills), axis=0) * 4, np.float32)


def weave(u: np.ndarray, v: np.ndarray, px_per_u: float, strength: float) -> np.ndarray | None:
    """Return the light of the threads, (h, w), or None where they are finer than the pixels.

    Args:
        u: (h, w) float32 chart coordinate across.
        v: (h, w) float32 chart coordinate down.
        px_per_u: pixels of the art to one u.
        strength: 0 to 1.
    """
    # Threads finer than the picture's pixels are not drawn: they would come out as noise.
    visible = min(max((THREAD_U * px_per_u - 4) / 6, 0.0), 1.0) * strength
    if visible <= 0:
        return None
    pace = np.float32(2 * np.pi / THREAD_U)
    return 1 + np.float32(0.05 * visible) * np.sin(u * pace) * np.sin(v * pace)


def camera_noise(seed: int, height: int, width: int) -> np.ndarray:
    """Return (height, width) float32 noise of mean 0 and deviation 1, as a camera has it.

    The cut-out is picked by the seed.
    """
    bank = _noise_bank()
    if height > NOISE_PX or width > NOISE_PX:
        bank = np.tile(bank, (-(-height // NOISE_PX) + 1, -(-width // NOISE_PX) + 1))
    top = seed % (bank.shape[0] - height + 1)
    left = (seed // 977) % (bank.shape[1] - width + 1)
    return bank[top : top + height, left : left + width]


@functools.cache
def _noise_bank() -> np.ndarray:
    noise = np.random.default_rng(11).normal(0, 1, (NOISE_PX, NOISE_PX)).astype(np.float32)
    soft = np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.45))
    return _kept(np.asarray(soft / soft.std(), np.float32))
