"""Where numbers and pictures of a run go: results.csv always, TensorBoard, Weights & Biases.

The CSV is the record: if it cannot be written the run stops. The other two are for looking on:
an error there is reported once, that sink is closed, and training goes on.
"""

import csv
import io
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from MaskTheFace.images import write_bytes
from masktrain.metrics import Scores
from masktrain.sinks import Sink, TensorBoardSink, WandbSink

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Tracker:
    """Sends the same numbers, under the same explicit step, to every sink.

    Args:
        run: The run folder; results.csv is kept in it.
        columns: Names of the columns after `epoch`.
        config: Settings of the run, plain values.
        wandb_mode: auto, online, offline or off.
        wandb_project: Project name at W&B.
        wandb_group: Group of the run at W&B.
        keep_through: Rows up to this epoch are kept, later ones (of an epoch that was
            interrupted before its checkpoint) dropped. None starts a new file.
    """

    def __init__(
        self,
        run: Path,
        columns: Sequence[str],
        config: Mapping[str, Any],
        wandb_mode: str = "off",
        wandb_project: str = "masktrain",
        keep_through: int | None = None,
        wandb_group: str | None = None,
    ) -> None:
        self.path = run / "results.csv"
        self.columns = ("epoch", *columns)
        self._best: dict[str, float] = {}
        self._side_px = 0.0
        self._start_csv(keep_through)
        self._sinks: list[Sink] = []
        self._open(lambda: TensorBoardSink(run, config, keep_through))
        if wandb_mode != "off":
            self._open(lambda: WandbSink(run, config, wandb_mode, wandb_project, wandb_group))

    def _start_csv(self, keep_through: int | None) -> None:
        rows = [] if keep_through is None else read_results(self.path)
        kept = [row for row in rows if int(row["epoch"]) <= (keep_through or 0)]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: row.get(key, "") for key in self.columns} for row in kept)
        # Whole or not at all: a full disk, a reason to resume, must not cost the history.
        write_bytes(self.path, text.getvalue().encode())
        for row in kept:
            self._note_best({k: float(v) for k, v in row.items() if v})

    def _note_best(self, metrics: Mapping[str, float]) -> None:
        """Keep the highest AUCs of the epochs on the largest crops; see `best`."""
        if metrics.get("side_px", 0) > self._side_px:
            self._side_px = metrics["side_px"]
            self._best.clear()
        for name, value in metrics.items():
            if name.endswith("auc") and not math.isnan(value):
                self._best[name] = max(value, self._best.get(name, value))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Append one row for epoch `step` and show it; nan is an empty cell.

        Raises:
            OSError: The row cannot be written.
        """
        self._note_best(metrics)
        cells = {k: "" if math.isnan(v) else _shortest(v) for k, v in metrics.items()}
        buffer = io.StringIO()
        csv.DictWriter(buffer, self.columns, lineterminator="\n").writerow({"epoch": step, **cells})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(buffer.getvalue())
            file.flush()
            os.fsync(file.fileno())
        known = {k: v for k, v in metrics.items() if not math.isnan(v)}
        self._each(lambda sink: sink.log(known, step))

    def log_figure(self, name: str, figure: "Figure", step: int) -> None:
        """Show a figure at an epoch."""
        self._each(lambda sink: sink.log_figure(name, figure, step))

    def log_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Show an (H, W, 3) uint8 RGB image at an epoch."""
        self._each(lambda sink: sink.log_image(name, image, step))

    def log_roc(self, name: str, scores: Scores, step: int) -> None:
        """Show ROC and precision-recall curves at an epoch; nothing when a class is missing."""
        if scores.both_classes:
            self._each(lambda sink: sink.log_roc(name, scores, step))

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Show a table."""
        self._each(lambda sink: sink.log_table(name, columns, rows))

    def close(self) -> None:
        """Finish every sink, with the best AUCs as the numbers of the whole run."""
        self._each(lambda sink: sink.close(self._best))
        self._sinks = []

    def _open(self, make: Callable[[], Sink]) -> None:
        try:
            self._sinks.append(make())
        except Exception as error:  # a logging error never stops training
            _warn("not logging there", error)

    def _each(self, act: Callable[[Sink], None]) -> None:
        for sink in list(self._sinks):
            try:
                act(sink)
            except Exception as error:  # a logging error never stops training
                self._sinks.remove(sink)
                _warn(f"{type(sink).__name__} stops here, training goes on", error)


def read_results(path: Path) -> list[dict[str, str]]:
    """Return the whole rows of a results.csv, as text; none when there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if (row.get("epoch") or "").isdigit() and None not in row.values()]


def _shortest(value: float) -> str:
    """Return few digits for people, but enough that no two losses look equal by rounding."""
    return f"{value:.9g}"


def _warn(what: str, error: Exception) -> None:
    first = (str(error) or type(error).__name__).splitlines()[0]
    print(f"warning: {what}: {first}", file=sys.stderr)
