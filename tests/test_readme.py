"""What the README says is so: its numbers come from files, its files exist."""

import functools
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_results_are_those_of_the_run() -> None:
    run = re.search(r"\(reports/runs/([\w-]+)/results\.md\)", README)
    assert run is not None
    table = (ROOT / "reports/runs" / run[1] / "results.md").read_text(encoding="utf-8")
    assert len(table) > 200
    assert table.split("\n\n")[0] in README


def test_pictures_and_named_modules_exist() -> None:
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / picture).is_file(), picture
    tree = README.split("## What is where")[1].split("```")[1]
    package = ROOT
    for line in tree.splitlines():
        folder = re.match(r"(\w+)/", line)
        package = ROOT / folder[1] if folder else package
        assert package.is_dir()
        for name in re.findall(r"\b(\w+\.py)\b", line):
            assert (package / name).is_file(), f"{package.name}/{name}"


def commands() -> list[list[str]]:
    """Return the words of every command of the README that starts one of its modules."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [
        shlex.split(line, comments=True)[2:]
        for line in lines
        if re.match(r"python -m (masktrain|MaskTheFace)", line)
    ]


def test_every_command_of_the_readme_has_the_flags_it_is_given() -> None:
    assert len(commands()) >= 20
    help_of = functools.cache(_help)
    for module, *words in commands():
        for word in words:
            if word.startswith("--"):
                flag = word.replace("_", "-")  # either way is understood
                assert re.search(rf"{flag}\b(?!-)", help_of(module)), f"{module} {word}"


def _help(module: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_readme_is_120_to_150_lines() -> None:
    assert 120 <= len(README.splitlines()) <= 150
