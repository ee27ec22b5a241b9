"""Which operators MXNet 1.9 computes in int8 on the CPU, and when the result is right.

One function per operator of the fused fp32 graph returns an :class:`~mxquant.lowering.target.Int8Operator`, or the
reason for the user why the node stays float32. Every refusal is a case that MXNet 1.9.1 cannot compute, or
computes wrongly. What all nodes of an operator share is in :mod:`mxquant.lowering.onednn_capabilities`.
"""

from __future__ import annotations

from typing import Callable, Dict, Optional, Union

from mxquant.graph import Network, Node
from mxquant.graph.attributes import read_bool, read_int, read_tuple
from mxquant.graph.packed_recurrent import input_size
from mxquant.lowering.capability import by_operator
from mxquant.lowering.moves import MOVES, SLOW_MOVES
from mxquant.lowering.onednn_capabilities import ONEDNN
from mxquant.lowering.refusals import parameter_refusal
from mxquant.lowering.target import Int8Operator

__all__ = ["OPERATORS", "describe"]

Answer = Union[Int8Operator, str]

_ROWS = by_operator(ONEDNN)
# What returns values in an order of oneDNN's own.
_BLOCKED = ("_sg_mkldnn_conv", "Pooling", "BatchNorm")
# What an LSTM may have that the int8 operator has not.
_NOT_IN_INT8 = {
    "projection_size": "projection of its state",
    "use_sequence_length": "lengths for single sequences",
    "lstm_state_clip_min": "clipping of its state",
}
# Operators on single values.
_IN_PLACE = (
    *("Activation", "LeakyReLU", "relu", "sigmoid", "tanh", "clip", "abs", "square", "sqrt", "exp"),
    *("elemwise_add", "elemwise_sub", "elemwise_mul", "broadcast_add", "broadcast_sub", "broadcast_mul"),
)


def describe(network: Network, node: Node, calibrated: bool) -> Answer:
    """Return how MXNet computes `node` in int8 on the CPU, or why it cannot.

    Parameters
    ----------
    network : Network
        The fused fp32 network.
    node : Node
        One of its operators.
    calibrated : bool
        Whether thresholds will be known.

    Returns
    -------
    Int8Operator or str
        The int8 form, or the reason for there being none.
    """
    if node.op in MOVES:
        return _rows(node)
    if node.op in SLOW_MOVES:
        return f"MXNet's {node.op} takes longer for int8 than for float32, conversions included"
    function = OPERATORS.get(node.op)
    if function is None:
        return f"MXNet has no int8 {node.op} on the CPU"
    return function(network, node, calibrated)


def _convolution(network: Network, node: Node, calibrated: bool) -> Answer:
    inner = _inner(node, "Convolution")
    refusal = parameter_refusal(network, node.inputs[1]) or _layout_refusal(inner)
    if refusal:
        return refusal
    with_bias = not read_bool(inner, "no_bias", False)
    with_sum = read_bool(node, "with_sum", False)
    if read_bool(node, "with_bn", False):
        return "its BatchNorm could not be folded into its weights"
    sum_input = 2 + with_bias if with_sum else None
    groups = read_int(inner, "num_group", 1)
    per_channel = groups in (1, read_int(inner, "num_filter", 0))
    note = (
        ""
        if per_channel
        else (
            f"its {groups} groups share one weight scale and its sums are requantized by a node of their own, "
            "because MXNet mixes up the channel scales of grouped convolutions"
        )
    )
    act = _activation(node)
    bound = float(node.subgraphs[0].outputs[0].node.attrs["a_max"]) if act == "clip" else None
    row = _ROWS[node.op]
    return row.operator(
        node,
        data=(0,) if sum_input is None else (0, sum_input),
        result=row.result(act),
        sum_input=sum_input,
        channel_wise=per_channel,
        fuses_requantize=per_channel,
        bound=bound,
        reads_zero_point=per_channel and with_bias and not any(read_tuple(inner, "pad")),
        returns_zero_point=per_channel and with_bias and not with_sum and act in ("relu", "clip"),
        note=note,
    )


def _fully_connected(network: Network, node: Node, calibrated: bool) -> Answer:
    inner = _inner(node, "FullyConnected")
    if not read_bool(inner, "flatten", True) and node.inputs[0].node.op in _BLOCKED:
        return "with flatten=False MXNet's int8 FullyConnected cannot read the order of values that oneDNN gives images"
    with_bias = not read_bool(inner, "no_bias", False)
    parameters = (1, 2) if with_bias else (1,)
    for slot in parameters:
        refusal = parameter_refusal(network, node.inputs[slot])
        if refusal:
            return refusal
    if with_bias and not calibrated and network.params[node.inputs[2].node.name].any():
        return (
            "without calibration MXNet spoils the weights of an int8 FullyConnected with a bias for good "
            "when a batch is all zeros"
        )
    row = _ROWS[node.op]
    return row.operator(
        node,
        result=row.result(_activation(node)),
        weights=parameters,
        channel_wise=calibrated,
        float_output=calibrated,
        settled=_convolved_axes(_source(node.inputs[0].node)),
    )


def _source(node: Node) -> Node:
    """Return what made a tensor, before operators that leave every value in its place in memory."""
    while node.inputs and (node.op in _IN_PLACE or node.op.endswith("_scalar")):
        node = node.inputs[0].node
    return node


def _convolved_axes(node: Node) -> int:
    """Return the axes of the images that a convolution returns, 0 for other operators.

    Convolutions of one channel, and those to one pixel, return their first batch in another order than all others, if
    MXNet is to be believed. What reads it as rows has decided by the first batch whether it has to be brought in order,
    and fails at the second.
    """
    return len(read_tuple(_inner(node, "Convolution"), "kernel")) if node.op == "_sg_mkldnn_conv" else 0


def _plain_convolution(network: Network, node: Node, calibrated: bool) -> Answer:
    rank = len(read_tuple(node, "kernel"))
    return f"MXNet's int8 convolution is 2D or 3D, this one has a {rank}D kernel"


def _pooling(network: Network, node: Node, calibrated: bool) -> Answer:
    kind = node.attrs.get("pool_type", "max")
    rank = len(read_tuple(node, "kernel"))
    if kind not in ("max", "avg"):
        return f"MXNet's int8 pooling is max or avg, this one is {kind}"
    if rank not in (2, 3):
        remedy = "; give this global pooling kernel=(1, 1)" if rank == 0 else ""
        return f"MXNet's int8 pooling has a 2D or 3D kernel, this one has {rank}D{remedy}"
    if node.attrs.get("pooling_convention", "valid") == "same":
        return "MXNet's int8 pooling knows no pooling_convention='same'"
    cut = node.attrs.get("pooling_convention", "valid") == "full" and not read_bool(node, "global_pool", False)
    if cut and (kind == "avg" or _may_leave_the_data(node)):
        return f"MXNet's int8 {kind} pooling with pooling_convention='full' is another one where windows are cut off"
    return _layout_refusal(node) or _ROWS[node.op].operator(node)


def _may_leave_the_data(node: Node) -> bool:
    """Whether the last window of a pooling may lie beyond the data as a whole."""
    kernel, stride, pad = (read_tuple(node, key) for key in ("kernel", "stride", "pad"))
    each = zip(kernel, stride or (1,) * len(kernel), pad or (0,) * len(kernel))
    return any(step > length - edge for length, step, edge in each)


def _flatten(network: Network, node: Node, calibrated: bool) -> Answer:
    return _rows(node)


def _rows(node: Node) -> Int8Operator:
    """Return what gives values of a tensor another shape. It has images brought in order by MXNet, but not volumes."""
    settled = 3 if _convolved_axes(node.inputs[0].node) == 3 else 0
    return _ROWS[node.op].operator(node, settled=settled)


def _activation_layer(network: Network, node: Node, calibrated: bool) -> Answer:
    kind = node.attrs.get("act_type", "")
    if kind != "relu":
        return f"MXNet's int8 activation is relu, this one is {kind}"
    return _ROWS[node.op].operator(node)


def _batch_norm(network: Network, node: Node, calibrated: bool) -> Answer:
    if not calibrated:
        return "MXNet's int8 BatchNorm needs calibration"
    if read_int(node, "axis", 1) != 1:
        return f"MXNet's int8 BatchNorm works on axis 1, this one on axis {node.attrs['axis']}"
    missing = [t.name for t in node.inputs[1:] if t.node.name not in network.params]
    if missing:
        return f"its parameter '{missing[0]}' has no fixed value"
    return _ROWS[node.op].operator(node)


def _concat(network: Network, node: Node, calibrated: bool) -> Answer:
    axis = read_int(node, "dim", 1)
    if axis <= 0:
        return f"MXNet's int8 Concat needs a positive axis, this one has dim={axis}"
    return _ROWS[node.op].operator(node, data=tuple(range(len(node.inputs))))


def _add(network: Network, node: Node, calibrated: bool) -> Answer:
    if not calibrated:
        return "without calibration MXNet's int8 addition may change the sign of all sums, where two extremes meet"
    return _ROWS[node.op].operator(node)


def _multiply(network: Network, node: Node, calibrated: bool) -> Answer:
    return _ROWS[node.op].operator(node, float_output=calibrated)


def _embedding(network: Network, node: Node, calibrated: bool) -> Answer:
    refusal = parameter_refusal(network, node.inputs[1])
    if refusal:
        return refusal
    if node.attrs.get("dtype", "float32") != "float32":
        return f"MXNet's int8 Embedding returns float32 rows, this one {node.attrs['dtype']}"
    return _ROWS[node.op].operator(node)


def _recurrent(network: Network, node: Node, calibrated: bool) -> Answer:
    mode = node.attrs.get("mode", "")
    if mode != "lstm":
        return f"MXNet's int8 recurrent layer is an LSTM, this one is {mode}"
    if not calibrated:
        return "an int8 LSTM needs calibration"
    refusal = parameter_refusal(network, node.inputs[1])
    if refusal:
        return refusal
    for key, what in _NOT_IN_INT8.items():
        if node.attrs.get(key, "None") not in ("None", "False"):
            return f"MXNet's int8 LSTM has no {what}"
    if input_size(node, network.params[node.inputs[1].node.name].size) is None or read_int(node, "num_layers", 1) > 1:
        return "its layers could not be computed apart, and MXNet's int8 LSTM gives all the scales of the first"
    return _ROWS[node.op].operator(node)


def _attention(network: Network, node: Node, calibrated: bool) -> Answer:
    return "MXNet's int8 attention gives queries, keys and values one range, for few of the multiplications"


OPERATORS: Dict[str, Callable[[Network, Node, bool], Answer]] = {
    "_sg_mkldnn_conv": _convolution,
    "_sg_mkldnn_fully_connected": _fully_connected,
    "Convolution": _plain_convolution,
    "Pooling": _pooling,
    "Flatten": _flatten,
    "flatten": _flatten,
    "Activation": _activation_layer,
    "BatchNorm": _batch_norm,
    "Concat": _concat,
    "concat": _concat,
    "elemwise_add": _add,
    "elemwise_mul": _multiply,
    "Embedding": _embedding,
    "RNN": _recurrent,
    "_sg_mkldnn_selfatt_qk": _attention,
    "_sg_mkldnn_selfatt_valatt": _attention,
}


def _inner(node: Node, op: str) -> Node:
    return next(n for n in node.subgraphs[0].operators if n.op == op)


def _activation(node: Node) -> Optional[str]:
    """Return the kind of the last operator inside a fused node, or None where that is no activation."""
    last = node.subgraphs[0].outputs[0].node
    if last.op in ("Convolution", "FullyConnected", "BatchNorm", "elemwise_add"):
        return None
    return last.attrs.get("act_type", last.op) if last.op == "Activation" else last.op


def _layout_refusal(node: Node) -> Optional[str]:
    layout = node.attrs.get("layout", "None")
    if layout in ("None", "NCHW", "NCDHW"):
        return None
    return f"MXNet's int8 {node.op} is channel-first, this one has layout {layout}"
