"""Slices: every face is counted where it belongs, and the worst slice is named."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from MaskTheFace.manifest import MANIFEST, ManifestRow, read_manifest, write_manifest
from MaskTheFace.style import MaskStyle
from MaskTheFace.templates import TEMPLATES
from masktrain.config import PrepareConfig
from masktrain.data import CLASSES, load_crops
from masktrain.document import Table, parse
from masktrain.faces import FaceRef, list_faces
from masktrain.figures import slices_figure
from masktrain.metrics import Scores, wilson
from masktrain.multiclass import ClassScores
from masktrain.prepare import prepare
from masktrain.slices import (
    LEAST_FACES,
    SlicesError,
    _color_name,
    _size_name,
    facts_of,
    identities_of,
    slice_scores,
    sources_of,
)

NAMES = (
    "no_mask/7_0_2_20170110224725285.jpg",
    "no_mask/35_1_1_20170110224725286.jpg",
    "wearing_mask/80_1_0_20170110224725287-0a.jpg",
    "wearing_mask/face.jpg",
)


def test_a_slice_is_the_share_told_right_with_wilsons_interval() -> None:
    scores = Scores(np.array([0, 0, 1, 1, 1]), np.array([0.1, 0.7, 0.9, 0.4, 0.6]), 0.5)
    facts = {"side": ["a", "a", "b", "b", ""]}
    found = slice_scores(scores, facts)
    rows = {(row.fact, row.value): (row.n, row.right) for row in found.rows}
    assert rows["side", "a"] == (2, wilson(1, 2)) and rows["side", "b"] == (2, wilson(1, 2))
    assert rows["class", "no_mask"][0] == 2 and rows["class", "wearing_mask"] == (3, wilson(2, 3))
    assert found.right == wilson(3, 5) and ("side", "") not in rows
    higher = slice_scores(scores, facts, threshold=0.8)
    assert {row.value: row.right.value for row in higher.rows}["a"] == 1.0


def test_three_classes_are_right_where_their_class_is_said() -> None:
    scores = ClassScores(np.array([0, 2, 2]), np.eye(3)[[0, 2, 1]], 0.5)
    rows = {row.value: row.right.value for row in slice_scores(scores, {}).rows}
    assert rows == {"no_mask": 1.0, "worn_incorrectly": 0.5}


def test_the_worst_slice_is_large_enough_and_said_to_be_one_of_many() -> None:
    many = np.arange(100)
    labels = (many % 2).astype(int)
    right = np.where(many < 3, 0, np.where(many < 40, many % 4 != 0, 1)).astype(bool)
    scores = Scores(labels, np.where(right, labels, 1 - labels) * 0.8 + 0.1, 0.5)
    found = slice_scores(scores, {"group": ["few"] * 3 + ["some"] * 37 + ["most"] * 60})
    assert found.worst is not None and found.worst.value == "some"
    assert found.worst.n >= LEAST_FACES
    text = found.markdown()
    assert "**group some**" in text and "looks worse than it is" in text
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["worst"]["value"] == "some"
    assert slice_scores(scores, {}).markdown().count("Age, gender") == 0
    tiny = slice_scores(Scores(np.array([0, 1]), np.array([0.2, 0.3]), 0.1), {})
    assert tiny.worst is None and "none is named" in tiny.markdown()


def test_a_small_slice_that_is_lower_beyond_chance_is_named_too() -> None:
    labels = np.ones(160, np.int64)
    scores = np.repeat([0.9, 0.1, 0.9, 0.1], [90, 10, 47, 13])
    wear = ["correct"] * 100 + ["forehead"] * 47 + ["one_ear"] * 13
    found = slice_scores(Scores(labels, scores, 0.5), {"wear": wear})
    assert found.worst is not None and found.worst.value == "wearing_mask"
    assert "Smaller, and lower beyond chance: wear one_ear, 0.000" in found.markdown()


def test_where_nothing_is_known_no_slice_is_the_worst() -> None:
    found = slice_scores(Scores(np.array([0, 1] * 30), np.full(60, 0.9), 0.5), {})
    assert "Nothing but the class is known" in found.markdown()


def test_the_manifest_tells_where_photos_are_from(tmp_path: Path) -> None:
    sources = {
        "25_1_2_20170116161343328.jpg": "UTKFace",
        "utk/25_1_2_20170116161343329.jpg.chip.jpg": "UTKFace",
        "Tom_Daschle/Tom_Daschle_0002.jpg": "LFW",
        "lfw/Tom_Daschle/Tom_Daschle_0003.jpg": "LFW",
        list_faces("demo", limit=1)[0].source: "embedded model",
        "IMG_1234.jpg": "other",
        "holiday/DSC_0042.jpg": "other",
        "Tom/Ann_0002.jpg": "other",
    }
    paths = [f"train/no_mask/{FaceRef(source, 'x').key}.jpg" for source in sources]
    rows = [ManifestRow(path=path, source=of) for path, of in zip(paths, sources, strict=True)]
    write_manifest(tmp_path / MANIFEST, rows)
    for path, expected in zip(paths, sources.values(), strict=True):
        assert sources_of(tmp_path, [path]) == {expected: 1}
    assert sources_of(tmp_path, paths) == Counter(sources.values())
    assert sources_of(tmp_path, ["train/no_mask/unknown.jpg"]) == {"other": 1}
    assert sources_of(tmp_path / "elsewhere", paths) == {"other": len(paths)}
    ages = facts_of(tmp_path, paths)["age"]
    assert ages[:2] == ["20 to 39"] * 2 and not any(ages[2:])


def test_numbers_are_sorted_as_numbers() -> None:
    scores = Scores(np.array([0, 1, 1]), np.array([0.1, 0.9, 0.9]), 0.1)
    values = ["100 to 119", "20 to 39", "9 to 19"]
    rows = [row.value for row in slice_scores(scores, {"age": values}).rows if row.fact == "age"]
    assert rows == values[::-1]


def test_file_names_of_utkface_tell_age_gender_and_ethnicity(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, NAMES)
    assert facts["age"] == ["0 to 12", "20 to 39", "60 and more", ""]
    assert facts["gender"] == ["male", "female", "female", ""]
    assert facts["ethnicity"] == ["Asian", "Black", "White", ""]
    scores = Scores(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.9, 0.9]), 0.1)
    assert "no proof of fairness" in slice_scores(scores, facts).markdown()
    assert facts_of(tmp_path, ["no_mask/1_2_3.jpg", "no_mask/a.png"]) == {}


def test_a_csv_adds_facts_and_identities(tmp_path: Path) -> None:
    listed = tmp_path / "people.csv"
    listed.write_text(
        "\ufeffpath,skin_tone,identity\n"
        "no_mask/7_0_2_20170110224725285.jpg,V,ann\nface.jpg,II,bob\n",
        encoding="utf-8",
    )
    facts = facts_of(tmp_path, NAMES, listed)
    assert facts["skin tone"] == ["V", "", "", "II"] and "identity" not in facts
    assert identities_of(tmp_path, NAMES, listed) == ["ann", "", "", "bob"]
    assert identities_of(tmp_path, NAMES) is None


def test_a_csv_may_be_ragged_and_hold_bars_and_know_only_some_people(
    tiny_data: Path, tmp_path: Path
) -> None:
    crops = load_crops(tiny_data, "test")
    first, *_ = crops.paths
    listed = tmp_path / "some.csv"
    listed.write_text(f"skin_tone,path,identity\nI|II,{first},ann\nIII\n", encoding="utf-8")
    facts = facts_of(tiny_data, crops.paths, listed)
    assert facts["skin tone"][0] == "I|II"
    known = identities_of(tiny_data, crops.paths)
    assert known is not None
    assert identities_of(tiny_data, crops.paths, listed) == ["ann", *known[1:]]
    scores = Scores(crops.labels, np.full(len(crops), 0.5), 0.7)
    text = slice_scores(scores, {"skin tone": facts["skin tone"]}).markdown()
    table = next(block for block in parse(text, tmp_path) if isinstance(block, Table))
    assert ("skin tone", "I|II", "1") in {row[:3] for row in table.rows}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,class\nface.jpg,3\n", "give that column another name"),
        ("file,age\nface.jpg,3\n", "needs a column path"),
        ("path,age\nother.jpg,3\n", "none of its paths"),
        ("", "needs a column path"),
    ],
)
def test_a_csv_that_cannot_be_used_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(SlicesError, match=words):
        facts_of(tmp_path, NAMES, tmp_path / "a.csv")


def test_a_column_of_ids_is_no_way_to_slice(tmp_path: Path) -> None:
    paths = [f"no_mask/{n}.jpg" for n in range(40)]
    rows = "\n".join(f"{path},{n}" for n, path in enumerate(paths))
    (tmp_path / "a.csv").write_text(f"path,number\n{rows}\n")
    with pytest.raises(SlicesError, match="number has 40 values"):
        facts_of(tmp_path, paths, tmp_path / "a.csv")
    with pytest.raises(SlicesError, match="cannot be read"):
        facts_of(tmp_path, paths, tmp_path / "none.csv")


def test_prepared_data_knows_its_masks(tmp_path: Path) -> None:
    config = PrepareConfig(faces="demo", output=tmp_path / "d", limit=20, workers=1, wear=True)
    data = prepare(config)
    crops = load_crops(data, "train", labels=(0, 1, 2))
    facts = facts_of(data, crops.paths)
    assert set(facts) >= {"mask type", "pattern", "wear", "turn"}
    known = {row.path: row for row in read_manifest(data / "manifest.csv") if row.path}
    for place, path in enumerate(crops.paths):
        row = known[path]
        kind = TEMPLATES[row.template].kind if row.template else ""
        assert (facts["mask type"][place], facts["wear"][place]) == (kind, row.wear)
        bare = CLASSES[crops.labels[place]] == "no_mask"
        assert (facts["pattern"][place] == "") == bare and facts["turn"][place]
        if not bare:
            style = MaskStyle.from_json(row.style)
            assert facts["pattern"][place] == (style.pattern or "plain")
    assert identities_of(data, crops.paths) == [known[path].identity for path in crops.paths]


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((12, 12, 14), "black"),
        ((250, 250, 248), "white"),
        ((128, 126, 130), "grey"),
        ((150, 195, 230), "blue"),
        ((200, 30, 40), "red"),
        ((230, 20, 150), "pink"),
        ((40, 160, 60), "green"),
    ],
)
def test_colours_have_names(rgb: tuple[int, int, int], name: str) -> None:
    assert _color_name(rgb) == name


def test_faces_have_sizes() -> None:
    assert _size_name("") == "" and _size_name("0 0 20 30") == "up to 47 px"
    assert [_size_name(f"0 0 10 {side}") for side in (48, 95, 96, 400)] == [
        "48 to 95 px",
        "48 to 95 px",
        "96 to 191 px",
        "192 px and more",
    ]


def test_every_slice_is_drawn() -> None:
    scores = Scores(np.array([0, 0, 1, 1]), np.array([0.1, 0.9, 0.9, 0.9]), 0.1)
    figure = slices_figure(slice_scores(scores, {"side": ["a", "b", "a", "b"]}))
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["class: no_mask (2)", "class: wearing_mask (2)", "side: a (2)", "side: b (2)"]
