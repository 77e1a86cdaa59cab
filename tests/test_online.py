"""Masks drawn anew in every epoch: the same for any workers, and no trace but the mask."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from MaskTheFace.coverage import Covered
from MaskTheFace.images import read_image
from MaskTheFace.overlay import Masked, overlay_mask
from masktrain import online as module
from masktrain import session
from masktrain.augment import train_transform
from masktrain.config import PrepareConfig, TrainConfig, read_run_config
from masktrain.data import DataError, EpochSampler, load_crops, train_loader
from masktrain.model import Preprocessing
from masktrain.online import OnlineCrops, load_online
from masktrain.prepare import DATA_VERSION, LANDMARKS, prepare
from masktrain.session import load_data
from masktrain.styles import is_held_out
from masktrain.train import main


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prepared folder of drawn faces; read only."""
    folder = tmp_path_factory.mktemp("online") / "demo"
    return prepare(PrepareConfig(faces="demo", output=folder, limit=14, workers=1))


@pytest.fixture(scope="module")
def crops(data: Path) -> OnlineCrops:
    return load_online(data)


def worn(image: np.ndarray, wear: str = "correct", changed: bool = False) -> Masked:
    """Return a face as if a mask had been put on that cannot be seen."""
    shares = {"correct": Covered(1, 1, 1), "nose_out": Covered(0, 1, 1)}[wear]
    touched = np.full(image.shape[:2], changed)
    return Masked(image, touched.astype(np.float32), touched, shares, wear)


def test_crops_are_bare_faces_and_then_their_twins(data: Path, crops: OnlineCrops) -> None:
    files = load_crops(data, "train")
    assert len(crops) == len(files) == 2 * len(crops.images)
    assert crops.paths == files.paths and np.array_equal(crops.labels, files.labels)
    assert np.array_equal(crops.images, files.images[files.labels == 0])


def test_masks_are_new_in_each_epoch_and_the_same_when_asked_again(crops: OnlineCrops) -> None:
    index = len(crops) - 1
    first = crops.seen(index, seed=0, epoch=1).image
    assert np.array_equal(first, crops.seen(index, seed=0, epoch=1).image)
    for other in ((0, 2), (1, 1)):
        assert not np.array_equal(first, crops.seen(index, *other).image)
    assert np.array_equal(crops.seen(0, 0, 1).image, crops.seen(0, 0, 1).image)


def test_items_are_the_same_bytes_for_0_and_2_workers(crops: OnlineCrops) -> None:
    def epoch(workers: int) -> list[tuple[torch.Tensor, ...]]:
        loader = train_loader(crops, train_transform(Preprocessing()), 8, 3, workers)
        assert isinstance(loader.sampler, EpochSampler)
        loader.sampler.epoch = 2
        return list(loader)

    one, other = epoch(0), epoch(2)
    assert len(one) == len(other) > 1
    assert all(torch.equal(a, b) for left, right in zip(one, other) for a, b in zip(left, right))


def test_a_mask_that_cannot_be_seen_leaves_twins_equal_in_every_bit(
    crops: OnlineCrops, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever the encoder does to one class, it does to the other.
    monkeypatch.setattr(module, "overlay_mask", lambda image, *_: worn(image))
    count = len(crops.images)
    for face in range(count):
        assert np.array_equal(crops.seen(face, 0, 1).image, crops.seen(count + face, 0, 1).image)


def test_twins_agree_away_from_the_mask(
    crops: OnlineCrops, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[np.ndarray] = []

    def noted(*args: object) -> Masked:
        masked = overlay_mask(*args)  # type: ignore[arg-type]
        touched.append(masked.changed)
        return masked

    monkeypatch.setattr(module, "overlay_mask", noted)
    count = len(crops.images)
    for face in range(count):
        masked, bare = crops.seen(count + face, 0, 1).image, crops.seen(face, 0, 1).image
        # The encoder works in blocks of 16 px, and its colours reach one more pixel.
        blocks = touched[-1].reshape(8, 16, 8, 16).any(axis=(1, 3))
        far = ~np.pad(np.kron(blocks, np.ones((16, 16), bool)), 1)
        near = np.lib.stride_tricks.sliding_window_view(~far, (3, 3)).any(axis=(2, 3))
        differs = (masked != bare).any(axis=2)
        assert differs.any() and not differs[~near].any() and (~near).any()


def test_twins_pass_the_encoder_once_more_at_one_quality_that_is_not_the_folders(
    crops: OnlineCrops, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    real = module.encode_image

    def noted(suffix: str, image: np.ndarray, quality: int) -> bytes:
        seen.append(quality)
        return real(suffix, image, quality)

    monkeypatch.setattr(module, "encode_image", noted)
    for index in range(len(crops)):
        crops.seen(index, 0, 1)
    bare, masked = seen[: len(crops) // 2], seen[len(crops) // 2 :]
    assert bare == masked and len(set(bare)) > 3
    top = crops.settings.quality
    assert all(top - 20 <= quality < top for quality in bare)


def test_another_encoding_changes_bare_crops_about_as_much_as_masked_ones(
    crops: OnlineCrops,
) -> None:
    # Encoded twice at one quality a bare crop would hardly change at the third time.
    def change(index: int) -> float:
        image = crops.seen(index, 0, 1).image
        again = module.encoded_again(image, crops.settings.quality)
        return float(np.abs(again.astype(int) - image).mean())

    count = len(crops.images)
    bare = np.mean([change(face) for face in range(count)])
    masked = np.mean([change(count + face) for face in range(count)])
    assert 0.6 < bare / masked < 1.6


def test_a_mask_that_does_not_sit_is_drawn_again_and_at_last_read_from_its_file(
    data: Path, crops: OnlineCrops, monkeypatch: pytest.MonkeyPatch
) -> None:
    styles = []

    def slipped(image: np.ndarray, _: object, style: object) -> Masked:
        styles.append(style)
        return worn(image, "nose_out")

    monkeypatch.setattr(module, "overlay_mask", slipped)
    monkeypatch.setattr(module, "encoded_again", lambda image, _: image)
    index = len(crops.images)
    assert np.array_equal(crops.seen(index, 0, 1).image, read_image(data / crops.paths[index]))
    assert len(styles) == len({style.seed for style in styles}) == module.ATTEMPTS


def test_no_training_mask_is_of_a_held_out_kind(
    crops: OnlineCrops, monkeypatch: pytest.MonkeyPatch
) -> None:
    styles = []
    monkeypatch.setattr(
        module, "overlay_mask", lambda image, _, style: styles.append(style) or worn(image)
    )
    for epoch in range(1, 40):
        crops.seen(len(crops) - 1, 0, epoch)
    assert len(styles) == 39 and not any(is_held_out(style) for style in styles)


def test_masks_are_drawn_at_the_stored_size_so_that_both_classes_are_resized_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PrepareConfig(faces="demo", output=tmp_path / "d", limit=11, workers=1, crop_px=64)
    crops = load_online(prepare(config))
    sizes = []
    monkeypatch.setattr(
        module, "overlay_mask", lambda image, *_: sizes.append(image.shape) or worn(image)
    )
    assert crops.seen(len(crops) - 1, 0, 1).image.shape == (128, 128, 3)
    assert sizes == [(64, 64, 3)]
    assert np.array_equal(crops.seen(0, 0, 1).image, crops.seen(len(crops.images), 0, 1).image)


def test_changed_landmarks_change_the_digest(crops: OnlineCrops) -> None:
    moved = dataclasses.replace(crops, landmarks_xy=crops.landmarks_xy + 1)
    assert moved.digest() != crops.digest() == dataclasses.replace(crops).digest()


def test_only_the_training_split_is_drawn_online(data: Path) -> None:
    found = load_data(TrainConfig(masks="online"), data)
    assert isinstance(found["train"], OnlineCrops) and not isinstance(found["val"], OnlineCrops)
    assert not isinstance(load_data(TrainConfig(), data)["train"], OnlineCrops)


def _older(folder: Path) -> None:
    settings = json.loads((folder / "prepare.json").read_text())
    (folder / "prepare.json").write_text(json.dumps(settings | {"version": DATA_VERSION - 1}))


def _lose_a_row(folder: Path) -> None:
    lines = (folder / LANDMARKS).read_text().splitlines(keepends=True)
    (folder / LANDMARKS).write_text("".join(x for x in lines if not x.startswith("train/")))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / LANDMARKS).unlink(), r"landmarks\.csv.*prepare it again"),
        (
            lambda folder: (folder / "prepare.json").unlink(),
            r"has no prepare\.json.*--masks online",
        ),
        (lambda folder: (folder / "prepare.json").write_text("{"), "is damaged"),
        (_older, "was prepared by another version; delete .* and prepare it again"),
        (_lose_a_row, r"has no row for train/no_mask/.*jpg; delete"),
        (
            lambda folder: next((folder / "train/wearing_mask").iterdir()).unlink(),
            "has no masked twin train/wearing_mask/",
        ),
    ],
)
def test_a_folder_that_will_not_do_says_what_to_do(
    data: Path, tmp_path: Path, damage: object, message: str
) -> None:
    folder = shutil.copytree(data, tmp_path / "data")
    damage(folder)  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        load_online(folder)


def test_training_with_online_masks_is_recorded_stopped_and_resumed_to_the_same_bits(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--data", str(data), "--masks", "online", "--epochs", "2", "--batch-size", "8"]
    words += ["--model", "mobilenet_v3_small", "--init", "none", "--wandb", "off"]
    words += ["--device", "cpu", "--workers", "0", "--amp", "off"]
    assert main([*words, "--runs", str(tmp_path / "straight")]) == 0
    real = session.train_one_epoch

    def stopped(*args: object, **kwargs: object) -> object:
        if kwargs["epoch"] == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(session, "train_one_epoch", stopped)
        assert main([*words, "--runs", str(tmp_path / "stopped")]) == 130
    (run,), (other,) = ((tmp_path / name).iterdir() for name in ("stopped", "straight"))
    assert read_run_config(run).masks == "online"
    assert main(["--resume", str(run), "--workers", "1"]) == 0
    one, two = (
        torch.load(path / "weights" / "last.pt", weights_only=True)["model"]
        for path in (run, other)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_that_goes_on_for_longer_is_one_with_a_restart(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(data), "--batch-size", "8", "--warmup-epochs", "1", "--lr", "0.02"]
    words += ["--model", "shufflenet_v2_x0_5", "--init", "none", "--wandb", "off"]
    words += ["--device", "cpu", "--workers", "0", "--amp", "off", "--first-px", "48"]
    straight = ["--epochs", "3", "--restarts", "2", "--runs", str(tmp_path / "straight")]
    assert main([*words, *straight]) == 0
    assert main([*words, "--epochs", "2", "--runs", str(tmp_path / "longer")]) == 0
    (run,), (other,) = ((tmp_path / name).iterdir() for name in ("longer", "straight"))
    metrics = [path.relative_to(run) for path in run.glob("eval/*/metrics.json")]
    best = (run / "weights/best.pt").read_bytes()
    for name in ("probes", "probes-last"):
        (run / name).mkdir()
    assert main(["--resume", str(run), "--epochs", "3"]) == 0
    kept = run / "until-2"
    assert metrics and all((kept / name).is_file() for name in metrics)
    assert (kept / "weights/best.pt").read_bytes() == best and read_run_config(kept).epochs == 2
    for name in ("probes", "probes-last"):
        assert (kept / name).is_dir() and not (run / name).exists()
    one, two = (
        torch.load(path / "weights" / "last.pt", weights_only=True) for path in (run, other)
    )
    assert one["epoch"] == 3 and one["config"]["restarts"] == [2]
    assert all(torch.equal(one["model"][name], two["model"][name]) for name in one["model"])
    assert read_run_config(run) == dataclasses.replace(
        read_run_config(other), runs=tmp_path / "longer"
    )
    assert main(["--resume", str(run)]) == 0

    two["epoch"] = 1
    torch.save(two, other / "weights" / "last.pt")
    capsys.readouterr()
    assert main(["--resume", str(other), "--epochs", "4"]) == 1
    assert "has done 1 of its 3 epochs: resume it without" in capsys.readouterr().err


def test_dry_run_works_with_online_masks(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(data), "--masks", "online", "--dry-run", "--batch-size", "8"]
    words += ["--model", "mobilenet_v3_small", "--runs", str(tmp_path), "--workers", "0"]
    assert main(words) == 0
    assert "estimated time: " in capsys.readouterr().out
    assert [path.name for path in tmp_path.rglob("*.*")] == ["train_batch0.jpg"]
