"""Reasons that several targets share for leaving a layer in float32."""

from __future__ import annotations

from typing import Optional

import numpy as np

from mxquant.graph import Network, Node, Tensor

__all__ = ["parameter_refusal", "weight_refusal"]


def weight_refusal(network: Network, node: Node) -> Optional[str]:
    """Return why a layer's weight or bias cannot be quantized ahead of time, or None if it can."""
    return next(filter(None, (parameter_refusal(network, tensor) for tensor in node.inputs[1:])), None)


def parameter_refusal(network: Network, tensor: Tensor) -> Optional[str]:
    """Return why a weight or bias cannot be quantized ahead of time, or None if it can."""
    value = network.params.get(tensor.node.name) if tensor.node.is_variable else None
    if value is None:
        return f"its weight '{tensor.name}' is computed or fed at run time; int8 weights are made once"
    if value.dtype != np.float32:
        return f"its weight '{tensor.name}' is {value.dtype}, expected float32"
    return None
