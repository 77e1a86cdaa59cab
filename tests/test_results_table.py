"""results.md: numbers of every evaluation, and how much lower those on real faces are."""

import json
from pathlib import Path

import pytest

from masktrain.multiclass import CLASSES
from masktrain.results_table import COLUMNS, results_table
from masktrain.run_record import ContentError, RunRecord


def _write_metrics(run: Path, name: str, split: str | None, auc: float, **more: object) -> None:
    interval = {"value": auc, "low": auc - 0.01, "high": auc + 0.01}
    record = dict.fromkeys(COLUMNS, interval) | {"n": 1200, "split": split} | more
    folder = run / "eval" / name
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(record), encoding="utf-8")


def test_the_results_table_shows_each_evaluation_and_the_gap_to_real_faces(tmp_path: Path) -> None:
    _write_metrics(tmp_path, "utk-test", "test", 0.98)
    _write_metrics(tmp_path, "street", None, 0.93)
    table = results_table(tmp_path)
    assert "| utk-test (drawn) | 1,200 | 0.980 (0.970-0.990) |" in table
    assert "| street | 1,200 | 0.930 (0.920-0.940) |" in table
    assert "Lower than on utk-test (drawn masks) by:" in table
    # Two limits of .010 each make one of .014 of their difference.
    assert "| street | +0.050 (+0.036 to +0.064) |" in table


def test_real_faces_come_before_drawn_masks_and_tests_before_others(tmp_path: Path) -> None:
    for name, split in (("a-test", "test"), ("b", None), ("c_test", None)):
        _write_metrics(tmp_path, name, split, 0.9)
    rows = [line.split("|")[1].strip() for line in results_table(tmp_path).splitlines()[2:5]]
    assert rows == ["c_test", "b", "a-test (drawn)"]
    assert list(RunRecord(tmp_path, tmp_path).evaluations) == ["c_test", "b", "a-test"]


def test_numbers_at_different_thresholds_have_no_gap(tmp_path: Path) -> None:
    chosen = {"threshold": 0.25, "threshold_from": "fnr=0.02 on real_val"}
    _write_metrics(tmp_path, "utk-test", "test", 0.98, threshold=0.5)
    _write_metrics(tmp_path, "street", None, 0.93, **chosen)
    table = results_table(tmp_path)
    assert "at thresholds other than 0.5: street: 0.25 (fnr=0.02 on real_val)." in table
    assert "| street | +0.050 (+0.036 to +0.064) | - | - | - |" in table
    _write_metrics(tmp_path, "mine-test", "test", 0.98, **chosen)
    assert results_table(tmp_path).count("+0.050") == 5, "all four, where it is the same"


def test_a_set_of_the_third_class_alone_has_no_gap_in_mask_or_none(tmp_path: Path) -> None:
    known = {"value": 0.9, "low": 0.8, "high": 0.95}
    rows = [{"name": name, "recall": known} for name in CLASSES]
    two = dict.fromkeys(COLUMNS, known)
    for name, split, found in (("mine-test", "test", two), ("street", None, None)):
        folder = tmp_path / "eval" / name
        folder.mkdir(parents=True)
        record = {"n": 50, "split": split, "balanced_accuracy": known, "classes": rows}
        (folder / "metrics.json").write_text(json.dumps(record | {"two_classes": found}))
    last = results_table(tmp_path).splitlines()[-1]
    assert last.startswith("| street | +0.000 (") and last.endswith("| - | - |")


def test_a_run_without_evaluations_has_no_table(tmp_path: Path) -> None:
    assert results_table(tmp_path) == ""


def test_a_damaged_metrics_file_is_named(tmp_path: Path) -> None:
    _write_metrics(tmp_path, "street", None, 0.9)
    path = tmp_path / "eval" / "street" / "metrics.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(ContentError, match="street"):
        results_table(tmp_path)
