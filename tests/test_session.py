"""What a run holds: the settings reach every epoch of training."""

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from masktrain import session as module
from masktrain.config import TrainConfig, training_px
from masktrain.engine import pick_device
from masktrain.metrics import Scores
from masktrain.model import load_checkpoint
from masktrain.session import build_session, load_data


def test_occluders_and_veils_reach_what_is_learned_from(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, tuple[object, ...]] = {}
    for name in ("load_online", "load_occluded"):
        monkeypatch.setattr(module, name, lambda *words, name=name: asked.update({name: words}))
    config = TrainConfig(classes=3, occluders=0.4, veils="no_mask", masks="online")
    module.load_training(config, tiny_data)
    assert asked.pop("load_online") == (tiny_data, 3, 0.4, "no_mask")
    for occluders, veils in ((0.4, "left_out"), (0.0, "wearing_mask")):
        module.load_training(TrainConfig(occluders=occluders, veils=veils), tiny_data)
        folder, crops, *settings = asked.pop("load_occluded")
        assert folder == tiny_data and len(crops.labels) > 0
        assert settings == [occluders, veils]
    module.load_training(TrainConfig(), tiny_data)
    assert not asked


@pytest.mark.parametrize("augment", [True, False])
def test_augmentation_is_as_asked(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch, augment: bool
) -> None:
    asked: list[float] = []
    usual = module.train_transform
    monkeypatch.setattr(
        module, "train_transform", lambda p, scale: asked.append(scale) or usual(p, scale)
    )
    config = TrainConfig(model="mobilenet_v3_small", init="none", augment=augment, workers=0)
    config = dataclasses.replace(config, min_scale=0.37, batch_size=4)
    session = build_session(config, tiny_data, pick_device("cpu"), load_data(config, tiny_data))
    assert asked == ([0.37] if augment else [])
    crops = session.crops["train"]
    plain = module.eval_transform(session.preprocessing)
    expected = [plain(torch.from_numpy(crop).permute(2, 0, 1)) for crop in crops.images]
    batch = next(iter(session.loader))[0]
    as_stored = [any(torch.equal(one, other) for other in expected) for one in batch]
    assert all(as_stored) != augment


@pytest.mark.parametrize(("select", "kept"), [("val", 1), ("last", 2)])
def test_a_worse_last_epoch_is_kept_where_no_set_chooses(
    tiny_data: Path, tmp_path: Path, select: Literal["val", "last"], kept: int
) -> None:
    config = TrainConfig(model="mobilenet_v3_small", init="none", select=select, workers=0)
    session = build_session(config, tiny_data, pick_device("cpu"), load_data(config, tiny_data))
    session.run = tmp_path
    for folder in ("weights", "scores"):
        (tmp_path / folder).mkdir()
    right, labels = np.array([0.1, 0.9]), np.array([0, 1])
    session.save_epoch(1, {"val": Scores(labels, right, 0.1)})
    session.save_epoch(2, {"val": Scores(labels, 1 - right, 2.3)})
    assert load_checkpoint(session.best_weights)["epoch"] == kept
    assert session.best is not None and (session.best.epoch, session.best.auc) == (kept, 2 - kept)


def test_every_epoch_is_trained_and_judged_at_its_side(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(
        model="mobilenet_v3_small", init="none", epochs=10, first_px=64, workers=0, batch_size=4
    )
    session = build_session(config, tiny_data, pick_device("cpu"), load_data(config, tiny_data))
    trained: list[int] = []
    judged: list[int] = []

    def noted(*_: object, side_px: int, **__: object) -> None:
        trained.append(side_px)

    monkeypatch.setattr(module, "train_one_epoch", noted)
    session.net.register_forward_pre_hook(lambda _, given: judged.append(given[0].shape[-1]))
    for epoch in range(1, 11):
        session.train_epoch(epoch)
        assert set(session.judge_epoch(epoch)) == {"val"}
        assert set(judged[-1:]) == set(trained[-1:])
    assert trained == [training_px(epoch, 10, 64, 112) for epoch in range(1, 11)]
    assert trained[0] == 64 and trained[-1] == session.preprocessing.size_px == 112
