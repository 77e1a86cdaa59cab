"""Weights to hand on: a file that can run nothing, found by name, with a card from the run."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from masktrain import release, run_folder
from masktrain.evaluate import main as evaluate
from masktrain.model import (
    CheckpointError,
    Preprocessing,
    build_model,
    load_checkpoint,
    load_classifier,
    save_checkpoint,
)
from masktrain.run_folder import RELEASED, RELEASES, results_folder, run_of, weights_file
from masktrain.tensors import DoesNotFitError, pack, unpack

SMALL = "mobilenet_v3_small"
INTERVAL = {"value": 0.912, "low": 0.9, "high": 0.92}


def payload(**changes: object) -> dict[str, object]:
    torch.manual_seed(0)
    return {
        "model": build_model(SMALL).state_dict(),
        "arch": SMALL,
        "preprocessing": Preprocessing().to_dict(),
        "threshold": 0.4,
        "threshold_from": "a test",
        "epoch": 3,
        "config": {"seed": 7},
        "optimizer": {"lr": torch.ones(3)},
    } | changes


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder that was judged once; releases go to a folder of the test's own."""
    monkeypatch.setattr(run_folder, "RELEASES", tmp_path / "reports" / "weights")
    folder = tmp_path / "20261121-101500-tiny"
    (folder / "weights").mkdir(parents=True)
    save_checkpoint(folder / "weights" / "best.pt", payload())
    judged = folder / "eval" / "real_test"
    judged.mkdir(parents=True)
    names = ("roc_auc", "balanced_accuracy", "sensitivity", "specificity")
    found = {"n": 50, "split": None, "threshold": 0.5} | dict.fromkeys(names, INTERVAL)
    (judged / "metrics.json").write_text(json.dumps(found))
    (folder / "config.json").write_text(json.dumps({"model": SMALL, "data": "data/mine"}))
    (folder / "env.json").write_text(json.dumps({"git_commit": "abc123"}))
    return folder


def test_a_folder_stands_for_the_weights_that_it_keeps(tmp_path: Path) -> None:
    assert weights_file(tmp_path) == tmp_path / "weights/best.pt", "named when there are none"
    (tmp_path / "weights.pt").write_bytes(b"")
    assert weights_file(tmp_path) == tmp_path / "weights.pt"
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/best.pt").write_bytes(b"")
    assert weights_file(tmp_path) == tmp_path / "weights/best.pt"


def test_what_is_packed_is_what_comes_back_in_half_the_size(tmp_path: Path) -> None:
    before = payload()
    packed = pack(before)
    after = unpack(packed)
    save_checkpoint(tmp_path / "a.pt", {"model": before["model"]})
    assert len(packed) < 0.56 * (tmp_path / "a.pt").stat().st_size
    assert {k: v for k, v in after.items() if k != "model"} == {
        k: json.loads(json.dumps(v)) for k, v in before.items() if k not in ("model", "optimizer")
    }
    for name, tensor in before["model"].items():
        assert after["model"][name].dtype == tensor.dtype
        assert torch.allclose(after["model"][name], tensor, rtol=1e-3, atol=1e-6), name


@pytest.mark.parametrize("value", [1e6, float("nan"), float("-inf")])
def test_a_weight_that_half_precision_cannot_hold_is_named(value: float) -> None:
    model = {"fine": torch.ones(2), "layer.weight": torch.tensor([1.0, value])}
    with pytest.raises(DoesNotFitError, match=r"layer\.weight does not fit half precision"):
        pack(payload(model=model))


@pytest.mark.parametrize("cut", [0, 4, 200, -1])
def test_damaged_weights_are_an_error_that_names_the_file(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(pack(payload())[:cut])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors is damaged or not"):
        load_checkpoint(path)


def test_safetensors_of_others_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of masktrain"):
        load_checkpoint(path)


def test_released_weights_are_taken_by_name_and_say_the_same(
    run: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert release.main([str(run), "--name", "tiny-1"]) == 0
    weights = run_folder.RELEASES / "tiny-1" / RELEASED
    monkeypatch.chdir(run)  # a name is known from everywhere
    assert weights_file(Path("tiny-1")) == weights
    # What is found out about them may show people: it does not go where they lie.
    assert results_folder(weights, "eval", "real") == Path("runs/tiny-1/eval/real")
    images = torch.randn(4, 3, 112, 112)
    with torch.no_grad():
        one, other = (
            load_classifier(weights_file(Path(path))).net(images) for path in (str(run), "tiny-1")
        )
    assert torch.allclose(one, other, atol=0.01) and not torch.equal(one, other)
    command = ["--weights", "tiny-1", "--data", str(tiny_data)]
    assert evaluate(command) == 0
    found = list(Path("runs/tiny-1/eval").glob("*/metrics.json"))
    assert len(found) == 1
    record = json.loads(found[0].read_text())
    assert record["weights_sha256"] == _digest(weights)
    # Not where the project lies on this machine: records are handed on, too.
    assert record["weights"] == f"reports/weights/tiny-1/{RELEASED}"


def test_a_folder_of_that_name_comes_first(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release.main([str(run), "--name", "tiny-1"])
    shutil.copytree(run, run.parent / "tiny-1")
    monkeypatch.chdir(run.parent)
    assert weights_file(Path("tiny-1")) == Path("tiny-1/weights/best.pt")


def test_what_is_found_of_released_weights_goes_to_runs_however_they_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(RELEASES.parents[1])
    for weights in (RELEASES / "small" / RELEASED, Path("reports/weights/small") / RELEASED):
        assert run_of(weights_file(weights)) == Path("runs/small")
        assert run_of(weights_file(weights.parent)) == Path("runs/small")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_card_states_the_file_and_the_numbers_of_the_run(run: Path) -> None:
    weights, card = release.release(run, "tiny-1", run_folder.RELEASES / "tiny-1")
    text = card.read_text()
    for wanted in (
        "# Weights: tiny-1",
        f"`{_digest(weights)}`",
        f"{weights.stat().st_size / 1e6:.1f} MB",
        "commit abc123",
        "python -m masktrain.evaluate --weights tiny-1 --data real_crops/",
        "| real_test | 50 | 0.912 (0.900-0.920) |",
        "non-commercial research",
    ):
        assert wanted in text, wanted


def test_the_card_names_the_probes_that_were_not_passed(run: Path) -> None:
    limits = {"value": 0.07, "low": 0.04, "high": 0.12}
    rows = [
        {"name": name, "before": limits | {"value": 0.05}, "after": limits, "passed": passed}
        for name, passed in (("hand", False), ("beard", True))
    ]
    (run / "probes").mkdir()
    for others, told in ((rows, "Of 2 changes that put no mask on, 1 raise"), ([], "0 raise")):
        found = {"probes": others, "occluders": []}
        (run / "probes" / "probes.json").write_text(json.dumps(found))
        _, card = release.release(run, "mine", run.parent / "mine")
        text = card.read_text("utf-8")
        assert told in text and "beard" not in text
        assert ("- hand: 0.070 (0.040 to 0.120), before 0.050" in text) == bool(others)
    known = payload()
    assert f"| threshold | {known['threshold']:g} ({known['threshold_from']}) |" in text


def test_what_cannot_be_released_is_said_and_nothing_is_written(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run / "eval")
    assert release.main([str(run), "--name", "tiny-1"]) == 1
    assert "was judged on nothing yet: run masktrain.evaluate first" in capsys.readouterr().err
    assert not run_folder.RELEASES.exists()
    with pytest.raises(ValueError, match="a name is of letters"):
        release.ReleaseConfig(run, "../up")
    assert dataclasses.is_dataclass(release.ReleaseConfig)


def test_every_card_in_the_repository_states_its_own_file() -> None:
    folder = Path(__file__).resolve().parent.parent / "reports" / "weights"
    for weights in folder.glob(f"*/{RELEASED}"):
        text = (weights.parent / release.CARD).read_text()
        assert _digest(weights) in text, weights
        assert load_classifier(weights).arch in text
