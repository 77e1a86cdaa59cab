"""The settings: checked where they are made, the same object on the command line and in JSON."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masktrain.config import (
    FULL_PX,
    PrepareConfig,
    TrainConfig,
    full,
    parse_prepare,
    parse_train,
    quick,
    read_run_config,
    training_px,
)


def test_defaults_are_the_course_recipe() -> None:
    config = parse_train([])
    assert config == full() == TrainConfig()
    assert (config.model, config.epochs, config.batch_size, config.lr) == ("resnet50", 50, 64, 0.01)
    assert (config.optimizer, config.init) == ("sgd", "imagenet")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lr", -0.1, "lr must be > 0, got -0.1"),
        ("lr", float("nan"), "lr must be > 0, got nan"),
        ("epochs", 0, "epochs must be >= 1, got 0"),
        ("batch_size", 1, "batch_size must be >= 2, got 1"),
        ("momentum", 1.0, "momentum must be in"),
        ("min_scale", 0.0, "min_scale must be in"),
        ("first_px", 60, "first_px must be 32, 48"),
        ("name", "a/b", "name must be a plain folder name"),
        ("select", "real_val", "needs --real-val"),
    ],
)
def test_a_wrong_training_setting_names_itself_and_its_value(
    name: str, value: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        replace(TrainConfig(), **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"), [("limit", -1), ("val_share", 1.0), ("quality", 0), ("crop_px", 8)]
)
def test_a_wrong_preparing_setting_names_itself(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        replace(PrepareConfig(), **{name: value})  # type: ignore[arg-type]


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ValueError, match="val_share"):
        PrepareConfig(val_share=0.5, test_share=0.5)


def test_flags_override_the_preset_wherever_they_stand() -> None:
    for words in (["--preset", "quick", "--epochs", "2"], ["--epochs", "2", "--preset=quick"]):
        assert parse_train(words) == replace(quick(), epochs=2)


def test_several_mask_types_can_be_named() -> None:
    assert parse_prepare(["--mask-types", "n95", "cloth"]).mask_types == ("n95", "cloth")


@pytest.mark.parametrize("words", [["--lr", "-1"], ["--epochs", "x"], ["--nope"]])
def test_a_wrong_command_line_is_a_usage_error(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_train(words)
    assert stop.value.code == 2
    assert words[0].lstrip("-") in capsys.readouterr().err


@given(
    lr=st.floats(1e-6, 10), epochs=st.integers(1, 500), data=st.none() | st.just(Path("data/x y"))
)
def test_settings_survive_json(lr: float, epochs: int, data: Path | None) -> None:
    config = TrainConfig(lr=lr, epochs=epochs, data=data, resume=Path("runs/a"))
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.fixture
def run(tmp_path: Path) -> Path:
    config = TrainConfig(epochs=7, lr=0.3, data=Path("data/x"), workers=0)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()), encoding="utf-8")
    return tmp_path


def test_resume_alone_takes_the_settings_of_the_run(run: Path) -> None:
    assert parse_train(["--resume", str(run)]) == replace(read_run_config(run), resume=run)
    assert read_run_config(run).lr == 0.3


def test_a_resumed_run_may_move_to_another_device(run: Path) -> None:
    config = parse_train(["--resume", str(run), "--device", "cpu", "--workers", "1"])
    assert (config.device, config.workers, config.epochs) == ("cpu", 1, 7)


def test_a_resumed_run_may_go_on_for_longer_with_another_rate_but_not_for_less(run: Path) -> None:
    longer = parse_train(["--resume", str(run), "--epochs", "9", "--lr", "0.1", "--select", "last"])
    changes = {"resume": run, "epochs": 9, "lr": 0.1, "select": "last", "restarts": (7,)}
    assert longer == replace(read_run_config(run), **changes)
    with pytest.raises(ValueError, match="--select is fixed"):
        parse_train(["--resume", str(run), "--select", "last"])
    with pytest.raises(ValueError, match="--epochs is fixed"):
        parse_train(["--resume", str(run), "--epochs", "6"])
    with pytest.raises(ValueError, match="--lr is fixed"):
        parse_train(["--resume", str(run), "--lr", "0.1"])
    with pytest.raises(ValueError, match="--model is fixed"):
        parse_train(["--resume", str(run), "--epochs", "9", "--model", "resnet18"])


@pytest.mark.parametrize("restarts", [(0,), (7,), (3, 3), (5, 2)])
def test_restarts_lie_within_the_run_and_rise(restarts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"restarts must be rising epochs from 1 to 6"):
        TrainConfig(epochs=7, restarts=restarts)


def test_after_a_restart_crops_are_of_the_full_size() -> None:
    config = TrainConfig(epochs=14, restarts=(10, 12), first_px=64)
    sides = [config.side_px(epoch) for epoch in range(1, 15)]
    assert sides[:10] == [training_px(epoch, 10, 64, FULL_PX) for epoch in range(1, 11)]
    assert sides[0] == 64 and set(sides[10:]) == {FULL_PX}
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_resuming_something_that_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a run folder"):
        parse_train(["--resume", str(tmp_path / "nowhere")])


@pytest.mark.parametrize("module", ["masktrain.train", "masktrain.config"])
def test_importing_the_command_line_does_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
