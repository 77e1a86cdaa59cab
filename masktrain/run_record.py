"""A run folder as reports read it: every file once, every number from a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from masktrain.config import SETTINGS
from masktrain.metrics import Interval
from masktrain.run_folder import WEIGHTS, is_best


class ContentError(ValueError):
    """A file of a run that cannot be used; the message names it."""


@dataclass(frozen=True)
class RunRecord:
    """A run folder and what else a report tells.

    Attributes:
        folder: the run.
        ablations: folder with <plan>/ablation.md.
    """

    folder: Path
    ablations: Path

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Settings of the run."""
        return self.read("config.json")

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        """Machine, versions, commit and command; empty where the run does not say."""
        return self.read("env.json") if (self.folder / "env.json").is_file() else {}

    @property
    def commits(self) -> str:
        """The code that trained it: one commit, or, where it was resumed with others, all."""
        parts = (self.environment, *self.environment.get("resumed", ()))
        return ", then ".join(
            dict.fromkeys(str(part.get("git_commit") or "unknown") for part in parts)
        )

    @cached_property
    def data(self) -> Mapping[str, Any]:
        """What it learned from: folder, crops, sources; empty where the run does not say."""
        return self.read("data.json") if (self.folder / "data.json").is_file() else {}

    @cached_property
    def prepared(self) -> Mapping[str, Any]:
        """Settings that its faces were prepared with; empty where the run does not say."""
        return self.read(SETTINGS) if (self.folder / SETTINGS).is_file() else {}

    @property
    def drawn(self) -> bool:
        """Whether its files say that MaskTheFace drew every mask that it learned from."""
        by_us = bool(self.prepared) or self.config.get("masks") == "online"
        return by_us and self.config.get("init") in ("none", "imagenet")

    @cached_property
    def evaluations(self) -> Mapping[str, Mapping[str, Any]]:
        """metrics.json of every set of faces, by its name: as `in_order` has them."""
        paths = sorted(self.folder.glob("eval/*/metrics.json"))
        return in_order(
            {path.parent.name: self.read(path.relative_to(self.folder)) for path in paths}
        )

    @cached_property
    def history(self) -> Sequence[Mapping[str, str]]:
        """Rows of results.csv."""
        with (self.folder / "results.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @property
    def headline(self) -> str | None:
        """Name of the real faces that chose nothing, a test by its name first; or None.

        They were shown to the best weights and tell masks from none; where they chose the epoch,
        a threshold or a temperature, they are not it.
        """
        free = [
            name
            for name, found in self.evaluations.items()
            if found["split"] is None
            and is_best(Path(found.get("weights", WEIGHTS[0])))
            and mask_or_none(found).get("roc_auc", {}).get("value") is not None
            and not self._chose(name, found)
        ]
        return next(iter(free), None)  # tests come first: see `evaluations`

    def _chose(self, name: str, found: Mapping[str, Any]) -> bool:
        """Return whether the faces of an evaluation had a say in what is judged."""
        real_val = Path(self.config.get("real_val") or "").name
        if not real_val or real_val not in (name, Path(found.get("data", "")).name):
            return False
        if self.config.get("select") == "real_val":
            return True
        judged = self.evaluations.values()
        chosen = [mask_or_none(one).get("threshold_from", "") for one in judged]
        chosen += [one.get("calibration", {}).get("temperature_from") or "" for one in judged]
        return any("real_val" in how for how in chosen)

    def read(self, name: Path | str) -> Mapping[str, Any]:
        """Return a JSON file of the run, by its path in the folder.

        Raises:
            ContentError: it is missing or damaged.
        """
        path = self.folder / name
        try:
            record: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ContentError(f"{self.folder} has no {name}: give a run folder") from None
        except ValueError as error:
            raise ContentError(f"{path} is damaged: {error}") from None
        return record


def in_order(evaluations: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Return evaluations in the order to read them: tests first, faces with drawn masks last."""

    def place(name: str) -> tuple[bool, bool, str]:
        return evaluations[name]["split"] is not None, "test" not in name, name

    return {name: evaluations[name] for name in sorted(evaluations, key=place)}


def mask_or_none(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the numbers of mask or none in a metrics.json; empty where a class is missing."""
    two: Mapping[str, Any] = (found["two_classes"] or {}) if "classes" in found else found
    return two


def cell(interval: Mapping[str, float | None]) -> str:
    """Return a stored estimate with its interval, as text."""
    return "unknown" if interval["value"] is None else Interval.stored(interval).cell()
