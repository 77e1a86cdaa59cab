"""Which pixels speak for what a network said: Grad-CAM and occlusion, by captum.

Explained are the log-odds of what was said, log p / (1 - p): of one logit z they are z for a mask
and -z for none; of several, the log-sum-exp of the logits of the class said (one, or one for each
way to wear a mask) minus that of the others. Unlike p they do not flatten where the network is
sure, and unlike one logit out of K they do not change when the same is added to all.

Convention: images are (B, 3, S, S) float32, as the network takes them; said is (B,) int64, a place
in `multiclass.CLASSES`; maps are (B, S, S) float32, positive where a pixel speaks for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from masktrain.engine import NonFiniteError
from masktrain.multiclass import CLASSES, MEMBERS, OUTPUTS

WINDOW, STRIDE = 1 / 7, 1 / 14
"""Side and step of the patch that occlusion moves over the picture, as shares of its side."""
Attribute = Callable[[nn.Module, Tensor, Tensor], np.ndarray]


class ExplainError(RuntimeError):
    """A network cannot be explained here; the message says what to do."""


class Evidence(nn.Module):
    """A network seen through the log-odds of what it said: (B, 3, S, S), (B,) -> (B,)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor, said: Tensor) -> Tensor:
        logits = self.net(images).float()
        if logits.ndim == 1:
            return torch.where(said == 1, logits, -logits)
        own = _outputs_of(logits.shape[1], logits.device)[said]
        said_too, rest = (
            logits.masked_fill(hidden, -torch.inf).logsumexp(dim=1) for hidden in (~own, own)
        )
        return said_too - rest


def _outputs_of(logits: int, device: torch.device) -> Tensor:
    """Return which logits belong to each class, (K, O) bool: one, or its ways to wear a mask."""
    if logits == len(OUTPUTS):
        return torch.from_numpy(MEMBERS[: len(CLASSES)]).to(device)
    return torch.eye(logits, dtype=torch.bool, device=device)


def last_stage(net: nn.Module) -> nn.Module:
    """Return the last convolutional stage of a network: after it only means are taken.

    The whole stage, its last activation included: that activation works in place, so that the
    output of the convolution before it would be gone when it is looked at.

    Raises:
        ExplainError: a network of another kind.
    """
    stage = getattr(net, "layer4", None) or getattr(net, "conv5", None)
    if stage is None:
        features = getattr(net, "features", None)
        stage = features[-1] if isinstance(features, nn.Sequential) else None
    if not isinstance(stage, nn.Module):
        raise ExplainError(
            f"Grad-CAM knows ResNets, MobileNets and ShuffleNets, not {type(net).__name__}: "
            "use --method occlusion"
        )
    return stage


def gradcam(net: nn.Module, images: Tensor, said: Tensor) -> np.ndarray:
    """Return Grad-CAM of the last convolutional stage, enlarged bilinearly to the input.

    At 112 px that stage has 4 x 4 cells: a map tells a quarter of the face from another, no more.
    Source: Selvaraju et al., Grad-CAM, ICCV 2017 (arXiv:1610.02391).

    Args:
        net: in evaluation mode; logits (B,) or (B, K).
        images: (B, 3, S, S).
        said: (B,) int64.

    Returns:
        (B, S, S) float32, 0 or more.

    Raises:
        ExplainError: captum is missing, or the network is of another kind.
        NonFiniteError: the map is nan or infinite.
    """
    attr = _captum()
    method = attr.LayerGradCam(Evidence(net), last_stage(net))
    # Weights may be frozen: then only the input asks for gradients.
    held = images.detach().requires_grad_(True)
    # captum leaves negative values in unless it is told what the paper does.
    maps = method.attribute(held, additional_forward_args=(said,), relu_attributions=True)
    size_hw = tuple(images.shape[-2:])
    # The paper's way; captum's own default would be blocks.
    large = attr.LayerAttribution.interpolate(maps, size_hw, "bilinear")
    return _as_maps(large[:, 0])


def occlusion(net: nn.Module, images: Tensor, said: Tensor) -> np.ndarray:
    """Return how far the log-odds fall when a grey patch covers a pixel.

    The patch has the preprocessing's mean colour (0 once normalised). A pixel's value is the mean
    over the patches that cover it, 169 at 112 px; each is a pass through the network.
    Source: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014
    (arXiv:1311.2901).

    Args:
        net: in evaluation mode; logits (B,) or (B, K).
        images: (B, 3, S, S).
        said: (B,) int64.

    Returns:
        (B, S, S) float32; negative where covering a pixel makes the network surer.

    Raises:
        ExplainError: captum is missing.
        NonFiniteError: the map is nan or infinite.
    """
    channels, side_px = images.shape[1], images.shape[-1]
    window_px, stride_px = patch_px(side_px)
    method = _captum().Occlusion(Evidence(net))
    maps = method.attribute(
        images.detach(),
        sliding_window_shapes=(channels, window_px, window_px),
        strides=(channels, stride_px, stride_px),
        baselines=0,
        additional_forward_args=(said,),
    )
    # All channels are covered together, and have the same value.
    return _as_maps(maps[:, 0])


METHODS: dict[str, Attribute] = {"gradcam": gradcam, "occlusion": occlusion}


@dataclass(frozen=True)
class Cells:
    """What the last convolutional stage can say about where.

    Attributes:
        high: rows of its map; wide: columns.
        follow: how far the place that a cell reads moves when the cell moves: 1 just as far, 0 not
            at all, and then a map of cells does not say where; nan of a single cell.
    """

    high: int
    wide: int
    follow: float


def read_cells(net: nn.Module, images: Tensor) -> Cells:
    """Measure on some pictures which part of them the cells of the last stage read.

    The place that a row or column of cells reads is the centre of the absolute gradient of its sum.
    A cell of a deep stage can be reached from all over the picture (Luo et al., NeurIPS 2016,
    arXiv:1701.04128), while Grad-CAM draws its heat where the cell lies.

    Args:
        net: in evaluation mode.
        images: (B, 3, S, S).

    Raises:
        ExplainError: captum is missing, or the network is of another kind.
    """
    attr = _captum()
    stage, held = last_stage(net), images.detach().requires_grad_(True)
    high, wide = attr.LayerActivation(net, stage).attribute(held[:1]).shape[-2:]
    gradient = attr.NeuronGradient(net, stage)
    slopes = []
    for axis, count in ((2, high), (3, wide)):
        centres, places = (np.arange(count) + 0.5) * images.shape[axis] / count, []
        for cell in range(count):
            found = gradient.attribute(held, _line_of_cells(axis, cell))
            places.append(_centre(found.abs().sum(dim=(0, 1, 5 - axis))))
        slopes.append(_slope(centres, np.array(places)))
    return Cells(high, wide, float(np.mean(slopes)))


def _line_of_cells(axis: int, cell: int) -> Callable[[Tensor], Tensor]:
    return lambda output: output.select(axis, cell).flatten(1).sum(dim=1)


def _centre(weights: Tensor) -> float:
    """Return the mean place under weights (S,); nan where all are zero."""
    held = weights.cpu().double()
    return float((held * torch.arange(len(held))).sum() / held.sum())


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    """Return the slope of the line of least squares; nan of one point."""
    away = x - x.mean()
    return float((away @ y) / (away @ away)) if len(x) > 1 else float("nan")


def patch_px(side_px: int) -> tuple[int, int]:
    """Return side and step of the patch of occlusion, in pixels of the input."""
    return max(1, round(WINDOW * side_px)), max(1, round(STRIDE * side_px))


def occlusion_passes(side_px: int) -> int:
    """Return how many times occlusion sends a face through the network."""
    window_px, stride_px = patch_px(side_px)
    return (-(-(side_px - window_px) // stride_px) + 1) ** 2 + 1


def _captum() -> Any:
    try:
        from captum import attr
    except ModuleNotFoundError:
        raise ExplainError("captum is not installed; run: pip install 'captum>=0.9'") from None
    return attr


def _as_maps(maps: Tensor) -> np.ndarray:
    if not torch.isfinite(maps).all():
        raise NonFiniteError("an explanation is nan or infinite: the network's logits overflow")
    return np.ascontiguousarray(maps.detach().float().cpu().numpy())
