"""How far mean, deviation and file size of a crop tell masked from bare: a floor for networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from MaskTheFace.images import list_images, read_image
from masktrain.data import CLASSES, DataError
from masktrain.metrics import Floats, Interval, Ints, Scores, evaluate_scores

SHUFFLES = 20
SHUFFLED = f"labels shuffled, mean and range of {SHUFFLES}"


def statistics_of(path: Path) -> Floats:
    """Return what can be known of a crop without looking: (7,), mean and deviation of red, green
    and blue, and the logarithm of the file's bytes a pixel."""
    image = read_image(path).astype(np.float64)
    size = np.log(path.stat().st_size / (image.shape[0] * image.shape[1]))
    return np.array([*image.mean(axis=(0, 1)), *image.std(axis=(0, 1)), size])


def statistics_auc(data: Path, split: str) -> dict[str, Interval]:
    """Fit a logistic regression to the training split, and judge it on another.

    Args:
        data: a folder with train/ and `split`, each with no_mask/ and wearing_mask/.
        split: where it is judged.

    Returns:
        ROC-AUC by name: of the split, and, with the training labels shuffled, the mean and range
        of SHUFFLES shuffles: how far from .5 nothing at all comes.

    Raises:
        DataError: a class is missing.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    seen, labels = _read(data / "train")
    asked, truth = _read(data / split)
    rng = np.random.default_rng(0)

    def judged(teach: Ints) -> Scores:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        return Scores(truth, model.fit(seen, teach).predict_proba(asked)[:, 1], 0.0)

    by_chance = [judged(rng.permutation(labels)).auc for _ in range(SHUFFLES)]
    return {
        split: evaluate_scores(judged(labels)).roc_auc,
        SHUFFLED: Interval(float(np.mean(by_chance)), min(by_chance), max(by_chance)),
    }


def _read(folder: Path) -> tuple[Floats, Ints]:
    rows, labels = [], []
    for label, name in enumerate(CLASSES[:2]):
        paths = list_images(folder / name) if (folder / name).is_dir() else []
        if not paths:
            raise DataError(f"no image in {folder / name}")
        rows += [statistics_of(path) for path in paths]
        labels += [label] * len(paths)
    return np.array(rows), np.array(labels, np.int64)
