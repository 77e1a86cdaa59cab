"""Run one function over many jobs in several processes; how many never changes a result."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
CHUNK = 16
"""Jobs handed over at once: large enough to hide the hand-over, small enough for a smooth count."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Terminated(KeyboardInterrupt):
    """SIGTERM: stop as for Ctrl-C, with exit code 143 instead of 130."""


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that worker processes are ended and files closed."""

    def stop(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_jobs(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int = 0
) -> Iterator[tuple[Job, Result]]:
    """Yield each job with its result, in the order of the jobs.

    Args:
        work: a function of a module's top level; it must not depend on earlier calls.
        jobs: picklable.
        workers: processes; 0 for one a core. One worker, or few jobs, run in this process.
    """
    workers = workers or os.cpu_count() or 1
    if workers == 1 or len(jobs) <= CHUNK:
        yield from ((job, work(job)) for job in jobs)
        return
    # Spawned, not forked: a fork of a process with running threads (torch, OpenCV) can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        with _one_thread_each():
            results = pool.map(work, jobs, chunksize=CHUNK)
        yield from zip(jobs, results, strict=True)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes started here keep their matrix libraries to one thread: cores are taken."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker() -> None:
    import cv2

    cv2.setNumThreads(1)
    # Ctrl-C is the parent's to answer: it stops the pool and says how to go on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
