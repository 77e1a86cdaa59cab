"""OccluderStyle: every choice about one thing before a face that is no mask, of known kinds."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass

from MaskTheFace.style import Rgb

SHARES: dict[str, float] = {
    "hand": 0.11,
    "beard": 0.09,
    "hat": 0.09,
    "sunglasses": 0.10,
    "scarf": 0.07,
    "tint": 0.13,
    "shadow": 0.06,
    "hair": 0.05,
    "paint": 0.07,
    "phone": 0.06,
    "cup": 0.06,
    "chin_strap": 0.05,
    "microphone": 0.03,
    "food": 0.03,
}
"""How often each kind is drawn: rare ones more often than they are met, or they are not learnt."""
ASKED_FOR = ("veil", "no_face")
"""Drawn by name only: whether a veil counts as a mask is the user's to decide, and where there is
no face there is no mask."""
OCCLUDERS = (*SHARES, *ASKED_FOR)
BENEATH = frozenset({"beard", "paint"})
"""What is on the skin, and so below a mask; all else is before it."""
LIGHT_ONLY = frozenset({"shadow", "tint"})
"""These hide nothing: they change the light on one side of the picture."""


@dataclass(frozen=True)
class OccluderStyle:
    """What one occluder looks like; style and face together decide every pixel.

    Lengths are in half face widths.
    """

    kind: str = "hand"
    """A name of OCCLUDERS."""
    color: Rgb | None = None
    """RGB 0-255; None is the kind's own (for a hand the skin of the face)."""
    side: int = 1
    """1: on or from the right of the picture; -1: the left."""
    size: float = 1.0
    """Relative to the usual size."""
    dx: float = 0.0
    """How far it sits to the right of its usual place."""
    dy: float = 0.0
    """How far it sits below its usual place."""
    angle_deg: float = 0.0
    """How far it leans."""
    strength: float = 1.0
    """How dense it is, 0 to 1."""
    light: float = 0.6
    """How far it takes the light of the face, 0 to 1."""
    seed: int = 0
    """Picks details: fingers, folds, strands."""

    def __post_init__(self) -> None:
        if self.kind not in OCCLUDERS:
            raise ValueError(f"unknown occluder {self.kind!r}; have {', '.join(OCCLUDERS)}")
        if self.side not in (-1, 1):
            raise ValueError(f"side must be -1 or 1, got {self.side}")
        for name in ("size", "dx", "dy", "angle_deg", "strength", "light"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be a finite number, got {getattr(self, name)}")
        for name in ("strength", "light"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}")
        if self.size <= 0 or self.seed < 0:
            raise ValueError(f"size must be > 0 and seed >= 0, got {self.size}, {self.seed}")

    @property
    def beneath(self) -> bool:
        """Whether a mask goes over it."""
        return self.kind in BENEATH

    def to_json(self) -> str:
        """Return the style on one line, for manifests."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> OccluderStyle:
        """Return the style that ``to_json`` wrote.

        Raises:
            ValueError: a field that this version does not know.
        """
        fields = json.loads(text)
        unknown = fields.keys() - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"unknown fields in an occluder: {', '.join(sorted(unknown))}")
        if fields.get("color") is not None:
            fields["color"] = tuple(fields["color"])
        return cls(**fields)
