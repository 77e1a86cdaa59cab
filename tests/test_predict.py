"""Anybody's photos: every face is found, cut out, judged and accounted for."""

import csv
import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import write_rgb

from MaskTheFace.coverage import label_of
from MaskTheFace.wear import ADVICE
from masktrain import finders as module
from masktrain.face_model import FaceModel
from masktrain.faces import FaceError, cut_square
from masktrain.finders import FoundFace, open_finder
from masktrain.model import Preprocessing, build_model, save_checkpoint
from masktrain.multiclass import OUTPUTS
from masktrain.oddities import draw_oddities
from masktrain.predict import (
    COLUMNS,
    DRAWN,
    PredictConfig,
    Prediction,
    main,
    predict,
    sheet,
    write_crops,
)


@pytest.fixture(scope="module", params=[2, 3])
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return random weights of two, then of three classes."""
    torch.manual_seed(0)
    preprocessing = Preprocessing.of_classes(request.param)
    payload = {
        "model": build_model("mobilenet_v3_small", "none", preprocessing.logits).state_dict(),
        "arch": "mobilenet_v3_small",
        "preprocessing": preprocessing.to_dict(),
        "threshold": 0.5,
        "threshold_from": "fixed",
        "epoch": 1,
    }
    path = tmp_path_factory.mktemp("weights") / "a.pt"
    save_checkpoint(path, payload)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder: two faces side by side, no face, and a file that is no photo."""
    folder = tmp_path_factory.mktemp("photos")
    pair = np.full((260, 560, 3), 200, np.uint8)
    model = FaceModel.load()
    for place, seed in enumerate((16, 23)):
        face, _ = model.sample(np.random.default_rng((11, seed)), size_px=220)
        pair[20:240, 30 + 270 * place : 250 + 270 * place] = face
    write_rgb(folder / "pair.png", pair)
    write_rgb(folder / "sub" / "wall.png", np.full((90, 140, 3), 128, np.uint8))
    (folder / "broken.jpg").write_text("no photo")
    return folder


def test_every_face_is_judged_and_every_photo_accounted_for(weights: Path, photos: Path) -> None:
    found = predict(PredictConfig(weights, photos, device="cpu"))
    faces = [(one.photo, one.face, one.found.how) for one in found.faces]
    assert faces == [("pair.png", 1, "dlib"), ("pair.png", 2, "dlib"),
                     ("sub/wall.png", 1, "whole picture")]  # fmt: skip
    assert [photo for photo, _ in found.failed] == ["broken.jpg"]
    lefts = sorted(one.found.box_xyxy[0] for one in found.faces[:2])
    assert lefts[0] < 180 and lefts[1] > 300
    for one in (*found.faces, *found.oddities):
        assert one.found.image.shape == (128, 128, 3)
        assert 0.2 < one.probability <= 1 and one.advice == ADVICE[one.way or one.said]
    assert all(one.found.how == DRAWN for one in found.oddities)


def test_the_command_writes_a_row_for_each_and_a_sheet(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--weights", str(weights), "--custom", str(photos), "--output", str(tmp_path)]
    assert main([*words, "--device", "cpu"]) == 0
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 3 + len(draw_oddities())
    assert cv2.imread(str(tmp_path / "predictions.png")).shape[1] > 800
    out = capsys.readouterr().out
    assert "3 faces: " in out and "skipped broken.jpg" in out and "1 photos without a face" in out


def test_crops_of_the_faces_are_kept_for_sorting(
    weights: Path, photos: Path, tmp_path: Path
) -> None:
    words = ["--weights", str(weights), "--custom", str(photos), "--output", str(tmp_path / "out")]
    assert main([*words, "--device", "cpu", "--crops", str(tmp_path / "crops")]) == 0
    # The wall shows nobody: it was judged whole, and is no crop of a face.
    assert sorted(path.name for path in (tmp_path / "crops").iterdir()) == [
        "pair-1.png",
        "pair-2.png",
    ]
    assert cv2.imread(str(tmp_path / "crops/pair-1.png")).shape == (128, 128, 3)


def test_no_crop_replaces_that_of_another_photo(tmp_path: Path) -> None:
    shades = {"team/a.jpg": 10, "team/a.png": 90, "team-a.jpg": 170}
    faces = [
        Prediction(photo, 1, FoundFace(np.full((64, 64, 3), shade, np.uint8), (0, 0, 1, 1), "dlib"),
                   "no_mask", 0.9, "")
        for photo, shade in shades.items()
    ]  # fmt: skip
    write_crops(tmp_path, faces)
    names = ("team-a-1.png", "team-a-1 (2).png", "team-a-1 (3).png")
    write_crops(tmp_path, faces)
    assert [int(cv2.imread(str(tmp_path / name)).mean()) for name in names] == [*shades.values()]
    assert len(list(tmp_path.iterdir())) == len(names), "the same crops again are no others"
    first = faces[0].found
    later = dataclasses.replace(
        faces[0], found=dataclasses.replace(first, image=first.image + np.uint8(5))
    )
    write_crops(tmp_path, [later])
    (tmp_path / "team-a-1 (3).png").write_bytes(b"damaged")
    assert int(cv2.imread(str(tmp_path / "team-a-1.png")).mean()) == 10
    assert int(cv2.imread(str(tmp_path / "team-a-1 (4).png")).mean()) == 15


def test_a_limit_is_of_photos(weights: Path, photos: Path) -> None:
    found = predict(PredictConfig(weights, photos, device="cpu", limit=1))
    whole = predict(PredictConfig(weights, photos, device="cpu"))
    seen = {one.photo for one in found.faces} | {photo for photo, _ in found.failed}
    every = {one.photo for one in whole.faces} | {photo for photo, _ in whole.failed}
    assert seen == {min(every)} and len(every) == 3


def test_crops_need_photos() -> None:
    with pytest.raises(ValueError, match="give these with --custom"):
        PredictConfig(Path("w.pt"), crops=Path("crops"))


def test_a_threshold_is_for_two_classes(weights: Path, photos: Path) -> None:
    def said(threshold: float) -> set[str]:
        config = PredictConfig(weights, photos, device="cpu", threshold=threshold)
        return {one.said for one in predict(config).faces}

    three = len(torch.load(weights, weights_only=True)["preprocessing"]["outputs"]) == len(OUTPUTS)
    if three:
        with pytest.raises(ValueError, match="for networks of two classes"):
            said(0.5)
    else:
        assert said(0.0) == {"wearing_mask"} and said(1.0) == {"no_mask"}
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got 2"):
        PredictConfig(weights, threshold=2)


def test_the_sheet_names_photo_answer_and_finder(weights: Path, photos: Path) -> None:
    found = predict(PredictConfig(weights, photos / "pair.png", device="cpu"))
    parts = sheet(found, 1).subfigs
    assert len(parts) == 2
    captions = [ax.get_title() for ax in parts[0].axes if ax.get_title()]
    (caption,) = captions
    assert caption.startswith("pair.png\n") and caption.endswith("(dlib)")
    one = dataclasses.replace(found.faces[0], photo="a" * 40)
    wrong = dataclasses.replace(one, said="worn_incorrectly", way="one_ear")
    (caption,) = [
        ax.get_title()
        for ax in sheet(dataclasses.replace(found, faces=(wrong,)), 1).subfigs[0].axes
        if ax.get_title()
    ]
    assert "put the other loop over" in caption, "what the person may do"
    long = dataclasses.replace(found, faces=(one,))
    assert len(sheet(long, 1).subfigs[0].axes[0].get_title().split("\n")[0]) == 24


def test_yunets_boxes_become_canonical_crops(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stub:
        def setInputSize(self, size: tuple[int, int]) -> None:
            self.size = size

        def detect(self, image: np.ndarray) -> tuple[int, np.ndarray | None]:
            assert image.shape[1::-1] == self.size
            if image.shape[0] < 100:
                return 0, None
            rows = np.array([[10, 20, 40, 60], [200, 30, 100, 80]], np.float32)
            return 1, np.hstack([rows * self.size[0] / 3200, np.zeros((2, 11), np.float32)])

    monkeypatch.setattr(module.cv2.FaceDetectorYN, "create", lambda *_: Stub(), raising=False)
    (tmp_path / "yunet.onnx").write_bytes(b"x")
    find = open_finder(tmp_path / "yunet.onnx")
    photo = np.random.default_rng(0).integers(0, 255, (1000, 3200, 3), dtype=np.uint8)
    first, second = find(photo)
    assert (first.box_xyxy, second.box_xyxy) == ((200, 30, 300, 110), (10, 20, 50, 80))
    assert first.how == "yunet"
    assert np.array_equal(first.image, cut_square(photo, (250, 70), 130))
    assert [face.how for face in find(np.zeros((60, 90, 3), np.uint8))] == ["whole picture"]


def test_a_finder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaceError, match=r"no file .*none\.onnx"):
        open_finder(tmp_path / "none.onnx")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 232589\n"
    for content, hinted in ((b"no model", False), (pointer, True)):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(FaceError, match="is no YuNet model") as caught:
            open_finder(tmp_path / "bad.onnx")
        assert ("download the file itself" in str(caught.value)) == hinted


def test_a_folder_without_photos_says_so(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["--weights", str(weights), "--custom", str(tmp_path / "empty")]) == 1
    assert "no images in this folder" in capsys.readouterr().err


def test_without_photos_only_the_drawn_ones_are_shown(weights: Path) -> None:
    found = predict(PredictConfig(weights, device="cpu"))
    assert not found.faces and len(sheet(found, 8).subfigs) == 1


def test_drawn_examples_are_always_the_same_and_differ() -> None:
    one, two = draw_oddities(), draw_oddities()
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, two, strict=True))
    assert len({oddity.name for oddity in one}) == len(one) >= 10
    for place, oddity in enumerate(one):
        assert oddity.image.shape == (128, 128, 3) and oddity.image.dtype == np.uint8
        apart = [np.abs(oddity.image.astype(int) - other.image).mean() for other in one[:place]]
        assert min(apart, default=99) > 8


def test_networks_of_ways_say_how(photos: Path, weights: Path) -> None:
    found = predict(PredictConfig(weights, photos, device="cpu"))
    three = len(torch.load(weights, weights_only=True)["preprocessing"]["outputs"]) == len(OUTPUTS)
    told = [*found.faces, *found.oddities]
    for one in told:
        if three and one.said != "no_mask":
            assert label_of(one.way) == one.said
        else:
            assert one.way == ""
    assert not three or any(one.way for one in told)
