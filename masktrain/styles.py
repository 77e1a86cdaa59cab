"""Which masks a split may show, and a draw from them; for ablations, with an ingredient taken away.

Both `prepare`, once for each face, and `online`, once for each face and epoch, draw here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from MaskTheFace.patterns import PATTERNS
from MaskTheFace.style import MaskStyle, sample_style
from MaskTheFace.templates import TEMPLATES, TYPES
from masktrain.config import Ingredient

HELD_OUT_TEMPLATES = frozenset({"surgical_flat", "n95_duckbill"})
HELD_OUT_PATTERNS = frozenset({"zigzag"})
"""Never drawn for training or validation, so that the test shows masks the network has not seen."""


def is_held_out(style: MaskStyle) -> bool:
    """Tell whether a mask is of a kind that only the test may show."""
    return style.template in HELD_OUT_TEMPLATES or style.pattern in HELD_OUT_PATTERNS


def draw_style(
    rng: np.random.Generator,
    split: str,
    mask_types: Sequence[str] = (),
    without: Sequence[Ingredient] = (),
) -> MaskStyle:
    """Draw a mask for a face of a split.

    Args:
        rng: the only source of chance.
        split: train, val or test; held-out masks come in the test alone.
        mask_types: types to draw from; none named: all of them.
        without: ingredients of the masks to leave out, for ablations.

    Raises:
        ValueError: a mask type that does not exist, or one with nothing left to draw.
    """
    templates, patterns = _drawable(split, mask_types)
    style = sample_style(rng, templates, patterns)
    for ingredient in without:
        style = _TAKE_AWAY[ingredient](style, templates)
    return style


def _drawable(split: str, mask_types: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names of the templates and patterns that a split may show."""
    kinds = mask_types or tuple(TYPES)
    unknown = [kind for kind in kinds if kind not in TYPES]
    if unknown:
        raise ValueError(f"unknown mask type {unknown[0]!r}; have {', '.join(TYPES)}")
    templates = [name for name, art in TEMPLATES.items() if art.kind in kinds]
    patterns = list(PATTERNS)
    if split != "test":
        templates = [name for name in templates if name not in HELD_OUT_TEMPLATES]
        patterns = [name for name in patterns if name not in HELD_OUT_PATTERNS]
    return templates, patterns


def _without_fit(style: MaskStyle, _: Sequence[str]) -> MaskStyle:
    """Lay the mask on flat: it no longer bends around the face."""
    return dataclasses.replace(style, flat_fit=True)


def _without_light(style: MaskStyle, _: Sequence[str]) -> MaskStyle:
    """Paste the mask on, with nothing of the photo's light, colours, blur and noise."""
    return dataclasses.replace(style, light=0.0, shadow=0.0, softness=0.0, grain=0.0, match=0.0)


def _without_prior(style: MaskStyle, templates: Sequence[str]) -> MaskStyle:
    """Draw template and colour evenly, whatever people wear, all of one cut and one way worn."""
    rng = np.random.default_rng((style.seed, 1))
    usual = MaskStyle()
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return dataclasses.replace(
        style,
        template=str(rng.choice(list(templates))),
        color=(red, green, blue),
        top=usual.top,
        bottom=usual.bottom,
        width=usual.width,
        tilt_deg=usual.tilt_deg,
        shape=usual.shape,
    )


def _without_patterns(style: MaskStyle, _: Sequence[str]) -> MaskStyle:
    """Leave the fabric plain; all else is drawn as it would be with prints."""
    return dataclasses.replace(style, pattern=None)


def _without_colors(style: MaskStyle, _: Sequence[str]) -> MaskStyle:
    """Dye every mask in the blue of surgical ones, without prints."""
    return dataclasses.replace(style, color=(150, 195, 220), pattern=None)


_TAKE_AWAY: dict[Ingredient, Callable[[MaskStyle, Sequence[str]], MaskStyle]] = {
    "fit": _without_fit,
    "light": _without_light,
    "prior": _without_prior,
    "patterns": _without_patterns,
    "colors": _without_colors,
}
