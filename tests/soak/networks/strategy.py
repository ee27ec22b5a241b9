"""The Hypothesis strategy: inputs, a dozen layers one on top of the other, what is returned, values and options."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

from hypothesis import strategies as st

from tests.soak.networks import arrangement, layers, pointwise, variants, windows
from tests.soak.networks.description import Description, Heads, Input, Layer
from tests.soak.networks.names import input_names
from tests.soak.networks.sketch import Sketch
from tests.soak.networks.values import DATA, PARAMETERS

__all__ = ["descriptions"]

_KINDS: Tuple[Callable[[st.DrawFn, Sketch], Optional[Layer]], ...] = (
    *(windows.convolution,) * 7,
    *(pointwise.activation,) * 4,
    *(layers.dense,) * 3,
    *(layers.recurrent,) * 2,
    *(pointwise.combination,) * 3,
    *(windows.pooling,) * 3,
    *(arrangement.concat,) * 2,
    *(layers.normalization,) * 2,
    *(arrangement.shape_change,) * 2,
    arrangement.parts,
    arrangement.reduction,
    layers.dropout,
    layers.softmax,
    pointwise.broadcast,
    pointwise.function,
    pointwise.parameter,
    pointwise.scalar,
    windows.deconvolution,
    windows.pad,
)
_TARGETS = ("onednn",) * 6 + ("onnx_qdq",) * 2 + ("cudnn",) * 2


@st.composite
def descriptions(draw: st.DrawFn, usual: bool = False) -> Description:
    """Draw a network; `usual` ones have neither odd data nor odd parameters."""
    options = draw(_options())
    # Without calibration MXNet loses the bias of a convolution where a batch is next to zero.
    usual = usual or options["method"] is None
    sequences, fixed, all_results, loss, half = (draw(variants.rarely()) for _ in range(5))
    if (sequences or fixed) and options["method"] is not None:
        # Batches are joined and cut by this one alone.
        options["accuracy"] = draw(st.sampled_from(("plain", "balanced")))
    inputs, states = draw(_inputs(usual)), {}
    if sequences:
        inputs, states = variants.sequence_inputs(draw, [each.name for each in inputs], inputs[0].values)
    sketch = Sketch(inputs)
    if half and draw(st.booleans()):
        sketch.add(Layer("Cast", None, (0,), {"dtype": "float16"}))
    if sequences:
        variants.add_sequence(draw, sketch, states)
    if fixed:
        variants.add_fixed_batch(draw, sketch)
    for _ in range(draw(st.integers(3, 14))):
        sketch.add(draw(st.sampled_from(_KINDS))(draw, sketch))
    if loss:
        variants.add_loss(draw, sketch)
    if half and draw(st.booleans()):
        sketch.add(Layer("Cast", None, (len(sketch.shapes) - 1,), {"dtype": "float32"}))
    heads = draw(_heads(len(sketch.shapes), len(sketch.inputs)))
    if all_results and variants.add_all_results(draw, sketch):
        heads = variants.with_last(heads, len(sketch.shapes) - 1)
    names = [layer.name for layer in sketch.layers if layer.name is not None]
    if names and draw(st.sampled_from((False,) * 7 + (True,))):
        options["exclude"] = draw(st.sampled_from(names))
    return Description(
        tuple(sketch.inputs),
        tuple(sketch.layers),
        heads,
        "usual" if usual else draw(st.sampled_from(PARAMETERS)),
        options,
        draw(st.integers(0, 10**6)),
        "float16" if half else "float32",
        draw(st.integers(1, 3)) if sequences or fixed or loss else 1,
    )


@st.composite
def _inputs(draw: st.DrawFn, usual: bool) -> List[Input]:
    batch = draw(st.sampled_from((4, 3, 1)))
    rank = draw(st.sampled_from((4, 4, 4, 4, 2, 3, 5)))
    sizes = {2: (), 3: (9,), 4: (8, 6), 5: (3, 5, 4)}[rank]
    shape = (batch, draw(st.sampled_from((4, 3, 8, 1, 6))), *(draw(st.integers(1, size)) for size in sizes))
    if rank == 4 and draw(st.booleans()):
        shape = (*shape[:2], 8, 8)
    kinds = st.sampled_from(DATA[:3] if usual else DATA)
    count = draw(st.sampled_from((1, 1, 1, 2)))
    return [Input(draw(input_names(number)), shape, draw(kinds)) for number in range(count)]


@st.composite
def _heads(draw: st.DrawFn, tensors: int, inputs: int) -> Heads:
    """Draw what is returned: the last tensor, others too, groups of them, seldom an input as it is."""
    last = tensors - 1
    if draw(st.sampled_from((True, True, True, False))):
        return (last,)
    made = st.integers(min(inputs, last), last)
    more: List[Any] = draw(st.lists(made, min_size=1, max_size=3, unique=True))
    heads: List[Any] = [last, *(number for number in more if number != last)]
    if draw(st.sampled_from((False, False, True))):
        heads = [heads[0], tuple(heads)]
    if draw(st.sampled_from((False,) * 6 + (True,))):
        heads.append(0)
    return tuple(heads)


@st.composite
def _options(draw: st.DrawFn) -> Dict[str, Any]:
    options: Dict[str, Any] = {
        "target": draw(st.sampled_from(_TARGETS)),
        "method": draw(st.sampled_from(("minmax", "minmax", "mse", "entropy", "percentile"))),
        "mode": draw(st.sampled_from(("smart", "full"))),
        "dtype": draw(st.sampled_from(("auto", "auto", "int8", "uint8"))),
        "granularity": draw(st.sampled_from(("channel-wise", "channel-wise", "tensor-wise"))),
        "accuracy": draw(st.sampled_from(("plain",) * 4 + ("fast",) * 3 + ("balanced",))),
    }
    if options["target"] == "onednn" and draw(st.sampled_from((False,) * 5 + (True,))):
        options.update(method=None, accuracy="plain")
    return options
