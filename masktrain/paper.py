"""The figures of a run as vector files: ``python -m masktrain.figures RUN --style paper``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from MaskTheFace.commands import run_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = {
    "font.family": "serif",
    "font.serif": ["STIXGeneral", "DejaVu Serif"],
    "mathtext.fontset": "stix",
    "font.size": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "masktrain",
}
"""Type 42 keeps text as text: journals refuse the other kind, and it can be searched."""
STYLES: dict[str, dict[Any, Any]] = {"screen": {}, "paper": PAPER}


@dataclass(frozen=True)
class FiguresConfig:
    """Write the figures of a run as vector files, for papers and slides."""

    run: Annotated[Path, tyro.conf.Positional]
    """A run folder with its results.csv and scores/."""
    style: Literal["paper", "screen"] = "paper"
    """paper: serifs, thin lines, text that stays text. screen: as in the run folder."""
    formats: tuple[Literal["pdf", "svg", "png"], ...] = ("pdf", "svg")
    """Kinds of files to write."""
    output: Path | None = None
    """Folder to write; by default <run>/figures."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return an exit code of `MaskTheFace.commands`."""
    return run_command("figures", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    config = tyro.cli(FiguresConfig, args=argv, prog="python -m masktrain.figures")
    for path in write_figures(config):
        print(path)
    return 0


def write_figures(config: FiguresConfig) -> list[Path]:
    """Draw a run's figures in a style and write them; the same run gives the same bytes.

    To those of training come, of each evaluation, ROC, PR and counts, drawn from predictions.csv.

    Raises:
        ReportError: this is no run folder, or a file is damaged.
        PredictionsError: a predictions.csv is. OSError: a file cannot be written.
    """
    from matplotlib import rc_context

    from masktrain.report import run_figures

    folder = config.output or config.run / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with rc_context(STYLES[config.style]):
        for name, figure in (run_figures(config.run) | evaluation_figures(config.run)).items():
            for kind in config.formats:
                written.append(folder / f"{name}.{kind}")
                # Neither date nor version: they would make other bytes of the same figure.
                dateless = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
                plain = dateless.get(kind, {"Software": None})
                figure.savefig(written[-1], format=kind, metadata=plain, dpi=200)
    return written


def evaluation_figures(run: Path) -> dict[str, Figure]:
    """Draw ROC, PR and counts of each evaluation of a run, by the name of its faces.

    Bands take each face for itself: prepared data, whose people come twice, get none here.
    """
    from masktrain.figures import confusion_figure, pr_figure, roc_figure
    from masktrain.multiclass import measure
    from masktrain.predictions_file import read_predictions
    from masktrain.report import named_views
    from masktrain.resampling import pr_band, roc_band

    found: dict[str, Figure] = {}
    for path in sorted(run.glob("eval/*/metrics.json")):  # the last file of an evaluation
        label, scores = path.parent.name, read_predictions(path.parent)
        record = json.loads(path.read_text("utf-8"))
        curves = named_views(label, scores)
        alone = [record.get("split") is None and view.both_classes for _, view in curves]
        for kind, draw, band in (("roc", roc_figure, roc_band), ("pr", pr_figure, pr_band)):
            bands = [band(view) if one else None for (_, view), one in zip(curves, alone)]
            found[f"{label}_{kind}"] = draw(curves, bands=bands)
        threshold = record.get("threshold", 0.5)
        found[f"{label}_confusion_matrix"] = confusion_figure(measure(scores, threshold))
    return found
