"""Contact sheets on embedded faces: masks by pose, colour, print, light and wear, and occluders.

    python -m masktrain.contact_sheets [--output reports/figures]

The faces are drawn from the embedded model: nobody on these sheets exists.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from MaskTheFace.commands import run_command
from MaskTheFace.coverage import WEARS
from MaskTheFace.geometry import turn_of
from MaskTheFace.images import montage, write_image
from MaskTheFace.landmarks import Landmarks
from MaskTheFace.occluder_style import OCCLUDERS
from MaskTheFace.occluders import occlude, sample_occluder
from MaskTheFace.overlay import overlay_mask
from MaskTheFace.patterns import PATTERNS
from MaskTheFace.style import COMMON_COLORS, MaskStyle, sample_style
from MaskTheFace.templates import TEMPLATES, TYPES
from MaskTheFace.wear import worn
from masktrain.face_model import FaceModel
from masktrain.faces import crop_face

TURNS = (-1.0, -0.6, -0.25, 0.0, 0.25, 0.6, 1.0)
QUALITY = 88
Face = tuple[np.ndarray, Landmarks]


@dataclass(frozen=True)
class SheetConfig:
    """Draw contact sheets of the masks."""

    output: Path = Path("reports/figures")
    """Folder for masks_{types,colors,prints,light,wear}.jpg and occluders.jpg."""
    seed: int = 0
    """Seed of faces and masks."""
    face_px: int = 128
    """Side of one picture."""
    pool: int = 400
    """Faces drawn, of which those of the wanted poses are taken."""

    def __post_init__(self) -> None:
        if self.face_px < 48:
            raise ValueError(f"face_px must be >= 48, got {self.face_px}")
        if self.pool < len(TURNS):
            raise ValueError(f"pool must be >= {len(TURNS)}, got {self.pool}")


def draw_sheets(config: SheetConfig) -> list[Path]:
    """Write all sheets.

    Returns:
        Their paths.

    Raises:
        OSError: the folder cannot be written.
    """
    faces = _pool(config)
    sheets = {
        "masks_types": (_types(faces, config), 2 * len(TURNS)),
        "masks_colors": (_colors(faces, config), 10),
        "masks_prints": (_prints(faces, config), 12),
        "masks_light": (_light(faces, config), len(SCENES)),
        "masks_wear": (_wear(faces, config), 10),
        "occluders": (_occluders(faces, config), 10),
    }
    paths = []
    for name, (pictures, columns) in sheets.items():
        paths.append(config.output / f"{name}.jpg")
        write_image(paths[-1], montage(pictures, columns), QUALITY)
    return paths


def _pool(config: SheetConfig) -> list[Face]:
    model = FaceModel.load()
    rng = np.random.default_rng([config.seed, 17])
    faces = []
    for _ in range(config.pool):
        image, landmarks = model.sample(rng, round(config.face_px * 1.25))
        crop = crop_face(image, landmarks, config.face_px)
        faces.append((crop.image, crop.landmarks))
    return faces


def _posed(faces: Sequence[Face]) -> list[Face]:
    """Return a face for each of TURNS."""
    turns = np.array([turn_of(landmarks) for _, landmarks in faces])
    chosen: list[int] = []
    for wanted in TURNS:
        order = np.argsort(np.abs(turns - wanted))
        chosen.append(next(int(place) for place in order if place not in chosen))
    return [faces[place] for place in chosen]


def _types(faces: Sequence[Face], config: SheetConfig) -> list[np.ndarray]:
    """Every design over seven poses; two designs a row."""
    posed = _posed(faces)
    pictures = []
    for number, name in enumerate(TEMPLATES):
        style = dataclasses.replace(
            sample_style(np.random.default_rng([config.seed, number]), [name], ()),
            top=0.02, bottom=0.0, tilt_deg=0.0,
        )  # fmt: skip
        pictures += [overlay_mask(image, points, style).image for image, points in posed]
    return pictures


def _colors(faces: Sequence[Face], config: SheetConfig) -> list[np.ndarray]:
    """What people wear, as drawn for training: ten of each type."""
    pictures = []
    for row, kind in enumerate([*TYPES, *TYPES]):
        rng = np.random.default_rng([config.seed, 40, row])
        for column in range(10):
            image, points = faces[(10 * row + column) % len(faces)]
            style = sample_style(rng, TYPES[kind], ())
            pictures.append(overlay_mask(image, points, style).image)
    return pictures


def _prints(faces: Sequence[Face], config: SheetConfig) -> list[np.ndarray]:
    """Three layouts of every print."""
    pictures = []
    rng = np.random.default_rng([config.seed, 41])
    for number, name in enumerate(PATTERNS):
        for layout in range(3):
            image, points = faces[(3 * number + layout) % len(faces)]
            drawn = sample_style(rng, ("cloth_fitted", "cloth_wide", "surgical_pleated"))
            style = dataclasses.replace(drawn, pattern=name, pattern_weight=1.0)
            pictures.append(overlay_mask(image, points, style).image)
    return pictures + [np.full_like(pictures[0], 255)] * (-len(pictures) % 12)


def _light(faces: Sequence[Face], config: SheetConfig) -> list[np.ndarray]:
    """White, blue and black masks on the same faces, photographed in ten ways."""
    posed = _posed(faces)
    wears = (("kn95_fold", 0), ("surgical_pleated", 0), ("cloth_pitta", 0))
    pictures = []
    for row, (name, color) in enumerate(wears):
        image, points = posed[2 + row]
        common = COMMON_COLORS[TEMPLATES[name].kind][color][1]
        style = MaskStyle(template=name, color=common, light=0.9, seed=config.seed + row)
        for scene in SCENES:
            photo = SCENE_LOOKS[scene](image, np.random.default_rng([config.seed, 42]))
            pictures.append(overlay_mask(photo, points, style).image)
    return pictures


def _wear(faces: Sequence[Face], config: SheetConfig) -> list[np.ndarray]:
    """Each way to wear a mask, two rows."""
    pictures = []
    for row, way in enumerate(np.repeat(WEARS, 2)):
        rng = np.random.default_rng([config.seed, 43, row])
        for column in range(10):
            image, points = faces[(10 * row + column) % len(faces)]
            style = sample_style(rng, [*TYPES["surgical"], "kn95_fold", "cloth_fitted"])
            pictures.append(overlay_mask(image, points, worn(style, way, rng)).image)
    return pictures


def _occluders(faces: Sequence[Face], config: SheetConfig) -> list[np.ndarray]:
    """Each kind of occluder in a row: on six bare faces and on four masked ones."""
    pictures = []
    for row, kind in enumerate(OCCLUDERS):
        rng = np.random.default_rng([config.seed, 44, row])
        for column in range(10):
            image, points = faces[(10 * row + column) % len(faces)]
            thing, mask = sample_occluder(rng, [kind]), sample_style(rng)
            bare = image
            if thing.beneath:
                image = occlude(image, points, thing).image
            if column > 5:
                image = overlay_mask(image, points, mask).image
            if not thing.beneath:
                image = occlude(image, points, thing, bare).image
            pictures.append(image)
    return pictures


def _tinted(*tint: float) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    return lambda image, rng: _byte(image * np.array(tint))


def _side_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    ramp = np.linspace(1.25, 0.25, image.shape[1])[None, :, None]
    return _byte(image * ramp)


def _small(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = image.shape[0]
    small = cv2.resize(image, (side // 3, side // 3), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC))


def _grey(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def _byte(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


SCENE_LOOKS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "as it is": lambda image, rng: image,
    "side light": _side_light,
    "dusk": _tinted(0.3, 0.3, 0.32),
    "lamp": _tinted(1.1, 0.85, 0.55),
    "blue hour": _tinted(0.6, 0.75, 1.1),
    "haze": lambda image, rng: _byte(90 + image * 0.55),
    "grey": _grey,
    "soft": lambda image, rng: np.asarray(cv2.GaussianBlur(image, (0, 0), image.shape[0] / 70)),
    "noisy": lambda image, rng: _byte(image + rng.normal(0, 14, image.shape)),
    "small": _small,
}
SCENES = tuple(SCENE_LOOKS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command("contact_sheets", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    import tyro

    config = tyro.cli(SheetConfig, args=argv, prog="python -m masktrain.contact_sheets")
    print("\n".join(str(path) for path in draw_sheets(config)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
