"""fp32 networks are timed as MXNet runs them, with its fusions; int8 networks as they are."""

from __future__ import annotations

from typing import Any, List

import numpy as np
import pytest

from mxquant.analysis.turns import bound
from mxquant.doctor import diagnose, examination
from mxquant.graph import Network
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of, network_of
from tests.networks import conv, images, random_params, relu

DATA = images(4, 4, 8, 8)


def network() -> Any:
    symbol = relu(conv(relu(conv(mx.sym.var("data"), "first", 8), "first_relu"), "second", 8), "second_relu")
    return (symbol, *random_params(symbol, data=DATA.shape))


def operators(executor: Any) -> List[str]:
    """Return what an executor runs."""
    return [node.op for node in graph_of(executor.get_optimized_symbol()).operators]


@pytest.mark.parametrize(
    ("fused", "expected"), [(False, ["Convolution", "Activation"] * 2), (True, ["_sg_mkldnn_conv"] * 2)]
)
def test_a_network_runs_with_mxnets_fusions_or_without(fused: bool, expected: List[str]) -> None:
    assert operators(bound(network_of(*network()), {"data": DATA}, fused)) == expected


@pytest.mark.parametrize("fused", [False, True])
def test_one_number_is_no_row_of_one_in_a_network_of_mx_np(fused: bool) -> None:
    number, data = (mx.sym.var(name).as_np_ndarray() for name in ("number", "data"))
    symbol = mx.sym.np.concatenate([mx.sym.np.expand_dims(number, 0), data])
    network = Network(graph_of(symbol), {"number": np.array(2, np.float32)})
    (found,) = bound(network, {"data": np.ones(2, np.float32)}, fused).forward(is_train=False)
    assert found.asnumpy().tolist() == [2, 1, 1]


def test_the_doctor_times_fp32_as_mxnet_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: List[List[str]] = []

    def milliseconds(executors: List[Any]) -> List[float]:
        timed.extend(map(operators, executors))
        return [2.0, 1.0]

    monkeypatch.setattr(examination, "milliseconds", milliseconds)
    symbol, args, aux = network()
    found = diagnose(symbol, DATA, accuracy="fast", arg_params=args, aux_params=aux)
    assert timed[0] == ["_sg_mkldnn_conv"] * 2 and "_contrib_quantize_v2" in timed[1]
    assert (found.fp32_ms, found.int8_ms) == (2.0, 1.0)
