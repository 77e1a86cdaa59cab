"""Where the face is: laws of the points, what dlib finds, and what happens without it."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from faces_fixtures import drawn_face

from MaskTheFace import landmarks
from MaskTheFace.landmarks import (
    CANONICAL,
    MIRROR,
    LandmarkError,
    Landmarks,
    aligned_landmarks,
    find_boxes,
    find_landmarks,
    fit_landmarks,
    predictor_path,
    read_landmarks,
)

needs_dlib = pytest.mark.skipif(predictor_path() is None, reason="no 68-point model here")


@pytest.fixture
def fresh() -> object:
    """Forget what dlib has loaded, before and after."""
    for cached in (landmarks._predictor, landmarks._detector):
        cached.cache_clear()
    yield
    for cached in (landmarks._predictor, landmarks._detector):
        cached.cache_clear()


def eyes_apart(face: Landmarks) -> float:
    return float(np.linalg.norm(face.xy[36:42].mean(axis=0) - face.xy[42:48].mean(axis=0)))


def test_the_mirror_of_the_mirror_is_the_face() -> None:
    assert sorted(MIRROR) == list(range(68))
    assert np.array_equal(MIRROR[MIRROR], np.arange(68))
    face = Landmarks(np.random.default_rng(0).uniform(0, 90, (68, 2)))
    assert np.allclose(face.mirrored(90).mirrored(90).xy, face.xy, atol=1e-4)


def test_the_mirror_of_a_frontal_face_is_itself() -> None:
    face = Landmarks(CANONICAL * 100)
    assert np.abs(face.mirrored(101).xy - face.xy).max() < 0.3


def test_moving_obeys_the_matrix() -> None:
    face = Landmarks(CANONICAL * 100, "detected")
    matrix = np.array([[0.5, 0.0, 3.0], [0.0, 2.0, -1.0]])
    moved = face.moved(matrix)
    assert np.allclose(moved.xy, face.xy * [0.5, 2] + [3, -1], atol=1e-4)
    assert moved.how == "detected"


def test_box_and_width_measure_the_points() -> None:
    face = Landmarks(CANONICAL * 1000)
    assert face.box_xyxy == pytest.approx((72, 155, 928, 985), abs=0.1)
    assert face.width_px == pytest.approx(856, abs=0.1)
    profile = Landmarks(CANONICAL * [100, 1000])
    assert profile.width_px > 0.5 * 830


@pytest.mark.parametrize(
    ("xy", "message"),
    [
        (np.zeros((67, 2)), r"shape \(68, 2\), got \(67, 2\)"),
        (np.zeros((68, 3)), r"shape \(68, 2\), got \(68, 3\)"),
        (np.full((68, 2), np.nan), "finite numbers"),
        (np.zeros((68, 2)), "span at least one pixel"),
        (CANONICAL * [100, 0], "span at least one pixel"),
    ],
)
def test_points_that_are_no_face_are_refused(xy: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Landmarks(xy)


def test_points_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Landmarks(CANONICAL * 100).xy[0] = 5


@needs_dlib
def test_a_face_in_a_photo_is_found_where_it_is() -> None:
    image, truth = drawn_face(160)
    photo = cv2.copyMakeBorder(image, 60, 40, 70, 90, cv2.BORDER_REPLICATE)
    (face,) = find_landmarks(photo)
    assert face.how == "detected"
    assert np.abs(face.xy - truth.xy - [70, 60]).mean() < 0.06 * truth.width_px


@needs_dlib
@pytest.mark.parametrize("person", range(5))
def test_a_tight_crop_is_found_on_the_second_look(person: int) -> None:
    image, truth = drawn_face(160, person)
    (face,) = find_landmarks(image)
    assert np.abs(face.xy - truth.xy).mean() < 0.06 * truth.width_px


@needs_dlib
def test_a_small_photo_is_looked_at_closely_only_where_a_glance_finds_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = []
    real = landmarks._detect_boxes
    monkeypatch.setattr(landmarks, "_detect_boxes", lambda *a: looks.append(a) or real(*a))
    crop = drawn_face(120)[0]
    assert len(find_boxes(cv2.copyMakeBorder(crop, 60, 60, 60, 60, cv2.BORDER_REPLICATE))) == 1
    assert looks == []
    assert find_boxes(np.full((200, 200, 3), 128, np.uint8), look_again=False) == []
    assert len(looks) == 1


@needs_dlib
def test_a_larger_photo_is_looked_at_closely_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmarks, "_run_detector", lambda grey, *_: [np.array(grey.shape)])
    large = landmarks.SMALL_PX + 80
    (framed,) = find_boxes(np.zeros((large, large, 3), np.uint8))
    assert framed.tolist() == [1.4 * large] * 2


@needs_dlib
def test_finding_and_fitting_apart_are_finding() -> None:
    photo = cv2.copyMakeBorder(drawn_face(160)[0], 50, 50, 50, 50, cv2.BORDER_REPLICATE)
    whole, parts = find_landmarks(photo), fit_landmarks(photo, find_boxes(photo))
    assert [np.array_equal(a.xy, b.xy) for a, b in zip(whole, parts, strict=True)] == [True]


@needs_dlib
def test_several_faces_come_largest_first() -> None:
    small, large = drawn_face(140, 0)[0], drawn_face(220, 3)[0]
    photo = np.full((320, 520, 3), 128, np.uint8)
    photo[90:230, 30:170] = small
    photo[60:280, 250:470] = large
    faces = find_landmarks(photo)
    assert [round(face.box_xyxy[0] / 260) for face in faces] == [1, 0]
    assert faces[0].width_px > faces[1].width_px


@needs_dlib
def test_a_large_photo_gives_points_in_its_own_pixels() -> None:
    image, truth = drawn_face(160)
    large = cv2.resize(image, (1600, 1600), interpolation=cv2.INTER_CUBIC)
    (face,) = find_landmarks(large)
    assert eyes_apart(face) == pytest.approx(10 * eyes_apart(truth), rel=0.1)


@needs_dlib
@pytest.mark.parametrize("shape", [(200, 200, 3), (16, 16, 3), (16, 900, 3)])
def test_where_no_face_is_none_is_found(shape: tuple[int, int, int]) -> None:
    assert find_landmarks(np.full(shape, 128, np.uint8)) == []
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert find_landmarks(noise) == []


@needs_dlib
def test_an_aligned_crop_is_fitted_without_detection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landmarks, "_detect_boxes", lambda *_: pytest.fail("detected"))
    image, truth = drawn_face(112, 1)
    face = aligned_landmarks(image)
    assert face.how == "aligned"
    assert np.abs(face.xy - truth.xy).mean() < 0.05 * truth.width_px


def test_without_the_model_an_aligned_crop_gets_the_mean_layout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landmarks, "_predictor", lambda: None)
    face = aligned_landmarks(np.zeros((100, 120, 3), np.uint8))
    assert face.how == "canonical"
    assert np.allclose(face.xy, CANONICAL * [120, 100])


def test_without_dlib_a_tight_crop_still_works_and_a_photo_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, fresh: object
) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    assert aligned_landmarks(drawn_face(100)[0]).how == "canonical"
    with pytest.raises(LandmarkError, match=r"needs dlib: pip install dlib-bin.*--aligned yes"):
        find_landmarks(drawn_face(100)[0])


def test_without_the_model_a_photo_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, fresh: object
) -> None:
    pytest.importorskip("dlib")
    monkeypatch.delenv(landmarks.PREDICTOR_ENV, raising=False)
    monkeypatch.setattr(landmarks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LandmarkError, match=r"68-point model: pip install"):
        find_landmarks(drawn_face(100)[0])


def test_a_named_model_that_is_not_there_or_broken_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh: object
) -> None:
    monkeypatch.setenv(landmarks.PREDICTOR_ENV, str(tmp_path / "none.dat"))
    with pytest.raises(LandmarkError, match=r"none\.dat: no such file; MASKTHEFACE_PREDICTOR"):
        find_landmarks(drawn_face(100)[0])
    pytest.importorskip("dlib")
    (tmp_path / "cut.dat").write_bytes(b"half a download")
    monkeypatch.setenv(landmarks.PREDICTOR_ENV, str(tmp_path / "cut.dat"))
    with pytest.raises(LandmarkError, match=r"cut\.dat: cannot be read as dlib's 68-point model"):
        find_landmarks(drawn_face(100)[0])


def csv_line(name: str, xy: np.ndarray) -> str:
    return ",".join([name, *(f"{value:.2f}" for value in xy.ravel())])


def test_given_points_are_read_by_file_and_face(tmp_path: Path) -> None:
    header = ",".join(["file", *(f"{axis}{i}" for i in range(68) for axis in "xy")])
    lines = [header, csv_line("a b.jpg", CANONICAL * 100), "", csv_line("sub/ü.png", CANONICAL * 9)]
    lines.append(csv_line("a b.jpg", CANONICAL * 50))
    path = tmp_path / "points.csv"
    # A spreadsheet begins the file with a byte order mark.
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    faces = read_landmarks(path)
    assert sorted(faces) == ["a b.jpg", "sub/ü.png"]
    assert [face.how for face in faces["a b.jpg"]] == ["given", "given"]
    assert np.allclose(faces["a b.jpg"][0].xy, CANONICAL * 100, atol=0.01)


@pytest.mark.parametrize(
    "bad",
    ["a.jpg,1,2,3", csv_line("a.jpg", CANONICAL).replace("0.07", "wide"), "a.jpg" + ",1" * 136],
    ids=["short", "word", "one point"],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(csv_line("a.jpg", CANONICAL * 100) + "\n" + bad + "\n", encoding="utf-8")
    with pytest.raises(LandmarkError, match=r"points\.csv, line 2: want file,x0,y0,"):
        read_landmarks(path)


def test_a_landmark_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(LandmarkError, match=r"none\.csv: cannot be read"):
        read_landmarks(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(b"caf\xe9.jpg,1,2\n")
    with pytest.raises(LandmarkError, match=r"latin\.csv: cannot be read as CSV in UTF-8"):
        read_landmarks(tmp_path / "latin.csv")
