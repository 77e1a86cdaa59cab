"""Who may import whom: the drawing in the design, kept true."""

import ast
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = {
    f"{path.parent.name}.{path.stem}": path
    for package in ("MaskTheFace", "masktrain")
    for path in sorted((ROOT / package).glob("*.py"))
}
OPTIONAL = {
    "wandb",
    "tensorboard",
    "dlib",
    "tyro",
    "tqdm",
    "gradio",
    "onnxruntime",
    "onnx",
    "captum",
    "safetensors",
}
# Commands whose settings carry tyro's marks, and the script that fits the face model.
MAY_AT_IMPORT = {
    "masktrain.evaluate": {"tyro"},
    "masktrain.report": {"tyro"},
    "masktrain.ablate": {"tyro"},
    "masktrain.compare": {"tyro"},
    "masktrain.paper": {"tyro"},
    "masktrain.release": {"tyro"},
    "masktrain.face_fit": {"tyro"},
    "masktrain.face_photos": {"tqdm"},
}
TORCHLESS = (
    "best",
    "multiclass",
    "wrongly",
    "metrics",
    "figures",
    "report",
    "config",
    "faces",
    "prepare",
    "face_model",
    "styles",
    "leaks",
    "thresholds",
    "calibration",
    "resampling",
    "slices",
    "compare",
    "plans",
    "heat",
    "heat_figures",
    "mask_regions",
    "outcomes",
    "explain_report",
)
ENTRIES = (
    "train",
    "evaluate",
    "prepare",
    "report",
    "ablate",
    "probes",
    "compare",
    "predict",
    "audit",
    "explain",
    "release",
)


def imported(nodes: list[ast.AST], package: str) -> set[str]:
    """Return the full names of the modules that these statements import."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [package if node.level else "", node.module or ""]))
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names


def at_import(tree: ast.AST) -> list[ast.AST]:
    """Return the statements that run when the module is imported."""
    found: list[ast.AST] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        found += [node, *at_import(node)]
    return found


@cache
def names_of(module: str, only_at_import: bool) -> frozenset[str]:
    tree = ast.parse(FILES[module].read_text(encoding="utf-8"))
    nodes = at_import(tree) if only_at_import else list(ast.walk(tree))
    return frozenset(imported(nodes, module.partition(".")[0]))


def reached(module: str) -> set[str]:
    """Return every name imported when ``module`` is, through modules of the project too."""
    seen: set[str] = set()
    todo = {module}
    while todo:
        name = todo.pop()
        seen.add(name)
        inside = name if name in FILES else f"{name}.__init__"
        if inside in FILES:
            todo |= names_of(inside, True) - seen
    return seen


def roots(names: set[str] | frozenset[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_the_files_are_found() -> None:
    assert {"MaskTheFace.overlay", "masktrain.train", "masktrain.metrics"} <= set(FILES)


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith("MaskTheFace")])
def test_masktheface_stands_alone(module: str) -> None:
    assert not roots(names_of(module, False)) & {"torch", "torchvision", "masktrain"}


@pytest.mark.parametrize("module", TORCHLESS)
def test_what_needs_no_torch_never_meets_it(module: str) -> None:
    assert not roots(reached(f"masktrain.{module}")) & {"torch", "torchvision"}


@pytest.mark.parametrize("module", ["metrics", "figures"])
def test_numbers_and_figures_do_not_know_torch_even_later(module: str) -> None:
    assert not roots(names_of(f"masktrain.{module}", False)) & {"torch", "torchvision"}


@pytest.mark.parametrize("module", FILES)
def test_heavy_and_optional_packages_wait_until_they_are_needed(module: str) -> None:
    assert not roots(names_of(module, True)) & OPTIONAL - MAY_AT_IMPORT.get(module, set())


@pytest.mark.parametrize("module", ENTRIES)
def test_help_need_not_wait_for_torch(module: str) -> None:
    assert not roots(reached(f"masktrain.{module}")) & {"torch", "torchvision"}


@pytest.mark.parametrize("module", [name for name in FILES if name != "masktrain.train"])
def test_nobody_imports_train(module: str) -> None:
    assert "masktrain.train" not in names_of(module, False)


def test_the_checks_see_what_they_look_for() -> None:
    tree = ast.parse(
        "import torch.nn\nfrom . import b\ntry:\n    import dlib\nfinally:\n    pass\n"
        "def later():\n    import wandb\n"
        "if TYPE_CHECKING:\n    import gradio\n"
    )
    assert imported(at_import(tree), "p") == {"torch.nn", "p", "p.b", "dlib"}
    assert "wandb" in imported(list(ast.walk(tree)), "p")


def test_what_the_packages_read_is_installed_with_them() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    installed = settings["tool"]["setuptools"]
    assert set(installed["packages"]) == {"MaskTheFace", "masktrain"}
    for package in installed["packages"]:
        files = {path.name for path in (ROOT / package).iterdir() if path.is_file()}
        others = {name for name in files if not name.endswith(".py") and not name.startswith(".")}
        assert others == set(installed["package-data"].get(package, ()))
