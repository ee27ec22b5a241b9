"""Sizes that MXNet does not compare: it would read beyond the end of a tensor, or leave a part of it unset.

Its shape inference takes a Reshape to any number of values, and some operators of detection and attention with inputs
that do not belong together. Here they are compared before a network is bound. A Proposal of several images is refused
by MXNet too, but only when it runs.
"""

from __future__ import annotations

from math import prod
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from mxquant.errors import InputError
from mxquant.graph import Network, Node
from mxquant.graph.attributes import read_int
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import tensor_shapes

__all__ = ["check_sizes", "fitting_shapes", "has_sizes", "inferred_shapes", "outline"]

Shape = Tuple[int, ...]
Check = Callable[[Node, List[Shape], Shape], Optional[str]]


def fitting_shapes(network: Network, inputs: Mapping[str, Shape]) -> Optional[Dict[str, Shape]]:
    """Return the shapes of all tensors of a network, or None if it does not take inputs of these shapes.

    Parameters
    ----------
    network : Network
        Any network.
    inputs : mapping of str to tuple of int
        Shapes of its inputs; those of labels may be missing.
    """
    shapes = inferred_shapes(network, inputs)
    return shapes if shapes is None or _misfit(network, shapes) is None else None


def inferred_shapes(network: Network, inputs: Mapping[str, Shape]) -> Optional[Dict[str, Shape]]:
    """Return the shapes of all tensors of a network as MXNet infers them, or None where it cannot."""
    try:
        return tensor_shapes(network, inputs)
    except mx.MXNetError:
        return None


def outline(network: Network) -> Network:
    """Return a network with parameters that have shapes and types but take no memory: enough for what is here."""
    empty = {name: np.broadcast_to(np.zeros((), value.dtype), value.shape) for name, value in network.params.items()}
    return Network(network.graph, empty)


def has_sizes(network: Network) -> bool:
    """Whether there are operators whose sizes MXNet does not compare."""
    return any(node.op in _CHECKS for node in network.graph.operators)


def check_sizes(network: Network, inputs: Mapping[str, Shape]) -> None:
    """Raise InputError if a network does not take inputs of these shapes, naming the layer and its sizes.

    Parameters
    ----------
    network : Network
        Any network.
    inputs : mapping of str to tuple of int
        Shapes of its inputs. Where MXNet finds no shapes for them, nothing is compared: it tells why when it binds.
    """
    if not has_sizes(network):
        return
    shapes = inferred_shapes(network, inputs)
    problem = None if shapes is None else _misfit(network, shapes)
    if problem is not None:
        raise InputError(
            f"the network cannot take these inputs {dict(inputs)}: {problem}; a network that was made for one batch "
            "size or one image size takes no other"
        )


def _misfit(network: Network, shapes: Mapping[str, Shape]) -> Optional[str]:
    """Return which operator has sizes that do not belong together, or None."""
    for node in network.graph.operators:
        check = _CHECKS.get(node.op)
        known = [shapes.get(tensor.name) for tensor in node.inputs]
        result = shapes.get(node.output.name)
        if check is None or result is None or any(shape is None or _is_open(shape) for shape in (*known, result)):
            continue
        problem = check(node, [shape for shape in known if shape is not None], result)
        if problem is not None:
            return f"layer '{node.name}' ({node.op}) {problem}"
    return None


def _is_open(shape: Sequence[int]) -> bool:
    """Whether a length is not known."""
    return any(length < 0 for length in shape)


def _reshape(node: Node, inputs: List[Shape], result: Shape) -> Optional[str]:
    if prod(inputs[0]) == prod(result):
        return None
    return f"makes shape {result} of {inputs[0]}, which has {prod(inputs[0])} values instead of {prod(result)}"


def _one_image(node: Node, inputs: List[Shape], result: Shape) -> Optional[str]:
    images = inputs[0][0]
    return None if images == 1 else f"takes one image at a time, found {images}"


def _crop(node: Node, inputs: List[Shape], result: Shape) -> Optional[str]:
    fits = all(small <= large for small, large in zip(result[2:], inputs[0][2:]))
    return None if fits else f"crops {result[2:]} from {inputs[0][2:]}, which is smaller"


def _same_size(node: Node, inputs: List[Shape], result: Shape) -> Optional[str]:
    return None if inputs[0] == inputs[1] else f"compares shapes {inputs[0]} and {inputs[1]}, which differ"


def _boxes_and_anchors(node: Node, inputs: List[Shape], result: Shape) -> Optional[str]:
    boxes, anchors = inputs[0], inputs[1]
    fits = boxes[1:] == anchors[1:] and anchors[0] in (1, boxes[0])
    return None if fits else f"decodes boxes of shape {boxes} by anchors of shape {anchors}"


def _heads(parts: int) -> Check:
    def check(node: Node, inputs: List[Shape], result: Shape) -> Optional[str]:
        heads, width = read_int(node, "heads", 1), inputs[0][-1]
        return None if width % (parts * heads) == 0 else f"splits {width} values among {heads} heads and {parts} parts"

    return check


def _attended(node: Node, inputs: List[Shape], result: Shape) -> Optional[str]:
    """Compare weights (batch · heads, length, length) with keys and values (length, batch, width)."""
    values, weights = inputs
    expected = (values[1] * read_int(node, "heads", 1), values[0])
    if (weights[0], weights[2]) == expected:
        return _heads(3 if "selfatt" in node.op else 2)(node, inputs, result)
    return f"weighs values of shape {values} by weights of shape {weights}, expected {expected[0]} of {expected[1]}"


_CHECKS: Dict[str, Check] = {
    "Reshape": _reshape,
    "reshape": _reshape,
    "_contrib_Proposal": _one_image,
    "Crop": _crop,
    "Correlation": _same_size,
    "_contrib_box_decode": _boxes_and_anchors,
    "_contrib_interleaved_matmul_selfatt_qk": _heads(3),
    "_contrib_interleaved_matmul_encdec_qk": _heads(1),
    "_contrib_interleaved_matmul_selfatt_valatt": _attended,
    "_contrib_interleaved_matmul_encdec_valatt": _attended,
}
