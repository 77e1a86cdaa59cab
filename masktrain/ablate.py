"""What each choice is worth: ``python -m masktrain.ablate PLAN --real-val DIR``.

A plan (`plans.py`) is a base training and arms that each change one thing. Every arm is trained
with a few seeds and judged on real photos. Finished runs are kept: the same command goes on where
it was stopped, on another machine too if the output folder came along (it holds no photo). Writes
ablation.md, ablation.csv and ablation.png. Without a plan it says which there are.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from MaskTheFace.commands import run_command
from masktrain.arms import ArmRun, run_arm
from masktrain.config import Architecture, PrepareConfig, TrainConfig, WandbMode
from masktrain.plans import PLANS, Arm

SETTLED = ("plan", "faces", "aligned", "real_val", "limit", "epochs", "model")
"""Settings that all runs of an output folder share; none: as the plan says."""


class AblationError(ValueError):
    """A table that cannot be made; the message says what to do."""


@dataclass(frozen=True)
class AblateConfig:
    """Measure what each choice is worth on real photos."""

    plan: Annotated[str, tyro.conf.Positional] = ""
    """Which table to make; none named: list them."""
    real_val: Path | None = None
    """Folder of real crops (no_mask/ and wearing_mask/) that judge every run."""
    faces: str = "demo"
    """Bare faces to train on: demo, lfw, or a folder of photos."""
    aligned: Literal["auto", "yes", "no"] = "auto"
    """Are the photos tight face crops already? As in masktrain.prepare."""
    limit: int | None = None
    """Faces to train on, where the plan's own number does not suit."""
    epochs: int | None = None
    """Passes over the training crops, where the plan's own number does not suit."""
    model: Architecture | None = None
    """Network, where the plan's own does not suit."""
    seeds: int = 3
    """Runs of each arm; more seeds may be added later."""
    arms: tuple[str, ...] = ()
    """Rows of the table to make; none named: all of them."""
    parallel: int = 0
    """Runs side by side, one thread each; 0: one for each core. Never changes a result on a CPU."""
    device: str = "auto"
    """auto (cuda if there is one), cpu, cuda, cuda:1, mps ..."""
    wandb: WandbMode = "off"
    """Weights & Biases, as in masktrain.train; the plan is the group."""
    output: Path = Path("runs/ablations")
    """Folder for <plan>/: the result of each run and the table."""
    runs: Path = Path("runs/ablations/curves")
    """Folder for the curves of each run."""
    data: Path = Path("data/ablations")
    """Folder for the prepared crops; what it lacks is made again."""

    def __post_init__(self) -> None:
        """Check the values; raise ValueError naming the field, the rule and the value."""
        for name, least in (("limit", 1), ("epochs", 1), ("seeds", 1), ("parallel", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be >= {least}, got {value}")
        if self.plan and self.plan not in PLANS:
            raise ValueError(f"plan must be among {', '.join(PLANS)}, got {self.plan}")
        keys = [arm.key for arm in PLANS[self.plan].arms] if self.plan else []
        for key in self.arms:
            if key not in keys:
                raise ValueError(f"arms must be among {', '.join(keys)}, got {key}")

    @property
    def folder(self) -> Path:
        """Where the results and the table of the plan are."""
        return self.output / self.plan


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0; 1 on an error, with one line on stderr; 130 after Ctrl-C; 143 after SIGTERM.
    """
    return run_command(
        "ablate", lambda: _run(argv), "the same command goes on after the finished runs"
    )


def _run(argv: Sequence[str] | None) -> int:
    config = tyro.cli(AblateConfig, args=argv, prog="python -m masktrain.ablate")
    if not config.plan:
        print(describe_plans(config.output))
        return 0
    written = write_report(config, measure(config))
    print(written.read_text(encoding="utf-8"))
    print(f"written to {written}")
    return 0


def describe_plans(output: Path) -> str:
    """Return what plans there are, their size, and how many of their runs are done."""
    lines = []
    for plan in PLANS.values():
        done = len(list((output / plan.name).glob("*/result.json")))
        state = f"{done} runs done" if done else "not run"
        lines.append(f"{plan.name}: {plan.title.lower()}; {plan.limit:,} faces; {state}")
        lines += [f"    {arm.key:20} {arm.change}" for arm in plan.arms]
    return "\n".join(lines)


def measure(config: AblateConfig) -> list[ArmRun]:
    """Train every run that has not finished yet.

    Returns:
        All runs, by seed, then by arm; each has its result.json.

    Raises:
        AblationError: the output folder holds runs with other settings.
        ValueError, OSError, RuntimeError: faces, photos or a device that cannot be used; a loss
            that is not finite.
    """
    _check_settings(config)
    runs = list_runs(config)
    todo = [run for run in runs if not run.result.is_file()]
    for masks in dict.fromkeys(_masks(config, run) for run in todo):
        _prepare(masks)
    finished = len(runs) - len(todo)
    for run in _side_by_side(todo, config.parallel or os.cpu_count() or 1):
        finished += 1
        print(f"{finished}/{len(runs)} {_result_line(read_result(run))}", flush=True)
    return runs


def list_runs(config: AblateConfig) -> list[ArmRun]:
    """Return every run of the table: all arms with one seed, then with the next."""
    return [
        ArmRun(arm, _training(config, arm, seed), config.folder / f"{arm.key}-seed{seed}")
        for seed in range(config.seeds)
        for arm in chosen_arms(config)
    ]


def chosen_arms(config: AblateConfig) -> list[Arm]:
    """Return the rows of the table."""
    arms = PLANS[config.plan].arms
    return [arm for arm in arms if not config.arms or arm.key in config.arms]


def _training(config: AblateConfig, arm: Arm, seed: int) -> TrainConfig:
    """Return how an arm is trained; the command's own settings go before those of the base."""
    base = PLANS[config.plan].base.train
    changes: dict[str, Any] = {}
    for name in ("epochs", "model"):
        given = getattr(config, name)
        if given is not None and getattr(arm.train, name) == getattr(base, name):
            changes[name] = given
    return replace(
        arm.train,
        **changes,
        seed=seed,
        data=_data_folder(config, arm),
        real_val=config.real_val,
        device=config.device,
        runs=config.runs,
        wandb=config.wandb,
        wandb_group=config.plan,
    )


def _masks(config: AblateConfig, run: ArmRun) -> PrepareConfig:
    """Return how the faces of a run are prepared."""
    masks = run.arm.masks
    return replace(
        masks,
        faces=config.faces,
        aligned=config.aligned,
        limit=masks.limit or config.limit or PLANS[config.plan].limit,
        output=run.config.data,
    )


def _data_folder(config: AblateConfig, arm: Arm) -> Path:
    """Return where the crops of an arm are: arms with the same masks share them."""
    arms = PLANS[config.plan].arms
    first = next(other for other in arms if other.masks == arm.masks)
    return config.data / config.plan / first.key


def _prepare(masks: PrepareConfig) -> None:
    from masktrain.prepare import prepare

    prepare(masks)


def read_result(run: ArmRun) -> Mapping[str, Any]:
    """Read the result.json of a finished run.

    Raises:
        AblationError: it is damaged, or another arm's.
    """
    try:
        record: Mapping[str, Any] = json.loads(run.result.read_text(encoding="utf-8"))
        found = (record["arm"], record["seed"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AblationError(f"{run.result} is damaged ({error}); delete it") from None
    if found != (run.arm.name, run.config.seed):
        raise AblationError(f"{run.result} is of another run; delete it")
    return record


def write_report(config: AblateConfig, runs: Sequence[ArmRun]) -> Path:
    """Write the table, its runs and its plot; return the path of the table."""
    from masktrain.ablation_table import read_table

    found = [(run.arm, read_result(run)) for run in runs]
    return read_table(PLANS[config.plan], found, _settled(config)).write(config.folder)


def _settled(config: AblateConfig) -> dict[str, Any]:
    values = {name: getattr(config, name) for name in SETTLED}
    return values | {"real_val": config.real_val.as_posix() if config.real_val else None}


def _check_settings(config: AblateConfig) -> None:
    """Note the settings in a new output folder; refuse those that its runs do not share."""
    from masktrain.prepare import DATA_VERSION
    from masktrain.run_folder import write_json

    if config.real_val is None or not config.real_val.is_dir():
        raise AblationError(f"no folder {config.real_val}: give real crops with --real-val")
    path = config.folder / "config.json"
    base = PLANS[config.plan].base.train
    now = _settled(config) | {"data_version": DATA_VERSION, "recipe": base.to_dict()}
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        if TrainConfig.from_dict(before.get("recipe", {})) == base:
            before["recipe"] = now["recipe"]  # settings that are new since have their usual value
        for name, value in now.items():
            if before.get(name) != value:
                raise AblationError(
                    f"{config.folder} holds runs with {name} {before.get(name)}, not {value}; "
                    "give another --output"
                )
        return
    write_json(path, now)


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
