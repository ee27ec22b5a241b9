"""What joins all axes but the first becomes a Flatten."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import pytest

from mxquant.graph.passes import apply
from mxquant.graph.rules.flatten_forms import FlattenForms
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import symbol_of
from tests.networks import forward, images, network_of

SHAPE = (2, 3, 4, 5)


def pooled(**attrs: Any) -> Any:
    return mx.sym.Pooling(mx.sym.var("data"), global_pool=True, kernel=(1, 1), pool_type="avg", **attrs)


@pytest.mark.parametrize(
    "build",
    [
        lambda x: mx.sym.reshape(x, (0, -1)),
        lambda x: mx.sym.reshape(pooled(), (0, -1)),
        lambda x: mx.sym.reshape(pooled(), (0, 0)),
        lambda x: mx.sym.squeeze(pooled(), axis=(2, 3)),
        lambda x: mx.sym.squeeze(pooled(), axis=(-1, -2)),
    ],
)
def test_it_becomes_a_flatten(build: Callable[[Any], Any]) -> None:
    symbol = build(mx.sym.var("data"))
    result = apply(network_of(symbol, {}, {}), (FlattenForms(),))
    assert result.network.graph.operators[-1].op == "Flatten"
    expected, found = (
        forward(each, {}, {}, data=images(*SHAPE))[0] for each in (symbol, symbol_of(result.network.graph))
    )
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "build",
    [
        lambda x: mx.sym.reshape(x, (-1, 0)),
        lambda x: mx.sym.reshape(x, (0, -1), reverse=True),
        lambda x: mx.sym.reshape(x, (0, 0, -1)),
        lambda x: mx.sym.reshape(x, (0, 0)),
        lambda x: mx.sym.reshape(pooled(), (-1, 3)),
        lambda x: mx.sym.squeeze(x, axis=(2, 3)),
        lambda x: mx.sym.squeeze(pooled()),
        lambda x: mx.sym.squeeze(pooled(), axis=2),
        lambda x: mx.sym.squeeze(mx.sym.Pooling(x, kernel=(4, 5)), axis=(2, 3)),
    ],
)
def test_others_stay(build: Callable[[Any], Any]) -> None:
    assert not apply(network_of(build(mx.sym.var("data")), {}, {}), (FlattenForms(),)).modified
