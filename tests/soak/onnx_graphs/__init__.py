"""Random ONNX graphs of the operators that are read, valid by ONNX's own inference."""

from tests.soak.onnx_graphs.builder import Graph, Value, random_graph

__all__ = ["Graph", "Value", "random_graph"]
