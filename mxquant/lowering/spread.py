"""``depth_to_space`` by the transposes that oneDNN is fast at.

MXNet computes the place of each value by itself. Two transposes of at most four axes do the same in a sixth of the
time, with Reshapes between them: first columns are put between columns, then rows between rows. Lengths are not known
here, but for the channels, which a convolution has made.
"""

from __future__ import annotations

from typing import List, Optional, Tuple

from mxquant.graph import Node, Tensor
from mxquant.graph.attributes import read_int
from mxquant.lowering.int8_graph import Int8Graph

__all__ = ["add_spread", "spread_channels"]

_HANDING_ON = ("Activation", "relu", "clip", "LeakyReLU")


def spread_channels(node: Node) -> Optional[int]:
    """Return how many channels a depth_to_space leaves, or None where they are not known."""
    maker = node.inputs[0].node
    while maker.op in _HANDING_ON:
        maker = maker.inputs[0].node
    inner = [each for graph in maker.subgraphs for each in graph.operators] or [maker]
    filters = next((read_int(each, "num_filter", 0) for each in inner if each.op == "Convolution"), 0)
    return filters // read_int(node, "block_size", 1) ** 2 or None


def add_spread(graph: Int8Graph, node: Node, channels: int) -> None:
    """Append what computes `node` to a new graph."""
    size, source = read_int(node, "block_size", 1), graph.real(node.inputs[0])
    # Letters: n examples, r rows of a block, c channels, h and w of the data, k columns of a block.
    steps: List[Tuple[str, Tuple[int, ...]]] = [
        ("Reshape", (0, -4, size, -1, 0, 0)),
        ("Reshape", (-3, 0, 0, 0)),  # nr, kc, h, w
        ("Reshape", (0, -4, size, -1, -3)),
        ("Reshape", (0, 0, -3)),  # nr, k, chw
        ("transpose", (0, 2, 1)),
        ("Reshape", (0, -4, channels, -1, 0)),  # nr, c, hw, k
        ("reshape_like", ()),
        ("Reshape", (0, 0, 0, -3)),  # nr, c, h, wk
        ("Reshape", (-4, -1, size, -3, 0)),  # n, r, ch, wk
        ("transpose", (0, 2, 1, 3)),
        ("Reshape", (0, -4, channels, -1, 0, 0)),
        ("Reshape", (0, 0, -3, 0)),  # n, c, hr, wk
    ]
    made: Tensor = source
    for number, (op, numbers) in enumerate(steps):
        last = number == len(steps) - 1
        inputs, attrs = [made], {"axes" if op == "transpose" else "shape": str(numbers)}
        if op == "reshape_like":
            inputs, attrs = [made, source], {"lhs_begin": "2", "lhs_end": "3", "rhs_begin": "2", "rhs_end": "4"}
        made = graph.add(op, node.name if last else f"{node.name}_{number}", attrs, inputs).output
    graph.floats[node.output] = made
