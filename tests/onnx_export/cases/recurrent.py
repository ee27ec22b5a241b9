"""Cases of recurrent layers, and of the zeros and ones that they begin with."""

from __future__ import annotations

from typing import Any

from mxquant.runtime.mxnet import mx
from tests.onnx_export.cases.parts import IMAGE, ROW, Cases, all_outputs

sym = mx.sym


def _recurrent(x: Any, mode: str, layers: int = 1, both: bool = False, states: bool = False) -> Any:
    """Return what a recurrent layer of five units makes, and its last states."""
    zeros = [sym.zeros(shape=(layers * (1 + both), 0, 5)) for _ in range(2 if mode == "lstm" else 1)]
    options = {"state_size": 5, "num_layers": layers, "mode": mode, "bidirectional": both, "state_outputs": states}
    found = sym.RNN(x, sym.var("parameters") * 4, *zeros, **options)
    return all_outputs(found) if states else found


CASES: Cases = {
    **{
        f"RNN {mode}, {layers} layers{', both ways' if both else ''}{', with states' if states else ''}": (
            (7, 2, 4),
            lambda x, options=(mode, layers, both, states): _recurrent(x, *options),
        )
        for mode in ("lstm", "gru", "rnn_tanh", "rnn_relu")
        for layers, both, states in ((1, False, False), (1, True, True), (2, False, True), (3, True, False))
    },
    "_zeros": (ROW, lambda x: sym.concat(x, sym.zeros(shape=(3, 2)), dim=1)),
    "_zeros as many as images": (IMAGE, lambda x: sym.relu(x) + sym.zeros(shape=(0, 4, 9, 10))),
    "_ones": (ROW, lambda x: sym.broadcast_add(x, sym.ones(shape=(1, 7)))),
}
