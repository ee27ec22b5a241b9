"""What MXNet fuses wrongly whatever the target, and the barriers that keep it apart."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

import numpy as np
import pytest

import mxquant
from mxquant.analysis.predictor import Predictor
from mxquant.analysis.turns import bound
from mxquant.doctor.timing import fp32_milliseconds
from mxquant.graph import Graph
from mxquant.graph.barriers import BARRIER, fusable, put_barriers, runnable, take_barriers, unfusable
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import backend_symbol, graph_of, network_of, symbol_of
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


def before_softmax(graph: Graph) -> List[str]:
    """Return the operators whose results a graph's softmax layers read."""
    return [node.inputs[0].node.op for node in graph.operators if node.op in ("softmax", "log_softmax")]


def test_to_be_run_a_network_gets_a_reshape_before_each_softmax() -> None:
    graph = graph_of(mx.sym.log_softmax(mx.sym.softmax(dense(mx.sym.var("data"), "c"))))
    assert before_softmax(runnable(graph)) == ["Reshape", "Reshape"]
    assert before_softmax(graph) == ["FullyConnected", "softmax"]


def test_wherever_mxquant_runs_a_network_it_has_these_reshapes_and_the_int8_network_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: List[str] = []
    bind, cached = mx.sym.Symbol.bind, mx.nd.CachedOp

    def bind_and_tell(symbol: Any, *arguments: Any, **options: Any) -> Any:
        read.extend(before_softmax(graph_of(symbol)))
        return bind(symbol, *arguments, **options)

    def cache_and_tell(symbol: Any) -> Any:
        read.extend(before_softmax(graph_of(symbol)))
        return cached(symbol)

    monkeypatch.setattr(mx.sym.Symbol, "bind", bind_and_tell)
    monkeypatch.setattr(mx.nd, "CachedOp", cache_and_tell)
    data = mx.sym.var("data")
    symbol = mx.sym.softmax(mx.sym.concat(dense(data, "c"), data, dim=1), name="softmax")
    args, aux = random_params(symbol, data=(4, 6))
    params, examples = {"arg_params": args, "aux_params": aux}, images(4, 6)
    statistics = mxquant.calibrate(symbol, examples, **params)
    assert 0 < statistics["softmax_output"].maximum < 1 and set(read) == {"Reshape"}
    model = mxquant.quantize(symbol, examples, accuracy="balanced", **params)
    assert mxquant.compare(symbol, model, examples, **params).outputs[0].sqnr > 30
    mxquant.sensitivity(symbol, examples, **params)
    assert len(read) > 10 and set(read) == {"Reshape"}
    assert before_softmax(graph_of(model.symbol)) == ["Concat"]


def test_what_is_timed_and_scored_in_fp32_is_kept_from_a_wrong_fusion() -> None:
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
