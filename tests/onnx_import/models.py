"""ONNX models of a few nodes, and what MXNet makes of them beside ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import mxquant
from tests.networks import forward
from tests.onnx_export.runtimes import in_onnxruntime

IMAGE = (2, 4, 9, 10)

Shape = Tuple[Any, ...]


def node(op: str, *inputs: str, outputs: Tuple[str, ...] = ("y",), **attrs: Any) -> Any:
    return helper.make_node(op, list(inputs), list(outputs), f"the_{op}_{outputs[0]}", **attrs)


def model_of(nodes: List[Any], shape: Shape = IMAGE, opset: int = 13, **constants: np.ndarray) -> Any:
    """Return a model from x to y."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def read(model: Any, folder: Path, **options: Any) -> Any:
    onnx.save(model, str(folder / "net.onnx"))
    return mxquant.from_onnx(folder / "net.onnx", **options)


def check(model: Any, folder: Path, data: np.ndarray, **options: Any) -> Any:
    """Compare what MXNet computes with ONNX Runtime; return the network."""
    network = read(model, folder, **options)
    found = forward(*network, x=data)
    expected = in_onnxruntime(model, x=data)
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())
    return network


def whole(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, np.int64)


REGIONS = {"r": np.float32([[1, 2, 7, 5], [-3, 0, 12, 8], [0.5, 0.5, 0.75, 0.75]]), "i": whole(1, 0, 1)}


def real(*nodes: Any) -> List[Any]:
    """Return nodes whose result y was made real: MXNet has no truth values."""
    return [*nodes, node("Cast", "holds", to=1)]


def resized(
    name: str, value: np.ndarray, opset: int = 13, **attrs: Any
) -> Tuple[List[Any], Dict[str, np.ndarray], int]:
    """Return a linear Resize by scales ('s') or sizes ('z')."""
    inputs = ("", name) if name == "s" else ("", "", name)
    return [node("Resize", "x", *inputs, mode="linear", **attrs)], {name: value}, opset
