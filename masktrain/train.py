"""Train a mask classifier: `python -m masktrain.train`. `train` tells the story, top down.

Every epoch ends with a row in results.csv and weights/last.pt; `--resume RUN` goes on from there
and, on a CPU, arrives at the same bits as a run that was never stopped.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from MaskTheFace.commands import Terminated, python, sigterm_raises
from masktrain.best import judge_of
from masktrain.config import PrepareConfig, TrainConfig, parse_train

# torch takes seconds to import: --help does without it.
if TYPE_CHECKING:
    from masktrain.engine import AnyScores
    from masktrain.session import Session
    from masktrain.tracking import Tracker

TRAINING_COLUMNS = (
    *("side_px", "lr", "time_s", "images_per_s"),
    *("train/loss", "train/accuracy", "train/auc"),
)
VAL_COLUMNS = ("val/loss", "val/accuracy", "val/auc")
REAL_COLUMNS = tuple(f"real_val/{x}" for x in ("loss", "accuracy", "balanced_accuracy", "auc"))
NAN = float("nan")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0; 1 on an error, with one line on stderr; 130 after Ctrl-C; 143 after SIGTERM.

    Raises:
        SystemExit: `--help` (0), or a flag that is wrong (2).
    """
    try:
        config = parse_train(argv)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        with sigterm_raises():
            _rehearse(config) if config.dry_run else train(config)
    except KeyboardInterrupt as stop:
        print("stopped", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    except (ValueError, OSError, RuntimeError) as error:
        # When SIGTERM goes to the whole process group, a worker's end may be noticed first.
        if "killed by signal: Terminated" in str(error):
            return 143
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _one_line(error: Exception) -> str:
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return "the GPU has too little memory; try a smaller --batch-size"
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}"
    return (str(error) or type(error).__name__).splitlines()[0]


def _rehearse(config: TrainConfig) -> None:
    from masktrain.dry_run import dry_run

    dry_run(config, data_folder(config))


def train(config: TrainConfig) -> Path:
    """Train, or go on training, and evaluate the best checkpoint on the data's test split.

    Args:
        config: The settings; to continue a run, those that `read_run_config` returns for it,
            with `resume` set.

    Returns:
        The run folder.

    Raises:
        ValueError: Settings, data, weights or a checkpoint that cannot be used.
        NonFiniteError: The loss of a batch, or a score, is nan or infinite.
        OSError: A file of the run cannot be written.
        KeyboardInterrupt: Stopped by hand or by SIGTERM; finished epochs are saved.
    """
    from masktrain.data import stop_workers
    from masktrain.engine import NonFiniteError
    from masktrain.session import describe_session, open_session

    session = open_session(config, data_folder(config))
    print(describe_session(session), flush=True)
    tracker = _open_tracker(session)
    try:
        if session.epoch < 0:
            _evaluate_untrained(session, tracker)
        for epoch in range(session.epoch + 1, config.epochs + 1):
            _one_epoch(session, tracker, epoch)
        _draw_and_test(session, tracker)
    except NonFiniteError:
        raise  # going on with the same settings would end in the same batch
    except BaseException:
        command = f"{python()} -m masktrain.train --resume {session.run}"
        print(f"finished epochs are saved; go on with:\n  {command}", flush=True)
        raise
    finally:
        stop_workers(session.loader)
        tracker.close()
    print(_closing(session), flush=True)
    return session.run


def data_folder(config: TrainConfig) -> Path:
    """Return the prepared data: `data`, or what `faces` has been, or now is, prepared into."""
    from masktrain.run_folder import data_of

    if config.data is not None:
        return config.data
    if config.resume is not None and (kept := data_of(config.resume)) and kept.is_dir():
        # Photos that have come to its source since are none of the run's.
        return kept
    from masktrain.model import Preprocessing, build_model
    from masktrain.prepare import prepare

    if config.init != "none" and not config.dry_run and config.resume is None:
        # Weights that cannot be had are to be known before minutes go into drawing masks.
        build_model(config.model, config.init, Preprocessing.of_classes(config.classes).logits)
    wear = config.classes == 3
    return prepare(PrepareConfig(faces=config.faces, limit=config.limit, wear=wear))


def _open_tracker(session: "Session") -> "Tracker":
    from masktrain.tracking import Tracker

    config = session.config
    real = REAL_COLUMNS if "real_val" in session.evals else ()
    return Tracker(
        session.run,
        (*TRAINING_COLUMNS, *VAL_COLUMNS, *real),
        config.to_dict(),
        config.wandb,
        config.wandb_project,
        keep_through=session.epoch if session.epoch >= 0 else None,
        wandb_group=config.wandb_group,
    )


def _evaluate_untrained(session: "Session", tracker: "Tracker") -> None:
    """Record epoch 0: the AUC of an untrained head; show the first batch of each kind."""
    from MaskTheFace.images import write_image
    from masktrain.pictures import label_sheet, training_batch

    begun = time.perf_counter()
    batch = training_batch(session.loader, session.preprocessing)
    write_image(session.run / "train_batch0.jpg", batch)
    write_image(session.run / "val_batch0_labels.jpg", label_sheet(session.crops["val"]))
    tracker.log_image("train_batch0", batch, step=0)
    _end_epoch(session, tracker, 0, dict.fromkeys(TRAINING_COLUMNS, NAN), begun)


def _one_epoch(session: "Session", tracker: "Tracker", epoch: int) -> None:
    from tqdm.auto import tqdm

    begun = time.perf_counter()
    title = f"epoch {epoch}/{session.config.epochs}"
    batches = tqdm(session.loader, desc=title, unit="batch", leave=False, disable=None)
    done = session.train_epoch(epoch, batches)
    metrics = {"lr": done.lr, "images_per_s": done.images_per_s, **_measures("train", done.scores)}
    _end_epoch(session, tracker, epoch, metrics, begun)


def _end_epoch(
    session: "Session", tracker: "Tracker", epoch: int, metrics: dict[str, float], begun: float
) -> None:
    """Evaluate, log, save, print: in this order, so that a saved epoch has been logged."""
    scores = session.judge_epoch(epoch)
    metrics["side_px"] = session.side_px(epoch)
    for series, found in scores.items():
        metrics |= _measures(series, found)
        views = found.views()
        for name, view in views:
            tracker.log_roc(series if len(views) == 1 else f"{series}/{name}", view, epoch)
    metrics["time_s"] = time.perf_counter() - begun
    tracker.log(metrics, epoch)
    session.save_epoch(epoch, scores)
    print(_epoch_line(session, epoch, metrics), flush=True)


def _measures(series: str, scores: "AnyScores") -> dict[str, float]:
    measures = {"loss": scores.loss, "accuracy": scores.accuracy(), "auc": scores.auc}
    if series == "real_val":
        measures["balanced_accuracy"] = scores.balanced_accuracy()
    return {f"{series}/{name}": value for name, value in measures.items()}


def _epoch_line(session: "Session", epoch: int, metrics: Mapping[str, float]) -> str:
    parts = [f"epoch {epoch:>{len(str(session.config.epochs))}}/{session.config.epochs}"]
    if epoch:
        parts.append(f"lr {metrics['lr']:.2g}")
    for series in ("train", *session.evals) if epoch else session.evals:
        loss, accuracy = metrics[f"{series}/loss"], metrics[f"{series}/accuracy"]
        auc = metrics[f"{series}/auc"]
        parts.append(f"{series} loss {loss:.4f} acc {accuracy:.4f} auc {auc:.4f}")
    speed = f", {metrics['images_per_s']:.0f} images/s" if epoch else ", untrained head"
    return " | ".join([*parts, f"{metrics['time_s']:.0f} s{speed}"])


def _draw_and_test(session: "Session", tracker: "Tracker") -> None:
    """Draw the run and evaluate best.pt on the test split; trouble here is only a warning."""
    try:
        _draw(session, tracker)
        if (session.data / "test").is_dir():
            _test(session)
    except ValueError as error:
        print(f"warning: {error}", file=sys.stderr)


def _draw(session: "Session", tracker: "Tracker") -> None:
    from MaskTheFace.images import write_image
    from masktrain.data import CLASSES
    from masktrain.pictures import prediction_sheet, top_losses
    from masktrain.report import write_run_plots
    from masktrain.run_folder import read_scores

    assert session.best is not None
    write_run_plots(session.run)
    scores = read_scores(session.run, "val", session.best.epoch)
    crops = session.crops["val"]
    worst = top_losses(crops, scores)
    write_image(session.run / "val_batch0_pred.jpg", prediction_sheet(crops, scores))
    write_image(session.run / "top_losses.jpg", worst)
    tracker.log_image("top_losses", worst, step=session.config.epochs)
    rows = [
        (path, CLASSES[label], round(float(chance), 4))
        for path, label, chance in zip(crops.paths, scores.labels, scores.of_label, strict=True)
    ]
    tracker.log_table("val/predictions", ("path", "label", "probability of label"), rows)


def _test(session: "Session") -> None:
    from masktrain.evaluate import EvaluateConfig, describe, evaluate
    from masktrain.evaluation_files import write_result

    found = evaluate(
        EvaluateConfig(
            weights=session.best_weights,
            data=session.data,
            split="test",
            batch_size=session.config.batch_size,
            device=str(session.device),
        )
    )
    write_result(found)
    print(f"\ntest split of {session.data}, epoch {session.best.epoch if session.best else 0}")
    print(describe(found))


def _closing(session: "Session") -> str:
    run, best = session.run, session.best
    assert best is not None
    judge = judge_of(session.config.select)
    chosen = f"epoch {best.epoch}, {judge} AUC {best.auc:.4f}"
    return (
        f"\nbest weights: {session.best_weights} ({chosen})\n"
        f"run folder:   {run}\n"
        "next:\n"
        f"  {python()} -m masktrain.evaluate --weights {run} --data FOLDER\n"
        f"  {python()} -m masktrain.report {run}\n"
        f"  {python()} -m tensorboard.main --logdir {session.config.runs}"
    )


if __name__ == "__main__":
    sys.exit(main())
