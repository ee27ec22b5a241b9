"""What MXNet's int8 LSTM computes, for the simulation on CPUs where the operator does not run.

With codes q of the data and h of the state less their zero points, weights W in whole steps d of each row, and the
scale s of the state::

    sums   = d (W_data q + W_state h) / s + bias          of the gates i, f, g, o
    cell   = sigmoid(f) cell + sigmoid(i) tanh(g)
    h      = round(sigmoid(o) tanh(cell) s)               from -64 to 191

It is an operator of MXNet's written in NumPy (``mx.operator.CustomOp``): slower than the original, and only known to a
process that has imported this module. ``tests/lowering/test_emulated_recurrent.py`` compares the two code by code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Tuple

import numpy as np

from mxquant.graph import Node
from mxquant.graph.packed_recurrent import Direction, rows_of, unpack
from mxquant.plan.recurrent_plan import RecurrentPlan
from mxquant.runtime.mxnet import mx

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OPERATOR", "attributes", "emulate"]

OPERATOR = "mxquant_int8_lstm"


def attributes(node: Node, plan: RecurrentPlan) -> Dict[str, str]:
    """Return the attributes with which a ``Custom`` operator computes an LSTM of one layer in the codes of its plan."""
    names = ("mode", "state_size", "num_layers", "bidirectional")
    ends = {"lowest": plan.lowest, "largest": plan.largest, "state": plan.state}
    return {
        "op_type": OPERATOR,
        **{name: node.attrs[name] for name in names if name in node.attrs},
        **{name: repr(float(value)) for name, value in ends.items()},
    }


def emulate(
    node: Node, plan: RecurrentPlan, data: NDArray[Any], vector: NDArray[Any], begin: Sequence[NDArray[Any]]
) -> Tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return what the int8 operator makes of an LSTM layer's data.

    Parameters
    ----------
    node : Node
        The fp32 LSTM, of one layer.
    plan : RecurrentPlan
        Its codes.
    data : numpy.ndarray
        float32, shape (T, N, inputs).
    vector : numpy.ndarray
        Its fp32 parameters.
    begin : sequence of numpy.ndarray
        State and cell to begin with, float32, shape (directions, N, units).

    Returns
    -------
    tuple of numpy.ndarray
        The states of all steps, shape (T, N, directions · units); the last state and cell, in the shape of the first.
    """
    (directions,) = unpack(node, vector)
    factor = np.float32(plan.state_scale / plan.data_scale)
    scaled = [each._replace(of_data=each.of_data * factor) for each in directions]
    largest = np.abs(rows_of(scaled)).max(axis=1).astype(np.float64)
    steps = np.where(largest > 0, largest, 1) / 127
    codes = np.clip(np.rint(data.astype(np.float64) * plan.data_scale + plan.data_zero), 0, 128) - plan.data_zero
    results = [
        _one_way(direction, steps, codes[:: 1 - 2 * way], plan, begin[0][way], begin[1][way])
        for way, direction in enumerate(scaled)
    ]
    states = [states[:: 1 - 2 * way] for way, (states, _) in enumerate(results)]
    last = np.stack([states[-1] for states, _ in results])
    cells = np.stack([cell for _, cell in results])
    return np.concatenate(states, axis=2).astype(np.float32), last.astype(np.float32), cells.astype(np.float32)


def _one_way(
    direction: Direction,
    steps: NDArray[np.float64],
    codes: NDArray[np.float64],
    plan: RecurrentPlan,
    state: NDArray[Any],
    cell: NDArray[Any],
) -> Tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the states of one direction, in the order in which it reads its data, and the last cell."""
    of_data, of_state = (np.rint(each / steps[:, None]) for each in (direction.of_data, direction.of_state))
    bias = direction.bias_of_data.astype(np.float64) + direction.bias_of_state
    scale, zero = plan.state_scale, plan.state_zero
    held = np.rint(state.astype(np.float64).clip(-plan.state, plan.state) * scale)
    content = cell.astype(np.float64)
    found: List[NDArray[np.float64]] = []
    for step in codes:
        sums = (step @ of_data.T + held @ of_state.T) * (steps / scale) + bias
        gate, forget, value, out = np.split(sums, 4, axis=1)
        content = _sigmoid(forget) * content + _sigmoid(gate) * np.tanh(value)
        held = np.clip(np.rint(_sigmoid(out) * np.tanh(content) * scale), -zero, 255 - zero)
        found.append(held / scale)
    return np.array(found), content


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * values))
    return result


class _Operator(mx.operator.CustomOp):  # type: ignore[misc]
    def __init__(self, node: Node, plan: RecurrentPlan) -> None:
        super().__init__()
        self.node, self.plan = node, plan

    def forward(self, is_train: bool, req: Any, in_data: Any, out_data: Any, aux: Any) -> None:
        data, vector, *begin = (each.asnumpy() for each in in_data)
        for request, target, value in zip(req, out_data, emulate(self.node, self.plan, data, vector, begin)):
            self.assign(target, request, mx.nd.array(value))


@mx.operator.register(OPERATOR)
class _Properties(mx.operator.CustomOpProp):  # type: ignore[misc]
    def __init__(self, lowest: str, largest: str, state: str, **attrs: str) -> None:
        super().__init__(need_top_grad=False)
        self.node = Node("RNN", "lstm", attrs, [], 3)
        self.plan = RecurrentPlan(float(lowest), float(largest), float(state))
        self.ways = 2 if attrs.get("bidirectional", "False").lower() in ("true", "1") else 1
        self.units = int(attrs["state_size"])

    def list_arguments(self) -> List[str]:
        return ["data", "parameters", "state", "cell"]

    def list_outputs(self) -> List[str]:
        return ["output", "last_state", "last_cell"]

    def infer_type(self, in_type: Any) -> Any:
        return [np.float32] * 4, [np.float32] * 3, []

    def infer_shape(self, in_shape: Any) -> Any:
        (length, batch, _), vector = in_shape[0], in_shape[1]
        state = (self.ways, batch, self.units)
        return [in_shape[0], vector, state, state], [(length, batch, self.ways * self.units), state, state], []

    def create_operator(self, ctx: Any, shapes: Any, dtypes: Any) -> _Operator:
        return _Operator(self.node, self.plan)
