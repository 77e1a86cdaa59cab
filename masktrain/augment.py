"""From a stored crop to the network's input, with chance for training and without for the rest.

Convention: transforms take (3, H, W) uint8 RGB tensors and return (3, S, S) float32, normalised.
Both classes get the very same treatment, so that nothing but the mask tells them apart. Chance
comes from torch's default CPU generator; whoever calls seeds it for each item (see `data`).
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from masktrain.model import Preprocessing

Transform = Callable[[Tensor], Tensor]


def train_transform(preprocessing: Preprocessing, min_scale: float = 0.6) -> Transform:
    """Return random flips, scaling, crops and mild photometry for one training crop.

    Args:
        preprocessing: Size, mean and std of the network's input.
        min_scale: Smallest share of the area that the random crop keeps; at 0.6 and above,
            nose and mouth of a canonical crop stay in the frame (the chin in 85 of 100).
    """
    size_px = preprocessing.size_px
    framing = [
        v2.RandomApply([Reframe()], p=0.8),
        v2.RandomResizedCrop(size_px, scale=(min_scale, 1.0), ratio=(0.85, 1.18), antialias=True),
        v2.RandomHorizontalFlip(p=0.5),
    ]
    light = [
        v2.RandomApply([v2.ColorJitter(brightness=0.35, contrast=0.35, saturation=0.35)], p=0.7),
        v2.RandomApply([v2.ColorJitter(hue=0.04)], p=0.1),
        v2.RandomGrayscale(p=0.08),
    ]
    camera = [
        v2.RandomApply([Blur()], p=0.15),
        v2.RandomApply([LowResolution()], p=0.15),
        v2.RandomApply([SensorNoise()], p=0.15),
        v2.RandomApply([v2.JPEG((40, 95))], p=0.15),
    ]
    occlusion = [v2.RandomApply([RandomPatch()], p=0.3)]
    return v2.Compose([*framing, *light, *camera, *occlusion, *_to_input(preprocessing)])


def eval_transform(preprocessing: Preprocessing) -> Transform:
    """Return the one deterministic transform: the whole crop, shrunk with antialiasing."""
    size = [preprocessing.size_px, preprocessing.size_px]
    return v2.Compose([v2.Resize(size, antialias=True), *_to_input(preprocessing)])


def to_pixels(inputs: Tensor, preprocessing: Preprocessing) -> np.ndarray:
    """Undo the normalisation, for pictures of what the network saw.

    Args:
        inputs: (B, 3, S, S) float32, as a transform returned them.

    Returns:
        (B, S, S, 3) uint8 RGB.
    """
    mean = torch.tensor(preprocessing.mean).view(3, 1, 1)
    std = torch.tensor(preprocessing.std).view(3, 1, 1)
    pixels = (inputs.float().cpu() * std + mean).mul(255).round().clamp(0, 255)
    return pixels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _to_input(preprocessing: Preprocessing) -> list[v2.Transform]:
    return [
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(preprocessing.mean), list(preprocessing.std), inplace=True),
    ]


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _as_image(tensor: Tensor) -> np.ndarray:
    """Return (3, H, W) as (H, W, 3), the layout of OpenCV."""
    return np.ascontiguousarray(tensor.permute(1, 2, 0).numpy())


def _as_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).contiguous()


class Reframe(v2.Transform):
    """Turn, shift and zoom by one affine map; what lies beyond the border repeats or mirrors it.

    Face boxes of other finders are larger, smaller or off centre; and crops of faces near a
    photo's edge have replicated borders. A frame of one colour would be unlike any crop.
    """

    def __init__(
        self,
        max_turn_deg: float = 20.0,
        max_shift: float = 0.1,
        zoom_range: tuple[float, float] = (0.65, 1.1),
    ) -> None:
        super().__init__()
        self.max_turn_deg = max_turn_deg
        self.max_shift = max_shift
        self.zoom_range = zoom_range

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the (2, 3) matrix from input to output pixels (x right, y down), and the border."""
        height, width = flat_inputs[0].shape[-2:]
        turn_deg = _uniform(-self.max_turn_deg, self.max_turn_deg)
        centre = ((width - 1) / 2, (height - 1) / 2)
        matrix = cv2.getRotationMatrix2D(centre, turn_deg, _uniform(*self.zoom_range))
        matrix[0, 2] += _uniform(-self.max_shift, self.max_shift) * width
        matrix[1, 2] += _uniform(-self.max_shift, self.max_shift) * height
        repeats = float(torch.rand(())) < 0.7
        return {"matrix": matrix, "repeats": repeats}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Apply the map with bilinear sampling."""
        image = _as_image(inpt)
        size_wh = image.shape[1::-1]
        border = cv2.BORDER_REPLICATE if params["repeats"] else cv2.BORDER_REFLECT_101
        return _as_tensor(cv2.warpAffine(image, params["matrix"], size_wh, borderMode=border))


class Blur(v2.Transform):
    """Blur with a Gaussian; sigma is a share of the side, so it means the same at any size."""

    def __init__(self, sigma_range: tuple[float, float] = (0.004, 0.014)) -> None:
        super().__init__()
        self.sigma_range = sigma_range

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw sigma in pixels."""
        return {"sigma_px": _uniform(*self.sigma_range) * flat_inputs[0].shape[-1]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Blur all three channels alike."""
        return _as_tensor(cv2.GaussianBlur(_as_image(inpt), (0, 0), params["sigma_px"]))


class LowResolution(v2.Transform):
    """Shrink and enlarge again, as small faces of group photos have been."""

    def __init__(self, shrink_range: tuple[float, float] = (0.25, 0.7)) -> None:
        super().__init__()
        self.shrink_range = shrink_range

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the small side in pixels."""
        return {"side_px": max(8, round(_uniform(*self.shrink_range) * flat_inputs[0].shape[-1]))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Shrink by area, enlarge by cubic interpolation."""
        image = _as_image(inpt)
        side_px = params["side_px"]
        small = cv2.resize(image, (side_px, side_px), interpolation=cv2.INTER_AREA)
        size_wh = image.shape[1::-1]
        return _as_tensor(cv2.resize(small, size_wh, interpolation=cv2.INTER_CUBIC))


class SensorNoise(v2.Transform):
    """Add Gaussian noise to every channel, in grey levels."""

    def __init__(self, sigma_range: tuple[float, float] = (2.0, 12.0)) -> None:
        super().__init__()
        self.sigma_range = sigma_range

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the noise itself."""
        noise = torch.randn(flat_inputs[0].shape)
        return {"noise": noise.mul_(_uniform(*self.sigma_range))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Add, round and clip."""
        return params["noise"].add(inpt).round_().clamp_(0, 255).to(torch.uint8)


class RandomPatch(v2.Transform):
    """Cover a rectangle with one colour or with noise, on masked and bare faces alike.

    It teaches that a covered patch is not yet a mask. Patches stay below a sixth of the area, so
    that no mask vanishes.
    """

    def __init__(self, area_range: tuple[float, float] = (0.01, 0.16)) -> None:
        super().__init__()
        self.area_range = area_range

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the corner and the (3, h, w) uint8 filling."""
        height_px, width_px = flat_inputs[0].shape[-2:]
        area = _uniform(*self.area_range) * height_px * width_px
        aspect = 2.0 ** _uniform(-1.5, 1.5)
        high = min(height_px, max(1, round((area * aspect) ** 0.5)))
        wide = min(width_px, max(1, round((area / aspect) ** 0.5)))
        top = int(_uniform(0, height_px - high + 1))
        left = int(_uniform(0, width_px - wide + 1))
        shape = (3, high, wide) if torch.rand(()) < 0.3 else (3, 1, 1)
        filling = torch.randint(0, 256, shape, dtype=torch.uint8).expand(3, high, wide)
        return {"top": top, "left": left, "filling": filling}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Return a copy with the rectangle filled."""
        top, left, filling = params["top"], params["left"], params["filling"]
        out = inpt.clone()
        out[:, top : top + filling.shape[1], left : left + filling.shape[2]] = filling
        return out
