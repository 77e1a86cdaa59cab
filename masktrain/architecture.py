"""A network as it is built: its stages with the shapes that leave them and their parameters."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from masktrain.model import build_model

BLOCK = "inverted residual block"


@dataclass(frozen=True)
class Stage:
    """One stage of a network.

    Attributes:
        name: as the network calls it.
        what: what it is made of, for people.
        shape: of what leaves it for one picture: (channels, height, width), or (features,).
        parameters: weights and biases in it.
    """

    name: str
    what: str
    shape: tuple[int, ...]
    parameters: int


def stages_of(arch: str, logits: int, size_px: int) -> list[Stage]:
    """Return the stages of a network in the order in which a picture goes through them.

    Args:
        arch: a name of `Architecture`.
        logits: how many it has.
        size_px: side of the picture.
    """
    net = build_model(arch, "none", logits).eval()
    shapes: dict[str, tuple[int, ...]] = {}

    def noting(name: str) -> object:
        def note(_: nn.Module, __: object, output: Tensor) -> None:
            shapes[name] = tuple(output.shape[1:]) or (1,)

        return note

    parts = list(_parts(net))
    hooks = [part.register_forward_hook(noting(name)) for name, part in parts]  # type: ignore[arg-type]
    with torch.inference_mode():
        net(torch.zeros(1, 3, size_px, size_px))
    for hook in hooks:
        hook.remove()
    weights = _weights(net, [name for name, _ in parts])
    return _grouped([Stage(n, _described(part), shapes[n], weights[n]) for n, part in parts])


def _grouped(stages: list[Stage]) -> list[Stage]:
    """Put blocks of one kind that leave pictures of one size together."""
    found: list[Stage] = []
    for (what, _), same in itertools.groupby(stages, lambda s: (s.what, s.shape[1:])):
        several = list(same)
        if len(several) == 1 or what != BLOCK:
            found += several
            continue
        name = f"{several[0].name} to {several[-1].name.rpartition('.')[2]}"
        weights = sum(stage.parameters for stage in several)
        found.append(Stage(name, f"{len(several)} {BLOCK}s", several[-1].shape, weights))
    return found


def _weights(net: nn.Module, names: list[str]) -> dict[str, int]:
    """Count the parameters of each part; what stands between two goes with the first."""
    counts = dict.fromkeys(names, 0)
    last = names[0]
    for name, weight in net.named_parameters():
        own = [other for other in names if name.startswith(f"{other}.")]
        last = own[0] if own else last
        counts[last] += weight.numel()
    return counts


def _parts(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield named parts; batch norm and activation go with the convolution before them."""
    for name, part in net.named_children():
        if name == "features":  # MobileNets: a long row of blocks
            for place, block in enumerate(part.children()):
                yield f"features.{place}", block
        elif not isinstance(part, (nn.BatchNorm2d, nn.ReLU)):
            yield name, part


def _described(part: nn.Module) -> str:
    kinds = [type(block).__name__ for block in part.children()]
    if isinstance(part, nn.Conv2d):
        side, stride = part.kernel_size[0], part.stride[0]
        return f"convolution {side}x{side}, stride {stride}; batch norm, ReLU"
    if kinds == ["Conv2d", "BatchNorm2d", "ReLU"]:
        return _described(next(part.children()))
    if isinstance(part, nn.MaxPool2d):
        return f"maximum over {part.kernel_size}x{part.kernel_size}, stride {part.stride}"
    if isinstance(part, nn.AdaptiveAvgPool2d):
        return "mean over the picture"
    if isinstance(part, nn.Linear):
        return f"linear layer to {_count(part.out_features, 'logit')}"
    if kinds and kinds[0] in ("Bottleneck", "BasicBlock"):
        inner = "1x1, 3x3, 1x1" if kinds[0] == "Bottleneck" else "3x3, 3x3"
        return f"{_count(len(kinds), 'residual block')} of {inner} convolutions"
    if kinds and kinds[0] == "InvertedResidual":
        return f"{_count(len(kinds), 'shuffle unit')}, half of the channels pass each"
    if type(part).__name__ == "InvertedResidual":
        return BLOCK
    if type(part).__name__ == "Conv2dNormActivation":
        return "convolution, batch norm, activation"
    return ", ".join(kinds)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
