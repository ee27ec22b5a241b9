"""The int8 graph is the one MXNet's own pass makes, given the same fp32 network and the same thresholds.

MXNet's pass works on the canonical network (BatchNorm folded), with every threshold of the plan. It prints ranges
with six decimals, so the plan's thresholds are rounded to as many first. What mxquant does differently on purpose
lies in the plan (thresholds of additions in place) or is excluded from both (layers kept apart), so nothing is left
to explain: outputs have to be equal to the last bit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest

from mxquant import QuantPlan, calibrate, lower, make_plan
from mxquant._compat import mx
from mxquant.graph.passes import canonicalize
from mxquant.lowering.onednn import OneDNN
from mxquant.mxnet_bridge import graph_of, split_params, symbol_of
from tests.networks import forward, network_of, zoo

NETWORKS = (
    "resnet18_v1",
    "resnet50_v2",
    "mobilenet1.0",
    "mobilenetv2_1.0",
    "squeezenet1.0",
    "inceptionv3",
    "densenet121",
    "vgg11_bn",
)


def with_six_decimals(plan: QuantPlan) -> QuantPlan:
    tensors = {
        name: replace(tensor, threshold=tensor.threshold and max(round(tensor.threshold, 6), 1e-6))
        for name, tensor in plan.tensors.items()
    }
    return replace(plan, tensors=tensors)


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
    return [quantized.get_backend_symbol("MKLDNN_QUANTIZE"), parameters, auxiliary]


def ranges(plan: QuantPlan, nodes: Any) -> Dict[str, Tuple[float, float]]:
    """Return the plan's ranges by the names that MXNet's pass knows: those of fused nodes and of variables."""
    table = {}
    names = {node.output.name: f"{node.name}_output" for node in nodes}
    for name, tensor in plan.tensors.items():
        # A FullyConnected that returns float32 has no range; MXNet's pass wants one, and then drops it.
        high = tensor.threshold or 1.0
        table[names.get(name, name)] = (0.0 if tensor.dtype == "uint8" else -high, high)
    return table


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_equal_to_the_last_bit(name: str) -> None:
    symbol, args, aux, data = zoo(name)
    parameters = {"arg_params": args, "aux_params": aux}
    statistics = calibrate(symbol, data, **parameters)
    options = {"method": "minmax", "mode": "full", "granularity": "tensor-wise"}
    plan = with_six_decimals(make_plan(symbol, statistics, **parameters, **options))
    ours = lower(symbol, plan, **parameters)
    oracle = stock_pass(symbol, args, aux, plan)
    expected = forward(*oracle, data=data)
    actual = forward(ours.symbol, ours.arg_params, ours.aux_params, data=data)
    np.testing.assert_array_equal(actual, expected)
