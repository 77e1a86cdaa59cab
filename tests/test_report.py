"""A run's plots come from the run's files alone."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from masktrain import report

PLOTS = {"results.png", "roc.png", "pr.png", "confusion_matrix.png", "calibration.png"}
COLUMNS = ("epoch", "lr", "train/loss", "val/loss", "val/auc", "real_val/loss", "real_val/auc")
ROWS = (
    (0, 0.0, "", 0.70, 0.50, 0.69, 0.48),
    (1, 0.01, 0.5, 0.50, 0.90, 0.60, 0.80),
    (2, 0.001, 0.4, 0.45, 0.90, 0.40, 0.70),
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run folder as training leaves it: three epochs, two series, no weights."""
    folder = tmp_path / "20261120-101500-tiny"
    (folder / "scores").mkdir(parents=True)
    with (folder / "results.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *ROWS])
    (folder / "config.json").write_text(json.dumps({"select": "val"}))
    rng = np.random.default_rng(0)
    for epoch in range(3):
        for series in ("val", "real_val"):
            labels = np.arange(40) % 2
            scores = np.clip(rng.uniform(size=40) + 0.2 * epoch * (labels - 0.5), 0, 1)
            path = folder / "scores" / f"{series}_{epoch:03d}.npz"
            np.savez(path, labels=labels, scores=scores, loss=0.5)
    return folder


def test_every_plot_is_drawn_from_results_and_scores_alone(run: Path) -> None:
    assert {path.name for path in report.write_run_plots(run)} == PLOTS
    assert all((run / name).read_bytes().startswith(b"\x89PNG") for name in PLOTS)


def test_drawing_twice_gives_the_same_bytes(run: Path) -> None:
    first = {path.name: path.read_bytes() for path in report.write_run_plots(run)}
    assert first == {path.name: path.read_bytes() for path in report.write_run_plots(run)}


def test_what_is_read_is_what_was_written(run: Path) -> None:
    files = report.read_run(run)
    assert files.history["val/loss"].tolist() == [0.70, 0.50, 0.45]
    assert np.isnan(files.history["train/loss"][0])
    assert list(files.scores) == ["val", "real_val"]
    assert list(files.scores["val"]) == list(files.scores["real_val"]) == [0, 1, 2]
    with np.load(run / "scores" / "val_001.npz") as arrays:
        assert np.array_equal(files.scores["val"][1].scores, arrays["scores"])


def test_the_best_epoch_is_chosen_by_the_set_that_the_run_named(run: Path) -> None:
    assert report.read_run(run).best_epoch == 2  # epochs 1 and 2 tie; 2 has the lower loss
    (run / "config.json").write_text(json.dumps({"select": "real_val"}))
    assert report.read_run(run).best_epoch == 1


def test_where_no_set_chooses_the_last_epoch_is_drawn(run: Path) -> None:
    (run / "config.json").write_text(json.dumps({"select": "real_val"}))
    assert report.read_run(run).best_epoch != 2
    (run / "config.json").write_text(json.dumps({"select": "last"}))
    assert report.read_run(run).best_epoch == 2


def test_a_run_without_saved_scores_still_gets_its_curves(run: Path) -> None:
    for path in (run / "scores").iterdir():
        path.unlink()
    assert [path.name for path in report.write_run_plots(run)] == ["results.png"]


def test_a_run_of_nothing_but_the_untrained_head_is_drawn(run: Path) -> None:
    with (run / "results.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, ROWS[0]])
    for path in (run / "scores").glob("*_00[12].npz"):
        path.unlink()
    assert {path.name for path in report.write_run_plots(run)} == PLOTS


def test_files_of_other_names_among_the_scores_are_left_alone(run: Path) -> None:
    (run / "scores" / "real_val_notes.npz").write_bytes(b"not scores")
    (run / "scores" / "val_001.npz.tmp").write_bytes(b"half a file")
    assert list(report.read_run(run).scores["val"]) == [0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"no archive"])
def test_a_damaged_scores_file_is_named(run: Path, content: bytes) -> None:
    (run / "scores" / "val_001.npz").write_bytes(content)
    with pytest.raises(report.ReportError, match=r"val_001\.npz is damaged"):
        report.write_run_plots(run)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no epoch yet"),
        ("epoch,val/auc,val/loss\n", "no epoch yet"),
        ("epoch,val/auc,val/loss\n0,half,0.7\n", "damaged"),
        ("epoch,val/auc,val/loss\n0,0.5\n", "damaged"),
        ("epoch,val/loss\n0,0.5\n", "no column val/auc"),
    ],
)
def test_results_that_cannot_be_drawn_are_explained(run: Path, text: str, words: str) -> None:
    (run / "results.csv").write_text(text)
    with pytest.raises(report.ReportError, match=words):
        report.write_run_plots(run)


def test_the_command_draws_good_runs_and_names_bad_ones(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main([str(tmp_path / "nothing"), str(run), "--plots-only"]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "is not a run folder" in captured.err
    assert {Path(line).name for line in captured.out.splitlines()} == PLOTS
    assert report.main([str(run), "--plots-only"]) == 0


def test_the_command_without_a_run_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([]) == 2
    assert "at least one run folder" in capsys.readouterr().err


def test_plots_need_no_torch(run: Path) -> None:
    script = "import sys; from masktrain import report; code = report.main(sys.argv[1:]); "
    script += "sys.exit(code or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, str(run), "--plots-only"], check=False)
    assert done.returncode == 0
