"""Compute an LSTM of several layers as one LSTM for each.

MXNet's int8 LSTM gives the weights of all its layers the scales of the first one's, and keeps what one layer hands to
the next in the codes of the first one's data. Apart, each layer has scales of its own. In float32 nothing changes:
every layer reads the whole result of the one before.
"""

from __future__ import annotations

from typing import ClassVar, List, Optional

import numpy as np

from mxquant.graph.attributes import read_bool, read_int, read_tuple
from mxquant.graph.ir import Node, Tensor
from mxquant.graph.packed_recurrent import PARAMETERS, STATES, directions_of, input_size, pack, unpack
from mxquant.graph.rewriter import Rewriter, Rule

__all__ = ["SplitRecurrent"]


class SplitRecurrent(Rule):
    """Replace an LSTM of several layers."""

    name: ClassVar[str] = "split_recurrent"

    def matches(self, rewriter: Rewriter, node: Node) -> bool:
        """Whether `node` is an LSTM of several layers."""
        return node.op == "RNN" and node.attrs.get("mode") == "lstm" and read_int(node, "num_layers", 1) > 1

    def check(self, rewriter: Rewriter, node: Node) -> Optional[str]:
        """Refuse projections, lengths of their own for sequences, and parameters without a fixed value."""
        if node.attrs.get("projection_size", "None") != "None":
            return "its state is projected"
        if read_bool(node, "use_sequence_length", False):
            return "its sequences have lengths of their own"
        value = rewriter.constant(node.inputs[PARAMETERS])
        if value is None or value.dtype != np.float32:
            return f"its parameters '{node.inputs[PARAMETERS].name}' have no fixed value of float32"
        if input_size(node, value.size) is None:
            return f"its {value.size} parameters do not fit {node.attrs.get('state_size')} units"
        return None

    def rewrite(self, rewriter: Rewriter, node: Node) -> None:
        """Put the first layers before `node`, which becomes the last."""
        count, parameters = read_int(node, "num_layers", 1), node.inputs[PARAMETERS]
        vector = rewriter.constant(parameters)
        assert vector is not None
        layers = unpack(node, vector)
        states = [[_state(rewriter, node, slot, number) for slot in STATES] for number in range(count)]
        nodes, data = [], node.inputs[0]
        for number in range(count - 1):
            name = f"{node.name}_layer{number}"
            own = rewriter.add_parameter(f"{parameters.node.name}_layer{number}", pack([layers[number]]))
            attrs, inputs = {**node.attrs, "num_layers": "1"}, [data, own, *states[number]]
            before = Node("RNN", name, attrs, inputs, node.num_outputs, output_names=(f"{name}_output",))
            _enter(rewriter, before)
            nodes.append(before)
            data = before.output
        node.attrs["num_layers"] = "1"
        rewriter.connect(node, 0, data)
        last = f"{parameters.node.name}_layer{count - 1}"
        rewriter.connect(node, PARAMETERS, rewriter.add_parameter(last, pack([layers[-1]])))
        for slot, state in zip(STATES, states[-1]):
            rewriter.connect(node, slot, state)
        _join_states(rewriter, [*nodes, node])
        rewriter.aliases[node.name] = frozenset(each.name for each in (*nodes, node))


def _state(rewriter: Rewriter, node: Node, slot: int, number: int) -> Tensor:
    """Return what one layer begins with: zeros, where all begin with zeros, or a part of what the network reads."""
    source, directions, count = node.inputs[slot], directions_of(node), read_int(node, "num_layers", 1)
    name = f"{node.name}_layer{number}_begin{slot - STATES[0]}"
    if source.node.op == "_zeros" and read_tuple(source.node, "shape")[:1] == (count * directions,):
        shape = (directions, *read_tuple(source.node, "shape")[1:])
        return Node("_zeros", name, {**source.node.attrs, "shape": str(shape)}).output
    ends = {"axis": "0", "begin": str(number * directions), "end": str((number + 1) * directions)}
    part = Node("slice_axis", name, ends, [source])
    _enter(rewriter, part)
    return part.output


def _enter(rewriter: Rewriter, node: Node) -> None:
    """Note what a new node reads."""
    for slot, tensor in enumerate(node.inputs):
        rewriter.enter(node, slot, tensor)


def _join_states(rewriter: Rewriter, nodes: List[Node]) -> None:
    """Let the readers of the last states read those of all layers."""
    last = nodes[-1]
    states = [Tensor(last, index) for index in range(1, last.num_outputs)]
    for tensor in filter(rewriter.readers, states):
        name, inputs = f"{last.name}_states{tensor.index}", [Tensor(node, tensor.index) for node in nodes]
        attrs = {"dim": "0", "num_args": str(len(nodes))}
        joined = Node("Concat", name, attrs, inputs, output_names=(tensor.name,))
        rewriter.insert(tensor, joined.output)
        _enter(rewriter, joined)
    last.output_names = (last.output.name, *(f"{tensor.name}_of_last" for tensor in states))
