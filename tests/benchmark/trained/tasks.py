"""What an int8 network's outputs are worth to those who use them: figures up to 1, where fp32 is the truth."""

from __future__ import annotations

from typing import List, Sequence, Tuple

import numpy as np

__all__ = ["boxes_f1", "mask_iou", "same_class", "same_side", "yolov8_boxes", "yolox_boxes"]

Boxes = Tuple[np.ndarray, np.ndarray, np.ndarray]


def same_class(exact: np.ndarray, found: np.ndarray) -> float:
    """Return the share of rows with the same largest value."""
    return float((exact.argmax(axis=-1) == found.argmax(axis=-1)).mean())


def mask_iou(exact: np.ndarray, found: np.ndarray, level: float) -> float:
    """Return the intersection of what is above a level over the union."""
    first, second = exact > level, found > level
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.0


def same_side(exact: np.ndarray, found: np.ndarray, level: float) -> float:
    """Return the F1 score of what is above a level."""
    first, second = exact > level, found > level
    both = first.sum() + second.sum()
    return float(2 * (first & second).sum() / both) if both else 1.0


def boxes_f1(exact: Sequence[Boxes], found: Sequence[Boxes]) -> float:
    """Return the F1 score of boxes; one is right with the same class and an IoU of 0.5 with a box not taken yet."""
    right = total = 0
    for truth, answer in zip(exact, found):
        free = np.ones(len(truth[0]), bool)
        for box, kind in zip(answer[0], answer[2]):
            fit = _iou(box, truth[0]) * free * (truth[2] == kind)
            if len(fit) and fit.max() >= 0.5:
                free[int(fit.argmax())] = False
                right += 1
        total += len(truth[0]) + len(answer[0])
    return 2 * right / total if total else 1.0


def yolov8_boxes(output: np.ndarray, level: float = 0.25) -> List[Boxes]:
    """Return boxes, scores and classes of outputs of shape (N, 4 + classes, places), without overlaps."""
    found = []
    for each in output:
        centres, sizes, scores = each[:2].T, each[2:4].T, each[4:].T
        found.append(_suppressed(centres, sizes, scores, level))
    return found


def yolox_boxes(output: np.ndarray, size: int = 416, level: float = 0.1) -> List[Boxes]:
    """Return boxes, scores and classes of YOLOX: outputs of shape (N, places, 5 + classes), relative to cells."""
    grids, strides = [], []
    for stride in (8, 16, 32):
        cells = size // stride
        rows, columns = np.divmod(np.arange(cells * cells), cells)
        grids.append(np.stack([columns, rows], axis=1))
        strides.append(np.full((cells * cells, 1), stride))
    grid, stride = np.concatenate(grids), np.concatenate(strides)
    return [
        _suppressed((each[:, :2] + grid) * stride, np.exp(each[:, 2:4]) * stride, each[:, 4:5] * each[:, 5:], level)
        for each in output
    ]


def _suppressed(centres: np.ndarray, sizes: np.ndarray, scores: np.ndarray, level: float) -> Boxes:
    best, kinds = scores.max(axis=1), scores.argmax(axis=1)
    order = np.argsort(-best, kind="stable")
    order = order[best[order] >= level]
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
    kept: List[int] = []
    while len(order):
        first, order = order[0], order[1:]
        kept.append(int(first))
        order = order[(_iou(boxes[first], boxes[order]) < 0.45) | (kinds[order] != kinds[first])]
    return boxes[kept], best[kept], kinds[kept]


def _iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    both = np.clip(high - low, 0, None).prod(axis=1)
    areas = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.asarray(both / np.maximum(areas - both, 1e-12))
