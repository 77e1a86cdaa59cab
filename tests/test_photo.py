"""What a photo says about its light and camera: found again where it was put in on purpose."""

import cv2
import numpy as np
import pytest
from faces_fixtures import drawn_face

from MaskTheFace.overlay import overlay_mask
from MaskTheFace.photo import in_front, measure_camera, measure_film, measure_light
from MaskTheFace.style import MaskStyle, sample_style

FACE, POINTS = drawn_face(160)
COVER = np.ones((100, 100), np.float32)
SKIN = np.full((100, 100, 3), (196, 150, 128), np.uint8)


def textured(size_px: int = 160) -> np.ndarray:
    """Return a picture with sharp detail at all scales, as of skin, hair and edges."""
    rng = np.random.default_rng(3)
    image = np.full((size_px, size_px), 120, np.float32)
    for _ in range(60):
        x, y, radius = rng.integers(0, size_px, 2).tolist() + [int(rng.integers(2, 20))]
        cv2.circle(image, (x, y), radius, float(rng.uniform(40, 220)), -1, cv2.LINE_AA)
    grey = cv2.GaussianBlur(image, (0, 0), 0.7)
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)


def test_stronger_blur_is_measured_as_more() -> None:
    sharp = textured()
    found = [
        measure_camera(cv2.GaussianBlur(sharp, (0, 0), sigma) if sigma else sharp).blur_px
        for sigma in (0.0, 0.8, 1.5, 2.5)
    ]
    assert found == sorted(found)
    assert found[0] < 0.8 and found[-1] > 1.2


def test_noise_is_found_within_a_factor_of_two() -> None:
    flat = np.full((160, 160, 3), 128, np.uint8)
    for sigma in (4.0, 12.0):
        noise = np.random.default_rng(0).normal(0, sigma, (160, 160, 1))
        noisy = np.clip(np.rint(flat + noise), 0, 255).astype(np.uint8)
        assert 0.5 < measure_camera(noisy).noise * 255 / sigma < 2
    assert measure_camera(flat).noise == 0


def test_a_picture_too_small_to_tell_counts_as_sharp_and_clean() -> None:
    camera = measure_camera(textured(20))
    assert (camera.noise, camera.blur_px) == (0, 0)


def test_a_mirror_image_measures_the_same() -> None:
    image = textured(151)
    assert measure_camera(image) == measure_camera(np.ascontiguousarray(image[:, ::-1]))


def test_ordinary_skin_is_no_coloured_light() -> None:
    for tone in ((196, 150, 128), (224, 178, 150), (110, 80, 66)):
        light = measure_light(np.full_like(SKIN, tone), COVER, 80, 1.0)
        assert light.cast == pytest.approx((1, 1, 1), abs=0.06)


@pytest.mark.parametrize(("tint", "most"), [((1.1, 0.85, 0.45), 0), ((0.55, 0.75, 1.2), 2)])
def test_coloured_light_is_found(tint: tuple[float, ...], most: int) -> None:
    cast = measure_light((SKIN * np.array(tint)).astype(np.uint8), COVER, 80, 1.0).cast
    assert np.argmax(cast) == most
    assert max(cast) / min(cast) > 1.2


def test_a_photo_without_colour_is_grey() -> None:
    assert measure_film(np.repeat(FACE[..., 1:2], 3, axis=2)).grey == 1
    assert measure_film(FACE).grey == 0


@pytest.mark.parametrize("tint", [(0.85, 1, 1.15), (0.75, 1, 1.25), (0.7, 0.9, 1.2)])
def test_a_photo_in_cool_light_keeps_its_colour(tint: tuple[float, ...]) -> None:
    assert measure_film(np.clip(FACE * np.array(tint), 0, 255).astype(np.uint8)).grey == 0


def test_light_from_a_side_falls_on_that_side() -> None:
    ramp = np.linspace(1.2, 0.4, 100)[None, :, None]
    gain = measure_light((SKIN * ramp).astype(np.uint8), COVER, 80, 1.0).gain
    assert gain.shape == (100, 100)
    assert gain[:, :20].mean() > 1.5 * gain[:, -20:].mean()
    flat = measure_light((SKIN * ramp).astype(np.uint8), COVER, 80, 0.0).gain
    assert np.ptp(flat) < 1e-6


def test_black_is_black_but_in_haze() -> None:
    scene = FACE.copy()
    scene[:20, :20] = 0
    assert measure_film(scene).black == 0
    assert 0.1 < measure_film((80 + scene * 0.5).astype(np.uint8)).black <= 0.2


def test_dark_strands_count_as_before_the_mask_only_at_its_sides_and_top() -> None:
    face = SKIN.copy()
    face[:, ::10] = 10
    u, v = np.meshgrid(np.linspace(-1.1, 1.1, 100), np.linspace(-0.05, 1, 100))
    front = in_front(face, u.astype(np.float32), v.astype(np.float32), COVER)
    assert front.min() >= 0 and front.max() <= 1
    assert front[50, 0] > 0.9  # hair before the cheek
    assert front[0, 50] > 0.9  # a frame of glasses
    assert not front[30:, 20:80].any()  # a moustache is under the mask
    assert not in_front(SKIN, u.astype(np.float32), v.astype(np.float32), COVER).any()


def sharpest_edge(image: np.ndarray) -> float:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.abs(np.diff(grey, axis=0)).max())


def test_a_mask_on_a_soft_photo_is_as_soft() -> None:
    soft = cv2.GaussianBlur(FACE, (0, 0), 2.5)
    style = MaskStyle(template="kn95_fold", color=(250, 250, 250), shadow=0, light=0)
    matched = overlay_mask(soft, POINTS, style).image
    pasted = overlay_mask(soft, POINTS, MaskStyle(**{**vars(style), "match": 0.0})).image
    assert sharpest_edge(matched) < 0.6 * sharpest_edge(pasted)


def test_a_mask_on_a_grey_photo_is_grey() -> None:
    grey = np.repeat(cv2.cvtColor(FACE, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    for seed in range(20):
        style = sample_style(np.random.default_rng(seed))
        image = overlay_mask(grey, POINTS, style).image.astype(int)
        assert np.ptp(image, axis=2).max() <= 2


def test_a_mask_on_a_noisy_photo_is_noisy() -> None:
    noise = np.random.default_rng(1).normal(0, 14, FACE.shape)
    noisy = np.clip(np.rint(FACE + noise), 0, 255).astype(np.uint8)
    style = MaskStyle(template="cloth_pitta", color=(120, 120, 120), wrinkles=0, weave=0, light=0)
    region = np.s_[100:130, 60:100]
    clean, grainy = (overlay_mask(image, POINTS, style).image[region] for image in (FACE, noisy))
    assert np.diff(grainy.astype(int), axis=1).std() > 2 * np.diff(clean.astype(int), axis=1).std()
