"""predictions.csv of an evaluation, read back as scores: its figures can be drawn again."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from masktrain.metrics import Scores
from masktrain.multiclass import CLASSES, ClassScores


class PredictionsError(ValueError):
    """Predictions that cannot be used; the message names the file and says what to do."""


def read_predictions(folder: Path) -> Scores | ClassScores:
    """Return what a network said of the faces of an evaluation.

    Args:
        folder: <run>/eval/<faces>, with predictions.csv and metrics.json.

    Raises:
        PredictionsError: a file is missing or damaged.
    """
    path = folder / "predictions.csv"
    try:
        loss = float(json.loads((folder / "metrics.json").read_text("utf-8"))["loss"])
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        several = rows and CLASSES[2] in rows[0]
        # Masks worn wrongly are no class of a network of two.
        rows = [row for row in rows if several or row["label"] in CLASSES[:2]]
        labels = np.array([CLASSES.index(row["label"]) for row in rows], np.int64)
        if several:
            chances = np.array([[float(row[name]) for name in CLASSES] for row in rows])
            return ClassScores(labels, chances, loss)
        return Scores(labels, np.array([float(row["score"]) for row in rows]), loss)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PredictionsError(f"{path} cannot be used ({error}): evaluate again") from None
