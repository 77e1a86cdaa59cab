"""Figures show the numbers they are given, the same bytes every time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from masktrain import figures
from masktrain.metrics import Scores, calibration_points, evaluate_scores, roc_points


def make_scores(separation: float = 1.0, n: int = 200, seed: int = 0) -> Scores:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    logits = rng.normal(size=n) + separation * (2 * labels - 1)
    return Scores(labels, 1 / (1 + np.exp(-logits)), 0.4)


ONE_CLASS = Scores(np.ones(6, np.int64), np.linspace(0.1, 0.9, 6), 0.4)
HISTORY = {
    "epoch": np.arange(4.0),
    "lr": np.array([0.0, 0.01, 0.005, 0.001]),
    "train/loss": np.array([np.nan, 0.5, 0.4, 0.3]),
    "val/loss": np.array([0.7, 0.6, 0.5, 0.45]),
    "val/accuracy": np.array([0.5, 0.7, 0.8, 0.85]),
    "val/auc": np.array([0.5, 0.8, 0.9, 0.95]),
    "real_val/accuracy": np.array([0.5, 0.6, 0.7, 0.8]),
    "real_val/balanced_accuracy": np.array([0.5, 0.55, 0.65, 0.75]),
}
DRAWINGS: dict[str, Callable[[], Figure]] = {
    "training_curves": lambda: figures.training_curves(HISTORY),
    "roc": lambda: figures.roc_figure([("a", make_scores()), ("b", make_scores(2))]),
    "fan": lambda: figures.roc_fan([0, 1, 2], [make_scores(s) for s in (0, 1, 2)]),
    "pr": lambda: figures.pr_figure([("a", make_scores())]),
    "confusion": lambda: figures.confusion_figure(evaluate_scores(make_scores())),
    "calibration": lambda: figures.calibration_figure([("a", make_scores())]),
    "grid": lambda: figures.image_grid([np.full((8, 8, 3), 99, np.uint8)] * 3, ["x"] * 3, 2),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_drawn_twice_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    first = figures.save_figure(DRAWINGS[name](), tmp_path / "1.png", dpi=50)
    again = figures.save_figure(DRAWINGS[name](), tmp_path / "2.png", dpi=50)
    assert first.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("name", DRAWINGS)
def test_axes_that_carry_data_are_labelled(name: str) -> None:
    for ax in DRAWINGS[name]().axes:
        if ax.axison and ax.get_label() not in ("<colorbar>", "inset_axes"):
            shared = ax.get_shared_x_axes().get_siblings(ax)
            assert any(one.get_xlabel() for one in shared) and ax.get_ylabel()


def test_drawing_touches_no_global_state() -> None:
    from matplotlib import pyplot

    for draw in DRAWINGS.values():
        draw()
    assert pyplot.get_fignums() == []


def test_training_curves_say_where_the_crops_grow() -> None:
    epochs = HISTORY["epoch"]
    sides = np.where(epochs < epochs[-1], 64.0, 112.0)
    for ax in figures.training_curves({**HISTORY, "side_px": sides}).axes:
        assert [text.get_text() for text in ax.texts] == ["112 px"]
        assert ax.texts[0].get_position()[0] == epochs[-1] - 0.5
    same = figures.training_curves({**HISTORY, "side_px": np.full(len(epochs), 112.0)})
    assert not any(ax.texts for ax in same.axes)


def test_training_curves_hold_every_known_value_of_the_history() -> None:
    loss, accuracy, auc, lr = figures.training_curves(HISTORY).axes
    train, val = loss.lines
    assert np.array_equal(train.get_xdata(), [1, 2, 3])  # epoch 0 trains nothing
    assert np.array_equal(train.get_ydata(), HISTORY["train/loss"][1:])
    assert np.array_equal(val.get_ydata(), HISTORY["val/loss"])
    names = [line.get_label() for line in accuracy.lines]
    assert names == ["val", "real_val", "real_val, balanced"]
    assert np.array_equal(auc.lines[0].get_ydata(), HISTORY["val/auc"])
    assert np.array_equal(lr.lines[0].get_ydata(), HISTORY["lr"])


def test_a_history_of_one_epoch_can_be_seen() -> None:
    figure = figures.training_curves({key: column[:1] for key, column in HISTORY.items()})
    line = figure.axes[0].lines[0]
    assert line.get_marker() != "None" and line.get_markersize() > 0
    assert figure.axes[0].get_xlim() == (-0.5, 0.5)


def test_a_roc_figure_plots_the_points_of_the_metric_and_names_the_area() -> None:
    scores, points = make_scores(), roc_points(make_scores())
    line = figures.roc_figure([("demo", scores)]).axes[0].lines[0]
    assert np.array_equal(line.get_xdata(), points.fpr)
    assert np.array_equal(line.get_ydata(), points.tpr)
    assert line.get_label() == f"demo: AUC {scores.auc:.4f}"


def test_a_nearly_perfect_curve_gets_a_closer_look_with_the_same_points() -> None:
    figure = figures.roc_figure([("demo", make_scores(2.5))])
    ax = figure.axes[0]
    (inset,) = ax.child_axes
    assert np.array_equal(inset.lines[0].get_xydata(), ax.lines[0].get_xydata())
    assert not figures.roc_figure([("demo", make_scores(0.5))]).axes[0].child_axes


def test_a_fan_has_one_curve_per_epoch_and_its_colours_follow_the_epochs() -> None:
    ax = figures.roc_fan([0, 1, 5], [make_scores(s) for s in (0, 0.5, 1)]).axes[0]
    curves = ax.lines[:3]
    assert curves[0].get_color() == figures.EPOCH_COLORS(0.0)
    assert curves[1].get_color() == figures.EPOCH_COLORS(0.2)
    assert curves[2].get_color() == figures.EPOCH_COLORS(1.0)
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text().split(":")[0] for text in legend.get_texts()] == ["epoch 0", "epoch 5"]


def test_a_fan_of_one_epoch_is_a_curve() -> None:
    assert len(figures.roc_fan([0], [make_scores()]).axes[0].lines) == 2  # and the diagonal


def test_the_area_named_in_the_pr_figure_is_the_metrics() -> None:
    scores = make_scores()
    legend = figures.pr_figure([("demo", scores)]).axes[0].get_legend()
    assert legend is not None
    area = evaluate_scores(scores).pr_auc.value
    assert legend.get_texts()[0].get_text() == f"demo: PR-AUC {area:.4f}"


def test_a_confusion_figure_shows_truth_in_rows_and_prediction_in_columns() -> None:
    e = evaluate_scores(make_scores(0.3))
    ax = figures.confusion_figure(e, title="demo").axes[0]
    counts = {text.get_position(): text.get_text().splitlines()[0] for text in ax.texts}
    assert counts == {(0, 0): f"{e.tn}", (1, 0): f"{e.fp}", (0, 1): f"{e.fn}", (1, 1): f"{e.tp}"}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")


def test_a_calibration_figure_plots_the_points_of_the_metric() -> None:
    scores, points = make_scores(), calibration_points(make_scores())
    ax, below = figures.calibration_figure([("demo", scores)]).axes
    (bars,) = ax.containers
    assert isinstance(bars, ErrorbarContainer)
    drawn = bars.lines[0]
    assert np.array_equal(drawn.get_xdata(), points.predicted)
    assert np.array_equal(drawn.get_ydata(), points.observed)
    (stairs,) = below.patches
    assert isinstance(stairs, StepPatch)
    assert stairs.get_data()[0].sum() == scores.labels.size


@pytest.mark.filterwarnings("error")
def test_one_class_is_drawn_with_a_note_instead_of_a_curve() -> None:
    curves = [("demo", ONE_CLASS)]
    drawn = (
        figures.roc_figure(curves),
        figures.pr_figure(curves),
        figures.roc_fan([0], [ONE_CLASS]),
    )
    for figure in drawn:
        assert "only one class" in figure.axes[0].texts[0].get_text()
    confusion = figures.confusion_figure(evaluate_scores(ONE_CLASS)).axes[0]
    assert [text.get_text() for text in confusion.texts][:2] == ["no faces", "no faces"]
    figures.calibration_figure(curves)


def test_figures_draw_on_the_axes_they_are_given() -> None:
    figure, panels = figures.side_by_side(4, (3, 3))
    curves = [("demo", make_scores())]
    assert figures.roc_figure(curves, panels[0]) is figure
    assert figures.pr_figure(curves, panels[1]) is figure
    assert figures.confusion_figure(evaluate_scores(make_scores()), panels[2]) is figure
    assert figures.calibration_figure(curves, panels[3]) is figure
    assert all(ax.has_data() for ax in panels)


def test_a_grid_shows_every_image_with_its_own_caption_unchanged() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(5)]
    axes = figures.image_grid(images, [f"face {i}" for i in range(5)], columns=3).axes
    assert len(axes) == 6
    for index, image in enumerate(images):
        assert np.array_equal(np.asarray(axes[index].images[0].get_array()), image)
        assert axes[index].get_title() == f"face {index}"
    assert not axes[5].images


def test_an_empty_grid_is_an_empty_figure() -> None:
    assert not figures.image_grid([], [], columns=4).axes[0].images
