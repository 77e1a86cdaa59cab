"""Pictures of batches and of hard crops, as arrays (H, W, 3) uint8 RGB."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import DataLoader

from MaskTheFace.images import montage
from masktrain.augment import to_pixels
from masktrain.data import CLASSES, Crops, EpochSampler, Item
from masktrain.engine import AnyScores
from masktrain.metrics import Scores
from masktrain.model import Preprocessing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 32


def figure_pixels(figure: "Figure") -> np.ndarray:
    """Return a matplotlib figure as (H, W, 3) uint8 RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def training_batch(loader: DataLoader[Item], preprocessing: Preprocessing) -> np.ndarray:
    """Return the first crops of epoch 1 just as the network will see them."""
    sampler = loader.sampler
    assert isinstance(sampler, EpochSampler)
    order = EpochSampler(sampler.size, sampler.seed)
    order.epoch = 1
    keys = list(order)[: min(SHOWN, loader.batch_size or SHOWN)]
    images = torch.stack([loader.dataset[key][0] for key in keys])
    return montage(list(to_pixels(images, preprocessing)), columns=8)


def label_sheet(crops: Crops) -> np.ndarray:
    """Return some crops, spread evenly over the split, with their labels."""
    chosen = spread(len(crops))
    return _sheet(crops, chosen, [CLASSES[crops.labels[i]] for i in chosen])


def prediction_sheet(crops: Crops, scores: AnyScores) -> np.ndarray:
    """Return the crops of `label_sheet` with what the network says; an x marks an error."""
    chosen = spread(len(crops))
    return _sheet(crops, chosen, [_verdict(scores, i) for i in chosen])


def top_losses(crops: Crops, scores: AnyScores, threshold: float = 0.5) -> np.ndarray:
    """Return the crops that the network gets most wrong, worst first, with its scores.

    Args:
        crops: What it was shown.
        scores: What it said.
        threshold: For two classes: from which score on a face counts as masked.
    """
    chosen = np.argsort(scores.of_label, kind="stable")[:SHOWN]
    return _sheet(crops, chosen, [_verdict(scores, i, threshold) for i in chosen])


def spread(size: int) -> np.ndarray:
    """Return at most `SHOWN` indices, evenly spread over `size`."""
    return np.unique(np.linspace(0, size - 1, min(size, SHOWN)).round().astype(np.int64))


def _verdict(scores: AnyScores, index: int, threshold: float = 0.5) -> str:
    if isinstance(scores, Scores):
        sure = scores.scores[index]
        said = int(sure >= threshold)
    else:
        sure, said = scores.of_said[index], int(scores.said[index])
    mark = "" if said == scores.labels[index] else " x"
    return f"{CLASSES[said]} {sure:.2f}{mark}"


def _sheet(crops: Crops, chosen: np.ndarray, titles: list[str]) -> np.ndarray:
    from masktrain.figures import image_grid

    return figure_pixels(image_grid([crops.images[i] for i in chosen], titles, columns=8))
