"""Constants that are added to, or multiplied with, every channel of a convolution go into its bias and weights.

Some exporters write a bias, or a BatchNorm at inference, as operators of their own::

    Mul(Conv(x, W) + b, s)  =  Conv(x, s W) + s b

A convolution can only be int8 together with what follows it if nothing is between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Set

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fold_channels"]


def fold_channels(onnx: Any, graph: Any) -> None:
    """Fold what can be folded, in place.

    Parameters
    ----------
    onnx : module
        The package.
    graph : onnx.GraphProto
        Its constants are initializers or nodes of the operator Constant.
    """
    values = {each.name: each for each in graph.initializer}
    values.update({node.output[0]: node.attribute[0].t for node in graph.node if _is_tensor(node)})
    makers = {name: node for node in graph.node for name in node.output}
    reads: Dict[str, int] = {}
    for name in [name for node in graph.node for name in node.input] + [each.name for each in graph.output]:
        reads[name] = reads.get(name, 0) + 1
    dropped: List[int] = []
    added: Set[str] = set()
    for place, node in enumerate(graph.node):
        if node.op_type not in ("Add", "Mul"):
            continue
        data, constant = (node.input[0], node.input[1]) if node.input[1] in values else (node.input[1], node.input[0])
        layer = makers.get(data)
        if constant not in values or layer is None or layer.op_type != "Conv" or reads[data] != 1:
            continue
        if any(name and name not in values for name in layer.input[1:]):
            continue
        weight = onnx.numpy_helper.to_array(values[layer.input[1]])
        factor = _per_channel(onnx.numpy_helper.to_array(values[constant]), len(weight), weight.ndim)
        if factor is None:
            continue
        bias = onnx.numpy_helper.to_array(values[layer.input[2]]) if len(layer.input) > 2 else np.zeros_like(factor)
        if node.op_type == "Add":
            parts = {1: None, 2: bias + factor}
        else:
            parts = {1: weight * factor.reshape((-1,) + (1,) * (weight.ndim - 1)), 2: bias * factor}
        del layer.input[3:]
        layer.input.extend([""] * (3 - len(layer.input)))
        for slot, value in parts.items():
            if value is not None:
                name = f"{data}_folded_{slot}"
                values[name] = onnx.numpy_helper.from_array(value.astype(np.float32), name)
                added.add(name)
                layer.input[slot] = name
        layer.output[0] = node.output[0]
        makers[node.output[0]] = layer
        dropped.append(place)
    # By their places: to look for each among all would compare them all.
    for place in reversed(dropped):
        del graph.node[place]
    graph.initializer.extend(values[name] for name in sorted(added))


def _is_tensor(node: Any) -> bool:
    return node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value"


def _per_channel(value: NDArray[Any], channels: int, rank: int) -> Optional[NDArray[Any]]:
    """Return one number for each channel on axis 1, or None where a constant is something else."""
    shape = (1,) * (rank - value.ndim) + value.shape
    if value.dtype != np.float32 or len(shape) != rank or shape[1] not in (1, channels) or value.size != shape[1]:
        return None
    return np.broadcast_to(value.reshape(-1), (channels,))
