"""Fit the statistical face model of `masktrain.face_model` to a folder of photos.

Photos become textures (`masktrain.face_photos`); their modes are found; the spread of their codes
is described; and faces drawn from it are checked to be nobody's. Same photos, same file.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from MaskTheFace.images import ImageError, write_bytes
from MaskTheFace.landmarks import MIRROR, LandmarkError
from masktrain.face_model import ARRAYS, DEFAULT_PATH, FaceModel, FaceModelError
from masktrain.face_photos import MIN_PHOTOS, read_textures
from masktrain.face_texture import TEXTURE_PX, split_halves

EVEN_MODES, ODD_MODES = 260, 160
EVEN_SHAPE_MODES, ODD_SHAPE_MODES = 15, 10
EVEN_LEADING, ODD_LEADING = 80, 40
"""Codes that the mixture describes jointly; the finer ones are independent."""
COMPONENTS = 24
MIN_PHOTOS_A_COMPONENT = 80
"""A mean of fewer photos would begin to look like somebody."""
CHECKED_SAMPLES = 500


@dataclass(frozen=True)
class FitConfig:
    """Fit the statistical face model to a folder of tight, aligned photos of bare faces."""

    faces: tyro.conf.Positional[Path]
    """Folder of the photos: one face each, eyes to chin filling the frame."""
    output: Path = DEFAULT_PATH
    """The model file to write."""
    limit: int = 4000
    """Use at most this many photos, the sharpest and most frontal ones."""
    source: str = "photos named by the user"
    """Where the photos come from; kept in the model's card."""
    terms: str = "not stated"
    """Under which terms they may be used; kept in the model's card."""

    def __post_init__(self) -> None:
        """Check the values."""
        if self.limit < MIN_PHOTOS:
            raise ValueError(f"limit must be >= {MIN_PHOTOS}, got {self.limit}")


def fit_face_model(config: FitConfig) -> dict[str, np.ndarray]:
    """Fit the model.

    Returns:
        The arrays named in `face_model.ARRAYS`, ready for `numpy.savez_compressed`.

    Raises:
        FaceModelError: too few usable photos.
        ImageError: no such folder.
    """
    textures, shapes, mean = read_textures(config.faces, config.limit)
    arrays, codes = _describe(textures, shapes - mean)
    arrays["shape_mean"] = mean.astype(np.float32)
    card = {
        "what": "statistical face model; draws faces of people who do not exist",
        "source": config.source,
        "terms": config.terms,
        "photos": len(textures),
        "texture_modes": len(arrays["even_modes"]) + len(arrays["odd_modes"]),
        "shape_modes": len(arrays["shape_even"]) + len(arrays["shape_odd"]),
        "mixture_components": len(arrays["mixture_weights"]),
        "photos_stored": 0,
        "nearest": _nearest_check(FaceModel.from_arrays({}, arrays), codes),
    }
    arrays["card"] = np.array(json.dumps(card))
    return {name: arrays[name] for name in ARRAYS}


def _describe(
    textures: np.ndarray, offsets: np.ndarray
) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Find modes and how codes are spread.

    Returns:
        The model's arrays (but mean shape and card), and the even and odd codes of the photos.
    """
    halves = [split_halves(texture.astype(np.float32) / 255) for texture in textures]
    even, odd = (np.stack(part) for part in zip(*halves, strict=True))
    del halves
    mean = even.mean(axis=0)
    even -= mean
    even_modes, even_codes = _modes(even, EVEN_MODES)
    odd_modes, odd_codes = _modes(odd, ODD_MODES)
    arrays = {
        "texture_mean": mean.astype(np.float16),
        "detail": _detail(even - even_codes @ even_modes),
    }
    arrays["even_modes"], arrays["even_scale"] = _to_bytes(even_modes)
    arrays["odd_modes"], arrays["odd_scale"] = _to_bytes(odd_modes)
    sizes = [
        np.linalg.norm(even_modes[:EVEN_LEADING], axis=1),
        np.linalg.norm(odd_modes[:ODD_LEADING], axis=1),
    ]
    arrays |= _mixture(
        even_codes[:, :EVEN_LEADING], odd_codes[:, :ODD_LEADING], np.concatenate(sizes)
    )
    mirrored = offsets[:, MIRROR] * [-1, 1]
    for kind, part, codes, count in (
        ("even", offsets + mirrored, even_codes, EVEN_SHAPE_MODES),
        ("odd", offsets - mirrored, odd_codes, ODD_SHAPE_MODES),
    ):
        modes, shape_codes = _modes((part / 2).reshape(len(part), -1), count)
        arrays[f"shape_{kind}"] = modes.astype(np.float32)
        leading = codes[:, : int(arrays[f"{kind}_count"])]
        arrays[f"shape_{kind}_factor"] = _regression_factor(leading, shape_codes)
    return arrays, (even_codes, odd_codes)


def _modes(data: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return modes (count, D) as long as a standard deviation, and codes (N, count) in these."""
    vectors = np.linalg.eigh((data @ data.T).astype(np.float64))[1]
    count = min(count, len(data) // 2)
    vectors = vectors[:, ::-1][:, :count]
    # Signs of eigenvectors are arbitrary; fixed, so that the file does not depend on the library.
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), range(count)])
    codes = (vectors * np.sqrt(len(data))).astype(np.float32)
    modes = codes.T @ data / len(data)
    return modes.astype(np.float32), codes


def _to_bytes(modes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = np.maximum(np.abs(modes).max(axis=1), 1e-9) / 127
    return np.rint(modes / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def _detail(residuals: np.ndarray) -> np.ndarray:
    """Return (128, 128) float16: how much luma, 0..1, the modes leave out at each place."""
    half = TEXTURE_PX // 2
    left = residuals[:, : TEXTURE_PX * half].std(axis=0).reshape(TEXTURE_PX, half)
    return np.hstack([left, left[:, ::-1]]).astype(np.float16)


def _mixture(even: np.ndarray, odd: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
    """Describe the leading codes by a mixture of Gaussians, photos and mirror images together.

    Dimensions enter with the size of their modes, so that components gather faces that look alike.

    Args:
        even, odd: (N, E) and (N, O) codes of unit variance.
        sizes: (E + O,) lengths of their modes.
    """
    from sklearn.mixture import GaussianMixture

    photos = len(even)
    both = np.vstack([np.hstack([even, odd]), np.hstack([even, -odd])]).astype(np.float64)
    sizes = sizes / sizes.max()
    components = int(np.clip(photos // (2 * MIN_PHOTOS_A_COMPONENT), 1, COMPONENTS))
    mixture = GaussianMixture(components, reg_covar=1e-4, max_iter=20, tol=1e-2, random_state=0)
    mixture.fit(both * sizes)
    kept = (
        mixture.weights_ * photos >= MIN_PHOTOS_A_COMPONENT / 2
        if components > 1
        else np.array([True])
    )
    factors = np.linalg.cholesky(mixture.covariances_[kept]) / sizes[:, None]
    return {
        "even_count": np.array(even.shape[1]),
        "odd_count": np.array(odd.shape[1]),
        "mixture_weights": (mixture.weights_[kept] / mixture.weights_[kept].sum()).astype(
            np.float32
        ),
        "mixture_means": (mixture.means_[kept] / sizes).astype(np.float16),
        "mixture_factors": factors.astype(np.float16),
    }


def _regression_factor(given: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return (W, G + W): ridge regression of wanted on given codes, and a factor of the rest."""
    ridge = given.T @ given + 0.05 * len(given) * np.eye(given.shape[1])
    weights = np.linalg.solve(ridge, given.T @ wanted).T
    left = wanted - given @ weights.T
    factor = np.linalg.cholesky(left.T @ left / len(left) + 1e-4 * np.eye(wanted.shape[1]))
    return np.hstack([weights, factor]).astype(np.float32)


def _nearest_check(model: FaceModel, codes: tuple[np.ndarray, np.ndarray]) -> dict[str, object]:
    """Compare how near drawn faces come to photos with how near photos come to each other.

    Distances are Euclidean, between leading codes in standard deviations; mirror images are
    photos too.
    """
    even_count, odd_count = int(model.arrays["even_count"]), int(model.arrays["odd_count"])
    even, odd = codes[0][:, :even_count], codes[1][:, :odd_count]
    photos = np.vstack([np.hstack([even, odd]), np.hstack([even, -odd])])
    rng = np.random.default_rng(0)
    drawn = [model.draw_codes(rng) for _ in range(CHECKED_SAMPLES)]
    samples = np.stack([np.concatenate([a[:even_count], b[:odd_count]]) for a, b in drawn])
    probes = rng.choice(len(even), min(CHECKED_SAMPLES, len(even)), replace=False)
    between = _distances(photos[probes], photos)
    between[range(len(probes)), probes] = np.inf
    between[range(len(probes)), probes + len(even)] = np.inf
    shares = (0.0, 0.01, 0.05, 0.5, 0.95, 1.0)
    return {
        "samples": CHECKED_SAMPLES,
        "dimensions": even_count + odd_count,
        "quantiles": shares,
        "sample_to_photo": _quantiles(_distances(samples, photos).min(axis=1), shares),
        "photo_to_photo": _quantiles(between.min(axis=1), shares),
    }


def _distances(these: np.ndarray, those: np.ndarray) -> np.ndarray:
    squares = (these**2).sum(axis=1)[:, None] + (those**2).sum(axis=1) - 2 * these @ those.T
    return np.sqrt(np.maximum(squares, 0))


def _quantiles(values: np.ndarray, shares: Sequence[float]) -> list[float]:
    return [round(float(value), 3) for value in np.quantile(values, shares)]


def main(argv: Sequence[str] | None = None) -> int:
    """Fit and write a model; return the exit code."""
    try:
        config = tyro.cli(FitConfig, args=argv, prog="python -m masktrain.face_model")
        stream = io.BytesIO()
        np.savez_compressed(stream, allow_pickle=False, **fit_face_model(config))
        write_bytes(config.output, stream.getvalue())
    except (ImageError, LandmarkError, FaceModelError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    size_mb = len(stream.getvalue()) / 1e6
    card = FaceModel.load(config.output).card
    print(f"{config.output}: {size_mb:.1f} MB, fitted to {card['photos']} photos")
    return 0
