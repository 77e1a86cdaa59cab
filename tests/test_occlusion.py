"""Things before faces while training: the same for twins, and only where they may be."""

from pathlib import Path

import numpy as np
import pytest

from MaskTheFace.coverage import WRONG, covered_shares
from MaskTheFace.landmarks import Landmarks
from MaskTheFace.occluder_style import BENEATH, OccluderStyle
from MaskTheFace.occluders import occlude
from MaskTheFace.overlay import overlay_mask
from MaskTheFace.style import MaskStyle
from MaskTheFace.wear import worn
from masktrain import online as module
from masktrain.config import PrepareConfig
from masktrain.data import CLASSES, DataError, load_crops, wear_by_path, with_ways
from masktrain.multiclass import target_of
from masktrain.occlusion import (
    BEFORE,
    MOST_HIDDEN,
    NO_FACE_SHARE,
    VEIL_SHARE,
    draw_alone,
    draw_occluder,
    put_before,
)
from masktrain.online import CHIN_OUT_SHARE, load_occluded, load_online
from masktrain.prepare import prepare


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prepared folder of drawn faces in three classes; read only."""
    folder = tmp_path_factory.mktemp("occlusion") / "demo"
    config = PrepareConfig(faces="demo", output=folder, limit=12, workers=1, wear=True)
    return prepare(config)


def test_the_wanted_share_of_faces_gets_something() -> None:
    drawn = [draw_occluder((0, 1, face), 0.3) for face in range(400)]
    assert np.mean([style is not None for style in drawn]) == pytest.approx(0.3, abs=0.06)
    assert drawn == [draw_occluder((0, 1, face), 0.3) for face in range(400)]
    assert drawn != [draw_occluder((0, 2, face), 0.3) for face in range(400)]
    assert all(draw_occluder((0, 1, face), 0.0) is None for face in range(20))
    assert all(draw_occluder((0, 1, face), 1.0) is not None for face in range(20))


def test_what_would_hide_everything_is_left_out(data: Path) -> None:
    crops = load_online(data)
    image, points = crops.images[0], Landmarks(crops.landmarks_xy[0])
    assert MOST_HIDDEN < 0.95
    assert put_before(image, points, OccluderStyle(kind="veil"), image) is image
    hand = OccluderStyle(kind="hand", seed=1)
    assert not np.array_equal(put_before(image, points, hand, image), image)


def test_how_a_mask_is_worn_wrongly_stays_in_view(data: Path) -> None:
    crops = load_online(data)
    image, points = crops.images[0], Landmarks(crops.landmarks_xy[0])
    over = OccluderStyle(kind="hand", seed=2, size=0.85, dy=-0.4)
    below = OccluderStyle(kind="hand", seed=1, size=0.8, dy=0.45)
    covered = covered_shares(occlude(image, points, over).alpha, points)
    assert min(covered.nose, covered.mouth) > 0.5
    assert put_before(image, points, over, image, wrongly=True) is image
    assert put_before(image, points, over, image) is not image
    assert put_before(image, points, below, image, wrongly=True) is not image
    hat = OccluderStyle(kind="hat", seed=1, dy=0.1)
    for slip, hidden in ((-1.1, True), (0.5, False)):
        style = MaskStyle(color=(20, 200, 60), template="cloth_fitted", slip=slip)
        masked = overlay_mask(image, points, style).image
        assert (put_before(masked, points, hat, image, wrongly=True) is masked) == hidden
        assert put_before(masked, points, hat, image) is not masked


def test_what_lies_beneath_a_mask_may_hide_the_whole_face(data: Path) -> None:
    crops = load_online(data)
    image, points = crops.images[0], Landmarks(crops.landmarks_xy[0])
    whole = OccluderStyle(kind="paint", seed=2)
    covered = covered_shares(occlude(image, points, whole).alpha, points)
    assert min(covered.nose, covered.mouth) > 0.8
    assert np.array_equal(
        put_before(image, points, whole, image), occlude(image, points, whole).image
    )


def test_twins_have_the_same_thing_before_them_online(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, list[OccluderStyle]] = {}
    crops = load_online(data, classes=3, occluders=1.0)
    current = 0

    def noted(
        image: np.ndarray,
        _: Landmarks,
        style: OccluderStyle,
        bare: np.ndarray,
        wrongly: bool = False,
    ) -> np.ndarray:
        assert any(np.array_equal(bare, one) for one in crops.images), "measured on the bare crop"
        seen.setdefault(current, []).append(style)
        return image

    monkeypatch.setattr(module, "put_before", noted)
    for current in range(len(crops)):
        crops.seen(current, 0, 1)
    assert len(seen) == len(crops) and all(len(styles) == 1 for styles in seen.values())
    for index, (style,) in seen.items():
        assert style == seen[int(crops.faces[index])][0]


def test_three_classes_online_are_bare_worn_and_worn_wrongly(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = load_online(data, classes=3)
    files = load_crops(data, "train", labels=(0, 1, 2))
    assert crops.paths == files.paths and np.array_equal(crops.labels, files.labels)
    ways: dict[int, set[str]] = {1: set(), 2: set()}
    draw = module.overlay_mask

    def noted(*given: object) -> object:
        masked = draw(*given)
        ways[label].add(masked.wear)
        return masked

    monkeypatch.setattr(module, "overlay_mask", noted)
    for index, label in enumerate(crops.labels.tolist()):
        first, second = (crops.seen(index, 0, epoch).image for epoch in (1, 2))
        assert (label == 0) or not np.array_equal(first, second)
    assert ways[1] & {"correct"} and len(ways[2] & set(WRONG)) >= 2


def test_now_and_then_a_chin_is_left_out_where_ways_are_told(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def noted(style: MaskStyle, way: str, rng: np.random.Generator) -> MaskStyle:
        asked.append(way)
        return worn(style, way, rng)

    monkeypatch.setattr(module, "worn", noted)
    aims = []
    for classes in (2, 3):
        crops = load_online(data, classes)
        (masked,) = np.nonzero(crops.labels == 1)
        seen = [crops.seen(int(i), 0, epoch) for i in masked for epoch in range(1, 31)]
        aims.append(np.mean([s.target == target_of(1, "chin_out") for s in seen]))
        assert (CHIN_OUT_SHARE / 2 < aims[-1] < 4 * CHIN_OUT_SHARE) == (classes == 3)
    assert set(asked) == {"chin_out"} and aims[0] == 0


def test_training_aims_at_how_a_mask_is_worn(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    draw = module.overlay_mask

    def noted(*given: object) -> object:
        masked = draw(*given)
        drawn.append(masked.wear)
        return masked

    monkeypatch.setattr(module, "overlay_mask", noted)
    three, two = load_online(data, classes=3), load_online(data, classes=2)
    for index, label in enumerate(three.labels.tolist()):
        drawn.clear()
        target = three.seen(index, 0, 1).target
        assert target == target_of(label, drawn[-1] if drawn else "") and (target > 2) == bool(
            label
        )
    assert all(two.seen(i, 0, 1).target == two.labels[i] for i in range(len(two)))
    files = with_ways(load_crops(data, "train", labels=(0, 1, 2)))
    known = wear_by_path(data)
    occluded = load_occluded(data, files, 1.0)
    for index, path in enumerate(files.paths):
        wanted = target_of(int(files.labels[index]), known.get(path, ""))
        assert files.seen(index, 0, 1).target == occluded.seen(index, 0, 1).target == wanted


def test_online_without_the_third_class_says_what_to_do(data: Path, tmp_path: Path) -> None:
    two = prepare(PrepareConfig(faces="demo", output=tmp_path / "two", limit=10, workers=1))
    with pytest.raises(DataError, match="no worn_incorrectly/: prepare it with --wear"):
        load_online(two, classes=3)


def test_files_get_what_can_be_laid_over_a_mask(data: Path) -> None:
    plain = load_crops(data, "train", labels=(0, 1, 2))
    crops = load_occluded(data, plain, 1.0)
    assert not set(BEFORE) & BENEATH and len(crops) == len(plain)
    bare = {int(face): index for index, face in enumerate(crops.faces) if crops.labels[index] == 0}
    changed = 0
    for index in range(len(crops)):
        face = int(crops.faces[index])
        assert crops.labels[face] == 0
        assert Path(crops.paths[index]).name == Path(crops.paths[bare[face]]).name
        assert np.array_equal(crops.landmarks_xy[index], crops.landmarks_xy[bare[face]])
        now = crops.seen(index, 0, 1).image
        assert np.array_equal(now, crops.seen(index, 0, 1).image)
        changed += not np.array_equal(now, plain.images[index])
    assert changed > 0.6 * len(crops)
    none = load_occluded(data, plain, 0.0)
    assert np.array_equal(none.seen(0, 0, 1).image, plain.images[0])


@pytest.mark.parametrize("veils", ["no_mask", "wearing_mask"])
def test_veils_count_to_the_class_that_the_user_says(data: Path, veils: str) -> None:
    drawn = [draw_alone((0, 1, n), CLASSES.index(veils), 0.0, veils) for n in range(2000)]
    share = np.mean([style is not None for style in drawn])
    assert share == pytest.approx(VEIL_SHARE, abs=0.015)
    assert {style.kind for style in drawn if style} == {"veil"}
    others = [label for label in range(3) if CLASSES[label] != veils]
    keys = [(0, 1, n) for n in range(200)]
    assert all(draw_alone(key, label, 0.0, veils) is None for key in keys for label in others)
    assert all(draw_alone(key, 0, 0.0, "left_out") is None for key in keys)
    plain = load_crops(data, "train", labels=(0, 1, 2))
    for crops in (load_online(data, 3, veils=veils), load_occluded(data, plain, 0.0, veils)):
        epochs = range(1, 40)
        keys = [(e, i) for e in epochs for i in range(len(crops))]
        labels = {i: int(crops.labels[i]) for i in range(len(crops))}
        epoch, index = next(k for k in keys if draw_alone((0, *k), labels[k[1]], 0.0, veils))
        shown = crops.seen(index, 0, epoch).image
        own = len(crops.landmarks_xy) == len(crops)
        face = crops.landmarks_xy[index if own else int(crops.faces[index])]
        x, y = np.rint(face[57]).astype(int)
        veiled = shown[y - 4 : y + 5, x - 8 : x + 9].astype(float)
        assert veiled.std(axis=(0, 1)).max() < 25, "one cloth over the mouth"


def test_where_no_face_is_there_is_no_mask(data: Path) -> None:
    keys = [(0, 1, n) for n in range(3000)]
    drawn = [draw_alone(key, 0, 0.5, "left_out") for key in keys]
    absent = [key for key, style in zip(keys, drawn, strict=True) if style is not None]
    assert len(absent) / len(keys) == pytest.approx(0.5 * NO_FACE_SHARE, abs=0.01)
    assert {style.kind for style in drawn if style} == {"no_face"}
    assert all(draw_alone(key, label, 0.5, "left_out") is None for key in keys for label in (1, 2))
    plain = load_crops(data, "train")
    for crops in (load_online(data, 2, 0.5), load_occluded(data, plain, 0.5)):
        bare = [i for i in range(len(crops)) if crops.labels[i] == 0]
        seen = [(e, i) for e in range(1, 99) for i in bare]
        epoch, index = next(k for k in seen if draw_alone((0, *k), 0, 0.5, "left_out"))
        shown = crops.seen(index, 0, epoch)
        landmarks = Landmarks(crops.landmarks_xy[int(crops.faces[index])])
        eyes_and_mouth = np.rint(landmarks.xy[36:68]).astype(int)
        columns, rows = eyes_and_mouth.T.clip(0, len(shown.image) - 1)
        was = crops.images[int(crops.faces[index])][rows, columns].std(axis=0).max()
        assert shown.image[rows, columns].std(axis=0).max() < 0.6 * was and shown.target == 0


def test_landmarks_are_scaled_with_the_crops(tmp_path: Path) -> None:
    folder = prepare(
        PrepareConfig(faces="demo", output=tmp_path / "large", limit=10, workers=1, crop_px=160)
    )
    crops = load_occluded(folder, load_crops(folder, "train"), 1.0)
    assert crops.images.shape[1:3] == (128, 128)
    assert 40 < crops.landmarks_xy.mean() < 90
    assert CLASSES == ("no_mask", "wearing_mask", "worn_incorrectly")


def test_data_of_others_has_no_landmarks(tmp_path: Path, data: Path) -> None:
    with pytest.raises(DataError, match=r"no prepare\.json"):
        load_occluded(tmp_path, load_crops(data, "train"), 0.5)
