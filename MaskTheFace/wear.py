"""Ways to wear a mask, right and wrong, as changes of its style; and what to do about them.

What is asked for and what comes out may differ (a long face keeps its nose out of a mask that
slipped a little, a short one does not): the name, and with it the class, is read off the rendered
mask, in coverage.py.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from MaskTheFace.coverage import WEARING, WEARS, WRONG, WRONGLY, Wear, label_of
from MaskTheFace.style import MaskStyle

ASKED = ("correct", "chin_out", *WRONG, "wrong", "random")
"""What can be asked for: a way; wrong, one of the wrong ways; random, half correct, half wrong."""
SHARES: dict[Wear, float] = {
    "nose_out": 0.66,
    "under_chin": 0.21,
    "one_ear": 0.07,
    "forehead": 0.06,
}
"""How often each wrong way is drawn. Of real mistakes four in five leave the nose out (the classes
of MaskedFace-Net); the others are drawn more often than they come, to be known at all."""
LOOPLESS = frozenset(
    {
        "cloth_tube",
        "cloth_scarf",
        "cloth_bandana",
        "surgical_tied",
        "n95_cup",
        "n95_valve",
        "n95_duckbill",
        "gas_half",
        "gas_full",
    }
)
"""Templates that are tied, pulled on, or held by bands around the head."""
ADVICE: dict[str, str] = {
    "no_mask": "put a mask on",
    "correct": "",
    "chin_out": "pull it down over your chin",
    "nose_out": "pull it up over your nose",
    "under_chin": "pull it up over mouth and nose",
    "one_ear": "put the other loop over your ear",
    "forehead": "pull it down over nose and mouth",
    "wearing_mask": "",
    "worn_incorrectly": "cover nose, mouth and chin",
}
"""What to do, by way of wearing or, where that is not known, by class; empty: nothing."""


def advice(label: str, way: str = "") -> str:
    """Return what to do, for people; empty for a mask worn well.

    Args:
        label: the class: no_mask, wearing_mask or worn_incorrectly.
        way: how the mask is worn, where that is known.

    Raises:
        ValueError: no such class.
    """
    if label not in ("no_mask", WEARING, WRONGLY):
        raise ValueError(f"unknown class {label!r}; have no_mask, {WEARING}, {WRONGLY}")
    # A way of the other class says nothing about this one.
    return ADVICE[way] if way in WEARS and label_of(way) == label else ADVICE[label]


def sample_wear(rng: np.random.Generator, template: str, asked: str = "wrong") -> Wear:
    """Draw how a mask is worn.

    Args:
        rng: the only source of chance.
        template: a name of TEMPLATES; without ear loops nothing hangs from one ear.
        asked: one of ASKED.

    Raises:
        ValueError: nothing of that name can be asked for.
    """
    if asked not in ASKED:
        raise ValueError(f"unknown way to wear a mask {asked!r}; have {', '.join(ASKED)}")
    right, draw = rng.random(2).tolist()
    if asked in WEARS:
        return WEARS[WEARS.index(asked)]
    if asked == "random" and right < 0.5:
        return "correct"
    ways = [way for way in WRONG if way != "one_ear" or template not in LOOPLESS]
    draw *= sum(SHARES[way] for way in ways)
    for way in ways:
        draw -= SHARES[way]
        if draw < 0:
            return way
    return ways[-1]


def worn(style: MaskStyle, way: str, rng: np.random.Generator) -> MaskStyle:
    """Return a style worn another way, slipped and tilted as chance has it.

    Args:
        style: a correctly worn mask.
        way: one of WEARS.
        rng: the only source of chance; the same number of draws for every way.

    Raises:
        ValueError: no such way.
    """
    if way not in WEARS:
        raise ValueError(f"unknown way to wear a mask {way!r}; have {', '.join(WEARS)}")
    draw = rng.random(6).tolist()
    changes = {
        "correct": _correct,
        "chin_out": _chin_out,
        "nose_out": _nose_out,
        "under_chin": _under_chin,
        "one_ear": _one_ear,
        "forehead": _forehead,
    }[way](style, draw)
    return dataclasses.replace(style, **changes)  # type: ignore[arg-type]


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


def _correct(_: MaskStyle, __: list[float]) -> dict[str, float]:
    return {}


def _chin_out(style: MaskStyle, draw: list[float]) -> dict[str, float]:
    """Too small, or pushed up: the lower edge ends on the chin's front."""
    lift = _between(-0.06, 0.02, draw[0])
    return {"top": min(style.top, 0.05), "bottom": _between(-0.42, -0.3, draw[1]), "slip": lift}


def _nose_out(style: MaskStyle, draw: list[float]) -> dict[str, float]:
    """Slipped below the tip of the nose; the chin holds the lower edge, the ears the sides."""
    slip = _between(0.26, 0.46, draw[0]) - style.top
    return {
        "slip": slip,
        "bottom": style.bottom - slip * _between(0.0, 0.7, draw[1]),
        "width": style.width * _between(0.82, 1.0, draw[4]),
        "pinned": _between(0.0, 0.3, draw[2]),
        "hang": min(1.0, 2 * draw[5]),
        "tilt_deg": style.tilt_deg * 1.5,
        "wrinkles": max(style.wrinkles, 0.5 + 0.5 * draw[3]),
    }


def _under_chin(style: MaskStyle, draw: list[float]) -> dict[str, float]:
    """Pulled down: gathered below the mouth and under the jaw."""
    slip = _between(0.55, 0.85, draw[0]) - style.top
    return {
        "slip": slip,
        "bottom": style.bottom - _between(0.2, 0.6, draw[1]),
        "width": style.width * _between(0.72, 0.95, draw[4]),
        "pinned": _between(0.0, 0.4, draw[2]),
        "hang": min(1.0, 1.5 * draw[5]),
        "wrinkles": max(style.wrinkles, 0.6 + 0.4 * draw[3]),
        "opacity": 1.0,
    }


def _one_ear(style: MaskStyle, draw: list[float]) -> dict[str, float]:
    """One loop is off: the mask hangs from the other ear, beside the face."""
    side = 1.0 if draw[0] < 0.5 else -1.0
    return {
        "pivot": side,
        "tilt_deg": -side * _between(48, 80, draw[1]),
        "bottom": style.bottom - _between(0.15, 0.45, draw[2]),
        "width": style.width * _between(0.7, 0.9, draw[3]),
        "wrinkles": max(style.wrinkles, 0.6 + 0.4 * draw[4]),
    }


def _forehead(style: MaskStyle, draw: list[float]) -> dict[str, float]:
    """Pushed up over the eyes or onto the brow."""
    return {
        "slip": -_between(0.55, 1.25, draw[0]) - style.top,
        "bottom": style.bottom - _between(0.2, 0.5, draw[1]),
        "tilt_deg": style.tilt_deg + math.copysign(4 * draw[2], style.tilt_deg),
        "front": 0.0,
    }
