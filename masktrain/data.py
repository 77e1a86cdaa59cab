"""From a folder of crops to batches: one uint8 array in memory, the same batches for any workers.

Convention: label 0 is `no_mask`, 1 is `wearing_mask`, 2 is `worn_incorrectly`; crops are
(N, S, S, 3) uint8 RGB. Every random choice about a crop comes from (seed, epoch, index) alone, so
neither the number of workers nor what was trained before changes a batch.
"""

import os
import signal
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from MaskTheFace.images import ImageError, list_images, read_image, relative_name
from MaskTheFace.manifest import MANIFEST, read_manifest, rows_by_path
from masktrain.augment import Transform
from masktrain.multiclass import CLASSES as CLASSES
from masktrain.multiclass import target_of

CROP_PX = 128
"""Side of the crops in memory; the network's input is cut out of these."""
LEFT_OUT = CLASSES[2]  # neither class of a binary network: see the class map in data/README.md
WRONGLY_LABEL = CLASSES.index(LEFT_OUT)


class Seen(NamedTuple):
    """What training sees of a crop in an epoch, and what it aims at."""

    image: np.ndarray
    """(S, S, 3) uint8 RGB."""
    target: int
    """As `multiclass.target_of` gives it."""


Item = tuple[Tensor, float, int]
Batch = tuple[Tensor, Tensor, Tensor]


class DataError(ValueError):
    """A data folder that cannot be trained on or evaluated; the message says what to do."""


@dataclass(frozen=True)
class Crops:
    """The labelled crops of one split, all in memory.

    Args:
        images: (N, S, S, 3) uint8 RGB.
        labels: (N,) int64, an index into `CLASSES`.
        paths: N paths relative to `root`, with forward slashes.
        root: The data folder.
        skipped: (path, reason) of each file that could not be read.
        left_out: How many files lay in `worn_incorrectly/`, which is neither class.
        targets: (N,) int64, what training aims at, where that says more than the labels.
    """

    images: np.ndarray
    labels: np.ndarray
    paths: tuple[str, ...]
    root: Path
    skipped: tuple[tuple[str, str], ...] = ()
    left_out: int = 0
    targets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def seen(self, index: int, seed: int, epoch: int) -> Seen:
        """Return what training sees of a crop in an epoch: here always the same."""
        return Seen(self.images[index], self.target(index))

    def target(self, index: int) -> int:
        """Return what training aims at for a crop as it is in its file."""
        return int((self.labels if self.targets is None else self.targets)[index])

    def digest(self, digest: int = 0) -> int:
        """Return a checksum of every pixel and label, to notice changed data."""
        return zlib.crc32(self.images.data, zlib.crc32(self.labels.data, digest))


@dataclass(frozen=True)
class Count:
    """How many crops, and of how many people, one class of one split has."""

    split: str
    label: str
    crops: int
    identities: int | None


def load_crops(
    root: Path,
    split: str | None,
    size_px: int = CROP_PX,
    need_all: bool = True,
    labels: Sequence[int] = (0, 1),
    may_be_empty: bool = False,
) -> Crops:
    """Read every crop of a split into one array, bare faces first, each class sorted by path.

    Args:
        root: A folder with `split/no_mask` and `split/wearing_mask`, or, when `split` is None,
            with `no_mask` and `wearing_mask` directly inside.
        split: train, val, test or None.
        size_px: Side to which crops of another size are resized.
        need_all: Refuse a folder that lacks one of the classes.
        labels: The classes to read.
        may_be_empty: Return no crops where no image can be read.

    Returns:
        The crops; unreadable files are in `skipped`, with the reason.

    Raises:
        DataError: No such folder, a class without folder or without a readable image.
    """
    folder = root / split if split else root
    if not folder.is_dir():
        raise DataError(f"no folder {folder}: give a prepared folder, or run masktrain.prepare")
    files = [(path, label) for label in labels for path in _class_files(folder, label, need_all)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        read = list(pool.map(lambda item: _read(item[0], size_px), files))
    good = [(path, label, x) for (path, label), x in zip(files, read) if isinstance(x, np.ndarray)]
    bad = [(path, str(x)) for (path, _), x in zip(files, read) if not isinstance(x, np.ndarray)]
    found = {label for _, label, _ in good}
    if not may_be_empty:
        _check_classes(folder, found, labels, need_all, bad)
    return Crops(
        images=np.array([image for _, _, image in good], np.uint8),
        labels=np.array([label for _, label, _ in good], np.int64),
        paths=tuple(relative_name(path, root) for path, _, _ in good),
        root=root,
        skipped=tuple((relative_name(path, root), reason) for path, reason in bad),
        left_out=0 if 2 in labels else count_images(folder / LEFT_OUT),
    )


def _class_files(folder: Path, label: int, needed: bool) -> list[Path]:
    inside = folder / CLASSES[label]
    if not inside.is_dir():
        if not needed:
            return []
        if label == 2:
            raise DataError(f"{folder} has no folder {LEFT_OUT}: prepare it with --wear")
        both = " and ".join(f"{name}/" for name in CLASSES[:2])
        raise DataError(f"{folder} has no folder {CLASSES[label]}: {both} are needed")
    return list_images(inside)


def count_images(folder: Path) -> int:
    """Return how many images a folder holds; 0 where there is none."""
    return len(list_images(folder)) if folder.is_dir() else 0


def _check_classes(
    folder: Path,
    found: set[int],
    labels: Sequence[int],
    need_all: bool,
    bad: Sequence[tuple[Path, str]],
) -> None:
    why = f" ({len(bad)} skipped; first: {bad[0][1]})" if bad else ""
    if not found:
        names = ",".join(CLASSES[label] for label in labels)
        raise DataError(f"no readable image in {folder}/{{{names}}}{why}")
    for label in set(labels) - found if need_all else ():
        raise DataError(f"no readable image in {folder / CLASSES[label]}{why}")


def _read(path: Path, size_px: int) -> np.ndarray | ImageError:
    try:
        return resized(read_image(path), size_px)
    except ImageError as error:
        return error


def resized(image: np.ndarray, size_px: int) -> np.ndarray:
    """Return a crop at another size: shrunk by area, enlarged linearly."""
    if image.shape[:2] == (size_px, size_px):
        return image
    shrinks = min(image.shape[:2]) >= size_px
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size_px, size_px), interpolation=how))


def with_ways(crops: Crops) -> Crops:
    """Let training aim at how each mask is worn, where the folder's manifest says it."""
    known = wear_by_path(crops.root)
    targets = [
        target_of(label, known.get(path, ""))
        for path, label in zip(crops.paths, crops.labels.tolist(), strict=True)
    ]
    return replace(crops, targets=np.array(targets, np.int64))


def wear_by_path(data: Path) -> dict[str, str]:
    """Return how the mask of each crop of prepared data is worn; empty for other folders."""
    return {path: row.wear for path, row in rows_by_path(data).items() if row.wear}


def count_data(root: Path, splits: Sequence[str] = ("train", "val", "test")) -> list[Count]:
    """Count crops and identities of each class and split without reading any image.

    Identities come from manifest.csv; without one they are None.
    """
    people = _identities(root)
    counts = []
    for split in splits:
        for name in CLASSES:
            crops = count_images(root / split / name)
            if name == LEFT_OUT and not crops:
                continue
            known = None if people is None else people[split, name]
            counts.append(Count(split, name, crops, known))
    return counts


def _identities(root: Path) -> Counter[tuple[str, str]] | None:
    manifest = root / MANIFEST
    if not manifest.is_file():
        return None
    rows = {(r.split, r.label, r.identity) for r in read_manifest(manifest) if r.path}
    return Counter((split, label) for split, label, _ in rows)


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index) in an order that depends on (seed, epoch) alone.

    The epoch travels with the index because workers outlive an epoch and would not see a change.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        return ((self.epoch, int(index)) for index in order)


class TrainingCrops(Dataset[Item]):
    """Crops under a random transform, keyed by (epoch, index)."""

    def __init__(self, crops: Crops, transform: Transform, seed: int) -> None:
        self.crops = crops
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        epoch, index = key
        item_seed = np.random.SeedSequence((self.seed, epoch, index)).generate_state(1, np.uint64)
        with torch.random.fork_rng(devices=[]):  # without workers this is training's generator
            torch.default_generator.manual_seed(int(item_seed[0] >> 1))
            seen = self.crops.seen(index, self.seed, epoch)
            image = self.transform(_tensor(seen.image))
        return image, float(seen.target), index


class PlainCrops(Dataset[Item]):
    """Crops under a deterministic transform, in order."""

    def __init__(self, crops: Crops, transform: Transform) -> None:
        self.crops = crops
        self.transform = transform

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> Item:
        return (
            self.transform(_tensor(self.crops.images[index])),
            float(self.crops.labels[index]),
            index,
        )


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).contiguous()


def train_loader(
    crops: Crops, transform: Transform, batch_size: int, seed: int, workers: int = 0
) -> DataLoader[Item]:
    """Return shuffled, augmented batches: images (B, 3, S, S) float32, targets (B,), indices (B,).

    Call `loader.sampler.epoch = epoch` before each pass. The last batch is dropped when it is not
    full, unless it is the only one: a tiny batch would upset batch normalisation.
    """
    # A forked worker inherits OpenCV's thread pool without its threads and would wait for them
    # for ever; at this image size the pool is no faster anyway.
    cv2.setNumThreads(1)
    return DataLoader(
        TrainingCrops(crops, transform, seed),
        batch_size=batch_size,
        sampler=EpochSampler(len(crops), seed),
        drop_last=len(crops) >= batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=start_worker,
        pin_memory=torch.cuda.is_available(),
        collate_fn=collate,
        # Its own, unused: from the default one it would draw more with workers than without.
        generator=torch.Generator(),
    )


def eval_loader(
    crops: Crops, transform: Transform, batch_size: int, workers: int = 0
) -> DataLoader[Item]:
    """Return every crop once, in order, in batches like those of `train_loader`."""
    return DataLoader(
        PlainCrops(crops, transform),
        batch_size=batch_size,
        num_workers=workers,
        worker_init_fn=start_worker,
        pin_memory=torch.cuda.is_available(),
        collate_fn=collate,
        generator=torch.Generator(),
    )


def stop_workers(loader: DataLoader[Item]) -> None:
    """End the processes of a loader; torch takes one that ends with the program for a crash."""
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None and hasattr(iterator, "_shutdown_workers"):
        iterator._shutdown_workers()


def collate(items: Sequence[Item]) -> Batch:
    """Stack items to images (B, 3, S, S) float32, targets (B,) float32 and indices (B,) int64."""
    images, targets, indices = zip(*items, strict=True)
    return torch.stack(images), torch.tensor(targets), torch.tensor(indices)


def start_worker(_: int) -> None:
    """Leave Ctrl-C to the training process, end at SIGTERM, and keep to one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(1)
