"""A trained network that is asked about crops and pictures."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from MaskTheFace.manifest import MANIFEST
from masktrain.augment import eval_transform
from masktrain.config import TrainConfig
from masktrain.data import CLASSES, CROP_PX, Crops, eval_loader, load_crops, resized
from masktrain.engine import AnyScores, collect_scores, pick_device
from masktrain.model import Classifier, load_classifier
from masktrain.prepare import SPLITS
from masktrain.run_folder import noted_path, weights_file


@dataclass(frozen=True)
class Predictor:
    """A network, the file that it is from, and how it is asked."""

    classifier: Classifier
    weights: Path
    device: torch.device
    batch_size: int
    """Crops that go through the network at once."""

    @classmethod
    def open(cls, path: Path, device: str = "auto", batch_size: int = 64) -> Predictor:
        """Return the network of a checkpoint, a run folder, or weights that were handed on.

        Raises:
            CheckpointError: the weights are missing or damaged.
            ValueError: the device cannot be used.
        """
        weights, where = weights_file(path), pick_device(device)
        return cls(load_classifier(weights, str(where)), weights, where, batch_size)

    @property
    def on_smaller_crops(self) -> bool:
        """Whether the weights are of an epoch that was trained and judged on smaller crops."""
        full_px = self.classifier.preprocessing.size_px
        config = TrainConfig.from_dict(self.classifier.config)
        return config.side_px(self.classifier.epoch, full_px) < full_px

    def load(self, data: Path, split: str | None) -> Crops:
        """Read crops of the classes that the network knows; raises DataError."""
        classes = range(len(self.classifier.preprocessing.class_names))
        return load_crops(data, split, need_all=False, labels=classes)

    def score(self, crops: Crops) -> AnyScores:
        """Return labels and scores of every crop, in order, with progress on a terminal.

        Raises:
            NonFiniteError: the network gives nan.
        """
        from tqdm.auto import tqdm

        transform = eval_transform(self.classifier.preprocessing)
        loader = eval_loader(crops, transform, self.batch_size)
        shown = tqdm(loader, desc="evaluating", unit="batch", leave=False, disable=None)
        return collect_scores(self.classifier.net, shown, self.device)

    def score_pictures(self, images: Sequence[np.ndarray]) -> AnyScores:
        """Return scores of pictures in memory, (S, S, 3) uint8 RGB each; their labels are all 0."""
        return self.score(
            Crops(
                images=np.stack([resized(image, CROP_PX) for image in images]),
                labels=np.zeros(len(images), np.int64),
                paths=("",) * len(images),
                root=Path(),
            )
        )

    def source(self) -> dict[str, Any]:
        """Return which network it is, as records keep it: file, its hash, architecture, epoch."""
        with self.weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {
            "weights": noted_path(self.weights),
            "weights_sha256": digest,
            "model": self.classifier.arch,
            "epoch": self.classifier.epoch,
        }


def split_of(data: Path, split: str | None = None) -> tuple[Path, str | None]:
    """Return a folder of faces and the split that is meant.

    Args:
        data: prepared data, one of its splits, or a folder with the classes inside.
        split: train, val, test; None: what ``data`` says, of prepared data test.
    """
    if split is None and data.name in SPLITS and (data.parent / MANIFEST).is_file():
        return data.parent, data.name
    flat = any((data / name).is_dir() for name in CLASSES)
    prepared = (data / "test").is_dir() and not flat
    return data, "test" if split is None and prepared else split


def same_folder(one: str | Path | None, other: Path) -> bool:
    """Return whether two paths name one folder, which need not be there any more."""
    return one is not None and os.path.abspath(one) == os.path.abspath(other)


def refuse_other_faces(results: Path, data: Path) -> None:
    """Raise ValueError where a JSON file of results is on faces of another folder."""
    if results.is_file():
        record = json.loads(results.read_text(encoding="utf-8"))
        before = record.get("source", record).get("data")
        if before and not same_folder(before, data):
            raise ValueError(
                f"{results.parent} holds results on {before}, not {data}: give --output"
            )


def faces_label(data: Path, split: str | None) -> str:
    """Return the short name of a folder's faces: its own, and the split."""
    return "-".join(filter(None, (Path(os.path.abspath(data)).name, split)))
