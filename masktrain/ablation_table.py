"""The table of an ablation from the results of its runs: Markdown, CSV and a plot; no torch.

Convention: an arm's number is the mean over its seeds, with Student's 95 % interval; a difference
is an arm minus the first one, taken seed by seed; p is of the paired t-test, after Holm's
correction for the number of arms (S. Holm, Scandinavian Journal of Statistics 6(2), 1979).
"""

from __future__ import annotations

import csv
import io
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MaskTheFace.images import write_bytes
from masktrain.config import FULL_PX
from masktrain.metrics import Interval, holm, mean_interval, paired_p
from masktrain.plans import Arm, Plan

MEASURES = {
    "roc_auc": "ROC-AUC",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}
Result = Mapping[str, Any]


@dataclass(frozen=True)
class AblationTable:
    """Every run of the table, and what they share.

    Args:
        plan: what was to be trained.
        arms: those that were, in the order of the rows.
        results: what result.json holds, by arm, then by seed.
        settings: what the command was told, by the names of its flags.
    """

    plan: Plan
    arms: tuple[Arm, ...]
    results: Mapping[str, Mapping[int, Result]]
    settings: Mapping[str, Any]

    def values(self, arm: str, measure: str) -> dict[int, float]:
        """Return a measure of an arm by seed."""
        return {seed: found[measure]["value"] for seed, found in self.results[arm].items()}

    def mean(self, arm: str, measure: str) -> Interval:
        """Return the mean of an arm over its seeds."""
        return mean_interval(list(self.values(arm, measure).values()))

    def difference(self, arm: str, measure: str) -> Interval:
        """Return how much higher an arm is than the first, over the seeds that both have."""
        return mean_interval(self._differences_of(arm, measure))

    def chances(self, measure: str) -> dict[str, float]:
        """Return p of each arm but the first: how easily chance alone would make it differ so."""
        others = [arm.name for arm in self.arms if arm.name != self.plan.base.name]
        p = [paired_p(self._differences_of(arm, measure)) for arm in others]
        return dict(zip(others, holm(p), strict=True))

    def _differences_of(self, arm: str, measure: str) -> list[float]:
        here, base = self.values(arm, measure), self.values(self.plan.base.name, measure)
        return [here[seed] - base[seed] for seed in here if seed in base]

    def write(self, folder: Path) -> Path:
        """Write ablation.md, .csv and .png into a folder; return the path of the first.

        Raises:
            OSError: a file cannot be written.
        """
        from masktrain.figures import arms_figure, save_figure

        folder.mkdir(parents=True, exist_ok=True)
        panels = {
            MEASURES[name]: [
                (self.mean(arm.name, name), list(self.values(arm.name, name).values()))
                for arm in self.arms
            ]
            for name in ("roc_auc", "balanced_accuracy")
        }
        figure = arms_figure([arm.name for arm in self.arms], panels)
        save_figure(figure, folder / "ablation.png")
        write_bytes(folder / "ablation.csv", self.csv().encode())
        write_bytes(folder / "ablation.md", self.markdown().encode())
        return folder / "ablation.md"

    def csv(self) -> str:
        """Return one row for each run."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        plain = ("training_crops", "n_wearing_mask", "n_no_mask", "loss", "time_s")
        writer.writerow(("arm", "seed", *MEASURES, *plain))
        for arm in self.arms:
            for seed, found in self.results[arm.name].items():
                numbers = [f"{found[name]['value']:.6f}" for name in MEASURES]
                writer.writerow((arm.name, seed, *numbers, *(found[name] for name in plain)))
        return text.getvalue()

    def markdown(self) -> str:
        """Return the table for people, with what it was measured on and how to make it again."""
        parts = [self._head(), self._means()]
        if self.plan.base in self.arms and len(self.arms) > 1:
            parts.append(self._differences())
        return "\n\n".join([*parts, "![Each seed of each arm.](ablation.png)", self._foot()]) + "\n"

    def _head(self) -> str:
        first = next(iter(self.results[self.arms[0].name].values()))
        seeds = max(len(found) for found in self.results.values())
        settings, usual = self.settings, self.plan.base.train
        weights = {"none": "random weights", "imagenet": "ImageNet weights"}[usual.init]
        side = "" if usual.first_px == FULL_PX else f" (crops of {usual.first_px} px first)"
        return (
            f"# {self.plan.title}\n\n"
            f"{settings['model'] or usual.model} from {weights}, {first['training_crops']:,} crops "
            f"of {settings['faces']} (masked by MaskTheFace), {settings['epochs'] or usual.epochs} "
            f"epochs{side} of {usual.optimizer} at {usual.lr:g}, batch {usual.batch_size}; "
            f"{seeds} seeds; arms differ in what their row says. Judged on real photos "
            f"({settings['real_val']}: {first['n_wearing_mask']:,} masked, "
            f"{first['n_no_mask']:,} bare) after the last epoch, at threshold 0.5: no epoch and "
            "no threshold was chosen.\n\n"
            "Means over the seeds with Student's 95 % interval. The interval is about training "
            "again on the same faces, not about other photos."
        )

    def _means(self) -> str:
        rows = []
        for arm in self.arms:
            cells = [self.mean(arm.name, name).cell() for name in MEASURES]
            found = self.results[arm.name].values()
            # Arms have the same faces, but not each mask of each arm can be put on each of them.
            crops = " / ".join(f"{n:,}" for n in sorted({run["training_crops"] for run in found}))
            rows.append([f"`{arm.name}`", arm.change, crops, str(len(found)), *cells])
        return _markdown_table(["arm", "what it is", "crops", "runs", *MEASURES.values()], rows)

    def _differences(self) -> str:
        base = self.plan.base.name
        p = {name: self.chances(name) for name in MEASURES}
        rows = []
        for arm in self.arms:
            if arm.name != base:
                cells = [
                    f"{self.difference(arm.name, name).cell('+')}{_p_cell(p[name][arm.name])}"
                    for name in MEASURES
                ]
                rows.append([f"`{arm.name}`", *cells])
        return (
            f"Difference to `{base}`, seed by seed (an interval that holds 0 shows nothing); p of "
            "the paired t-test, corrected for the number of arms by Holm's method:\n\n"
            + _markdown_table(["arm", *MEASURES.values()], rows)
        )

    def _foot(self) -> str:
        found = [result for by_seed in self.results.values() for result in by_seed.values()]
        commits = sorted({str(result["environment"]["git_commit"])[:8] for result in found})
        minutes = sum(result["time_s"] for result in found) / 60
        seeds = 1 + max(seed for by_seed in self.results.values() for seed in by_seed)
        given = {name: value for name, value in self.settings.items() if value is not None}
        flags = [str(given.pop("plan"))]
        for name, value in given.items():
            flags += [f"--{name.replace('_', '-')}", str(value)]
        flags += ["--seeds", str(seeds), "--arms", *(arm.key for arm in self.arms)]
        return (
            f"Every run is a row of ablation.csv. {len(found)} trainings took {minutes:.0f} "
            f"minutes of one thread each; code at commit {', '.join(commits)}:\n\n"
            f"```\npython -m masktrain.ablate {shlex.join(flags)}\n```"
        )


def read_table(
    plan: Plan, found: Sequence[tuple[Arm, Result]], settings: Mapping[str, Any]
) -> AblationTable:
    """Return the table of these results.

    Raises:
        ValueError: the runs were not judged on the same photos.
    """
    judged = {(result["n_wearing_mask"], result["n_no_mask"]) for _, result in found}
    if len(judged) > 1:
        raise ValueError("the runs were judged on different photos; start with another --output")
    results: dict[str, dict[int, Result]] = {}
    for arm, result in found:
        results.setdefault(arm.name, {})[result["seed"]] = result
    return AblationTable(plan, tuple(dict.fromkeys(arm for arm, _ in found)), results, settings)


def _p_cell(p: float) -> str:
    if math.isnan(p):
        return ""
    return ", p < .001" if p < 0.001 else f", p {p:.3f}"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
