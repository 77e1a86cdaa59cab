"""The third class from the command line: prepare --wear, train --classes 3, evaluate."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from MaskTheFace.coverage import WRONG, label_of
from MaskTheFace.wear import ADVICE
from masktrain import evaluate, train
from masktrain.config import PrepareConfig
from masktrain.data import CLASSES
from masktrain.model import (
    Preprocessing,
    build_model,
    load_checkpoint,
    load_classifier,
    save_checkpoint,
)
from masktrain.multiclass import OUTPUTS, ClassScores, evaluate_classes
from masktrain.occlusion import BEFORE
from masktrain.prepare import prepare
from masktrain.report import write_run_plots
from masktrain.results_table import results_table
from masktrain.run_folder import read_scores

FLAGS = ["--model", "mobilenet_v3_small", "--init", "none", "--batch-size", "8", "--wandb", "off"]
FLAGS += ["--device", "cpu", "--workers", "0", "--amp", "off", "--epochs", "2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three") / "faces"
    return prepare(
        PrepareConfig(faces="demo", output=folder, limit=24, workers=1, wear=True, val_share=0.2)
    )


def trained(data: Path, runs: Path, *more: str) -> Path:
    words = [*FLAGS, "--data", str(data), "--runs", str(runs), *more]
    assert train.main(words) == 0
    (run,) = runs.iterdir()
    return run


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of three classes, with things before the faces."""
    real = tmp_path_factory.mktemp("real")
    for name in CLASSES[:2]:
        (real / name).symlink_to(data / "test" / name)
    runs = tmp_path_factory.mktemp("runs")
    return trained(data, runs, "--classes", "3", "--occluders", "0.5", "--real-val", str(real))


@pytest.fixture(scope="module")
def binary(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of two classes on the same folder."""
    return trained(data, tmp_path_factory.mktemp("binary"))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_run_of_three_classes_leaves_all_that_one_of_two_does(run: Path, binary: Path) -> None:
    kept = {path.relative_to(binary).as_posix() for path in binary.rglob("*.p*")}
    kept = {name for name in kept if not name.startswith(("eval", "tensorboard"))}
    here = {path.relative_to(run).as_posix() for path in run.rglob("*.p*")}
    assert kept <= here
    checkpoint = load_checkpoint(run / "weights/best.pt")
    assert checkpoint["preprocessing"]["class_names"] == CLASSES
    rows = rows_of(run / "results.csv")
    assert float(rows[0]["val/loss"]) == pytest.approx(math.log(3), abs=0.1)
    assert all(0 <= float(rows[-1][f"val/{name}"]) <= 1 for name in ("auc", "accuracy"))
    assert 0 <= float(rows[-1]["real_val/balanced_accuracy"]) <= 1


def test_scores_of_an_epoch_are_probabilities_of_three_classes(run: Path) -> None:
    scores = read_scores(run, "val", 2)
    assert isinstance(scores, ClassScores) and scores.scores.shape[1] == 3
    assert set(scores.labels) == {0, 1, 2}
    row = rows_of(run / "results.csv")[2]
    assert scores.auc == pytest.approx(float(row["val/auc"]))
    assert scores.accuracy() == pytest.approx(float(row["val/accuracy"]))


def test_evaluation_has_a_row_for_each_class(run: Path) -> None:
    (found,) = (run / "eval").iterdir()
    record = json.loads((found / "metrics.json").read_text("utf-8"))
    assert [row["name"] for row in record["classes"]] == list(CLASSES)
    assert np.array(record["confusion"]).shape == (3, 3)
    assert (
        np.array(record["confusion"]).sum()
        == record["n"]
        == sum(row["n"] for row in record["classes"])
    )
    assert "worn_incorrectly" not in record
    table = results_table(run)
    assert "recall of worn_incorrectly" in table and "macro recall" in table
    assert {path.name for path in write_run_plots(run)} >= {"confusion_matrix.png", "roc.png"}


def test_every_prediction_says_what_to_do(run: Path, data: Path) -> None:
    (found,) = (run / "eval").iterdir()
    rows = rows_of(found / "predictions.csv")
    assert {row["label"] for row in rows} == set(CLASSES)
    for row in rows:
        chances = [float(row[name]) for name in CLASSES]
        assert sum(chances) == pytest.approx(1) and row["said"] == CLASSES[int(np.argmax(chances))]
        assert (label_of(row["said_wear"]) or "no_mask") == row["said"]
        assert row["advice"] == ADVICE[row["said_wear"] or row["said"]], "not what is true"
        assert (row["wear"] in WRONG) == (row["label"] == "worn_incorrectly")


def test_evaluation_of_drawn_masks_has_a_row_for_each_way(run: Path) -> None:
    (found,) = (run / "eval").iterdir()
    rows = rows_of(found / "predictions.csv")
    record = json.loads((found / "metrics.json").read_text("utf-8"))
    assert sum(row["n"] for row in record["ways"]) == sum(bool(row["wear"]) for row in rows)
    for way in record["ways"]:
        worn = [row for row in rows if row["wear"] == way["name"]]
        assert way["class_right"]["value"] == np.mean([r["said"] == r["label"] for r in worn])
        assert way["way_right"]["value"] == np.mean([r["said_wear"] == r["wear"] for r in worn])


def test_an_older_network_with_a_logit_a_class_is_still_read(data: Path, tmp_path: Path) -> None:
    preprocessing = Preprocessing(class_names=CLASSES).to_dict()
    del preprocessing["outputs"]
    save_checkpoint(
        tmp_path / "old.pt",
        {
            "model": build_model("mobilenet_v3_small", "none", 3).state_dict(),
            "arch": "mobilenet_v3_small",
            "preprocessing": preprocessing,
            "threshold": 0.5,
            "threshold_from": "fixed",
            "epoch": 1,
        },
    )
    words = ["--weights", str(tmp_path / "old.pt"), "--data", str(data), "--device", "cpu"]
    assert evaluate.main([*words, "--output", str(tmp_path / "out")]) == 0
    rows = rows_of(tmp_path / "out/predictions.csv")
    assert all(not row["said_wear"] and row["advice"] == ADVICE[row["said"]] for row in rows)
    record = json.loads((tmp_path / "out/metrics.json").read_text("utf-8"))
    assert record["ways"] and all(row["way_right"]["value"] is None for row in record["ways"])


def test_a_network_of_two_classes_is_asked_about_the_third(
    binary: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = binary / "again"
    words = ["--weights", str(binary), "--data", str(data), "--output", str(out), "--device", "cpu"]
    assert evaluate.main(words) == 0
    record = json.loads((out / "metrics.json").read_text("utf-8"))
    third = record["worn_incorrectly"]
    assert (
        record["left_out"] == third["all"]["n"] == len(list((data / "test" / CLASSES[2]).iterdir()))
    )
    by_way = {way: found["n"] for way, found in third.items() if way != "all"}
    assert by_way.keys() <= set(WRONG) and sum(by_way.values()) == third["all"]["n"]
    rows = [row for row in rows_of(out / "predictions.csv") if row["label"] == CLASSES[2]]
    said = [float(row["score"]) >= record["threshold"] for row in rows]
    assert np.mean(said) == pytest.approx(third["all"]["said_wearing_mask"]["value"])
    assert "left out" in capsys.readouterr().out


def test_unreadable_photos_of_the_third_class_do_not_stop_the_other_two(
    binary: Path, data: Path, tmp_path: Path
) -> None:
    for name in CLASSES[:2]:
        (tmp_path / "real" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "real" / name).symlink_to(data / "test" / name)
    (tmp_path / "real" / CLASSES[2]).mkdir()
    (tmp_path / "real" / CLASSES[2] / "bad.jpg").write_bytes(b"no photo")
    words = ["--weights", str(binary), "--data", str(tmp_path / "real"), "--device", "cpu"]
    assert evaluate.main([*words, "--output", str(tmp_path / "out")]) == 0
    record = json.loads((tmp_path / "out/metrics.json").read_text("utf-8"))
    assert "worn_incorrectly" not in record and record["left_out"] == 1
    assert [bad["path"] for bad in record["skipped"]] == [f"{CLASSES[2]}/bad.jpg"]


@pytest.mark.parametrize("threshold", ["0.4", "fnr=0.25"])
def test_a_threshold_is_that_of_mask_or_none(
    run: Path, data: Path, tmp_path: Path, threshold: str
) -> None:
    words = ["--weights", str(run), "--data", str(data), "--device", "cpu"]
    found = {}
    for name, more in (("usual", []), ("asked", ["--threshold", threshold])):
        assert evaluate.main([*words, *more, "--output", str(tmp_path / name)]) == 0
        found[name] = json.loads((tmp_path / name / "metrics.json").read_text("utf-8"))
    two = found["asked"]["two_classes"]
    assert found["asked"]["confusion"] == found["usual"]["confusion"], "the three need none"
    assert found["usual"]["two_classes"]["threshold"] == 0.5
    if threshold == "0.4":
        assert (two["threshold"], two["threshold_from"]) == (0.4, "--threshold")
        return
    epoch = load_classifier(run / "weights/best.pt").epoch
    kept = read_scores(run, "val", epoch).without_third()
    missed = np.mean(kept.scores[kept.labels == 1] < two["threshold"])
    assert missed <= 0.25 and two["threshold_from"] == "fnr=0.25 on val"


def test_things_before_the_faces_make_slices(run: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--weights", str(run), "--data", str(data), "--device", "cpu", "--output", str(out)]
    words += ["--split", "train"]
    assert evaluate.main([*words, "--occluders", "0.7"]) == 0
    record = json.loads((out / "metrics.json").read_text("utf-8"))
    rows = [row for row in record["slices"]["rows"] if row["fact"] == "before the face"]
    kinds = {row["value"]: row["n"] for row in rows}
    assert sum(kinds.values()) == record["n"] and len(kinds) > 2
    assert set(kinds) <= {*BEFORE, "nothing"} and kinds["nothing"] < record["n"]
    chances = ("no_mask", "wearing_mask", "worn_incorrectly")
    again = [[row[name] for name in chances] for row in rows_of(out / "predictions.csv")]
    assert evaluate.main(words) == 0
    usual = [[row[name] for name in chances] for row in rows_of(out / "predictions.csv")]
    changed = sum(one != other for one, other in zip(again, usual, strict=True))
    assert 0 < changed <= record["n"] - kinds["nothing"], "no other crop changed"


def test_nothing_can_be_put_before_faces_whose_points_are_unknown(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in CLASSES:
        (tmp_path / "real").mkdir(exist_ok=True)
        (tmp_path / "real" / name).symlink_to(data / "test" / name)
    words = ["--weights", str(run), "--data", str(tmp_path / "real"), "--device", "cpu"]
    assert evaluate.main([*words, "--occluders", "0.5"]) == 1
    assert "give a folder that masktrain.prepare wrote" in capsys.readouterr().err


def test_training_on_data_without_the_class_says_what_to_do(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*FLAGS, "--data", str(tiny_data), "--runs", str(tmp_path), "--classes", "3"]
    assert train.main(words) == 1
    assert "worn_incorrectly: prepare it with --wear" in capsys.readouterr().err


def test_several_logits_are_float32_even_under_autocast() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 112, 112)
    for arch in ("resnet18", "mobilenet_v2_128"):
        net = build_model(arch, "none", len(OUTPUTS)).eval()
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
            assert net(images).shape == (2, 7) and net(images).dtype == torch.float32


def test_the_known_form_of_mobilenet_has_128_units_and_dropout() -> None:
    net = build_model("mobilenet_v2_128", "none", 3)
    hidden, relu, dropout, last = net.classifier
    assert (hidden.in_features, hidden.out_features, last.out_features) == (1280, 128, 3)
    assert isinstance(relu, torch.nn.ReLU) and dropout.p == 0.5
    assert build_model("mobilenet_v2_128")(torch.randn(2, 3, 112, 112)).shape == (2,)


def test_a_classifier_of_three_comes_back_from_its_checkpoint(run: Path) -> None:
    classifier = load_classifier(run / "weights/best.pt")
    assert classifier.preprocessing == Preprocessing(class_names=CLASSES, outputs=OUTPUTS)
    with torch.inference_mode():
        assert classifier.net(torch.randn(2, 3, 112, 112)).shape == (2, len(OUTPUTS))


def test_learnt_classes_are_told_apart(tmp_path: Path) -> None:
    # Three plain colours: a network that mixed up its classes could not tell them.
    from conftest import write_rgb

    for split, count in (("train", 24), ("val", 4)):
        for label, name in enumerate(CLASSES):
            for number in range(count):
                image = np.full((64, 64, 3), 30 + number, np.uint8)
                image[..., label] = 220
                write_rgb(tmp_path / "data" / split / name / f"{number}.png", image)
    more = ["--classes", "3", "--optimizer", "adam", "--lr", "0.004", "--epochs", "6"]
    found = trained(tmp_path / "data", tmp_path / "runs", *more, "--warmup-epochs", "0.5")
    scores = read_scores(found, "val", 6)
    assert isinstance(scores, ClassScores)
    assert evaluate_classes(scores).balanced_accuracy.value > 0.9
