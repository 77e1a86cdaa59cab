"""Shortcut probes: they find a planted shortcut, and leave a network alone that looks at masks."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_data
from torch import Tensor, nn

from masktrain import predictor, train
from masktrain.config import PrepareConfig
from masktrain.data import CLASSES, DataError
from masktrain.metrics import paired_difference
from masktrain.model import Classifier, Preprocessing
from masktrain.pixel_statistics import SHUFFLED, statistics_auc, statistics_of
from masktrain.prepare import prepare
from masktrain.probe_images import PROBES, faceless, load_faces, with_occluder
from masktrain.probes import MOST_MORE, Probe, ProbesConfig, main, probe
from masktrain.run_folder import read_scores, weights_file

FLAGS = ["--model", "mobilenet_v3_small", "--init", "none", "--batch-size", "8", "--wandb", "off"]
FLAGS += ["--device", "cpu", "--workers", "0", "--amp", "off", "--optimizer", "adam"]
FLAGS += ["--lr", "0.004", "--warmup-epochs", "0.5"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probes") / "faces"
    return prepare(PrepareConfig(faces="demo", output=folder, limit=48, workers=1, val_share=0.25))


class Rule(nn.Module):
    """A network that follows a rule over pixels (B, 3, S, S), 0..1: more than 0 is masked."""

    def __init__(self, rule: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, images: Tensor) -> Tensor:
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        return self.rule(images * std + mean)


MEAN, STD = Preprocessing().mean, Preprocessing().std


def report_on(
    rule: Callable[[Tensor], Tensor], data: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Probe]:
    """Probe a network that follows a rule; return its probes by name."""
    classifier = Classifier(Rule(rule), Preprocessing(), 0.5, "fixed", "rule", 1, {})
    monkeypatch.setattr(predictor, "load_classifier", lambda *_: classifier)
    weights = data.parent / "w.pt"
    weights.write_bytes(b"")
    config = ProbesConfig(weights, data, split="val", device="cpu")
    report, _, _ = probe(config)
    return {row.name: row for row in (*report.probes, *report.occluders)}


def test_probes_of_other_weights_and_faces_do_not_replace_those_of_the_best(
    data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rule = Rule(lambda x: x.new_full((len(x),), -5.0))
    classifier = Classifier(rule, Preprocessing(), 0.5, "fixed", "rule", 1, {})
    monkeypatch.setattr(predictor, "load_classifier", lambda *_: classifier)
    weights = tmp_path / "run" / "weights"
    weights.mkdir(parents=True)
    found = {}
    for name in ("best", "last"):
        (weights / f"{name}.pt").write_bytes(b"")
        config = ProbesConfig(weights / f"{name}.pt", data, split="val", limit=2, device="cpu")
        found[name] = probe(config)[2]
    assert found == {"best": tmp_path / "run/probes", "last": tmp_path / "run/probes-last"}
    found["best"].mkdir()
    (found["best"] / "probes.json").write_text(json.dumps({"source": {"data": "elsewhere"}}))
    with pytest.raises(ValueError, match=r"probes holds results on elsewhere, not .*give --output"):
        probe(dataclasses.replace(config, weights=weights / "best.pt"))


def test_a_network_that_says_never_passes_everything(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = report_on(lambda x: x.new_full((len(x),), -5.0), data, monkeypatch)
    assert set(PROBES) < set(rows) and all(row.passed for row in rows.values())
    for row in rows.values():
        assert row.more.value == 0 and row.more.low < 0 < row.more.high


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        # The grey that the face is painted over with, a corner unlike its mirror image, a lower
        # half that is flatter than it was, dark eyes.
        ("background only", lambda x: 0.02 - (x[:, :, 50:60, 50:60] - 0.498).abs().amax((1, 2, 3))),
        ("patch of the mask in a corner", lambda x: _corners(x) - 0.12),
        ("sunglasses", lambda x: 0.16 - x[:, :, 40:52].mean(1).flatten(1).quantile(0.1, dim=1)),
    ],
)
def test_a_planted_shortcut_is_found(
    data: Path, monkeypatch: pytest.MonkeyPatch, name: str, rule: Callable[[Tensor], Tensor]
) -> None:
    rows = report_on(rule, data, monkeypatch)
    assert not rows[name].passed and rows[name].more.value > 0.3
    assert rows[name].more.low > MOST_MORE, "and surely so"


def _corners(images: Tensor) -> Tensor:
    """Return the largest step along the edges of the patches that may lie in corners."""
    steps = (images[:, :, :24, 27:30].mean(3) - images[:, :, :24, 24:27].mean(3)).abs().mean((1, 2))
    for turn in (1, 2, 3):
        other = torch.rot90(images, turn, (2, 3))
        step = (
            (other[:, :, :24, 27:30].mean(3) - other[:, :, :24, 24:27].mean(3)).abs().mean((1, 2))
        )
        steps = torch.maximum(steps, step)
    return steps


def test_every_change_leaves_the_original_alone_and_changes_something(data: Path) -> None:
    face = load_faces(data, "val", 1)[0]
    before = face.image.copy()
    for name, change in (*PROBES.items(), ("hand", with_occluder("hand"))):
        changed = change(face, np.random.default_rng(0))
        again = change(face, np.random.default_rng(0))
        assert np.array_equal(face.image, before) and np.array_equal(changed, again)
        assert changed.shape == before.shape and changed.dtype == np.uint8
        assert not np.array_equal(changed, before), name


def test_a_mask_that_was_taken_off_has_left_the_skin_as_it_was(data: Path) -> None:
    for face in load_faces(data, "val", 6):
        off = PROBES["mask put on and taken off"](face, np.random.default_rng(0))
        x, y = np.rint(face.landmarks.xy[57]).astype(int)
        assert np.array_equal(
            off[y - 2 : y + 3, x - 2 : x + 3], face.image[y - 2 : y + 3, x - 2 : x + 3]
        )
        assert (
            np.abs(off.astype(int) - face.image).mean()
            < np.abs(face.masked.astype(int) - face.image).mean()
        )


def test_faceless_twins_are_nearly_the_same(data: Path) -> None:
    for face in load_faces(data, "val", 6):
        bare, masked = (faceless(face, image).astype(int) for image in (face.image, face.masked))
        assert np.abs(bare - masked).mean() < 1.0
        x, y = np.rint(face.landmarks.xy[30]).astype(int)
        assert (bare[y, x] == 127).all()


def test_faces_are_spread_over_the_split_and_a_missing_one_is_named(data: Path) -> None:
    every = load_faces(data, "val")
    some = load_faces(data, "val", 4)
    assert len(every) == 12 and len(some) == 4
    assert np.array_equal(some[0].image, every[0].image)
    assert np.array_equal(some[-1].image, every[-1].image)
    with pytest.raises(DataError, match="has no faces in nowhere"):
        load_faces(data, "nowhere")
    with pytest.raises(DataError, match="give a folder that masktrain"):
        load_faces(data / "val", "val")


def test_a_paired_difference_is_about_the_faces_that_changed() -> None:
    before = np.zeros(200, bool)
    after = before.copy()
    after[:10] = True
    found = paired_difference(before, after)
    assert found.value == 0.05 and 0.01 < found.low < 0.05 < found.high < 0.09
    mixed = paired_difference(after, before)
    assert mixed.value == -0.05
    unchanged = paired_difference(after, after)
    assert unchanged.value == 0 and -0.02 < unchanged.low < 0 < unchanged.high < 0.02
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        one = rng.random(150) < 0.1
        two = np.where(rng.random(150) < 0.08, True, one)
        interval = paired_difference(one, two)
        inside += interval.low <= 0.08 * 0.9 <= interval.high
    assert 0.92 < inside / 400 <= 0.99


def test_pixel_statistics_find_what_differs_and_nothing_in_shuffled_labels(
    data: Path, tmp_path: Path
) -> None:
    found = statistics_auc(data, "val")
    assert found["val"].value > 0.6, "fabric has other colours than skin"
    assert found[SHUFFLED].low < 0.5 < found[SHUFFLED].high
    assert found[SHUFFLED].value == pytest.approx(0.5, abs=0.06)
    path = next((data / "val" / CLASSES[0]).iterdir())
    assert statistics_of(path).shape == (7,)
    with pytest.raises(DataError, match="no image in"):
        statistics_auc(tmp_path, "val")


def train_on(data: Path, runs: Path, *more: str) -> Path:
    assert train.main([*FLAGS, "--data", str(data), "--runs", str(runs), *more]) == 0
    (run,) = runs.iterdir()
    return run


def test_training_on_shuffled_labels_learns_nothing(tmp_path: Path) -> None:
    honest = make_data(tmp_path / "honest", {"train": 32, "val": 32})
    shuffled = tmp_path / "shuffled"
    shutil.copytree(honest, shuffled)
    for name in sorted(path.name for path in (shuffled / "train" / CLASSES[0]).iterdir())[::2]:
        # Half of the twins exchange their labels.
        bare, masked = (shuffled / "train" / label / name for label in CLASSES[:2])
        bare.rename(tmp_path / "held")
        masked.rename(bare)
        (tmp_path / "held").rename(masked)
    more = ("--epochs", "6")
    learnt, nothing = (
        read_scores(train_on(data, tmp_path / data.name / "runs", *more), "val", 6).auc
        for data in (honest, shuffled)
    )
    assert learnt > 0.9
    assert abs(nothing - 0.5) < 0.3 and nothing < learnt - 0.1


def test_the_network_that_is_kept_here_takes_no_shortcut(tmp_path: Path) -> None:
    """It learned from photos; these faces are drawn, and no two of them are one person's."""
    weights = weights_file(Path("small"))
    assert weights.stat().st_size < 2e6
    faces = PrepareConfig(
        faces="demo", output=tmp_path / "faces", limit=120, workers=1, val_share=0, test_share=0
    )
    data, output = prepare(faces), tmp_path / "probes"
    config = ProbesConfig(weights, data, split="train", limit=0, device="cpu", output=output)
    report, _, _ = probe(config)
    assert report.network_auc.value > 0.99 and report.probes[0].before.value < 0.02
    assert {row.name for row in report.probes} == set(PROBES)
    for row in report.probes:
        assert row.more.value <= MOST_MORE, f"{row.name}: {row.more.cell('+')}"
    assert report.background_auc.low < 0.5 < report.background_auc.high


def test_the_command_writes_a_table_its_numbers_and_a_sheet(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_on(data, tmp_path / "runs", "--epochs", "1")
    words = ["--weights", str(run), "--data", str(data), "--device", "cpu", "--limit", "5"]
    assert main(words) == 0
    record = json.loads((run / "probes/probes.json").read_text("utf-8"))
    table = (run / "probes/probes.md").read_text("utf-8")
    assert {row["name"] for row in record["probes"]} == set(PROBES)
    assert all(row["n"] == 5 for row in record["probes"])
    for row in record["probes"]:
        line = next(line for line in table.splitlines() if line.startswith(f"| {row['name']} |"))
        assert f"| {row['after']['value']:.3f} (" in line
        assert ("not passed" in line) != row["passed"]
    assert (run / "probes/probes.jpg").is_file() and table in capsys.readouterr().out
    assert record["source"]["model"] == "mobilenet_v3_small"


@pytest.mark.parametrize(
    ("changes", "words"), [({"limit": -1}, "limit must be >= 0"), ({"batch_size": 0}, ">= 1")]
)
def test_impossible_settings_are_refused(changes: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(ProbesConfig(Path("w"), Path("d")), **changes)


def test_a_folder_that_is_no_prepared_data_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--weights", str(tmp_path / "no.pt"), "--data", str(tmp_path), "--device", "cpu"]
    assert main(words) == 1
    assert capsys.readouterr().err.startswith("probes: no checkpoint at")
