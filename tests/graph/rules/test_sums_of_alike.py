"""Sums that cannot broadcast become elementwise ones; others stay, whatever the data are."""

from __future__ import annotations

from typing import Any, Callable, List

import numpy as np
import pytest

from mxquant.graph.passes import Canonical, apply
from mxquant.graph.rules.sums_of_alike import SumsOfAlike
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import symbol_of
from tests.networks import conv, dense, forward, images, network_of, random_params, relu

SHAPE = (2, 8, 9, 7)
Operands = Callable[[Any], List[Any]]


def pool(x: Any, kernel: int = 2, **attrs: Any) -> Any:
    return mx.sym.Pooling(x, kernel=(kernel, kernel), **attrs)


def norm(x: Any) -> Any:
    return mx.sym.BatchNorm(x, fix_gamma=False)


ALIKE: List[Operands] = [
    lambda x: [norm(conv(relu(x), "c2")), x],
    lambda x: [conv(x, "c2", kernel=1), conv(x, "c3", kernel=5)],
    lambda x: [conv(x, "c2", 4, stride=(2, 2)), conv(x, "c3", 4, kernel=1, stride=(2, 2))],
    lambda x: [conv(x, "c2", dilate=(2, 2), pad=(2, 2)), x],
    lambda x: [pool(conv(x, "c2"), 3, stride=(2, 2), pad=(1, 1)), conv(x, "c3", stride=(2, 2))],
    lambda x: [pool(x, 3, pad=(1, 1)), x],
    lambda x: [pool(x), pool(conv(x, "c2"))],
    lambda x: [conv(x, "c2", pad=(0, 0)), pool(x, 3)],
    lambda x: [pool(x, 1, global_pool=True), pool(conv(x, "c2", stride=(2, 2)), 1, global_pool=True)],
    lambda x: [dense(x, "f1", 5), relu(dense(pool(x), "f2", 5))],
    lambda x: [mx.sym.Concat(x, conv(x, "c2", 4), dim=1), conv(x, "c3", 12)],
    lambda x: [mx.sym.Flatten(x), mx.sym.Flatten(2 * x)],
]
OTHERS: List[Operands] = [
    lambda x: [x, conv(x, "c2", 1)],
    lambda x: [x, pool(x, 1, global_pool=True)],
    lambda x: [x, mx.sym.sum(x, axis=1, keepdims=True)],
    lambda x: [x, mx.sym.var("bias", shape=(1, 8, 1, 1))],
    lambda x: [dense(x, "f1", 5), dense(x, "f2", 1)],
    lambda x: [conv(x, "c2", kernel=1, pad=(0, 0)), mx.sym.slice_axis(x, axis=2, begin=0, end=1)],
]


def run(operands: Operands, join: Callable[[Any, Any], Any]) -> Any:
    symbol = join(*operands(relu(conv(mx.sym.var("data"), "c1"))))
    args, aux = random_params(symbol, data=SHAPE)
    result: Canonical = apply(network_of(symbol, args, aux), (SumsOfAlike(),))
    return symbol, args, aux, result


def of_numpy(join: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: join(a.as_np_ndarray(), b.as_np_ndarray()).as_nd_ndarray()


JOINS = {
    "elemwise_add": [mx.sym.broadcast_add, of_numpy(lambda a, b: a + b)],
    "elemwise_mul": [mx.sym.broadcast_mul, of_numpy(lambda a, b: a * b)],
}


@pytest.mark.parametrize("op, join", [(op, join) for op, joins in JOINS.items() for join in joins])
@pytest.mark.parametrize("operands", ALIKE)
def test_a_sum_of_one_shape_is_elementwise(operands: Operands, op: str, join: Callable[[Any, Any], Any]) -> None:
    symbol, args, aux, result = run(operands, join)
    last = result.network.graph.outputs[0]
    assert last.node.op == op and last.name == symbol.list_outputs()[0]
    expected, found = (
        forward(each, args, aux, data=images(*SHAPE))[0] for each in (symbol, symbol_of(result.network.graph))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("join", [join for joins in JOINS.values() for join in joins])
@pytest.mark.parametrize("operands", OTHERS)
def test_one_that_may_broadcast_stays(operands: Operands, join: Callable[[Any, Any], Any]) -> None:
    assert not run(operands, join)[-1].modified


def test_a_tensor_by_itself_is_multiplied_but_not_added() -> None:
    assert not run(lambda x: [x, x], mx.sym.broadcast_add)[-1].modified
    assert run(lambda x: [x, x], mx.sym.broadcast_mul)[-1].modified


def test_two_inputs_may_differ() -> None:
    parts = [relu(mx.sym.var(name)) for name in ("data", "other")]
    symbol = mx.sym.broadcast_add(*parts)
    assert not apply(network_of(symbol, {}, {}), (SumsOfAlike(),)).modified


def test_whole_numbers_stay() -> None:
    x = mx.sym.var("data")
    assert not apply(network_of(mx.sym.broadcast_add(x, x), {}, {}), (SumsOfAlike(),)).modified
