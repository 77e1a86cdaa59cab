"""What a network of two classes says of masks worn wrongly, which are neither of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from MaskTheFace.coverage import WEARS
from masktrain.metrics import Floats, Interval, json_safe, wilson


@dataclass(frozen=True, eq=False)
class Wrongly:
    """Scores of faces with a mask worn wrongly.

    Args:
        paths: N crops.
        ways: how each wears its mask, one of WEARS; empty where that is not known.
        scores: (N,), the probability of wearing_mask.
        threshold: from which a face counts as masked.
    """

    paths: tuple[str, ...]
    ways: tuple[str, ...]
    scores: Floats
    threshold: float

    def rows(self) -> list[tuple[str, int, Interval, float]]:
        """Return name, faces, share taken for a mask worn well, and median score: all, then each
        way that is known."""
        named = np.array(self.ways)
        groups = {"all": np.ones(len(named), bool)}
        groups |= {way: named == way for way in WEARS if (named == way).any()}
        return [
            (name, int(chosen.sum()), self._taken(chosen), float(np.median(self.scores[chosen])))
            for name, chosen in groups.items()
        ]

    def _taken(self, chosen: np.ndarray) -> Interval:
        return wilson(int((self.scores[chosen] >= self.threshold).sum()), int(chosen.sum()))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that strict JSON accepts, by way of wearing."""
        return {
            name: {"n": n, "said_wearing_mask": json_safe(asdict(taken)), "median_score": median}
            for name, n, taken, median in self.rows()
        }

    def summary(self) -> str:
        """Return the table that a person reads on the screen."""
        head = f"left out {len(self.paths):,} worn_incorrectly: no class; said to wear a mask:"
        lines = [f"  {name:14}{taken} of {n:,}" for name, n, taken, _ in self.rows()]
        return "\n".join([head, *lines])


def rows_of(wrongly: Wrongly | None) -> Sequence[tuple[str, float]]:
    """Return path and score of each face; none where there are no such faces."""
    if wrongly is None:
        return []
    return list(zip(wrongly.paths, wrongly.scores.tolist(), strict=True))
