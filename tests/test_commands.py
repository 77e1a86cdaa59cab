"""How commands end, and how soon they answer."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from MaskTheFace.commands import Terminated, python, run_command, sigterm_raises

MODULES = (
    "MaskTheFace",
    "masktrain.prepare",
    "masktrain.train",
    "masktrain.evaluate",
    "masktrain.explain",
    "masktrain.predict",
    "masktrain.ablate",
    "masktrain.release",
    "masktrain.report",
    "masktrain.probes",
    "masktrain.compare",
    "masktrain.audit",
)


def be_terminated() -> int:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)
    return 0


def raises(error: BaseException) -> int:
    raise error


def test_sigterm_is_an_exception_inside_and_as_before_outside() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), sigterm_raises():
        be_terminated()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("x.jpg: no face; give another"), 1, "tool: x.jpg: no face; give another\n"),
        (FileNotFoundError(2, "No such file", "x"), 1, "tool: [Errno 2] No such file: 'x'\n"),
        (KeyboardInterrupt(), 130, "tool: stopped; begin again\n"),
        (Terminated(), 143, "tool: stopped; begin again\n"),
    ],
)
def test_each_end_has_its_code_and_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    assert run_command("tool", lambda: raises(error), "begin again") == code
    assert capsys.readouterr() == ("", line)


def test_work_that_succeeds_says_its_own_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("tool", lambda: 3) == 3
    assert run_command("tool", be_terminated) == 143
    assert capsys.readouterr().err == "tool: stopped\n"


def test_an_error_of_the_program_itself_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command("tool", lambda: 1 // 0)


def cpu_s(*words: str) -> float:
    """Return the CPU time of a Python process: a busy machine does not change it much."""

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    times = []
    for _ in range(3):
        before = used()
        subprocess.run([sys.executable, *words], capture_output=True, check=True)
        times.append(used() - before)
    return min(times)


def test_printed_commands_begin_with_this_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = tmp_path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "python").write_text("#!/bin/sh\n")
    (scripts / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert python() == ".venv/bin/python"
    monkeypatch.chdir(scripts)
    assert python() == "./python"
    monkeypatch.chdir("/usr")
    assert python() == str(scripts / "python")
    monkeypatch.setenv("PATH", str(scripts))
    assert python() == "python", "an activated environment"


def test_help_answers_in_half_a_second() -> None:
    # Half a second where the command line's own library takes a twelfth, more on slower machines;
    # on a busy one the ratio was seen to be 5.4, by NumPy and OpenCV.
    limit = max(0.5, 6 * cpu_s("-c", "import tyro"))
    for module in MODULES:
        assert cpu_s("-m", module, "--help") < limit, module
