"""What the README says is so: its numbers come from files, its files exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_results_are_those_of_the_run() -> None:
    run = re.search(r"\(reports/runs/([\w-]+)/results\.md\)", README)
    assert run is not None
    table = (ROOT / "reports/runs" / run[1] / "results.md").read_text(encoding="utf-8")
    assert len(table) > 200
    assert table.strip() in README


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


def test_every_flag_in_the_readme_is_a_flag() -> None:
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "masktrain").glob("*.py"))
    code += "\n".join(path.read_text("utf-8") for path in (ROOT / "MaskTheFace").glob("*.py"))
    for flag in set(re.findall(r"masktrain[^`\n]*? --([a-z][\w-]+)", README)):
        assert re.search(rf"\b{flag.replace('-', '_')}\b", code), flag


def test_the_readme_is_120_to_150_lines() -> None:
    assert 120 <= len(README.splitlines()) <= 150
