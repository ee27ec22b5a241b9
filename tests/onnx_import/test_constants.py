"""What is computed of constants alone: by NumPy, and by the evaluator of onnx where it is rare."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest
from onnx import TensorProto

from tests.networks import images
from tests.onnx_import.models import check, model_of, node, whole

SHAPE = (2, 4, 6, 6)
TABLE = np.random.RandomState(1).randn(1, 4, 3, 3).astype(np.float32)
ROW = np.float32([-2.5, -0.5, 0.25, 1.5, 2.5, 3])


def real(x: float) -> np.ndarray:
    return np.asarray(x, np.float32)


# Nodes from constants to 'c', which is added to the data.
CONSTANTS: Dict[str, Tuple[List[Any], Dict[str, Any]]] = {
    "a range": ([node("Range", "a", "b", "s", outputs=("c",))], {"a": real(0.5), "b": real(6.1), "s": real(1)}),
    "a range that falls, of whole numbers": (
        [node("Range", "a", "b", "s", outputs=("i",)), node("Cast", "i", outputs=("c",), to=1)],
        {"a": np.int64(9), "b": np.int64(-3), "s": np.int64(-2)},
    ),
    **{
        op: ([node(op, "a", outputs=("c",))], {"a": ROW})
        for op in ("Neg", "Abs", "Floor", "Ceil", "Round", "Sign", "Exp", "Reciprocal", "Sin", "Cos")
    },
    "Log": ([node("Log", "a", outputs=("c",))], {"a": np.abs(ROW)}),
    "Pow": ([node("Pow", "a", "b", outputs=("c",))], {"a": np.abs(ROW), "b": real(1.5)}),
    "Pow of whole numbers": (
        [node("Pow", "a", "b", outputs=("p",)), node("Cast", "p", outputs=("c",), to=1)],
        {"a": whole(1, 2, 3, -4, 5, 0), "b": np.int64(3)},
    ),
    "Mod": (
        [node("Mod", "a", "b", outputs=("m",)), node("Cast", "m", outputs=("c",), to=1)],
        {"a": whole(-7, 7, 5, -5, 0, 3), "b": whole(3, -3, 4, 4, 2, 2)},
    ),
    **{
        f"{op} of all": ([node(op, "a", outputs=("c",), keepdims=0)], {"a": TABLE})
        for op in ("ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceMean")
    },
    "ReduceProd of an axis": ([node("ReduceProd", "a", outputs=("c",), axes=[3])], {"a": np.tile(TABLE, (1, 1, 2, 1))}),
    "Resize, cubic": (
        [node("Resize", "a", "", "s", outputs=("c",), mode="cubic")],
        {"a": TABLE, "s": np.float32([1, 1, 2, 2])},
    ),
    "Tile": ([node("Tile", "a", "t", outputs=("c",))], {"a": TABLE, "t": whole(2, 1, 2, 2)}),
    "Split": (
        [node("Split", "a", outputs=("l", "c", "r"), axis=3)],
        {"a": np.random.RandomState(2).randn(1, 4, 6, 3).astype(np.float32)},
    ),
    "Pad": ([node("Pad", "a", "p", outputs=("c",))], {"a": TABLE, "p": whole(0, 0, 1, 2, 0, 0, 2, 1)}),
    "MatMul": (
        [node("MatMul", "a", "b", outputs=("c",))],
        {"a": TABLE[0, 0].repeat(2, 0), "b": TABLE[0, 1].repeat(2, 1)},
    ),
    "CumSum": ([node("CumSum", "a", "x0", outputs=("c",))], {"a": ROW, "x0": np.int64(0)}),
    "Erf": ([node("Erf", "a", outputs=("c",))], {"a": ROW}),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_what_constants_become_is_what_onnx_runtime_makes_of_them(name: str, tmp_path: Path) -> None:
    nodes, constants = CONSTANTS[name]
    model = model_of([*nodes, node("Add", "x", "c")], SHAPE, **constants)
    network = check(model, tmp_path, images(*SHAPE))
    # Nothing is left of them but the sum.
    assert len(network.symbol.get_internals().list_outputs()) <= 3


def test_positions_that_follow_from_the_size_of_images_need_it(tmp_path: Path) -> None:
    """Anchors of detectors: Shape, Gather, Range."""
    nodes = [
        *(node("Shape", "x", outputs=("s",)), node("Gather", "s", "w", outputs=("n",))),
        *(node("Range", "zero", "n", "one", outputs=("i",)), node("Cast", "i", outputs=("c",), to=TensorProto.FLOAT)),
        node("Mul", "x", "c"),
    ]
    constants = {"w": np.int64(3), "zero": np.int64(0), "one": np.int64(1)}
    check(model_of(nodes, ("n", 4, "h", "w"), **constants), tmp_path, images(*SHAPE), input_shapes=SHAPE)


def test_a_shape_that_onnx_knows_by_name_only_is_that_of_the_given_input(tmp_path: Path) -> None:
    """A token in front, as in transformers: ONNX's inference gives the joined length a name, not a number."""
    nodes = [
        *(node("Shape", "x", outputs=("s",)), node("Slice", "s", "b", "e", outputs=("n",))),
        node("Concat", "n", "r", outputs=("c",), axis=0),
        *(node("Equal", "c", "minus", outputs=("is",)), node("Where", "is", "ones", "c", outputs=("z",))),
        node("Expand", "token", "z", outputs=("t",)),
        *(node("Concat", "t", "x", outputs=("j",), axis=1), node("Shape", "j", outputs=("k",))),
        *(node("Gather", "k", "b", outputs=("l",)), node("Gather", "k", "o", outputs=("m",))),
        *(node("Concat", "l", "m", "minus", outputs=("q",), axis=0), node("Reshape", "j", "q")),
    ]
    constants = {
        **{"b": whole(0), "e": whole(1), "o": whole(1), "r": whole(1, 6), "minus": whole(-1)},
        "ones": whole(1, 1, 1),
        "token": np.ones((1, 1, 6), np.float32),
    }
    data = images(2, 4, 6)
    check(model_of(nodes, ("n", "l", 6), **constants), tmp_path, data, input_shapes=data.shape)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
@pytest.mark.parametrize(
    ("shape", "pads"),
    [
        ((2, 4, 9), (0, 0, 2, 0, 0, 3)),
        ((2, 4, 9), (0, 1, 2, 0, 3, 0)),
        ((3, 9), (0, 4, 0, 1)),
        ((3, 9), (2, 0, 1, 0)),
        ((9,), (3, 2)),
        ((2, 4, 5, 6), (0, 1, 0, 2, 0, 2, 3, 0)),
        ((2, 4, 5, 6), (1, 0, 0, 0, 1, 0, 0, 0)),
        ((2, 4, 5, 6), (0, 0, 0, 0, 0, 0, 0, 0)),
    ],
)
def test_each_axis_can_be_padded(mode: str, shape: Tuple[int, ...], pads: Tuple[int, ...], tmp_path: Path) -> None:
    check(model_of([node("Pad", "x", "p", mode=mode)], shape, p=whole(*pads)), tmp_path, images(*shape))
