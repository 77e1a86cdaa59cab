"""The leak audit: planted copies are found, and a naive split is dealt out at random."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import write_rgb

from MaskTheFace.images import read_image
from MaskTheFace.manifest import read_manifest, write_manifest
from masktrain import audit as module
from masktrain.audit import AuditConfig, _both_splits, audit, main
from masktrain.config import PrepareConfig
from masktrain.data import Crops, DataError
from masktrain.metrics import Interval
from masktrain.prepare import prepare


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit") / "demo"
    return prepare(PrepareConfig(faces="demo", output=folder, limit=30, workers=1))


def test_prepared_data_is_clean(data: Path, tmp_path: Path) -> None:
    words = ["--data", str(data), "--epochs", "0", "--output", str(tmp_path)]
    assert main(words) == 0
    record = json.loads((tmp_path / "audit.json").read_text())
    assert record["clean"] and record["honest"] is None
    assert record["copies"][0]["n"] == 30 and record["copies"][0]["pairs"] == []


def test_a_planted_copy_across_splits_is_found(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    rows = read_manifest(broken / "manifest.csv")
    one = next(row for row in rows if row.split == "train" and row.label == "no_mask")
    two = next(row for row in rows if row.split == "test" and row.label == "no_mask")
    object.__setattr__(two, "fingerprint", one.fingerprint)
    write_manifest(broken / "manifest.csv", rows)
    assert main(["--data", str(broken), "--epochs", "0"]) == 1
    found = audit(AuditConfig(broken, epochs=0)).copies[0].pairs
    assert [set(pair) for pair in found] == [{one.path, two.path}]
    assert two.path in capsys.readouterr().out


def test_a_copy_in_another_folder_is_found_though_it_was_encoded_again(
    data: Path, tmp_path: Path
) -> None:
    from PIL import Image

    paths = sorted((data / "train/no_mask").iterdir())
    (tmp_path / "real").mkdir()
    Image.fromarray(read_image(paths[0])).save(tmp_path / "real/x.jpg", quality=70)
    write_rgb(
        tmp_path / "real/y.png", np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
    )
    (tmp_path / "real/broken.jpg").write_text("no photo")
    found = audit(AuditConfig(data, against=(tmp_path / "real",), epochs=0)).copies[1]
    assert (found.where, found.n) == ("real", 2)
    assert found.pairs == ((f"train/no_mask/{paths[0].name}", "x.jpg"),)


def test_the_naive_split_deals_the_same_crops_and_mixes_twins(data: Path) -> None:
    honest, naive = _both_splits(AuditConfig(data))
    assert {name: len(crops) for name, crops in naive.items()} == {
        name: len(crops) for name, crops in honest.items()
    }
    every = [set(split["train"].paths) | set(split["val"].paths) for split in (honest, naive)]
    assert every[0] == every[1]

    def people(split: str, crops: dict) -> set[str]:
        return {Path(path).name for path in crops[split].paths}

    assert not people("train", honest) & people("val", honest)
    assert people("train", naive) & people("val", naive)


def test_what_is_called_honest_is_trained_on_the_honest_split(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(_: AuditConfig, crops: dict[str, Crops]) -> Interval:
        known = {Path(path).name for path in crops["train"].paths}
        shared = np.mean([Path(path).name in known for path in crops["val"].paths])
        return Interval(float(shared), 0.0, 1.0)

    monkeypatch.setattr(module, "_trained", fake)
    found = audit(AuditConfig(data, epochs=1))
    assert found.honest is not None and found.naive is not None
    assert found.honest.value == 0 < found.naive.value
    lines = found.markdown().splitlines()
    rows = {line.split()[1]: line for line in lines if line.startswith("| ")}
    assert found.honest.cell() in rows["honest:"] and found.naive.cell() in rows["naive:"]


def test_both_splits_are_trained_and_reported(data: Path) -> None:
    found = audit(AuditConfig(data, epochs=1, device="cpu"))
    assert found.honest is not None and found.naive is not None
    text = found.markdown()
    assert found.honest.cell() in text and found.naive.cell() in text


def test_a_folder_that_was_not_prepared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no manifest\.csv"):
        audit(AuditConfig(tmp_path))
