"""Which epoch's weights a run keeps: one rule for the run itself and for its report.

Late in a run the AUC moves in its fourth place, which says nothing, while the loss still tells how
far scores at the threshold lie on the right side. So of epochs whose AUC is within `TIE` of the
highest so far, the one of lowest loss is kept (reports/LOG.md has the run that taught this). Runs
that begin with small crops choose among the epochs of the largest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

TIE = 0.001
"""Differences in ROC-AUC up to this count as none."""
LAST = "last"
"""What `--select` is where no set chooses: every epoch replaces the one before."""


@dataclass(frozen=True)
class Best:
    """The epoch whose weights are best.pt, and what chose it; nan where there is no number.

    Attributes:
        epoch: counted from 1; 0 is the untrained head.
        auc: on the set that selects.
        loss: on the set that selects, in nats a crop.
        peak_auc: the highest up to the last epoch looked at, of those judged at `side_px`.
        side_px: side of the crops that it was judged on.
    """

    epoch: int
    auc: float
    loss: float
    peak_auc: float
    side_px: float = 0


def judge_of(select: str) -> str:
    """Return the series that is told beside the epoch kept: the one that chose it, or val."""
    return "val" if select == LAST else select


def better_of(
    best: Best | None,
    epoch: int,
    auc: float,
    loss: float,
    side_px: float = 0,
    *,
    select: str = "val",
) -> Best:
    """Return the better of the epoch kept so far and the one just finished.

    Larger crops go first: the network is used at the full size, and its scores on smaller crops
    say little about that. Among epochs judged on crops of one size AUC and loss decide.

    An epoch that is let go does not come back, as its weights are gone: the result may depend on
    the order of the epochs.

    Args:
        best: as an earlier call returned it; None before the first epoch.
        epoch: the one just finished.
        auc: its ROC-AUC on the set that selects; nan where that has one class only.
        loss: its loss there.
        side_px: side of the crops there.
        select: as `--select`; last: the one just finished, whatever its numbers.
    """
    if best is None or select == LAST or side_px > best.side_px:
        return Best(epoch, auc, loss, auc, side_px)
    if side_px < best.side_px:
        return best
    peak = _highest(best.peak_auc, auc)
    if _rank(auc, loss, peak) > _rank(best.auc, best.loss, peak):
        return Best(epoch, auc, loss, peak, best.side_px)
    return replace(best, peak_auc=peak)


def best_of(
    epochs: Iterable[tuple[int, float, float] | tuple[int, float, float, float]],
    select: str = "val",
) -> Best:
    """Return the best of (epoch, AUC, loss) or (epoch, AUC, loss, side), in order of training.

    Args:
        epochs: at least one.
        select: as `--select`.

    Raises:
        ValueError: there is no epoch.
    """
    best: Best | None = None
    for epoch in epochs:
        best = better_of(best, *epoch, select=select)
    if best is None:
        raise ValueError("no epoch to choose from")
    return best


def _highest(one: float, other: float) -> float:
    return max(_number(one, -math.inf), _number(other, -math.inf))


def _rank(auc: float, loss: float, peak: float) -> tuple[float, float]:
    """Return what is compared: the AUC up to a tie with the highest, then the loss."""
    value = _number(auc, -math.inf)
    return (peak if value >= peak - TIE else value, -_number(loss, math.inf))


def _number(value: float, otherwise: float) -> float:
    return otherwise if math.isnan(value) else value
