"""Masks for other pipelines: nothing hangs on batching or workers, nothing is lost in silence."""

import copy
import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from faces_fixtures import drawn_face
from torch.utils.data import DataLoader, Dataset

import MaskTheFace
from MaskTheFace import Landmarks, MaskedImage, MaskStyle, PutOnMask, mask_faces, overlay_mask
from MaskTheFace.art import draw_view, fingerprint
from MaskTheFace.coverage import WRONG
from MaskTheFace.landmarks import predictor_path
from MaskTheFace.overlay import Masked
from MaskTheFace.templates import MaskTemplate, chart_anchors

needs_dlib = pytest.mark.skipif(predictor_path() is None, reason="no 68-point model here")

FACES = [drawn_face(size, person) for person, size in enumerate((96, 64, 112, 80, 72))]
IMAGES = [image for image, _ in FACES]
POINTS = [face.xy for _, face in FACES]
PLAIN = np.full((120, 120, 3), 128, np.uint8)
BOX = np.array([13, 11, 191, 190])
"""Where a detector's box lies in a drawn face of 200 px."""


def same(first: MaskedImage, second: MaskedImage) -> bool:
    styles = [[face.style for face in done.faces] for done in (first, second)]
    return bool(
        np.array_equal(first.image, second.image)
        and np.array_equal(first.alpha, second.alpha)
        and styles[0] == styles[1]
    )


def own_art(name: str = "mine") -> MaskTemplate:
    """Return green art that covers the chart from side to side."""
    rgba = np.zeros((90, 120, 4), np.uint8)
    rgba[10:, 10:-10] = (20, 200, 40, 255)
    uv = chart_anchors()
    return MaskTemplate(name, rgba, (uv * [45, 60] + [60, 12]).astype(np.float32), uv)


def test_every_face_of_every_image_gets_a_mask() -> None:
    wide = np.hstack([drawn_face(96, 1)[0], drawn_face(96, 2)[0]])
    points = drawn_face(96)[1].xy
    done = mask_faces([wide, IMAGES[1]], [np.stack([points, points + [96, 0]]), POINTS[1]])
    assert [len(image.faces) for image in done] == [2, 1]
    for image, before in zip(done, (wide, IMAGES[1])):
        assert image.image.shape == before.shape and image.alpha.dtype == np.float32
        assert image.reason == "" and all(face.wear for face in image.faces)
    halves = done[0].alpha[:, :96], done[0].alpha[:, 96:]
    assert min(half.max() for half in halves) > 0.8
    assert done[0].faces[0].style != done[0].faces[1].style


def test_how_images_are_grouped_changes_nothing() -> None:
    together = mask_faces(IMAGES, POINTS, seed=4)
    alone = [
        mask_faces([image], [points], seed=4)[0]
        for image, points in zip(IMAGES[::-1], POINTS[::-1])
    ]
    assert all(same(one, other) for one, other in zip(together, alone[::-1], strict=True))
    assert not any(same(*pair) for pair in zip(together, mask_faces(IMAGES, POINTS, seed=5)))


def test_keys_give_copies_of_one_image_masks_of_their_own() -> None:
    twice = [IMAGES[0]] * 2, [POINTS[0]] * 2
    assert same(*mask_faces(*twice))
    first, second = mask_faces(*twice, keys=[7, 8])
    assert not same(first, second)
    assert same(second, mask_faces([IMAGES[0]], [POINTS[0]], keys=[8])[0])


def test_given_styles_are_worn_as_overlay_mask_draws_them() -> None:
    style = MaskStyle("n95_cup", color=(200, 30, 30))
    (done,) = mask_faces(IMAGES[:1], [FACES[0][1]], styles=[style])
    masked = overlay_mask(*FACES[0], style)
    assert np.array_equal(done.image, masked.image) and np.array_equal(done.alpha, masked.alpha)
    assert done.faces[0].style == style and done.faces[0].covered == masked.covered


def test_no_input_is_written_to_or_locked() -> None:
    image, points = IMAGES[0].copy(), POINTS[0].copy()
    (done,) = mask_faces([image], [points])
    PutOnMask(p=0)(image=image, landmarks=points)["image"][:] = 0
    done.image[:] = 0
    assert np.array_equal(image, IMAGES[0]) and points.flags.writeable


@needs_dlib
def test_faces_are_found_and_an_image_without_one_is_told_of() -> None:
    photo = np.full((260, 460, 3), 128, np.uint8)
    photo[40:200, 20:180] = drawn_face(160, 0)[0]
    photo[20:240, 220:440] = drawn_face(220, 3)[0]
    found, none = mask_faces([photo, PLAIN])
    widths = [face.landmarks.width_px for face in found.faces]
    assert len(widths) == 2 and widths == sorted(widths, reverse=True)
    assert none.faces == () and "no face found" in none.reason
    assert np.array_equal(none.image, PLAIN) and not none.alpha.any()
    out = PutOnMask()(image=PLAIN)
    assert out["landmarks"].shape == (0, 68, 2) and "no face found" in out["reason"]


@needs_dlib
def test_landmarks_are_fitted_to_given_boxes_in_their_order() -> None:
    face = drawn_face(200, 3)
    photo = np.hstack([face[0], drawn_face(200, 0)[0]])
    boxes = np.array([BOX + [200, 0, 200, 0], BOX])
    (done,) = mask_faces([photo], boxes=[boxes])
    right, left = (np.mean(one.landmarks.xy, axis=0)[0] for one in done.faces)
    assert left < 200 < right
    out = PutOnMask()(image=face[0], boxes=BOX)
    error = np.linalg.norm(out["landmarks"][0] - face[1].xy, axis=1).mean()
    assert error < 0.08 * face[1].width_px


def test_empty_landmarks_and_boxes_are_told_of_without_looking_further() -> None:
    first, second = mask_faces([PLAIN, PLAIN], [[], None], [None, np.empty((0, 4))])
    assert first.reason == "no landmarks given for it" and first.faces == ()
    assert second.reason == "no boxes given for it" and second.faces == ()


def test_a_face_that_cannot_be_masked_is_left_bare_with_its_reason() -> None:
    far, huge = POINTS[0] + 900, POINTS[0] * 900
    (done,) = mask_faces(IMAGES[:1], [[POINTS[0], far, huge]])
    assert [bool(face.wear) for face in done.faces] == [True, False, False]
    assert "outside the image" in done.faces[1].reason
    assert "in the image's pixels" in done.faces[2].reason
    out = PutOnMask()(image=IMAGES[0], landmarks=[far])
    assert out["wear"] == [""] and "outside the image" in out["reason"]
    assert np.array_equal(out["image"], IMAGES[0]) and not out["mask"].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": [PLAIN[..., 0]]}, r"images\[0\] must be \(H, W, 3\) uint8 RGB"),
        ({"images": [PLAIN], "landmarks": []}, "landmarks must be one for each of 1 images, got 0"),
        ({"images": [PLAIN], "landmarks": [POINTS[0][:5]]}, r"images\[0\]: .*\(68, 2\)"),
        ({"images": [PLAIN], "boxes": [[1, 2, 3]]}, r"images\[0\]: boxes must be \(N, 4\)"),
        ({"images": [PLAIN], "boxes": [[9, 9, 2, 30]]}, r"images\[0\]: a box is x0, y0, x1, y1"),
        ({"images": [], "templates": ["silk"]}, "unknown template 'silk'; have surgical"),
        ({"images": [], "templates": "n95_cup"}, "templates must be one or more of"),
        ({"images": [], "templates": ["n95_cup", own_art()]}, "all names, or all MaskTemplates"),
        ({"images": [], "patterns": ["silk"]}, "unknown pattern 'silk'; have"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mask_faces(**arguments)


def test_own_art_is_worn_in_its_own_colours() -> None:
    done = mask_faces(IMAGES, POINTS, templates=[own_art(), own_art("other")])
    assert {face.style.template for image in done for face in image.faces if face.style} == {
        "mine",
        "other",
    }
    for image in done:
        mean = image.image[image.alpha > 0.9].mean(axis=0)
        assert mean[1] > mean[0] + 40 and mean[1] > mean[2] + 40


def test_art_is_drawn_evenly_and_told_apart_by_what_it_holds() -> None:
    art, rng = [own_art("a"), own_art("b")], np.random.default_rng(0)
    drawn = [draw_view(art, FACES[0][1], rng).name for _ in range(100)]
    assert 30 < drawn.count("a") < 70
    rgba = art[1].rgba.copy()
    rgba[50, 50, 0] += 1
    art[1] = dataclasses.replace(art[1], rgba=rgba)
    assert fingerprint(art) != fingerprint([own_art("a"), own_art("b")])


def test_a_transform_tells_all_about_each_face_and_hands_the_rest_through() -> None:
    out = PutOnMask(seed=3)(image=IMAGES[0], landmarks=POINTS[0], index=0, label=5)
    assert out["label"] == 5 and "index" not in out and out["reason"] == ""
    assert out["image"].dtype == np.uint8 and out["mask"].dtype == np.float32
    assert out["mask"].shape == IMAGES[0].shape[:2]
    assert np.array_equal(out["landmarks"], POINTS[0][None])
    assert np.allclose(out["boxes"], [Landmarks(POINTS[0].copy()).box_xyxy])
    assert out["covered"].shape == (1, 3) and out["wear"] in (["correct"], ["chin_out"])
    style = MaskStyle.from_json(out["styles"][0])
    assert np.array_equal(overlay_mask(*FACES[0], style).image, out["image"])
    # What it returns, it takes.
    assert PutOnMask()(**out)["wear"] != [""]


def test_apply_rolls_no_dice_and_get_params_draws_no_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_on = PutOnMask(seed=1)
    looks = put_on.get_params([FACES[0][1]], index=2)
    assert looks == put_on.get_params([FACES[0][1]], index=2)
    first = put_on.apply(IMAGES[0], [FACES[0][1]], looks)  # draws what all masks share
    monkeypatch.setattr(np.random, "default_rng", None)
    second = put_on.apply(IMAGES[0], [FACES[0][1]], looks)
    assert same(first, second)

    def fail(*_: object, **__: object) -> Masked:
        raise AssertionError

    monkeypatch.undo()
    monkeypatch.setattr("MaskTheFace.transform.overlay_mask", fail)
    assert put_on.get_params([FACES[0][1]], index=2) == looks


def test_p_is_the_share_of_images_that_get_masks() -> None:
    faces = [FACES[1][1]]
    put_on = PutOnMask(p=0.3, seed=0)
    assert 60 < sum(bool(put_on.get_params(faces, index)) for index in range(300)) < 120
    assert not PutOnMask(p=0).get_params(faces) and PutOnMask(p=1).get_params(faces)
    bare = PutOnMask(p=0)(image=IMAGES[1], landmarks=POINTS[1])
    assert np.array_equal(bare["image"], IMAGES[1]) and bare["reason"] == ""
    assert bare["wear"] == [""] and bare["landmarks"].shape == (1, 68, 2)


def test_an_index_alone_decides_what_is_drawn() -> None:
    faces = [FACES[0][1]]
    put_on, other = PutOnMask(seed=1), PutOnMask(seed=1)
    other.get_params(faces)
    indices = [0, 1, (0, 0), (0, 1), (1, 0), (1, 1)]
    drawn = [put_on.get_params(faces, index)[0].style.seed for index in indices]
    assert len(set(drawn)) == len(drawn)
    assert drawn == [other.get_params(faces, index)[0].style.seed for index in indices]
    assert PutOnMask(seed=2).get_params(faces, 0) != put_on.get_params(faces, 0)
    assert PutOnMask().seed != PutOnMask().seed
    with pytest.raises(ValueError, match="index must be >= 0, got -1"):
        put_on.get_params(faces, -1)


def test_calls_without_an_index_repeat_from_run_to_run_and_never_in_a_copy() -> None:
    faces = [FACES[0][1]]
    first, second = PutOnMask(seed=1), PutOnMask(seed=1)
    drawn = [first.get_params(faces) for _ in range(3)]
    assert drawn == [second.get_params(faces) for _ in range(3)] and drawn[0] != drawn[1]
    for copied in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first)):
        assert copied.get_params(faces) not in [*drawn, first.get_params(faces)]
        assert copied.get_params(faces, 5) == first.get_params(faces, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": 1.5}, "p must be between 0 and 1, got 1.5"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"templates": []}, "templates must be one or more of"),
    ],
)
def test_a_transform_that_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PutOnMask(**arguments)


class Items(Dataset):
    """Six copies of a face, masked on the way out; with ``keyed`` by their index."""

    def __init__(self, keyed: bool) -> None:
        self.keyed, self.put_on = keyed, PutOnMask(seed=9)

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict[str, Any]:
        key = index if self.keyed else None
        return self.put_on(image=IMAGES[1], landmarks=POINTS[1], index=key)


def epoch(items: Items, workers: int, context: str | None = None) -> torch.Tensor:
    loader = DataLoader(items, 2, num_workers=workers, multiprocessing_context=context)
    return torch.cat([batch["image"] for batch in loader])


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_loader_gives_the_same_for_any_workers(context: str) -> None:
    drawn = epoch(Items(True), 2, context)
    assert torch.equal(drawn, epoch(Items(True), 0))
    assert len({image.numpy().tobytes() for image in drawn}) == 6


def test_forked_workers_draw_no_mask_twice() -> None:
    items = Items(False)
    items.put_on(image=IMAGES[1], landmarks=POINTS[1])  # a stream to be forked
    drawn = epoch(items, 2, "fork")
    assert len({image.numpy().tobytes() for image in drawn}) == 6


def test_what_the_package_offers_is_there() -> None:
    assert all(getattr(MaskTheFace, name) is not None for name in MaskTheFace.__all__)
    with pytest.raises(AttributeError, match="no attribute 'put_off_mask'"):
        _ = MaskTheFace.put_off_mask


def test_masks_are_worn_as_asked() -> None:
    image, points = FACES[0]
    done = mask_faces([image] * 12, [points] * 12, keys=range(12), wear="nose_out")
    ways = [found.faces[0].wear for found in done]
    assert ways.count("nose_out") >= 9
    put_on = PutOnMask(seed=3, wear="wrong")
    ways = [put_on(image=image, landmarks=points, index=i)["wear"][0] for i in range(12)]
    assert len(set(ways)) > 1 and sum(way in WRONG for way in ways) >= 10
    with pytest.raises(ValueError, match="unknown way to wear a mask 'sideways'"):
        PutOnMask(wear="sideways")
