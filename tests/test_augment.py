"""Augmentation: right shapes, chance only in training, mask kept in the frame."""

import numpy as np
import pytest
import torch
from conftest import draw_face
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from masktrain.augment import (
    Blur,
    LowResolution,
    RandomPatch,
    SensorNoise,
    eval_transform,
    to_pixels,
    train_transform,
)
from masktrain.model import Preprocessing

PREPROCESSING = Preprocessing()
PLAIN = Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def face(seed: int = 0, masked: bool = True) -> torch.Tensor:
    """Return a (3, 128, 128) uint8 face."""
    return torch.from_numpy(draw_face(seed, masked)).permute(2, 0, 1).contiguous()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), side_px=st.sampled_from([112, 128, 200]))
def test_training_input_has_the_networks_shape_and_is_finite(seed: int, side_px: int) -> None:
    torch.manual_seed(seed)
    image = torch.randint(0, 256, (3, side_px, side_px), dtype=torch.uint8)
    out = train_transform(PREPROCESSING)(image)
    assert out.shape == (3, 112, 112) and out.dtype == torch.float32
    assert torch.isfinite(out).all()


def test_the_same_seed_gives_the_same_pixels_and_another_seed_others() -> None:
    def augmented(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return train_transform(PREPROCESSING)(face())

    assert torch.equal(augmented(1), augmented(1))
    assert not torch.equal(augmented(1), augmented(2))


def test_transforms_leave_their_input_alone() -> None:
    image = face()
    before = image.clone()
    for seed in range(30):
        torch.manual_seed(seed)
        train_transform(PREPROCESSING)(image)
    eval_transform(PREPROCESSING)(image)
    assert torch.equal(image, before)


def test_evaluation_has_no_chance_and_shows_the_whole_crop() -> None:
    image = face()
    first = eval_transform(PREPROCESSING)(image)
    assert torch.equal(first, eval_transform(PREPROCESSING)(image))
    mirrored = eval_transform(PREPROCESSING)(image.flip(-1)).flip(-1)
    assert (mirrored - first).abs().max() < 0.05


def test_evaluation_does_not_alias() -> None:
    stripes = torch.zeros(3, 448, 448, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    out = eval_transform(PLAIN)(stripes)
    assert (out - 0.5).abs().max() < 0.05  # what the border does to the filter


def test_to_pixels_undoes_the_normalisation() -> None:
    image = torch.randint(0, 256, (3, 112, 112), dtype=torch.uint8)
    pixels = to_pixels(eval_transform(PREPROCESSING)(image)[None], PREPROCESSING)
    assert pixels.shape == (1, 112, 112, 3)
    assert np.array_equal(pixels[0], image.permute(1, 2, 0).numpy())


def test_the_mask_stays_in_the_frame() -> None:
    # The mask alone is white: what is left of it after framing and lighting is measured.
    mask = torch.zeros(3, 128, 128, dtype=torch.uint8)
    mask[:, 70:115, 34:94] = 255
    shares = []
    for seed in range(200):
        torch.manual_seed(seed)
        shares.append(float((train_transform(PLAIN, min_scale=0.6)(mask) > 0.3).float().mean()))
    # It covers 16.5 % of the crop; a third of that is the least a wide framing leaves.
    assert min(shares) > 0.05


def test_both_classes_are_augmented_by_the_very_same_steps() -> None:
    # Chance never looks at the pixels, so twins under one seed get the same framing and light.
    steps = train_transform(PREPROCESSING)
    images = [face(3, masked) for masked in (False, True)]
    states = []
    for image in images:
        torch.manual_seed(11)
        steps(image)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize("step", [Blur(), LowResolution(), SensorNoise(), RandomPatch()])
def test_camera_steps_keep_shape_and_brightness(step: v2.Transform) -> None:
    torch.manual_seed(0)
    grey = torch.full((3, 112, 112), 128, dtype=torch.uint8)
    out = step(grey)
    assert out.shape == grey.shape and out.dtype == torch.uint8
    assert abs(float(out.float().median()) - 128) < 2


def test_a_patch_covers_no_more_than_it_may() -> None:
    grey = torch.full((3, 112, 112), 128, dtype=torch.uint8)
    for seed in range(50):
        torch.manual_seed(seed)
        changed = (RandomPatch((0.01, 0.1))(grey) != grey).any(dim=0).float().mean()
        assert changed < 0.11
