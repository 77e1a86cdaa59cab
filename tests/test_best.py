"""Which epoch is kept."""

import csv
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masktrain.best import TIE, Best, best_of, better_of

NAN = math.nan


@pytest.mark.parametrize(
    ("epochs", "wanted"),
    [
        ([(0, 0.5, 0.7), (1, 0.9, 0.5), (2, 0.95, 0.6)], 2),  # the AUC comes first
        ([(1, 0.9967, 0.078), (2, 0.9963, 0.060), (3, 0.9966, 0.061)], 2),  # within a tie, the loss
        ([(1, 0.9967, 0.078), (2, 0.9956, 0.010)], 1),  # beyond a tie, no loss is low enough
        ([(1, 0.9, 0.5), (2, 0.9, 0.5)], 1),  # of equals the first
        ([(0, 0.4, 0.9), (1, NAN, 0.1)], 0),  # an epoch without an AUC is never better
        ([(0, NAN, 0.9), (1, 0.2, 2.0)], 1),
        ([(0, NAN, 0.9), (1, NAN, 0.3), (2, NAN, 0.4)], 1),  # one class only: the loss decides
        ([(0, 0.9, NAN), (1, 0.9, 0.5)], 1),
    ],
)
def test_which_epoch_is_kept(epochs: list[tuple[int, float, float]], wanted: int) -> None:
    assert best_of(epochs).epoch == wanted


def test_ties_are_with_the_highest_auc_so_that_they_do_not_add_up() -> None:
    # Each is within a tie of the one before, with a lower loss; the last is two ties down.
    best = best_of([(0, 0.99, 0.5), (1, 0.9892, 0.4), (2, 0.988, 0.3)])
    assert (best.epoch, best.peak_auc) == (1, 0.99)


def test_the_first_epoch_on_larger_crops_is_better_than_all_before() -> None:
    small, first, worse = (0, 0.99, 0.1, 64), (1, 0.9, 0.5, 80), (2, 0.8, 0.6, 80)
    assert best_of([small, first, worse]) == Best(1, 0.9, 0.5, 0.9, 80)
    assert best_of([small, first, worse, (3, 0.95, 0.4, 80)]).epoch == 3


def test_smaller_crops_after_larger_ones_change_nothing() -> None:
    # A run that judged all at the full size, gone on with by a version that does not.
    epochs = [(0, 0.8, 0.5, 112), (1, 0.99, 0.1, 64), (2, 0.9, 0.3, 112)]
    assert best_of(epochs[:2]) == Best(0, 0.8, 0.5, 0.8, 112)
    assert best_of(epochs).epoch == 2


def test_no_epoch_is_an_error() -> None:
    with pytest.raises(ValueError, match="no epoch"):
        best_of([])


def test_the_run_that_taught_the_rule_would_keep_a_later_epoch() -> None:
    with Path("reports/runs/utk3329/results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    values = [[float(row[f"real_val/{name}"]) for name in ("auc", "loss")] for row in rows]
    kept = best_of((int(row["epoch"]), *pair) for row, pair in zip(rows, values, strict=True))
    highest = max(rows, key=lambda row: float(row["real_val/auc"]))
    assert kept.auc > float(highest["real_val/auc"]) - TIE
    assert float(rows[kept.epoch]["real_val/accuracy"]) > float(highest["real_val/accuracy"])


@given(
    st.lists(st.tuples(st.floats(0, 1) | st.just(NAN), st.floats(0, 5) | st.just(NAN)), min_size=1),
    st.data(),
)
def test_going_on_after_a_stop_changes_nothing(
    values: list[tuple[float, float]], data: st.DataObject
) -> None:
    epochs = [(epoch, *pair) for epoch, pair in enumerate(values)]
    cut = data.draw(st.integers(1, len(epochs)))
    best = best_of(epochs[:cut])
    for epoch in epochs[cut:]:
        best = better_of(best, *epoch)
    whole = best_of(epochs)
    assert best.epoch == whole.epoch
    # What is kept is within a tie of the highest, or nothing higher ever came up.
    known = [auc for auc, _ in values if not math.isnan(auc)]
    assert not known or whole.auc >= max(known) - TIE
