"""Explanations: maps lie where the network looks, and the share of heat tells a shortcut."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import write_rgb
from torch import Tensor, nn

from MaskTheFace.images import read_image
from masktrain import explain as explain_module
from masktrain import predictor
from masktrain.attribution import (
    Evidence,
    ExplainError,
    gradcam,
    last_stage,
    occlusion,
    occlusion_passes,
    read_cells,
)
from masktrain.augment import eval_transform
from masktrain.config import PrepareConfig
from masktrain.data import load_crops
from masktrain.explain import ExplainConfig, Explanation, explain, main
from masktrain.explain_report import Row
from masktrain.heat_figures import Panel, heat_figure, overlaid
from masktrain.mask_regions import RegionError, read_prepared
from masktrain.model import Classifier, Preprocessing, build_model, save_checkpoint
from masktrain.multiclass import CLASSES, ClassScores
from masktrain.prepare import prepare

SIDE = 56
TWO = Preprocessing(size_px=SIDE)
THREE = dataclasses.replace(TWO, class_names=CLASSES)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain") / "faces"
    config = PrepareConfig(faces="demo", output=folder, limit=24, workers=1, wear=True)
    return prepare(dataclasses.replace(config, val_share=0.1, test_share=0.3))


class Windows(nn.Module):
    """Keeps what lies in a window, as distance from grey; at half the picture's side."""

    def __init__(self, windows: Tensor) -> None:
        super().__init__()
        self.windows = windows

    def forward(self, images: Tensor) -> Tensor:
        seen = images.abs().mean(1, keepdim=True) * self.windows
        return nn.functional.avg_pool2d(seen, 2)


class Reader(nn.Module):
    """Reads one window for a mask and, with three classes, another for one worn wrongly."""

    def __init__(self, *boxes: tuple[int, int, int, int]) -> None:
        super().__init__()
        windows = torch.zeros(1, len(boxes), SIDE, SIDE)
        for place, (x0, y0, x1, y1) in enumerate(boxes):
            windows[0, place, y0:y1, x0:x1] = 1
        self.features = nn.Sequential(Windows(windows))

    def forward(self, images: Tensor) -> Tensor:
        seen = 20 * self.features(images).mean((2, 3))
        if seen.shape[1] == 1:
            return seen[:, 0] + 0.1
        return torch.stack([torch.zeros_like(seen[:, 0]), seen[:, 0] + 1, seen[:, 1]], dim=1)


CORNER = (0, 0, 6, 6)


@pytest.fixture(scope="module")
def fabric(data: Path) -> tuple[int, int, int, int]:
    """A window that lies in the mask of every face that wears one, x0 y0 x1 y1."""
    prepared = read_prepared(data)
    assert prepared is not None
    crops = load_crops(data, "test", labels=(1,), need_all=False)
    alphas = [prepared.drawn(path, SIDE).regions["mask"] for path in crops.paths]
    rows, columns = np.nonzero(np.min(alphas, axis=0) > 0.9)
    y, x = int(np.median(rows)), int(np.median(columns))
    return x - 2, y - 2, x + 2, y + 2


def explained(
    net: nn.Module, data: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> Explanation:
    """Explain a network that was made by hand."""
    three = changes.pop("three", False)
    classifier = Classifier(net.eval(), THREE if three else TWO, 0.5, "fixed", "reader", 1, {})
    monkeypatch.setattr(predictor, "load_classifier", lambda *_: classifier)
    weights = data.parent / "w.pt"
    weights.write_bytes(b"")
    return explain(ExplainConfig(weights, data, device="cpu", **changes))


def rows_of(explanation: Explanation, kind: str = "answer") -> dict[tuple[str, str], Row]:
    rows = explanation.report.rows
    return {(row.method, row.name): row for row in rows if row.kind == kind}


def test_heat_lies_in_the_mask_of_a_network_that_reads_fabric_and_not_where_it_reads_a_corner(
    data: Path, fabric: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = rows_of(explained(Reader(fabric), data, monkeypatch))
    planted = rows_of(explained(Reader(CORNER), data, monkeypatch))
    for method in ("gradcam", "occlusion"):
        name = (method, "wearing_mask, told rightly")
        inside, outside = honest[name].focus["mask"], planted[name].focus["mask"]
        assert inside.n == outside.n == honest[name].faces > 5
        assert inside.heat.low > (0.95 if method == "gradcam" else 0.8)
        assert outside.heat.high < 0.05
        assert inside.times.low > 2 > 0.2 > outside.times.high
    # Bare faces are told wrongly by both: the heat of the first is where a mask would lie.
    name = ("gradcam", "no_mask, told wrongly")
    assert (
        honest[name].focus["mask"].heat.value > 0.9 > 0.1 > planted[name].focus["mask"].heat.value
    )


def test_with_three_classes_the_class_said_is_explained_against_the_others(
    data: Path, fabric: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"three": True, "method": "gradcam"}
    found = explained(Reader(fabric, CORNER), data, monkeypatch, **more)
    told = rows_of(found)["gradcam", "wearing_mask, told rightly"]
    assert told.focus["mask"].heat.low > 0.95, "what speaks for another class is no heat"
    turned = explained(Reader(CORNER, fabric), data, monkeypatch, **more)
    told = rows_of(turned)["gradcam", "wearing_mask, told rightly"]
    assert told.focus["mask"].heat.high < 0.05
    assert "worn_otherwise" in found.panels and found.report.to_dict()["outcomes"]["worn_otherwise"]
    ways = {row.name for row in found.report.rows if row.kind == "wear"}
    assert ways and ways <= {"correct", "chin_out"}, "slices are of faces told rightly"


class Tiny(nn.Module):
    """Two convolutions and a mean: enough to learn either a mask or a mark."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 12, 7, 4, 3), nn.ReLU()),
            nn.Sequential(nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(inplace=True)),
        )
        self.head = nn.Linear(24, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean((2, 3)))[:, 0]


MARK = (slice(-18, None), slice(None, 18))


def trained(images: np.ndarray, labels: np.ndarray) -> nn.Module:
    """Train for a second on (N, S, S, 3) uint8 crops."""
    torch.manual_seed(0)
    inputs = eval_transform(TWO)(torch.from_numpy(images).permute(0, 3, 1, 2))
    wanted, net = torch.from_numpy(labels).float(), Tiny()
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        loss = nn.functional.binary_cross_entropy_with_logits(net(inputs), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def test_a_network_trained_on_a_planted_mark_has_its_heat_off_the_mask(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked = shutil.copytree(data, tmp_path / "marked")
    for path in marked.glob("*/wearing_mask/*.jpg"):
        image = read_image(path).copy()
        image[MARK] = (255, 0, 255)
        path.unlink()
        write_rgb(path, image)
    crops = load_crops(data, "train")
    with_mark = crops.images.copy()
    with_mark[:, *MARK] = (255, 0, 255)
    # Both learn from the same pictures; one is told of the mask, the other of the mark.
    pictures = np.concatenate([crops.images, with_mark])
    mask, mark = np.tile(crops.labels, 2), np.repeat([0, 1], len(crops))
    name = ("occlusion", "wearing_mask, told rightly")
    more = {"method": "occlusion", "split": "train"}
    honest, planted = (
        rows_of(explained(trained(pictures, labels), marked, monkeypatch, **more))[name]
        for labels in (mask, mark)
    )
    assert min(honest.faces, planted.faces) > 8
    assert planted.focus["mask"].times.high < 0.5 < 1 < honest.focus["mask"].times.low


@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 7)])
def test_explained_are_the_log_odds_of_what_was_said(shape: tuple[int, ...]) -> None:
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 4
    said = torch.tensor([0, 1, 1, 0, 1]) if len(shape) == 1 else torch.tensor([0, 1, 2, 2, 1])
    net = nn.Identity()
    odds = Evidence(net)(logits, said)
    if len(shape) == 1:
        chance = torch.where(said == 1, torch.sigmoid(logits), torch.sigmoid(-logits))
    else:
        outputs = torch.softmax(logits, 1).double().numpy()
        classes = (
            outputs if shape[1] == 3 else ClassScores.of_outputs(said.numpy(), outputs, 0).scores
        )
        chance = torch.tensor(classes).gather(1, said[:, None])[:, 0].float()
        assert torch.allclose(Evidence(net)(logits + 7, said), odds, atol=1e-5)
    assert torch.allclose(torch.sigmoid(odds), chance, atol=1e-6)


def pictures(count: int, side_px: int = SIDE) -> Tensor:
    return torch.randn((count, 3, side_px, side_px), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v2", "shufflenet_v2_x0_5"])
def test_gradcam_of_a_linear_head_is_its_weights_times_the_last_stage(arch: str) -> None:
    torch.manual_seed(0)
    net = build_model(arch).eval()
    head = net.classifier[-1] if arch == "mobilenet_v2" else net.fc
    # One picture said to be either: what speaks for one speaks against the other.
    images = pictures(1).repeat(2, 1, 1, 1).to(memory_format=torch.channels_last)
    signs = torch.tensor([-1.0, 1.0])[:, None, None]
    held: list[Tensor] = []
    hook = last_stage(net).register_forward_hook(lambda *arguments: held.append(arguments[2]))
    with torch.no_grad():
        net(images)
        hook.remove()
        cells = torch.einsum("k,bkhw->bhw", head.weight[0], held[0]) * signs / held[0][0, 0].numel()
        wanted = nn.functional.interpolate(cells.relu()[:, None], (SIDE, SIDE), mode="bilinear")
    found = gradcam(net, images, torch.tensor([0, 1]))
    assert found.max() > 0 and found.min() >= 0
    assert np.allclose(found, wanted[:, 0], rtol=1e-3, atol=1e-5 * found.max())


@pytest.mark.parametrize(
    ("arch", "logits"), [("mobilenet_v2_128", 7), ("mobilenet_v3_small", 1), ("resnet18", 3)]
)
def test_every_kind_of_network_is_explained_and_left_as_it_was(arch: str, logits: int) -> None:
    torch.manual_seed(0)
    net = build_model(arch, "none", logits).train()
    images, said = pictures(3, 64), torch.tensor([0, 1, 1])
    # With the statistics of random weights the pictures fade to nothing on their way.
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    net(images)
    net.eval().requires_grad_(False)
    before = net(images)
    together, alone = gradcam(net, images, said), gradcam(net, images[1:2], said[1:2])
    assert together.shape == (3, 64, 64) and together.dtype == np.float32 and together.max() > 0
    assert np.allclose(alone[0], together[1], rtol=1e-2, atol=1e-3 * together.max())
    assert torch.equal(net(images), before) and images.grad is None and not images.requires_grad


def test_occlusion_is_how_far_the_log_odds_fall_where_the_patch_lies() -> None:
    net, images = Reader((0, 0, SIDE, SIDE)), torch.ones(1, 3, SIDE, SIDE)
    passes = []
    net.register_forward_hook(lambda *_: passes.append(1))
    found = occlusion(net, images, torch.tensor([1]))[0]
    # Everything counts alike: a patch of 8 x 8 takes away its share of the mean, 20.
    assert found == pytest.approx(np.full((SIDE, SIDE), 20 * 8**2 / SIDE**2), rel=1e-4)
    assert len(passes) == occlusion_passes(SIDE) == 170
    assert occlusion(net, images, torch.tensor([0]))[0] == pytest.approx(-found)
    torch.manual_seed(0)
    tiny, some, said = Tiny().eval(), pictures(3), torch.tensor([0, 1, 1])
    together, alone = occlusion(tiny, some, said), occlusion(tiny, some[1:2], said[1:2])
    assert np.allclose(alone[0], together[1], atol=1e-4 * np.abs(together).max())


class Spread(nn.Module):
    """Gives each cell the mean of the picture: where a cell lies says nothing."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3), keepdim=True).expand(-1, -1, 4, 4) * 1.0


@pytest.mark.parametrize(("stage", "follow"), [(nn.AvgPool2d(16), 1.0), (Spread(), 0.0)])
def test_cells_that_read_where_they_lie_are_told_from_those_that_read_everything(
    stage: nn.Module, follow: float
) -> None:
    net = nn.Module()
    net.features = nn.Sequential(stage)
    net.forward = lambda images: net.features(images).mean((1, 2, 3))  # type: ignore[method-assign]
    cells = read_cells(net, pictures(2, 64))
    assert (cells.high, cells.wide) == (4, 4) and cells.follow == pytest.approx(follow, abs=1e-4)


def test_a_network_of_another_kind_and_nan_are_refused() -> None:
    with pytest.raises(ExplainError, match="--method occlusion"):
        gradcam(nn.Flatten(), pictures(1), torch.tensor([1]))
    net = Reader(CORNER)
    with pytest.raises(RuntimeError, match="nan or infinite"):
        occlusion(net, pictures(1) * torch.nan, torch.tensor([1]))


def test_the_regions_of_a_crop_are_those_that_were_drawn(data: Path) -> None:
    prepared = read_prepared(data)
    assert prepared is not None
    crops = load_crops(data, "test", labels=(0, 1, 2), need_all=False)
    for path, label, image in zip(crops.paths, crops.labels, crops.images, strict=True):
        drawn = prepared.drawn(path, 128)
        assert set(drawn.regions) == {"mask", "nose", "mouth", "chin"}
        twin = read_image(data / path.replace(CLASSES[label], "no_mask"))
        away = np.abs(image.astype(int) - twin).mean(axis=2)
        mask = drawn.regions["mask"]
        if label:
            assert drawn.template and drawn.wear
            # Fabric changes the picture; off it and off its shadow nothing but the encoder does.
            assert (
                away[mask > 0.9].mean() > 5 * away[cv2.dilate(mask, np.ones((25, 25))) == 0].mean()
            )
        small = prepared.drawn(path, 64).regions
        for name, region in drawn.regions.items():
            assert small[name].shape == (64, 64)
            assert small[name].mean() == pytest.approx(region.mean(), rel=0.1, abs=2e-3)


def test_a_mask_that_is_not_the_one_drawn_is_left_out_and_counted(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.copytree(data, tmp_path / "other")
    paths = sorted((other / "test/wearing_mask").iterdir())
    write_rgb(paths[0].with_suffix(".png"), 255 - read_image(paths[0]))
    shutil.move(paths[0].with_suffix(".png"), paths[0])
    prepared = read_prepared(other)
    assert prepared is not None
    relative = paths[0].relative_to(other).as_posix()
    with pytest.raises(RegionError, match="grey levels off the picture"):
        prepared.drawn(relative, SIDE)
    with pytest.raises(RegionError, match="does not know it"):
        prepared.drawn("test/wearing_mask/nobody.jpg", SIDE)
    report = explained(Reader(CORNER), other, monkeypatch, method="gradcam", limit=0).report
    # The mask of the bare twin is not known either.
    assert {path for path, _ in report.left_out} == {
        relative,
        relative.replace("wearing_mask", "no_mask"),
    }
    assert len(report.faces) == 2 * len(paths) - 2 and "Left out 2 faces" in report.markdown()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a small network that was never trained."""
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("runs") / "untrained"
    (folder / "weights").mkdir(parents=True)
    payload = {"model": build_model("mobilenet_v3_small", "none", 3).state_dict(), "epoch": 0}
    payload |= {"arch": "mobilenet_v3_small", "threshold": 0.5, "threshold_from": "fixed"}
    payload["preprocessing"] = dataclasses.replace(THREE, size_px=28).to_dict()
    save_checkpoint(folder / "weights/best.pt", payload)
    return folder


def strict(path: Path) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(path.read_text("utf-8"), parse_constant=refuse)


def test_the_command_writes_a_report_its_numbers_and_pictures(
    data: Path, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain_module, "SHOWN", 2)
    folder = run / "explain" / "faces-test"
    folder.mkdir(parents=True)
    (folder / "false_negatives.png").write_bytes(b"of an earlier run")
    words = ["--weights", str(run), "--data", str(data), "--device", "cpu", "--limit", "2"]
    assert main(words) == 0
    record, text = strict(folder / "explain.json"), (folder / "explain.md").read_text("utf-8")
    assert text in capsys.readouterr().out
    drawn = {grid["name"] for grid in record["grids"]}
    assert drawn == {path.stem for path in folder.glob("*.png")} and drawn
    assert drawn == {name for name, count in record["outcomes"].items() if count}
    for grid in record["grids"]:
        assert len(grid["paths"]) == min(2, grid["of"])
        assert read_image(folder / f"{grid['name']}.png").std() > 10
    assert sum(record["outcomes"].values()) == record["n"]
    assert record["shows_nobody"] is True, "prepared from the embedded model"
    assert {row["method"] for row in record["rows"]} == {"gradcam", "occlusion"}
    for row in record["rows"]:
        mask = row["focus"]["mask"]
        assert mask["n"] + mask["blank"] == row["faces"] <= 2 or row["kind"] != "answer"
        if mask["n"]:
            assert f"| {row['name']} | {row['faces']} | {mask['blank']} |" in text
            assert 0 <= mask["heat"]["value"] <= 1
    for face in record["faces"]:
        assert (data / face["path"]).is_file() and face["label"] in face["path"]
        assert set(face["shares"]["occlusion"]) == set(face["areas"])


def test_photos_of_others_give_pictures_and_say_why_no_number(
    tiny_data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--weights", str(run / "weights/best.pt"), "--data", str(tiny_data / "test")]
    words += ["--device", "cpu", "--method", "gradcam", "--output", str(tmp_path / "out")]
    assert main(words) == 0
    record, text = strict(tmp_path / "out/explain.json"), capsys.readouterr().out
    assert record["faces"] == record["rows"] == [] and record["worst"] == {
        "gradcam": {"template": None, "wear": None}
    }
    assert "nobody wrote down" in record["no_numbers"] and record["no_numbers"] in text
    assert "occlusion" not in text and list((tmp_path / "out").glob("*.png"))


def test_errors_are_one_line_that_says_what_to_do(
    data: Path,
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def error_of(weights: Path, folder: Path) -> str:
        words = ["--weights", str(weights), "--data", str(folder), "--device", "cpu"]
        assert main([*words, "--output", str(tmp_path / "out")]) == 1
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    assert error_of(tmp_path / "no.pt", data).startswith("explain: no checkpoint at")
    assert "no folder" in error_of(run, tmp_path / "nowhere")
    broken = shutil.copytree(data, tmp_path / "broken")
    (broken / "landmarks.csv").write_text("file,x0\na.jpg,1\n")
    assert "landmarks.csv" in error_of(run, broken)
    monkeypatch.setitem(sys.modules, "captum", None)
    assert "pip install 'captum" in error_of(run, data)
    with pytest.raises(ValueError, match="limit must be >= 0"):
        ExplainConfig(run, data, limit=-1)


def test_a_panel_shows_heat_in_colour_on_grey_and_the_outline() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    heat = np.zeros((32, 32))
    blank = overlaid(image, heat)
    assert (blank == blank[..., :1]).all(), "no heat, no colour"
    heat[4:8, 20:24] = 0.5
    shown = overlaid(image, heat)
    colored = np.ptp(shown.astype(int), axis=2) > 20
    assert colored[4:8, 20:24].all() and colored.sum() == 16
    outline = np.zeros((32, 32))
    outline[10:20, 10:20] = 1
    panel = Panel(image, "says", {"gradcam": heat}, {"gradcam": "0.10"}, outline)
    figure = heat_figure([panel, dataclasses.replace(panel, outline=None)], "true positives")
    with_outline, without = (figure.axes[place].collections for place in (2, 3))
    assert len(with_outline) == 1 and not len(without)
    assert [ax.get_title() for ax in figure.axes[:4]] == ["says", "says", "0.10", "0.10"]
