"""The ingredient table from the results of its runs: Markdown, CSV and a plot; no torch.

Convention: an arm's number is the mean over its seeds, with Student's 95 % interval; a difference
is an arm minus `all`, taken seed by seed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MaskTheFace.images import write_bytes
from masktrain.arms import BASE, RECIPE, Arm
from masktrain.metrics import Interval, mean_interval

MEASURES = {
    "roc_auc": "ROC-AUC",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}
Result = Mapping[str, Any]


@dataclass(frozen=True)
class IngredientTable:
    """Every run of the table, and what they share.

    Args:
        arms: in the order of the rows.
        results: what result.json holds, by arm, then by seed.
        settings: faces, limit, epochs, model and real_val.
    """

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
        """Return how much higher an arm is than `all`, over the seeds that both have."""
        here, base = self.values(arm, measure), self.values(BASE, measure)
        return mean_interval([here[seed] - base[seed] for seed in here if seed in base])

    def write(self, folder: Path) -> Path:
        """Write ingredients.md, .csv and .png into a folder; return the path of the first.

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
        save_figure(figure, folder / "ingredients.png")
        write_bytes(folder / "ingredients.csv", self.csv().encode())
        write_bytes(folder / "ingredients.md", self.markdown().encode())
        return folder / "ingredients.md"

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
        if any(arm.name == BASE for arm in self.arms) and len(self.arms) > 1:
            parts.append(self._differences())
        return "\n\n".join([*parts, "![](ingredients.png)", self._foot()]) + "\n"

    def _head(self) -> str:
        first = next(iter(self.results[self.arms[0].name].values()))
        seeds = max(len(found) for found in self.results.values())
        settings = self.settings
        return (
            "# What each ingredient of the masks is worth\n\n"
            f"{settings['model']} from random weights, {first['training_crops']:,} crops of "
            f"{settings['faces']} (masked by MaskTheFace), {settings['epochs']} "
            f"epochs of {RECIPE.optimizer} at {RECIPE.lr:g}, batch {RECIPE.batch_size}; "
            f"{seeds} seeds. Judged on real photos "
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
            runs = len(self.results[arm.name])
            rows.append([f"`{arm.name}`", arm.change, str(runs), *cells])
        return _markdown_table(["arm", "masks", "runs", *MEASURES.values()], rows)

    def _differences(self) -> str:
        rows = []
        for arm in self.arms:
            if arm.name != BASE:
                cells = [self.difference(arm.name, name).cell("+") for name in MEASURES]
                rows.append([f"`{arm.name}`", *cells])
        return (
            f"Difference to `{BASE}`, seed by seed (an interval that holds 0 shows nothing):\n\n"
            + _markdown_table(["arm", *MEASURES.values()], rows)
        )

    def _foot(self) -> str:
        found = [result for by_seed in self.results.values() for result in by_seed.values()]
        commits = sorted({str(result["environment"]["git_commit"])[:8] for result in found})
        minutes = sum(result["time_s"] for result in found) / 60
        seeds = 1 + max(seed for by_seed in self.results.values() for seed in by_seed)
        flags = [f"--{name.replace('_', '-')} {value}" for name, value in self.settings.items()]
        flags += [f"--seeds {seeds}", f"--arms {' '.join(arm.key for arm in self.arms)}"]
        return (
            f"Every run is a row of ingredients.csv. {len(found)} trainings took {minutes:.0f} "
            f"minutes of one thread each; code at commit {', '.join(commits)}:\n\n"
            f"```\npython -m masktrain.ingredients {' '.join(flags)}\n```"
        )


def read_table(found: Sequence[tuple[Arm, Result]], settings: Mapping[str, Any]) -> IngredientTable:
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
    return IngredientTable(tuple(dict.fromkeys(arm for arm, _ in found)), results, settings)


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
