"""What MXNet fuses wrongly whatever the target, and the barriers that keep it apart."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, Callable, Dict

import numpy as np
import pytest

import mxquant
from mxquant._compat import mx
from mxquant.analysis.predictor import Predictor
from mxquant.analysis.turns import bound
from mxquant.doctor.timing import fp32_milliseconds
from mxquant.graph.barriers import BARRIER, fusable, put_barriers, take_barriers, unfusable
from mxquant.mxnet_bridge import backend_symbol, graph_of, network_of, symbol_of
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr

SHAPE = (4, 6, 6, 6)


def fork(data: Any) -> Any:
    x = conv(data, "c")
    return x + mx.sym.square(relu(x))


def fork_at_clip(data: Any) -> Any:
    x = conv(data, "c")
    return mx.sym.square(mx.sym.clip(x, a_min=0, a_max=0.5)) + x


def fork_at_addition(data: Any) -> Any:
    x = conv(data, "c", 6) + data
    return mx.sym.square(relu(x)) + x


def norm_of_rows(data: Any) -> Any:
    return mx.sym.BatchNorm(conv(data, "c", 6), axis=3, fix_gamma=False, name="norm")


CASES: Dict[str, Callable[[Any], Any]] = {
    "fork before a ReLU": fork,
    "fork before a clip": fork_at_clip,
    "fork after an addition": fork_at_addition,
    "BatchNorm of the last axis": norm_of_rows,
    "a convolution added to itself": lambda data: (lambda x: relu(x + x))(conv(data, "c")),
}


@pytest.mark.parametrize("name", CASES)
def test_int8_is_that_of_the_network_as_it_is_written(name: str) -> None:
    symbol = CASES[name](mx.sym.var("data"))
    args, aux = random_params(symbol, data=SHAPE)
    data, params = images(*SHAPE), {"arg_params": args, "aux_params": aux}
    model = mxquant.quantize(symbol, data, accuracy="fast", **params)
    assert model.plan.layers["c"].precision == "int8"
    expected = forward(symbol, args, aux, data=data)[0]
    assert sqnr(expected, forward(model.symbol, dict(model.arg_params), dict(model.aux_params), data=data)[0]) > 30


@pytest.mark.parametrize("name", CASES)
def test_calibration_counts_the_tensors_of_the_network_as_it_is_written(name: str) -> None:
    symbol = CASES[name](mx.sym.var("data"))
    args, aux = random_params(symbol, data=SHAPE)
    data = images(*SHAPE)
    # What one target needs is counted with MXNet's fusions.
    statistics = mxquant.calibrate(symbol, data, arg_params=args, aux_params=aux, target="onednn")
    output = forward(symbol, args, aux, data=data)[0]
    found = statistics[symbol.list_outputs()[0]]
    np.testing.assert_allclose((found.minimum, found.maximum), (output.min(), output.max()), rtol=1e-4, atol=1e-5)


def test_a_chain_without_forks_is_fused() -> None:
    graph = graph_of(relu(conv(mx.sym.var("data"), "c")))
    assert list(unfusable(graph)) == []
    assert [node.op for node in graph_of(backend_symbol(symbol_of(graph), "MKLDNN")).operators] == ["_sg_mkldnn_conv"]


def test_barriers_go_again() -> None:
    graph = graph_of(fork(mx.sym.var("data")))
    before = [(node.op, node.name) for node in graph.nodes]
    put_barriers(graph, list(unfusable(graph)))
    assert sum(node.name.startswith(BARRIER) for node in graph.nodes) == 1
    take_barriers(graph)
    assert sorted((node.op, node.name) for node in graph.nodes) == sorted(before)


KILLED = """
from mxquant._compat import mx
data = mx.nd.array([[1.0, 2.0], [3.0, 4.0]])
print(mx.nd.softmax(mx.nd.concat(data[:, :1], data, dim=1)).asnumpy())
"""


def test_a_softmax_of_a_concat_can_be_observed_though_mxnet_dies_of_it() -> None:
    stock = subprocess.run([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert stock.returncode != 0 and not stock.stdout

    data = mx.sym.var("data")
    column = mx.sym.slice_axis(dense(data, "c"), axis=1, begin=0, end=1)
    symbol = mx.sym.softmax(mx.sym.concat(column, data, dim=1), name="softmax")
    args, aux = random_params(symbol, data=(4, 6))
    params, examples = {"arg_params": args, "aux_params": aux}, images(4, 6)
    statistics = mxquant.calibrate(symbol, examples, **params)
    assert 0 < statistics["softmax_output"].maximum < 1
    model = mxquant.quantize(symbol, examples, accuracy="balanced", **params)
    assert mxquant.compare(symbol, model, examples, **params).outputs[0].sqnr > 30
    assert [node.op for node in graph_of(model.symbol).operators][-2:] == ["Concat", "softmax"]


def test_what_is_timed_and_scored_in_fp32_is_kept_from_the_fusion_that_corrupts_memory() -> None:
    symbol = relu(norm_of_rows(mx.sym.var("data")))
    args, aux = random_params(symbol, data=SHAPE)
    network, data = network_of(symbol, args, aux), images(*SHAPE)
    assert [node.op for node in fusable(network.graph).operators] == [
        *("Convolution", "BlockGrad", "BatchNorm", "Activation")
    ]
    expected = forward(symbol, args, aux, data=data)[0]
    for _ in range(20):
        (scored,) = Predictor(symbol, args, aux, fused=True)({"data": data}, len(data))
        (timed,) = bound(network, {"data": data}, fused=True).forward(is_train=False)
        np.testing.assert_allclose(scored, expected, atol=1e-5)
        np.testing.assert_allclose(timed.asnumpy(), expected, atol=1e-5)
    params = {"arg_params": args, "aux_params": aux}
    plan = mxquant.make_plan(symbol, mxquant.calibrate(symbol, data, **params), **params)
    assert fp32_milliseconds(network, plan, {"data": data})


def test_other_fusions_stay() -> None:
    graph = graph_of(relu(mx.sym.BatchNorm(conv(mx.sym.var("data"), "c"))))
    assert [node.op for node in fusable(graph).operators] == ["Convolution", "BatchNorm", "Activation"]
