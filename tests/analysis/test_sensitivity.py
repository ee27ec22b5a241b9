"""The layer that is hard to quantize comes first, and by the part of it that is hard."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mxquant
from mxquant import InputError
from mxquant.analysis.timing import layer_seconds
from mxquant.graph.passes import canonicalize
from mxquant.runtime.mxnet import mx
from tests.networks import conv, images, network_of, random_params, relu


def problem() -> Any:
    """Return a network whose second layer has weights of very different sizes in each row: too different for 8 bits."""
    x = relu(conv(mx.sym.var("data"), "c1"))
    x = relu(conv(x, "c2"))
    symbol = mx.sym.Pooling(conv(x, "c3"), global_pool=True, kernel=(1, 1), pool_type="avg", name="pool")
    data = images(4, 3, 8, 8)
    args, aux = random_params(symbol, data=data.shape)
    args["c2_weight"][:, 0] *= 300
    args["c1_weight"][0] /= 300
    args["c1_bias"][0] = 0
    return symbol, args, aux, data


def test_layers_are_ranked_by_what_they_lose() -> None:
    symbol, args, aux, data = problem()
    found = mxquant.sensitivity(symbol, data, arg_params=args, aux_params=aux, isa="vnni", method="minmax")
    levels = {row.layer: row for row in found.layers}
    assert [row.both for row in found.layers] == sorted(row.both for row in found.layers)
    assert found.layers[0].layer == "c2"
    assert levels["c2"].weights is not None and levels["c2"].activations is not None
    assert levels["c2"].weights < levels["c2"].activations - 3
    assert found.all <= found.layers[0].both + 1
    for row in found.layers:
        if row.weights is not None and row.activations is not None:
            assert row.both <= min(row.weights, row.activations) + 1


def test_the_table_has_a_line_for_every_int8_layer() -> None:
    symbol, args, aux, data = problem()
    options = {"arg_params": args, "aux_params": aux, "exclude_layers": ["c1"]}
    text = mxquant.sensitivity(symbol, data, **options).table()
    assert "c1" not in text
    lines = text.splitlines()
    assert lines[0].split() == ["layer", "operator", "both", "weights", "activations", "dB"]
    assert {line.split()[0] for line in lines[1:]} >= {"c2", "c3", "all"}
    assert len({len(line) for line in lines[1:-1]}) == 1


def test_unknown_options_are_refused() -> None:
    symbol, args, aux, data = problem()
    with pytest.raises(InputError, match="unknown option 'bits'"):
        mxquant.sensitivity(symbol, data, arg_params=args, aux_params=aux, bits=4)


def test_every_layer_takes_time() -> None:
    symbol, args, aux, data = problem()
    seconds = layer_seconds(canonicalize(network_of(symbol, args, aux)).network, {"data": data})
    assert {"c1", "c2", "c3", "pool"} <= set(seconds)
    assert all(0 < value < 10 for value in seconds.values())


def test_layers_that_need_labels_are_left_out_of_the_measurement_of_time() -> None:
    symbol, args, aux, data = problem()
    labelled = mx.sym.SoftmaxOutput(mx.sym.Flatten(symbol), name="softmax")
    seconds = layer_seconds(canonicalize(network_of(labelled, args, aux)).network, {"data": data})
    assert "softmax" not in seconds
    assert np.isfinite(list(seconds.values())).all()
