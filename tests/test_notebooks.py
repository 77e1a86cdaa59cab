"""The notebooks run from top to bottom, with tiny settings, and are kept without outputs."""

import json
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TINY = {
    "LIMIT": 40,
    "MODEL": "mobilenet_v3_small",
    "EPOCHS": 1,
    "SIZE": 64,
    "TENSORBOARD": False,
}


def read(name: str) -> NotebookNode:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the code, in which a notebook may write."""
    for name in ("MaskTheFace", "masktrain"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # Kernels write where they keep their history: not into a home.
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    return tmp_path


def executed(notebook: NotebookNode, folder: Path) -> str:
    """Run a notebook; return all that it printed."""
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute(env=dict(os.environ))
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    return "\n".join(out.get("text", "") for out in outputs)


def test_the_colab_notebook_goes_from_faces_to_a_report(checkout: Path) -> None:
    notebook = read("masktrain_colab")
    (settings,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    for name, value in TINY.items():
        settings.source, count = re.subn(
            rf"^{name} = [^#\n]*", f"{name} = {value!r} ", settings.source, flags=re.MULTILINE
        )
        assert count == 1, name
    text = executed(notebook, checkout)
    assert "error" not in text.lower().replace("calibration error", "")
    (run,) = (checkout / "runs/notebook").iterdir()
    for wanted in ("weights/best.pt", "results.png", "probes/probes.md", "explain", "predictions"):
        assert (run / wanted).exists(), wanted
    assert (checkout / "reports/notebook" / run.name / "report.html").is_file()
    shown = [
        out
        for cell in notebook.cells
        for out in cell.get("outputs", ())
        if "image/png" in out.get("data", {})
    ]
    assert len(shown) == 7


def test_the_first_steps_learn_something(checkout: Path) -> None:
    text = executed(read("first_steps"), checkout)
    first, last = map(float, re.findall(r"loss (\d\.\d+) -> (\d\.\d+)", text)[0])
    assert last < 0.5 * first
    assert re.search(
        r"right on faces it was shown: \d\.\d\d; on new faces and another mask: \d\.\d\d", text
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_short_and_without_outputs(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert 15 <= len(notebook["cells"]) <= 30
    for cell in notebook["cells"]:
        assert len("".join(cell["source"]).splitlines()) <= 18
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            assert not re.search(r"^\s*(def|class) ", "".join(cell["source"]), re.MULTILINE)


def test_there_are_two_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["first_steps", "masktrain_colab"]
