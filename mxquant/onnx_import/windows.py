"""How many windows ONNX's pooling has with ``ceil_mode``.

On an axis of length L, with padding f in front and b behind, windows of k numbers and steps of s there are
ceil((L + f + b - k) / s) + 1 of them, but for a last one that would begin in the padding behind the data, which is left
out, as PyTorch does. MXNet's convention 'full' has it, and so has the shape that some versions of ONNX infer.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

__all__ = ["last_window", "settle_pooling"]


def last_window(length: int, size: int, stride: int, front: int, back: int) -> Tuple[int, int]:
    """Return how many windows there are, and how far the last one reaches beyond the padding.

    Parameters
    ----------
    length, size, stride : int
        Of the data, of a window, and from one window to the next.
    front, back : int
        Padding on both sides.
    """
    steps = -(-(length + front + back - size) // stride)
    if steps * stride >= length + front:
        steps -= 1
    return steps + 1, max(0, steps * stride + size - (length + front + back))


def settle_pooling(onnx: Any, graph: Any, shapes: Mapping[str, Sequence[object]]) -> bool:
    """Write ceil_mode as padding into the first pooling whose inferred shape has windows that are left out.

    Parameters
    ----------
    onnx : module
        The package.
    graph : onnx.GraphProto
        A graph that is there for its shapes alone.
    shapes : mapping of str to sequence
        Shapes that ONNX infers of it.

    Returns
    -------
    bool
        Whether there was one.
    """
    for node in graph.node:
        if node.op_type not in ("MaxPool", "AveragePool") or not node.input or not node.output:
            continue
        attrs = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        known, inferred = shapes.get(node.input[0]), shapes.get(node.output[0])
        if not attrs.get("ceil_mode", 0) or attrs.get("auto_pad", b"NOTSET") != b"NOTSET" or not known or not inferred:
            continue
        pads = _pads(attrs, known, inferred)
        if pads is not None:
            kept = [each for each in node.attribute if each.name not in ("ceil_mode", "pads")]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("pads", pads)])
            return True
    return False


def _pads(attrs: Dict[str, Any], known: Sequence[object], inferred: Sequence[object]) -> Optional[List[int]]:
    """Return padding with which there are as many windows without ceil_mode; None where ONNX infers as many."""
    kernel = attrs.get("kernel_shape", [])
    rank = len(kernel)
    strides, dilations = attrs.get("strides", [1] * rank), attrs.get("dilations", [1] * rank)
    pads = list(attrs.get("pads", [0] * 2 * rank))
    if {len(strides), len(dilations), len(pads) // 2, len(known) - 2, len(inferred) - 2} != {rank} or min(strides) < 1:
        return None
    differ = False
    for axis in range(rank):
        length, windows = known[axis + 2], inferred[axis + 2]
        if not isinstance(length, int) or not isinstance(windows, int):
            return None
        size = (kernel[axis] - 1) * dilations[axis] + 1
        count, beyond = last_window(length, size, strides[axis], pads[axis], pads[rank + axis])
        differ = differ or count != windows
        pads[rank + axis] += beyond
    return pads if differ else None
