"""One pass over the data: with gradients, or to collect scores. No logging, no files.

Convention: loaders yield images (B, 3, S, S) float32, targets (B,) float32 (labels, or ways to wear
a mask as in `multiclass`) and indices (B,) int64. Loss is the mean cross-entropy, in nats a crop:
binary for networks with one logit, over classes or ways for those with one a way.
"""

import functools
import math
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from masktrain.config import TrainConfig
from masktrain.metrics import Scores
from masktrain.multiclass import CLASS_OF_TARGET, CLASSES, MEMBERS, ClassScores

Loader = Iterable[Any]
AnyScores = Scores | ClassScores
Schedule = Callable[[int], float]
Precision = torch.dtype | None

CHECK_EVERY = 20  # batches between two looks at the loss: each look waits for the device


class NonFiniteError(RuntimeError):
    """The network computes nan or infinity: going on would not mend it."""


class NonFiniteLoss(NonFiniteError):
    """The loss became nan or infinite; says in which epoch and batch, both counted from 1."""

    def __init__(self, epoch: int, batch: int) -> None:
        super().__init__(
            f"the loss is not finite in epoch {epoch}, batch {batch}; "
            "try a smaller --lr, a longer --warmup-epochs or --amp off"
        )
        self.epoch = epoch
        self.batch = batch


@dataclass(frozen=True)
class TrainingPass:
    """What one epoch of training gave: the scores as they were when each batch was learnt."""

    scores: AnyScores
    images_per_s: float
    lr: float
    """Learning rate of the last step."""


def pick_device(name: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda`, `cuda:1` or `mps` means here.

    Raises:
        ValueError: No such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise ValueError(f"device {name} cannot be used here ({why}); try --device cpu") from error
    return device


def pick_precision(amp: str, device: torch.device) -> Precision:
    """Return the lower precision of mixed-precision training, or None for float32 throughout.

    auto takes bfloat16 only where the hardware computes in it: CPUs with avx512_bf16 and GPUs
    from Ampere on. Elsewhere bfloat16 is emulated, and slower than float32.

    Raises:
        ValueError: fp16 on a CPU, where it would be slow and its gradients would vanish.
    """
    if amp == "fp16" and device.type != "cuda":
        raise ValueError(f"--amp fp16 needs a CUDA device, got {device}; try --amp auto")
    if amp != "auto":
        return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if native else torch.float16
    has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.bfloat16 if device.type == "cpu" and has_bf16() else None


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Return the autocast context for a precision of `pick_precision`."""
    return torch.autocast(device.type, dtype=precision, enabled=precision is not None)


def make_optimizer(net: nn.Module, config: TrainConfig, device: torch.device) -> Optimizer:
    """Return the optimiser; norms and biases get no weight decay, which would only hold them."""
    weights = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    fused = device.type == "cuda"
    if config.optimizer == "sgd":
        momentum = config.momentum
        nesterov = momentum > 0
        return torch.optim.SGD(groups, config.lr, momentum, nesterov=nesterov, fused=fused)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, config.lr, betas=(config.momentum, 0.999), fused=fused)


def cosine_schedule(lr: float, steps: int, warmup_steps: int) -> Schedule:
    """Return step -> learning rate: linear from lr/warmup_steps to lr, then a cosine towards 0.

    Args:
        lr: Highest rate.
        steps: Steps in the whole run.
        warmup_steps: Steps of the climb; at most half of the run.
    """
    warmup_steps = min(warmup_steps, steps // 2)

    def rate(step: int) -> float:
        if step < warmup_steps:
            return lr * (step + 1) / warmup_steps
        share = (step - warmup_steps) / max(1, steps - warmup_steps)
        return lr * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

    return rate


def restarted_schedule(
    lr: float, epochs: int, restarts: Sequence[int], steps: int, warmup_steps: int
) -> Schedule:
    """Return step -> learning rate: `cosine_schedule` from restart to restart; one climb in all.

    Args:
        lr: Highest rate.
        epochs: In the whole run.
        restarts: Epochs after which it begins anew, rising.
        steps: In an epoch.
        warmup_steps: Steps of the climb at the beginning of the run.
    """
    starts = [epoch * steps for epoch in (0, *restarts)]
    ends = [epoch * steps for epoch in (*restarts, epochs)]
    parts = [
        cosine_schedule(lr, end - start, 0 if start else warmup_steps)
        for start, end in zip(starts, ends, strict=True)
    ]

    def rate(step: int) -> float:
        part = bisect_right(starts, step) - 1
        return parts[part](step - starts[part])

    return rate


def train_one_epoch(
    net: nn.Module,
    loader: Loader,
    optimizer: Optimizer,
    schedule: Schedule,
    device: torch.device,
    precision: Precision = None,
    *,
    scaler: torch.amp.GradScaler | None = None,
    epoch: int = 1,
    first_step: int = 0,
    side_px: int | None = None,
) -> TrainingPass:
    """Update `net` once with every batch.

    Args:
        net: (B, 3, S, S) float32 -> logits (B,) or (B, O).
        loader: Batches; wrap it to show progress.
        optimizer: Its learning rate is set before each step.
        schedule: Step of the whole run -> learning rate.
        device: Where to compute.
        precision: As `pick_precision` returned it.
        scaler: Loss scaling, for float16 only.
        epoch: For the error message, counted from 1.
        first_step: Steps of the whole run before this epoch.
        side_px: Side to which the crops are shrunk; None leaves them as they are.

    Raises:
        NonFiniteLoss: The loss of a batch is nan or infinite.
    """
    net.train()
    begun = time.perf_counter()
    losses: list[Tensor] = []
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    lr = 0.0
    for batch, (images, targets, _) in enumerate(loader):
        lr = _set_rate(optimizer, schedule(first_step + batch))
        images, targets = to_device(images, device), targets.to(device, non_blocking=True)
        images = _shrunk(images, side_px)
        with autocast(device, precision):
            output = net(images)
        loss = mean_loss(output.float(), targets)
        _step(loss, optimizer, scaler)
        losses.append(loss.detach())
        logits.append(output.detach())
        labels.append(targets)
        if len(losses) % CHECK_EVERY == 0:
            _check_finite(losses, epoch)
    _check_finite(losses, epoch)
    scores = _scores(logits, labels)
    rate = len(scores.labels) / (time.perf_counter() - begun)
    return TrainingPass(scores, rate, lr)


def _shrunk(images: Tensor, side_px: int | None) -> Tensor:
    if side_px in (None, images.shape[-1]):
        return images
    return nn.functional.interpolate(images, (side_px, side_px), mode="bilinear", antialias=True)


def mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss in nats: binary for logits (B,), over classes or ways for (B, O).

    Of a crop whose way is not known the loss is minus the log of the sum over its class's ways.

    Args:
        logits: As the network gives them: one; one a class; or one for each of OUTPUTS.
        targets: (B,) floats: a whole number, as `target_of` gives it; a label for one logit.
    """
    if logits.ndim == 1:
        return nn.functional.binary_cross_entropy_with_logits(logits, targets)
    if logits.shape[1] == len(CLASSES):
        return nn.functional.cross_entropy(logits, targets.long())
    may_be = _members(logits.device)[targets.long()]
    meant = logits.masked_fill(~may_be, -math.inf).logsumexp(dim=1)
    return (logits.logsumexp(dim=1) - meant).mean()


@functools.cache
def _members(device: torch.device) -> Tensor:
    return torch.from_numpy(MEMBERS).to(device)


def _set_rate(optimizer: Optimizer, lr: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr


def _step(loss: Tensor, optimizer: Optimizer, scaler: torch.amp.GradScaler | None) -> None:
    optimizer.zero_grad(set_to_none=True)
    if scaler is None:
        loss.backward()
        optimizer.step()
        return
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()


def _check_finite(losses: list[Tensor], epoch: int) -> None:
    """Name the first bad batch among those since the last look, with one wait for the device."""
    first = (len(losses) - 1) // CHECK_EVERY * CHECK_EVERY
    bad = torch.nonzero(~torch.isfinite(torch.stack(losses[first:])))
    if len(bad):
        raise NonFiniteLoss(epoch, first + int(bad[0]) + 1)


def to_device(images: Tensor, device: torch.device) -> Tensor:
    """Move (B, 3, S, S) to the device as channels_last, the faster layout for convolutions."""
    moved = images.to(device, non_blocking=True)
    return moved.to(memory_format=torch.channels_last)


@torch.inference_mode()
def collect_scores(
    net: nn.Module,
    loader: Loader,
    device: torch.device,
    precision: Precision = None,
    side_px: int | None = None,
) -> AnyScores:
    """Return labels and scores of every crop, in the loader's order; the only way to evaluate.

    Args:
        net: (B, 3, S, S) float32 -> logits (B,) or (B, O); put in evaluation mode, then back as
            it was.
        loader: Batches without shuffling.
        device: Where to compute.
        precision: As `pick_precision` returned it.
        side_px: Side to which the crops are shrunk; by default they stay as they are.

    Raises:
        NonFiniteError: A score is nan or infinite.
    """
    was_training = net.training
    net.eval()
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    for images, targets, _ in loader:
        with autocast(device, precision):
            logits.append(net(_shrunk(to_device(images, device), side_px)))
        labels.append(targets)
    net.train(was_training)
    return _scores(logits, labels)


def _scores(logits: list[Tensor], aims: list[Tensor]) -> AnyScores:
    """Turn logits into probabilities in float64, where a sure score is not yet a tie at 1."""
    joined = torch.cat(logits).cpu().double()
    if not torch.isfinite(joined).all():
        raise NonFiniteError(
            "the network's scores are nan or infinite; train it with a smaller --lr or --amp off"
        )
    targets = torch.cat(aims).cpu().double()
    loss = float(mean_loss(joined, targets))
    labels = np.array(CLASS_OF_TARGET)[targets.long().numpy()]
    if joined.ndim == 1:
        return Scores(labels, torch.sigmoid(joined).numpy(), loss)
    chances = torch.softmax(joined, dim=1).numpy()
    if joined.shape[1] == len(CLASSES):
        return ClassScores(labels, chances, loss)
    return ClassScores.of_outputs(labels, chances, loss)
