"""A Symbol's JSON as MXNet writes it, without the copy of the network that MXNet forgets to free."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of, tensor_shapes, text_of
from tests.networks import conv, network_of, relu


def resident() -> int:
    """Return this process's resident memory in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def chain(length: int) -> Any:
    """Return a network of so many convolutions."""
    symbol = mx.sym.var("data")
    for number in range(length):
        symbol = relu(conv(symbol, f"conv{number}"), f"relu{number}")
    return symbol


def cast() -> Any:
    """Return a network as automatic mixed precision leaves it."""
    return relu(mx.sym.amp_cast(conv(mx.sym.var("data"), "conv"), dtype="float32", name="cast"), "relu")


@pytest.mark.parametrize(
    "symbol",
    [chain(2), chain(2).get_backend_symbol("MKLDNN_QUANTIZE"), cast(), mx.sym.np.exp(mx.sym.np.ones((2,)))],
    ids=["plain", "fused", "casts of mixed precision", "mx.np"],
)
def test_the_text_is_that_of_mxnet(symbol: Any) -> None:
    assert text_of(symbol) == symbol.tojson()
    assert "amp_cast" not in text_of(symbol)


def test_graphs_are_read_again_and_again_in_the_same_memory() -> None:
    symbol = chain(25)
    for _ in range(20):
        graph_of(symbol)
    before = resident()
    for _ in range(40):
        graph_of(symbol)
    for _ in range(220):
        text_of(symbol)
    # MXNet's method would keep 12 MB of them, 40 kB at each call.
    assert resident() - before < 4e6


def test_an_operator_may_be_called_as_an_input_is() -> None:
    symbol = mx.sym.Flatten(mx.sym.var("data"), name="data")
    found = tensor_shapes(network_of(symbol, {}, {}), {"data": (2, 3, 4)})
    assert found == {"data": (2, 3, 4), "data_output": (2, 12)}
