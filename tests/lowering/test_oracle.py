"""The int8 graph is the one MXNet's own pass makes, given the same fp32 network and the same thresholds.

MXNet's pass works on the canonical network (BatchNorm folded), with the plan's ranges. Two of its faults are mended
here before outputs are compared to the last bit, since mxquant does not have them:

* it prints ranges with six decimals: they get all their digits back;
* it quantizes the parameters of a FullyConnected to ±127 and tells the operator that their ends are the range, which
  the operator takes for ±127.5: they get the range that their codes have.

What mxquant does differently on purpose otherwise lies in the plan (ranges of additions in place) or is excluded from
both (layers kept apart).
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest

from mxquant import QuantPlan, calibrate, lower, make_plan
from mxquant.graph.passes import canonicalize
from mxquant.lowering.onednn import OneDNN
from mxquant.lowering.quantized_params import range_end
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of, split_params, symbol_of
from tests.networks import forward, network_of, zoo

NETWORKS = (
    *("resnet18_v1", "mobilenet1.0", "mobilenetv2_1.0", "squeezenet1.0", "densenet121"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50_v2", "inceptionv3", "vgg11_bn")),
)


def with_all_digits(symbol: Any, plan: QuantPlan) -> Any:
    """Return MXNet's int8 Symbol with the plan's ranges in the place of those that were rounded to six decimals."""
    ends = np.array([range_end(tensor) for tensor in plan.tensors.values() if tensor.threshold is not None])
    document = json.loads(symbol.tojson())
    for node in document["nodes"]:
        attrs = node.get("attrs", {})
        for key in ("min_calib_range", "max_calib_range"):
            if float(attrs.get(key, 0)):
                end = ends[np.abs(ends - abs(float(attrs[key]))).argmin()]
                assert abs(end - abs(float(attrs[key]))) < 1e-6
                attrs[key] = f"{np.copysign(end, float(attrs[key])):.9g}"
    return mx.sym.load_json(json.dumps(document))


def with_the_range_of_their_codes(parameters: Dict[str, Any]) -> Dict[str, Any]:
    """Return MXNet's parameters with the range that an operator has to be told for codes up to 127."""
    wider = np.float32(127.5 / 127)
    return {name: value * wider if name.endswith(("_min", "_max")) else value for name, value in parameters.items()}


def stock_pass(symbol: Any, args: Any, aux: Any, plan: QuantPlan) -> List[Any]:
    """Return the Symbol and parameters that MXNet's pass makes of a canonical fp32 network with a plan's thresholds."""
    from mxnet.contrib import quantization as stock

    network = canonicalize(network_of(symbol, args, aux)).network
    canonical = symbol_of(network.graph)
    arguments, auxiliary = split_params(network, canonical)
    fused = canonical.get_backend_symbol("MKLDNN_QUANTIZE")
    ours = {node.name: node for node in OneDNN().prepare(network, True, frozenset()).graph.operators}
    excluded = [
        node.name
        for node in graph_of(fused).operators
        if node.name in ours and plan.layers[ours[node.name].layers[0]].precision == "float32"
    ]
    quantized, _ = stock._quantize_symbol(
        fused,
        mx.cpu(),
        excluded_symbols=excluded,
        offline_params=list(arguments),
        quantized_dtype="auto",
        quantize_mode="full",
        quantize_granularity="tensor-wise",
    )
    quantized = stock._calibrate_quantized_sym(quantized, ranges(plan, ours.values()))
    parameters = stock._quantize_params(quantized, arguments, {})
    symbol = with_all_digits(quantized.get_backend_symbol("MKLDNN_QUANTIZE"), plan)
    return [symbol, with_the_range_of_their_codes(parameters), auxiliary]


def ranges(plan: QuantPlan, nodes: Any) -> Dict[str, Tuple[float, float]]:
    """Return the plan's ranges by the names that MXNet's pass knows: those of fused nodes and of variables."""
    table = {}
    names = {node.output.name: f"{node.name}_output" for node in nodes}
    for name, tensor in plan.tensors.items():
        # A FullyConnected that returns float32 has no range; MXNet's pass wants one, and then drops it.
        high = range_end(tensor) if tensor.threshold is not None else 1.0
        table[names.get(name, name)] = (0.0 if tensor.dtype == "uint8" else -high, high)
    return table


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_equal_to_the_last_bit(name: str) -> None:
    symbol, args, aux, data = zoo(name)
    parameters = {"arg_params": args, "aux_params": aux}
    statistics = calibrate(symbol, data, **parameters)
    options = {"method": "minmax", "mode": "full", "granularity": "tensor-wise", "isa": "vnni"}
    plan = make_plan(symbol, statistics, **parameters, **options)
    ours = lower(symbol, plan, **parameters)
    oracle = stock_pass(symbol, args, aux, plan)
    expected = forward(*oracle, data=data)
    actual = forward(ours.symbol, ours.arg_params, ours.aux_params, data=data)
    np.testing.assert_array_equal(actual, expected)
