"""The network as a graph: reading, rewriting, writing. Knows nothing of statistics, plans or targets."""

from mxquant.graph.ir import Graph, Node, Tensor
from mxquant.graph.network import Network

__all__ = ["Graph", "Network", "Node", "Tensor"]
