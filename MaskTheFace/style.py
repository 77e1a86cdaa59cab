"""MaskStyle: every choice about one mask; sample_style draws one from what people wear."""

from __future__ import annotations

import dataclasses
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
    """Length of one repeat, in u."""
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
    tilt_deg: float = 0.0
    """Turn of the mask on the face, degrees, clockwise as the viewer sees it."""
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
    softness: float = 0.3
    """Blur of the mask, in percent of the face width."""
    grain: float = 0.01
    """Noise added to the fabric, standard deviation in units of full scale."""
    flip: bool = False
    """Mirror the art (folds, valve, pattern)."""
    seed: int = 0
    """Picks the folds, the pattern's layout and the grain: which ones, never how many."""

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
        ):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {value}")
        for name in ("width", "pattern_scale"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if self.softness < 0 or self.grain < 0:
            raise ValueError(f"softness and grain must be >= 0, got {self.softness}, {self.grain}")
        for color in (self.color, *self.pattern_colors):
            if color is not None and (
                len(color) != 3 or not all(0 <= part <= 255 for part in color)
            ):
                raise ValueError(f"a colour is three numbers from 0 to 255, got {color}")

    def mirrored(self) -> MaskStyle:
        """Return the style of the mirror image."""
        return dataclasses.replace(self, flip=not self.flip, tilt_deg=-self.tilt_deg)

    def to_json(self) -> str:
        """Return the style on one line, for manifests."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> MaskStyle:
        """Return the style that ``to_json`` wrote."""
        fields = json.loads(text)
        if fields["color"] is not None:
            fields["color"] = tuple(fields["color"])
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
# MFR2
# (the data set published with the original MaskTheFace); the rarer types get wider tails than life.
TYPE_SHARES = {"surgical": 0.38, "cloth": 0.40, "KN95": 0.10, "N95": 0.08, "gas": 0.04}

# Everyday colours by type, (share, colour); what is left is drawn from all colours.
COMMON_COLORS: dict[str, tuple[tuple[float, Rgb], ...]] = {
    "surgical": (
        (0.46, (150, 195, 220)),
        (0.20, (232, 236, 238)),
        (0.10, (130, 200, 185)),
        (0.14, (32, 32, 36)),
    ),
    "cloth": (
        (0.42, (28, 28, 32)),
        (0.12, (88, 90, 96)),
        (0.12, (228, 226, 222)),
        (0.08, (36, 50, 92)),
    ),
    "KN95": ((0.62, (238, 238, 236)), (0.22, (34, 34, 36))),
    "N95": ((0.60, (236, 234, 228)), (0.12, (120, 160, 190)), (0.12, (150, 152, 155))),
    "gas": ((0.50, (48, 50, 54)), (0.20, (120, 122, 125))),
}
PATTERN_SHARES = {"surgical": 0.08, "cloth": 0.34, "KN95": 0.05, "N95": 0.03, "gas": 0.0}


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
    template = _sample_template(rng, templates)
    kind = TEMPLATES[template].kind
    patterned = bool(patterns) and rng.random() < PATTERN_SHARES[kind]
    return MaskStyle(
        template=template,
        color=_sample_color(rng, kind, free=0.8 if patterned else 0.0),
        pattern=str(rng.choice(list(patterns))) if patterned else None,
        pattern_colors=(_any_color(rng), _any_color(rng)),
        pattern_scale=float(np.exp(rng.uniform(np.log(0.12), np.log(0.7)))),
        pattern_weight=float(rng.uniform(0.6, 1.0)),
        top=float(rng.normal(0.0, 0.06)),
        bottom=float(rng.uniform(-0.03, 0.14)),
        width=float(rng.uniform(0.9, 1.06)),
        tilt_deg=float(rng.normal(0.0, 2.0)),
        opacity=float(rng.choice([1.0, rng.uniform(0.9, 1.0)])),
        wrinkles=float(rng.uniform(0.1, 1.0)),
        weave=float(rng.uniform(0.0, 0.7)),
        light=float(rng.uniform(0.35, 1.0)),
        shadow=float(rng.uniform(0.0, 0.6)),
        softness=float(rng.uniform(0.1, 1.3)),
        grain=float(rng.uniform(0.0, 0.016)),
        flip=bool(rng.random() < 0.5),
        seed=int(rng.integers(2**31)),
    )


def _sample_template(rng: np.random.Generator, templates: Sequence[str]) -> str:
    kinds = [kind for kind in TYPE_SHARES if any(name in templates for name in TYPES[kind])]
    if not kinds:
        raise ValueError(f"no drawable template among {list(templates)}; have {list(TEMPLATES)}")
    shares = np.array([TYPE_SHARES[kind] for kind in kinds])
    kind = str(rng.choice(kinds, p=shares / shares.sum()))
    return str(rng.choice([name for name in TYPES[kind] if name in templates]))


def _sample_color(rng: np.random.Generator, kind: str, free: float) -> Rgb:
    """Draw an everyday colour of the type, a little off, or (chance ``free`` or more) any."""
    draw = rng.random()
    if rng.random() >= free:
        for share, color in COMMON_COLORS[kind]:
            draw -= share
            if draw < 0:
                off = rng.normal(0, 9) + rng.normal(0, 5, 3)
                red, green, blue = np.clip(np.array(color) + off, 0, 255).astype(int)
                return int(red), int(green), int(blue)
    return _any_color(rng)


def _any_color(rng: np.random.Generator) -> Rgb:
    """Draw from all colours, greys and muted ones more often than pure ones."""
    value = rng.uniform(20, 250)
    saturation = rng.beta(1.2, 1.6)
    hue = (np.arange(3) / 3 + rng.random()) % 1
    wheel = np.clip(np.abs(hue * 6 - 3) - 1, 0, 1)
    red, green, blue = (value * (1 - saturation * (1 - wheel))).astype(int)
    return int(red), int(green), int(blue)
