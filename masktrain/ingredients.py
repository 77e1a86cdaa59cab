"""What each ingredient of the masks is worth: ``python -m masktrain.ingredients --real-val DIR``.

Trains a small network on masks with everything, then with one ingredient left out, a few seeds
each, and judges every run on real photos. Finished runs are kept: the same command goes on where
it was stopped, on another machine too if the output folder came along (it holds no photo). Writes
ingredients.md, ingredients.csv and ingredients.png.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from MaskTheFace.commands import run_command
from masktrain.arms import ARMS, BASE, RECIPE, Arm, ArmRun, recipe, run_arm
from masktrain.config import Architecture, PrepareConfig

SETTLED = ("faces", "aligned", "real_val", "limit", "epochs", "model")
"""Settings that all runs of an output folder share."""


class IngredientsError(ValueError):
    """A table that cannot be made; the message says what to do."""


@dataclass(frozen=True)
class IngredientsConfig:
    """Measure what each ingredient of the masks is worth on real photos."""

    real_val: Path
    """Folder of real crops (no_mask/ and wearing_mask/) that judge every run."""
    faces: str = "demo"
    """Bare faces to train on: demo, lfw, or a folder of photos."""
    aligned: Literal["auto", "yes", "no"] = "auto"
    """Are the photos tight face crops already? As in masktrain.prepare."""
    limit: int = 1500
    """Faces to train on; 0: all there are."""
    epochs: int = RECIPE.epochs
    """Passes over the training crops."""
    seeds: int = 3
    """Runs of each arm; more seeds may be added later."""
    arms: tuple[str, ...] = ()
    """Rows of the table to make; none named: all of them."""
    model: Architecture = RECIPE.model
    """Network, from random weights."""
    parallel: int = 0
    """Runs side by side, one thread each; 0: one for each core. Never changes a result on a CPU."""
    device: str = "auto"
    """auto (cuda if there is one), cpu, cuda, cuda:1, mps ..."""
    output: Path = Path("reports/ingredients")
    """Folder for the result of each run and the table; a command with the same one goes on."""
    data: Path = Path("data/ingredients")
    """Folder for the prepared crops; what it lacks is made again."""

    def __post_init__(self) -> None:
        """Check the values; raise ValueError naming the field, the rule and the value."""
        for name, least in (("limit", 0), ("epochs", 1), ("seeds", 1), ("parallel", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")
        keys = [arm.key for arm in ARMS]
        for key in self.arms:
            if key not in keys:
                raise ValueError(f"arms must be among {', '.join(keys)}, got {key}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0; 1 on an error, with one line on stderr; 130 after Ctrl-C; 143 after SIGTERM.
    """
    return run_command(
        "ingredients", lambda: _run(argv), "the same command goes on after the finished runs"
    )


def _run(argv: Sequence[str] | None) -> int:
    config = tyro.cli(IngredientsConfig, args=argv, prog="python -m masktrain.ingredients")
    written = write_report(config, measure(config))
    print(written.read_text(encoding="utf-8"))
    print(f"written to {written}")
    return 0


def measure(config: IngredientsConfig) -> list[ArmRun]:
    """Train every run that has not finished yet.

    Returns:
        All runs, by seed, then by arm; each has its result.json.

    Raises:
        IngredientsError: the output folder holds runs with other settings.
        ValueError, OSError, RuntimeError: faces, photos or a device that cannot be used; a loss
            that is not finite.
    """
    _check_settings(config)
    runs = list_runs(config)
    todo = [run for run in runs if not run.result.is_file()]
    for arm in dict.fromkeys(run.arm for run in todo):
        _prepare(config, arm)
    finished = len(runs) - len(todo)
    for run in _side_by_side(todo, config.parallel or os.cpu_count() or 1):
        finished += 1
        print(f"{finished}/{len(runs)} {_result_line(read_result(run))}", flush=True)
    return runs


def list_runs(config: IngredientsConfig) -> list[ArmRun]:
    """Return every run of the table: all arms with one seed, then with the next."""
    arms = [arm for arm in ARMS if not config.arms or arm.key in config.arms]
    return [
        ArmRun(
            arm,
            recipe(
                arm,
                seed,
                _data_folder(config, arm),
                real_val=config.real_val,
                epochs=config.epochs,
                model=config.model,
                device=config.device,
            ),
            config.output / f"{arm.key}-seed{seed}",
        )
        for seed in range(config.seeds)
        for arm in arms
    ]


def read_result(run: ArmRun) -> Mapping[str, Any]:
    """Read the result.json of a finished run.

    Raises:
        IngredientsError: it is damaged, or another arm's.
    """
    try:
        record: Mapping[str, Any] = json.loads(run.result.read_text(encoding="utf-8"))
        found = (record["arm"], record["seed"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise IngredientsError(f"{run.result} is damaged ({error}); delete it") from None
    if found != (run.arm.name, run.config.seed):
        raise IngredientsError(f"{run.result} is of another run; delete it")
    return record


def write_report(config: IngredientsConfig, runs: Sequence[ArmRun]) -> Path:
    """Write the table, its runs and its plot; return the path of the table."""
    from masktrain.ingredient_table import read_table

    table = read_table([(run.arm, read_result(run)) for run in runs], _settled(config))
    return table.write(config.output)


def _settled(config: IngredientsConfig) -> dict[str, Any]:
    values = {name: getattr(config, name) for name in SETTLED}
    return values | {"real_val": config.real_val.as_posix()}


def _check_settings(config: IngredientsConfig) -> None:
    """Note the settings in a new output folder; refuse those that its runs do not share."""
    from masktrain.prepare import DATA_VERSION
    from masktrain.run_folder import write_json

    if not config.real_val.is_dir():
        raise IngredientsError(f"no folder {config.real_val}: give real crops with --real-val")
    path = config.output / "config.json"
    now = _settled(config) | {"data_version": DATA_VERSION}
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        for name, value in now.items():
            if before.get(name) != value:
                raise IngredientsError(
                    f"{config.output} holds runs with {name} {before.get(name)}, not {value}; "
                    "give another --output"
                )
        return
    write_json(path, now)


def _data_folder(config: IngredientsConfig, arm: Arm) -> Path:
    name = "-".join(["no", *arm.without]) if arm.without else BASE
    return config.data / (f"{name}-wear" if arm.classes == 3 else name)


def _prepare(config: IngredientsConfig, arm: Arm) -> None:
    """Prepare the faces with the masks of an arm; all of them are trained on, real ones judge."""
    from masktrain.prepare import prepare

    prepare(
        PrepareConfig(
            faces=config.faces,
            aligned=config.aligned,
            limit=config.limit,
            val_share=0.0,
            test_share=0.0,
            without=arm.without,
            wear=arm.classes == 3,
            output=_data_folder(config, arm),
        )
    )


def _side_by_side(runs: Sequence[ArmRun], processes: int) -> Iterator[ArmRun]:
    """Yield runs as they finish; end those in progress when stopped."""
    if min(processes, len(runs)) <= 1:
        yield from map(run_arm, runs)
        return
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        min(processes, len(runs)), mp_context=context, initializer=_start_worker
    )
    try:
        for done in as_completed([pool.submit(run_arm, run) for run in runs]):
            yield done.result()
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    import cv2

    cv2.setNumThreads(1)
    # Ctrl-C is the parent's to answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _result_line(record: Mapping[str, Any]) -> str:
    auc, balanced = record["roc_auc"]["value"], record["balanced_accuracy"]["value"]
    return (
        f"{record['arm']} seed {record['seed']}: AUC {auc:.4f}, "
        f"balanced accuracy {balanced:.4f}, {record['time_s']:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
