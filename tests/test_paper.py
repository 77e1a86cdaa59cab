"""Figures for papers: vectors, text that stays text, the same bytes each time."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest

from masktrain import paper
from masktrain.predictions_file import read_predictions


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run folder as training leaves it, with two epochs of scores."""
    (tmp_path / "scores").mkdir()
    rows = "epoch,lr,train/loss,val/loss,val/auc\n0,,,0.7,0.5\n1,0.01,0.5,0.4,0.9\n"
    (tmp_path / "results.csv").write_text(rows)
    (tmp_path / "config.json").write_text("{}")
    rng = np.random.default_rng(0)
    for epoch in range(2):
        labels = np.arange(60) % 2
        scores = np.clip(rng.uniform(size=60) + epoch * (labels - 0.5), 0, 1)
        np.savez(tmp_path / f"scores/val_{epoch:03d}.npz", labels=labels, scores=scores, loss=0.5)
    return tmp_path


def test_figures_for_papers_are_vectors_with_text_that_stays_text(
    run: Path, tmp_path: Path
) -> None:
    assert paper.main([str(run), "--output", str(tmp_path / "a")]) == 0
    names = {"results", "roc", "pr", "confusion_matrix", "calibration"}
    written = {path.name for path in (tmp_path / "a").iterdir()}
    assert written == {f"{name}.{kind}" for name in names for kind in ("pdf", "svg")}
    svg = (tmp_path / "a/roc.svg").read_text(encoding="utf-8")
    assert "false positive rate</text>" in svg and "STIXGeneral" in svg
    pdf = (tmp_path / "a/roc.pdf").read_bytes()
    assert b"/Type0" in pdf and b"/Type3" not in pdf


@pytest.mark.parametrize("several", [False, True])
def test_evaluations_are_drawn_again_from_their_predictions(
    run: Path, tmp_path: Path, several: bool
) -> None:
    folder = run / "eval" / "street"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    names = ("no_mask", "wearing_mask", "worn_incorrectly")
    rows = ["path,label," + (",".join(names) if several else "score")]
    for place in range(90):
        chances = rng.dirichlet(1 + 4 * np.eye(3)[place % 3]) if several else [rng.uniform()]
        rows.append(f"{place}.jpg,{names[place % 3]}," + ",".join(f"{c:.6f}" for c in chances))
    (folder / "predictions.csv").write_text("\n".join(rows) + "\n")
    (folder / "metrics.json").write_text('{"loss": 0.4, "split": null, "threshold": 0.5}')
    found = read_predictions(folder)
    assert found.scores.shape == ((90, 3) if several else (60,)) and found.loss == 0.4
    words = [str(run), "--formats", "svg", "--output", str(tmp_path / "a")]
    assert paper.main(words) == 0
    for kind in ("roc", "pr", "confusion_matrix"):
        assert (tmp_path / f"a/street_{kind}.svg").stat().st_size > 3000, kind
    assert "street" in (tmp_path / "a/street_roc.svg").read_text(encoding="utf-8")


def test_damaged_predictions_are_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run / "eval" / "street"
    folder.mkdir(parents=True)
    (folder / "predictions.csv").write_text("path,label\na.jpg,no_mask\n")
    (folder / "metrics.json").write_text('{"loss": 0.4}')
    assert paper.main([str(run)]) == 1
    assert "street/predictions.csv cannot be used" in capsys.readouterr().err


def test_figures_for_papers_are_the_same_each_time_and_leave_no_style_behind(
    run: Path, tmp_path: Path
) -> None:
    before = matplotlib.rcParams["font.family"]
    for name in ("a", "b"):
        assert paper.main([str(run), "--output", str(tmp_path / name)]) == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    assert matplotlib.rcParams["font.family"] == before


def test_a_folder_that_is_no_run_is_said_to_be_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert paper.main([str(tmp_path), "--output", str(tmp_path / "out")]) == 1
    assert "is not a run folder" in capsys.readouterr().err
