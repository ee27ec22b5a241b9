"""What rarer nodes compute of constants, by the evaluator of the package onnx: a table of positions that is resized."""

from __future__ import annotations

import math
from typing import Any, Dict, List

from mxquant.onnx_import.folding import MOST_VALUES
from mxquant.onnx_import.state import Step

__all__ = ["EVALUATED", "evaluated"]

# Of these the size of what they make follows from constants, before they are computed.
EVALUATED = frozenset(
    (
        *(
            "CumSum",
            "DepthToSpace",
            "Einsum",
            "Erf",
            "EyeLike",
            "GatherElements",
            "GatherND",
            "Gemm",
            "MatMul",
            "OneHot",
        ),
        *("Pad", "Resize", "ScatterElements", "ScatterND", "Size", "SpaceToDepth", "Split", "Tile", "Trilu"),
    )
)


def evaluated(onnx: Any, node: Any, step: Step) -> Dict[str, Any]:
    """Return what a node makes of constants, by name.

    Parameters
    ----------
    onnx : module
        The package.
    node : onnx.NodeProto
        The node.
    step : Step
        The same node; all its inputs are constants.

    Raises
    ------
    GraphError
        If it makes too much, or cannot be computed.
    """
    graph = onnx.helper.make_graph(
        [node],
        "constants",
        [],
        [onnx.ValueInfoProto(name=name) for name in node.output if name],
        [onnx.numpy_helper.from_array(step.constant(slot), name) for slot, name in _read(node)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", step.state.opset)])
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph.output
    lengths = [[each.dim_value if each.HasField("dim_value") else -1 for each in _shape(value)] for value in inferred]
    if any(length < 0 for each in lengths for length in each) or sum(map(math.prod, lengths)) > MOST_VALUES:
        raise step.refuse(f"it makes {lengths} values of constants, expected at most {MOST_VALUES}")
    made: List[Any] = _reference(onnx, step).ReferenceEvaluator(model).run(None, {})
    return dict(zip([name for name in node.output if name], made))


def _read(node: Any) -> List[Any]:
    return [(slot, name) for slot, name in enumerate(node.input) if name and name not in node.input[:slot]]


def _shape(value: Any) -> Any:
    return value.type.tensor_type.shape.dim


def _reference(onnx: Any, step: Step) -> Any:
    """Return the evaluator, which versions of onnx before 1.13 lack."""
    try:
        import onnx.reference
    except ImportError:
        raise step.refuse("it computes with constants, for which onnx 1.13 or newer is needed") from None
    return onnx.reference
