"""The ingredient table: small runs that are never repeated, and numbers that come from them."""

import csv
import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from MaskTheFace.manifest import read_manifest
from MaskTheFace.style import MaskStyle
from masktrain import ingredients as module
from masktrain.arms import ARMS, BASE, ArmRun, run_arm
from masktrain.data import load_crops
from masktrain.ingredient_table import MEASURES, read_table
from masktrain.ingredients import IngredientsConfig, list_runs, main, read_result
from masktrain.run_folder import read_scores

ROWS = ["all", "no-light", "online"]


def words_for(tiny_data: Path, folder: Path, *more: str) -> list[str]:
    """Return a command line for three arms, one seed, 12 faces and one epoch."""
    words = ["--real-val", str(tiny_data / "val"), "--limit", "12", "--epochs", "1", "--seeds", "1"]
    words += ["--output", str(folder / "report"), "--data", str(folder / "data")]
    return [*words, "--device", "cpu", "--parallel", "1", "--arms", *ROWS, *more]


@pytest.fixture(scope="module")
def made(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the work and the report of a tiny table."""
    folder = tmp_path_factory.mktemp("ingredients")
    assert main(words_for(tiny_data, folder)) == 0
    return folder


def result(arm: str, seed: int, **measures: float) -> dict[str, object]:
    """Return what a run would have left in result.json."""
    values = {name: {"value": measures.get(name, 0.9)} for name in MEASURES}
    counts = {"n_wearing_mask": 7, "n_no_mask": 9, "training_crops": 24, "loss": 0.2}
    record = {"arm": arm, "seed": seed, "time_s": 60.0, "environment": {"git_commit": "abc"}}
    return {**record, **counts, **values}


def settings() -> dict[str, object]:
    return {"faces": "demo", "real_val": "data/real_val", "epochs": 1, "model": "resnet18"}


def test_arms_differ_from_all_in_one_thing_and_cover_every_ingredient() -> None:
    base, *others = ARMS
    assert (base.name, base.without, base.masks) == (BASE, (), "files")
    fields = ("without", "masks", "occluders", "classes")
    for arm in others:
        assert sum(getattr(arm, field) != getattr(base, field) for field in fields) == 1
    assert {arm.without for arm in others if arm.without} == {
        (ingredient,) for ingredient in ("fit", "light", "prior", "patterns")
    }
    assert len({arm.key for arm in ARMS}) == len(ARMS)


def test_runs_of_one_seed_differ_in_masks_and_data_alone() -> None:
    runs = list_runs(IngredientsConfig(real_val=Path("r"), seeds=2))
    assert len(runs) == len({run.folder for run in runs}) == 2 * len(ARMS)
    alike = {
        dataclasses.replace(run.config, data=None, masks="files", seed=0, occluders=0, classes=2)
        for run in runs
    }
    assert len(alike) == 1
    data = {run.arm.name: run.config.data for run in runs}
    assert data["all"] == data["online"] == data["+occluders"]
    assert len(set(data.values())) == len(ARMS) - 2


def test_all_faces_are_trained_on_and_an_arm_changes_their_masks_alone(made: Path) -> None:
    usual, dark = (load_crops(made / "data" / name, "train") for name in ("all", "no-light"))
    assert len(usual) == len(dark) == 24
    bare = usual.labels == 0
    assert np.array_equal(usual.images[bare], dark.images[bare])
    assert not np.array_equal(usual.images[~bare], dark.images[~bare])
    rows = read_manifest(made / "data/no-light/manifest.csv")
    assert {MaskStyle.from_json(row.style).light for row in rows if row.style} == {0.0}


def test_a_run_leaves_its_scores_and_the_table_is_made_of_them(tiny_data: Path, made: Path) -> None:
    with (made / "report/ingredients.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["arm"] for row in rows] == ["all", "-light", "online"]
    for row, key in zip(rows, ROWS, strict=True):
        scores = read_scores(made / f"report/{key}-seed0", "real_val", 1)
        assert scores.labels.tolist() == load_crops(tiny_data / "val", None).labels.tolist()
        assert float(row["roc_auc"]) == pytest.approx(scores.auc, abs=1e-6)
        said = scores.scores >= 0.5
        assert float(row["sensitivity"]) == pytest.approx(said[scores.labels == 1].mean(), abs=1e-6)
    assert (made / "report/ingredients.png").stat().st_size > 5000
    text = (made / "report/ingredients.md").read_text(encoding="utf-8")
    for arm in ("all", "-light", "online"):
        assert re.search(rf"^\| `{arm}` \| .* \| 1 \| 0\.\d+ ", text, re.M)
    assert "24 crops of demo" in text and "6 masked, 6 bare" in text


def test_wear_and_occluders_are_rows_of_the_table(tiny_data: Path, tmp_path: Path) -> None:
    rows = ["with-occluders", "with-wear"]
    assert main([*words_for(tiny_data, tmp_path), "--arms", *rows]) == 0
    with (tmp_path / "report/ingredients.csv").open(newline="", encoding="utf-8") as file:
        found = {row["arm"]: row for row in csv.DictReader(file)}
    assert {arm: int(row["training_crops"]) for arm, row in found.items()} == {
        "+occluders": 24,
        "+wear": 36,
    }
    scores = read_scores(tmp_path / "report/with-wear-seed0", "real_val", 1)
    assert scores.scores.ndim == 1 and set(scores.labels) == {0, 1}


def test_finished_runs_are_not_repeated_and_a_lost_one_is(
    tiny_data: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []

    def noted(run: ArmRun) -> ArmRun:
        trained.append(run.arm.name)
        return run_arm(run)

    monkeypatch.setattr(module, "run_arm", noted)
    before = (made / "report/ingredients.csv").read_text()
    assert main(words_for(tiny_data, made)) == 0 and trained == []
    (made / "report/all-seed0/result.json").unlink()
    shutil.rmtree(made / "data/all")  # as on another machine, where the report alone came along
    assert main(words_for(tiny_data, made)) == 0 and trained == ["all"]
    again = (made / "report/ingredients.csv").read_text()

    def timeless(text: str) -> list[str]:
        return [line.rpartition(",")[0] for line in text.splitlines()]

    assert timeless(again) == timeless(before)


def test_a_stopped_table_keeps_what_is_finished(
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(run: ArmRun) -> ArmRun:
        if run.arm.name == "online":
            raise KeyboardInterrupt
        return run_arm(run)

    monkeypatch.setattr(module, "run_arm", stopped)
    assert main(words_for(tiny_data, tmp_path)) == 130
    assert "the same command goes on" in capsys.readouterr().err
    left = sorted(path.parent.name for path in (tmp_path / "report").rglob("result.json"))
    assert left == ["all-seed0", "no-light-seed0"] and not list((tmp_path / "report").glob("*.md"))


@pytest.mark.parametrize("flags", [["--epochs", "2"], ["--limit", "13"], ["--faces", "lfw"]])
def test_other_settings_are_refused_before_anything_is_done(
    tiny_data: Path, made: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    assert main([*words_for(tiny_data, made), *flags]) == 1
    err = capsys.readouterr().err
    assert re.search(r"holds runs with \w+ \w+, not \w+; give another --output", err)
    assert err.count("\n") == 1


def test_a_damaged_or_foreign_result_is_named(tiny_data: Path, made: Path, tmp_path: Path) -> None:
    config = IngredientsConfig(real_val=tiny_data, output=tmp_path)
    run = list_runs(config)[0]
    run.folder.mkdir(parents=True)
    run.result.write_text("{")
    with pytest.raises(ValueError, match=r"result\.json is damaged .*; delete it"):
        read_result(run)
    run.result.write_text(json.dumps({"arm": "online", "seed": 0}))
    with pytest.raises(ValueError, match="is of another run"):
        read_result(run)


def test_two_runs_side_by_side_give_the_same_numbers(tiny_data: Path, made: Path) -> None:
    other = made / "side by side"
    assert main([*words_for(tiny_data, other), "--parallel", "2", "--arms", "all", "no-light"]) == 0
    for key in ("all", "no-light"):
        one, two = (
            read_scores(folder / f"report/{key}-seed0", "real_val", 1) for folder in (made, other)
        )
        assert np.array_equal(one.scores, two.scores)


def test_means_and_paired_differences_have_students_interval() -> None:
    arms = ARMS[:2]
    base, less = [0.95, 0.96, 0.98], [0.91, 0.94, 0.93]
    found = [(arms[0], result("all", seed, roc_auc=x)) for seed, x in enumerate(base)]
    found += [(arms[1], result("-fit", seed, roc_auc=x)) for seed, x in enumerate(less)]
    table = read_table(found, settings())
    mean = table.mean("all", "roc_auc")
    limits = ttest_1samp(base, 0).confidence_interval(0.95)
    assert mean.value == pytest.approx(np.mean(base))
    assert (mean.low, mean.high) == pytest.approx((limits.low, limits.high))
    apart = table.difference("-fit", "roc_auc")
    limits = ttest_1samp(np.subtract(less, base), 0).confidence_interval(0.95)
    assert (apart.low, apart.high) == pytest.approx((limits.low, limits.high))
    assert "| `-fit` | -0.037 (" in table.markdown()


def test_seeds_that_all_lacks_are_left_out_of_the_difference() -> None:
    found = [(ARMS[0], result("all", 0, roc_auc=0.9))]
    found += [(ARMS[1], result("-fit", seed, roc_auc=0.8 + seed / 10)) for seed in (0, 1)]
    assert read_table(found, settings()).difference("-fit", "roc_auc").value == pytest.approx(-0.1)


def test_runs_judged_on_different_photos_are_not_put_together() -> None:
    other = {**result("all", 1), "n_no_mask": 8}
    with pytest.raises(ValueError, match="different photos"):
        read_table([(ARMS[0], result("all", 0)), (ARMS[0], other)], settings())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--arms", "no-soap"], "arms must be among all, no-fit"),
        (["--seeds", "0"], "seeds must be"),
    ],
)
def test_a_wrong_flag_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--real-val", "x", *flags])
    assert stopped.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_photos_that_are_missing_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = words_for(tmp_path / "nowhere", tmp_path)
    assert main(words) == 1
    assert "no folder" in capsys.readouterr().err
