"""MaskStyle: every choice about one mask; sample_style draws one from what people wear."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from MaskTheFace.patterns import PATTERNS
from MaskTheFace.templates import TEMPLATES, TYPES

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class MaskStyle:
    """What one mask looks like and how it sits; style and face together decide every pixel.

    Lengths are shares of the face: ``v`` runs from the bridge of the nose (0) to the chin (1),
    ``u`` from the middle (0) to the edge of the jaw (1); see geometry.py.
    """

    template: str = "surgical_pleated"
    """The mask's art; a name of TEMPLATES, or any name where overlay_mask is given a template."""
    color: Rgb | None = None
    """Dye of the fabric, RGB 0-255; None keeps the template's own colour."""
    color_weight: float = 1.0
    """0 keeps the template's own colour, 1 replaces it."""
    pattern: str | None = None
    """A name of PATTERNS, or any name where the tile is given to overlay_mask."""
    pattern_colors: tuple[Rgb, Rgb] = ((30, 30, 30), (220, 220, 220))
    """Second and third colour of a drawn pattern."""
    pattern_scale: float = 0.25
    """Length of one repeat, in u; drawn prints come in steps of a fifth of an octave."""
    pattern_weight: float = 1.0
    """0 hides the pattern, 1 prints it solid."""
    top: float = 0.0
    """How far the upper edge sits below its usual place, in v."""
    bottom: float = 0.0
    """How far the lower edge sits below its usual place, in v."""
    width: float = 1.0
    """Reach towards the ears; 1 is the template's own."""
    slip: float = 0.0
    """How far the whole mask has slid down, in v; 0 is worn correctly."""
    pinned: float = 0.0
    """How far the sides stay at the ears while the mask slides, 0 to 1."""
    hang: float = 0.0
    """How far fabric that slid keeps its form, hanging, instead of following the jaw, 0 to 1."""
    tilt_deg: float = 0.0
    """Turn of the mask on the face, degrees, clockwise as the viewer sees it."""
    pivot: float = 0.0
    """What it turns about, in u: 0 is the middle of the face, -1 and 1 the ears."""
    opacity: float = 1.0
    """1 hides the face; thin fabric lets some of it through."""
    wrinkles: float = 0.5
    """Strength of folds and creases, 0 to 1."""
    weave: float = 0.3
    """Strength of the fabric's grain, 0 to 1."""
    light: float = 0.7
    """How far the mask takes the light of the face, 0 to 1."""
    shadow: float = 0.35
    """Darkness of the shadow under the mask's edge, 0 to 1."""
    softness: float = 0.1
    """Blur of the mask beyond the photo's own, in percent of the face width."""
    grain: float = 0.0
    """Noise on the fabric beyond the photo's own, standard deviation in units of full scale."""
    match: float = 1.0
    """How far blur, noise, colour cast, contrast and greyness of the photo are taken over, 0..1."""
    front: float = 0.0
    """How far dark hair and glasses at the mask's upper sides stay in front of it, 0 to 1."""
    dirt: float = 0.0
    """Strength of stains, 0 to 1."""
    trim: Rgb | None = None
    """Colour of straps, valves and bindings; None keeps their own."""
    shape: float = 0.0
    """How far the cut differs from the template's, standard deviation in u and v."""
    flat_fit: bool = False
    """Fit one homography instead of following jaw, cheeks and nose: for comparison."""
    flip: bool = False
    """Mirror the art (folds, valve, pattern)."""
    seed: int = 0
    """Picks cut, folds, stains, the pattern's layout and the noise: which ones, never how many."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value}")
        if self.seed < 0:
            raise ValueError(f"seed must be >= 0, got {self.seed}")
        for name in (
            "color_weight",
            "pattern_weight",
            "opacity",
            "wrinkles",
            "weave",
            "light",
            "shadow",
            "match",
            "front",
            "dirt",
            "pinned",
            "hang",
        ):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {value}")
        for name in ("width", "pattern_scale"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        for name in ("softness", "grain", "shape"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        for color in (self.color, self.trim, *self.pattern_colors):
            if color is not None and (
                len(color) != 3 or not all(0 <= part <= 255 for part in color)
            ):
                raise ValueError(f"a colour is three numbers from 0 to 255, got {color}")

    def mirrored(self) -> MaskStyle:
        """Return the style of the mirror image."""
        return dataclasses.replace(
            self, flip=not self.flip, tilt_deg=-self.tilt_deg, pivot=-self.pivot
        )

    def to_json(self) -> str:
        """Return the style on one line, for manifests."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> MaskStyle:
        """Return the style that ``to_json`` wrote, now or when styles had fewer fields.

        Raises:
            ValueError: a field that this version does not know.
        """
        # Before masks were matched to the photo, none was.
        fields = {"match": 0.0, **json.loads(text)}
        unknown = fields.keys() - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"unknown fields in a mask style: {', '.join(sorted(unknown))}")
        for name in ("color", "trim"):
            if fields.get(name) is not None:
                fields[name] = tuple(fields[name])
        fields["pattern_colors"] = tuple(tuple(color) for color in fields["pattern_colors"])
        return cls(**fields)


def parse_color(text: str) -> Rgb:
    """Return (r, g, b) from ``#rrggbb``.

    Raises:
        ValueError: any other form.
    """
    digits = text.removeprefix("#")
    if len(digits) != 6 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
        raise ValueError(f"a colour looks like #1e90ff, got {text!r}")
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


# Shares of what people wear. Cloth and surgical follow the 49 % and 42 % among the real masks of
# MFR2 (the data set published with the original MaskTheFace); the rarer types get wider tails than
# life.
TYPE_SHARES = {"surgical": 0.38, "cloth": 0.42, "KN95": 0.09, "N95": 0.08, "gas": 0.03}
RARE_TEMPLATES = {
    "gas_full": 0.3,
    "cloth_scarf": 0.5,
    "cloth_tube": 0.7,
    "cloth_sport": 0.6,
    "cloth_vents": 0.4,
}
"""Weights of templates within their type; 1 for the others."""

# Everyday colours by type, (share, colour); what is left is drawn from all colours, warm ones
# above all: a mask of about the colour of skin is the one that is easily missed.
COMMON_COLORS: dict[str, tuple[tuple[float, Rgb], ...]] = {
    "surgical": (
        (0.30, (156, 198, 222)),
        (0.20, (232, 236, 238)),
        (0.09, (130, 200, 185)),
        (0.10, (32, 32, 36)),
        (0.06, (236, 190, 198)),
        (0.08, (238, 214, 150)),
    ),
    "cloth": (
        (0.34, (28, 28, 32)),
        (0.11, (88, 90, 96)),
        (0.10, (228, 226, 222)),
        (0.05, (36, 50, 92)),
        (0.05, (160, 28, 44)),
    ),
    "KN95": ((0.58, (238, 238, 236)), (0.20, (34, 34, 36))),
    "N95": ((0.55, (236, 234, 228)), (0.12, (120, 160, 190)), (0.12, (150, 152, 155))),
    "gas": ((0.50, (48, 50, 54)), (0.20, (120, 122, 125))),
}
SKIN_COLORS: tuple[Rgb, ...] = ((238, 202, 178), (216, 168, 140), (180, 126, 98), (120, 78, 58))
"""Beige and brown cloth; skin comes in about the same colours."""
PATTERN_SHARES = {"surgical": 0.10, "cloth": 0.38, "KN95": 0.06, "N95": 0.04, "gas": 0.0}


READ = ("lettering", "slogan")
"""Prints that are never drawn mirrored."""


def sample_style(
    rng: np.random.Generator,
    templates: Sequence[str] = tuple(TEMPLATES),
    patterns: Sequence[str] = tuple(PATTERNS),
) -> MaskStyle:
    """Draw a correctly worn mask from what people wear, with tails wider than life.

    Args:
        rng: the only source of chance.
        templates: names to draw from; types keep their shares among them.
        patterns: names to draw from; empty for none.

    Returns:
        A style that overlay_mask turns into pixels without further chance.
    """
    # Two calls for all numbers: a call costs more than the numbers.
    share = _Draws(rng.random(48).tolist())
    normal = _Draws(rng.standard_normal(8).tolist())
    template = _sample_template(share, tuple(templates))
    kind = TEMPLATES[template].kind
    patterned = share() < PATTERN_SHARES[kind] and bool(patterns)
    pattern = patterns[int(share() * len(patterns))] if patterned else None
    return MaskStyle(
        template=template,
        color=_sample_color(share, normal, kind, free=0.8 if patterned else 0.0),
        pattern=pattern,
        pattern_colors=(_any_color(share), _any_color(share)),
        pattern_scale=0.12 * 7.5 ** share(),
        pattern_weight=0.6 + 0.4 * share(),
        top=min(0.02 + 0.07 * normal(), 0.16),
        bottom=-0.06 + 0.16 * share(),
        width=0.88 + 0.2 * share(),
        tilt_deg=2.5 * normal(),
        opacity=0.9 + 0.2 * min(share(), 0.5),
        wrinkles=share() ** 0.7,
        weave=0.7 * share(),
        light=0.5 + 0.5 * share(),
        shadow=0.7 * share(),
        softness=0.9 * share() ** 2,
        grain=0.008 * share(),
        match=0.7 + 0.3 * share(),
        front=max(0.0, 2 * share() - 1),
        dirt=max(0.0, 3 * share() - 2.4),
        trim=_any_color(share) if share() < 0.3 else None,
        shape=0.05 * share(),
        flip=share() < 0.5 and pattern not in READ,
        seed=int(share() * 2**31),
    )


class _Draws:
    """Numbers drawn beforehand, handed out one by one."""

    def __init__(self, numbers: list[float]) -> None:
        self.next = iter(numbers).__next__

    def __call__(self) -> float:
        return self.next()


@functools.lru_cache(maxsize=64)
def _template_shares(templates: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """Return (name, cumulative share): types keep their shares, rare templates are rarer."""
    groups = {
        kind: [name for name in TYPES[kind] if name in templates]
        for kind in TYPE_SHARES
        if any(name in templates for name in TYPES[kind])
    }
    if not groups:
        raise ValueError(f"no drawable template among {list(templates)}; have {list(TEMPLATES)}")
    whole = sum(TYPE_SHARES[kind] for kind in groups)
    so_far, shares = 0.0, []
    for kind, names in groups.items():
        weights = [RARE_TEMPLATES.get(name, 1.0) for name in names]
        for name, weight in zip(names, weights, strict=True):
            so_far += TYPE_SHARES[kind] / whole * weight / sum(weights)
            shares.append((name, so_far))
    return tuple(shares)


def _sample_template(share: _Draws, templates: tuple[str, ...]) -> str:
    shares = _template_shares(templates)
    draw = share()
    return next((name for name, up_to in shares if draw < up_to), shares[-1][0])


def _sample_color(share: _Draws, normal: _Draws, kind: str, free: float) -> Rgb:
    """Draw an everyday colour of the type, a little off, or (chance ``free`` or more) any."""
    draw = share()
    if share() >= free:
        for part, color in COMMON_COLORS[kind]:
            draw -= part
            if draw < 0:
                all_off = 10 * normal()
                red, green, blue = (_byte(part + all_off + 7 * normal()) for part in color)
                return red, green, blue
    return _any_color(share)


def _any_color(share: _Draws) -> Rgb:
    """Draw from all colours, greys and muted ones more often than pure ones, warm hues most."""
    draw, value, strong, turn = share(), share(), share(), share()
    if draw < 0.2:
        base = SKIN_COLORS[int(turn * len(SKIN_COLORS))]
        red, green, blue = (_byte(part * (0.8 + 0.3 * value)) for part in base)
        return red, _byte(green * (0.94 + 0.1 * strong)), blue
    hue = 0.16 * turn - 0.05 if draw < 0.5 else turn
    bright, saturation = 20 + 230 * value, strong**1.3
    wheel = (min(max(abs((hue + third) % 1 * 6 - 3) - 1, 0.0), 1.0) for third in (0, 1 / 3, 2 / 3))
    red, green, blue = (_byte(bright * (1 - saturation * (1 - part))) for part in wheel)
    return red, green, blue


def _byte(value: float) -> int:
    return int(min(max(value, 0.0), 255.0))
