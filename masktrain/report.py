"""Report on runs from their files: ``python -m masktrain.report RUN [RUN ...]``.

Reads results.csv, config.json and scores/*.npz; writes results.png, roc.png, pr.png,
confusion_matrix.png and calibration.png beside them, and results.md from what evaluate left in
eval/. Then writes reports/<run>/report.md, report.html and report.pdf (`report_content`) with the
pictures they show. Plots need neither weights nor torch.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from masktrain.best import best_of, judge_of
from masktrain.config import FULL_PX

# matplotlib and scikit-learn take seconds to import: --help does without them.
if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from masktrain.architecture import Stage
    from masktrain.metrics import Scores
    from masktrain.multiclass import ClassScores

    AnyScores = Scores | ClassScores

History = Mapping[str, NDArray[np.float64]]
SERIES = ("val", "real_val")


class ReportError(ValueError):
    """A run that cannot be drawn; the message names the file and says what to do."""


@dataclass(frozen=True)
class ReportConfig:
    """Draw the plots of finished or unfinished runs into their folders."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folders, such as runs/20261120-101500-masktrain."""
    output: Path = Path("reports")
    """Folder for <run>/report.md, report.html, report.pdf and their pictures."""
    ablations: Path = Path("runs/ablations")
    """Folder with the tables that masktrain.ablate made, for the report to hold."""
    plots_only: bool = False
    """Draw the plots into the run folders and write no report."""


@dataclass(frozen=True, eq=False)
class RunFiles:
    """What a run left behind for its plots."""

    history: History
    """Columns of results.csv, each (E,); nan where an epoch has no value."""
    scores: dict[str, dict[int, AnyScores]]
    """Scores by series (val, real_val), then by epoch, rising."""
    best_epoch: int
    """The epoch whose weights are best.pt; see `best`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 1 when a run could not be drawn, 2 when none is named."""
    config = tyro.cli(ReportConfig, args=argv, prog="python -m masktrain.report")
    if not config.runs:
        print("error: name at least one run folder, as in runs/*", file=sys.stderr)
        return 2
    failed = False
    for run in config.runs:
        try:
            written = write_run_plots(run)
            if not config.plots_only:
                written += write_report(run, config.output / run.resolve().name, config.ablations)
            print("\n".join(str(path) for path in written))
        except (ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
    return int(failed)


def write_run_plots(run: Path) -> list[Path]:
    """Draw every plot the run's files allow and write them into the run folder.

    Args:
        run: a run folder with at least one finished epoch (epoch 0 counts).

    Returns:
        The files written. Two calls on the same files write the same bytes.

    Raises:
        ReportError: this is no run folder, it has no finished epoch, or a file is damaged.
        ContentError: a metrics.json is.
        OSError: a file cannot be read or written.
    """
    from masktrain.figures import save_figure
    from masktrain.results_table import results_table

    figures = run_figures(run)
    written = [save_figure(figure, run / f"{name}.png") for name, figure in figures.items()]
    table = results_table(run)
    (run / "results.md").unlink(missing_ok=True)
    if table:
        (run / "results.md").write_text(table, encoding="utf-8")
        written.append(run / "results.md")
    return written


def run_figures(run: Path) -> dict[str, Figure]:
    """Draw every figure the run's files allow, by name; raises as `write_run_plots`."""
    from masktrain.figures import training_curves

    files = read_run(run)
    figures = {"results": training_curves(files.history)}
    if files.scores:
        figures["roc"] = _draw_fans(files.scores)
        figures |= _draw_best_epoch(files)
    return figures


def write_report(run: Path, folder: Path, ablations: Path) -> list[Path]:
    """Write the report of a run as Markdown, HTML and PDF, with the pictures it shows.

    Args:
        run: a run folder with its plots.
        folder: where the report goes; pictures are copied there.
        ablations: <plan>/ablation.md are taken up from here.

    Returns:
        The three files.

    Raises:
        ContentError: a file of the run is damaged. OSError: a file cannot be read or written.
    """
    from masktrain.document import markdown
    from masktrain.document_html import html_page
    from masktrain.document_pdf import write_pdf
    from masktrain.report_content import content, gathered
    from masktrain.report_pictures import draw_pictures
    from masktrain.run_record import RunRecord

    record = RunRecord(run, ablations)
    folder.mkdir(parents=True, exist_ok=True)
    network = stages(run, record.config)
    pictures = draw_pictures(record, network, folder)
    blocks = gathered(content(record, pictures, network), folder)
    (folder / "report.md").write_text(markdown(blocks, folder), encoding="utf-8")
    (folder / "report.html").write_text(html_page(blocks), encoding="utf-8")
    write_pdf(blocks, folder / "report.pdf")
    return [folder / f"report.{kind}" for kind in ("md", "html", "pdf")]


def stages(run: Path, config: Mapping[str, Any]) -> list[Stage]:
    """Return the stages of a run's network.

    Raises:
        CheckpointError: its weights are damaged.
    """
    from masktrain.architecture import stages_of
    from masktrain.report_pictures import preprocessing_of

    shape = preprocessing_of(run, config)
    return stages_of(str(config["model"]), shape.logits, shape.size_px)


def read_run(run: Path) -> RunFiles:
    """Read what the plots of a run need; raises as `write_run_plots`."""
    select = _chosen_by(run / "config.json")
    history = _read_history(run / "results.csv", judge_of(select))
    scores = {series: _read_scores(run, series) for series in SERIES}
    found = {series: by_epoch for series, by_epoch in scores.items() if by_epoch}
    return RunFiles(history, found, best_epoch(history, select))


def best_epoch(history: History, select: str = "val") -> int:
    """Return the epoch whose weights were kept, by the rule of `best`.

    Args:
        history: columns ``epoch``, ``<judge>/auc``, ``<judge>/loss`` (`best.judge_of`) and, in runs
            that judge epochs on crops of several sizes, ``side_px``, each (E,).
        select: val, real_val or last.
    """
    judge = judge_of(select)
    names = ("epoch", f"{judge}/auc", f"{judge}/loss")
    columns = [history[name].tolist() for name in names]
    if (sides := history.get("side_px")) is not None:
        # Epochs before this was noted were judged at the full size.
        columns.append(np.nan_to_num(sides, nan=FULL_PX).tolist())
    return int(best_of(zip(*columns, strict=True), select).epoch)


def _draw_fans(scores: Mapping[str, Mapping[int, AnyScores]]) -> Figure:
    from masktrain.figures import roc_fan, side_by_side

    figure, panels = side_by_side(len(scores), (6.6, 5.4))
    for ax, (series, by_epoch) in zip(panels, scores.items(), strict=True):
        views = [one.views() for one in by_epoch.values()]
        roc_fan(list(by_epoch), [dict(view)["wearing_mask"] for view in views], ax)
        against = "" if len(views[0]) == 1 else ": wearing_mask against the rest"
        ax.set_title(f"{series}{against}", fontsize=10)
    return figure


def _draw_best_epoch(files: RunFiles) -> dict[str, Figure]:
    """Draw the plots that show one epoch: the best, or the last of a series without it."""
    from masktrain.figures import calibration_figure, confusion_figure, pr_figure, side_by_side
    from masktrain.multiclass import measure

    shown: list[tuple[str, AnyScores]] = []
    for series, by_epoch in files.scores.items():
        epoch = files.best_epoch if files.best_epoch in by_epoch else max(by_epoch)
        shown.append((f"{series}, epoch {epoch}", by_epoch[epoch]))
    confusion, panels = side_by_side(len(shown), (4.8, 4.4))
    for ax, (label, scores) in zip(panels, shown, strict=True):
        confusion_figure(measure(scores), ax, title=label)
    curves = [curve for label, scores in shown for curve in named_views(label, scores)]
    return {
        "pr": pr_figure(curves),
        "confusion_matrix": confusion,
        "calibration": calibration_figure(curves),
    }


def named_views(label: str, scores: AnyScores) -> list[tuple[str, Scores]]:
    """Return scores as curves are drawn of them: of three classes, each against the rest."""
    views = scores.views()
    return [(label if len(views) == 1 else f"{label}, {name}", view) for name, view in views]


def _chosen_by(path: Path) -> str:
    """Return what chose best.pt; val where the run does not say."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("select", "val"))
    except FileNotFoundError:
        return "val"
    except (ValueError, AttributeError) as error:
        raise ReportError(f"{path} is damaged: {error}") from error


def _read_history(path: Path, judge: str) -> History:
    if not path.is_file():
        raise ReportError(f"{path.parent} is not a run folder: it has no {path.name}")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ReportError(f"{path} has no epoch yet: wait until epoch 0 is done")
    try:
        history = {key: np.array([_number(row[key]) for row in rows]) for key in rows[0]}
    except (TypeError, ValueError) as error:
        raise ReportError(f"{path} is damaged: {error}") from error
    missing = [k for k in ("epoch", f"{judge}/auc", f"{judge}/loss") if k not in history]
    if missing:
        raise ReportError(f"{path} is damaged: it has no column {', '.join(missing)}")
    return history


def _number(cell: str) -> float:
    return math.nan if cell == "" else float(cell)


def _read_scores(run: Path, series: str) -> dict[int, AnyScores]:
    by_epoch: dict[int, AnyScores] = {}
    for path in (run / "scores").glob("*.npz"):
        if match := re.fullmatch(rf"{series}_(\d+)", path.stem):
            by_epoch[int(match[1])] = _read_npz(run, series, int(match[1]))
    return dict(sorted(by_epoch.items()))


def _read_npz(run: Path, series: str, epoch: int) -> AnyScores:
    from masktrain.run_folder import read_scores, scores_file

    try:
        return read_scores(run, series, epoch)
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        path = scores_file(run, series, epoch)
        raise ReportError(f"{path} is damaged: remove it to draw the other epochs") from error


if __name__ == "__main__":
    sys.exit(main())
