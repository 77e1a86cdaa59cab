"""Run one function over many jobs in several processes; how many never changes a result."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

from MaskTheFace.manifest import Journal, ManifestRow

Job = TypeVar("Job")
Result = TypeVar("Result")
CHUNK = 32
"""Jobs handed over at once: enough to hide the hand-over and to work on one kind of step at a time,
few enough for a smooth count and for little lost by an interruption."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Sourced(Protocol):
    """A job that knows which input it is about, as manifests name it."""

    @property
    def source(self) -> str:
        """Name of the input; no two jobs share one."""


SourcedJob = TypeVar("SourcedJob", bound=Sourced)


def one_by_one(work: Callable[[Job], Result], jobs: Sequence[Job]) -> list[Result]:
    """Do a batch with a function that takes one job: ``partial(one_by_one, work)``."""
    return [work(job) for job in jobs]


def run_batches(
    work: Callable[[Sequence[Job]], Sequence[Result]], jobs: Sequence[Job], workers: int = 0
) -> Iterator[tuple[Job, Result]]:
    """Yield each job with its result, in the order of the jobs, worked on many at a time.

    Args:
        work: takes up to CHUNK jobs, returns a result for each; a function of a module's top
            level. How jobs are grouped must not change a result.
        jobs: picklable.
        workers: processes; 0 for one a core. One worker, or few jobs, run in this process.
    """
    workers = workers or os.cpu_count() or 1
    few = workers == 1 or len(jobs) <= CHUNK // 2
    # Some batches for each worker, so that none waits long for the last one.
    size = CHUNK if few else min(CHUNK, -(-len(jobs) // (2 * workers)))
    batches = [jobs[start : start + size] for start in range(0, len(jobs), size)]
    if few:
        for batch in batches:
            yield from zip(batch, work(batch), strict=True)
        return
    # Spawned, not forked: a fork of a process with running threads (torch, OpenCV) can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        with _one_thread_each():
            results = pool.map(work, batches)
        for batch, done in zip(batches, results, strict=True):
            yield from zip(batch, done, strict=True)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def run_journalled(
    work: Callable[[Sequence[SourcedJob]], Sequence[list[ManifestRow]]],
    jobs: Sequence[SourcedJob],
    journal: Journal,
    workers: int = 0,
    title: str = "photos",
    tell: Callable[[SourcedJob, list[ManifestRow]], None] | None = None,
) -> list[ManifestRow]:
    """Do what an earlier, interrupted run has not; keep each result on disk as it comes.

    Args:
        work: as for ``run_batches``; a result is the rows of one source.
        jobs: their sources differ.
        journal: left closed, and in place: the caller removes it once all is written.
        workers: as for ``run_batches``.
        title: name of the progress bar.
        tell: called with each job done now and its rows.

    Returns:
        All rows in the order of the jobs, whoever did them.
    """
    from tqdm.auto import tqdm

    done = journal.done
    todo = [job for job in jobs if job.source not in done]
    try:
        results = run_batches(work, todo, workers)
        for job, rows in tqdm(results, total=len(todo), desc=title, disable=None):
            journal.add(rows)
            done[job.source] = rows
            if tell is not None:
                tell(job, rows)
    finally:
        journal.close()
    return [row for job in jobs for row in done[job.source]]


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
