"""One short training of an arm of a plan, from its first weights to its scores on real photos."""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktrain.config import TrainConfig
from masktrain.plans import Arm

# torch takes seconds to import: --help does without it.
if TYPE_CHECKING:
    from masktrain.data import Crops
    from masktrain.engine import AnyScores, TrainingPass
    from masktrain.session import Session
    from masktrain.tracking import Tracker


@dataclass(frozen=True)
class ArmRun:
    """One training: an arm and a seed."""

    arm: Arm
    config: TrainConfig
    """Names the prepared data, the real photos, the seed and the number of epochs."""
    folder: Path
    """Gets scores/ and, when all is done, result.json."""

    @property
    def result(self) -> Path:
        """The file that marks the run as finished."""
        return self.folder / "result.json"

    @property
    def curves(self) -> Path:
        """Folder for what can be looked at while it trains: results.csv, TensorBoard, W&B."""
        return self.config.runs / f"{self.config.wandb_group}-{self.folder.name}"


def run_arm(run: ArmRun) -> ArmRun:
    """Train once and score the real photos after the last epoch: nothing is selected.

    Args:
        run: what to train; `run.config.data` and `run.config.real_val` must be given.

    Returns:
        The same run, whose folder now holds result.json.

    Raises:
        DataError: crops that cannot be used. NonFiniteError: the network computes nan.
        OSError: a result cannot be written.
    """
    from masktrain.engine import collect_scores
    from masktrain.metrics import evaluate_scores
    from masktrain.multiclass import ClassScores
    from masktrain.run_folder import save_scores, write_json

    with _one_thread():
        session = _open(run.config)
        tracker = _open_tracker(run)
        begun = time.perf_counter()
        for epoch in range(1, run.config.epochs + 1):
            _note(tracker, epoch, session.train_epoch(epoch))
        time_s = time.perf_counter() - begun
        loader = session.evals["real_val"]
        scores: AnyScores = collect_scores(session.net, loader, session.device, session.precision)
        tracker.log_roc("real_val", dict(scores.views())["wearing_mask"], run.config.epochs)
        tracker.close()
    if isinstance(scores, ClassScores):
        scores = scores.without_third()
    save_scores(run.folder, "real_val", run.config.epochs, scores)
    record = {
        "arm": run.arm.name,
        "seed": run.config.seed,
        "training_crops": len(session.crops["train"]),
        "time_s": round(time_s, 1),
        **evaluate_scores(scores).to_dict(),
        "environment": _environment(session),
    }
    write_json(run.result, record)
    return run


def _open(config: TrainConfig) -> Session:
    from masktrain.engine import pick_device
    from masktrain.session import build_session, load_training

    assert config.data is not None and config.real_val is not None
    crops = {"train": load_training(config, config.data), "real_val": _real(config.real_val)}
    return build_session(config, config.data, pick_device(config.device), crops)


@functools.lru_cache(maxsize=1)
def _real(folder: Path) -> Crops:
    """Read the photos that judge, once for all runs of a process."""
    from masktrain.data import load_crops

    return load_crops(folder, None)


def _open_tracker(run: ArmRun) -> Tracker:
    from masktrain.tracking import Tracker

    # What a run that was stopped left would show beside the new curves.
    shutil.rmtree(run.curves, ignore_errors=True)
    run.curves.mkdir(parents=True)
    columns = ("lr", "train/loss", "train/accuracy", "train/auc", "images_per_s")
    config = run.config
    return Tracker(
        run.curves,
        columns,
        config.to_dict(),
        config.wandb,
        config.wandb_project,
        wandb_group=config.wandb_group,
    )


def _note(tracker: Tracker, epoch: int, done: TrainingPass) -> None:
    metrics = {"lr": done.lr, "images_per_s": done.images_per_s}
    scores = done.scores
    metrics |= {"train/loss": scores.loss, "train/accuracy": scores.accuracy()}
    tracker.log(metrics | {"train/auc": scores.auc}, epoch)


def _environment(session: Session) -> dict[str, Any]:
    from masktrain.run_folder import describe_environment

    precision = str(session.precision or "float32").removeprefix("torch.")
    return describe_environment(str(session.device), precision)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread, so that the number of runs side by side never changes a result."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
