"""Fit the statistical face model of `masktrain.face_model` to a folder of photos.

Steps: measure every photo, choose the best, warp them to the mean shape, fill in what the crops do not
show, find the modes, describe how codes are spread, and check that drawn faces are nobody's.
The same photos give the same file.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro
from tqdm.auto import tqdm

from MaskTheFace.images import ImageError, list_images, read_image, write_bytes
from MaskTheFace.landmarks import MIRROR, LandmarkError, aligned_landmarks
from masktrain.face_model import (
    ARRAYS,
    DEFAULT_PATH,
    FACE_PX,
    TEXTURE_PX,
    FaceModel,
    FaceModelError,
    join_halves,
    split_halves,
    thin_plate_basis,
    thin_plate_centres,
    thin_plate_system,
)

EVEN_MODES, ODD_MODES = 260, 160
EVEN_SHAPE_MODES, ODD_SHAPE_MODES = 15, 10
EVEN_LEADING, ODD_LEADING = 80, 40
"""Codes that the mixture describes jointly; the finer ones are independent."""
COMPONENTS = 24
MIN_PHOTOS_A_COMPONENT = 80
"""A mean of fewer photos would begin to look like somebody."""
MIN_PHOTOS = 40
FILL_MODES = 48
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


@dataclass(frozen=True)
class _Measured:
    """One usable photo: its points and what speaks for and against it."""

    path: Path
    xy: np.ndarray
    turned: float
    blurred: float
    cut: float


def fit_face_model(config: FitConfig) -> dict[str, np.ndarray]:
    """Fit the model.

    Returns:
        The arrays named in `face_model.ARRAYS`, ready for `numpy.savez_compressed`.

    Raises:
        FaceModelError: too few usable photos.
        ImageError: no such folder.
    """
    photos = _choose(_measure_all(list_images(config.faces)), config)
    matrices, shapes, mean = _align(np.stack([photo.xy for photo in photos]))
    textures, seen = _textures(photos, matrices, shapes, mean)
    textures, strangeness = _fill_unseen(textures, seen)
    # Hands, microphones, sunglasses: what the first modes describe worst is rarely a bare face.
    usual = strangeness <= np.quantile(strangeness, 0.9)
    arrays, codes = _describe(textures[usual], shapes[usual] - mean)
    arrays["shape_mean"] = mean.astype(np.float32)
    card = {
        "what": "statistical face model; draws faces of people who do not exist",
        "source": config.source,
        "terms": config.terms,
        "photos": int(usual.sum()),
        "texture_modes": len(arrays["even_modes"]) + len(arrays["odd_modes"]),
        "shape_modes": len(arrays["shape_even"]) + len(arrays["shape_odd"]),
        "mixture_components": len(arrays["mixture_weights"]),
        "photos_stored": 0,
        "nearest": _nearest_check(FaceModel.from_arrays({}, arrays), codes),
    }
    arrays["card"] = np.array(json.dumps(card))
    return {name: arrays[name] for name in ARRAYS}


def _measure_all(paths: list[Path]) -> list[_Measured]:
    measured = (_measure(path) for path in tqdm(paths, desc="measure", disable=None))
    return [photo for photo in measured if photo is not None]


def _measure(path: Path) -> _Measured | None:
    """Measure one photo; None where it is unreadable, grey, or its points are in doubt."""
    try:
        image = read_image(path)
    except ImageError:
        return None
    colour = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[..., 1:].mean(axis=(0, 1)) - 128
    if np.abs(colour).max() < 4:
        return None
    found = aligned_landmarks(image)
    width = image.shape[1]
    again = aligned_landmarks(np.ascontiguousarray(image[:, ::-1])).mirrored(width)
    doubt = np.linalg.norm(found.xy - again.xy, axis=1).mean() / found.width_px
    if "canonical" in (found.how, again.how) or doubt > 0.025:
        return None
    xy = (found.xy + again.xy) / 2
    ears = [np.linalg.norm(xy[30] - xy[side].mean(axis=0)) for side in (slice(0, 3), slice(14, 17))]
    turned = float(abs(np.log(ears[0] / ears[1])))
    return _Measured(path, xy, turned, -_sharpness(image), float(xy[8, 1] / len(image)))


def _sharpness(image: np.ndarray) -> float:
    """Return the contrast of details of 1 to 3 px in a 128 px face, grey levels."""
    grey = cv2.resize(
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (128, 128), interpolation=cv2.INTER_AREA
    )
    middle = grey[30:110, 24:104].astype(np.float32)
    return float((cv2.GaussianBlur(middle, (0, 0), 1) - cv2.GaussianBlur(middle, (0, 0), 3)).std())


def _choose(photos: list[_Measured], config: FitConfig) -> list[_Measured]:
    """Keep the frontal, sharp photos that show something below the chin, in the order of their paths."""
    if len(photos) < MIN_PHOTOS:
        raise FaceModelError(
            f"{config.faces}: {len(photos)} usable colour photos of one aligned face each; "
            f"at least {MIN_PHOTOS} are needed"
        )

    def ranks(values: list[float]) -> np.ndarray:
        return np.argsort(np.argsort(values, kind="stable"), kind="stable") / len(values)

    demerit = (
        np.maximum(ranks([photo.turned for photo in photos]), 0.3)
        + 0.7 * ranks([photo.blurred for photo in photos])
        + 0.7 * ranks([photo.cut for photo in photos])
    )
    # A tenth more than asked for: as many are left out later for looking unusual.
    best = np.argsort(demerit, kind="stable")[: int(np.ceil(config.limit / 0.9))]
    return [photos[index] for index in sorted(best)]


def _align(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Align shapes by similarity (generalised Procrustes), mirror-symmetric mean.

    Args:
        points: (N, 68, 2) photo pixels.

    Returns:
        Matrices (N, 2, 3) from photo to texture pixels, shapes (N, 68, 2) and mean (68, 2) in these.
    """
    mean = points.mean(axis=0)
    for _ in range(5):
        mean = mean - (mean.min(axis=0) + mean.max(axis=0)) / 2
        mean = (mean + mean[MIRROR] * [-1, 1]) / 2
        mean = mean * (FACE_PX / np.ptp(mean, axis=0).max()) + (TEXTURE_PX - 1) / 2
        matrices = np.stack([_similarity(xy, mean) for xy in points])
        shapes = np.einsum("nij,nkj->nki", matrices[:, :, :2], points) + matrices[:, None, :, 2]
        mean, settled = shapes.mean(axis=0), mean
    return matrices, shapes, settled


def _similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the least-squares similarity (2, 3); points as complex numbers make it one division."""
    a = (source - source.mean(axis=0)) @ [1, 1j]
    b = (target - target.mean(axis=0)) @ [1, 1j]
    turn = np.vdot(a, b) / np.vdot(a, a)
    rotation = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    shift = target.mean(axis=0) - rotation @ source.mean(axis=0)
    return np.hstack([rotation, shift[:, None]])


def _textures(
    photos: list[_Measured], matrices: np.ndarray, shapes: np.ndarray, mean: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Warp the photos to the mean shape.

    Returns:
        (N, 128, 128, 3) uint8 YCrCb, and (N, 128, 128) bool: what the photo shows.
    """
    centres = thin_plate_centres(mean)
    rows, columns = np.mgrid[:TEXTURE_PX, :TEXTURE_PX]
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1)
    solver = np.linalg.inv(thin_plate_system(centres))[:, : len(centres)]
    warp = (thin_plate_basis(pixels, centres) @ solver).astype(np.float32)
    textures = np.empty((len(photos), TEXTURE_PX, TEXTURE_PX, 3), np.uint8)
    seen = np.empty((len(photos), TEXTURE_PX, TEXTURE_PX), bool)
    for index, photo in enumerate(tqdm(photos, desc="warp", disable=None)):
        image = read_image(photo.path)
        back = cv2.invertAffineTransform(matrices[index])
        ends = thin_plate_centres(shapes[index]) @ back[:, :2].T + back[:, 2]
        sources = (warp @ ends.astype(np.float32)).reshape(TEXTURE_PX, TEXTURE_PX, 2)
        # Prefilter by the shrink from photo to texture, or skin would alias.
        shrink = float(np.hypot(*back[0, :2]))
        image = cv2.GaussianBlur(image, (0, 0), max(0.3, 0.4 * shrink))
        warped = cv2.remap(image, sources, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        textures[index] = cv2.cvtColor(warped, cv2.COLOR_RGB2YCrCb)
        inner = np.array([image.shape[1] - 2, image.shape[0] - 2])
        seen[index] = ((sources >= 1) & (sources <= inner)).all(axis=2)
    return textures, seen


def _fill_unseen(textures: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill what tight crops do not show (neck, hair, background) by expectation-maximisation.

    Pixels spread outwards first; then a low-rank model of all photos and the fill improve each other;
    last, the model's own error at the edge of the photo is spread outwards, so that no seam is left.

    Returns:
        Textures, filled, and for each how far (grey levels, RMS) the low-rank model is from what is seen.
    """
    for texture, shown in zip(textures, seen, strict=True):
        texture[~shown] = _spread(texture.astype(np.float32), shown)[~shown]
    flat = textures.reshape(len(textures), -1).astype(np.float32)
    hidden = np.repeat(~seen.reshape(len(seen), -1), 3, axis=1)
    basis = np.random.default_rng(0).standard_normal(
        (flat.shape[1], min(FILL_MODES, len(flat) // 2))
    )
    basis = basis.astype(np.float32)
    for _ in range(5):
        mean = flat.mean(axis=0)
        flat -= mean
        for _ in range(2):
            basis = np.linalg.qr(flat.T @ (flat @ basis))[0]
        codes = flat @ basis
        spread = codes.var(axis=0)
        rest = max(1e-6, (flat.var() * flat.shape[1] - spread.sum()) / flat.shape[1])
        model = (codes * (spread / (spread + rest))) @ basis.T + mean
        flat += mean
        flat[hidden] = model[hidden]
    return _close_seams(textures, seen, model.reshape(textures.shape))


def _close_seams(
    textures: np.ndarray, seen: np.ndarray, model: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    strangeness = np.empty(len(textures))
    for index, (texture, shown) in enumerate(zip(textures, seen, strict=True)):
        error = texture - model[index]
        strangeness[index] = np.sqrt((error[shown, 0] ** 2).mean())
        filled = model[index] + _spread(error, shown)
        texture[~shown] = np.clip(np.rint(filled[~shown]), 0, 255)
    return textures, strangeness


def _spread(image: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Continue an image (H, W, 3) float32 beyond what is shown, ever more blurred (normalised convolution)."""
    weight = shown.astype(np.float32)
    known = image * weight[..., None]
    total, confidence = known.copy(), weight.copy()
    for sigma in (2, 5, 12, 30):
        near = cv2.GaussianBlur(weight, (0, 0), sigma)
        blurred = cv2.GaussianBlur(known, (0, 0), sigma) / np.maximum(near, 1e-4)[..., None]
        share = np.clip(2.2 * near, 0, 1) * (1 - confidence)
        total += blurred * share[..., None]
        confidence += share
    return total / np.maximum(confidence, 1e-6)[..., None]


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
    """Return modes (count, D), each scaled to one standard deviation, and codes (N, count) of unit variance."""
    variances, vectors = np.linalg.eigh((data @ data.T).astype(np.float64))
    count = min(count, len(data) // 2)
    vectors = vectors[:, ::-1][:, :count]
    deviations = np.sqrt(np.maximum(variances[::-1][:count], 1e-12) / len(data))
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
    """Return (W, G + W): ridge regression of wanted codes on given ones, then a factor of what is left."""
    ridge = given.T @ given + 0.05 * len(given) * np.eye(given.shape[1])
    weights = np.linalg.solve(ridge, given.T @ wanted).T
    left = wanted - given @ weights.T
    factor = np.linalg.cholesky(left.T @ left / len(left) + 1e-4 * np.eye(wanted.shape[1]))
    return np.hstack([weights, factor]).astype(np.float32)


def _nearest_check(model: FaceModel, codes: tuple[np.ndarray, np.ndarray]) -> dict[str, object]:
    """Compare how near drawn faces come to photos with how near photos come to each other.

    Distances are Euclidean between the leading codes in standard deviations; mirror images count as photos.
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
        np.savez_compressed(stream, **fit_face_model(config))
        write_bytes(config.output, stream.getvalue())
    except (ImageError, LandmarkError, FaceModelError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    size_mb = len(stream.getvalue()) / 1e6
    card = FaceModel.load(config.output).card
    print(f"{config.output}: {size_mb:.1f} MB, fitted to {card['photos']} photos")
    return 0
