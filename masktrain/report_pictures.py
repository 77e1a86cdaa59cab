"""Pictures that a report draws for itself: training crops of people who do not exist, the network,
and what a network says of pictures that it was not meant for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from MaskTheFace.images import montage, write_image
from masktrain.config import TrainConfig

if TYPE_CHECKING:
    from masktrain.architecture import Stage
    from masktrain.model import Preprocessing
    from masktrain.run_record import RunRecord

SHOWN = 32
COLUMNS = 8


def draw_pictures(run: RunRecord, stages: list[Stage], folder: Path) -> dict[str, Path]:
    """Draw `samples`, `network` and, where the run has weights, `oddities` into a folder.

    Raises:
        OSError: a file cannot be written.
    """
    from masktrain.figures import network_figure, save_figure

    drawn = [(s.name, s.what, s.shape, s.parameters) for s in stages]
    found = {"network": save_figure(network_figure(drawn, 112), folder / "network.png", dpi=150)}
    if run.prepared:  # else nobody knows who drew the masks that it saw
        found["samples"] = folder / "samples.png"
        samples = training_samples(TrainConfig.from_dict(dict(run.config)), run.prepared)
        write_image(found["samples"], samples)
    weights = weights_of(run.folder)
    if weights is not None:
        from masktrain.predict import PredictConfig, predict, sheet

        oddities = predict(PredictConfig(weights, device="cpu"))
        found["oddities"] = save_figure(sheet(oddities, 1), folder / "oddities.png")
    return found


def weights_of(run: Path) -> Path | None:
    """Return the best weights of a run; None where they were not kept."""
    from masktrain.run_folder import WEIGHTS

    return next((run / name for name in WEIGHTS if (run / name).is_file()), None)


def preprocessing_of(run: Path, config: Mapping[str, Any]) -> Preprocessing:
    """Return what the network of a run takes and gives.

    Raises:
        CheckpointError: its weights are damaged.
    """
    from masktrain.model import Preprocessing, load_checkpoint

    weights = weights_of(run)
    if weights is None:
        return Preprocessing.of_classes(config.get("classes", 2))
    return Preprocessing.from_dict(load_checkpoint(weights)["preprocessing"])


def training_samples(config: TrainConfig, prepared: Mapping[str, Any]) -> np.ndarray:
    """Return crops as training sees them, of drawn people: (H, W, 3) uint8 RGB.

    Bare and masked in turn; with three classes every third wears its mask wrongly; occluders come
    as often as in the run.

    Args:
        config: of the run.
        prepared: settings that its faces were prepared with: `mask_types` and `without` are used.
    """
    import torch

    from masktrain.augment import eval_transform, to_pixels, train_transform
    from masktrain.model import Preprocessing

    preprocessing = Preprocessing.of_classes(config.classes)
    transform = eval_transform(preprocessing)
    if config.augment:
        transform = train_transform(preprocessing, config.min_scale)
    torch.manual_seed(0)
    crops = [_dressed(number, config, prepared) for number in range(SHOWN)]
    inputs = [transform(torch.from_numpy(crop).permute(2, 0, 1)) for crop in crops]
    return montage(list(to_pixels(torch.stack(inputs), preprocessing)), COLUMNS)


def _dressed(number: int, config: TrainConfig, prepared: Mapping[str, Any]) -> np.ndarray:
    from MaskTheFace.overlay import overlay_mask
    from MaskTheFace.wear import sample_wear, worn
    from masktrain.faces import list_faces, open_face
    from masktrain.occlusion import draw_occluder, put_before
    from masktrain.styles import draw_style

    face = open_face(list_faces("demo", seed=5, limit=SHOWN)[number])
    rng = np.random.default_rng((5, number))
    label, image = number % config.classes, face.image
    before = draw_occluder((5, 1, number), config.occluders)
    if before is not None and before.beneath:
        image = put_before(image, face.landmarks, before, image)
    if label:
        types, without = (tuple(prepared.get(name) or ()) for name in ("mask_types", "without"))
        style = draw_style(rng, "train", types, without)
        if label == 2:
            style = worn(style, sample_wear(rng, style.template), rng)
        image = overlay_mask(image, face.landmarks, style).image
    if before is not None and not before.beneath:
        image = put_before(image, face.landmarks, before, face.image, wrongly=label == 2)
    return image
