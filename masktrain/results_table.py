"""results.md: every set of faces a run was judged on, and the gap from drawn masks to others."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from masktrain.run_record import ContentError, in_order, mask_or_none

COLUMNS = {
    "roc_auc": "ROC-AUC",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}
CLASS_COLUMNS = {
    "balanced_accuracy": "macro recall",
    "recall of no_mask": "recall of no_mask",
    "recall of wearing_mask": "recall of wearing_mask",
    "recall of worn_incorrectly": "recall of worn_incorrectly",
    "two roc_auc": "ROC-AUC, mask or none",
    "two balanced_accuracy": "balanced accuracy, mask or none",
}
"""Of networks of three classes; for mask or none the third is put aside."""
USUAL = 0.5
AT_THRESHOLD = ("balanced_accuracy", "sensitivity", "specificity")
AT_THRESHOLD_OF_CLASSES = ("two balanced_accuracy",)


def results_table(run: Path) -> str:
    """Return every evaluation of a run as a Markdown table, with the gap to other faces.

    Args:
        run: a run folder; its eval/*/metrics.json are read.

    Returns:
        One row a set of faces, tests first and drawn masks, named so, last; each number with its
        95 % interval. Then, where prepared data (drawn masks) and other folders were measured, how
        much lower the others came out, with intervals, too. Numbers at thresholds other than 0.5
        are named as such, and no gap is told of numbers at different ones. Empty where nothing was
        evaluated.

    Raises:
        ContentError: a metrics.json is damaged.
    """
    records = in_order({path.parent.name: _read_metrics(path) for path in _metrics_files(run)})
    if not records:
        return ""
    columns = CLASS_COLUMNS if "classes" in next(iter(records.values())) else COLUMNS
    lines = [
        "| faces | n | " + " | ".join(columns.values()) + " |",
        "|---|---|" + "---|" * len(columns),
        *(_table_row(name, record, columns) for name, record in records.items()),
    ]
    lines += _other_thresholds(records)
    others = [name for name, record in records.items() if not record["split"]]
    drawn = [name for name in records if name not in others and not records[name].get("occluders")]
    for name in drawn if others else ():
        lines += ["", f"Lower than on {name} (drawn masks) by:", ""]
        lines += [
            "| faces | " + " | ".join(columns.values()) + " |",
            "|---|" + "---|" * len(columns),
        ]
        lines += [_gap_row(records[name], other, records[other], columns) for other in others]
    return "\n".join(lines) + "\n"


def _other_thresholds(records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say which rows are of a threshold that is not 0.5, and where it is from."""
    others = [
        f"{name}: {_threshold(record):.4g} ({mask_or_none(record).get('threshold_from', 'given')})"
        for name, record in records.items()
        if _threshold(record) != USUAL
    ]
    return (
        ["", f"Mask or none at thresholds other than {USUAL}: {'; '.join(others)}."]
        if others
        else []
    )


def _threshold(record: Mapping[str, Any]) -> float:
    return float(mask_or_none(record).get("threshold", USUAL))


def _metrics_files(run: Path) -> list[Path]:
    return sorted((run / "eval").glob("*/metrics.json"))


def _read_metrics(path: Path) -> Mapping[str, Any]:
    try:
        record: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = {f"recall of {row['name']}": row["recall"] for row in record.get("classes", ())}
        if found:
            two = record["two_classes"] or {key: {"value": None} for key in COLUMNS}
            found |= {f"two {name}": two[name] for name in ("roc_auc", "balanced_accuracy")}
        record = {**record, **found}
        columns = CLASS_COLUMNS if found else COLUMNS
        missing = [key for key in ("n", "split", *columns) if key not in record]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ContentError(f"{path} is damaged: {error}") from error
    if missing:
        raise ContentError(f"{path} is damaged: it has no {', '.join(missing)}")
    return record


def _table_row(name: str, record: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    cells = [_cell(record[key]) for key in columns]
    if record["split"]:
        name += " (drawn)"
    return f"| {name} | {record['n']:,} | " + " | ".join(cells) + " |"


def _cell(interval: Mapping[str, float | None]) -> str:
    if interval["value"] is None:
        return "-"
    if interval["low"] is None:
        return f"{interval['value']:.3f}"
    return f"{interval['value']:.3f} ({interval['low']:.3f}-{interval['high']:.3f})"


def _gap_row(
    drawn: Mapping[str, Any], name: str, real: Mapping[str, Any], columns: Mapping[str, str]
) -> str:
    from masktrain.metrics import Interval, difference

    apart = _threshold(drawn) != _threshold(real)
    at_threshold = AT_THRESHOLD if columns is COLUMNS else AT_THRESHOLD_OF_CLASSES
    gaps = [
        Interval(math.nan, math.nan, math.nan)
        if apart and key in at_threshold
        else difference(Interval.stored(drawn[key]), Interval.stored(real[key]))
        for key in columns
    ]
    cells = ["-" if math.isnan(gap.value) else gap.cell("+") for gap in gaps]
    return f"| {name} | " + " | ".join(cells) + " |"
