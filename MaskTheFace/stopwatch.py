"""Speed as ratios: works timed between two goes of the floors they are held against.

Convention: times are seconds of this process's processor time for one image, so that what else the
machine does changes little; waiting for a disk is not in them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Work:
    """Something to time: ``run`` does it for ``count`` images, the same ones each time."""

    name: str
    count: int
    run: Callable[[], object]


@dataclass(frozen=True)
class Measured:
    """What the rounds gave for one work.

    Attributes:
        name: the work's.
        seconds: (R,) for one image, in each round.
        ratios: (R, F) time of the work relative to each floor in the same round.
    """

    name: str
    seconds: np.ndarray
    ratios: np.ndarray

    @property
    def rates(self) -> np.ndarray:
        """Images a second, (R,)."""
        return 1 / self.seconds


def measure(works: Sequence[Work], floors: Sequence[Work], rounds: int) -> list[Measured]:
    """Time works, each between two goes of all floors, in several rounds.

    Args:
        works: already warm: whatever is made once for all images was made.
        floors: what the works are relative to, warm too.
        rounds: how often everything is done.

    Returns:
        One Measured for each work, then one for each floor (whose ratios are to the floors' mean
        of the round).
    """
    seconds = np.empty((rounds, len(works)))
    around = np.empty((rounds, len(works) + 1, len(floors)))
    for one_round in range(rounds):
        around[one_round, 0] = [_seconds(floor) for floor in floors]
        for place, work in enumerate(works):
            seconds[one_round, place] = _seconds(work)
            around[one_round, place + 1] = [_seconds(floor) for floor in floors]
    beside = (around[:, 1:] + around[:, :-1]) / 2
    measured = [
        Measured(work.name, seconds[:, place], seconds[:, place, None] / beside[:, place])
        for place, work in enumerate(works)
    ]
    base = around.mean(axis=1)
    return measured + [
        Measured(floor.name, base[:, place], base[:, place, None] / base)
        for place, floor in enumerate(floors)
    ]


def _seconds(work: Work) -> float:
    start = time.process_time()
    work.run()
    # A clock that ticks coarsely must not give infinite rates.
    return max(time.process_time() - start, 1e-7) / work.count
