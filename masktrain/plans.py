"""What `ablate` trains: plans of arms, each one base training with a single thing changed.

All else is equal between the arms of a plan: the faces, the photos that judge, and, for equal
seeds, the first weights and the order of the faces.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any, get_args

from masktrain.config import Architecture, Ingredient, PrepareConfig, TrainConfig

MASKS = PrepareConfig(val_share=0.0, test_share=0.0)
"""How the faces of every plan are prepared: all are trained on, real photos judge."""
RECIPE = TrainConfig(
    model="resnet18",
    init="none",
    epochs=8,
    batch_size=64,
    optimizer="adamw",
    lr=0.001,
    weight_decay=0.02,
    warmup_epochs=1.0,
    first_px=64,
    workers=0,
    wandb="off",
)
"""How every arm is trained; runs stand side by side, so each keeps to one thread. Crops are small
at first: a run takes little more than half of the time, and a table has dozens of them."""


@dataclass(frozen=True)
class Arm:
    """One row of a table."""

    name: str
    """What the table calls it."""
    change: str
    """What is other than in the first arm, for people."""
    masks: PrepareConfig
    """How its faces get their masks."""
    train: TrainConfig
    """How it is trained."""

    @property
    def key(self) -> str:
        """The name as folders and flags have it: no-fit for -fit, with-wear for +wear."""
        return self.name.replace("-", "no-", 1).replace("+", "with-", 1).replace(" ", "-")


@dataclass(frozen=True)
class Plan:
    """A table to make."""

    name: str
    title: str
    """Heading of the table."""
    arms: tuple[Arm, ...]
    """The first is what the others are compared with."""
    limit: int = 1500
    """Faces to train on."""

    @property
    def base(self) -> Arm:
        """The arm that the others are compared with."""
        return self.arms[0]


def _plan(
    name: str,
    title: str,
    base: tuple[str, str],
    *changes: tuple[str, str, dict[str, Any]],
    limit: int = 1500,
    recipe: TrainConfig = RECIPE,
) -> Plan:
    """Return a plan: the base, and the base with the fields of each change replaced."""
    arms = [Arm(*base, MASKS, recipe)]
    of_masks = {field.name for field in dataclasses.fields(PrepareConfig)}
    of_training = {field.name for field in dataclasses.fields(TrainConfig)}
    for title_, change, fields in changes:
        drawn = {key: fields[key] for key in fields if key in of_masks}
        trained = {key: fields[key] for key in fields if key in of_training}
        arms.append(Arm(title_, change, replace(MASKS, **drawn), replace(recipe, **trained)))
    return Plan(name, title, tuple(arms), limit)


def _without(*names: Ingredient) -> dict[str, Any]:
    return {"without": names}


OCCLUDERS = {"occluders": 0.25}
_OCCLUDED = "a hand, scarf, phone ... before a quarter of all faces"

INGREDIENTS = _plan(
    "ingredients",
    "What each ingredient of the masks is worth",
    ("all", "every ingredient, one mask for each face"),
    ("-fit", "masks are laid on flat and do not bend around the face", _without("fit")),
    ("-light", "nothing of the photo's light, colours, blur and noise", _without("light")),
    ("-prior", "templates and colours come evenly, all of one cut", _without("prior")),
    ("-patterns", "no prints on the fabric", _without("patterns")),
    ("online", "a new mask for each face in every epoch", {"masks": "online"}),
    ("+occluders", _OCCLUDED, OCCLUDERS),
    (
        "+wear",
        "each face a third time, its mask worn wrongly, as a third class; half as many steps more",
        {"wear": True, "classes": 3},
    ),
)
CORE = _plan(
    "core",
    "Six choices, each the other way",
    ("base", "all mask types and colours, fitted and lit, kept in files, augmented"),
    ("one type", "surgical masks alone", {"mask_types": ("surgical",)}),
    ("one color", "every mask light blue and plain", _without("colors")),
    ("flat", "masks neither bend around the face nor take its light", _without("fit", "light")),
    ("+occluders", _OCCLUDED, OCCLUDERS),
    ("online", "a new mask for each face in every epoch", {"masks": "online"}),
    ("-augmentation", "crops as they are, no flips, framing, light", {"augment": False}),
    limit=600,
    recipe=replace(RECIPE, epochs=7),
)
WEIGHTS = _plan(
    "weights",
    "First weights",
    ("none", "random weights"),
    ("imagenet", "weights that know ImageNet (fetched: needs a network)", {"init": "imagenet"}),
)
OPTIMIZERS = _plan(
    "optimizers",
    "Optimisers and learning rates",
    ("adamw .001", "AdamW at .001"),
    ("adamw .0003", "AdamW at .0003", {"lr": 0.0003}),
    ("adamw .003", "AdamW at .003", {"lr": 0.003}),
    ("adam .001", "Adam at .001", {"optimizer": "adam", "weight_decay": 0.0}),
    *(
        (
            f"sgd {lr:g}".replace("0.", "."),
            f"SGD with Nesterov momentum at {lr:g}, weight decay 5e-4",
            {"optimizer": "sgd", "lr": lr, "weight_decay": 5e-4},
        )
        for lr in (0.01, 0.03, 0.1)
    ),
)
EPOCHS = _plan(
    "epochs",
    "Number of epochs",
    ("8 epochs", "8 passes"),
    *((f"{n} epochs", f"{n} passes", {"epochs": n}) for n in (20, 50)),
)
FACES = _plan(
    "faces",
    "Number of faces",
    ("1500 faces", "1,500 faces"),
    *(
        (f"{n} faces", f"{n:,} faces, as many epochs", {"limit": n})
        for n in (188, 375, 750, 3000, 6000)
    ),
)
NETWORKS = _plan(
    "networks",
    "Networks",
    ("resnet18", "ResNet-18"),
    *((name, name, {"model": name}) for name in get_args(Architecture) if name != "resnet18"),
)
SIZES = _plan(
    "sizes",
    "Small crops first",
    ("64 px first", "64 px in the first half, growing to 112"),
    ("48 px first", "48 px in the first half, growing to 112", {"first_px": 48}),
    ("80 px first", "80 px in the first half, growing to 112", {"first_px": 80}),
    ("112 px", "112 px throughout", {"first_px": 112}),
)
PLANS = {
    plan.name: plan
    for plan in (CORE, INGREDIENTS, WEIGHTS, OPTIMIZERS, EPOCHS, FACES, NETWORKS, SIZES)
}
