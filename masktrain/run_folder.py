"""The folder of a run: made once, never overwritten, and enough to understand it later."""

import io
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from MaskTheFace.images import write_bytes
from masktrain.config import TrainConfig
from masktrain.metrics import Scores
from masktrain.multiclass import ClassScores

RELEASES = Path(__file__).resolve().parents[1] / "reports" / "weights"
"""Where weights that are handed on lie, <name>/model.safetensors."""
RELEASED = "model.safetensors"
WEIGHTS = ("weights/best.pt", "weights.pt")
"""Where a run keeps its best weights; the second in reports/."""
ABOUT_WEIGHTS = ("eval", "probes", "explain", "predictions", "compare")
"""Folders of a run about its weights; with -last or so behind, about others than the best."""
PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "scikit-learn")


def new_run(config: TrainConfig, environment: dict[str, Any]) -> Path:
    """Make <runs>/<date>-<time>-<name>/ with config.json and env.json; a number if it exists.

    Raises:
        OSError: The folder cannot be made or written.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for attempt in range(1, 1000):
        suffix = "" if attempt == 1 else f"-{attempt}"
        run = config.runs / f"{stamp}-{config.name}{suffix}"
        try:
            run.mkdir(parents=True)
            break
        except FileExistsError:
            continue
    for name in ("weights", "scores"):
        (run / name).mkdir()
    write_json(run / "config.json", config.to_dict())
    write_json(run / "env.json", environment)
    return run


def note_resume(run: Path, environment: dict[str, Any]) -> None:
    """Add where and how a run was continued to its env.json."""
    path = run / "env.json"
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        record = {}
    record.setdefault("resumed", []).append(environment)
    write_json(path, record)


def set_aside(run: Path, epochs: int) -> Path:
    """Move what was found out about the weights of a run into until-<epochs>/, with the weights.

    Reports and cards of the run never mix it with what is found out about later weights.

    Returns:
        The folder, with eval/, probes/ and more as they were, config.json and weights/best.pt.
    """
    folder = run / f"until-{epochs}"
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    for name in ("config.json", WEIGHTS[0]):
        shutil.copyfile(run / name, folder / name)
    for name in ABOUT_WEIGHTS:
        for found in (run / name, *sorted(run.glob(f"{name}-*"))):
            if found.exists():
                shutil.rmtree(folder / found.name, ignore_errors=True)
                found.rename(folder / found.name)
    return folder


def describe_environment(device: str, precision: str) -> dict[str, Any]:
    """Return what a result depends on besides the settings: versions, machine, code, command."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "device": device,
        "precision": precision,
    }


def weights_file(path: Path) -> Path:
    """Return the checkpoint meant by a path, or by the name of weights that were handed on.

    Of a run folder that is its best one, or, in reports/, the one that is kept or handed on.
    """
    named = RELEASES / path.name / RELEASED
    if not path.exists() and len(path.parts) == 1 and named.is_file():
        return named
    if not path.is_dir():
        return path
    found = (path / name for name in (*WEIGHTS, RELEASED) if (path / name).is_file())
    return next(found, path / WEIGHTS[0])


def run_of(weights: Path) -> Path:
    """Return the run folder of a checkpoint; of one that lies elsewhere the folder around it.

    What is found out about weights that were handed on goes to runs/<name>: it may show people.
    """
    if _was_handed_on(weights):
        return Path("runs") / weights.parent.name
    return weights.parent.parent if weights.parent.name == "weights" else weights.parent


def noted_path(weights: Path) -> str:
    """Return the path of weights as records keep it: of those handed on, the one in the project."""
    if _was_handed_on(weights):
        return f"reports/weights/{weights.parent.name}/{RELEASED}"
    return weights.as_posix()


def _was_handed_on(weights: Path) -> bool:
    return weights.name == RELEASED and weights.parent.parent.resolve() == RELEASES


def is_best(weights: Path) -> bool:
    """Return whether a file holds the weights that a run is known by, and not others of it."""
    return weights.name in {*(Path(name).name for name in WEIGHTS), RELEASED}


def results_folder(weights: Path, kind: str, label: str) -> Path:
    """Return <run folder>/<kind>/<label>; weights that are not the best ones add their name."""
    return run_of(weights) / kind / _told_apart(label, weights)


def own_folder(weights: Path, kind: str) -> Path:
    """Return <run folder>/<kind>; weights that are not the best ones add their name."""
    return run_of(weights) / _told_apart(kind, weights)


def _told_apart(name: str, weights: Path) -> str:
    return name if is_best(weights) else f"{name}-{weights.stem}"


def data_of(run: Path) -> Path | None:
    """Return the prepared data that a run learns from, as it noted; it may be gone since."""
    try:
        return Path(json.loads((run / "data.json").read_text("utf-8"))["data"])
    except (OSError, ValueError, KeyError):
        return None


def scores_file(run: Path, series: str, epoch: int) -> Path:
    """Return where the scores of a series (val, real_val) at an epoch are kept."""
    return run / "scores" / f"{series}_{epoch:03d}.npz"


def save_scores(run: Path, series: str, epoch: int, scores: Scores | ClassScores) -> None:
    """Write scores/<series>_<epoch>.npz with labels (N,), scores (N,) or (N, K), and loss ()."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, labels=scores.labels, scores=scores.scores, loss=scores.loss)
    write_bytes(scores_file(run, series, epoch), buffer.getvalue())


def read_scores(run: Path, series: str, epoch: int) -> Scores | ClassScores:
    """Read what `save_scores` wrote."""
    # Read first: of a damaged archive NumPy would leave the file open.
    held = io.BytesIO(scores_file(run, series, epoch).read_bytes())
    with np.load(held, allow_pickle=False) as arrays:
        kind = Scores if arrays["scores"].ndim == 1 else ClassScores
        return kind(arrays["labels"], arrays["scores"], float(arrays["loss"]))


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write JSON that strict readers accept, whole or not at all."""
    write_bytes(path, (json.dumps(values, indent=2, allow_nan=False) + "\n").encode())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Return the commit of the code, with + when files differ from it; None outside git."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        return commit + ("+" if _git(here, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
    return done.stdout.strip()
