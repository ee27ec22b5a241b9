"""Layers that work on values one by one, or on those at one place of several tensors."""

from __future__ import annotations

from typing import Any, Dict, Optional

from hypothesis import strategies as st

from tests.soak.networks.description import Layer
from tests.soak.networks.names import layer_names
from tests.soak.networks.sketch import Sketch

__all__ = ["activation", "broadcast", "combination", "function", "parameter", "scalar"]

_ACTIVATIONS = ("relu", "relu", "relu", "sigmoid", "tanh", "softrelu", "softsign")
_LEAKY = ("leaky", "elu", "selu", "gelu", "prelu")
_FUNCTIONS = ("relu", "sigmoid", "tanh", "abs", "square", "exp", "negative", "identity", "BlockGrad", "round", "sign")
_SCALARS = ("_plus_scalar", "_minus_scalar", "_rminus_scalar", "_mul_scalar", "_div_scalar", "_maximum_scalar")
_PAIRS = ("elemwise_add", "elemwise_add", "elemwise_add", "elemwise_sub", "elemwise_mul", "elemwise_mul")
_BROADCAST = ("broadcast_add", "broadcast_sub", "broadcast_mul", "broadcast_maximum")


def activation(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw an activation of its own: ReLU, ReLU6 and other clips, LeakyReLU of all kinds, curved ones."""
    data = sketch.some(draw)
    name = draw(layer_names(sketch.number, plain=False))
    op = draw(st.sampled_from(("Activation", "Activation", "Activation", "clip", "LeakyReLU")))
    attrs: Dict[str, Any] = {"act_type": draw(st.sampled_from(_ACTIVATIONS))}
    if op == "clip":
        low, high = draw(st.sampled_from(((0, 6), (0, 0.5), (-1, 1), (0, 1e-3), (0.25, 2), (-2, -0.5), (0, 0))))
        attrs = {"a_min": low, "a_max": high}
    elif op == "LeakyReLU":
        attrs = {"act_type": draw(st.sampled_from(_LEAKY)), "slope": draw(st.sampled_from((0.25, 0.01, -0.5, 2)))}
    return None if data is None else Layer(op, name, (data,), attrs)


def function(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw a function of single values."""
    data = sketch.some(draw)
    op = draw(st.sampled_from(_FUNCTIONS))
    return None if data is None else Layer(op, draw(layer_names(sketch.number, plain=False)), (data,))


def scalar(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw an operation with a number."""
    data = sketch.some(draw)
    attrs = {"scalar": draw(st.sampled_from((0.5, 3.0, -1.0, 1.0, 1e-3, 100.0, 1e-18)))}
    op = draw(st.sampled_from(_SCALARS))
    return None if data is None else Layer(op, draw(layer_names(sketch.number, plain=False)), (data,), attrs)


def combination(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw a sum, difference or product of tensors of one shape, perhaps of one with itself."""
    data = sketch.some(draw)
    if data is None:
        return None
    name = draw(layer_names(sketch.number, plain=False))
    if draw(st.sampled_from((False,) * 5 + (True,))):
        return Layer("add_n", name, (data, sketch.like(draw, data), sketch.like(draw, data)))
    reads = (data, sketch.like(draw, data))
    return Layer(draw(st.sampled_from(_PAIRS)), name, reads if draw(st.booleans()) else reads[::-1])


def broadcast(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw an operation of a tensor and one that fits it with axes of length 1."""
    data = sketch.some(draw)
    if data is None:
        return None
    shape = sketch.shapes[data]
    fitting = [
        number
        for number, other in enumerate(sketch.shapes)
        if len(other) == len(shape) and all(b in (1, a) for a, b in zip(shape, other))
    ]
    reads = (data, draw(st.sampled_from(sorted(fitting, key=lambda number: sketch.shapes[number] == shape))))
    return Layer(draw(st.sampled_from(_BROADCAST)), draw(layer_names(sketch.number, plain=False)), reads)


def parameter(draw: st.DrawFn, sketch: Sketch) -> Optional[Layer]:
    """Draw a parameter in the shape of a tensor, or with axes of length 1."""
    data = sketch.some(draw)
    if data is None:
        return None
    shape = sketch.shapes[data]
    if draw(st.booleans()):
        shape = tuple(length if draw(st.booleans()) else 1 for length in shape)
    name = draw(st.sampled_from((f"parameter{sketch.number}", f"p{sketch.number}_weight", f"p{sketch.number} β")))
    return Layer("parameter", name, (), {"shape": shape})
