"""Translation of recurrent layers: MXNet's RNN has all layers and both directions, ONNX's LSTM, GRU and RNN one layer.

MXNet keeps the parameters in one vector (:mod:`mxquant.graph.packed_recurrent`), with the gates in another order than
ONNX's::

    LSTM    MXNet: input, forget, cell, output      ONNX: input, output, forget, cell
    GRU     MXNet: reset, update, new               ONNX: update, reset, hidden

MXNet's GRU multiplies the state by its weights before it resets it, as ONNX's does with `linear_before_reset`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from mxquant.graph.attributes import read_bool, read_int
from mxquant.graph.packed_recurrent import Direction, directions_of, unpack
from mxquant.onnx_export.writer import Call

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GATES", "RECURRENT", "Kind"]


class Kind(NamedTuple):
    """A kind of recurrent layer: ONNX's operator, where its gates are among MXNet's, and its attributes."""

    op: str
    gates: Tuple[int, ...]
    attrs: Dict[str, Any]


GATES: Dict[str, Kind] = {
    "lstm": Kind("LSTM", (0, 3, 1, 2), {}),
    "gru": Kind("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    "rnn_tanh": Kind("RNN", (0,), {}),
    "rnn_relu": Kind("RNN", (0,), {"activations": ["Relu"]}),
}


def _recurrent(call: Call) -> None:
    _check(call)
    node, mode = call.node, call.node.attrs["mode"]
    kind, units, directions = GATES[mode], read_int(node, "state_size", 0), directions_of(node)
    vector = call.value(1)
    if vector is None:
        raise call.refuse(f"its parameters '{node.inputs[1].name}' are computed, and have to be fixed")
    attrs = {**kind.attrs, "hidden_size": units, "direction": "bidirectional" if directions == 2 else "forward"}
    if "activations" in attrs:
        attrs["activations"] = attrs["activations"] * directions
    data = call.inputs[0]
    states: List[List[str]] = [[] for _ in node.inputs[2:]]
    layers = unpack(node, vector)
    for number, layer in enumerate(layers):
        parts = _ordered(kind, units, layer)
        given = [call.constant(f"{name}{number}", value) for name, value in zip(("data", "state", "bias"), parts)]
        begin = [_begin(call, slot, number, directions) for slot in range(2, len(node.inputs))]
        names = [f"{node.name}_layer{number}_{name}" for name in ("steps", "state", "cell")[: 1 + len(begin)]]
        names = [call.writer.unused(name) for name in names]
        inputs = [data, *given, "", *begin]
        while not inputs[-1]:
            inputs.pop()
        call.writer.emit(kind.op, inputs, f"{node.name}_layer{number}", names, **attrs)
        for found, name in zip(states, names[1:]):
            found.append(name)
        data = _joined(call, names[0], number, directions, number == len(layers) - 1)
    for index, name in enumerate(call.outputs[1:]):
        call.writer.emit("Concat", states[index], f"{name}_joined", [name], axis=0)


def _check(call: Call) -> None:
    node = call.node
    if node.attrs.get("projection_size", "None") != "None":
        raise call.refuse("projection_size is set: the state of ONNX's LSTM is not projected")
    if read_bool(node, "use_sequence_length", False):
        raise call.refuse("use_sequence_length is set: sequences with lengths of their own are not supported")
    if any(node.attrs.get(f"lstm_state_clip_{end}", "None") != "None" for end in ("min", "max")):
        raise call.refuse("lstm_state_clip_min and lstm_state_clip_max are set: ONNX clips gates, not states")


def _ordered(kind: Kind, units: int, layer: Sequence[Direction]) -> Tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return weights of the data, of the state, and biases, a direction at each place of the first axis."""
    rows = np.concatenate([np.arange(units) + gate * units for gate in kind.gates])
    of_data, of_state, bias_of_data, bias_of_state = (np.stack([each[rows] for each in part]) for part in zip(*layer))
    return of_data, of_state, np.concatenate([bias_of_data, bias_of_state], axis=1)


def _begin(call: Call, slot: int, number: int, directions: int) -> str:
    """Return what a layer begins with, or nothing for zeros, which is what ONNX begins with."""
    value = call.value(slot)
    if call.node.inputs[slot].node.op == "_zeros" or (value is not None and not value.any()):
        return ""
    if call.shapes[slot][0] == directions:
        return call.inputs[slot]
    ends = [call.constant(name, [(number + last) * directions], np.int64) for last, name in enumerate(("start", "end"))]
    axis = call.constant("layers", [0], np.int64)
    return call.step("Slice", [call.inputs[slot], *ends, axis], f"begin{number}_{slot}")


def _joined(call: Call, steps: str, number: int, directions: int, last: bool) -> str:
    """Return both directions side by side: (time, directions, batch, units) as (time, batch, directions · units)."""

    def emit(op: str, inputs: List[str], **attrs: Any) -> str:
        return call.emit(op, inputs, **attrs) if last else call.step(op, inputs, f"joined{number}", **attrs)

    if directions == 1:
        return emit("Squeeze", [steps, call.constant(f"direction{number}", [1], np.int64)])
    turned = call.step("Transpose", [steps], f"turned{number}", perm=[0, 2, 1, 3])
    return emit("Reshape", [turned, call.constant(f"shape{number}", [0, 0, -1], np.int64)])


def _filled(call: Call, value: float) -> None:
    """Write a tensor of one number; if one of its lengths is the batch, that of the network's data."""
    lengths, batch = list(call.result), call.batch
    grows = [axis for axis, length in enumerate(lengths) if not isinstance(length, int)]
    if not grows:
        call.emit("Identity", [call.constant("filled", np.full(call.target(), value), call.result_dtype())])
        return
    if not batch or any(lengths[axis] != "N" for axis in grows):
        raise call.refuse(f"its shape is {lengths}, of which a length grows with the batch and is not the batch")
    first = call.constant("first", [0], np.int64)
    length = call.step("Gather", [call.step("Shape", [batch], "data_shape"), first], "batch", axis=0)
    parts = [
        length if axis in grows else call.constant(f"length{axis}", [n], np.int64) for axis, n in enumerate(lengths)
    ]
    tensor = call.writer.onnx.numpy_helper.from_array(np.array([value], call.result_dtype()))
    call.emit("ConstantOfShape", [call.step("Concat", parts, "shape", axis=0)], value=tensor)


RECURRENT: Dict[str, Callable[[Call], None]] = {
    "RNN": _recurrent,
    "_zeros": lambda call: _filled(call, 0.0),
    "_ones": lambda call: _filled(call, 1.0),
}
