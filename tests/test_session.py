"""What a run holds: the settings reach every epoch of training."""

from pathlib import Path

import pytest

from masktrain import session as module
from masktrain.config import TrainConfig, training_px
from masktrain.engine import pick_device
from masktrain.session import build_session, load_data


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
