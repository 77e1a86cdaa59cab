"""The settings of preparing and of training, each one flat frozen dataclass.

The same object is the command line, `config.json`, the checkpoint's record and the W&B config.
This module imports neither torch nor anything heavy, so that `--help` answers at once.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

Architecture = Literal[
    "resnet50",
    "resnet18",
    "mobilenet_v2",
    "mobilenet_v2_128",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
]
Amp = Literal["auto", "off", "bf16", "fp16"]
WandbMode = Literal["auto", "online", "offline", "off"]
Ingredient = Literal["fit", "light", "prior", "patterns", "colors"]

FULL_PX = 112
"""Side of the crops as networks see them, once trained."""
SETTINGS = "prepare.json"
"""What prepared data keeps of its settings, and each run of its data's."""

# What may differ between a run and its continuation: where it runs, never what it computes.
RESUME_MAY_CHANGE = frozenset({"resume", "device", "workers", "wandb", "dry_run"})
# What more epochs than were planned may change besides: how the new ones are trained and chosen.
MORE_MAY_CHANGE = frozenset({"epochs", "restarts", "lr", "occluders", "select"})


def _require(ok: bool, name: str, rule: str, value: object) -> None:
    """Raise ValueError("lr must be > 0, got -0.1") unless `ok`."""
    if not ok:
        raise ValueError(f"{name} must be {rule}, got {value}")


@dataclass(frozen=True)
class PrepareConfig:
    """Turn photos of bare faces into a labelled, leak-checked data set of masked and bare crops."""

    faces: str = "demo"
    """Where bare faces come from: demo (drawn by the embedded face model), lfw, or a folder."""
    output: Path | None = None
    """Folder to write; by default data/<name taken from --faces>."""
    limit: int = 0
    """Use at most this many faces; 0: all there are (demo: 2000)."""
    seed: int = 0
    """Seed of the split and of every mask."""
    aligned: Literal["auto", "yes", "no"] = "auto"
    """Are the photos tight face crops already? auto: looked at and decided photo by photo."""
    mask_types: tuple[str, ...] = ()
    """Mask types to draw (surgical, N95, KN95, cloth, gas); none named: all of them."""
    without: tuple[Ingredient, ...] = ()
    """Ingredients of the masks to leave out, to learn what each is worth (see plans.py)."""
    wear: bool = False
    """Also draw every face with its mask worn wrongly, for a third class: worn_incorrectly/."""
    val_share: float = 0.1
    """Share of the identities that goes to validation."""
    test_share: float = 0.1
    """Share of the identities that goes to the test."""
    crop_px: int = 128
    """Side of the stored square crops, in pixels."""
    quality: int = 95
    """JPEG quality of the stored crops, 1 to 100; the same for both classes."""
    workers: int = 0
    """Processes that draw masks; 0: one for each core. Never changes a byte of the result."""

    def __post_init__(self) -> None:
        """Check every value; raise ValueError naming the field, the rule and the value."""
        _require(bool(self.faces), "faces", "demo, lfw or a folder", repr(self.faces))
        _require(self.limit >= 0, "limit", ">= 0", self.limit)
        _require(self.seed >= 0, "seed", ">= 0", self.seed)
        _require(0 <= self.val_share < 1, "val_share", "in [0, 1)", self.val_share)
        _require(0 <= self.test_share < 1, "test_share", "in [0, 1)", self.test_share)
        both = self.val_share + self.test_share
        _require(both < 1, "val_share + test_share", "< 1", both)
        _require(32 <= self.crop_px <= 1024, "crop_px", "in 32..1024", self.crop_px)
        _require(1 <= self.quality <= 100, "quality", "in 1..100", self.quality)
        _require(self.workers >= 0, "workers", ">= 0", self.workers)


@dataclass(frozen=True)
class TrainConfig:
    """Train a mask classifier on bare faces and their masked twins; the defaults are the recipe."""

    # What to learn from
    preset: Literal["full", "quick"] = "full"
    """full: the recipe. quick: a first result on 2 cores, in 5 minutes if they know bf16, in 40 if
    not. Other flags override it."""
    faces: str = "demo"
    """Bare faces to prepare when --data is not given: demo, lfw, or a folder of photos."""
    data: Path | None = None
    """A prepared folder (train/, val/, test/ with no_mask/ and wearing_mask/ in each)."""
    real_val: Path | None = None
    """A folder of real crops (no_mask/ and wearing_mask/) evaluated each epoch as real_val/*."""
    limit: int = 0
    """Prepare at most this many faces; 0: all. Unused with --data."""
    masks: Literal["files", "online"] = "files"
    """files: the masks that prepare drew. online: new ones every epoch, drawn by the workers."""

    occluders: float = 0.0
    """Share of training faces, bare and masked alike, with a hand, scarf ... before them; beards
    and paint, which lie beneath masks, with --masks online only."""
    veils: Literal["left_out", "no_mask", "wearing_mask"] = "left_out"
    """Whether a veil that leaves the eyes free counts as a mask; a few are drawn for that class."""
    classes: Literal[2, 3] = 2
    """3: worn_incorrectly is a class of its own, and it is learnt how a mask is worn, to say what
    to do about it; prepare with --wear. 2: one logit."""

    # Where results go
    name: str = "masktrain"
    """Name of the run; its folder is <runs>/<date>-<time>-<name>."""
    runs: Path = Path("runs")
    """Folder that holds the run folders."""

    # Model
    model: Architecture = "resnet50"
    """Network, from torchvision; mobilenet_v2_128 has 128 units and dropout 0.5 before the last,
    shufflenet_v2_x0_5 fits into 0.7 MB."""
    init: str = "imagenet"
    """First weights: imagenet (fetched from torchvision), none (random), a checkpoint file, or the
    name of weights in reports/weights."""

    # Recipe
    epochs: int = 50
    """Passes over the training crops."""
    batch_size: int = 64
    """Crops in one step."""
    lr: float = 0.01
    """Highest learning rate, reached after the warm-up; a cosine brings it to 0."""
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """sgd is with Nesterov momentum; adam and adamw want a smaller --lr, such as 0.001."""
    momentum: float = 0.9
    """Momentum of sgd; beta 1 of adam and adamw."""
    weight_decay: float = 5e-4
    """Weight decay of convolutions and the head; norms and biases get none."""
    warmup_epochs: float = 3.0
    """Epochs over which the learning rate climbs from near 0."""
    restarts: tuple[int, ...] = ()
    """Epochs after which the learning rate falls from --lr anew (Loshchilov & Hutter 2017), from
    then on on crops at the full size. `--resume RUN --epochs MORE` adds the last one of the run."""
    first_px: int = FULL_PX
    """Side of the crops in the first half of the run; from there it grows, and the last fifth is
    trained, judged and chosen from at 112. Smaller is faster: a crop of 64 costs a third."""
    min_scale: float = 0.6
    """Smallest share of a crop's area that augmentation keeps, so that the mask stays in view."""
    augment: bool = True
    """Flip, frame, light, blur ... the training crops by chance; off: for ablations."""
    select: Literal["val", "real_val", "last"] = "val"
    """Whose ROC-AUC, then loss, chooses best.pt; real_val needs --real-val; last: nobody's, the
    last epoch is kept."""

    # Machine
    device: str = "auto"
    """auto (cuda if there is one), cpu, cuda, cuda:1, mps ..."""
    amp: Amp = "auto"
    """Mixed precision. auto: bf16 where the device has it, fp16 on older GPUs, else off."""
    workers: int = 2
    """Processes that augment crops; 0: none besides training. Never changes a result."""
    seed: int = 0
    """Seed of the weights, the order of the crops and the augmentation."""

    # Records
    wandb: WandbMode = "auto"
    """Weights & Biases. auto: online with a key and a network, else offline. Never asks."""
    wandb_project: str = "masktrain"
    """Project name at Weights & Biases."""
    wandb_group: str | None = None
    """Group of the run at Weights & Biases."""

    # Actions
    resume: Path | None = None
    """A run folder to continue; its own settings are used, so nothing else need be given. More
    --epochs than it had begin a restart, with --lr and --occluders if you like."""
    dry_run: bool = False
    """Only count the data, save one augmented batch as a picture and estimate the time."""

    def __post_init__(self) -> None:
        """Check every value; raise ValueError naming the field, the rule and the value."""
        self._check_data_and_model()
        _require(self.epochs >= 1, "epochs", ">= 1", self.epochs)
        _require(self.batch_size >= 2, "batch_size", ">= 2", self.batch_size)
        _require(0 < self.lr < float("inf"), "lr", "> 0", self.lr)
        _require(0 <= self.momentum < 1, "momentum", "in [0, 1)", self.momentum)
        _require(self.weight_decay >= 0, "weight_decay", ">= 0", self.weight_decay)
        _require(self.warmup_epochs >= 0, "warmup_epochs", ">= 0", self.warmup_epochs)
        rising = [0, *self.restarts, self.epochs]
        _require(
            all(before < after for before, after in pairwise(rising)),
            "restarts",
            f"rising epochs from 1 to {self.epochs - 1}",
            self.restarts,
        )
        _require(
            self.first_px in range(32, FULL_PX + 1, 16), "first_px", "32, 48 ... 112", self.first_px
        )
        _require(0 < self.min_scale <= 1, "min_scale", "in (0, 1]", self.min_scale)
        _require(self.workers >= 0, "workers", ">= 0", self.workers)
        _require(self.seed >= 0, "seed", ">= 0", self.seed)

    def _check_data_and_model(self) -> None:
        _require(bool(self.faces), "faces", "demo, lfw or a folder", repr(self.faces))
        _require(bool(self.init), "init", "imagenet, none or a checkpoint", repr(self.init))
        _require(self.limit >= 0, "limit", ">= 0", self.limit)
        _require(0 <= self.occluders <= 1, "occluders", "in [0, 1]", self.occluders)
        plain = (
            bool(self.name) and not self.name.startswith(".") and not set(self.name) & set("/\\")
        )
        _require(plain, "name", "a plain folder name", repr(self.name))
        if self.select == "real_val" and self.real_val is None:
            raise ValueError("--select real_val needs --real-val DIR")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, ready for JSON and for a checkpoint."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: _plain(value) for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Return the settings that `to_dict` wrote; unknown names are left out."""
        known = {field.name for field in fields(cls)} & values.keys()
        kept = {name: values[name] for name in known}
        for name in ("data", "real_val", "runs", "resume"):
            if kept.get(name) is not None:
                kept[name] = Path(kept[name])
        if "restarts" in kept:
            kept["restarts"] = tuple(kept["restarts"])
        return cls(**kept)

    def side_px(self, epoch: int, full_px: int = FULL_PX) -> int:
        """Return the side of the crops in an epoch: `training_px`, and full after a restart."""
        first, *_ = (*self.restarts, self.epochs)
        return full_px if epoch > first else training_px(epoch, first, self.first_px, full_px)


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return value.as_posix() if isinstance(value, Path) else value


def training_px(epoch: int, epochs: int, first_px: int, full_px: int) -> int:
    """Return the side of the crops in an epoch: progressive resizing.

    Small until half of the epochs are begun, full in the last fifth, growing in between by steps
    of 16 (the networks halve the side five times). An epoch is judged at its own side, as a
    network is far worse at others (Touvron et al. 2019, arXiv:1906.06423); only those at the
    largest side are chosen from.

    Args:
        epoch: Counted from 1; 0 before training.
        epochs: Of the whole run.
        first_px: Side at the beginning.
        full_px: Side at the end, at which the network is used.
    """
    if 5 * (epochs - epoch) < epochs:
        return full_px
    steps = (full_px - first_px) // 16
    past_half = max(0, 10 * (epoch - 1) - 5 * epochs)
    return first_px + 16 * min(steps, steps * past_half // (3 * epochs))


def full() -> TrainConfig:
    """Return the course recipe: ResNet-50 from ImageNet, 50 epochs, batch 64, lr 0.01.

    Meant for a GPU (not measured yet); 2 CPU cores with bf16 train 40 images/s.

    `python -m masktrain.train`
    """
    return TrainConfig()


def quick() -> TrainConfig:
    """Return a first result on 2 cores without GPU or network: ResNet-50 from random weights.

    About 5 minutes with bf16 (39 s an epoch of 1,280 crops), val AUC about .99 on the demo faces.

    `python -m masktrain.train --preset quick`
    """
    return TrainConfig(
        preset="quick",
        limit=800,
        init="none",
        epochs=6,
        batch_size=32,
        optimizer="adamw",
        lr=0.001,
        weight_decay=0.02,
        warmup_epochs=1.0,
        workers=0,
    )


PRESETS = {"full": full, "quick": quick}


def parse_train(argv: Sequence[str] | None = None) -> TrainConfig:
    """Read TrainConfig from a command line; flags override the preset, or the resumed run.

    Args:
        argv: Arguments without the program name; None reads the real ones.

    Raises:
        ValueError: A value is out of its range, or `--resume` names no run or is given
            a setting that the run has fixed.
        SystemExit: `--help`, or a flag that does not exist (exit code 2).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    run = _value_of("--resume", words)
    if run is not None:
        return _parse_resume(words, Path(run))
    preset = PRESETS.get(_value_of("--preset", words) or "full", full)
    return _parse(TrainConfig, words, preset(), "masktrain.train")


def parse_prepare(argv: Sequence[str] | None = None) -> PrepareConfig:
    """Read PrepareConfig from a command line; raises as `parse_train`."""
    words = list(sys.argv[1:] if argv is None else argv)
    return _parse(PrepareConfig, words, PrepareConfig(), "masktrain.prepare")


def read_run_config(run: Path) -> TrainConfig:
    """Return the settings of a run folder, read from its config.json.

    Raises:
        ValueError: The folder has no readable config.json.
    """
    try:
        return TrainConfig.from_dict(json.loads((run / "config.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{run} is not a run folder with a good config.json: {error}") from error


def _parse_resume(words: list[str], run: Path) -> TrainConfig:
    saved = replace(read_run_config(run), resume=run)
    config = _parse(TrainConfig, words, saved, "masktrain.train")
    may_change = RESUME_MAY_CHANGE
    if config.epochs > saved.epochs:
        config = replace(config, restarts=(*saved.restarts, saved.epochs))
        may_change |= MORE_MAY_CHANGE
    for field in fields(TrainConfig):
        before, now = getattr(saved, field.name), getattr(config, field.name)
        if before != now and field.name not in may_change:
            flag = "--" + field.name.replace("_", "-")
            raise ValueError(
                f"{flag} is fixed for {run} ({before}), got {now}; leave it out, or start a new run"
            )
    return config


def _value_of(flag: str, words: list[str]) -> str | None:
    """Return the value of `--flag value` or `--flag=value`, None when it is not there."""
    for index, word in enumerate(words):
        if word == flag and index + 1 < len(words):
            return words[index + 1]
        if word.startswith(flag + "="):
            return word[len(flag) + 1 :]
    return None


def _parse(cls: type[Any], words: list[str], default: Any, program: str) -> Any:
    import tyro

    return tyro.cli(cls, args=words, default=default, prog=f"python -m {program}")
