"""Translation of ONNX's LSTM, GRU and RNN to MXNet's RNN, whose gates have another order.

What belongs to which gate is told in :mod:`mxquant.onnx_export.recurrent`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Tuple

import numpy as np

from mxquant.graph.packed_recurrent import Direction, pack
from mxquant.onnx_export.recurrent import GATES
from mxquant.onnx_import.state import Step, sym

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RECURRENT"]

_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_BLOCKED = (
    *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", "BatchNormalization"),
    *(
        "Relu",
        "Sigmoid",
        "Tanh",
        "Softplus",
        "LeakyRelu",
        "Elu",
        "PRelu",
        "Clip",
        "Add",
        "Sum",
        "Concat",
        "Slice",
        "Dropout",
    ),
    *("Identity", "Softmax", "LogSoftmax", "Gemm", "MatMul", "Split", "Cast"),
)
# ONNX's inputs: data, weights of the data, of the state, biases, lengths, states, weights of peepholes.
_BIAS, _LENGTHS, _STATES, _PEEPHOLES = 3, 4, (5, 6), 7


def _recurrent(step: Step) -> None:
    direction = step.attrs.get("direction", "forward")
    mode = _mode(step)
    weights = [step.constant(slot) for slot in (1, 2)]
    directions, units = _sizes(step, mode, [each.shape for each in weights])
    without = np.zeros((directions, 2 * weights[0].shape[1]), np.float32)
    weights.append(step.constant(_BIAS) if step.has(_BIAS) else without)
    if weights[-1].shape != without.shape:
        raise step.refuse(f"its biases have the shape {weights[-1].shape}, expected {without.shape}")
    vector = step.state.parameter(f"{step.name}_parameters", _packed(mode, units, weights))
    data = step.symbol(0)
    if step.state.makers.get(step.inputs[0]) in _BLOCKED:
        # oneDNN may keep their result in blocks, which MXNet's RNN fails at.
        data = sym.reshape(data, shape=(0, 0, 0))
    if direction == "reverse":
        data = sym.reverse(data, axis=0)
    states = [_begin(step, slot, (directions, 0, units)) for slot in _STATES[: 2 if mode == "lstm" else 1]]
    options = {"state_size": units, "num_layers": 1, "mode": mode, "bidirectional": directions == 2}
    found = list(sym.RNN(data, vector, *states, state_outputs=True, name=step.name, **options))
    steps = sym.reverse(found[0], axis=0) if direction == "reverse" else found[0]
    # Directions have an axis of their own in ONNX, before the batch.
    apart = sym.transpose(sym.reshape(steps, shape=(0, 0, directions, units)), axes=(0, 2, 1, 3))
    step.returns(apart, *found[1:])


def _mode(step: Step) -> str:
    """Return MXNet's name for what is computed; refuse what it has no name for."""
    attrs, usual = step.attrs, _USUAL[step.op]
    count = 2 if attrs.get("direction", "forward") == "bidirectional" else 1
    names = [each.decode() if isinstance(each, bytes) else each for each in attrs.get("activations", usual * count)]
    relu = step.op == "RNN" and names == ["Relu"] * count
    if names != usual * count and not relu:
        raise step.refuse(f"its activations are {', '.join(names)}, expected {', '.join(usual)}")
    if attrs.get("layout", 0):
        raise step.refuse(f"layout is {attrs['layout']}, expected 0: time first")
    for key in ("clip", "input_forget", "activation_alpha", "activation_beta"):
        if attrs.get(key):
            raise step.refuse(f"{key} is set")
    if step.op == "GRU" and not attrs.get("linear_before_reset", 0):
        raise step.refuse("linear_before_reset is 0; MXNet's GRU resets what its weights make of the state")
    for slot, what in ((_LENGTHS, "sequences have lengths of their own"), (_PEEPHOLES, "it has peepholes")):
        if step.has(slot):
            raise step.refuse(what)
    return {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn_relu" if relu else "rnn_tanh"}[step.op]


def _sizes(step: Step, mode: str, shapes: List[Tuple[int, ...]]) -> Tuple[int, int]:
    """Return the number of directions and of units; refuse weights that do not fit."""
    directions = 2 if step.attrs.get("direction", "forward") == "bidirectional" else 1
    units = int(step.attrs.get("hidden_size", shapes[1][-1] if shapes[1] else 0))
    rows = len(GATES[mode].gates) * units
    if (
        units < 1
        or shapes[1] != (directions, rows, units)
        or len(shapes[0]) != 3
        or shapes[0][:2] != (directions, rows)
    ):
        raise step.refuse(
            f"its weights have the shapes {shapes[0]} and {shapes[1]}, expected ({directions}, {rows}, inputs) and "
            f"({directions}, {rows}, {units})"
        )
    return directions, units


def _packed(mode: str, units: int, weights: List[NDArray[Any]]) -> NDArray[np.float32]:
    """Return MXNet's vector of parameters, given the weights of the data, of the state, and the biases."""
    of_data, of_state, biases = weights
    places = np.argsort(GATES[mode].gates)
    rows = np.concatenate([np.arange(units) + place * units for place in places])
    split = biases.shape[1] // 2
    layer = [
        Direction(data[rows], state[rows], bias[:split][rows], bias[split:][rows])
        for data, state, bias in zip(of_data, of_state, biases)
    ]
    return pack([layer])


def _begin(step: Step, slot: int, shape: Any) -> Any:
    """Return a state to begin with: zeros for any batch where nothing else is given."""
    if not step.has(slot) or (step.is_constant(slot) and not step.constant(slot).any()):
        return sym.zeros(shape=shape)
    return step.symbol(slot)


RECURRENT: Dict[str, Callable[[Step], None]] = dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent)
