"""Contact sheets: complete, of people who do not exist, the same every time."""

from pathlib import Path

import numpy as np
import pytest

from MaskTheFace.coverage import WEARS
from MaskTheFace.images import read_image
from MaskTheFace.occluder_style import OCCLUDERS
from MaskTheFace.patterns import PATTERNS
from MaskTheFace.templates import TEMPLATES
from masktrain.contact_sheets import SCENE_LOOKS, SCENES, TURNS, SheetConfig, draw_sheets, main

SMALL = {"face_px": 48, "pool": 12}


def test_every_design_print_and_scene_is_on_a_sheet(tmp_path: Path) -> None:
    paths = {path.stem: read_image(path) for path in draw_sheets(SheetConfig(tmp_path, **SMALL))}
    cells = {name: image.size / 3 / 50**2 for name, image in paths.items()}
    assert cells["masks_types"] >= len(TEMPLATES) * len(TURNS)
    assert cells["masks_prints"] >= 3 * len(PATTERNS)
    assert cells["masks_light"] >= 3 * len(SCENES)
    assert cells["masks_colors"] >= 100
    assert cells["masks_wear"] >= 20 * len(WEARS)
    assert cells["occluders"] >= 10 * len(OCCLUDERS)


def test_the_same_seed_draws_the_same_sheets(tmp_path: Path) -> None:
    one, two = (draw_sheets(SheetConfig(tmp_path / name, **SMALL)) for name in "ab")
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("scene", SCENES)
def test_a_scene_changes_the_photo_and_nothing_else(scene: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    seen = SCENE_LOOKS[scene](image, np.random.default_rng(1))
    assert seen.shape == image.shape and seen.dtype == np.uint8
    assert np.array_equal(seen, image) == (scene == "as it is")


def test_the_command_names_its_files_and_its_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--output", str(tmp_path), "--face-px", "48", "--pool", "9"]) == 0
    assert "masks_types.jpg" in capsys.readouterr().out
    (tmp_path / "file").touch()
    assert main(["--output", str(tmp_path / "file"), "--face-px", "48", "--pool", "9"]) == 1
    assert "contact_sheets: " in capsys.readouterr().err


def test_impossible_sheets_are_refused() -> None:
    with pytest.raises(ValueError, match="face_px must be >= 48, got 8"):
        SheetConfig(face_px=8)
    with pytest.raises(ValueError, match="pool must be >= 7, got 3"):
        SheetConfig(pool=3)
