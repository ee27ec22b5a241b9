"""Layers with parameters but without windows, and those that end a network."""

from __future__ import annotations

from typing import Any, Dict, Optional

from hypothesis import strategies as st

from tests.soak.networks.description import Layer
from tests.soak.networks.names import layer_names
from tests.soak.networks.sketch import Sketch

__all__ = ["dense", "dropout", "normalization", "recurrent", "softmax"]


def dense(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw a FullyConnected, on rows or on all values of an example, perhaps with the weight of an earlier one."""
    data = sketch.some(draw)
    if data is None:
        return None
    attrs: Dict[str, Any] = {
        "num_hidden": draw(st.integers(1, 12)),
        "no_bias": draw(st.sampled_from((False, False, True))),
        "flatten": draw(st.sampled_from((True, True, False))),
    }

    def columns(tensor: int, flatten: bool) -> int:
        count = 1
        for length in sketch.shapes[tensor][1:] if flatten else sketch.shapes[tensor][-1:]:
            count *= length
        return count

    wanted = (attrs["num_hidden"], columns(data, attrs["flatten"]))
    same = [
        number
        for number, layer in enumerate(sketch.layers)
        if layer.op == "FullyConnected"
        and (layer.name is not None or layer.shares is not None)
        and (layer.attrs["num_hidden"], columns(layer.reads[0], layer.attrs["flatten"])) == wanted
    ]
    shares = draw(st.sampled_from((None, None, *same)))
    return Layer(
        "FullyConnected", draw(layer_names(sketch.number, plain=shares is not None)), (data,), attrs, shares=shares
    )


def recurrent(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw a recurrent layer, mostly an LSTM, over the second axis: its result at each step, or a last state."""
    data = sketch.some(draw, (3,))
    if data is None:
        return None
    mode = draw(st.sampled_from(("lstm", "lstm", "lstm", "gru", "rnn_tanh")))
    attrs: Dict[str, Any] = {
        "mode": mode,
        "state_size": draw(st.integers(1, 10)),
        "num_layers": draw(st.sampled_from((1, 1, 2, 3))),
        "bidirectional": draw(st.booleans()),
    }
    result = draw(st.sampled_from((0, 0, 0, 1, *((2,) if mode == "lstm" else ()))))
    return Layer("RNN", draw(layer_names(sketch.number, plain=False)), (data,), attrs, result=result)


def normalization(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw a BatchNorm, seldom another normalization."""
    data = sketch.some(draw)
    if data is None:
        return None
    rank = len(sketch.shapes[data])
    name = draw(layer_names(sketch.number, plain=False))
    op = draw(st.sampled_from(("BatchNorm", "BatchNorm", "BatchNorm", "LayerNorm", "InstanceNorm", "L2Normalization")))
    if op != "BatchNorm":
        return Layer(op, name, (data,))
    attrs = {
        "fix_gamma": draw(st.booleans()),
        "eps": draw(st.sampled_from((1e-3, 1e-5, 2e-5))),
        "use_global_stats": draw(st.booleans()),
        "axis": draw(st.sampled_from((1, 1, 1, rank - 1, -1))),
    }
    return Layer(op, name, (data,), attrs)


def dropout(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw a Dropout."""
    data = sketch.some(draw)
    return None if data is None else Layer("Dropout", draw(layer_names(sketch.number, plain=False)), (data,))


def softmax(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw a softmax, perhaps the kind that has a label."""
    data = sketch.some(draw)
    if data is None:
        return None
    op = draw(st.sampled_from(("softmax", "softmax", "log_softmax", "SoftmaxActivation", "SoftmaxOutput")))
    name = f"layer{sketch.number}" if op == "SoftmaxOutput" else draw(layer_names(sketch.number, plain=False))
    attrs = {"axis": draw(st.sampled_from((-1, 1)))} if op in ("softmax", "log_softmax") else {}
    return Layer(op, name, (data,), attrs)
