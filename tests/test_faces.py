"""Sources of bare faces: who they are, what they are called, and how they are cropped."""

import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faces_fixtures import drawn_face
from hypothesis import given, settings
from hypothesis import strategies as st

from MaskTheFace.images import ImageError, encode_image, write_image
from MaskTheFace.landmarks import CANONICAL, LandmarkError, Landmarks, predictor_path
from masktrain import faces
from masktrain.faces import (
    CROP_SCALE,
    UNFINISHED,
    FaceError,
    FaceRef,
    crop_face,
    face_box,
    fingerprint,
    lfw_folder,
    list_faces,
    open_face,
    source_name,
    stable_hash,
)

needs_dlib = pytest.mark.skipif(predictor_path() is None, reason="no 68-point model here")


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@settings(max_examples=40, deadline=None)
@given(
    size=st.floats(20, 400),
    x=st.floats(-60, 200),
    y=st.floats(-60, 200),
    crop_px=st.integers(32, 256),
)
def test_landmarks_stay_on_the_same_content(size: float, x: float, y: float, crop_px: int) -> None:
    # The picture is its own ruler: red is x, green is y.
    ys, xs = np.mgrid[:256, :256]
    photo = np.dstack([xs, ys, 0 * xs]).astype(np.uint8)
    face = Landmarks(CANONICAL * size + [x, y])
    crop = crop_face(photo, face, crop_px)
    assert crop.image.shape == (crop_px, crop_px, 3)
    columns, rows = np.rint(crop.landmarks.xy).astype(int).T
    seen = crop.image[np.clip(rows, 0, crop_px - 1), np.clip(columns, 0, crop_px - 1), :2]
    tolerance = 2 + 1.5 * CROP_SCALE * size / crop_px
    assert np.abs(seen.astype(float) - np.clip(face.xy, 0, 255)).max() <= tolerance


def test_a_crop_is_a_square_of_1_3_times_the_longer_side() -> None:
    photo = np.zeros((600, 600, 3), np.uint8)
    face = Landmarks(CANONICAL * [300, 400] + 100)
    crop = crop_face(photo, face, 128)
    assert crop.box_xyxy == face_box(face)
    x0, y0, x1, y1 = face_box(crop.landmarks)
    assert max(x1 - x0, y1 - y0) == pytest.approx(128 / 1.3, rel=0.01)
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((63.5, 63.5), abs=0.6)


def test_a_face_box_holds_the_landmarks_and_the_forehead() -> None:
    face = Landmarks(CANONICAL * 300)
    x0, y0, x1, y1 = face_box(face)
    assert (x0, x1, y1) == (face.box_xyxy[0], face.box_xyxy[2], face.box_xyxy[3])
    nasion_to_chin = face.xy[8, 1] - face.xy[27, 1]
    brows = face.xy[[19, 24], 1].min()
    assert brows - y0 == pytest.approx(0.26 * nasion_to_chin)


def test_beyond_the_photo_its_border_is_repeated() -> None:
    photo = np.full((100, 100, 3), 50, np.uint8)
    photo[:, -1] = 200
    crop = crop_face(photo, Landmarks(CANONICAL * 100 + [40, 0]), 128)
    assert (crop.image[:, -20:] == 200).all()
    assert (crop.image[:, :40] == 50).all()


def test_shrinking_averages() -> None:
    board = np.zeros((512, 512, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    crop = crop_face(board, Landmarks(CANONICAL * 380 + 60), 64)
    assert np.abs(crop.image.astype(int) - 127).max() < 45


def test_people_are_folders_and_loose_photos_are_their_own(tmp_path: Path) -> None:
    touch(tmp_path, "ann/1.jpg", "ann/2.png", "bo/1.jpg", "loose.jpg", "x.jpg", "notes.txt")
    refs = list_faces(str(tmp_path))
    assert [(ref.source, ref.identity) for ref in refs] == [
        ("ann/1.jpg", "ann"),
        ("ann/2.png", "ann"),
        ("bo/1.jpg", "bo"),
        ("loose.jpg", "loose.jpg"),
        ("x.jpg", "x.jpg"),
    ]
    assert all(ref.path is not None and ref.path.is_file() for ref in refs)


def test_a_limit_picks_by_hash_and_not_by_name(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{i:03d}.jpg" for i in range(200)))
    few = [ref.source for ref in list_faces(str(tmp_path), limit=20)]
    assert len(few) == 20 and few == sorted(few)
    assert few[-1] > "100"
    more = {ref.source for ref in list_faces(str(tmp_path), limit=40)}
    assert set(few) < more
    assert set(few) != {ref.source for ref in list_faces(str(tmp_path), seed=1, limit=20)}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1),
        unique=True,
    )
)
def test_keys_are_plain_unique_and_short(names: list[str]) -> None:
    keys = [FaceRef(f"people/{name}.jpg", "x").key for name in names]
    assert len(set(keys)) == len(keys)
    for key in keys:
        assert key.isascii() and len(key) < 80
        assert all(char.isalnum() or char in "_-" for char in key)


def test_keys_tell_apart_what_looks_alike() -> None:
    sources = ("a.jpg", "a.png", "a/b.jpg", "a_b.jpg", "A.jpg", "ä.jpg", "ö.jpg")
    assert len({FaceRef(source, "x").key for source in sources}) == len(sources)


def test_a_wrong_or_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaceError, match="nowhere: no such folder of faces; give demo, lfw or"):
        list_faces(str(tmp_path / "nowhere"))
    with pytest.raises(FaceError, match="no images in this folder"):
        list_faces(str(tmp_path))
    with pytest.raises(FaceError, match="no such folder of faces"):
        list_faces(str(touch(tmp_path, "file.jpg") / "file.jpg"))


def test_demo_faces_are_many_people_and_repeatable() -> None:
    refs = list_faces("demo", seed=3, limit=30)
    assert len({ref.identity for ref in refs}) == len({ref.key for ref in refs}) == 30
    assert refs == list_faces("demo", seed=3, limit=30)
    assert len(list_faces("demo")) == 2000
    assert not {ref.source for ref in refs} & {ref.source for ref in list_faces("demo", seed=4)}


def test_a_demo_face_is_the_same_every_time() -> None:
    ref = list_faces("demo", seed=3, limit=2)[1]
    one, two = open_face(ref), open_face(ref)
    assert np.array_equal(one.image, two.image)
    assert one.image.shape == (128, 128, 3) and one.landmarks.how == "model"


def test_a_tight_crop_is_opened_without_detection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faces, "find_landmarks", lambda *_, **__: pytest.fail("detected"))
    write_image(tmp_path / "a.png", drawn_face(112)[0])
    face = open_face(FaceRef("a.png", "a", tmp_path / "a.png"), 128, "yes")
    assert face.landmarks.how in ("aligned", "canonical")


@needs_dlib
def test_of_several_faces_the_largest_is_taken(tmp_path: Path) -> None:
    photo = np.full((320, 520, 3), 128, np.uint8)
    photo[90:230, 30:170] = drawn_face(140, 0)[0]
    photo[60:280, 250:470] = drawn_face(220, 3)[0]
    write_image(tmp_path / "two.png", photo)
    face = open_face(FaceRef("two.png", "two", tmp_path / "two.png"))
    assert face.box_xyxy[0] > 240


def test_a_photo_without_a_face_or_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "wall.png", np.full((100, 100, 3), 128, np.uint8))
    ref = FaceRef("wall.png", "wall", tmp_path / "wall.png")
    monkeypatch.setattr(faces, "find_landmarks", lambda *_, **__: [])
    with pytest.raises(FaceError, match=r"wall\.png: no face found; .*--aligned yes"):
        open_face(ref)

    def missing(*_: object, **__: object) -> list:
        raise LandmarkError("needs dlib")

    monkeypatch.setattr(faces, "find_landmarks", missing)
    with pytest.raises(FaceError, match=r"wall\.png: needs dlib"):
        open_face(ref)
    (tmp_path / "wall.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"wall\.png: the file is empty"):
        open_face(ref)


def fake_sklearn(monkeypatch: pytest.MonkeyPatch, home: Path, fetch: Callable) -> Path:
    """Stand in for scikit-learn's downloader; returns its folder of LFW."""
    datasets = types.ModuleType("sklearn.datasets")
    datasets.get_data_home = lambda: str(home)  # type: ignore[attr-defined]
    datasets.fetch_lfw_people = fetch  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sklearn.datasets", datasets)
    return home / "lfw_home"


def never(**_: object) -> None:
    pytest.fail("downloaded")


def lfw_tree(home: Path) -> Path:
    names = ("Ann_Lee/Ann_Lee_0001.jpg", "Ann_Lee/Ann_Lee_0002.jpg", "Bo_Ek/Bo_Ek_0001.jpg")
    return touch(home / "lfw_home" / "lfw_funneled", *names)


def test_lfw_is_read_from_where_scikit_learn_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    lfw_tree(tmp_path)
    with pytest.warns(UserWarning, match="holds 3 photos, all of LFW are 13233"):
        refs = list_faces("lfw")
    assert [ref.identity for ref in refs] == ["Ann_Lee", "Ann_Lee", "Bo_Ek"]


def test_all_of_lfw_is_no_reason_to_warn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_sklearn(monkeypatch, tmp_path, never)
    folder = lfw_tree(tmp_path)
    monkeypatch.setattr(faces, "LFW_IMAGES", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lfw_folder() == folder


def test_an_unfinished_download_of_ours_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(**_: object) -> None:
        lfw_tree(tmp_path)
        raise KeyboardInterrupt

    home = fake_sklearn(monkeypatch, tmp_path, cut_off)
    with pytest.raises(KeyboardInterrupt):
        lfw_folder()
    assert (home / UNFINISHED).exists()
    fake_sklearn(monkeypatch, tmp_path, never)
    with pytest.raises(FaceError, match="an earlier download was cut off; delete this folder"):
        list_faces("lfw")


def test_without_a_network_lfw_says_what_else_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(**_: object) -> None:
        raise OSError("no route to host")

    home = fake_sklearn(monkeypatch, tmp_path, offline)
    for _ in range(2):
        with pytest.raises(FaceError, match=r"LFW could not be downloaded.*use --faces demo"):
            list_faces("lfw")
    assert not (home / UNFINISHED).exists()


def test_a_download_leaves_no_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = fake_sklearn(monkeypatch, tmp_path, lambda **_: lfw_tree(tmp_path))
    with pytest.warns(UserWarning, match="holds 3 photos"):
        assert len(list_faces("lfw")) == 3
    assert not (home / UNFINISHED).exists()


def test_copies_of_a_photo_have_one_fingerprint_and_others_another(tmp_path: Path) -> None:
    image = drawn_face(128, 1)[0]
    assert fingerprint(image) == fingerprint(image.copy())
    assert len({fingerprint(drawn_face(128, person)[0]) for person in range(8)}) == 8
    assert len(fingerprint(image)) == 64
    assert encode_image(".jpg", image) != encode_image(".jpg", drawn_face(128, 2)[0])


def test_hashes_and_names_are_the_same_on_every_machine() -> None:
    assert stable_hash(0, "a") == 0x9DF3C5FAB8EF8FE7
    assert stable_hash(1, "a") != stable_hash(0, "a")
    assert source_name("demo") == "demo"
    assert source_name("/photos/my faces!/") == "my_faces_"
    assert source_name(".") == Path.cwd().name.replace(" ", "_")
