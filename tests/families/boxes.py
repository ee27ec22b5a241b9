"""Which boxes of a detector are found again: those that it is surest of, by what it finds with other arithmetic.

Scores of random networks lie next to one another, so no threshold has the same boxes on both sides. Instead the boxes
of the highest scores on one side are looked for among all boxes on the other side that have half of the least of these
scores: same class, intersection over union of at least one half, each taken once. Both sides take turns.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple, Sequence

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "example"))

from ssd_gluoncv import Detections, matched

__all__ = ["SUREST", "FoundAgain", "detections", "found_again"]

SUREST = 20
LEAST_OVERLAP = 0.5


class FoundAgain(NamedTuple):
    """How many of the surest boxes of fp32 int8 has, how many of int8's fp32 has, and how many were looked for."""

    of_fp32: int
    of_int8: int
    looked_for: int


def detections(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Return class, score and box of all that a detector returns, shape (images, boxes, 6).

    Parameters
    ----------
    outputs : sequence of numpy.ndarray
        One of that shape, or classes, scores and boxes.
    """
    if len(outputs) == 1:
        return outputs[0]
    images = len(outputs[0])
    kinds, scores, boxes = (each.reshape(images, -1, width) for each, width in zip(outputs, (1, 1, 4)))
    return np.concatenate([kinds, scores, boxes], axis=2)


def found_again(fp32: np.ndarray, int8: np.ndarray, surest: int = SUREST) -> FoundAgain:
    """Return how many of the surest boxes in each image both sides have.

    Parameters
    ----------
    fp32, int8 : numpy.ndarray
        Of :func:`detections`.
    surest : int
        How many boxes of each image are looked for; fewer where either side has fewer.
    """
    counts = np.zeros(3, int)
    for one, other in zip(fp32, int8):
        most = min(surest, *(int((each[:, 0] >= 0).sum()) for each in (one, other)))
        if most:
            counts += (_found(one, other, most), _found(other, one, most), most)
    return FoundAgain(*map(int, counts))


def _found(row: np.ndarray, other: np.ndarray, most: int) -> int:
    least = float(np.sort(np.where(row[:, 0] >= 0, row[:, 1], -np.inf))[-most])
    wanted = Detections.of(row, least)
    first = np.argsort(-wanted.scores, kind="stable")[:most]
    wanted = Detections(wanted.classes[first], wanted.scores[first], wanted.boxes[first])
    return len(matched(wanted, Detections.of(other, least / 2), LEAST_OVERLAP))
