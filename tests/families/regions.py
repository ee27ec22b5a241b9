"""Networks whose regions of no image are zeros, as is meant.

Where the number of a region's image is negative, MXNet's ROIAlign for CPUs writes one 0, into another region, and
leaves the region's own place as the memory was. Faster R-CNN with a pyramid gives such regions to each of its levels,
and adds up what the levels return. Here these regions are taken from the first image and made zeros behind it.
"""

from __future__ import annotations

from typing import Any

from mxquant.graph import Node, Tensor
from mxquant.runtime.mxnet_bridge import graph_of, symbol_of

__all__ = ["with_zero_regions"]


def with_zero_regions(symbol: Any) -> Any:
    """Return a symbol that computes what is meant."""
    graph = graph_of(symbol)
    for node in graph.operators:
        if node.op == "_contrib_ROIAlign":
            readers = graph.uses()[node.output]
            regions, name = node.inputs[1], node.name
            node.inputs[1] = _made("_maximum_scalar", f"{name}_inside", [regions], scalar="0")
            images = _made("slice_axis", f"{name}_images", [regions], axis="1", begin="0", end="1")
            there = _made("_greater_equal_scalar", f"{name}_there", [images], scalar="0")
            rows = _made("Reshape", f"{name}_rows", [there], shape="(-1, 1, 1, 1)")
            result = _made("broadcast_mul", f"{name}_masked", [node.output, rows])
            for use in readers:
                assert use.node is not None
                use.node.inputs[use.slot] = result
    graph.prune()
    return symbol_of(graph)


def _made(op: str, name: str, inputs: Any, **attrs: str) -> Tensor:
    return Node(op, name, attrs, inputs).output
