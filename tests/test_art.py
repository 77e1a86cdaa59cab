"""A user's own mask art: read, refused in clear words, and shown on faces."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import write_rgb
from faces_fixtures import drawn_face
from PIL import Image

from MaskTheFace import fitting
from MaskTheFace.art import PLACES, ArtError, for_face, main, read_art
from MaskTheFace.fitting import standin_faces, try_on
from MaskTheFace.images import read_image
from MaskTheFace.landmarks import CANONICAL, LandmarkError, Landmarks
from MaskTheFace.overlay import overlay_mask
from MaskTheFace.style import MaskStyle
from MaskTheFace.templates import MaskTemplate

PLAIN = MaskStyle("mine", wrinkles=0, weave=0, light=0, shadow=0, grain=0, softness=0)
GREEN = (30, 160, 70)
# Where the corners of a 400 x 300 picture of a mask lie, on the face and in masks.cfg.
ANCHORS = {
    "left_top": [20, 70],
    "nose": [200, 20],
    "right_top": [380, 70],
    "left_bottom": [30, 200],
    "chin": [200, 275],
    "right_bottom": [370, 200],
}
CFG_POINTS = dict(zip(("mask_a", "mask_b", "mask_c", "mask_d", "mask_e", "mask_f"), ANCHORS))


def picture() -> np.ndarray:
    """Return (300, 400, 4) uint8 RGBA: a green mask that reaches a little beyond its anchors."""
    rgba = np.zeros((300, 400, 4), np.uint8)
    outline = [(5, 60), (200, 5), (395, 60), (390, 210), (300, 299), (100, 299), (10, 210)]
    cv2.fillPoly(rgba, [np.array(outline)], (*GREEN, 255))
    return rgba


def write_png(path: Path, rgba: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgba).save(path)
    return path


def write_pair(folder: Path, anchors: object = ANCHORS, **more: object) -> Path:
    """Write mine.png and mine.json; return the PNG."""
    png = write_png(folder / "mine.png", picture())
    png.with_suffix(".json").write_text(json.dumps({"anchors": anchors, **more}))
    return png


def section(name: str, file: str, /, **changes: str) -> str:
    """Return a section of masks.cfg; keys changed to nothing are left out."""
    points = {key: "{}, {}".format(*ANCHORS[place]) for key, place in CFG_POINTS.items()}
    lines = {"template": file, **points, **changes}
    return "\n".join([f"[{name}]", *(f"{key}: {value}" for key, value in lines.items() if value)])


def write_cfg(path: Path, *sections: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(sections), encoding="utf-8")
    return path


def dots(template: MaskTemplate) -> list[np.ndarray]:
    """Return copies of a template's picture, each with one dot of paint at one anchor."""
    pictures = []
    for x, y in np.rint(template.anchors_xy).astype(int).tolist():
        rgba = np.zeros((300, 400, 4), np.uint8)
        cv2.circle(rgba, (x, y), 7, (255, 0, 255, 255), -1, cv2.LINE_AA)
        pictures.append(rgba)
    return pictures


def landings(template: MaskTemplate, face: Landmarks, side_px: int) -> np.ndarray:
    """Return the (K, 2) centres of what a dot at each anchor paints on a grey picture."""
    grey = np.full((side_px, side_px, 3), 128, np.uint8)
    centres = []
    for rgba in dots(template):
        dotted = MaskTemplate("mine", rgba, template.anchors_xy, template.anchors_uv)
        alpha = overlay_mask(grey, face, PLAIN, dotted).alpha.astype(float)
        rows, columns = np.indices(alpha.shape)
        centres.append([(columns * alpha).sum(), (rows * alpha).sum()] / alpha.sum())
    return np.array(centres)


def canonical(side_px: int) -> Landmarks:
    return Landmarks(0.8 * side_px * CANONICAL + 0.1 * side_px)


# Where art lands.


def test_a_named_place_lands_on_its_landmark(tmp_path: Path) -> None:
    anchors = {
        "nose_tip": [200, 90],
        "chin": [200, 275],
        "left_middle": [25, 130],
        "right_middle": [375, 130],
    }
    (template,) = read_art(write_pair(tmp_path, anchors))
    face = canonical(320)
    # The nose's tip and the chin are landmarks 30 and 8, the edge beside the upper lip 3 and 13.
    assert np.abs(landings(template, face, 320) - face.xy[[30, 8, 3, 13]]).max() < 1.5


@pytest.mark.parametrize("roll_deg", [0, 25])
def test_the_points_of_a_cfg_land_where_the_original_tool_puts_them(
    tmp_path: Path, roll_deg: float
) -> None:
    write_png(tmp_path / "a.png", picture())
    (template,) = read_art(write_cfg(tmp_path / "masks.cfg", section("a", "a.png")))
    xy = canonical(320).xy.astype(float)
    nose_px = xy[30, 1] - xy[27, 1]
    sides = xy[36:48, 1].mean() + nose_px, xy[48:68, 1].max()
    wanted = np.array(
        [
            [np.interp(sides[0], xy[:9, 1], xy[:9, 0]), sides[0]],
            (xy[27] + xy[30]) / 2,
            [np.interp(sides[0], xy[16:7:-1, 1], xy[16:7:-1, 0]), sides[0]],
            [np.interp(sides[1], xy[:9, 1], xy[:9, 0]), sides[1]],
            xy[8],
            [np.interp(sides[1], xy[16:7:-1, 1], xy[16:7:-1, 0]), sides[1]],
        ]
    )
    spin = cv2.getRotationMatrix2D((160, 160), roll_deg, 1.0)
    face = Landmarks(xy).moved(spin)
    wanted = wanted @ spin[:, :2].T + spin[:, 2]
    assert np.abs(landings(template, face, 320) - wanted).max() < 1.5


def test_rows_of_chart_points_say_the_same_as_names(tmp_path: Path) -> None:
    rows = [[*xy, *PLACES[name]] for name, xy in ANCHORS.items()]
    (named,) = read_art(write_pair(tmp_path / "a"))
    (raw,) = read_art(write_pair(tmp_path / "b", rows))
    assert np.array_equal(named.anchors_xy, raw.anchors_xy)
    assert np.array_equal(named.anchors_uv, raw.anchors_uv)


def test_a_mask_with_anchors_at_its_corners_is_worn_correctly_on_every_face(tmp_path: Path) -> None:
    read = read_art(write_pair(tmp_path))
    trials = try_on(read[0], read, standin_faces())
    assert [trial.masked.wear for trial in trials] == ["correct"] * 6
    assert not any(trial.hides_eyes for trial in trials)


def test_the_original_tools_points_outside_of_the_picture_are_taken(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", picture())
    outside = section("a", "a.png", mask_d="-54, 200")
    assert read_art(write_cfg(tmp_path / "masks.cfg", outside))[0].anchors_xy[3, 0] == -54


# What is read.


def test_png_and_json_name_the_same_art(tmp_path: Path) -> None:
    png = write_pair(tmp_path)
    (template,) = read_art(png)
    assert template.name == "mine"
    assert np.array_equal(template.rgba, picture())
    assert np.array_equal(read_art(str(png.with_suffix(".json")))[0].rgba, picture())
    assert read_art(write_pair(tmp_path, name="dotted red"))[0].name == "dotted red"


@pytest.mark.parametrize("template", ["masks/art/a.png", "art/a.png", "art\\a.png"])
def test_a_cfg_finds_its_pictures_from_its_folder_or_the_one_above(
    tmp_path: Path, template: str
) -> None:
    write_png(tmp_path / "masks" / "art" / "a.png", picture())
    bare = ";[old]\n;template: gone.png\n[empty]\n[inpaint_left]"
    cfg = write_cfg(tmp_path / "masks" / "masks.cfg", section("a", template), bare)
    (read,) = read_art(cfg)
    assert read.name == "a"
    assert read.anchors_xy.tolist() == list(ANCHORS.values())


def test_a_folder_gives_all_its_art(tmp_path: Path) -> None:
    write_pair(tmp_path)
    write_png(tmp_path / "a.png", picture())
    write_cfg(tmp_path / "masks.cfg", section("a", "a.png"))
    write_rgb(tmp_path / "sheet.png", np.zeros((40, 40, 3), np.uint8))
    (tmp_path / "notes.txt").write_text("not art")
    assert [template.name for template in read_art(tmp_path)] == ["a", "mine"]


@pytest.mark.parametrize("mode", ["palette", "grey", "16 bit", "16-bit grey"])
def test_transparent_pngs_of_every_depth_show_the_same(tmp_path: Path, mode: str) -> None:
    png = write_pair(tmp_path)
    rgba = picture()
    rgba[..., :3] = rgba[..., 3:] // 2
    image = Image.fromarray(rgba)
    deep = rgba.astype(np.uint16) * 257
    if mode == "palette":
        palette = Image.fromarray(rgba[..., 3] // 255).convert("L").convert("P")
        palette.putpalette([0, 0, 0, 127, 127, 127])
        palette.save(png, transparency=0)
    elif mode == "grey":
        image.convert("LA").save(png)
    elif mode == "16 bit":
        cv2.imwrite(str(png), deep)
    else:
        Image.fromarray(deep[..., 0]).save(png)
        with pytest.raises(ArtError, match="no alpha channel"):
            read_art(png)
        return
    assert np.array_equal(read_art(png)[0].rgba, rgba)


def test_a_turned_face_gets_the_view_that_was_drawn_for_it(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", picture())
    names = ("a", "a_left", "a_right", "b")
    read = read_art(write_cfg(tmp_path / "x.cfg", *(section(name, "a.png") for name in names)))
    given = {
        face.name: [t.name for t in for_face(read, face.landmarks)] for face in standin_faces()
    }
    assert given["turned left"] == ["a_left", "b"]
    assert given["turned right"] == ["a_right", "b"]
    assert given["frontal"] == given["rolled"] == given["small"] == ["a", "b"]
    assert [t.name for t in for_face(read[1:2], canonical(200))] == ["a_left"]


# What is refused.


@pytest.mark.parametrize(
    ("anchors", "message"),
    [
        ({"nose": [200, 20], "chin": [200, 275], "mouth": [200, 180]}, "3 anchors; give 4 or more"),
        ({**ANCHORS, "noze": [1, 2]}, "unknown anchor 'noze'; have nose, nose_tip"),
        ({**ANCHORS, "mouth": [200]}, r"anchor mouth must be \[x, y\], got \[200\]"),
        ({**ANCHORS, "mouth": ["200", 180]}, r"anchor mouth must be numbers \[x, y\], got '200'"),
        ({**ANCHORS, "mouth": [float("nan"), 180]}, "anchor mouth must be numbers"),
        ({**ANCHORS, "mouth": [10**400, 180]}, "anchor mouth must be numbers"),
        ({**ANCHORS, "mouth": [True, 180]}, "anchor mouth must be numbers"),
        ({**ANCHORS, "mouth": [200, 500]}, r"mouth at \(200, 500\) is outside of .* 400x300 px"),
        ({**ANCHORS, "right_middle": [-90, 130]}, "right_middle at .* is outside"),
        (
            {**ANCHORS, "left_top": [380, 70], "right_top": [20, 70]},
            "left_top belongs left of nose, but lies right of it",
        ),
        (
            {name: [399 - x, y] for name, (x, y) in ANCHORS.items()},
            "left of nose, but lies right of it: exchanged, or mirrored art",
        ),
        (
            {name: [x, 299 - y] for name, (x, y) in ANCHORS.items()},
            "left_top belongs above left_bottom, but lies below it",
        ),
        (
            {"nose": [200, 20], "nose_tip": [201, 90], "mouth": [200, 180], "chin": [200, 275]},
            "on one line",
        ),
        ({**ANCHORS, "mouth": [200, 275]}, "chin and mouth lie on one spot; drop one"),
        ([[20, 70, -1, 0], [380, 70, 1, 0], [200, 20, 0, 0], [9, 9, 0, 0]], "on one spot"),
        ([[20, 70, -1, 0], [380, 70]], r"anchor 2 must be \[x, y, u, v\]"),
        ([[20, 70, -1, 0], [380, 70, 380, 70]], "anchor 2: u, v = 380, 70 is off the face"),
        (None, '"anchors" is missing'),
    ],
)
def test_anchors_that_cannot_be_meant_are_refused(
    tmp_path: Path, anchors: object, message: str
) -> None:
    png = write_pair(tmp_path, anchors)
    with pytest.raises(ArtError, match=f"mine.json: .*({message})"):
        read_art(png)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"anchors": {"nose": [1, 2], "nose": [3, 4]}}', "'nose' is there twice"),
        ('{"anchors": ', "cannot be read as JSON .*; mend it"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[1, 2]", "must look like"),
        ('{"ancors": {}}', "unknown key 'ancors'"),
        ('{"name": 3, "anchors": {}}', "name must be text"),
        (None, "no such file; write the anchors of mine.png there"),
    ],
)
def test_a_json_file_of_another_layout_is_refused(
    tmp_path: Path, text: str | None, message: str
) -> None:
    png = write_pair(tmp_path)
    path = png.with_suffix(".json")
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ArtError, match=f"mine.json: {message}"):
        read_art(png)


@pytest.mark.parametrize(
    ("rgba", "message"),
    [
        (picture()[..., :3], "has no alpha channel; cut the mask out"),
        (picture() * np.array([1, 1, 1, 0], np.uint8), "transparent everywhere"),
        (picture() | np.array([0, 0, 0, 255], np.uint8), "is opaque everywhere"),
        (picture()[:12], "400x12 px; a side of 16 to 4096 px is wanted"),
        (np.zeros((20, 4100, 4), np.uint8), "4100x20 px; a side of 16 to 4096 px is wanted"),
    ],
)
def test_a_picture_that_is_no_cut_out_mask_is_refused(
    tmp_path: Path, rgba: np.ndarray, message: str
) -> None:
    png = write_png(write_pair(tmp_path), rgba)
    with pytest.raises(ArtError, match=f"mine.png: .*{message}"):
        read_art(png)


def test_broken_and_foreign_pictures_are_named(tmp_path: Path) -> None:
    png = write_pair(tmp_path)
    png.write_bytes(png.read_bytes()[:300])
    with pytest.raises(ArtError, match=r"mine\.png: cannot be read as PNG"):
        read_art(png)
    Image.fromarray(picture()[..., :3]).save(png, "JPEG")
    with pytest.raises(ArtError, match=r"mine\.png: cannot be read as PNG .*; export it again"):
        read_art(png)
    Image.fromarray(np.full((40, 40), 700, np.uint16)).save(png, transparency=700)
    with pytest.raises(ArtError, match=r"mine\.png: 16-bit grey .* export it as 8-bit RGBA"):
        read_art(png)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_e": ""}, r"\[a\] lacks mask_e; add mask_e"),
        ({"mask_e": "", "template": ""}, r"\[a\] lacks template, mask_e"),
        ({"mask_g": "1, 2"}, r"\[a\]: unknown key 'mask_g'; have template, mask_a"),
        ({"mask_a": "20; 70"}, r"\[a\] mask_a must be x, y; got '20; 70'"),
        ({"mask_a": "20"}, r"\[a\] mask_a must be \[x, y\]"),
        ({"mask_a": "nan, 3"}, r"\[a\] mask_a must be numbers"),
        ({"mask_a": "990, 3"}, r"\[a\]: mask_a at \(990, 3\) is outside of the picture"),
        ({"mask_a": "380, 70", "mask_c": "20, 70"}, r"\[a\]: mask_a belongs left of mask_b"),
        ({"template": "b.png"}, r"\[a\] template b.png: no such file in .* or above it"),
    ],
)
def test_a_cfg_section_that_cannot_be_used_is_named(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    write_png(tmp_path / "a.png", picture())
    cfg = write_cfg(tmp_path / "masks.cfg", section("a", "a.png", **changes))
    with pytest.raises(ArtError, match=f"masks.cfg: {message}"):
        read_art(cfg)


def test_a_cfg_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtError, match=r"masks.cfg: cannot be read as a cfg file \(.*\); mend it"):
        read_art(write_cfg(tmp_path / "masks.cfg", "template: a.png"))
    with pytest.raises(ArtError, match=r"masks\.cfg: no mask art in it"):
        read_art(write_cfg(tmp_path / "masks.cfg", "[empty]"))
    with pytest.raises(ArtError, match=r"\[cloth\] lacks template"):
        read_art(write_cfg(tmp_path / "masks.cfg", "[cloth]"))


def test_paths_that_hold_no_art_are_refused(tmp_path: Path) -> None:
    for name in ("gone.png", "gone.cfg", "gone.json", "gone"):
        with pytest.raises(ArtError, match=r"gone.*: no such file"):
            read_art(tmp_path / name)
    with pytest.raises(ArtError, match=r"no mask art in it; put mymask\.png and"):
        read_art(tmp_path)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ArtError, match=r"a\.txt: mask art is a \.png with a \.json"):
        read_art(tmp_path / "a.txt")
    write_png(tmp_path / "lost.png", picture())
    with pytest.raises(ArtError, match=r"lost\.png: has no anchors; write lost\.json beside it"):
        read_art(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("surgical_pleated", "is the name of a built-in mask"),
        ("inpaint", "is the name of a built-in mask"),
        ("../up", "a name is not empty and has no"),
        (" ", "a name is not empty"),
    ],
)
def test_names_that_would_confuse_a_manifest_are_refused(
    tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(ArtError, match=message):
        read_art(write_pair(tmp_path, name=name))


def test_two_masks_of_one_name_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, name="a")
    write_png(tmp_path / "a.png", picture())
    write_cfg(tmp_path / "masks.cfg", section("a", "a.png"))
    with pytest.raises(ArtError, match="two masks are named 'a'"):
        read_art(tmp_path)


# The command.


def test_the_command_says_how_art_sits_and_writes_a_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    png = write_pair(tmp_path / "art")
    sheet_path = tmp_path / "sheet.png"
    assert main([str(png), "--contact-sheet", str(sheet_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("mine: 400x300 px; anchors left_top (20, 70), nose (200, 20)")
    assert "worn correct on 6 of 6 faces" in lines[0] and len(lines) == 2
    sheet = read_image(sheet_path).astype(int)
    tile, strip = fitting.TILE_PX, fitting.STRIP_PX
    assert sheet.shape == (tile + strip + 4, 7 * (tile + 2) + 2, 3)
    green = (sheet[..., 1] - sheet[..., [0, 2]].max(axis=2)) > 25
    per_tile = [green[:, 2 + i * (tile + 2) :][:, :tile].sum() for i in range(7)]
    assert min(per_tile) > 200, "the art's colour is in every tile"


def test_the_command_fails_where_art_leaves_the_nose_bare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    low = {"mouth": [200, 20], "left_middle": [20, 70], "right_middle": [380, 70]}
    png = write_pair(tmp_path, {**low, "under_chin": [200, 275]})
    assert main([str(png)]) == 1
    out = capsys.readouterr().out
    assert re.search(r"worn (nose_out|under_chin) on \d", out)
    assert "wrong: nose or mouth stay bare on frontal, turned left" in out


def test_a_view_is_judged_on_the_faces_it_is_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_png(tmp_path / "a.png", picture())
    names = ("a", "a_left", "a_right")
    cfg = write_cfg(tmp_path / "masks.cfg", *(section(name, "a.png") for name in names))
    assert main([str(cfg), "--contact-sheet", str(tmp_path / "sheet.jpg")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["4 of 4" in lines[0], "1 of 1" in lines[1], "1 of 1" in lines[2]] == [True] * 3
    assert (tmp_path / "sheet.jpg").is_file()


@pytest.mark.parametrize("with_dlib", [True, False])
def test_the_users_photos_take_the_place_of_drawn_faces(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    with_dlib: bool,
) -> None:
    image, points = drawn_face(160)
    write_rgb(tmp_path / "me.png", image)

    def found(_: np.ndarray) -> list[Landmarks]:
        if not with_dlib:
            raise LandmarkError("no dlib")
        return [points]

    monkeypatch.setattr(fitting, "find_landmarks", found)
    monkeypatch.setattr(fitting, "aligned_landmarks", lambda _: points)
    assert main([str(write_pair(tmp_path)), "--face", str(tmp_path / "me.png")]) == 0
    assert "correct on 1 of 1 faces" in capsys.readouterr().out


def test_a_photo_keeps_its_points_when_it_is_cut_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.full((400, 500, 3), 90, np.uint8)
    points = Landmarks(CANONICAL * 300 + [190, 90])
    x, y = np.rint(points.xy[30]).astype(int).tolist()
    cv2.circle(image, (x, y), 6, (250, 250, 250), -1)
    write_rgb(tmp_path / "me.png", image)
    monkeypatch.setattr(fitting, "find_landmarks", lambda _: [points])
    face = fitting.photo_face(tmp_path / "me.png")
    bright = np.argwhere(face.image[..., 0] > 170).mean(axis=0)[::-1]
    assert np.abs(bright - face.landmarks.xy[30]).max() < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.png"], "no such file"),
        (["mine.png", "--face", "mine.png"], "mine.png: no face found"),
        (["mine.png", "--face", "gone.jpg"], "gone.jpg: no such file"),
        (["mine.png", "--contact-sheet", "sheet.gif"], "cannot encode an image as '.gif'"),
        (["mine.png", "--contact-sheet", "mine.json/sheet.png"], "sheet.png: cannot be written"),
    ],
)
def test_what_goes_wrong_is_said_on_one_line_with_exit_code_1(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    write_pair(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fitting, "find_landmarks", lambda _: [])
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith("MaskTheFace.art: ") and message in said and said.count("\n") == 1


def test_a_bad_command_line_is_exit_code_2() -> None:
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2


def test_ctrl_c_is_exit_code_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "try_all", stopped)
    assert main([str(tmp_path)]) == 130
