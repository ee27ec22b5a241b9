"""Which axis of a tensor holds its channels, as the layers with weights that read it take it."""

from __future__ import annotations

from typing import Dict

from mxquant.graph.attributes import read_bool
from mxquant.graph.ir import Node
from mxquant.graph.kinds import LINEAR
from mxquant.graph.network import Network

__all__ = ["channel_axes", "channel_axis"]


def channel_axes(network: Network) -> Dict[str, int]:
    """Return the tensors whose channel means are needed, and where their channels are: axis 1, or -1 for the last."""
    axes: Dict[str, int] = {}
    for node in network.graph.operators:
        if node.op in LINEAR:
            axes.setdefault(node.inputs[0].name, channel_axis(node))
    return axes


def channel_axis(node: Node) -> int:
    """Return the axis of the channels of what a layer reads: 1, or -1 for the last."""
    return -1 if node.op == "FullyConnected" and not read_bool(node, "flatten", True) else 1
