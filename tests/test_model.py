"""Networks give one logit; checkpoints are whole, safe and explain themselves."""

import os
import subprocess
import sys
import urllib.error
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torchvision import models

from masktrain.config import Architecture
from masktrain.model import (
    CheckpointError,
    LogitHead,
    ModelError,
    Preprocessing,
    build_model,
    load_checkpoint,
    load_classifier,
    save_checkpoint,
)

SMALL = "mobilenet_v3_small"


def payload_of(net: torch.nn.Module, arch: str = SMALL) -> dict[str, Any]:
    """Return a complete checkpoint of a network."""
    return {
        "model": net.state_dict(),
        "arch": arch,
        "preprocessing": Preprocessing().to_dict(),
        "threshold": 0.4,
        "threshold_from": "a test",
        "epoch": 3,
        "config": {"lr": 0.1},
    }


@pytest.mark.parametrize("arch", get_args(Architecture))
def test_every_network_gives_one_logit_for_each_image(arch: str) -> None:
    net = build_model(arch, "none").eval()
    for count in (1, 3):
        logits = net(torch.zeros(count, 3, 112, 112))
        assert logits.shape == (count,) and logits.dtype == torch.float32


def test_logits_stay_float32_under_autocast() -> None:
    head = LogitHead(64)
    features = torch.randn(500, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = head(features)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, head(features))
    assert len(logits.unique()) == 500


def test_the_seed_decides_the_first_weights() -> None:
    def weights() -> torch.Tensor:
        torch.manual_seed(5)
        return torch.cat([p.flatten() for p in build_model(SMALL).parameters()])

    assert torch.equal(weights(), weights())


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(ModelError, match=r"unknown model vgg.*resnet50"):
        build_model("vgg")


def test_weights_that_cannot_be_fetched_point_to_random_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(ModelError, match=r"no network.*--init none"):
        build_model("resnet18", "imagenet")


def test_imagenet_weights_are_asked_for_with_their_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    torch.manual_seed(0)
    state = models.mobilenet_v3_small(weights=None).state_dict()

    def fetch(*_: object, **kwargs: object) -> dict[str, torch.Tensor]:
        asked.update(kwargs)
        return state

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetch)
    net = build_model(SMALL, "imagenet")
    assert asked["check_hash"] is True
    assert torch.equal(net.state_dict()["features.0.0.weight"], state["features.0.0.weight"])


def test_a_checkpoint_can_be_the_first_weights(tmp_path: Path) -> None:
    net = build_model(SMALL)
    save_checkpoint(tmp_path / "a.pt", payload_of(net))
    again = build_model(SMALL, str(tmp_path / "a.pt"))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters()))
    with pytest.raises(ModelError, match=f"holds a {SMALL}"):
        build_model("resnet18", str(tmp_path / "a.pt"))


def test_a_classifier_comes_with_all_that_its_users_need(tmp_path: Path) -> None:
    net = build_model(SMALL).eval()
    save_checkpoint(tmp_path / "a.pt", payload_of(net))
    loaded = load_classifier(tmp_path / "a.pt")
    images = torch.randn(2, 3, 112, 112)
    assert torch.equal(loaded.net(images), net(images))
    assert loaded.preprocessing == Preprocessing()
    assert (loaded.threshold, loaded.threshold_from, loaded.epoch) == (0.4, "a test", 3)
    assert loaded.config == {"lr": 0.1} and not loaded.net.training


def test_preprocessing_survives_lists() -> None:
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in _plain().items()}
    assert Preprocessing.from_dict(values) == Preprocessing()


def _plain() -> dict[str, Any]:
    return Preprocessing().to_dict()


class Evil:
    """Runs code when unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken ünï.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken ünï\.pt is damaged"):
        load_checkpoint(path)


def test_a_checkpoint_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(Evil(), tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match=r"evil.pt is damaged or not"):
        load_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "pwned").exists()


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"no arch, preprocessing"):
        load_checkpoint(tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "missing.pt")


def test_weights_that_do_not_fit_are_an_error_not_a_traceback(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", payload_of(build_model(SMALL), "resnet18"))
    with pytest.raises(ModelError, match="do not fit a resnet18"):
        load_classifier(tmp_path / "a.pt")


FULL_DISK = """
import resource, signal, sys, torch
from pathlib import Path
from masktrain.model import CheckpointError, save_checkpoint
path = Path(sys.argv[1])
save_checkpoint(path, {"epoch": 1})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_checkpoint(path, {"epoch": 2, "model": torch.zeros(1_000_000)})
except CheckpointError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
def test_a_full_disk_keeps_the_old_checkpoint_and_says_so_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    command = [sys.executable, "-c", FULL_DISK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert f"cannot save checkpoint {path} (File too large)" in done.stdout
    assert "the one from before is kept" in done.stdout
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]
