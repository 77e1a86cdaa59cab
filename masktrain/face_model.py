"""Faces of people who do not exist: a small statistical model of photos, and how to draw from it.

    python -m masktrain.face_model FOLDER [--output data/face_model.npz] [--limit 4000]

fits the model (`masktrain.face_fit`) to a folder of tight, aligned photos of bare faces. What is stored is
means, modes and covariances; no photo and no code of one.

Convention: shapes are (68, 2) float, (x, y) in pixels. A texture is a face warped to the mean shape,
128 x 128 px, YCrCb, colour at half size. Because photos are fitted together with their mirror images,
every mode is even (equal to its mirror image) or odd (its negative), so half of it is enough; the halves of
the three planes, one after the other, are a *flat half*. Shape modes are even or odd likewise.
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

DEFAULT_PATH = Path(__file__).resolve().parent.parent / "data" / "face_model.npz"
TEXTURE_PX = 128
FACE_PX = 95
"""Longer side of the mean face in a texture, pixels: 1.35 times that is the texture."""
_PLANES = (
    (TEXTURE_PX, TEXTURE_PX),
    (TEXTURE_PX // 2, TEXTURE_PX // 2),
    (TEXTURE_PX // 2, TEXTURE_PX // 2),
)
FLAT_HALF = sum(rows * columns // 2 for rows, columns in _PLANES)
ARRAYS = (
    "card", "texture_mean", "even_modes", "even_scale", "even_count", "odd_modes", "odd_scale", "odd_count",
    "mixture_weights", "mixture_means", "mixture_factors", "shape_mean", "shape_even", "shape_odd",
    "shape_even_factor", "shape_odd_factor", "detail",
)  # fmt: skip
"""Every array of a model file; anything else in one is refused."""

TEMPERATURE = 0.85
"""Faces are drawn a little nearer to the mean than photos lie: the rim of a Gaussian is no face."""
DETAIL_TEMPERATURE = 0.8
BACKGROUND_DETAIL = 0.6
"""Share of the fine modes kept off the face, where they would blotch hair and background."""
CROP_SCALE = 1.3
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
            with np.load(path, allow_pickle=False) as stored:
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
            texture, sources, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
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
        rgb = cv2.cvtColor(coarse, cv2.COLOR_YCrCb2RGB)
        return cv2.merge([*cv2.split(rgb), self.face_weight])

    def _draw_grain(self, rng: np.random.Generator) -> np.ndarray:
        """Draw skin and hair finer than the modes: noise as strong, place by place, as the photos' own."""
        noise = rng.standard_normal((TEXTURE_PX, TEXTURE_PX), dtype=np.float32)
        noise -= cv2.GaussianBlur(noise, (0, 0), 2.0)
        strength = rng.uniform(0.4, 1.1)
        return cv2.GaussianBlur(noise, (0, 0), 0.6) * (self.arrays["detail"] * (2.2 * strength))


def join_halves(even: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Put an even and an odd flat half together to a texture (128, 128, 3) float32 YCrCb.

    The colour planes are centred on 0.5, as OpenCV's float conversion has them, where luma is 0..1.
    """
    planes, start = [], 0
    for rows, columns in _PLANES:
        stop = start + rows * columns // 2
        left_even = even[start:stop].reshape(rows, columns // 2)
        left_odd = odd[start:stop].reshape(rows, columns // 2)
        plane = np.hstack([left_even + left_odd, (left_even - left_odd)[:, ::-1]])
        if rows != TEXTURE_PX:
            plane = cv2.resize(plane, (TEXTURE_PX, TEXTURE_PX), interpolation=cv2.INTER_LINEAR)
        planes.append(plane)
        start = stop
    return cv2.merge(planes)


def split_halves(texture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take a texture (128, 128, 3) float32 YCrCb apart into its even and its odd flat half."""
    even, odd = [], []
    for channel, (rows, columns) in enumerate(_PLANES):
        plane = texture[..., channel]
        if rows != TEXTURE_PX:
            plane = cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_AREA)
        left, right = plane[:, : columns // 2], plane[:, ::-1][:, : columns // 2]
        even.append(((left + right) / 2).ravel())
        odd.append(((left - right) / 2).ravel())
    return np.concatenate(even), np.concatenate(odd)


def face_weight(shape_mean: np.ndarray) -> np.ndarray:
    """Return (128, 128) float32 in [0, 1]: 1 on the face up to the hairline, 0 on the background."""
    jaw, brows = shape_mean[:17], shape_mean[26:16:-1]
    forehead = brows - [0, 0.28 * FACE_PX]
    mask = np.zeros((TEXTURE_PX, TEXTURE_PX), np.float32)
    hull = cv2.convexHull(np.vstack([jaw, forehead]).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 1.0)
    return cv2.GaussianBlur(mask, (0, 0), 4.0)


def thin_plate_centres(shape: np.ndarray) -> np.ndarray:
    """Return the points that hold a warp: the 68 and a fixed ring beside them, (68 + 16, 2)."""
    side = np.linspace(-8, TEXTURE_PX + 7, 5)
    low, high = np.full(4, side[0]), np.full(4, side[-1])
    ring = np.vstack([
        np.stack([side[:-1], low], 1), np.stack([high, side[:-1]], 1),
        np.stack([side[1:], high], 1), np.stack([low, side[1:]], 1),
    ])  # fmt: skip
    return np.vstack([shape, ring]).astype(np.float32)


def thin_plate_system(centres: np.ndarray) -> np.ndarray:
    """Return the (K + 3, K + 3) matrix of a thin-plate spline, slightly smoothed (Bookstein 1989)."""
    count = len(centres)
    system = np.zeros((count + 3, count + 3))
    system[:count] = thin_plate_basis(centres, centres)
    # Smoothing of a few tenths of a pixel: landmarks are no better than that, and a fold is worse.
    system[:count, :count] += 50 * np.eye(count)
    system[count:, :count] = system[:count, count:].T
    return system


def thin_plate_basis(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return (N, K + 3): r^2 log r^2 from each of N points to each of K centres, then 1, x, y."""
    points, centres = points.astype(np.float32), centres.astype(np.float32)
    squares = (points[:, :1] - centres[:, 0]) ** 2 + (points[:, 1:] - centres[:, 1]) ** 2
    bends = squares * np.log(squares + np.float32(1e-6))
    return np.hstack([bends, np.ones((len(points), 1), np.float32), points])


def _inverse_map(
    shape: np.ndarray, mean: np.ndarray, matrix: np.ndarray, size_px: int
) -> np.ndarray:
    """Return (size_px, size_px, 2) float32: where in the texture each pixel of the picture is found."""
    nodes = np.linspace(0, size_px - 1, _MAP_NODES, dtype=np.float32)
    grid = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    back = cv2.invertAffineTransform(matrix)
    centres = thin_plate_centres(shape)
    values = np.zeros((len(centres) + 3, 2))
    values[:-3] = thin_plate_centres(mean)
    weights = np.linalg.solve(thin_plate_system(centres), values).astype(np.float32)
    at_nodes = thin_plate_basis(grid @ back[:, :2].T + back[:, 2], centres) @ weights
    # Bilinear between nodes by two small products: cv2.resize would not put nodes on the corner pixels.
    steps = np.arange(size_px, dtype=np.float32)[:, None] * ((_MAP_NODES - 1) / (size_px - 1))
    hats = np.maximum(0, 1 - np.abs(steps - np.arange(_MAP_NODES, dtype=np.float32)))
    across = np.tensordot(hats, at_nodes.reshape(_MAP_NODES, _MAP_NODES, 2), axes=1)
    return np.ascontiguousarray(
        np.einsum("xj,yjc->yxc", hats, across, optimize=True), dtype=np.float32
    )


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
    matrix *= scale
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
