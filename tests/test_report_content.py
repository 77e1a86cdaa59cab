"""A report says what the run's files say: change a file and the report changes with it."""

import csv
import dataclasses
import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from conftest import write_rgb

from masktrain import report
from masktrain.architecture import stages_of
from masktrain.config import Architecture, PrepareConfig, TrainConfig
from masktrain.document import Heading, Picture, markdown
from masktrain.document_html import html_page
from masktrain.document_pdf import write_pdf
from masktrain.model import Preprocessing, build_model, save_checkpoint
from masktrain.multiclass import OUTPUTS
from masktrain.report_content import content, gathered
from masktrain.report_origin import commands
from masktrain.report_pictures import training_samples
from masktrain.results_table import results_table
from masktrain.run_record import ContentError, RunRecord

ROOT = Path(__file__).resolve().parent.parent
RUNS = sorted(path.parent for path in ROOT.glob("reports/runs/*/config.json"))
SECTIONS = {"Task", "Data", "Network", "Training", "Results", "Ablations", "Limits and ethics"}
SECTIONS |= {"How to reproduce", "Model card", "Data sheet"}


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


CALIBRATION = {
    "n": 50,
    "ece": interval(0.123),
    "temperature": 1.75,
    "temperature_from": "val",
    "ece_tempered": interval(0.045),
}


def metrics(split: str | None, auc: float) -> dict[str, object]:
    names = ("roc_auc", "balanced_accuracy", "sensitivity", "specificity")
    return {
        "n": 50,
        "split": split,
        "threshold": 0.5,
        "calibration": CALIBRATION,
        **{name: interval(auc - 0.1 * place) for place, name in enumerate(names)},
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run folder with what a report reads; its numbers are made up and told apart."""
    folder = tmp_path / "20261121-101500-tiny"
    config = TrainConfig(
        model="mobilenet_v3_small", init="none", real_val=Path("photos/real_val"), occluders=0.4
    )
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    environment = {"git_commit": "abc123", "cores": 2, "device": "cpu", "precision": "float32"}
    environment |= {"python": "3.11", "packages": {"torch": "2.14"}}
    environment |= {"command": ["train.py", "--epochs", "1"]}
    (folder / "env.json").write_text(json.dumps(environment))
    crops = {"train": {"no_mask": 1234, "wearing_mask": 1235}}
    data = {"data": "data/mine", "crops": crops, "sources": {"UTKFace": 1200, "LFW": 34}}
    (folder / "data.json").write_text(json.dumps(data))
    prepared = asdict(PrepareConfig(faces="data/photos", wear=True, val_share=0.04))
    (folder / "prepare.json").write_text(json.dumps(prepared | {"output": None, "version": 6}))
    with (folder / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("epoch", "time_s", "val/auc", "val/loss"), (0, 9, 0.5, 0.7)])
        writer.writerow((1, 7191, 0.9, 0.3))
    for name, split, auc in (("mine-test", "test", 0.99), ("real_test", None, 0.97)):
        where = folder / "eval" / name
        where.mkdir(parents=True)
        (where / "metrics.json").write_text(json.dumps(metrics(split, auc)))
        write_rgb(where / "confusion_matrix.png", np.full((40, 40, 3), 200, np.uint8))
    (folder / "eval/real_test/slices.md").write_text(
        "# Slices\n\nIntro.\n\n| fact | value | n |\n|---|---|---|\n| turn | 0 | 1,020 |\n"
        "| turn | 9 | 19 |\n\nWorst: **turn 0**.\n"
    )
    (folder / "probes").mkdir()
    (folder / "probes/probes.md").write_text("# Shortcut probes\n\nNone passed 0.321.\n")
    return folder


def text_of(run: Path) -> str:
    return markdown(content(RunRecord(run, run / "none"), {}, []), run)


def test_numbers_of_the_report_are_those_of_the_files(run: Path) -> None:
    (run / "results.md").write_text(results_table(run))
    text = text_of(run)
    for wanted in (
        "On 50 real faces (real_test)",
        "ROC-AUC 0.970 (0.960 to 0.980), balanced accuracy 0.870 (0.860 to 0.880)",
        "| train | 1,234 | 1,235 |",
        "| share of faces with something before them | 0.4 |",
        "| real_test | 50 | 0.123 (0.113 to 0.133) | 1.75 | 0.045 (0.035 to 0.055) |",
        "over 15 bins (ECE). The temperature was fitted on validation scores alone (val);",
        "Worst: **turn 0**.",
        "| turn | 0 | 1,020 |",
        "None passed 0.321.",
        "| commit | abc123 |",
        "| time | 2.0 hours for 1 epochs and their evaluation |",
        "about 0.04 kWh (assumed: 10 W for each of 2 cores)",
        "python -m masktrain.train --epochs 1",
        "masktrain.prepare --faces data/photos --val-share 0.04 --wear --output data/mine",
        f"masktrain.evaluate --weights runs/{run.name} --data DATA --split test",
        "| UTKFace | 1,200 training faces: web photos with age",
        "| LFW | 34 training faces:",
        "Validation crops of the data that it learned from chose the epoch",
    ):
        assert wanted in text, wanted
    assert "| turn | 9 |" not in text, "too small to say much"
    assert (run / "results.md").read_text().strip() in text.replace("| --- |", "|---|").replace(
        " --- |", "---|"
    )
    assert {line[3:] for line in text.splitlines() if line.startswith("## ")} >= SECTIONS - {
        "Network"
    }


def test_three_classes_and_ways_are_told_one_by_one(run: Path) -> None:
    path = run / "eval/real_test/metrics.json"
    two = metrics(None, 0.97)
    one = {"name": "worn_incorrectly", "n": 135, "precision": interval(0.61)}
    one |= {"recall": interval(0.62), "roc_auc": interval(0.63), "pr_auc": interval(0.64)}
    way = {"name": "nose_out", "n": 77, "class_right": interval(0.71), "way_right": interval(0.72)}
    several = {"classes": [one], "ways": [way], "two_classes": two}
    path.write_text(json.dumps(two | several))
    text = text_of_results(run)
    limits = [f"{value:.3f} ({value - 0.01:.3f} to {value + 0.01:.3f})" for value in (0.61, 0.62)]
    assert f"| worn_incorrectly | 135 | {limits[0]} | {limits[1]} |" in text
    assert "| nose_out | 77 | 0.710 (0.700 to 0.720) | 0.720 (0.710 to 0.730) |" in text
    assert "macro recall 0.870 (0.860 to 0.880)" in text


def test_of_two_classes_what_is_neither_is_told_by_way(run: Path) -> None:
    path = run / "eval/real_test/metrics.json"
    neither = {"nose_out": {"n": 77, "said_wearing_mask": interval(0.31), "median_score": 0.4}}
    path.write_text(json.dumps(metrics(None, 0.97) | {"worn_incorrectly": neither}))
    assert "| nose_out | 77 | 0.310 (0.300 to 0.320) |" in text_of_results(run)


def text_of_results(run: Path) -> str:
    (run / "results.md").write_text("| faces | n |\n|---|---|\n| real_test | 50 |\n")
    return text_of(run)


def test_an_explanation_of_many_headings_makes_all_three_files(run: Path, tmp_path: Path) -> None:
    folder = run / "explain" / "drawn-test"
    folder.mkdir(parents=True)
    text = "# Where\n\n## Pictures\n\n### Grad-CAM\n\n#### deeper\n\n##### deepest\n\nDone.\n"
    (folder / "explain.md").write_text(text)
    for part, words in (("audit/audit.md", "# A\n\nClean.\n"), ("compare/a/compare.md", "# C\n")):
        (run / part).parent.mkdir(parents=True)
        (run / part).write_text(words)
    blocks = content(RunRecord(run, run / "none"), {}, [])
    titles = [block.text for block in blocks if isinstance(block, Heading)]
    assert {"Where", "Grad-CAM", "deepest", "Leak audit", "Comparisons"} <= set(titles)
    assert "<h6>deepest</h6>" in html_page(blocks)
    write_pdf(blocks, tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").stat().st_size > 5000


@pytest.mark.parametrize("nobody", [True, False])
def test_heat_is_shown_on_people_who_do_not_exist_alone(run: Path, nobody: bool) -> None:
    folder = run / "explain" / "drawn-test"
    folder.mkdir(parents=True)
    (folder / "explain.md").write_text(
        "# Where\n\n## Pictures\n\n- [true_positives.png](a.png): 3 of 9\n\n## Share\n\n"
        "| class and answer | heat |\n|---|---|\n| wearing_mask | .8 |\n\n"
        "| mask | heat |\n|---|---|\n| cup | .7 |\n\n- Worst slice: cloth\n"
    )
    grids = [{"name": "true_positives"}, {"name": "false_positives"}]
    record = {"shows_nobody": nobody, "grids": grids}
    (folder / "explain.json").write_text(json.dumps(record))
    write_rgb(folder / "true_positives.png", np.full((40, 40, 3), 200, np.uint8))
    shown = [
        block.path.name
        for block in content(RunRecord(run, run / "none"), {}, [])
        if isinstance(block, Picture) and "explain" in block.path.parts
    ]
    assert shown == (["true_positives.png"] if nobody else [])
    text = text_of(run)
    assert ("- true_positives.png: 3 of 9" in text) == nobody
    assert "| wearing_mask | .8 |" in text and "cup" not in text
    assert "Worst slice: cloth" in text and "`explain/drawn-test/explain.md`" in text


def test_another_file_makes_another_report(run: Path) -> None:
    before = text_of(run)
    path = run / "eval/real_test/metrics.json"
    path.write_text(json.dumps(metrics(None, 0.55)))
    after = text_of(run)
    assert "ROC-AUC 0.550" in after and "ROC-AUC 0.970" not in after and before != after


def test_the_headline_is_of_faces_that_chose_nothing(run: Path) -> None:
    assert RunRecord(run, run).headline == "real_test"
    shutil.copytree(run / "eval/real_test", run / "eval/another")
    assert RunRecord(run, run).headline == "real_test", "not the first by name"
    shutil.rmtree(run / "eval/another")
    (run / "eval/real_test").rename(run / "eval/real_val")
    config = json.loads((run / "config.json").read_text("utf-8"))
    assert config["select"] == "val" and RunRecord(run, run).headline == "real_val"
    (run / "config.json").write_text(json.dumps(config | {"select": "last"}))
    assert RunRecord(run, run).headline == "real_val"
    assert "The last epoch is kept, whatever any faces said" in text_of(run)
    (run / "config.json").write_text(json.dumps(config | {"select": "real_val"}))
    assert RunRecord(run, run).headline is None
    assert "no headline" in text_of(run)


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": "runs/tiny/weights/last.pt"},
        {"data": "elsewhere/real_val", "threshold_from": "youden on real_val"},
        {"classes": [], "two_classes": None, "balanced_accuracy": {"value": 0.5}},
        {"roc_auc": {"value": None, "low": None, "high": None}},
        {
            "data": "elsewhere/real_val",
            "calibration": CALIBRATION | {"temperature_from": "real_val"},
        },
    ],
)
def test_other_weights_and_faces_that_had_a_say_make_no_headline(
    run: Path, changes: dict[str, object]
) -> None:
    path = run / "eval/real_test/metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes))
    assert RunRecord(run, run).headline is None
    assert "no headline" in text_of(run)


@pytest.mark.parametrize("gone", ["prepare.json", "init"])
def test_what_the_files_do_not_say_is_not_claimed(run: Path, gone: str) -> None:
    claims = ("No real mask was trained on", "learned from photos of bare faces alone")
    claims += ("Trained on drawn masks",)
    assert all(claim in text_of(run) for claim in claims)
    if gone == "init":
        config = json.loads((run / "config.json").read_text("utf-8"))
        (run / "config.json").write_text(json.dumps(config | {"init": "others.pt"}))
        expected = "began with the weights `others.pt`"
    else:
        (run / gone).unlink()
        expected = "Who wears the masks that it learned from, or drew them, its files do not say."
    text = text_of(run)
    assert expected in text and not any(claim in text for claim in claims)
    assert "no real mask" not in text and "| Trained on | unknown |" in text


def test_the_data_sheet_says_what_was_left_out_of_the_masks(run: Path) -> None:
    assert "drawn by MaskTheFace in shares that people wear; styles" in text_of(run)
    prepared = json.loads((run / "prepare.json").read_text("utf-8"))
    (run / "prepare.json").write_text(json.dumps(prepared | {"without": ["prior", "light"]}))
    assert "drawn by MaskTheFace in even shares, without prior, light; styles" in text_of(run)


def test_commands_can_be_pasted_and_are_those_of_every_part(run: Path) -> None:
    environment = json.loads((run / "env.json").read_text("utf-8"))
    environment["command"] = ["train.py", "--data", "my faces", "--name", "retrain.py"]
    environment["resumed"] = [
        {"command": ["train.py", "--resume", "runs/a"], "git_commit": "abc123"},
        {"command": ["train.py", "--resume", "runs/a", "--epochs=9"], "git_commit": "def456"},
    ]
    (run / "env.json").write_text(json.dumps(environment))
    path = run / "eval/real_test/metrics.json"
    record = {"data": "my photos", "threshold": 0.31, "threshold_from": "fnr=0.02 on val"}
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | record))
    _, *found = commands(RunRecord(run, run))
    assert found[:2] == [
        "python -m masktrain.train --data 'my faces' --name retrain.py",
        "python -m masktrain.train --resume runs/a --epochs=9",
    ]
    own = f"python -m masktrain.evaluate --weights runs/{run.name}"
    assert f"{own} --data 'my photos' --threshold 0.31" in found
    assert "| commit | abc123, then def456 |" in text_of(run)


def test_a_gpu_has_its_own_estimate(run: Path) -> None:
    record = json.loads((run / "env.json").read_text())
    (run / "env.json").write_text(json.dumps(record | {"device": "cuda:0 (NVIDIA H200)"}))
    assert "about 1.40 kWh (a GPU at 700 W, an upper bound)" in text_of(run)


def test_plans_that_were_not_run_are_said_to_be(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ablations" / "core"
    folder.mkdir(parents=True)
    (folder / "ablation.md").write_text("# Six choices\n\n| arm | x |\n|---|---|\n| flat | .1 |\n")
    text = markdown(content(RunRecord(run, tmp_path / "ablations"), {}, []), run)
    assert "### Six choices" in text and "| flat | .1 |" in text
    assert (
        "Plans of masktrain.ablate without a table:" in text
        and "`ingredients`" in text
        and "`core`" not in text
    )


def test_the_command_writes_three_files_that_say_the_same(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "weights").mkdir()
    preprocessing = Preprocessing()
    payload = {"model": build_model("mobilenet_v3_small").state_dict(), "epoch": 1}
    payload |= {"arch": "mobilenet_v3_small", "preprocessing": preprocessing.to_dict()}
    save_checkpoint(run / "weights/best.pt", payload | {"threshold": 0.5, "threshold_from": "x"})
    words = [str(run), "--output", str(tmp_path / "out"), "--ablations", str(tmp_path / "none")]
    assert report.main(words) == 0
    folder = tmp_path / "out" / run.name
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert str(folder / "report.pdf") in capsys.readouterr().out
    page = (folder / "report.html").read_text(encoding="utf-8")
    numbers = set(re.findall(r"\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)", text))
    assert len(numbers) >= 4 and all(number in page for number in numbers)
    pictures = re.findall(r"!\[.*\]\((.*)\)", text)
    assert {"samples.png", "network.png", "oddities.png"} <= set(pictures)
    assert all((folder / name).is_file() for name in pictures)
    assert page.count("data:image/") == len(pictures)
    assert str(tmp_path) not in text + page
    assert (folder / "report.pdf").stat().st_size > 50_000


def test_pictures_of_two_evaluations_do_not_take_each_others_place(run: Path) -> None:
    pictures = [
        Picture(run / f"eval/{n}/confusion_matrix.png", n) for n in ("mine-test", "real_test")
    ]
    found = gathered([Heading("x", 1), *pictures], run.parent / "out")
    paths = [block.path for block in found if isinstance(block, Picture)]
    assert len(set(paths)) == 2 and all(path.is_file() for path in paths)


def test_a_damaged_file_is_named(run: Path) -> None:
    (run / "config.json").write_text("{")
    with pytest.raises(ContentError, match=r"config\.json is damaged"):
        text_of(run)
    (run / "config.json").unlink()
    with pytest.raises(ContentError, match=r"has no config\.json"):
        text_of(run)


@pytest.mark.parametrize("arch", get_args(Architecture))
def test_stages_have_all_parameters_of_the_network(arch: str) -> None:
    net = build_model(arch, "none", len(OUTPUTS))
    stages = stages_of(arch, len(OUTPUTS), 112)
    assert sum(stage.parameters for stage in stages) == sum(p.numel() for p in net.parameters())
    assert stages[-1].shape == (len(OUTPUTS),) and 6 <= len(stages) <= 20
    with torch.inference_mode():
        if arch.startswith("resnet"):
            last = net.layer4(net.layer3(net.layer2(net.layer1(net.maxpool(net.conv1(
                torch.zeros(1, 3, 112, 112)))))))  # fmt: skip
            assert {stage.name: stage.shape for stage in stages}["layer4"] == tuple(last.shape[1:])


def test_samples_are_drawn_people_dressed_as_the_run_says() -> None:
    config = TrainConfig(classes=3, occluders=0.5)
    sheet = training_samples(config, {})
    assert sheet.ndim == 3 and sheet.dtype == np.uint8
    assert np.array_equal(sheet, training_samples(config, {}))
    others = [
        training_samples(dataclasses.replace(config, occluders=0.0), {}),
        training_samples(dataclasses.replace(config, augment=False), {}),
        training_samples(config, {"mask_types": ["gas"], "without": []}),
        training_samples(config, {"mask_types": [], "without": ["prior"]}),
    ]
    assert not any(np.array_equal(sheet, other) for other in others)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_reports_of_the_repository_are_those_of_their_files(run: Path) -> None:
    written = ROOT / "reports" / run.name / "report.md"
    if not written.is_file():
        pytest.skip("no report of this run is kept")
    pictures = {
        name: written.parent / f"{name}.png"
        for name in ("samples", "network", "oddities")
        if (written.parent / f"{name}.png").is_file()
    }
    record = RunRecord(run, ROOT / "reports/ablations")
    again = content(record, pictures, report.stages(run, record.config))
    kept = re.sub(r"\(figures/[^)]*\)", "()", written.read_text(encoding="utf-8"))
    found = markdown(again, ROOT)
    assert re.sub(r"\(reports/[^)]*\)", "()", found) == re.sub(r"\([\w-]+\.png\)", "()", kept)


def test_a_run_that_went_on_for_longer_says_where_its_rate_began_anew(run: Path) -> None:
    config = json.loads((run / "config.json").read_text("utf-8"))
    config |= {"first_px": 64, "epochs": 40, "restarts": [20]}
    (run / "config.json").write_text(json.dumps(config))
    text = text_of(run)
    assert "After the 20th epoch the learning rate began anew" in text
    assert "Epochs before the 17th were trained on crops of 64 px and more" in text


@pytest.mark.parametrize(
    ("sides", "words"),
    [(["64", "64", "112"], "only those from there on"), (None, "such a network is lost")],
)
def test_curves_of_a_run_that_began_small_say_what_they_mean(
    run: Path, sides: list[str] | None, words: str
) -> None:
    assert "were trained on crops of" not in text_of(run)
    config = json.loads((run / "config.json").read_text("utf-8")) | {"first_px": 64, "epochs": 2}
    (run / "config.json").write_text(json.dumps(config))
    with (run / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if sides:
        rows = [{**row, "side_px": side} for row, side in zip(rows, sides, strict=False)]
    with (run / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    text = text_of(run)
    assert "Epochs before the 2nd were trained on crops of 64 px and more" in text and words in text
