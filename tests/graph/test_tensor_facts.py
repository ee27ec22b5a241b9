"""What a graph tells of tensors: never something that is not so."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Tuple

import pytest

from mxquant.graph.tensor_facts import facts_of
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from tests.networks import conv, dense, relu

data = mx.sym.var("data")
image = conv(data, "c")
npx, mnp = mx.sym.npx, mx.sym.np

KNOWN: Dict[str, Tuple[Any, Optional[int], bool]] = {
    "a convolution": (image, 4, True),
    "one of volumes": (mx.sym.Convolution(data, kernel=(1, 1, 1), num_filter=2), 5, True),
    "what keeps its axes": (relu(mx.sym.BatchNorm(2 * image + 1)), 4, True),
    "pooling": (mx.sym.Pooling(data, kernel=(2, 2)), 4, True),
    "global pooling without a kernel": (mx.sym.Pooling(image, global_pool=True), 4, True),
    "a sum": (data + image, 4, True),
    "a sum with broadcasting": (mx.sym.broadcast_add(data, image), None, True),
    "of known ones": (mx.sym.broadcast_add(image, mx.sym.reshape(image, (1, 0, 0, 0))), 4, True),
    "a sum of mx.np": ((image.as_np_ndarray() + image.as_np_ndarray()).as_nd_ndarray(), 4, True),
    "a FullyConnected": (dense(data, "fc"), 2, True),
    "one of rows": (dense(data, "fc", flatten=False), None, True),
    "one of rows of known axes": (dense(image, "fc", flatten=False), 4, True),
    "a mean": (image.mean(axis=1), 3, True),
    "with its axis": (image.mean(axis=1, keepdims=True), 4, True),
    "all but one": (mx.sym.mean(image, axis=1, exclude=True), 1, True),
    "of everything": (image.mean(), None, True),
    "a reshape": (mx.sym.reshape(image, (0, -1, 4)), 3, True),
    "a reshape of unknown length": (mx.sym.reshape(image, (0, -2)), None, True),
    "a reshape that joins": (mx.sym.reshape(image, (0, -3, 0)), None, True),
    "a reshape of npx": (npx.reshape(image.as_np_ndarray(), (-2, -1)).as_nd_ndarray(), 2, True),
    "a reshape of npx that drops": (npx.reshape(image.as_np_ndarray(), (-2, -3, -4)).as_nd_ndarray(), None, True),
    "data": (data, None, False),
    "what is made of data": (relu(data), None, True),
    "data of a shape": (mx.sym.var("x", shape=(0, 3, 8, 8)), 4, False),
    "data of a type": (mx.sym.var("x", dtype="float32"), None, True),
    "whole numbers": (mx.sym.var("x", dtype="int32"), None, False),
    "places": (mx.sym.argmax(image, axis=1), None, False),
    "a cast": (mx.sym.cast(image, dtype="int32"), None, False),
    "a mean of another type": (mnp.mean(image.as_np_ndarray(), axis=1, dtype="float64").as_nd_ndarray(), None, False),
    "a further output": (mx.sym.split(image, num_outputs=2, axis=1)[1], None, False),
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_known(name: str) -> None:
    symbol, rank, real = KNOWN[name]
    (tensor,) = graph_of(symbol).outputs
    assert facts_of(tensor, {}) == (rank, real)


@pytest.mark.parametrize("join", [mx.sym.Concat, mx.sym.add_n])
def test_a_long_network_takes_no_longer_than_its_length(join: Callable[..., Any]) -> None:
    x = data
    for number in range(200):
        x = join(x, relu(x), name=f"j{number}")
    (tensor,) = graph_of(x).outputs
    assert facts_of(tensor, {}) == (None, True)
