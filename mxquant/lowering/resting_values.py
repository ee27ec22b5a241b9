"""What a network makes of channels that are the same everywhere: which layers read 0 where weights are 0."""

from __future__ import annotations

import math
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from mxquant.graph import Network, Node, Tensor
from mxquant.lowering.alike_channels import keeps_zeros
from mxquant.lowering.free_channels import Channels, Reader

__all__ = ["OF_SCALAR", "readers_of_zero"]

OF_SCALAR: Mapping[str, Callable[[float, float], float]] = {
    "_mul_scalar": lambda x, y: x * y,
    "_div_scalar": lambda x, y: x / y,
    "_plus_scalar": lambda x, y: x + y,
    "_minus_scalar": lambda x, y: x - y,
}
_OF_ONE: Mapping[str, Callable[[float], float]] = {
    "relu": lambda x: max(x, 0.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "softsign": lambda x: x / (1 + abs(x)),
    "abs": abs,
    "square": lambda x: x * x,
    "exp": math.exp,
}
_OF_TWO: Mapping[str, Callable[[float, float], float]] = {
    f"{kind}_{name}": function
    for kind in ("elemwise", "broadcast")
    for name, function in (
        ("add", lambda x, y: x + y),
        ("sub", lambda x, y: x - y),
        ("mul", lambda x, y: x * y),
    )
}
_CONCATS = ("Concat", "concat")

Values = Mapping[Tensor, Optional[float]]


def readers_of_zero(network: Network, free: Sequence[Channels]) -> List[Tuple[Channels, List[Reader]]]:
    """Return the readers of channels that would read 0 in one more of them, which layers with weights of 0 make.

    Parameters
    ----------
    network : Network
        A canonical network.
    free : sequence of Channels
        Free channels of it.

    Returns
    -------
    list of (Channels, list of Reader)
        In the order of `free`.
    """
    made = {node.output.name: node for node in network.graph.operators}
    result = []
    for channels in free:
        values: Dict[Tensor, Optional[float]] = {}
        layers = set(channels.layers)
        for node in (made[name] for name in channels.tensors):
            values[node.output] = 0.0 if node in layers else _value(node, values)
        readers = [reader for reader in channels.readers if values.get(reader.node.inputs[0]) == 0]
        result.append((channels, readers))
    return result


def _value(node: Node, values: Values) -> Optional[float]:
    """Return what an operator makes of constants; None where that is not known."""
    try:
        return _joined(node, values) if node.op in _CONCATS else _known_value(node, list(map(values.get, node.inputs)))
    except ArithmeticError:
        return None


def _joined(node: Node, values: Values) -> Optional[float]:
    """Return the value in the inputs that have the channel, where it is one."""
    found = {values[tensor] for tensor in node.inputs if tensor in values}
    return found.pop() if len(found) == 1 else None


def _known_value(node: Node, found: Sequence[Optional[float]]) -> Optional[float]:
    given = [value for value in found if value is not None]
    kind = node.attrs.get("act_type", "") if node.op == "Activation" else node.op
    if node.op in _OF_TWO:
        return _OF_TWO[node.op](*given) if len(given) == 2 else None
    if not given or found[0] is None:
        return None
    if kind in _OF_ONE:
        return _OF_ONE[kind](given[0])
    if node.op in OF_SCALAR:
        return OF_SCALAR[node.op](given[0], float(node.attrs["scalar"]))
    if node.op == "clip":
        return min(max(given[0], float(node.attrs["a_min"])), float(node.attrs["a_max"]))
    return 0.0 if given[0] == 0 and (node.op == "BatchNorm" or keeps_zeros(node)) else None
