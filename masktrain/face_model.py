"""Faces of people who do not exist: a small statistical model of photos, and how to draw from it.

    python -m masktrain.face_model FOLDER [--output masktrain/face_model.npz] [--limit 4000]

fits the model (`masktrain.face_fit`) to a folder of tight, aligned photos of bare faces. Stored
are means, modes and covariances; no photo and no code of one.

Convention: pictures are (H, W, 3) uint8 RGB; shapes are (68, 2) float, (x, y) in texture pixels;
textures and their even and odd halves are those of `masktrain.face_texture`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from MaskTheFace.landmarks import Landmarks
from masktrain.face_texture import (
    TEXTURE_PX,
    face_weight,
    join_halves,
    thin_plate_basis,
    thin_plate_centres,
    thin_plate_system,
)
from masktrain.faces import CROP_SCALE

DEFAULT_PATH = Path(__file__).with_name("face_model.npz")
ARRAYS = (
    "card", "texture_mean", "even_modes", "even_scale", "even_count",
    "odd_modes", "odd_scale", "odd_count",
    "mixture_weights", "mixture_means", "mixture_factors", "shape_mean", "shape_even", "shape_odd",
    "shape_even_factor", "shape_odd_factor", "detail",
)  # fmt: skip
"""Every array of a model file; anything else in one is refused."""

TEMPERATURE = 0.85
"""Faces are drawn a little nearer to the mean than photos lie: the rim of a Gaussian is no face."""
DETAIL_TEMPERATURE = 0.8
BACKGROUND_DETAIL = 0.6
"""Share of the fine modes kept off the face, where they would blotch hair and background."""
LEAST_SKIN_CR, MOST_SKIN_CB = 0.575, 0.455
"""Skin of any tone is redder and less blue than this in normal light; not so tails of Gaussians."""
_MAP_NODES = 25


class FaceModelError(ValueError):
    """A model file that cannot be used, or photos a model cannot be fitted to."""


@dataclass(frozen=True)
class FaceModel:
    """Draw faces of people who do not exist, each with its 68 landmarks.

    Attributes:
        card: data sheet: source, terms, number of photos, modes, nearest-neighbour check.
        arrays: the arrays named in `ARRAYS`, as float32, modes scaled to one standard deviation.
    """

    card: dict[str, Any]
    arrays: dict[str, np.ndarray]
    face_weight: np.ndarray

    @classmethod
    def load(cls, path: Path | str | None = None) -> FaceModel:
        """Read a model file.

        Args:
            path: the npz; by default the one that comes with the project.

        Raises:
            FaceModelError: missing, damaged, or not a face model.
        """
        path = Path(path or DEFAULT_PATH)
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                if set(stored.files) != set(ARRAYS):
                    raise FaceModelError(f"{path}: not a face model of this version; fit it again")
                arrays = {name: stored[name] for name in ARRAYS if name != "card"}
                card = json.loads(str(stored["card"]))
        except FileNotFoundError:
            raise FaceModelError(
                f"{path}: no such file; python -m masktrain.face_model FOLDER makes one"
            ) from None
        except FaceModelError:
            raise
        except (
            Exception
        ) as error:  # zip and array readers raise whatever a damaged file makes them meet
            raise FaceModelError(
                f"{path}: cannot be read as a face model ({error}); fit it again"
            ) from None
        return cls.from_arrays(card, arrays)

    @classmethod
    def from_arrays(cls, card: dict[str, Any], stored: dict[str, np.ndarray]) -> FaceModel:
        """Make a model of the arrays of a file: bytes to float32."""
        arrays = {name: np.asarray(value, np.float32) for name, value in stored.items()}
        for kind in ("even", "odd"):
            arrays[f"{kind}_modes"] *= arrays[f"{kind}_scale"][:, None]
        arrays["mixture_weights"] = arrays["mixture_weights"].astype(np.float64)
        arrays["mixture_weights"] /= arrays["mixture_weights"].sum()
        return cls(card, arrays, face_weight(arrays["shape_mean"]))

    def sample(self, rng: np.random.Generator, size_px: int = 160) -> tuple[np.ndarray, Landmarks]:
        """Draw one face, framed like an aligned photo.

        The square of 1.3 times the longer side of the landmark box lies inside the picture.

        Args:
            rng: decides everything; the same state gives the same face.
            size_px: side of the picture, at least 32.

        Returns:
            (size_px, size_px, 3) uint8 RGB, and its landmarks, ``how`` = "model".

        Raises:
            ValueError: size_px < 32.
        """
        if size_px < 32:
            raise ValueError(f"size_px must be >= 32, got {size_px}")
        even, odd = self.draw_codes(rng)
        shape = self._draw_shape(even, odd, rng)
        texture = self._draw_texture(even, odd, rng)
        matrix = _draw_framing(shape, size_px, rng)
        sources = _inverse_map(shape, self.arrays["shape_mean"], matrix, size_px)
        scene = cv2.remap(
            texture, sources[0], sources[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        landmarks = Landmarks(shape @ matrix[:, :2].T + matrix[:, 2], "model")
        return _photograph(scene, rng), landmarks

    def draw_codes(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw the even and odd texture codes of one new person, in standard deviations.

        The leading codes come from one component of the mixture, the others from a Gaussian.
        """
        arrays = self.arrays
        component = rng.choice(len(arrays["mixture_weights"]), p=arrays["mixture_weights"])
        noise = rng.standard_normal(arrays["mixture_means"].shape[1], dtype=np.float32)
        leading = arrays["mixture_means"][component]
        leading = leading + TEMPERATURE * (arrays["mixture_factors"][component] @ noise)
        even_count, odd_count = int(arrays["even_count"]), int(arrays["odd_count"])
        even = rng.standard_normal(len(arrays["even_modes"]), dtype=np.float32) * DETAIL_TEMPERATURE
        odd = rng.standard_normal(len(arrays["odd_modes"]), dtype=np.float32) * DETAIL_TEMPERATURE
        even[:even_count] = leading[:even_count]
        odd[:odd_count] = leading[even_count:]
        return np.clip(even, -3, 3), np.clip(odd, -3, 3)

    def _draw_shape(
        self, even: np.ndarray, odd: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw a shape (68, 2) that goes with the texture: smiles have teeth."""
        shape = self.arrays["shape_mean"].copy()
        for kind, codes in (("even", even), ("odd", odd)):
            factor = self.arrays[f"shape_{kind}_factor"]
            count = factor.shape[0]
            given = codes[: factor.shape[1] - count]
            noise = TEMPERATURE * rng.standard_normal(count, dtype=np.float32)
            weights = np.clip(factor @ np.concatenate([given, noise]), -2.5, 2.5)
            shape += (weights @ self.arrays[f"shape_{kind}"]).reshape(68, 2)
        return shape

    def _draw_texture(
        self, even: np.ndarray, odd: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw a texture (128, 128, 4) float32: RGB and the weight of the face."""
        even_count, odd_count = int(self.arrays["even_count"]), int(self.arrays["odd_count"])
        even_modes, odd_modes = self.arrays["even_modes"], self.arrays["odd_modes"]
        coarse = join_halves(
            self.arrays["texture_mean"] + even[:even_count] @ even_modes[:even_count],
            odd[:odd_count] @ odd_modes[:odd_count],
        )
        fine = join_halves(
            even[even_count:] @ even_modes[even_count:], odd[odd_count:] @ odd_modes[odd_count:]
        )
        keep = BACKGROUND_DETAIL + (1 - BACKGROUND_DETAIL) * self.face_weight
        coarse += fine * cv2.merge([keep] * 3)
        coarse[..., 0] += self._draw_grain(rng)
        skin = np.average(coarse[..., 1:].reshape(-1, 2), axis=0, weights=self.face_weight.ravel())
        coarse[..., 1] += max(0.0, LEAST_SKIN_CR - skin[0])
        coarse[..., 2] -= max(0.0, skin[1] - MOST_SKIN_CB)
        rgb = cv2.cvtColor(coarse, cv2.COLOR_YCrCb2RGB)
        return cv2.merge([*cv2.split(rgb), self.face_weight])

    def _draw_grain(self, rng: np.random.Generator) -> np.ndarray:
        """Draw what is finer than the modes: noise, place by place as strong as the photos' own."""
        noise = rng.standard_normal((TEXTURE_PX, TEXTURE_PX), dtype=np.float32)
        noise -= cv2.GaussianBlur(noise, (0, 0), 2.0)
        strength = rng.uniform(0.3, 0.9)
        return cv2.GaussianBlur(noise, (0, 0), 0.6) * (self.arrays["detail"] * (2.2 * strength))


def _inverse_map(
    shape: np.ndarray, mean: np.ndarray, matrix: np.ndarray, size_px: int
) -> np.ndarray:
    """Return (2, size_px, size_px) float32: x and y in the texture of each picture pixel."""
    nodes = np.linspace(0, size_px - 1, _MAP_NODES, dtype=np.float32)
    grid = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    back = cv2.invertAffineTransform(matrix)
    centres = thin_plate_centres(shape)
    values = np.zeros((len(centres) + 3, 2))
    values[:-3] = thin_plate_centres(mean)
    weights = np.linalg.solve(thin_plate_system(centres), values).astype(np.float32)
    at_nodes = thin_plate_basis(grid @ back[:, :2].T + back[:, 2], centres) @ weights
    # Bilinear between nodes by two small products: cv2.resize puts no nodes on corner pixels.
    steps = np.arange(size_px, dtype=np.float32)[:, None] * ((_MAP_NODES - 1) / (size_px - 1))
    hats = np.maximum(0, 1 - np.abs(steps - np.arange(_MAP_NODES, dtype=np.float32)))
    return np.stack([
        hats @ at_nodes[:, axis].reshape(_MAP_NODES, _MAP_NODES) @ hats.T for axis in (0, 1)
    ])  # fmt: skip


def _draw_framing(shape: np.ndarray, size_px: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a (2, 3) matrix, texture to picture, that leaves room for the canonical crop."""
    roll_deg = float(np.clip(rng.normal(0, 3), -8, 8))
    matrix = cv2.getRotationMatrix2D((TEXTURE_PX / 2, TEXTURE_PX / 2), roll_deg, 1.0)
    turned = shape @ matrix[:, :2].T + matrix[:, 2]
    low, high = turned.min(axis=0), turned.max(axis=0)
    crop_px = size_px * rng.uniform(0.93, 0.99)
    scale = crop_px / (CROP_SCALE * float((high - low).max()))
    slack = (size_px - crop_px) / 2
    centre = (size_px - 1) / 2 + rng.uniform(-slack, slack, 2)
    matrix = matrix * scale
    matrix[:, 2] += centre - (low + high) / 2 * scale
    return matrix


def _photograph(scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Take the photo: light from a side, background tint, exposure, focus, sensor noise.

    Args:
        scene: (H, W, 4) float32, RGB in 0..1 and the weight of the face.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    size_px = len(scene)
    *planes, face = cv2.split(scene)
    across = np.linspace(-1, 1, size_px, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0, 0.15) * np.array([np.cos(angle), np.sin(angle)], np.float32)
    light = 1 + slope[0] * across[None, :] + slope[1] * across[:, None]
    gains = np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.02, 3))
    tints = np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.05, 3)) - 1
    sharpening = rng.uniform(-0.3, 1.1)
    noise = rng.standard_normal((size_px, size_px), dtype=np.float32) * np.float32(
        rng.uniform(0.002, 0.018)
    )
    photo = np.empty((size_px, size_px, 3), np.uint8)
    for channel, (plane, gain, tint) in enumerate(zip(planes, gains, tints, strict=True)):
        lit = plane * (light * np.float32(gain)) * (1 + (1 - face) * np.float32(tint))
        soft = cv2.GaussianBlur(lit, (0, 0), size_px / 128)
        lit += np.float32(sharpening) * (lit - soft) + noise
        photo[..., channel] = np.clip(np.rint(lit * 255), 0, 255)
    return photo


def main(argv: Sequence[str] | None = None) -> int:
    """Fit a model from the command line; see `masktrain.face_fit`."""
    from masktrain.face_fit import main as fit

    return fit(argv)


if __name__ == "__main__":
    sys.exit(main())
