"""The network, one logit or one a class, and checkpoints that carry their preprocessing inside.

Convention: images enter as (B, 3, S, S) float32 RGB, scaled to 0..1 and then normalised with the
mean and std of `Preprocessing`; out comes one logit each, (B,) float32, whose sigmoid is the
probability of `wearing_mask`; or, for three classes, (B, 7), whose softmax are the probabilities of
no mask and of six ways to wear one (`multiclass.OUTPUTS`). Older networks of three have (B, 3).
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torchvision import models

from masktrain.config import FULL_PX, Architecture
from masktrain.multiclass import CLASS_OF_OUTPUT, CLASSES, OUTPUTS
from masktrain.run_folder import weights_file
from masktrain.tensors import unpack

CLASS_NAMES = CLASSES[:2]
DOWNLOAD_TIMEOUT_S = 20.0
HIDDEN_UNITS = {"mobilenet_v2_128": 128}
"""Units of a layer before the last one, followed by ReLU and dropout 0.5: the head that the widely
copied MobileNetV2 mask detectors have."""
CHECKPOINT_KEYS = ("model", "arch", "preprocessing", "threshold", "threshold_from", "epoch")


class ModelError(ValueError):
    """The network cannot be built; the message says what to do."""


class CheckpointError(ValueError):
    """A checkpoint cannot be read or written; the message names the file."""


@dataclass(frozen=True)
class Preprocessing:
    """How a crop becomes the network's input; stored in every checkpoint, read by every user."""

    size_px: int = FULL_PX
    """Side of the square input."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean of R, G, B on the 0..1 scale (ImageNet's)."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Standard deviation of R, G, B on the 0..1 scale (ImageNet's)."""
    class_names: tuple[str, ...] = CLASS_NAMES
    """Class of label 0, of label 1, and of label 2 where there is one."""
    outputs: tuple[str, ...] = ()
    """What each logit stands for, where that is not a class."""

    @classmethod
    def of_classes(cls, count: int) -> "Preprocessing":
        """Return what a new network of two or three classes gets."""
        return cls(class_names=CLASSES[:count], outputs=OUTPUTS if count > 2 else ())

    @property
    def logits(self) -> int:
        """How many logits the network has."""
        if self.outputs:
            return len(self.outputs)
        return 1 if len(self.class_names) == 2 else len(self.class_names)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint or JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """Return what `to_dict` wrote; lists become tuples."""
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**plain)


@dataclass(frozen=True)
class Classifier:
    """A trained network with all that is needed to use it.

    `net` is in evaluation mode; `threshold` is the score from which on a face counts as wearing
    a mask, and `threshold_from` says how it was chosen.
    """

    net: nn.Module
    preprocessing: Preprocessing
    threshold: float
    threshold_from: str
    arch: str
    epoch: int
    config: dict[str, Any]


class LogitHead(nn.Linear):
    """A linear layer to one logit, (B, F) -> (B,), in float32 even under autocast.

    A bfloat16 logit has 8 significant bits: many scores would tie and blur the ROC curve.
    Multiply and sum, unlike a matrix product, are not lowered by autocast.
    """

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, 1)

    def forward(self, features: Tensor) -> Tensor:
        return (features.float() * self.weight).sum(dim=1) + self.bias


class ClassHead(nn.Linear):
    """A linear layer to several logits, (B, F) -> (B, O), in float32 even under autocast."""

    def __init__(self, in_features: int, logits: int) -> None:
        super().__init__(in_features, logits)
        if logits == len(OUTPUTS):  # untrained, it holds every class as probable as another
            sizes = torch.tensor([CLASS_OF_OUTPUT.count(label) for label in CLASS_OF_OUTPUT])
            self.bias.data -= sizes.log()

    def forward(self, features: Tensor) -> Tensor:
        return (features.float()[:, None] * self.weight).sum(dim=2) + self.bias


def build_model(arch: str, init: str = "none", logits: int = 1) -> nn.Module:
    """Return a network (B, 3, 112, 112) float -> logits (B,), or (B, logits) from 2 on.

    Args:
        arch: One of `Architecture`: a torchvision network whose last layer becomes `LogitHead`.
        init: imagenet (torchvision's weights, hash checked), none (random, from torch's current
            seed), or a checkpoint of the same architecture, a run folder or the name of weights
            that were handed on.
        logits: As `Preprocessing` says.

    Raises:
        ModelError: Unknown architecture; weights that cannot be fetched or do not fit.
        CheckpointError: `init` is a file that is no checkpoint.
    """
    if arch not in get_args(Architecture):
        raise ModelError(f"unknown model {arch}; known: {', '.join(get_args(Architecture))}")
    # Residual branches start at zero (Goyal et al. 2017, arXiv:1706.02677): from random weights a
    # ResNet-50 learns next to nothing in its first epoch without it (reports/LOG.md).
    options = {"zero_init_residual": True} if arch.startswith("resnet") else {}
    net: nn.Module = models.get_model(_backbone(arch), weights=None, **options)
    if init == "imagenet":
        net.load_state_dict(_imagenet_weights(_backbone(arch)))
    _replace_head(net, logits, HIDDEN_UNITS.get(arch))
    _follow_statistics_faster(net)
    if init not in ("imagenet", "none"):
        load_weights(net, arch, weights_file(Path(init)))
    return net


def load_weights(net: nn.Module, arch: str, path: Path) -> None:
    """Copy a checkpoint's weights into `net`; raises ModelError when they do not fit."""
    payload = load_checkpoint(path)
    if payload["arch"] != arch:
        raise ModelError(f"{path} holds a {payload['arch']}, not a {arch}: give --model to match")
    try:
        net.load_state_dict(payload["model"])
    except RuntimeError as error:
        held = Preprocessing.from_dict(payload["preprocessing"])
        raise ModelError(
            f"the weights in {path}, for {len(held.class_names)} classes and {held.logits} logits, "
            f"do not fit this {arch}"
        ) from error


def _backbone(arch: str) -> str:
    """Return torchvision's name of a network: `mobilenet_v2_128` differs in its head alone."""
    return arch.removesuffix("_128")


def _replace_head(net: nn.Module, logits: int, hidden: int | None) -> None:
    def head(features: int) -> nn.Linear:
        return LogitHead(features) if logits == 1 else ClassHead(features, logits)

    if isinstance(net, models.ResNet | models.ShuffleNetV2):
        net.fc = head(net.fc.in_features)
        return
    classifier = net.classifier
    assert isinstance(classifier, nn.Sequential)
    last = classifier[-1]
    assert isinstance(last, nn.Linear)
    if hidden is None:
        classifier[-1] = head(last.in_features)
        return
    net.classifier = nn.Sequential(
        nn.Linear(last.in_features, hidden), nn.ReLU(), nn.Dropout(0.5), head(hidden)
    )


def _follow_statistics_faster(net: nn.Module) -> None:
    """Let every batch norm average over about 10 batches, the default of torch and of ResNets.

    MobileNetV3 averages over 100, tuned for ImageNet's long epochs; runs of a few hundred steps
    would be evaluated with the statistics of weights long gone.
    """
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1


def _imagenet_weights(arch: str) -> dict[str, Tensor]:
    weights = models.get_model_weights(arch).DEFAULT
    try:
        with _socket_timeout(DOWNLOAD_TIMEOUT_S):
            state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network, a bad hash, a full disk
        raise ModelError(
            f"cannot fetch the ImageNet weights of {arch} from {weights.url} ({error}); "
            "train from random weights with --init none, or give a checkpoint with --init FILE"
        ) from error
    return state


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Give up on a silent server; torch.hub itself would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def save_checkpoint(path: Path, payload: dict[str, Any]) -> None:
    """Write tensors and plain values so that `path` is always either the old or the new file.

    Raises:
        CheckpointError: The disk is full or not writable; the file that was there is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save(payload, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch wraps a failed write in a RuntimeError
        kept = "the one from before is kept" if path.exists() else "nothing is kept"
        why = _reason(error)
        raise CheckpointError(f"cannot save checkpoint {path} ({why}); {kept}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _reason(error: BaseException) -> str:
    """Return the operating system's reason, however deep torch has wrapped it, in one line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error).splitlines()[0]


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, or weights handed on, without running any code from the file.

    Tensors arrive on the CPU, in single precision.

    Raises:
        CheckpointError: There is no such file, or it is damaged or not ours.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}, and no weights of that name")
    try:
        if path.suffix == ".safetensors":
            payload = unpack(path.read_bytes())
        else:
            payload = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for damaged files
        raise CheckpointError(f"{path} is damaged or not a checkpoint of masktrain") from error
    missing = [k for k in CHECKPOINT_KEYS if not isinstance(payload, dict) or k not in payload]
    if missing:
        raise CheckpointError(f"{path} is not a checkpoint of masktrain: no {', '.join(missing)}")
    result: dict[str, Any] = payload
    return result


def load_classifier(path: Path, device: str = "cpu") -> Classifier:
    """Return the trained network of a checkpoint, in evaluation mode on `device`.

    Raises:
        CheckpointError: The file is missing, damaged or not a checkpoint.
        ModelError: Its weights do not fit the architecture it names.
    """
    payload = load_checkpoint(path)
    preprocessing = Preprocessing.from_dict(payload["preprocessing"])
    net = build_model(payload["arch"], "none", preprocessing.logits)
    try:
        net.load_state_dict(payload["model"])
    except RuntimeError as error:
        raise ModelError(f"the weights in {path} do not fit a {payload['arch']}") from error
    return Classifier(
        net=net.to(device).eval(),
        preprocessing=preprocessing,
        threshold=float(payload["threshold"]),
        threshold_from=str(payload["threshold_from"]),
        arch=payload["arch"],
        epoch=int(payload["epoch"]),
        config=payload.get("config", {}),
    )
