"""What a run holds while it trains: data, network, optimiser, and how all of it is saved.

`open_session` makes it, new or from weights/last.pt. Between two epochs last.pt is everything:
the order of crops, augmentation and dropout of an epoch come from (seed, epoch) alone.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from MaskTheFace.images import write_bytes
from masktrain.augment import eval_transform, train_transform
from masktrain.best import Best, better_of, judge_of
from masktrain.config import SETTINGS, TrainConfig, read_run_config
from masktrain.data import (
    CLASSES,
    LEFT_OUT,
    Crops,
    DataError,
    EpochSampler,
    Item,
    count_images,
    eval_loader,
    load_crops,
    train_loader,
    with_ways,
)
from masktrain.engine import (
    AnyScores,
    Loader,
    Precision,
    Schedule,
    TrainingPass,
    collect_scores,
    make_optimizer,
    pick_device,
    pick_precision,
    restarted_schedule,
    train_one_epoch,
)
from masktrain.model import (
    CheckpointError,
    Preprocessing,
    build_model,
    load_checkpoint,
    save_checkpoint,
)
from masktrain.online import load_occluded, load_online
from masktrain.run_folder import (
    describe_environment,
    new_run,
    note_resume,
    save_scores,
    set_aside,
    write_json,
)
from masktrain.slices import sources_of

THRESHOLD, THRESHOLD_FROM = 0.5, "fixed"


@dataclass
class Session:
    """A run in progress. `epoch` is the last finished one; -1 before the first evaluation."""

    config: TrainConfig
    data: Path
    run: Path
    device: torch.device
    precision: Precision
    preprocessing: Preprocessing
    crops: dict[str, Crops]
    """Crops by series: train, val and, where there is one, real_val."""
    loader: DataLoader[Item]
    evals: dict[str, DataLoader[Item]]
    """Loaders by series, without train."""
    net: nn.Module
    optimizer: Optimizer
    scaler: torch.amp.GradScaler | None
    schedule: Schedule
    epoch: int = -1
    best: Best | None = None

    @property
    def last(self) -> Path:
        """Checkpoint of the last finished epoch."""
        return self.run / "weights" / "last.pt"

    @property
    def best_weights(self) -> Path:
        """Checkpoint of the epoch kept: the best on the set that selects, or the last."""
        return self.run / "weights" / "best.pt"

    def train_epoch(self, epoch: int, batches: Loader | None = None) -> TrainingPass:
        """Train on every crop once.

        Args:
            epoch: Counted from 1; it decides the order, the augmentation and the dropout.
            batches: The loader, wrapped to show progress.

        Raises:
            NonFiniteError: The loss of a batch is nan or infinite.
        """
        # Dropout, too, depends on the epoch alone and not on how the run got there.
        torch.manual_seed(self.config.seed * 1_000_003 + epoch)
        assert isinstance(self.loader.sampler, EpochSampler)
        self.loader.sampler.epoch = epoch
        return train_one_epoch(
            self.net,
            self.loader if batches is None else batches,
            self.optimizer,
            self.schedule,
            self.device,
            self.precision,
            scaler=self.scaler,
            epoch=epoch,
            first_step=(epoch - 1) * len(self.loader),
            side_px=self.side_px(epoch),
        )

    def side_px(self, epoch: int) -> int:
        """Return the side of the crops on which an epoch is trained and judged."""
        return self.config.side_px(epoch, self.preprocessing.size_px)

    def judge_epoch(self, epoch: int) -> dict[str, AnyScores]:
        """Return what the network says about every set that is looked at, by series."""
        return {
            series: collect_scores(
                self.net, loader, self.device, self.precision, self.side_px(epoch)
            )
            for series, loader in self.evals.items()
        }

    def save_epoch(self, epoch: int, scores: dict[str, AnyScores]) -> None:
        """Save the scores of a finished epoch, best.pt if it is the best, and last.pt.

        last.pt comes last: whatever is interrupted before it is done again from the one before.

        Raises:
            CheckpointError: A checkpoint cannot be written; the ones from before are kept.
        """
        for series, found in scores.items():
            save_scores(self.run, series, epoch, found)
        select = self.config.select
        judge = scores[judge_of(select)]
        self.epoch = epoch
        self.best = better_of(
            self.best, epoch, judge.auc, judge.loss, self.side_px(epoch), select=select
        )
        if self.best.epoch == epoch:
            save_checkpoint(self.best_weights, self._weights())
        self.save_last()

    def save_last(self) -> None:
        """Write last.pt: the weights and all that going on needs."""
        more = {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "best": asdict(self.best) if self.best else None,
            "data_digest": _digest(self.crops),
        }
        save_checkpoint(self.last, self._weights() | more)

    def _weights(self) -> dict[str, Any]:
        return {
            "model": self.net.state_dict(),
            "arch": self.config.model,
            "preprocessing": self.preprocessing.to_dict(),
            "threshold": THRESHOLD,
            "threshold_from": THRESHOLD_FROM,
            "epoch": self.epoch,
            "config": self.config.to_dict(),
        }

    def restore(self) -> None:
        """Take everything from last.pt.

        Raises:
            CheckpointError: There is no last.pt, or it is damaged.
            DataError: The crops are not those that the run was trained on.
        """
        saved = load_checkpoint(self.last)
        if saved.get("data_digest") != _digest(self.crops):
            raise DataError(f"{self.data} has changed since {self.run} began: start a new run")
        try:
            self.net.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            if self.scaler and saved["scaler"]:
                self.scaler.load_state_dict(saved["scaler"])
            self.epoch = saved["epoch"]
            best = saved["best"]
            # What earlier versions did not note: the highest AUC; all was judged at the full size.
            older = {"peak_auc": best["auc"], "side_px": self.preprocessing.size_px} if best else {}
            self.best = Best(**{**older, **best}) if best else None
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(f"{self.last} does not fit the settings of its run") from error


def open_session(config: TrainConfig, data: Path) -> Session:
    """Load data and network and make the run folder, or restore the run `config.resume`.

    Raises:
        DataError, ModelError, CheckpointError, ValueError: Something that cannot be used.
        OSError: The run folder cannot be made.
    """
    device = pick_device(config.device)
    session = build_session(config, data, device, load_data(config, data))
    precision = str(session.precision or torch.float32).removeprefix("torch.")
    environment = describe_environment(_device_name(device), precision)
    if config.resume is None:
        session.run = new_run(config, environment)
        write_json(session.run / "data.json", _describe_data(session))
        if (data / SETTINGS).is_file():
            write_bytes(session.run / SETTINGS, (data / SETTINGS).read_bytes())
        session.save_last()
    else:
        session.run = config.resume
        session.restore()
        _write_more_epochs(session)
        note_resume(session.run, environment)
    return session


def _write_more_epochs(session: Session) -> None:
    """Let a run that is done and is to go on keep its new settings; raises ValueError.

    What was found out about its weights so far is set aside: others may take their place.
    """
    before = read_run_config(session.run)
    if session.config.epochs == before.epochs:
        return
    if session.epoch < before.epochs:
        raise ValueError(
            f"{session.run} has done {max(session.epoch, 0)} of its {before.epochs} epochs: "
            "resume it without --epochs first"
        )
    set_aside(session.run, before.epochs)
    write_json(session.run / "config.json", session.config.to_dict())


def load_data(config: TrainConfig, data: Path) -> dict[str, Crops]:
    """Return the crops that training looks at, by series.

    Raises:
        DataError: A folder or a class is missing or unreadable.
    """
    labels = range(config.classes)
    crops = {"train": load_training(config, data), "val": load_crops(data, "val", labels=labels)}
    if config.real_val is not None:
        # Real photos of masks worn wrongly are rare: without them the other classes are judged.
        third = bool(count_images(config.real_val / LEFT_OUT))
        crops["real_val"] = load_crops(config.real_val, None, labels=labels if third else (0, 1))
    return crops


def load_training(config: TrainConfig, data: Path) -> Crops:
    """Return the crops that the network learns from; raises as `load_data`."""
    if config.masks == "online":
        return load_online(data, config.classes, config.occluders, config.veils)
    crops = load_crops(data, "train", labels=range(config.classes))
    if config.classes > 2:
        crops = with_ways(crops)
    if config.occluders or config.veils != "left_out":
        return load_occluded(data, crops, config.occluders, config.veils)
    return crops


def build_session(
    config: TrainConfig, data: Path, device: torch.device, crops: dict[str, Crops]
) -> Session:
    """Return a session with fresh weights that has no run folder yet and has written nothing."""
    preprocessing = Preprocessing.of_classes(config.classes)
    precision = pick_precision(config.amp, device)
    torch.manual_seed(config.seed)
    torch.backends.cudnn.benchmark = True  # crops have few sizes: let cuDNN choose for each once
    init = "none" if config.resume else config.init
    net = build_model(config.model, init, preprocessing.logits)
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    size, workers = config.batch_size, config.workers
    plain = eval_transform(preprocessing)
    transform = train_transform(preprocessing, config.min_scale) if config.augment else plain
    loader = train_loader(crops["train"], transform, size, config.seed, workers)
    steps = len(loader)
    return Session(
        config=replace(config, resume=None),
        data=data,
        run=Path(),
        device=device,
        precision=precision,
        preprocessing=preprocessing,
        crops=crops,
        loader=loader,
        # A crop takes 0.2 ms to prepare and 10 ms of CPU to score: workers would not repay.
        evals={name: eval_loader(crops[name], plain, size) for name in crops if name != "train"},
        net=net,
        optimizer=make_optimizer(net, config, device),
        scaler=torch.amp.GradScaler(device.type) if precision is torch.float16 else None,
        schedule=restarted_schedule(
            config.lr, config.epochs, config.restarts, steps, round(config.warmup_epochs * steps)
        ),
    )


def _describe_data(session: Session) -> dict[str, Any]:
    """Return what the run learns from and is judged on, for its report."""
    crops = {
        series: {
            name: int((found.labels == label).sum())
            for label, name in enumerate(CLASSES[: session.config.classes])
        }
        for series, found in session.crops.items()
    }
    bare = session.crops["train"]
    paths = [path for path, label in zip(bare.paths, bare.labels, strict=True) if label == 0]
    return {
        "data": session.data.as_posix(),
        "crops": crops,
        "sources": sources_of(session.data, paths),
    }


def describe_session(session: Session) -> str:
    """Return what a person wants to know before it starts."""
    config = session.config
    precision = str(session.precision or torch.float32).removeprefix("torch.")
    lines = [
        f"run {session.run}",
        f"{config.model} from {_weights_name(config.init)}, {_device_name(session.device)}, "
        f"{precision}, batch {config.batch_size}, {config.epochs} epochs",
    ]
    for series, crops in session.crops.items():
        found = np.bincount(crops.labels, minlength=config.classes)
        counts = ", ".join(f"{n:,} {name}" for n, name in zip(found, CLASSES, strict=False))
        lines.append(f"{series}: {counts}{_left(crops)}")
    if session.epoch >= 0:
        lines.append(f"going on after epoch {session.epoch}")
    return "\n".join(lines)


def _weights_name(init: str) -> str:
    return {"imagenet": "ImageNet weights", "none": "random weights"}.get(init, init)


def _left(crops: Crops) -> str:
    left = f"; {crops.left_out:,} worn_incorrectly left out" if crops.left_out else ""
    if not crops.skipped:
        return left
    return f"{left}; {len(crops.skipped):,} skipped, first: {crops.skipped[0][1]}"


def _device_name(device: torch.device) -> str:
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"


def _digest(crops: dict[str, Crops]) -> int:
    digest = 0
    for found in crops.values():
        digest = found.digest(digest)
    return digest
