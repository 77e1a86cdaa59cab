"""Fixtures that several test files share: a tiny prepared data set, drawn by code."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

SPLIT_SIZES = {"train": 16, "val": 6, "test": 4}


@pytest.fixture(autouse=True)
def _quiet_wandb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep W&B away from the network and from the real user's keys and settings."""
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


def draw_face(seed: int, masked: bool) -> np.ndarray:
    """Return a (128, 128, 3) uint8 RGB cartoon: an oval, two eyes, and a mouth or a mask."""
    rng = np.random.default_rng(seed)
    image = np.full((128, 128, 3), rng.integers(0, 256, 3), np.uint8)
    skin = tuple(int(x) for x in rng.integers((120, 80, 60), (250, 200, 170)))
    cv2.ellipse(image, (64, 64), (44, 58), 0, 0, 360, skin, -1)
    for x in (48, 80):
        cv2.circle(image, (x, 50), 6, (30, 30, 30), -1)
    if masked:
        corners = np.array([[24, 66], [104, 66], [96, 104], [64, 122], [32, 104]])
        cv2.fillPoly(image, [corners], (170, 210, 235))
    else:
        cv2.ellipse(image, (64, 92), (16, 6), 0, 0, 360, (160, 60, 60), -1)
    noise = rng.integers(-6, 7, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def write_rgb(path: Path, image: np.ndarray) -> None:
    """Write an image with OpenCV, so that tests do not rely on the code under test."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def make_data(root: Path, sizes: dict[str, int]) -> Path:
    """Write a prepared folder with `sizes[split]` people, each bare and masked, and a manifest."""
    rows = []
    for split_index, (split, size) in enumerate(sizes.items()):
        for person in range(size):
            for label in ("no_mask", "wearing_mask"):
                path = f"{split}/{label}/{person:03d}.png"
                image = draw_face(1000 * split_index + person, label == "wearing_mask")
                write_rgb(root / path, image)
                rows.append({"path": path, "split": split, "label": label})
                rows[-1]["identity"] = f"{split}-{person // 2}"
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["path", "split", "label", "identity"])
        writer.writeheader()
        writer.writerows(rows)
    return root


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set of 26 cartoon people; read only."""
    return make_data(tmp_path_factory.mktemp("data") / "tiny", SPLIT_SIZES)
