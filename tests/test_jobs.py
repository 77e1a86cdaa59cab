"""Many jobs, any number of processes, one result."""

import os
import signal
import time

import pytest

from MaskTheFace import jobs
from MaskTheFace.jobs import Terminated, run_jobs, sigterm_raises


def square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def fail_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three is too many")
    return number


def test_few_jobs_stay_in_this_process_in_order() -> None:
    done = list(run_jobs(square, [3, 1, 2], workers=4))
    assert done == [(3, (9, os.getpid())), (1, (1, os.getpid())), (2, (4, os.getpid()))]
    assert list(run_jobs(square, [])) == []


def test_processes_share_the_jobs_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK", 2)
    done = list(run_jobs(square, range(9), workers=2))
    assert [(job, result[0]) for job, result in done] == [(n, n**2) for n in range(9)]
    assert os.getpid() not in {result[1] for _, result in done}


def test_jobs_come_one_by_one() -> None:
    stream = run_jobs(fail_at_three, range(6), workers=1)
    assert [next(stream) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    with pytest.raises(ValueError, match="three is too many"):
        next(stream)


def test_an_error_in_a_worker_arrives_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK", 1)
    with pytest.raises(ValueError, match="three is too many"):
        list(run_jobs(fail_at_three, range(6), workers=2))


def be_terminated() -> None:
    with sigterm_raises():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)


def test_sigterm_is_an_exception_inside_and_as_before_outside() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated):
        be_terminated()
    assert signal.getsignal(signal.SIGTERM) is before
