"""From arrays to matplotlib figures: nothing is read, nothing is shown, no global state.

``python -m masktrain.figures RUN --style paper`` writes those of a run as vector files: `paper`.

Every function returns a `Figure`; those with an ``ax`` draw on it when it is given. Colours are
Okabe and Ito's, or viridis for an order, so that they hold for colour-blind readers and in print.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from masktrain.metrics import (
    Evaluation,
    Interval,
    Scores,
    calibration_points,
    pr_points,
    roc_points,
)
from masktrain.multiclass import CLASSES, ClassEvaluation
from masktrain.resampling import Band
from masktrain.slices import Slices

Curves = Sequence[tuple[str, Scores]]
Array = NDArray[Any]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#666666"
SERIES = {"train": (GREY, "o"), "val": (PALETTE[0], "s"), "real_val": (PALETTE[1], "^")}
PANELS = (
    ("loss", "loss (nats per face)"),
    ("accuracy", "accuracy at threshold 0.5"),
    ("auc", "ROC-AUC"),
)
# The yellow end of viridis cannot be seen on white.
EPOCH_COLORS = LinearSegmentedColormap.from_list(
    "epochs", colormaps["viridis"](np.linspace(0, 0.9, 64))
)
# Above this area the curves meet in the corner, and only a closer look tells them apart.
_ZOOM_FROM_AUC = 0.97
_ONE_CLASS = "only one class present:\nno curve"


def save_figure(figure: Figure, path: Path, dpi: int = 120) -> Path:
    """Write a figure as PNG; the same figure always gives the same bytes.

    Raises:
        OSError: the file cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    path.write_bytes(buffer.getvalue())
    return path


def training_curves(history: Mapping[str, Array]) -> Figure:
    """Draw loss, accuracy, ROC-AUC and learning rate against the epoch.

    Args:
        history: columns of results.csv, each (E,); nan where an epoch has no value.
    """
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    epochs = np.asarray(history["epoch"])
    for ax, (metric, label) in zip(panels, PANELS, strict=False):
        for series, (color, marker) in SERIES.items():
            if (values := history.get(f"{series}/{metric}")) is not None:
                _series(ax, epochs, values, series, color, marker)
        ax.set_ylabel(label)
    if (values := history.get("real_val/balanced_accuracy")) is not None:
        color, marker = SERIES["real_val"]
        _series(panels[1], epochs, values, "real_val, balanced", color, marker, linestyle="--")
    if (values := history.get("lr")) is not None:
        _series(panels[3], epochs, values, "learning rate", PALETTE[2], "o")
    panels[3].set_ylabel("learning rate")
    for ax in panels:
        ax.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        _finish_epoch_axis(ax)
        if (sides := history.get("side_px")) is not None:
            _mark_sides(ax, epochs, sides)
    return figure


def _mark_sides(ax: Axes, epochs: Array, sides: Array) -> None:
    """Mark where the crops grow: numbers on either side of a line are of different crops."""
    across = ax.get_xaxis_transform()
    for epoch in epochs[1:][np.diff(sides) > 0]:
        side_px = sides[epochs == epoch][0]
        ax.vlines(epoch - 0.5, 0, 1, transform=across, colors=GREY, linestyles=":", linewidth=1)
        text = ax.text(epoch - 0.5, 1.01, f"{side_px:.0f} px", transform=across)
        text.set(fontsize=7, color=GREY)


def roc_figure(curves: Curves, ax: Axes | None = None, bands: Sequence[Band | None] = ()) -> Figure:
    """Draw ROC curves, each with its area; a curve without both classes is named as missing.

    Args:
        curves: names and scores.
        ax: where to draw; by default a new figure.
        bands: the 95 % band of each curve, or nothing.
    """
    figure, ax = _axes(ax, (5.6, 5.4))
    _shade(ax, curves, bands)
    drawn = [(label, scores) for label, scores in curves if scores.both_classes]
    for index, (label, scores) in enumerate(drawn):
        _roc_line(ax, scores, PALETTE[index % 7], label=f"{label}: AUC {scores.auc:.4f}")
    _finish_roc(ax, [scores.auc for _, scores in drawn])
    return figure


def roc_fan(epochs: Sequence[int], scores: Sequence[Scores], ax: Axes | None = None) -> Figure:
    """Draw one ROC curve per epoch, coloured by epoch; the first and the last are named.

    Args:
        epochs: the number of each epoch, rising.
        scores: what the model said after each of them.
        ax: where to draw; by default a new figure.
    """
    figure, ax = _axes(ax, (6.6, 5.4))
    norm = Normalize(min(epochs), max(max(epochs), min(epochs) + 1))
    named = {epochs[0], epochs[-1]}
    drawn = [(e, s) for e, s in zip(epochs, scores, strict=True) if s.both_classes]
    for epoch, one in drawn:
        label = f"epoch {epoch}: AUC {one.auc:.4f}" if epoch in named else None
        width = 2.2 if epoch == epochs[-1] else 1.0
        _roc_line(ax, one, EPOCH_COLORS(norm(epoch)), label=label, linewidth=width)
    _finish_roc(ax, [one.auc for _, one in drawn])
    bar = figure.colorbar(ScalarMappable(norm, EPOCH_COLORS), ax=ax, label="epoch", shrink=0.8)
    bar.locator = MaxNLocator(integer=True)
    bar.update_ticks()
    return figure


def pr_figure(curves: Curves, ax: Axes | None = None, bands: Sequence[Band | None] = ()) -> Figure:
    """Draw precision-recall curves; a dotted line is what guessing gives on the same faces.

    Args:
        curves: names and scores.
        ax: where to draw; by default a new figure.
        bands: the 95 % band of each curve, or nothing.
    """
    figure, ax = _axes(ax, (5.6, 5.4))
    _shade(ax, curves, bands)
    drawn = [(label, scores) for label, scores in curves if scores.both_classes]
    for index, (label, scores) in enumerate(drawn):
        points, color = pr_points(scores), PALETTE[index % 7]
        # The area of this staircase is the average precision: each threshold adds a step of recall.
        area = -float(np.sum(np.diff(points.recall) * points.precision[:-1]))
        text = f"{label}: PR-AUC {area:.4f}"
        ax.step(points.recall, points.precision, where="post", color=color, lw=1.6, label=text)
        guess = None if index else "guessing: the share of masks"
        ax.axhline(float(np.mean(scores.labels)), color=color, lw=1, ls=":", label=guess)
    ax.set(xlabel="recall", ylabel="precision")
    _finish_square(ax)
    _legend_or_note(ax, bool(drawn), "lower left")
    return figure


def _shade(ax: Axes, curves: Curves, bands: Sequence[Band | None]) -> None:
    """Shade the band of each curve that is drawn, in its colour."""
    drawn = [band for (_, scores), band in zip(curves, bands, strict=False) if scores.both_classes]
    for index, band in enumerate(drawn):
        if band is not None:
            color = PALETTE[index % 7]
            ax.fill_between(band.x, band.low, band.high, color=color, alpha=0.18, lw=0)


def slices_figure(slices: Slices) -> Figure:
    """Draw the share told right of each slice with its 95 % interval, beside that of all faces."""
    rows = slices.rows
    figure = Figure(figsize=(7.2, 1.2 + 0.24 * max(len(rows), 4)), layout="constrained")
    ax = figure.subplots()
    ax.axvspan(slices.right.low, slices.right.high, color=GREY, alpha=0.2, lw=0)
    ax.axvline(slices.right.value, color=GREY, lw=1, label=f"all {slices.n:,} faces")
    facts = list(dict.fromkeys(row.fact for row in rows))
    for place, row in enumerate(rows):
        right, color = row.right, PALETTE[facts.index(row.fact) % 6]
        reach = [[right.value - right.low], [right.high - right.value]]
        ax.errorbar(right.value, place, xerr=reach, fmt="o", ms=4, lw=1.4, color=color, capsize=2)
    ax.set_yticks(range(len(rows)), [f"{row.fact}: {row.value} ({row.n:,})" for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("share told right")
    ax.tick_params(axis="y", labelsize=8)
    ax.grid(axis="x", alpha=0.3)
    ax.legend(fontsize=9, loc="lower left")
    return figure


def confusion_figure(
    evaluation: Evaluation | ClassEvaluation, ax: Axes | None = None, title: str = ""
) -> Figure:
    """Draw the counts of each true and said class, with their shares of the true class."""
    if isinstance(evaluation, ClassEvaluation):
        return _counts_figure(np.array(evaluation.confusion), ax, title)
    counts = np.array([[evaluation.tn, evaluation.fp], [evaluation.fn, evaluation.tp]])
    at = f"threshold {evaluation.threshold:.2f}"
    return _counts_figure(counts, ax, f"{title}, {at}" if title else at)


def _counts_figure(counts: Array, ax: Axes | None, title: str) -> Figure:
    side = 1.2 * len(counts)
    figure, ax = _axes(ax, (2.4 + side, 2 + side))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        text = f"{count:,}\n{share:.1%}" if counts[row].sum() else "no faces"
        color = "white" if share > 0.5 else "black"
        ax.text(column, row, text, ha="center", va="center", color=color, fontsize=12)
    places, names = list(range(len(counts))), CLASSES[: len(counts)]
    size = 10 if len(counts) == 2 else 8
    ax.set(xlabel="predicted", ylabel="true", xticks=places, yticks=places)
    ax.set_xticklabels(names, fontsize=size)
    ax.set_yticklabels(names, rotation=90, va="center", fontsize=size)
    ax.set_title(title, fontsize=10)
    return figure


def calibration_figure(curves: Curves, ax: Axes | None = None, bins: int = 10) -> Figure:
    """Draw how often faces of a given score do wear a mask, with 95 % intervals.

    Without an ``ax`` a second panel shows how many faces each bin of scores holds.
    """
    if ax is None:
        figure = Figure(figsize=(5.6, 6.4), layout="constrained")
        ax, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
        _score_counts(below, curves, bins)
    else:
        figure = _axes(ax, (0, 0))[0]
        ax.set_xlabel("score (predicted probability)")
    ax.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":", label="perfect")
    for index, (label, scores) in enumerate(curves):
        at, color = calibration_points(scores, bins), PALETTE[index % 7]
        reach = np.stack([at.observed - at.low, at.high - at.observed])
        ax.errorbar(
            at.predicted, at.observed, reach, color=color, marker="osD^"[index % 4], ms=5,
            lw=1.4, capsize=2, label=f"{label}: n = {scores.labels.size:,}",
        )  # fmt: skip
    ax.set_ylabel("observed share")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.grid(alpha=0.3)
    ax.legend(fontsize=9)
    return figure


def arms_figure(
    names: Sequence[str], panels: Mapping[str, Sequence[tuple[Interval, Sequence[float]]]]
) -> Figure:
    """Draw the arms of an experiment below each other: every run, their mean and its interval.

    Args:
        names: one for each arm, from the top; the first is what the others are compared with.
        panels: by measure, for each arm the mean with its interval and the runs behind it.
    """
    figure = Figure(figsize=(4.6 * len(panels), 1.2 + 0.45 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False).ravel()
    rows = np.arange(len(names))
    for ax, (measure, arms) in zip(axes, panels.items(), strict=True):
        for row, (mean, runs) in zip(rows, arms, strict=True):
            color = PALETTE[0] if row == 0 else PALETTE[1]
            ax.plot(runs, np.full(len(runs), row), "o", color=GREY, ms=4, alpha=0.6, zorder=3)
            ax.plot(mean.value, row, "D", color=color, ms=6, zorder=2)
            if math.isfinite(mean.low):
                ax.hlines(row, mean.low, mean.high, color=color, lw=2)
        ax.axvline(arms[0][0].value, color=PALETTE[0], lw=1, ls=":")
        ax.set(xlabel=f"{measure}, mean and 95 % interval over runs")
        ax.ticklabel_format(axis="x", useOffset=False)
        ax.grid(alpha=0.3, axis="x")
    axes[0].set_yticks(rows, list(names))
    axes[0].invert_yaxis()
    return figure


def image_grid(images: Sequence[Array], titles: Sequence[str], columns: int = 8) -> Figure:
    """Draw captioned images, row by row.

    Args:
        images: each (H, W, 3) uint8 RGB.
        titles: one caption for each; may be empty.
        columns: images in a row.
    """
    columns = max(1, min(columns, len(images)))
    rows = max(1, math.ceil(len(images) / columns))
    lines = 1 + max((title.count("\n") for title in titles), default=0)
    size = (1.5 * columns, (1.5 + 0.16 * lines) * rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in panels:
        ax.set_axis_off()
    for ax, image, title in zip(panels, images, titles, strict=False):
        ax.imshow(image, interpolation="nearest")
        ax.set_title(title, fontsize=8, pad=2)
    return figure


def network_figure(stages: Sequence[tuple[str, str, tuple[int, ...], int]], size_px: int) -> Figure:
    """Draw a network as a row of blocks: tall is a large picture, wide are many channels.

    Args:
        stages: name, description, shape that leaves it, parameters, in order.
        size_px: side of the picture that enters.
    """
    shown = [("input", "", (3, size_px, size_px), 0), *stages]
    figure = Figure(figsize=(max(8.0, 1.15 * len(shown)), 4.4), layout="constrained")
    ax = figure.subplots()
    most = max(math.log2(shape[0] + 1) for _, _, shape, _ in shown)
    at = 0.0
    for place, (name, _, shape, parameters) in enumerate(shown):
        side = shape[1] if len(shape) == 3 else 1
        height = 0.12 + 0.88 * side / size_px
        width = 0.16 + 0.5 * math.log2(shape[0] + 1) / most
        color = GREY if place == 0 else PALETTE[(place - 1) % 6]
        ax.add_patch(Rectangle((at, -height / 2), width, height, facecolor=color, alpha=0.85))
        ax.text(at + width / 2, 0.56, name, ha="center", va="bottom", fontsize=9, weight="bold")
        text = " x ".join(map(str, shape)) + (f"\n{_millions(parameters)}" if parameters else "")
        ax.text(at + width / 2, -0.56, text, ha="center", va="top", fontsize=8)
        if place:
            ax.annotate("", (at - 0.02, 0), (at - 0.3, 0), arrowprops={"arrowstyle": "->"})
        at += width + 0.34
    ax.set(xlim=(-0.2, at), ylim=(-0.85, 0.75))
    ax.set_axis_off()
    return figure


def _millions(count: int) -> str:
    if count >= 100_000:
        return f"{count / 1e6:.2f} M"
    return f"{count / 1e3:.1f} k"


def sectioned_grid(sections: Mapping[str, Sequence[tuple[Array, str]]], columns: int = 6) -> Figure:
    """Draw pictures with captions, in sections below each other.

    Args:
        sections: by title, (H, W, 3) uint8 RGB pictures and their captions.
        columns: pictures side by side.
    """
    rows = [max(1, math.ceil(len(items) / columns)) for items in sections.values()]
    lines = [
        max((1 + text.count("\n") for _, text in items), default=0) for items in sections.values()
    ]
    # A picture, its caption in lines of 8 points, and above them all the heading.
    heights = [count * (1.9 + 0.16 * most) + 0.4 for count, most in zip(rows, lines, strict=True)]
    figure = Figure(figsize=(1.9 * columns, sum(heights)), dpi=100)
    figure.set_layout_engine("constrained")
    parts = np.atleast_1d(np.asarray(figure.subfigures(len(rows), 1, height_ratios=heights)))
    for part, (title, items), count in zip(parts, sections.items(), rows, strict=True):
        part.suptitle(title, fontsize=12, x=0.01, ha="left")
        panels = part.subplots(count, columns, squeeze=False).ravel()
        for ax in panels:
            ax.axis("off")
        for ax, (image, caption) in zip(panels, items, strict=False):
            ax.imshow(image)
            ax.set_title(caption, fontsize=8)
    return figure


def side_by_side(count: int, panel_size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` panels in a row, each of the given size in inches."""
    width, height = panel_size
    figure = Figure(figsize=(width * count, height), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False).ravel())


def _axes(ax: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    if ax is None:
        figure = Figure(figsize=size, layout="constrained")
        return figure, figure.subplots()
    return cast(Figure, ax.get_figure(root=True)), ax


def _series(
    ax: Axes, epochs: Array, values: Array, label: str, color: str, marker: str, **style: Any
) -> None:
    known = np.isfinite(values)
    if known.any():
        # Markers show a lone point, and would hide a long line.
        size = 4 if len(epochs) <= 25 else 0
        ax.plot(
            epochs[known], values[known], color=color, marker=marker, ms=size, label=label, **style
        )


def _finish_epoch_axis(ax: Axes) -> None:
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.ticklabel_format(axis="y", useOffset=False)
    ax.grid(alpha=0.3)
    if len(ax.lines) > 1:
        ax.legend(fontsize=9)


def _roc_line(ax: Axes, scores: Scores, color: Any, **style: Any) -> None:
    points = roc_points(scores)
    ax.plot(points.fpr, points.tpr, color=color, **{"linewidth": 1.6, **style})


def _finish_roc(ax: Axes, areas: Sequence[float]) -> None:
    if max(areas, default=0) >= _ZOOM_FROM_AUC:
        inset = ax.inset_axes((0.42, 0.32, 0.5, 0.5), xlim=(0, 0.1), ylim=(0.9, 1.002))
        for line in ax.lines:
            inset.plot(*line.get_data(), color=line.get_color(), lw=line.get_linewidth())
        inset.tick_params(labelsize=7)
        for text in (*inset.get_xticklabels(), *inset.get_yticklabels()):
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8})
        inset.grid(alpha=0.3)
        inset.set_in_layout(False)
        ax.indicate_inset_zoom(inset, edgecolor="black", alpha=0.4).set_in_layout(False)
    ax.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":", zorder=0)
    ax.set(xlabel="false positive rate", ylabel="true positive rate")
    _finish_square(ax)
    _legend_or_note(ax, bool(areas), "lower right")


def _finish_square(ax: Axes) -> None:
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    ax.grid(alpha=0.3)


def _legend_or_note(ax: Axes, anything: bool, place: Literal["lower left", "lower right"]) -> None:
    if anything:
        ax.legend(loc=place, fontsize=9)
    else:
        ax.text(0.5, 0.6, _ONE_CLASS, ha="center", va="center")


def _score_counts(ax: Axes, curves: Curves, bins: int) -> None:
    edges = np.linspace(0, 1, bins + 1)
    for index, (_, scores) in enumerate(curves):
        counts = np.histogram(scores.scores, edges)[0]
        ax.stairs(counts, edges, color=PALETTE[index % 7], lw=1.6, baseline=0.5)
    ax.set_yscale("log")
    ax.set(xlabel="score (predicted probability)", ylabel="faces")
    ax.set_ylim(0.5, max(20.0, ax.get_ylim()[1]))
    ax.grid(alpha=0.3)


if __name__ == "__main__":
    from masktrain.paper import main

    sys.exit(main())
