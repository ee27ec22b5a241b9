"""Names of layers and inputs, among them those that a tool might take for its own."""

from __future__ import annotations

from typing import Optional

from hypothesis import strategies as st

__all__ = ["input_names", "layer_names"]

# By the number of the layer, so that they differ; MXNet itself refuses parameters of one name.
_ODD = (
    "слой{0}",
    "層 {0}",
    "two words {0}",
    "a/b:{0}",
    "[{0}]*?",
    'quote"{0}',
    "{0}",
    "layer{0}_weight",
    "layer{0}_bias",
    "layer{0}_quantize",
    "layer{0}_quantize_min",
    "layer{0}_label",
    "layer{0}_output",
    "layer{0}_output0",
    "layer{0}_dequantize",
    "quantized_layer{0}",
    "requantize_layer{0}",
    "sg_mkldnn_conv_{0}",
    "sg_mkldnn_fully_connected_{0}",
    "convolution{0}",
    "fullyconnected{0}",
    "activation0",
    "pooling{0}",
    "data_quantize",
    "data_codes",
    "layer{0}_real",
    "layer{0}_clipped",
)


@st.composite
def layer_names(draw: st.DrawFn, number: int, plain: bool) -> Optional[str]:
    """Draw a name, or None for the one that MXNet gives; `plain` ones cannot clash."""
    kind = draw(st.sampled_from(("plain", "plain", "plain", "given", "odd")))
    if kind == "plain" or (plain and kind == "odd"):
        return f"layer{number}"
    return draw(st.sampled_from(_ODD)).format(number) if kind == "odd" else None


def input_names(number: int) -> st.SearchStrategy[str]:
    """Draw the name of an input."""
    odd = (f"вход {number}", f"softmax{number}_output", f"x{number}_quantize", f"sg_mkldnn_conv_{number}")
    return st.sampled_from((*(("data" if number == 0 else f"data{number}",) * 6), *odd))
