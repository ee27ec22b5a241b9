"""What networks are seldom like, each by itself a small part of all of them.

Exports multiply the batch into a Reshape, sequences are time-major beside their lengths and states, a network returns
all results of an operator, ends in a loss with its label, or is saved in float16.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from hypothesis import strategies as st

from tests.soak.networks.description import Heads, Input, Layer
from tests.soak.networks.names import layer_names
from tests.soak.networks.sketch import Sketch

__all__ = ["add_all_results", "add_fixed_batch", "add_loss", "add_sequence", "rarely", "sequence_inputs", "with_last"]

_LOSSES = (
    *("SoftmaxOutput", "SoftmaxOutput", "LinearRegressionOutput"),
    *("LogisticRegressionOutput", "MAERegressionOutput"),
)


def rarely(of: int = 12) -> st.SearchStrategy[bool]:
    """Draw True once in so many times."""
    return st.sampled_from((False,) * (of - 1) + (True,))


def sequence_inputs(draw: st.DrawFn, names: List[str], kind: str) -> Tuple[List[Input], Dict[str, Any]]:
    """Draw time-major data and lengths, and states with the attributes of the recurrent layer that begins with them."""
    steps, batch, channels = draw(st.integers(2, 7)), draw(st.sampled_from((4, 3, 2, 1))), draw(st.integers(1, 6))
    inputs = [Input(names[0], (steps, batch, channels), kind), Input("lengths", (batch,), f"lengths {steps}")]
    if draw(st.booleans()):
        return inputs, {}
    mode = draw(st.sampled_from(("lstm", "lstm", "gru")))
    attrs = {
        "mode": mode,
        "state_size": draw(st.integers(1, 8)),
        "num_layers": draw(st.sampled_from((1, 1, 2))),
        "bidirectional": draw(st.booleans()),
        "time_major": True,
    }
    shape = (attrs["num_layers"] * (1 + attrs["bidirectional"]), batch, attrs["state_size"])
    states = ("state", "state_cell") if mode == "lstm" else ("state",)
    return [*inputs, *(Input(name, shape, "normal") for name in states)], attrs


def add_sequence(draw: st.DrawFn, sketch: Sketch, attrs: Dict[str, Any]) -> None:
    """Add what reads the lengths: masks, last steps, reversals, behind a recurrent layer where there are states."""
    tensor = 0
    if attrs:
        result = draw(st.sampled_from((0, 0, 0, 1)))
        states = tuple(range(2, len(sketch.inputs)))
        sketch.add(Layer("RNN", f"layer{sketch.number}", (0, *states), attrs, result=result))
        tensor = 0 if result else len(sketch.shapes) - 1
    elif draw(st.booleans()):
        hidden = {"num_hidden": draw(st.integers(1, 8)), "flatten": False}
        sketch.add(Layer("FullyConnected", f"layer{sketch.number}", (0,), hidden))
        tensor = len(sketch.shapes) - 1
    for op in draw(st.sampled_from((("SequenceMask",), ("SequenceMask", "SequenceLast"), ("SequenceReverse",)))):
        value = {"value": draw(st.sampled_from((0, 0, -1)))} if op == "SequenceMask" else {}
        chosen = {"use_sequence_length": True, **value}
        sketch.add(Layer(op, draw(layer_names(sketch.number, plain=False)), (tensor, 1), chosen))
        tensor = len(sketch.shapes) - 1


def add_fixed_batch(draw: st.DrawFn, sketch: Sketch) -> None:
    """Add a Reshape, there and perhaps back, of which the shape has the batch in it as a number."""
    data = sketch.some(draw)
    if data is None:
        return
    batch, *rest = sketch.shapes[data]
    rows = (batch * rest[0], -1) if len(rest) > 1 else (-1, batch * rest[0])
    shape = draw(st.sampled_from((rows, (batch, -1), (batch, *rest), (1, batch, -1))))
    if sketch.add(Layer("Reshape", draw(layer_names(sketch.number, plain=False)), (data,), {"shape": shape})):
        back = len(sketch.shapes) - 1
        if draw(st.booleans()):
            sketch.add(Layer("reshape", f"layer{sketch.number}", (back,), {"shape": (batch, *rest)}))


def add_all_results(draw: st.DrawFn, sketch: Sketch) -> bool:
    """Add an operator of which all results are returned; return whether it was added."""
    data = sketch.some(draw)
    if data is None:
        return False
    shape = sketch.shapes[data]
    axis = draw(st.sampled_from((len(shape) - 1, 1)))
    name = draw(layer_names(sketch.number, plain=False))
    counts = [count for count in (2, 3, 4) if shape[axis] % count == 0]
    if counts and draw(st.booleans()):
        attrs: Dict[str, Any] = {"num_outputs": draw(st.sampled_from(counts)), "axis": axis}
        return sketch.add(Layer(draw(st.sampled_from(("SliceChannel", "split"))), name, (data,), attrs, result=-1))
    attrs = {"k": draw(st.integers(1, shape[axis])), "axis": axis, "ret_typ": "both"}
    return sketch.add(Layer("topk", name, (data,), attrs, result=-1))


def add_loss(draw: st.DrawFn, sketch: Sketch) -> None:
    """Add a loss, the label of which may go through a Reshape."""
    data = sketch.some(draw, (2,))
    if data is None:
        return
    op, name = draw(st.sampled_from(_LOSSES)), f"layer{sketch.number}"
    rows, columns = sketch.shapes[data]
    if not draw(st.booleans()):
        sketch.add(Layer(op, name, (data,)))
    elif op == "SoftmaxOutput":
        sketch.add(Layer(op, name, (data,), {"label": draw(st.sampled_from(((rows, 1), (rows,), (1, rows))))}))
    elif sketch.add(Layer("Reshape", f"layer{sketch.number}", (data,), {"shape": (-1,)})):
        name = f"layer{sketch.number}"
        sketch.add(Layer(op, name, (len(sketch.shapes) - 1,), {"label": (rows, columns)}))


def with_last(heads: Heads, last: int) -> Heads:
    """Return heads among which is one more, in front."""
    return (last, *(head for head in heads if head != last))
