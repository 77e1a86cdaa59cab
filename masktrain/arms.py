"""The arms of the ingredient table, and one short training of one of them.

An arm is the recipe of the masks with one ingredient changed. All else is equal: the faces, the
photos that judge, and, for equal seeds, the first weights and the order of the faces.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from masktrain.config import Ingredient, TrainConfig

# torch takes seconds to import: --help does without it.
if TYPE_CHECKING:
    from masktrain.data import Crops
    from masktrain.session import Session

BASE = "all"
"""The arm that the others are compared with."""


@dataclass(frozen=True)
class Arm:
    """One row of the table."""

    name: str
    """What the table calls it."""
    change: str
    """What is other than in `all`, for people."""
    without: tuple[Ingredient, ...] = ()
    """Ingredients that its masks are drawn without; see `styles`."""
    masks: Literal["files", "online"] = "files"
    """Whether each face keeps one mask or gets a new one every epoch."""
    occluders: float = 0.0
    """Share of faces with something before them that is no mask."""
    classes: Literal[2, 3] = 2
    """3: masks worn wrongly are a class of their own, left out when real photos judge."""

    @property
    def key(self) -> str:
        """The name as folders and flags have it: no-fit for -fit, with-wear for +wear."""
        return self.name.replace("-", "no-").replace("+", "with-")


ARMS = (
    Arm(BASE, "every ingredient, one mask for each face"),
    Arm("-fit", "masks are laid on flat and do not bend around the face", ("fit",)),
    Arm(
        "-light",
        "nothing of the photo's light, colours, blur and noise on the mask",
        ("light",),
    ),
    Arm("-prior", "templates and colours come evenly, all of one cut and worn alike", ("prior",)),
    Arm("-patterns", "no prints on the fabric", ("patterns",)),
    Arm("online", "every ingredient, and a new mask for each face in every epoch", (), "online"),
    Arm("+occluders", "a hand, scarf, phone ... before a quarter of all faces", occluders=0.25),
    Arm(
        "+wear",
        "each face a third time, its mask worn wrongly, as a third class; half as many steps more",
        classes=3,
    ),
)

RECIPE = TrainConfig(
    model="resnet18",
    init="none",
    epochs=8,
    batch_size=64,
    optimizer="adamw",
    lr=0.001,
    weight_decay=0.02,
    warmup_epochs=1.0,
    workers=0,
)
"""How every arm is trained; runs stand side by side, so each keeps to one thread."""


@dataclass(frozen=True)
class ArmRun:
    """One training: an arm and a seed."""

    arm: Arm
    config: TrainConfig
    """Names the prepared data, the real photos, the seed and the number of epochs."""
    folder: Path
    """Gets scores/ and, when all is done, result.json."""

    @property
    def result(self) -> Path:
        """The file that marks the run as finished."""
        return self.folder / "result.json"


def run_arm(run: ArmRun) -> ArmRun:
    """Train once and score the real photos after the last epoch: nothing is selected.

    Args:
        run: what to train; `run.config.data` and `run.config.real_val` must be given.

    Returns:
        The same run, whose folder now holds result.json.

    Raises:
        DataError: crops that cannot be used. NonFiniteError: the network computes nan.
        OSError: a result cannot be written.
    """
    from masktrain.engine import collect_scores
    from masktrain.metrics import evaluate_scores
    from masktrain.multiclass import ClassScores
    from masktrain.run_folder import save_scores, write_json

    with _one_thread():
        session = _open(run.config)
        begun = time.perf_counter()
        for epoch in range(1, run.config.epochs + 1):
            session.train_epoch(epoch)
        time_s = time.perf_counter() - begun
        loader = session.evals["real_val"]
        scores = collect_scores(session.net, loader, session.device, session.precision)
    if isinstance(scores, ClassScores):
        scores = scores.without_third()
    save_scores(run.folder, "real_val", run.config.epochs, scores)
    record = {
        "arm": run.arm.name,
        "seed": run.config.seed,
        "training_crops": len(session.crops["train"]),
        "time_s": round(time_s, 1),
        **evaluate_scores(scores).to_dict(),
        "environment": _environment(session),
    }
    write_json(run.result, record)
    return run


def _open(config: TrainConfig) -> Session:
    from masktrain.engine import pick_device
    from masktrain.session import build_session, load_training

    assert config.data is not None and config.real_val is not None
    crops = {"train": load_training(config, config.data), "real_val": _real(config.real_val)}
    return build_session(config, config.data, pick_device(config.device), crops)


@functools.lru_cache(maxsize=1)
def _real(folder: Path) -> Crops:
    """Read the photos that judge, once for all runs of a process."""
    from masktrain.data import load_crops

    return load_crops(folder, None)


def _environment(session: Session) -> dict[str, Any]:
    from masktrain.run_folder import describe_environment

    precision = str(session.precision or "float32").removeprefix("torch.")
    return describe_environment(str(session.device), precision)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread, so that the number of runs side by side never changes a result."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def recipe(arm: Arm, seed: int, data: Path, **values: Any) -> TrainConfig:
    """Return the training of an arm: the common recipe on its data, with its masks."""
    return dataclasses.replace(
        RECIPE,
        seed=seed,
        data=data,
        masks=arm.masks,
        occluders=arm.occluders,
        classes=arm.classes,
        **values,
    )
