"""A checkpoint against a folder, end to end, on a few tiny crops and a random network."""

import csv
import hashlib
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from masktrain import evaluate, evaluation_files
from masktrain.calibration import fit_temperature
from masktrain.config import TrainConfig
from masktrain.metrics import Scores, evaluate_scores
from masktrain.model import Preprocessing, build_model, save_checkpoint
from masktrain.run_folder import save_scores
from masktrain.thresholds import choose_threshold, parse_threshold

FILES = {
    "metrics.json",
    "predictions.csv",
    "confusion_matrix.png",
    "roc.png",
    "pr.png",
    "calibration.png",
    "slices.md",
    "slices.png",
    "top_losses.jpg",
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the best.pt of a run folder: a ResNet-18 with random weights."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("runs") / "20261120-101500-tiny" / "weights"
    folder.mkdir(parents=True)
    payload = {
        "model": build_model("resnet18", "none").state_dict(),
        "arch": "resnet18",
        "preprocessing": Preprocessing().to_dict(),
        "threshold": 0.5,
        "threshold_from": "default",
        "epoch": 3,
        "config": {},
    }
    save_checkpoint(folder / "best.pt", payload)
    return folder / "best.pt"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder of ten crops, five of each class, of several sizes."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("no_mask", "wearing_mask")):
        folder = tmp_path / "crops" / name
        folder.mkdir(parents=True)
        for index in range(5):
            side_px = 100 + 20 * index
            pixels = rng.integers(0, 120 + 100 * label, (side_px, side_px, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / f"face {index}.é.png"), pixels)
    return tmp_path / "crops"


def run_main(*words: object) -> int:
    return evaluate.main([str(word) for word in words])


def read_metrics(folder: Path) -> dict[str, object]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    text = (folder / "metrics.json").read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


def read_predictions(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_predictions_say_whose_face_each_is(
    weights: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--weights", weights, "--data", tiny_data, "--output", tmp_path)
    assert run_main(*words, "--split", "val") == 0
    with (tiny_data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        known = {row["path"]: row["identity"] for row in csv.DictReader(file)}
    found = {row["path"]: row["identity"] for row in read_predictions(tmp_path)}
    assert found and found == {path: known[path] for path in found}
    assert len(set(found.values())) < len(found)


def test_everything_is_written_below_the_run_and_agrees(
    weights: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main("--weights", weights, "--data", data) == 0
    folder = weights.parent.parent / "eval" / "crops"
    assert {path.name for path in folder.iterdir()} == FILES
    metrics, rows = read_metrics(folder), read_predictions(folder)
    assert (metrics["n"], metrics["epoch"], metrics["model"]) == (10, 3, "resnet18")
    assert (metrics["threshold"], metrics["threshold_from"]) == (0.5, "default")
    assert metrics["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    labels = np.array([row["label"] == "wearing_mask" for row in rows]).astype(np.int64)
    scores = Scores(labels, np.array([float(row["score"]) for row in rows]), 0.0)
    again = evaluate_scores(scores).to_dict()
    assert all(metrics[k] == again[k] for k in ("tp", "tn", "accuracy", "roc_auc", "pr_auc"))
    out = capsys.readouterr().out
    assert "10 faces: 5 wearing_mask, 5 no_mask" in out and str(folder) in out
    shutil.rmtree(folder)


def test_predictions_are_in_the_order_of_their_paths_for_any_batch_size(
    weights: Path, data: Path, tmp_path: Path
) -> None:
    tables = []
    for size in (1, 3, 64):
        options = ("--batch-size", size, "--output", tmp_path / f"{size}")
        assert run_main("--weights", weights, "--data", data, *options) == 0
        tables.append(read_predictions(tmp_path / f"{size}"))
    for table in tables:
        assert [row["path"].split("/")[0] for row in table] == [row["label"] for row in table]
        assert [row["path"] for row in table] == [row["path"] for row in tables[0]]
        scores = [[float(row["score"]) for row in one] for one in (table, tables[0])]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_a_second_evaluation_writes_the_same_bytes(
    weights: Path, data: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        assert run_main("--weights", weights, "--data", data, "--output", tmp_path / name) == 0
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_threshold_can_be_given_and_moves_the_counts(
    weights: Path, data: Path, tmp_path: Path
) -> None:
    for threshold, found in ((0, 10), (1, 0)):
        options = ("--threshold", threshold, "--output", tmp_path / "out")
        assert run_main("--weights", weights, "--data", data, *options) == 0
        metrics = read_metrics(tmp_path / "out")
        assert metrics["tp"] + metrics["fp"] == found  # type: ignore[operator]
        assert metrics["threshold_from"] == "--threshold"


def test_a_threshold_is_chosen_on_the_runs_validation_and_never_on_the_faces(
    weights: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = weights.parent.parent
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 200)
    scores = Scores(labels, np.clip(rng.normal(0.2 + 0.1 * labels, 0.05), 0, 1), 0.5)
    words = ("--weights", weights, "--data", data, "--output", tmp_path / "out")
    assert run_main(*words, "--threshold", "youden", "--chosen-on", "real_val") == 1
    assert "the run's own real_val scores of epoch 3" in capsys.readouterr().err
    save_scores(run, "real_val", 3, scores)
    for rule in ("youden", "fnr=0.05", "cost=10:1"):
        assert run_main(*words, "--threshold", rule, "--chosen-on", "real_val") == 0
        metrics = read_metrics(tmp_path / "out")
        wanted = choose_threshold(scores, parse_threshold(rule))  # type: ignore[arg-type]
        assert metrics["threshold"] == pytest.approx(wanted)
        assert metrics["threshold_from"] == f"{rule} on real_val"
    calibration = metrics["calibration"]
    assert isinstance(calibration, dict) and calibration["temperature_from"] == "real_val"
    assert calibration["temperature"] == pytest.approx(fit_temperature(scores))
    shutil.rmtree(run / "scores")


def test_a_list_of_facts_makes_slices(weights: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "facts.csv").write_text(
        "path,light\nno_mask/face 0.é.png,dim\nwearing_mask/face 1.é.png,dim\n", encoding="utf-8"
    )
    words = ("--weights", weights, "--data", data, "--output", tmp_path / "out")
    assert run_main(*words, "--facts", tmp_path / "facts.csv") == 0
    slices = read_metrics(tmp_path / "out")["slices"]
    assert isinstance(slices, dict)
    (row,) = [row for row in slices["rows"] if row["fact"] == "light"]
    said = {row["path"]: float(row["score"]) >= 0.5 for row in read_predictions(tmp_path / "out")}
    right = [not said["no_mask/face 0.é.png"], said["wearing_mask/face 1.é.png"]]
    assert (row["value"], row["n"], row["right"]["value"]) == ("dim", 2, np.mean(right))
    assert "| light | dim | 2 |" in (tmp_path / "out/slices.md").read_text(encoding="utf-8")


def test_unreadable_files_are_skipped_and_listed(
    weights: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "no_mask" / "empty.jpg").write_bytes(b"")
    for index in range(12):
        (data / "wearing_mask" / f"text {index}.png").write_text("no image")
    assert run_main("--weights", weights, "--data", data, "--output", tmp_path / "out") == 0
    metrics = read_metrics(tmp_path / "out")
    skipped = metrics["skipped"]
    assert isinstance(skipped, list) and len(skipped) == 13 and metrics["n"] == 10
    assert skipped[0]["path"] == "no_mask/empty.jpg" and skipped[0]["reason"]
    out = capsys.readouterr().out
    assert "skipped 13 files" in out and "all of them are in" in out
    assert sum("text " in line for line in out.splitlines()) < 12


@pytest.mark.parametrize("missing", ["no_mask", "wearing_mask"])
@pytest.mark.parametrize("how", ["no folder", "empty folder", "unreadable"])
def test_with_one_class_what_needs_both_is_null_and_one_line_says_so(
    weights: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    missing: str,
    how: str,
) -> None:
    shutil.rmtree(data / missing)
    if how != "no folder":
        (data / missing).mkdir()
    if how == "unreadable":
        (data / missing / "bad.png").write_text("no image")
    assert run_main("--weights", weights, "--data", data, "--output", tmp_path / "out") == 0
    metrics = read_metrics(tmp_path / "out")
    unknown = {
        key for key, v in metrics.items() if isinstance(v, dict) and v.get("value", 0) is None
    }
    rate = "specificity" if missing == "no_mask" else "sensitivity"
    assert unknown == {"balanced_accuracy", "precision", "f1", "roc_auc", "pr_auc", rate}
    present = "wearing_mask" if missing == "no_mask" else "no_mask"
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(f"only {present} faces") for line in lines) == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_a_run_folder_stands_for_its_best_weights_and_prepared_data_for_its_test_split(
    weights: Path, data: Path
) -> None:
    prepared = data.parent / "demo"
    shutil.copytree(data, prepared / "test")
    shutil.copytree(data, prepared / "val")
    run = weights.parent.parent
    assert run_main("--weights", run, "--data", prepared) == 0
    assert read_metrics(run / "eval" / "demo-test")["split"] == "test"
    assert run_main("--weights", run, "--data", prepared, "--split", "val") == 0
    assert read_metrics(run / "eval" / "demo-val")["split"] == "val"
    assert read_predictions(run / "eval" / "demo-val")[0]["path"].startswith("val/no_mask/")
    shutil.rmtree(run / "eval")


def test_weights_that_are_not_the_best_get_a_folder_of_their_own(
    weights: Path, data: Path, tmp_path: Path
) -> None:
    last = tmp_path / "run" / "weights" / "last.pt"
    last.parent.mkdir(parents=True)
    shutil.copy(weights, last)
    assert run_main("--weights", last, "--data", data) == 0
    assert (tmp_path / "run" / "eval" / "crops-last" / "metrics.json").is_file()


def test_worn_incorrectly_is_left_out_and_counted(
    weights: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(data / "no_mask", data / "worn_incorrectly")
    assert run_main("--weights", weights, "--data", data, "--output", tmp_path / "out") == 0
    metrics = read_metrics(tmp_path / "out")
    assert (metrics["n"], metrics["left_out"]) == (10, 5)
    assert "left out 5 worn_incorrectly: no class" in capsys.readouterr().out


@pytest.mark.parametrize("case", ["no data", "empty data", "empty classes", "no split"])
def test_data_that_is_not_there_gives_one_line_and_exit_1(
    weights: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    options: list[object] = ["--weights", weights, "--data", data]
    if case == "no split":
        options += ["--split", "test"]
    else:
        shutil.rmtree(data)
    if case == "empty data":
        data.mkdir()
    if case == "empty classes":
        (data / "no_mask").mkdir(parents=True)
        (data / "wearing_mask").mkdir()
    assert_one_line(run_main(*options), capsys, "crops")
    assert not (weights.parent.parent / "eval").exists()


def assert_one_line(code: int, capsys: pytest.CaptureFixture[str], words: str) -> None:
    captured = capsys.readouterr()
    assert code == 1 and captured.out == ""
    assert captured.err.startswith("evaluate: ") and captured.err.count("\n") == 1
    assert words in captured.err


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint", b"PK\x03\x04 cut short"])
def test_weights_that_cannot_be_read_give_one_line_and_exit_1(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    path = tmp_path / "model.pt"
    if content is not None:
        path.write_bytes(content)
    assert_one_line(run_main("--weights", path, "--data", data), capsys, "model.pt")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("threshold", 1.5, "threshold must be a number from 0 to 1"),
        ("batch-size", 0, "batch_size must be >= 1, got 0"),
    ],
)
def test_impossible_settings_are_usage_errors_that_name_the_rule(
    capsys: pytest.CaptureFixture[str], option: str, value: object, words: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        run_main("--weights", "best.pt", "--data", "crops", f"--{option}", value)
    assert stop.value.code == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_device_that_is_not_there_gives_one_line_and_exit_1(
    weights: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_main("--weights", weights, "--data", data, "--device", "tpu9")
    assert_one_line(code, capsys, "tpu9")


def test_a_network_that_gives_nan_is_not_measured(
    weights: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    payload = torch.load(weights, weights_only=True)
    payload["model"]["fc.bias"] = torch.full((1,), float("nan"))
    save_checkpoint(tmp_path / "nan.pt", payload)
    assert_one_line(run_main("--weights", tmp_path / "nan.pt", "--data", data), capsys, "nan")


def test_an_output_that_cannot_be_written_gives_one_line_and_exit_1(
    weights: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    code = run_main("--weights", weights, "--data", data, "--output", tmp_path / "file" / "out")
    assert_one_line(code, capsys, "file")


@pytest.mark.parametrize("stopped", [False, True])
def test_results_on_other_faces_of_that_name_are_kept_and_nothing_is_mixed(
    weights: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stopped: bool,
) -> None:
    words = ("--weights", weights, "--output", tmp_path / "out")
    assert run_main(*words, "--data", data) == 0
    before = (tmp_path / "out" / "metrics.json").read_bytes()
    other = tmp_path / "other" / data.name
    shutil.copytree(data, other)
    if not stopped:
        assert run_main(*words, "--data", other) == 1
        assert f"holds results on {data.as_posix()}, not {other}" in capsys.readouterr().err
        assert (tmp_path / "out" / "metrics.json").read_bytes() == before
        return
    with monkeypatch.context() as patch:
        patch.setattr(evaluation_files, "_write_figures", lambda result: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_main(*words, "--data", data, "--threshold", "0.3")
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert run_main(*words, "--data", data) == 0
    assert (tmp_path / "out" / "metrics.json").read_bytes() == before


def test_a_split_is_a_split_by_whatever_path_it_is_given(
    weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    found = []
    for name, words in {"a": (tiny_data, "--split", "val"), "b": (tiny_data / "val",)}.items():
        words = ("--data", *words, "--output", tmp_path / name)
        assert run_main("--weights", weights, *words) == 0
        found.append((read_metrics(tmp_path / name), read_predictions(tmp_path / name)))
    (one, rows), (two, others) = found
    assert one["split"] == two["split"] == "val" and rows == others
    assert {name for name in one if one[name] != two[name]} == set()


def test_nothing_is_fitted_to_the_faces_that_are_judged(
    weights: Path, data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    payload = torch.load(weights, weights_only=True)
    payload["config"] = TrainConfig(data=tmp_path / "x", real_val=data).to_dict()
    (run / "weights").mkdir(parents=True)
    torch.save(payload, run / "weights" / "best.pt")
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 200)
    scores = Scores(labels, np.clip(rng.normal(0.2 + 0.1 * labels, 0.05), 0, 1), 0.5)
    save_scores(run, "real_val", 3, scores)
    other = tmp_path / "other"
    shutil.copytree(data, other)
    words = ("--weights", run, "--chosen-on", "real_val", "--threshold", "youden")
    for folder, fitted, told in (
        (data, False, "youden on real_val, the faces judged here"),
        (other, True, "youden on real_val"),
    ):
        assert run_main(*words, "--data", folder) == 0
        metrics = read_metrics(run / "eval" / folder.name)
        assert metrics["threshold_from"] == told
        assert (metrics["calibration"]["temperature"] is not None) == fitted  # type: ignore[index]


def test_a_run_that_prepared_its_faces_knows_its_validation(
    weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    payload = torch.load(weights, weights_only=True)
    payload["config"] = TrainConfig(faces="photos").to_dict()
    (run / "weights").mkdir(parents=True)
    torch.save(payload, run / "weights" / "best.pt")
    labels = np.tile([0, 1], 50)
    save_scores(run, "val", 3, Scores(labels, 0.3 + 0.2 * labels, 0.5))
    words = ("--weights", run, "--threshold", "youden", "--data", tiny_data, "--split", "val")
    for noted, told in (("elsewhere", ""), (tiny_data.as_posix(), ", the faces judged here")):
        (run / "data.json").write_text(json.dumps({"data": noted}))
        assert run_main(*words) == 0
        metrics = read_metrics(run / "eval" / f"{tiny_data.name}-val")
        assert metrics["threshold_from"] == f"youden on val{told}"


def test_file_names_of_old_archives_are_no_trouble(
    weights: Path, data: Path, tmp_path: Path
) -> None:
    old = os.fsencode(data / "no_mask") + b"/caf\xe9.png"
    try:
        shutil.copy(os.fsencode(next((data / "no_mask").iterdir())), old)
    except OSError:
        pytest.skip("this file system has no such names")
    assert run_main("--weights", weights, "--data", data, "--output", tmp_path / "out") == 0
    assert "no_mask/caf\\udce9.png" in [r["path"] for r in read_predictions(tmp_path / "out")]
