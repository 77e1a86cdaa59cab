"""What a run holds: the settings reach every epoch of training."""

from pathlib import Path

import pytest

from masktrain import session as module
from masktrain.config import TrainConfig
from masktrain.engine import pick_device, training_px
from masktrain.session import build_session, load_data


def test_every_epoch_is_trained_at_its_side(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(
        model="mobilenet_v3_small", init="none", epochs=10, first_px=64, workers=0, batch_size=4
    )
    session = build_session(config, tiny_data, pick_device("cpu"), load_data(config, tiny_data))
    seen: list[int] = []

    def noted(*_: object, side_px: int, **__: object) -> None:
        seen.append(side_px)

    monkeypatch.setattr(module, "train_one_epoch", noted)
    for epoch in range(1, 11):
        session.train_epoch(epoch)
    assert seen == [training_px(epoch, 10, 64, 112) for epoch in range(1, 11)]
    assert seen[0] == 64 and seen[-1] == session.preprocessing.size_px == 112
