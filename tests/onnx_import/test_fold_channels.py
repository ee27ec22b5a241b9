"""Constants per channel behind a convolution become part of it, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import onnx
import pytest
from onnx import helper

from mxquant.onnx_import.fold_channels import fold_channels
from tests.networks import images
from tests.onnx_import.test_reader import IMAGE, check, model_of, node, weights

CONV = node("Conv", "x", "w", outputs=("a",), pads=[1, 1, 1, 1])
BIASED = node("Conv", "x", "w", "b", outputs=("a",), pads=[1, 1, 1, 1])
W, B, C = weights(6, 4, 3, 3), weights(6), weights(1, 6, 1, 1)


def left(nodes: List[Any], **constants: np.ndarray) -> List[str]:
    model = model_of(nodes, w=W, **constants)
    fold_channels(onnx, model.graph)
    return [each.op_type for each in model.graph.node]


FOLDED: Dict[str, Any] = {
    "a bias": ([CONV, node("Add", "a", "c")], {"c": C}),
    "a bias on the left": ([CONV, node("Add", "c", "a")], {"c": C[0]}),
    "a second bias": ([BIASED, node("Add", "a", "c")], {"b": B, "c": C}),
    "a factor": ([BIASED, node("Mul", "a", "c")], {"b": B, "c": C}),
    "a factor without a bias": ([CONV, node("Mul", "a", "c")], {"c": C}),
    "a number": ([CONV, node("Mul", "a", "c")], {"c": np.float32(3)}),
    "a factor, then a bias, then a factor": (
        [
            CONV,
            node("Mul", "a", "c", outputs=("m",)),
            node("Add", "m", "c", outputs=("s",)),
            node("Mul", "s", "d"),
        ],
        {"c": C, "d": weights(6, 1, 1)},
    ),
    "a Constant": (
        [helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(C)), CONV, node("Add", "a", "c")],
        {},
    ),
}


@pytest.mark.parametrize("name", FOLDED)
def test_it_becomes_part_of_the_convolution(name: str, tmp_path: Path) -> None:
    nodes, constants = FOLDED[name]
    assert set(left(nodes, **constants)) <= {"Conv", "Constant"}
    check(model_of(nodes, w=W, **constants), tmp_path, images(*IMAGE))


KEPT: Dict[str, Any] = {
    "one number for each column": ([CONV, node("Add", "a", "c")], {"c": weights(10)}),
    "one number for each place": ([CONV, node("Add", "a", "c")], {"c": weights(1, 6, 9, 10)}),
    "something else reads the convolution": (
        [CONV, node("Add", "a", "c", outputs=("s",)), node("Mul", "s", "a")],
        {"c": C},
    ),
    "the other operand is computed": ([CONV, node("Add", "a", "a")], {}),
    "no convolution": ([node("Relu", "x", outputs=("a",)), node("Mul", "a", "c")], {"c": weights(1, 4, 1, 1)}),
}


@pytest.mark.parametrize("name", KEPT)
def test_everything_else_stays(name: str, tmp_path: Path) -> None:
    nodes, constants = KEPT[name]
    assert left(nodes, **constants) == [each.op_type for each in nodes]
    check(model_of(nodes, w=W, **constants), tmp_path, images(*IMAGE))


def test_weights_that_two_convolutions_share_stay_those_of_the_other(tmp_path: Path) -> None:
    nodes = [
        CONV,
        node("Mul", "a", "c", outputs=("m",)),
        node("Conv", "x", "w", outputs=("other",), pads=[1, 1, 1, 1]),
        node("Add", "m", "other"),
    ]
    assert left(nodes, c=C) == ["Conv", "Conv", "Add"]
    check(model_of(nodes, w=W, c=C), tmp_path, images(*IMAGE))
