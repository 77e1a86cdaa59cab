"""Two places to look on while a run goes: TensorBoard and Weights & Biases.

Each is a short sink with the same methods, given the same explicit step; `tracking` calls them
and survives their errors. Both libraries are imported only when a sink is opened.
"""

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from masktrain.metrics import Scores
from masktrain.pictures import figure_pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WANDB_HOST = "api.wandb.ai"
CONNECT_TIMEOUT_S = 2.0


class Sink(Protocol):
    """Somewhere to show a run besides its CSV."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Show numbers of an epoch."""

    def log_figure(self, name: str, figure: "Figure", step: int) -> None:
        """Show a figure."""

    def log_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Show an (H, W, 3) uint8 RGB image."""

    def log_roc(self, name: str, scores: Scores, step: int) -> None:
        """Show the curves of labelled scores of both classes."""

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Show a table, once."""

    def close(self, metrics: Mapping[str, float]) -> None:
        """Write what is pending, and the final numbers of the run."""


class TensorBoardSink:
    """Scalars, curves, pictures and, at the end, the settings with the best AUC."""

    def __init__(self, run: Path, config: Mapping[str, Any], keep_through: int | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Events of an epoch that is done again are hidden from this step on.
        purge = None if keep_through is None else keep_through + 1
        self._writer: Any = SummaryWriter(str(run / "tensorboard"), purge_step=purge)
        # Anything else TensorBoard refuses, a list of restarts, say.
        plain = (int, float, str, bool)
        self._config = {k: v if isinstance(v, plain) else str(v) for k, v in config.items()}

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Write scalars, and let a TensorBoard that watches see them now."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def log_figure(self, name: str, figure: "Figure", step: int) -> None:
        """Write a figure as an image; the writer's own way would need pyplot."""
        self.log_image(name, figure_pixels(figure), step)

    def log_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Write an image."""
        self._writer.add_image(name, image, step, dataformats="HWC")

    def log_roc(self, name: str, scores: Scores, step: int) -> None:
        """Write the precision-recall curve and a figure of the ROC curve."""
        from masktrain.figures import roc_figure

        self._writer.add_pr_curve(f"{name}/pr", scores.labels, scores.scores, step)
        self.log_figure(f"{name}/roc", roc_figure([(f"{name}, epoch {step}", scores)]), step)

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Write a table as text in Markdown."""
        lines = [columns, ["---"] * len(columns), *rows]
        text = "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
        self._writer.add_text(name, text)

    def close(self, metrics: Mapping[str, float]) -> None:
        """Write the settings beside the best numbers; run_name "." keeps them in this run."""
        if metrics:
            best = {f"best/{name}": value for name, value in metrics.items()}
            self._writer.add_hparams(self._config, best, run_name=".")
        self._writer.close()


class WandbSink:
    """The same at Weights & Biases; never logs in, never asks."""

    def __init__(
        self,
        run: Path,
        config: Mapping[str, Any],
        mode: str,
        project: str,
        group: str | None = None,
    ) -> None:
        mode = choose_wandb_mode(mode)
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        self._wandb: Any = wandb
        self._run: Any = wandb.init(
            dir=str(run),
            id="".join(c if c.isalnum() or c in "-_" else "-" for c in run.name),
            name=run.name,
            project=project,
            group=group,
            config=dict(config),
            mode=mode,  # type: ignore[arg-type]
            resume="allow" if mode == "online" else None,
            settings=wandb.Settings(init_timeout=20, console="off", silent=True),
        )
        send = f"offline, send with: wandb sync {Path(self._run.dir).parent}"
        print(f"W&B: {self._run.url or send}", flush=True)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Send scalars."""
        self._run.log(dict(metrics), step=step)

    def log_figure(self, name: str, figure: "Figure", step: int) -> None:
        """Send a figure as an image."""
        self.log_image(name, figure_pixels(figure), step)

    def log_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Send an image."""
        self._run.log({name: self._wandb.Image(image)}, step=step)

    def log_roc(self, name: str, scores: Scores, step: int) -> None:
        """Send W&B's own ROC chart."""
        both = np.stack([1 - scores.scores, scores.scores], axis=1)
        names = ["no_mask", "wearing_mask"]
        # Lists are what its annotations ask for; it turns them into arrays itself.
        labels, shares = scores.labels.tolist(), both.tolist()
        chart = self._wandb.plot.roc_curve(labels, shares, names, classes_to_plot=[1])
        self._run.log({f"{name}/roc": chart}, step=step)

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Send a table."""
        table = self._wandb.Table(columns=list(columns), data=[list(row) for row in rows])
        self._run.log({name: table})

    def close(self, metrics: Mapping[str, float]) -> None:
        """Write the best numbers to the summary and finish."""
        self._run.summary.update({f"best/{name}": value for name, value in metrics.items()})
        self._run.finish()


def choose_wandb_mode(mode: str) -> str:
    """Return online or offline, decided before W&B could ask or wait.

    auto follows WANDB_MODE where it is set; otherwise it is online only when a key is known and
    the server answers a short connection. online without a key becomes offline with a warning.
    """
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE") or mode
    if mode in ("offline", "disabled", "dryrun"):
        return mode
    if not _has_wandb_key():
        if mode == "online":
            print("warning: no W&B key, so offline; set WANDB_API_KEY first", file=sys.stderr)
        return "offline"
    return "online" if mode == "online" or _can_connect(WANDB_HOST) else "offline"


def _has_wandb_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    import netrc

    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(WANDB_HOST) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _can_connect(host: str) -> bool:
    try:
        socket.create_connection((host, 443), timeout=CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True
