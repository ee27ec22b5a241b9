"""Boxes are found again by class and overlap, in both directions, whichever place they have."""

from __future__ import annotations

import numpy as np
import pytest

from tests.families.boxes import FoundAgain, detections, found_again


def boxes(*rows: tuple) -> np.ndarray:
    return np.array([rows], np.float32)


FIRST, SECOND = (0, 0.9, 0, 0, 10, 10), (1, 0.8, 20, 20, 30, 30)
NONE = (-1, -1, -1, -1, -1, -1)


def test_the_same_boxes_in_another_order_are_found_both_ways() -> None:
    assert found_again(boxes(FIRST, SECOND, NONE), boxes(NONE, SECOND, FIRST)) == FoundAgain(2, 2, 2)


@pytest.mark.parametrize(
    "row",
    [(2, 0.8, 20, 20, 30, 30), (1, 0.8, 26, 20, 36, 30), (1, 0.39, 20, 20, 30, 30)],
    ids=["another class", "another place", "less than half of the score"],
)
def test_what_is_not_the_same_is_not_found(row: tuple) -> None:
    assert found_again(boxes(FIRST, SECOND), boxes(FIRST, row)).of_fp32 == 1


def test_only_the_surest_are_looked_for_among_all() -> None:
    assert found_again(boxes(FIRST, SECOND), boxes(SECOND, (3, 0.95, 0, 0, 1, 1), FIRST), surest=1) == (1, 0, 1)
    assert found_again(boxes(FIRST, NONE), boxes(NONE, NONE)) == (0, 0, 0)


def test_three_outputs_are_one_table() -> None:
    kinds, scores, places = np.array([[0.0, 1.0]]), np.array([[[0.9], [0.8]]]), boxes(FIRST, SECOND)[..., 2:]
    np.testing.assert_allclose(detections([kinds, scores, places]), boxes(FIRST, SECOND))
