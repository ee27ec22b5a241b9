"""Multiplications of every convolution and dense layer of an fp32 ONNX file."""

from __future__ import annotations

from math import prod
from typing import Dict

import onnx

__all__ = ["macs_of"]


def macs_of(path: str) -> Dict[str, int]:
    """Return, by the node's name, how many multiplications it takes for one image.

    Parameters
    ----------
    path : str
        A file that ``mxquant.export_onnx`` wrote.

    Returns
    -------
    dict of str to int
        Convolutions and dense layers in the order of the file.
    """
    graph = onnx.load(path).graph
    weights = {each.name: list(each.dims) for each in graph.initializer}
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output)
    }
    return {
        node.name: prod(shapes[node.output[0]][1:]) * prod(weights[node.input[1]][1:])
        for node in graph.node
        if node.op_type in ("Conv", "Gemm")
    }
