"""Results of 3D layers in another shape, which MXNet 1.9 cannot quantize as they are.

MXNet keeps with the memory of a tensor how oneDNN sees it. A Reshape leaves its result in the memory of its data, seen
as before, with five axes. Of four axes `_contrib_quantize_v2` changes the order, and fails where oneDNN sees five. A
copy has a memory of its own; ``slice_axis`` makes one, as its result is never in the memory of its data.
"""

from __future__ import annotations

from typing import Dict

from mxquant.graph import Tensor
from mxquant.graph.attributes import read_tuple

__all__ = ["COPY", "is_reshaped_volume"]

# The attributes of a slice_axis that takes everything.
COPY: Dict[str, str] = {"axis": "0", "begin": "0", "end": "None"}
_RESHAPES = ("Reshape", "reshape", "reshape_like", "squeeze", "Flatten", "flatten", "expand_dims")


def is_reshaped_volume(tensor: Tensor) -> bool:
    """Whether a tensor may be in the memory of the result of a 3D convolution or pooling, in another shape."""
    pending, seen = [(tensor.node, False)], set()
    while pending:
        node, reshaped = pending.pop()
        if (node, reshaped) in seen or node.op in ("transpose", "_sg_mkldnn_fully_connected"):
            continue
        seen.add((node, reshaped))
        layer = node.subgraphs[0].operators[0] if node.subgraphs else node
        if "kernel" in layer.attrs:
            if reshaped and len(read_tuple(layer, "kernel")) == 3:
                return True
            continue
        pending += [(each.node, reshaped or node.op in _RESHAPES) for each in node.inputs]
    return False
