"""Layers that share data get one limit of codes."""

from __future__ import annotations

import numpy as np

import mxquant
from mxquant.graph import Node
from mxquant.lowering.memory_order import as_in_memory
from mxquant.lowering.pairs import largest_data_code
from mxquant.lowering.saturation import largest_safe_code, weight_codes
from mxquant.planning.code_limits import Reader, joined
from mxquant.runtime.mxnet import mx
from tests.networks import conv, images, random_params, relu


def test_readers_are_joined_by_the_tensors_that_they_share() -> None:
    a, b, c, d = (Node("null", name).output for name in "abcd")
    first, second, third = (Reader(Node("conv", name), 1.0) for name in ("first", "second", "third"))
    groups = joined([([a], first), ([c], second), ([a, b], third)])
    assert groups == [([c], [second]), ([a, b], [first, third])]
    groups = joined([([a], first), ([c, d], second), ([d, a], third)])
    assert [set(tensors) for tensors, _ in groups] == [{a, c, d}]
    assert [reader.node.name for reader in groups[0][1]] == ["first", "second", "third"]


def test_two_layers_that_read_one_tensor_are_both_safe() -> None:
    data = images(2, 3, 8, 8)
    shared = relu(conv(mx.sym.var("data"), "c0", 32), "r0")
    symbol = mx.sym.Group([conv(shared, "c1", 16), conv(shared, "c2", 16)])
    args, _ = random_params(symbol, data=data.shape)
    statistics = mxquant.calibrate(symbol, data, arg_params=args)
    plan = mxquant.make_plan(symbol, statistics, arg_params=args, isa="avx2")
    model = mxquant.lower(symbol, plan, arg_params=args)
    codes = plan.tensors["r0_output"].codes
    weights = [as_in_memory(plan.layers[name], args[f"{name}_weight"].asnumpy()) for name in ("c1", "c2")]
    limits = [largest_safe_code(weight_codes(weight)) for weight in weights]
    assert min(limits) <= codes < 255
    for name, limit in zip(("c1", "c2"), limits):
        assert largest_safe_code(weight_codes(model.arg_params[f"{name}_weight"].asnumpy())) >= codes
        assert (plan.layers[name].pair_codes is None) == (limit >= codes)
        assert plan.layers[name].pair_codes in (None, 32767 // codes)


def test_a_layer_that_is_safe_as_it_is_costs_nothing() -> None:
    data = images(2, 3, 8, 8)
    symbol = conv(relu(conv(mx.sym.var("data"), "c0", 32), "r0"), "c1", 16)
    args, _ = random_params(symbol, data=data.shape)
    weight = args["c1_weight"].asnumpy()
    weight[:, 1::2] = 0
    args["c1_weight"] = mx.nd.array(weight)
    assert largest_safe_code(weight_codes(weight)) == 255 == largest_data_code(128)
    statistics = mxquant.calibrate(symbol, data, arg_params=args)
    plan = mxquant.make_plan(symbol, statistics, arg_params=args, isa="avx2")
    assert (plan.tensors["r0_output"].codes, plan.layers["c1"].pair_codes) == (255, None)
    assert np.isfinite(plan.tensors["r0_output"].threshold)
