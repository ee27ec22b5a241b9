"""What rarer nodes compute of constants, by the evaluator of the package onnx: a table of positions that is resized."""

from __future__ import annotations

import math
from typing import Any, Dict, Optional, Sequence, Tuple

from mxquant.errors import GraphError
from mxquant.onnx_import.folding import MOST_VALUES
from mxquant.onnx_import.inference import stated_in
from mxquant.onnx_import.state import Length, Step

__all__ = ["EVALUATED", "evaluated", "refuse_too_much"]

# Of these the size of what they make follows from constants, before they are computed.
EVALUATED = frozenset(
    (
        *("CumSum", "DepthToSpace", "Einsum", "Erf", "EyeLike", "GatherElements", "GatherND", "Gemm", "MatMul"),
        *("OneHot", "Pad", "Resize", "ScatterElements", "ScatterND", "Size", "SpaceToDepth", "Split", "Tile", "Trilu"),
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
    outputs = [name for name in node.output if name]
    constants = {name: step.constant(slot) for slot, name in enumerate(node.input) if name}
    graph = onnx.helper.make_graph(
        [node],
        "constants",
        [],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", step.state.opset)])
    evaluator = _reference(onnx, step).ReferenceEvaluator
    try:
        said = stated_in(onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph)
        refuse_too_much(step, [said.shapes.get(name) for name in outputs])
        return dict(zip(outputs, evaluator(model).run(None, {})))
    except GraphError:
        raise
    except Exception as error:  # onnx has some of its own
        raise step.refuse(
            f"it cannot be computed of constants: {(str(error).splitlines() or [repr(error)])[0]}"
        ) from error


def refuse_too_much(step: Step, shapes: Sequence[Optional[Tuple[Length, ...]]]) -> None:
    """Refuse what makes too many values, or nobody knows how many."""
    together = 0
    for shape in shapes:
        known = [length for length in shape or () if isinstance(length, int)]
        if shape is None or len(known) < len(shape):
            raise step.refuse("it is not known how many values it makes of constants")
        together += math.prod(known)
    if together > MOST_VALUES:
        raise step.refuse(f"it makes {together} values of constants, expected at most {MOST_VALUES}")


def _reference(onnx: Any, step: Step) -> Any:
    """Return the evaluator, which versions of onnx before 1.13 lack."""
    try:
        import onnx.reference
    except ImportError:
        raise step.refuse("it computes with constants, for which onnx 1.13 or newer is needed") from None
    return onnx.reference
