"""Convolutions that compute a spectrum: int8 would lose all but its loudest parts.

Networks for sound begin with a Fourier or constant-Q transform that is written as convolutions of the wave with sines
and cosines. Their results are squared, added to magnitudes, and go through a logarithm or a root, which makes small
ones as important as large ones, while a step of int8 is a fixed share of the largest. In the pitch network of
basic-pitch 0.4.0 it left 8 to 14 dB at the outputs. With the spectrum in float32 they have 33 to 41 dB, and the
convolutions behind it, where most products are, still run in int8.

A convolution or FullyConnected belongs to a spectrum where its result, moved, added up and scaled at most, is squared,
and the squares, likewise, reach a logarithm, or a root that is no divisor, as those of norms are.
"""

from __future__ import annotations

from typing import Dict, Iterable, List, Optional

from mxquant.graph import Network, Node
from mxquant.graph.attributes import read_float
from mxquant.graph.kinds import LINEAR
from mxquant.graph.reach import reached
from mxquant.lowering.moves import MOVES, SLOW_MOVES

__all__ = ["spectral_layers"]

_SUMS = ("sum", "mean", "elemwise_add", "broadcast_add", "elemwise_sub", "broadcast_sub", "add_n")
_SCALED = ("negative", "_mul_scalar", "_div_scalar", "_plus_scalar", "_minus_scalar")
_MOVED = (
    *(*MOVES, *SLOW_MOVES),
    *("Concat", "concat", "stack", "Pad", "pad", "Flatten", "flatten", "Cast", "identity", "_copy"),
)
# Where values stay multiples of values, but for numbers that are added.
_THROUGH = frozenset((*_SUMS, *_SCALED, *_MOVED, "BatchNorm"))
_BOUNDED = frozenset(("clip", "_maximum_scalar", "broadcast_maximum", "abs"))
_LOGARITHMS = frozenset(("log", "log10", "log2", "log1p"))
_PRODUCTS = ("elemwise_mul", "broadcast_mul")
_QUOTIENTS = ("elemwise_div", "broadcast_div")


def spectral_layers(network: Network) -> Dict[str, str]:
    """Return the layers of a canonical fp32 network that compute spectra, and why each had better stay float32."""
    readers: Dict[Node, List[Node]] = {node: [] for node in network.graph.nodes}
    for node in network.graph.operators:
        for tensor in node.inputs:
            readers[tensor.node].append(node)
    found: Dict[str, str] = {}
    for node in network.graph.operators:
        end = _end_of(node, readers, network) if _squares(node) else None
        if end is None:
            continue
        before = reached([node], _sources, lambda each: each.op in LINEAR or _passes(each, network))
        why = f"it computes a spectrum, of which {end.op} '{end.name}' makes small parts as important as large ones"
        found.update({each.layers[0]: why for each in before if each.op in LINEAR and each.layers[0] not in found})
    return found


def _squares(node: Node) -> bool:
    if node.op == "_power_scalar":
        return read_float(node, "scalar", 0.0) == 2
    return node.op == "square" or (node.op in _PRODUCTS and node.inputs[0] == node.inputs[1])


def _end_of(square: Node, readers: Dict[Node, List[Node]], network: Network) -> Optional[Node]:
    """Return the logarithm or root that squares reach."""
    after = reached([square], readers.__getitem__, lambda each: _passes(each, network) or each.op in _BOUNDED)
    ends = [each for node in (square, *after) for each in readers[node]]
    roots = [each for each in ends if each.op == "sqrt" and not _divides(each, readers, network)]
    return next((each for each in ends if each.op in _LOGARITHMS), roots[0] if roots else None)


def _divides(root: Node, readers: Dict[Node, List[Node]], network: Network) -> bool:
    """Whether all that reads a root divides by it."""
    after = {root, *reached([root], readers.__getitem__, lambda each: each.op in (*_MOVED, *_SCALED, *_BOUNDED))}
    last = [(node, reader) for node in after for reader in readers[node] if reader not in after]
    return bool(last) and all(
        reader.op == "_rdiv_scalar" or (reader.op in _QUOTIENTS and reader.inputs[1].node is node)
        for node, reader in last
    )


def _passes(node: Node, network: Network) -> bool:
    """Whether what a node makes is moved, added up or scaled of what it reads."""
    if node.op in _PRODUCTS:
        return any(tensor.node.name in network.params for tensor in node.inputs)
    return node.op in _THROUGH


def _sources(node: Node) -> Iterable[Node]:
    return [tensor.node for tensor in node.inputs if not tensor.node.is_variable]
