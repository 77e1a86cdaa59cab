"""The embedded faces: new people, well framed, nobody's photo, and the script that fits them."""

import json
from pathlib import Path

import numpy as np
import pytest

from MaskTheFace.images import write_image
from MaskTheFace.landmarks import predictor_path
from masktrain.face_model import ARRAYS, CROP_SCALE, DEFAULT_PATH, FaceModel, FaceModelError, main
from masktrain.face_texture import join_halves, split_halves

FACES = 24


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel.load()


@pytest.fixture(scope="module")
def faces(model: FaceModel) -> list:
    rng = np.random.default_rng(0)
    return [model.sample(rng) for _ in range(FACES)]


def test_same_generator_state_gives_the_same_face(model: FaceModel) -> None:
    one, its_points = model.sample(np.random.default_rng(3), 96)
    two, their_points = model.sample(np.random.default_rng(3), 96)
    assert np.array_equal(one, two)
    assert np.array_equal(its_points.xy, their_points.xy)


@pytest.mark.parametrize("size_px", [32, 128, 161, 400])
def test_faces_come_in_the_size_asked_for(model: FaceModel, size_px: int) -> None:
    image, landmarks = model.sample(np.random.default_rng(1), size_px)
    assert image.shape == (size_px, size_px, 3)
    assert image.dtype == np.uint8
    assert landmarks.how == "model"


def test_a_face_of_no_size_is_refused(model: FaceModel) -> None:
    with pytest.raises(ValueError, match="size_px must be >= 32, got 8"):
        model.sample(np.random.default_rng(1), 8)


def test_the_canonical_crop_lies_inside_the_picture(faces: list) -> None:
    for image, landmarks in faces:
        low, high = landmarks.xy.min(axis=0), landmarks.xy.max(axis=0)
        half = CROP_SCALE * (high - low).max() / 2
        centre = (low + high) / 2
        assert (centre - half > -1).all()
        assert (centre + half < len(image)).all()


def test_landmarks_are_in_the_order_of_a_face(faces: list) -> None:
    for _, landmarks in faces:
        brows, eyes, mouth, chin = (
            landmarks.xy[part].mean(axis=0)[1]
            for part in (slice(17, 27), slice(36, 48), slice(48, 68), slice(8, 9))
        )
        assert brows < eyes < mouth < chin
        assert landmarks.xy[36:42, 0].mean() < landmarks.xy[42:48, 0].mean()


def test_points_lie_where_the_picture_has_them(faces: list) -> None:
    """dlib, looking at the picture alone, finds the points the model says it drew."""
    if predictor_path() is None:
        pytest.skip("dlib's 68-point model is not installed")
    dlib = pytest.importorskip("dlib")
    predictor = dlib.shape_predictor(str(predictor_path()))
    errors = []
    for image, landmarks in faces:
        x0, y0, x1, y1 = (round(value) for value in landmarks.box_xyxy)
        found = predictor(image, dlib.rectangle(x0, y0, x1, y1))
        xy = np.array([(point.x, point.y) for point in found.parts()])
        errors.append(np.linalg.norm(xy - landmarks.xy, axis=1).mean() / landmarks.width_px)
    assert np.median(errors) < 0.04


def test_faces_differ_from_each_other(faces: list) -> None:
    pixels = np.stack([image for image, _ in faces]).reshape(FACES, -1).astype(np.float32)
    shapes = np.stack([points.xy - points.xy.mean(axis=0) for _, points in faces]).reshape(
        FACES, -1
    )
    for values, least in ((pixels, 20.0), (shapes, 1.0)):
        distances = np.sqrt(((values[:, None] - values[None]) ** 2).mean(axis=2))
        assert distances[~np.eye(FACES, dtype=bool)].min() > least


def test_faces_have_the_contrast_and_detail_of_photos(faces: list) -> None:
    for image, _ in faces:
        grey = image.mean(axis=2)
        assert 20 < grey.mean() < 235
        assert grey.std() > 12
        assert np.abs(np.diff(grey, axis=1)).mean() > 1


def test_light_and_skin_vary(faces: list) -> None:
    noses = [image[tuple(points.xy[30].astype(int)[::-1])] for image, points in faces]
    assert np.ptp(np.mean(noses, axis=1)) > 60


def test_the_file_is_small_and_holds_nothing_about_single_photos(model: FaceModel) -> None:
    assert DEFAULT_PATH.stat().st_size <= 6e6
    photos = model.card["photos"]
    assert photos >= 3000
    with np.load(DEFAULT_PATH, allow_pickle=False) as stored:
        assert set(stored.files) == set(ARRAYS)
        for name in stored.files:
            # Codes of the photos, or of a useful share of them, would need a row for each.
            assert max(stored[name].shape, default=0) < photos or name in _PIXEL_ARRAYS
            assert all(side <= 260 for side in stored[name].shape[:-1])


_PIXEL_ARRAYS = {"texture_mean", "even_modes", "odd_modes"}


def test_every_component_gathers_many_photos(model: FaceModel) -> None:
    """A mean of a handful would be a portrait."""
    shares = model.arrays["mixture_weights"]
    assert shares.min() * model.card["photos"] >= 40


def test_no_drawn_face_is_a_near_copy_of_a_photo(model: FaceModel) -> None:
    nearest = model.card["nearest"]
    assert nearest["samples"] >= 500
    drawn = dict(zip(nearest["quantiles"], nearest["sample_to_photo"], strict=True))
    among_photos = dict(zip(nearest["quantiles"], nearest["photo_to_photo"], strict=True))
    # The photo set itself holds a few duplicates, at distance near 0; nothing drawn comes as close.
    assert drawn[0.0] > 0.5 * among_photos[0.5]
    assert drawn[0.0] > among_photos[0.01]


def test_the_card_names_source_and_terms(model: FaceModel) -> None:
    assert "UTKFace" in model.card["source"]
    assert "non-commercial" in model.card["terms"]
    assert model.card["photos_stored"] == 0
    json.dumps(model.card)


def test_half_textures_survive_the_round_trip() -> None:
    rows, columns = np.mgrid[:128, :128].astype(np.float32) / 128
    texture = np.dstack([np.sin(9 * columns) * rows, rows, columns])
    joined = join_halves(*split_halves(texture))
    assert np.allclose(joined[..., 0], texture[..., 0], atol=1e-6)
    assert np.abs(joined - texture).max() < 0.01


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FaceModelError, match="no such file"):
        FaceModel.load(tmp_path / "missing.npz")
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(DEFAULT_PATH.read_bytes()[:5000])
    with pytest.raises(FaceModelError, match="cannot be read"):
        FaceModel.load(damaged)
    other = tmp_path / "other.npz"
    np.savez(other, photos=np.zeros(3))
    with pytest.raises(FaceModelError, match="not a face model"):
        FaceModel.load(other)


def test_a_missing_folder_gives_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main([str(tmp_path / "nowhere"), "--output", str(tmp_path / "m.npz")]) == 1
    message = capsys.readouterr().err
    assert "nowhere" in message
    assert "Traceback" not in message
    assert not (tmp_path / "m.npz").exists()


def test_too_few_photos_give_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert main([str(tmp_path), "--output", str(tmp_path / "m.npz")]) == 1
    assert "0 usable" in capsys.readouterr().err


def test_a_model_is_fitted_to_a_folder_of_faces(model: FaceModel, tmp_path: Path) -> None:
    if predictor_path() is None:
        pytest.skip("dlib's 68-point model is not installed")
    pytest.importorskip("dlib")
    rng = np.random.default_rng(0)
    for index in range(56):
        image, _ = model.sample(rng, 160)
        write_image(tmp_path / "faces" / f"{index:03d}.jpg", image)
    (tmp_path / "faces" / "broken.jpg").write_bytes(b"no picture")
    written = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for path in written:
        assert main([str(tmp_path / "faces"), "--output", str(path), "--source", "a test"]) == 0
    assert written[0].read_bytes() == written[1].read_bytes()
    fitted = FaceModel.load(written[0])
    assert fitted.card["source"] == "a test"
    assert 30 <= fitted.card["photos"] <= 56
    image, landmarks = fitted.sample(rng, 128)
    assert image.std() > 10
    assert (landmarks.xy > 0).all()
    assert (landmarks.xy < 128).all()
