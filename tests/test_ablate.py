"""Ablations: small runs that are never repeated, and numbers that come from them."""

import csv
import dataclasses
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from MaskTheFace.manifest import read_manifest
from MaskTheFace.style import MaskStyle
from masktrain import ablate as module
from masktrain.ablate import AblateConfig, list_runs, main, read_result
from masktrain.ablation_table import MEASURES, read_table
from masktrain.arms import ArmRun, run_arm
from masktrain.config import PrepareConfig, TrainConfig
from masktrain.data import load_crops
from masktrain.metrics import holm, paired_p
from masktrain.plans import CORE, FACES, INGREDIENTS, PLANS, Plan
from masktrain.run_folder import read_scores

ROWS = ["all", "no-light", "online"]


def words_for(tiny_data: Path, folder: Path, *more: str) -> list[str]:
    """Return a command line for three arms, one seed, 12 faces and one epoch."""
    words = [
        "ingredients",
        "--real-val",
        str(tiny_data / "val"),
        "--limit",
        "12",
        "--epochs",
        "1",
        "--seeds",
        "1",
    ]
    words += ["--output", str(folder / "report"), "--data", str(folder / "data")]
    words += ["--runs", str(folder / "runs")]
    return [*words, "--device", "cpu", "--parallel", "1", "--arms", *ROWS, *more]


@pytest.fixture(scope="module")
def made(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the work and the report of a tiny table."""
    folder = tmp_path_factory.mktemp("ablate")
    assert main(words_for(tiny_data, folder)) == 0
    return folder


def result(arm: str, seed: int, **measures: float) -> dict[str, object]:
    """Return what a run would have left in result.json."""
    values = {name: {"value": measures.get(name, 0.9)} for name in MEASURES}
    counts = {"n_wearing_mask": 7, "n_no_mask": 9, "training_crops": 24, "loss": 0.2}
    record = {"arm": arm, "seed": seed, "time_s": 60.0, "environment": {"git_commit": "abc"}}
    return {**record, **counts, **values}


def settings() -> dict[str, object]:
    given = {"plan": "ingredients", "faces": "demo", "real_val": "data/real_val", "epochs": 1}
    return given | {"model": None}


def changed(plan: Plan) -> list[set[str]]:
    """Return the fields that each arm changes."""
    fields = [
        *((PrepareConfig, "masks", field.name) for field in dataclasses.fields(PrepareConfig)),
        *((TrainConfig, "train", field.name) for field in dataclasses.fields(TrainConfig)),
    ]
    return [
        {
            name
            for _, part, name in fields
            if getattr(getattr(arm, part), name) != getattr(getattr(plan.base, part), name)
        }
        for arm in plan.arms[1:]
    ]


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_arms_differ_from_the_first_in_what_the_plan_is_about(plan: Plan) -> None:
    together = [{"wear", "classes"}, {"optimizer", "lr", "weight_decay"}]
    together += [{"optimizer", "weight_decay"}]
    for arm, fields in zip(plan.arms[1:], changed(plan), strict=True):
        assert len(fields) == 1 or fields in together, (arm.name, fields)
    assert len({arm.key for arm in plan.arms}) == len({arm.name for arm in plan.arms})
    assert all(re.fullmatch(r"[\w.-]+", arm.key) for arm in plan.arms)


def test_every_ingredient_is_left_out_once() -> None:
    arms = [arm.masks.without for arm in INGREDIENTS.arms if arm.masks.without]
    assert arms == [("fit",), ("light",), ("prior",), ("patterns",)]


def test_the_core_plan_has_six_axes_of_two_levels() -> None:
    wanted = [{"mask_types"}, {"without"}, {"without"}, {"occluders"}, {"masks"}, {"augment"}]
    assert changed(CORE) == wanted


def test_runs_of_one_seed_differ_in_masks_and_data_alone() -> None:
    runs = list_runs(AblateConfig("ingredients", real_val=Path("r"), seeds=2))
    arms = INGREDIENTS.arms
    assert len(runs) == len({run.folder for run in runs}) == 2 * len(arms)
    alike = {
        dataclasses.replace(run.config, data=None, masks="files", seed=0, occluders=0, classes=2)
        for run in runs
    }
    assert len(alike) == 1
    data = {run.arm.name: run.config.data for run in runs}
    assert data["all"] == data["online"] == data["+occluders"]
    assert len(set(data.values())) == len(arms) - 2


def test_what_the_command_says_goes_before_the_base_and_not_before_the_arm() -> None:
    config = AblateConfig("epochs", real_val=Path("r"), seeds=1, epochs=3, model="resnet50")
    runs = list_runs(config)
    assert [run.config.epochs for run in runs] == [3, 20, 50]
    assert {run.config.model for run in runs} == {"resnet50"}
    config = AblateConfig("faces", real_val=Path("r"), limit=10)
    limits = [module._masks(config, run).limit for run in list_runs(config)[: len(FACES.arms)]]
    assert limits[0] == 10 and limits[1:] == [188, 375, 750, 3000, 6000]


def test_without_a_plan_it_says_which_there_are(
    tiny_data: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--output", str(made / "report")]) == 0
    text = capsys.readouterr().out
    for plan in PLANS.values():
        done = "3 runs done" if plan is INGREDIENTS else "not run"
        assert f"{plan.name}: {plan.title.lower()}; {plan.limit:,} faces; {done}" in text
        assert all(arm.key in text for arm in plan.arms)


def test_all_faces_are_trained_on_and_an_arm_changes_their_masks_alone(made: Path) -> None:
    usual, dark = (
        load_crops(made / "data/ingredients" / name, "train") for name in ("all", "no-light")
    )
    assert len(usual) == len(dark) == 24
    bare = usual.labels == 0
    assert np.array_equal(usual.images[bare], dark.images[bare])
    assert not np.array_equal(usual.images[~bare], dark.images[~bare])
    rows = read_manifest(made / "data/ingredients/no-light/manifest.csv")
    assert {MaskStyle.from_json(row.style).light for row in rows if row.style} == {0.0}


def test_a_run_leaves_its_scores_and_the_table_is_made_of_them(tiny_data: Path, made: Path) -> None:
    with (made / "report/ingredients/ablation.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["arm"] for row in rows] == ["all", "-light", "online"]
    for row, key in zip(rows, ROWS, strict=True):
        scores = read_scores(made / f"report/ingredients/{key}-seed0", "real_val", 1)
        assert scores.labels.tolist() == load_crops(tiny_data / "val", None).labels.tolist()
        assert float(row["roc_auc"]) == pytest.approx(scores.auc, abs=1e-6)
        said = scores.scores >= 0.5
        assert float(row["sensitivity"]) == pytest.approx(said[scores.labels == 1].mean(), abs=1e-6)
    assert (made / "report/ingredients/ablation.png").stat().st_size > 5000
    text = (made / "report/ingredients/ablation.md").read_text(encoding="utf-8")
    for arm in ("all", "-light", "online"):
        assert re.search(rf"^\| `{arm}` \| .* \| 24 \| 1 \| 0\.\d+ ", text, re.M)
    assert "24 crops of demo" in text and "6 masked, 6 bare" in text


def test_wear_and_occluders_are_rows_of_the_table(tiny_data: Path, tmp_path: Path) -> None:
    rows = ["with-occluders", "with-wear"]
    assert main([*words_for(tiny_data, tmp_path), "--arms", *rows]) == 0
    with (tmp_path / "report/ingredients/ablation.csv").open(newline="", encoding="utf-8") as file:
        found = {row["arm"]: row for row in csv.DictReader(file)}
    assert {arm: int(row["training_crops"]) for arm, row in found.items()} == {
        "+occluders": 24,
        "+wear": 36,
    }
    scores = read_scores(tmp_path / "report/ingredients/with-wear-seed0", "real_val", 1)
    assert scores.scores.ndim == 1 and set(scores.labels) == {0, 1}


def test_finished_runs_are_not_repeated_and_a_lost_one_is(
    tiny_data: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []

    def noted(run: ArmRun) -> ArmRun:
        trained.append(run.arm.name)
        return run_arm(run)

    monkeypatch.setattr(module, "run_arm", noted)
    before = (made / "report/ingredients/ablation.csv").read_text()
    assert main(words_for(tiny_data, made)) == 0 and trained == []
    (made / "report/ingredients/all-seed0/result.json").unlink()
    shutil.rmtree(
        made / "data/ingredients/all"
    )  # as on another machine, where the report alone came along
    assert main(words_for(tiny_data, made)) == 0 and trained == ["all"]
    again = (made / "report/ingredients/ablation.csv").read_text()

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
    assert left == ["all-seed0", "no-light-seed0"] and not list((tmp_path / "report").rglob("*.md"))


@pytest.mark.parametrize("flags", [["--epochs", "2"], ["--limit", "13"], ["--faces", "lfw"]])
def test_other_settings_are_refused_before_anything_is_done(
    tiny_data: Path, made: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    assert main([*words_for(tiny_data, made), *flags]) == 1
    err = capsys.readouterr().err
    assert re.search(r"holds runs with \w+ \w+, not \w+; give another --output", err)
    assert err.count("\n") == 1


def test_a_damaged_or_foreign_result_is_named(tiny_data: Path, made: Path, tmp_path: Path) -> None:
    config = AblateConfig("ingredients", real_val=tiny_data, output=tmp_path)
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
            read_scores(folder / f"report/ingredients/{key}-seed0", "real_val", 1)
            for folder in (made, other)
        )
        assert np.array_equal(one.scores, two.scores)


def test_means_and_paired_differences_have_students_interval() -> None:
    arms = INGREDIENTS.arms[:2]
    base, less = [0.95, 0.96, 0.98], [0.91, 0.94, 0.93]
    found = [(arms[0], result("all", seed, roc_auc=x)) for seed, x in enumerate(base)]
    found += [(arms[1], result("-fit", seed, roc_auc=x)) for seed, x in enumerate(less)]
    table = read_table(INGREDIENTS, found, settings())
    mean = table.mean("all", "roc_auc")
    limits = ttest_1samp(base, 0).confidence_interval(0.95)
    assert mean.value == pytest.approx(np.mean(base))
    assert (mean.low, mean.high) == pytest.approx((limits.low, limits.high))
    apart = table.difference("-fit", "roc_auc")
    limits = ttest_1samp(np.subtract(less, base), 0).confidence_interval(0.95)
    assert (apart.low, apart.high) == pytest.approx((limits.low, limits.high))
    p = float(ttest_1samp(np.subtract(less, base), 0).pvalue)
    assert table.chances("roc_auc") == {"-fit": pytest.approx(p)}
    assert re.search(rf"\| `-fit` \| -0\.037 \([^)]*\), p {p:.3f} ", table.markdown())


def test_seeds_that_all_lacks_are_left_out_of_the_difference() -> None:
    arms = INGREDIENTS.arms
    found = [(arms[0], result("all", 0, roc_auc=0.9))]
    found += [(arms[1], result("-fit", seed, roc_auc=0.8 + seed / 10)) for seed in (0, 1)]
    assert read_table(INGREDIENTS, found, settings()).difference(
        "-fit", "roc_auc"
    ).value == pytest.approx(-0.1)


def test_holms_correction_is_for_all_arms_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0] and holm([]) == []
    partly = holm([0.01, math.nan])
    assert partly[0] == pytest.approx(0.02) and math.isnan(partly[1])
    assert math.isnan(paired_p([0.1])) and math.isnan(paired_p([0.0, 0.0]))


def test_a_run_leaves_curves_to_look_at(made: Path) -> None:
    for key in ROWS:
        with (made / f"runs/ingredients-{key}-seed0/results.csv").open(newline="") as file:
            (row,) = csv.DictReader(file)
        assert row["epoch"] == "1" and float(row["train/loss"]) > 0


def test_runs_judged_on_different_photos_are_not_put_together() -> None:
    arms, other = INGREDIENTS.arms, {**result("all", 1), "n_no_mask": 8}
    with pytest.raises(ValueError, match="different photos"):
        read_table(INGREDIENTS, [(arms[0], result("all", 0)), (arms[0], other)], settings())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["ingredients", "--arms", "no-soap"], "arms must be among all, no-fit"),
        (["soap"], "plan must be among core, ingredients"),
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
