"""Many jobs, any number of processes, one result."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from MaskTheFace import jobs
from MaskTheFace.jobs import one_by_one, run_batches, run_journalled
from MaskTheFace.manifest import Journal, ManifestRow


def square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


SQUARES = partial(one_by_one, square)


def fail_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three is too many")
    return number


def test_few_jobs_stay_in_this_process_in_order() -> None:
    done = list(run_batches(SQUARES, [3, 1, 2], workers=4))
    assert done == [(3, (9, os.getpid())), (1, (1, os.getpid())), (2, (4, os.getpid()))]
    assert list(run_batches(SQUARES, [])) == []


def test_processes_share_the_jobs_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK", 2)
    done = list(run_batches(SQUARES, range(9), workers=2))
    assert [(job, result[0]) for job, result in done] == [(n, n**2) for n in range(9)]
    assert os.getpid() not in {result[1] for _, result in done}


def test_batches_come_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK", 1)
    stream = run_batches(partial(one_by_one, fail_at_three), range(6), workers=1)
    assert [next(stream) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    with pytest.raises(ValueError, match="three is too many"):
        next(stream)


def test_an_error_in_a_worker_arrives_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK", 1)
    with pytest.raises(ValueError, match="three is too many"):
        list(run_batches(partial(one_by_one, fail_at_three), range(6), workers=2))


def sizes(batch: Sequence[int]) -> list[tuple[int, int]]:
    return [(number, len(batch)) for number in batch]


def test_batches_are_never_larger_than_a_chunk_and_lose_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "CHUNK", 4)
    done = list(run_batches(sizes, range(10), workers=1))
    assert done == [(n, (n, 4 if n < 8 else 2)) for n in range(10)]
    assert list(run_batches(sizes, [])) == []


@dataclass(frozen=True)
class Named:
    source: str


def write_row(job: Named, folder: Path) -> list[ManifestRow]:
    (folder / job.source).touch()
    return [ManifestRow(path=job.source, source=job.source)]


def test_a_journalled_run_does_only_what_is_missing_and_returns_all_in_order(
    tmp_path: Path,
) -> None:
    work = partial(one_by_one, partial(write_row, folder=tmp_path))
    path = tmp_path / "j.csv"
    names = [Named(name) for name in "dcba"]
    run_journalled(work, names[1:], Journal(path))
    told: list[str] = []
    # Whether the last one arrived whole cannot be known.
    rows = run_journalled(
        work, names, Journal(path), title="names", tell=lambda job, rows: told.append(job.source)
    )
    assert [row.source for row in rows] == list("dcba")
    assert told == ["d", "a"] and path.is_file()
