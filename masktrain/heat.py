"""Where the heat of an explanation lies: how much of it inside a region, against chance.

Convention: a heat map is (S, S), 0 or more, on the pixels of the network's input; a region is
(S, S) in 0..1 on the same pixels, 1 where a pixel is wholly inside: the alpha of a mask, a disc.
Heat is taken for mass: it is scaled to sum to 1, and its share inside a region is the sum of heat
times region. Heat spread evenly has a share as large as the region's area, which is chance. A map
without any heat has no share (nan here, null in JSON); such maps are counted, not averaged.

The share of the energy inside a box is the energy-based pointing game of Wang et al., Score-CAM,
CVPR Workshops 2020 (arXiv:1910.01279); here the box is the exact outline of what was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from masktrain.metrics import RESAMPLES, Floats, Interval

DISC_RADIUS = 0.12
"""Radius of the discs on nose, mouth and chin, in widths of the face: four times that of
`MaskTheFace.coverage`, and still the three do not meet on an upright face."""
DISCS = ("nose", "mouth", "chin")
MASK = "mask"
REGIONS = (MASK, *DISCS)


def as_mass(evidence: NDArray[Any]) -> Floats:
    """Return the positive part of an attribution, scaled to sum to 1; all zero where there is none.

    Args:
        evidence: (H, W), positive where a pixel speaks for what was said.

    Raises:
        ValueError: it is no map, or holds nan or infinity.
    """
    values = np.asarray(evidence, dtype=np.float64)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"a heat map must be (H, W), got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("a heat map must be finite, got nan or infinity")
    heat = np.maximum(values, 0)
    peak = heat.max()
    # Scaled by the peak first: a sum of the smallest numbers there are has no inverse.
    heat = heat / peak if peak > 0 else heat
    return heat / heat.sum() if peak > 0 else heat


def share_inside(mass: Floats, region: NDArray[Any]) -> float:
    """Return how much of a map's heat lies inside a region, 0..1; nan of a map without heat.

    Args:
        mass: (H, W), as `as_mass` returns it.
        region: (H, W) in 0..1.

    Raises:
        ValueError: they are not of one shape.
    """
    if mass.shape != region.shape:
        raise ValueError(f"heat {mass.shape} and region {region.shape} must be of one shape")
    if not mass.any():
        return math.nan
    return min(1.0, float(np.sum(mass * region)))


def disc(centre_xy: NDArray[Any], radius_px: float, side_px: int) -> Floats:
    """Return a disc as a region, (S, S) of 0 and 1; what lies beyond the border is cut off."""
    x, y = (float(value) for value in centre_xy)
    at = np.arange(side_px, dtype=np.float64)
    return ((at[None, :] - x) ** 2 + (at[:, None] - y) ** 2 <= radius_px**2).astype(np.float64)


def face_discs(xy: NDArray[Any], width_px: float, side_px: int) -> dict[str, Floats]:
    """Return discs on the tip of the nose (30), the mouth (mean of 48-67) and the chin (8).

    Args:
        xy: (68, 2), pixels of the picture of this side.
        width_px: width of the face in it.
        side_px: side of the picture.
    """
    centres = (xy[30], xy[48:68].mean(axis=0), xy[8])
    radius_px = DISC_RADIUS * width_px
    return {
        name: disc(centre, radius_px, side_px) for name, centre in zip(DISCS, centres, strict=True)
    }


@dataclass(frozen=True)
class Focus:
    """How much heat lies inside a region, over some faces.

    Attributes:
        n: faces whose map has heat.
        blank: faces whose map has none; they are in no other number.
        heat: mean share of heat inside, with its 95 % interval.
        area: mean share of the picture that the region takes up: what chance would give.
        times: heat / area, 1 is chance, with its 95 % interval. It cannot exceed 1 / area.
    """

    n: int
    blank: int
    heat: Interval
    area: float
    times: Interval


def focus(shares: NDArray[Any], areas: NDArray[Any]) -> Focus:
    """Return the mean share, and how many times chance it is, with bootstrap intervals.

    Faces are resampled, each with its own area (percentile, seeded: the same faces give the same
    limits). One face alone has no limits.

    Args:
        shares: (N,) share of heat inside the region; nan of maps without heat.
        areas: (N,) share of the picture that the region takes up.

    Raises:
        ValueError: unequal lengths.
    """
    shares, areas = np.asarray(shares, np.float64), np.asarray(areas, np.float64)
    if shares.shape != areas.shape or shares.ndim != 1:
        raise ValueError(f"one area a share is needed, got {shares.shape} and {areas.shape}")
    known = np.isfinite(shares)
    inside, area = shares[known], areas[known]
    count = int(known.sum())
    heat, times = _estimates(inside, area)
    return Focus(
        n=count,
        blank=len(shares) - count,
        heat=heat,
        area=float(area.mean()) if count else math.nan,
        times=times,
    )


def _estimates(inside: Floats, area: Floats) -> tuple[Interval, Interval]:
    if not inside.size:
        return Interval(math.nan, math.nan, math.nan), Interval(math.nan, math.nan, math.nan)
    values = _mean_and_times(inside, area)
    if inside.size < 2 or not np.isfinite(values).all():
        heat, times = (Interval(float(value), math.nan, math.nan) for value in values)
        return heat, times
    limits = bootstrap(
        (inside, area),
        _mean_and_times,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    heat, times = (
        Interval(*map(float, row)) for row in zip(values, limits.low, limits.high, strict=True)
    )
    return heat, times


def _mean_and_times(inside: Floats, area: Floats, axis: int = -1) -> Floats:
    """Return (2, ...): the mean share, and the same over the mean area; nan without any area."""
    mean, chance = inside.mean(axis=axis), area.mean(axis=axis)
    times = np.divide(mean, chance, out=np.full_like(mean, math.nan), where=chance > 0)
    return np.stack([mean, times])


@dataclass(frozen=True)
class FaceHeat:
    """One explained face.

    Attributes:
        path: of the crop, relative to the data folder.
        label: its true class, a place in `multiclass.CLASSES`; said: the network's answer.
        score: probability of what was said.
        template: the mask's art; wear: how it is worn; empty where there is no mask or none known.
        facts: what else is known of it, by name, as evaluation slices by.
        areas: share of the picture that each region takes up; empty where no region is known.
        shares: by method, share of heat inside each region.
    """

    path: str
    label: int
    said: int
    score: float
    template: str = ""
    wear: str = ""
    areas: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def right(self) -> bool:
        """Whether the network said the true class."""
        return self.said == self.label
