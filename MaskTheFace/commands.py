"""How commands end: with an exit code, one line about what was wrong, and no process left behind.

Exit codes: 0; 1 for an error; 130 after Ctrl-C; 143 after SIGTERM. (2, for a flag that does not
exist, is the command line's own.)
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def python() -> str:
    """Return what a printed command must begin with to run in this environment."""
    if os.path.abspath(shutil.which("python") or "") == sys.executable:
        return "python"
    folder = os.path.abspath(".")
    if not sys.executable.startswith(os.path.join(folder, "")):
        return sys.executable
    return os.path.join(
        os.path.relpath(os.path.dirname(sys.executable)), os.path.basename(sys.executable)
    )


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


def run_command(name: str, work: Callable[[], int], after_stop: str = "") -> int:
    """Do the work of a command and return its exit code.

    Args:
        name: what lines on stderr begin with.
        work: reads its flags, does it, and returns the exit code.
        after_stop: what to do after Ctrl-C; empty where nothing is kept.
    """
    try:
        with sigterm_raises():
            return work()
    except (ValueError, OSError, RuntimeError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"{name}: stopped{after_stop and '; ' + after_stop}", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
