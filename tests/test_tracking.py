"""Logging: the CSV is the record; the other sinks may fail and training goes on."""

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masktrain import sinks, tracking
from masktrain.figures import roc_figure
from masktrain.metrics import Scores
from masktrain.sinks import choose_wandb_mode
from masktrain.tracking import Tracker, read_results

COLUMNS = ("lr", "val/loss", "val/auc")
SCORES = Scores(np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.6, 0.4]), 0.5)


class Recorder:
    """A sink that notes every call."""

    def __init__(self, *_: object) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **_: self.calls.append((name, *args))


class Broken:
    """A sink whose every method fails."""

    def __init__(self, *_: object) -> None:
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object) -> None:
            self.calls += 1
            raise OSError("no space left")

        return fail


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Stands in for TensorBoard."""
    sink = Recorder()
    monkeypatch.setattr(tracking, "TensorBoardSink", lambda *_: sink)
    return sink


def test_every_epoch_is_one_row_at_once_and_nan_is_an_empty_cell(
    tmp_path: Path, recorder: Recorder
) -> None:
    tracker = Tracker(tmp_path, COLUMNS, {})
    tracker.log({"lr": math.nan, "val/loss": 0.7, "val/auc": 0.5}, 0)
    tracker.log({"lr": 0.1, "val/loss": 1 / 3, "val/auc": 0.75}, 1)
    text = (tmp_path / "results.csv").read_text(encoding="utf-8")
    assert text == "epoch,lr,val/loss,val/auc\n0,,0.7,0.5\n1,0.1,0.333333333,0.75\n"
    assert recorder.calls[0] == ("log", {"val/loss": 0.7, "val/auc": 0.5}, 0)
    tracker.close()
    assert recorder.calls[-1] == ("close", {"val/auc": 0.75})


def test_resuming_drops_the_rows_of_an_unfinished_epoch(tmp_path: Path, recorder: Recorder) -> None:
    first = Tracker(tmp_path, COLUMNS, {})
    for epoch, auc in enumerate((0.5, 0.9, 0.99)):
        first.log({"lr": 0.1, "val/loss": 0.3, "val/auc": auc}, epoch)
    with (tmp_path / "results.csv").open("a", encoding="utf-8") as file:
        file.write("3,0.1")  # the power failed here
    again = Tracker(tmp_path, COLUMNS, {}, keep_through=1)
    assert [row["epoch"] for row in read_results(tmp_path / "results.csv")] == ["0", "1"]
    again.close()
    assert recorder.calls[-1] == ("close", {"val/auc": 0.9})


def test_the_best_is_of_the_largest_crops_before_and_after_a_stop(
    tmp_path: Path, recorder: Recorder
) -> None:
    columns = ("side_px", "val/loss", "val/auc")
    first = Tracker(tmp_path, columns, {})
    for epoch, (side_px, auc) in enumerate(((64, 0.99), (112, 0.8), (112, 0.7))):
        first.log({"side_px": side_px, "val/loss": 0.3, "val/auc": auc}, epoch)
    first.close()
    assert recorder.calls[-1] == ("close", {"val/auc": 0.8})
    again = Tracker(tmp_path, columns, {}, keep_through=2)
    again.close()
    assert recorder.calls[-1] == ("close", {"val/auc": 0.8})


def test_a_sink_that_fails_is_reported_once_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Broken()
    monkeypatch.setattr(tracking, "TensorBoardSink", lambda *_: broken)
    tracker = Tracker(tmp_path, COLUMNS, {})
    for epoch in range(3):
        tracker.log({"lr": 0.1, "val/loss": 0.3, "val/auc": 0.5}, epoch)
        tracker.log_image("batch", np.zeros((4, 4, 3), np.uint8), epoch)
    tracker.close()
    assert broken.calls == 1
    assert capsys.readouterr().err.count("no space left") == 1
    assert len(read_results(tmp_path / "results.csv")) == 3


def test_a_sink_that_cannot_start_does_not_stop_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ImportError("No module named 'wandb'")

    monkeypatch.setattr(tracking, "TensorBoardSink", Recorder)
    monkeypatch.setattr(tracking, "WandbSink", fail)
    tracker = Tracker(tmp_path, COLUMNS, {}, wandb_mode="auto")
    tracker.log({"lr": 0.1, "val/loss": 0.3, "val/auc": 0.5}, 0)
    assert "No module named 'wandb'" in capsys.readouterr().err


def test_curves_of_one_class_are_left_out(tmp_path: Path, recorder: Recorder) -> None:
    tracker = Tracker(tmp_path, COLUMNS, {})
    tracker.log_roc("val", Scores(np.zeros(2, np.int64), np.array([0.1, 0.2]), 0.1), 0)
    tracker.log_roc("val", SCORES, 1)
    assert [call[0] for call in recorder.calls] == ["log_roc"]


def test_a_csv_that_cannot_be_written_is_an_error(tmp_path: Path, recorder: Recorder) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Tracker(tmp_path / "file", COLUMNS, {})


def test_tensorboard_has_scalars_curves_pictures_and_settings(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path, COLUMNS, {"lr": 0.1, "data": None})
    tracker.log({"lr": 0.1, "val/loss": 0.3, "val/auc": 0.75}, 1)
    tracker.log_roc("val", SCORES, 1)
    tracker.log_figure("roc", roc_figure([("val", SCORES)]), 1)
    tracker.log_image("train_batch0", np.zeros((8, 8, 3), np.uint8), 1)
    tracker.log_table("worst", ("path", "score"), [("a.jpg", 0.1)])
    tracker.close()
    folders = [p for p in (tmp_path / "tensorboard").rglob("*") if p.is_dir()]
    assert folders == []  # no stray run beside it
    tags = _event_tags(tmp_path / "tensorboard")
    wanted = {"val/auc", "val/pr", "val/roc", "roc", "train_batch0", "best/val/auc"}
    assert wanted <= tags
    assert "_hparams_/session_start_info" in tags


def _event_tags(folder: Path) -> set[str]:
    """Read TensorBoard's record files: length, checksum, event, checksum."""
    from tensorboard.compat.proto.event_pb2 import Event

    tags = set()
    for path in folder.glob("events*"):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            tags |= {value.tag for value in event.summary.value}
            at += 16 + length
    return tags


def test_wandb_is_offline_without_a_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sinks, "_can_connect", lambda _: True)
    assert choose_wandb_mode("auto") == "offline"
    assert choose_wandb_mode("online") == "offline"
    assert "no W&B key" in capsys.readouterr().err


def test_wandb_is_online_only_with_a_key_and_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr(sinks, "_can_connect", lambda _: True)
    assert choose_wandb_mode("auto") == "online"
    assert choose_wandb_mode("offline") == "offline"
    monkeypatch.setattr(sinks, "_can_connect", lambda _: False)
    assert choose_wandb_mode("auto") == "offline"


def test_a_key_in_netrc_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password x\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(sinks, "_can_connect", lambda _: True)
    assert choose_wandb_mode("auto") == "online"


def test_wandb_takes_every_kind_of_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    pytest.importorskip("pandas")
    logged: list[dict[str, Any]] = []

    class Run:
        url, dir = None, str(tmp_path / "files")
        summary: dict[str, float] = {}  # noqa: RUF012

        def define_metric(self, *_: object, **__: object) -> None: ...

        def log(self, values: dict[str, Any], step: int | None = None) -> None:
            logged.append({**values, "step": step})

        def finish(self) -> None:
            logged.append({"finished": True})

    asked: dict[str, Any] = {}
    monkeypatch.setattr(wandb, "init", lambda **kwargs: asked.update(kwargs) or Run())
    monkeypatch.setattr(tracking, "TensorBoardSink", Recorder)
    tracker = Tracker(
        tmp_path,
        COLUMNS,
        {"lr": 0.1},
        wandb_mode="auto",
        wandb_project="kiosk",
        wandb_group="core",
    )
    tracker.log({"lr": 0.1, "val/loss": 0.3, "val/auc": 0.75}, 1)
    tracker.log_roc("val", SCORES, 1)
    tracker.log_image("batch", np.zeros((8, 8, 3), np.uint8), 1)
    tracker.log_table("worst", ("path", "score"), [("a.jpg", 0.1)])
    tracker.close()
    assert asked["mode"] == "offline" and asked["config"] == {"lr": 0.1}
    assert (asked["project"], asked["group"]) == ("kiosk", "core")
    assert {"val/roc", "batch", "worst"} <= {key for values in logged for key in values}
    assert Run.summary == {"best/val/auc": 0.75}
    assert logged[-1] == {"finished": True}
