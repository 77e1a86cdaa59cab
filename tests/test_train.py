"""The whole of training on tiny data: what it leaves behind, and what stopping it does."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_data

from masktrain import model, prepare, session, train
from masktrain.best import best_of
from masktrain.config import PrepareConfig, TrainConfig, read_run_config
from masktrain.model import load_checkpoint
from masktrain.multiclass import OUTPUTS
from masktrain.report import read_run

FLAGS = ["--model", "mobilenet_v3_small", "--init", "none", "--batch-size", "8"]
FLAGS += ["--wandb", "off", "--device", "cpu", "--workers", "0", "--amp", "off"]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


def flags_for(data: Path, runs: Path, *more: str) -> list[str]:
    """Return a command line for a tiny run."""
    return [*FLAGS, "--data", str(data), "--runs", str(runs), *more]


def only_run(runs: Path) -> Path:
    """Return the one run folder below `runs`."""
    (run,) = runs.iterdir()
    return run


def rows_of(run: Path) -> list[dict[str, str]]:
    """Return results.csv without what the clock decides."""
    with (run / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    clock = ("time_s", "images_per_s")
    return [{k: v for k, v in row.items() if k not in clock} for row in rows]


def same_weights(a: Path, b: Path) -> bool:
    """Return whether two checkpoints agree in every bit of network and optimiser."""
    one, other = load_checkpoint(a), load_checkpoint(b)
    return _same(one["model"], other["model"]) and _same(
        one.get("optimizer"), other.get("optimizer")
    )


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


@pytest.fixture(scope="module")
def straight(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 3 epochs that was never stopped."""
    runs = tmp_path_factory.mktemp("straight")
    real_val = ("--real-val", str(tiny_data / "test"))
    assert train.main(flags_for(tiny_data, runs, "--epochs", "3", *real_val)) == 0
    return only_run(runs)


def test_a_run_leaves_everything_people_expect(straight: Path) -> None:
    expected = """config.json env.json results.csv results.png roc.png pr.png calibration.png
        confusion_matrix.png train_batch0.jpg val_batch0_labels.jpg val_batch0_pred.jpg
        top_losses.jpg weights/best.pt weights/last.pt scores/val_000.npz scores/real_val_003.npz
        eval/tiny-test/metrics.json"""
    assert [name for name in expected.split() if not (straight / name).is_file()] == []
    assert list((straight / "tensorboard").glob("events*"))
    assert re.fullmatch(r"\d{8}-\d{6}-masktrain", straight.name)
    assert list(straight.rglob("*.tmp")) == []


def test_results_have_a_row_for_each_epoch_and_epoch_0_is_untrained(straight: Path) -> None:
    rows = rows_of(straight)
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert rows[0]["train/loss"] == "" and rows[0]["val/auc"] != ""
    for column in ("lr", "train/auc", "val/accuracy", "real_val/balanced_accuracy"):
        assert 0 <= float(rows[3][column]) <= 1
    assert float(rows[0]["val/loss"]) == pytest.approx(np.log(2), abs=0.05)


def test_the_record_of_a_run_is_complete(straight: Path) -> None:
    config = json.loads((straight / "config.json").read_text("utf-8"))
    assert TrainConfig.from_dict(config) == read_run_config(straight)
    assert config == load_checkpoint(straight / "weights" / "best.pt")["config"]
    environment = json.loads((straight / "env.json").read_text("utf-8"))
    assert environment["packages"]["torch"] and environment["device"] == "cpu"


def chosen(run: Path, series: str) -> int:
    """Return the epoch that the rule picks from results.csv."""
    rows = rows_of(run)
    values = [[float(row[key]) for key in (f"{series}/auc", f"{series}/loss")] for row in rows]
    return best_of((int(row["epoch"]), *pair) for row, pair in zip(rows, values, strict=True)).epoch


def test_the_full_size_is_what_is_kept_of_a_run_that_began_with_small_crops(
    tiny_data: Path, tmp_path: Path
) -> None:
    assert train.main(flags_for(tiny_data, tmp_path, "--epochs", "2", "--first-px", "32")) == 0
    run = only_run(tmp_path)
    assert [float(row["side_px"]) for row in rows_of(run)] == [32, 32, 112]
    assert load_checkpoint(run / "weights" / "best.pt")["epoch"] == 2
    assert read_run(run).best_epoch == 2


def test_the_best_checkpoint_is_that_of_the_best_epoch(straight: Path) -> None:
    best = load_checkpoint(straight / "weights" / "best.pt")
    assert best["epoch"] == chosen(straight, "val") > 0
    assert "optimizer" not in best
    assert load_checkpoint(straight / "weights" / "last.pt")["epoch"] == 3


def test_scores_on_disk_give_the_numbers_in_the_table(straight: Path) -> None:
    with np.load(straight / "scores" / "val_002.npz") as arrays:
        accuracy = np.mean((arrays["scores"] >= 0.5) == arrays["labels"])
        assert float(rows_of(straight)[2]["val/accuracy"]) == pytest.approx(accuracy)
        assert float(rows_of(straight)[2]["val/loss"]) == pytest.approx(float(arrays["loss"]))


def test_stopping_twice_and_resuming_equals_the_straight_run(
    straight: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_val = ("--real-val", str(tiny_data / "test"))
    with monkeypatch.context() as patch:
        patch.setattr(session, "train_one_epoch", _stops_in_epoch_2)
        words = flags_for(tiny_data, tmp_path, "--epochs", "3", *real_val)
        assert train.main(words) == 130
    run = only_run(tmp_path)
    assert [row["epoch"] for row in rows_of(run)] == ["0", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(session.Session, "save_last", _disk_full_in_epoch_3)
        assert train.main(["--resume", str(run), "--workers", "2"]) == 1
    assert len(rows_of(run)) == 4  # logged, but not saved: to be done again
    assert train.main(["--resume", str(run)]) == 0
    assert rows_of(run) == rows_of(straight)
    assert same_weights(run / "weights" / "last.pt", straight / "weights" / "last.pt")
    assert same_weights(run / "weights" / "best.pt", straight / "weights" / "best.pt")
    assert len(json.loads((run / "env.json").read_text("utf-8"))["resumed"]) == 2


_TRAIN_ONE_EPOCH, _SAVE_LAST = session.train_one_epoch, session.Session.save_last


def _stops_in_epoch_2(net: torch.nn.Module, loader: Any, *args: Any, **kwargs: Any) -> Any:
    def some() -> Any:
        for number, batch in enumerate(loader):
            if kwargs["epoch"] == 2 and number == 2:
                raise KeyboardInterrupt
            yield batch

    return _TRAIN_ONE_EPOCH(net, some(), *args, **kwargs)


def _disk_full_in_epoch_3(self: session.Session) -> None:
    if self.epoch == 3:
        raise OSError(28, "No space left on device", "last.pt")
    _SAVE_LAST(self)


def test_resuming_a_finished_run_trains_no_further(straight: Path) -> None:
    before = (straight / "weights" / "last.pt").read_bytes()
    assert train.main(["--resume", str(straight)]) == 0
    assert (straight / "weights" / "last.pt").read_bytes() == before


def test_resuming_with_changed_data_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_data(tmp_path / "data", {"train": 4, "val": 2})
    assert train.main(flags_for(data, tmp_path / "runs", "--epochs", "1")) == 0
    (data / "train" / "no_mask" / "000.png").unlink()
    run = only_run(tmp_path / "runs")
    assert train.main(["--resume", str(run)]) == 1
    assert "has changed since" in capsys.readouterr().err


@POSIX
@pytest.mark.parametrize(
    ("number", "code", "whole_group"),
    [(signal.SIGINT, 130, True), (signal.SIGTERM, 143, False), (signal.SIGTERM, 143, True)],
)
def test_a_signal_saves_says_how_to_go_on_and_exits(
    tiny_data: Path, tmp_path: Path, number: signal.Signals, code: int, whole_group: bool
) -> None:
    words = flags_for(tiny_data, tmp_path, "--epochs", "500", "--workers", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "masktrain.train", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that starts the tests in the background may have told them to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch   1/500"):
            break
    time.sleep(0.3)
    (os.killpg if whole_group else os.kill)(process.pid, number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert "Traceback" not in err
    run = only_run(tmp_path)
    assert f"python -m masktrain.train --resume {run}" in out
    saved = load_checkpoint(run / "weights" / "last.pt")
    assert saved["epoch"] >= 1 and f"\n{saved['epoch']}," in (run / "results.csv").read_text()


def test_the_command_ends_quietly_with_workers(tiny_data: Path, tmp_path: Path) -> None:
    words = flags_for(tiny_data, tmp_path, "--epochs", "1", "--workers", "2")
    command = [sys.executable, "-m", "masktrain.train", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert done.stderr == ""
    assert f"run folder:   {only_run(tmp_path)}" in done.stdout


def test_a_loss_that_is_not_finite_ends_the_run_in_one_line(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = flags_for(tiny_data, tmp_path, "--lr", "1e30", "--warmup-epochs", "0")
    assert train.main(words) == 1
    err = capsys.readouterr().err
    assert re.search(r"^error: the loss is not finite in epoch \d+, batch \d+;", err, re.M)
    assert "Traceback" not in err


def test_a_trained_net_is_not_the_prevalence(tmp_path: Path) -> None:
    # 3 of 4 validation faces would be right by always saying no_mask.
    data = make_data(tmp_path / "data", {"train": 32, "val": 9})
    for person in range(3, 9):
        (data / "val" / "wearing_mask" / f"{person:03d}.png").unlink()
    flags = ["--epochs", "8", "--optimizer", "adam", "--lr", "0.004", "--warmup-epochs", "0.5"]
    assert train.main(flags_for(data, tmp_path / "runs", *flags)) == 0
    rows = rows_of(only_run(tmp_path / "runs"))
    assert float(rows[-1]["train/auc"]) > 0.75
    assert max(float(row["val/auc"]) for row in rows[1:]) > 0.95
    assert float(rows[-1]["val/accuracy"]) > 0.85


def test_real_faces_may_choose_the_best_weights(tiny_data: Path, tmp_path: Path) -> None:
    more = ("--real-val", str(tiny_data / "test"), "--select", "real_val", "--epochs", "1")
    assert train.main(flags_for(tiny_data, tmp_path, *more)) == 0
    run = only_run(tmp_path)
    assert load_checkpoint(run / "weights" / "best.pt")["epoch"] == chosen(run, "real_val")


def test_dry_run_counts_shows_and_estimates_but_trains_nothing(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(flags_for(tiny_data, tmp_path, "--dry-run", "--init", "imagenet")) == 0
    out = capsys.readouterr().out
    assert re.search(r"train +no_mask +16 +8\n", out)
    assert "estimated time: " in out and "for 50 epochs" in out
    assert [p.name for p in tmp_path.rglob("*.*")] == ["train_batch0.jpg"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "nowhere"], "no folder nowhere"),
        (["--init", "missing.pt"], "no checkpoint at missing.pt"),
        (["--device", "warp"], "device warp cannot be used"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_run(
    words: list[str],
    message: str,
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train.main(flags_for(tiny_data, tmp_path / "runs", *words)) == 1
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_resuming_what_is_no_run_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(["--resume", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err


def test_faces_are_prepared_when_no_data_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[PrepareConfig] = []
    monkeypatch.setattr(prepare, "prepare", lambda config: asked.append(config) or Path("data/x"))
    config = replace(TrainConfig(), faces="photos", limit=7, model="resnet18", init="none")
    assert train.data_folder(config) == Path("data/x")
    assert (asked[0].faces, asked[0].limit) == ("photos", 7)


def test_a_run_goes_on_with_its_data_whatever_photos_have_come_since(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(prepare, "prepare", lambda config: Path("anew"))
    run, data = tmp_path / "run", tmp_path / "faces"
    run.mkdir()
    config = replace(TrainConfig(), faces="photos", resume=run)
    assert train.data_folder(config) == Path("anew"), "a run of an older version"
    (run / "data.json").write_text(json.dumps({"data": data.as_posix()}))
    assert train.data_folder(config) == Path("anew"), "what is gone is prepared again"
    data.mkdir()
    assert train.data_folder(config) == data


def test_weights_of_three_classes_are_tried_on_a_network_of_three(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, str, int]] = []
    monkeypatch.setattr(model, "build_model", lambda *words: asked.append(words))
    monkeypatch.setattr(prepare, "prepare", lambda config: Path("data/x"))
    config = replace(TrainConfig(), faces="photos", model="resnet18", init="mine")
    for classes, logits in ((2, 1), (3, len(OUTPUTS))):
        train.data_folder(replace(config, classes=classes))
        assert asked.pop() == ("resnet18", "mine", logits)


def test_weights_that_cannot_be_had_are_told_before_faces_are_prepared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[PrepareConfig] = []
    monkeypatch.setattr(prepare, "prepare", asked.append)
    config = replace(TrainConfig(), model="resnet18", init=str(tmp_path / "none.pt"))
    with pytest.raises(ValueError, match=r"none\.pt"):
        train.data_folder(config)
    assert not asked


def test_two_runs_in_one_second_get_two_folders(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from masktrain import run_folder

    monkeypatch.setattr(time, "strftime", lambda _: "20260101-000000")
    names = [run_folder.new_run(TrainConfig(runs=tmp_path), {}).name for _ in range(2)]
    assert names == ["20260101-000000-masktrain", "20260101-000000-masktrain-2"]
