"""A FullyConnected reads every batch of a convolution's result, not only the first."""

from __future__ import annotations

from typing import Any, Callable, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import environment
from tests.lowering.test_small_networks import stock
from tests.networks import images, random_params

# Kernel and number of filters of a convolution whose result has one channel, or one pixel.
ONE_CHANNEL, ONE_PIXEL = ((2, 2), 1), ((5, 5), 8)


def network(kernel: Tuple[int, ...], filters: int, between: Callable[[Any], Any]) -> Tuple[Any, Any, Any, np.ndarray]:
    images_shape = (2, 3) + (5,) * len(kernel)
    x = mx.sym.Convolution(mx.sym.var("data"), kernel=kernel, num_filter=filters, no_bias=True, name="conv")
    symbol = mx.sym.FullyConnected(between(x), num_hidden=4, name="dense")
    return (symbol, *random_params(symbol, data=images_shape), images(*images_shape))


def batches(symbol: Any, args: Any, aux: Any, data: np.ndarray) -> np.ndarray:
    with environment(MXNET_SUBGRAPH_BACKEND="MKLDNN"):
        executor = symbol.bind(mx.cpu(), {**args, "data": mx.nd.array(data)}, aux_states=aux, grad_req="null")
    return np.array([executor.forward(is_train=False)[0].asnumpy() for _ in range(3)])


@pytest.mark.parametrize("between", ["nothing", "Flatten", "Reshape"])
@pytest.mark.parametrize("kernel, filters", [ONE_CHANNEL, ONE_PIXEL, ((2, 2, 2), 1), ((5, 5, 5), 4)])
def test_every_batch_of_a_convolution_is_read(kernel: Tuple[int, ...], filters: int, between: str) -> None:
    change = {"nothing": lambda x: x, "Flatten": mx.sym.Flatten, "Reshape": lambda x: mx.sym.reshape(x, (0, -1))}
    symbol, args, aux, data = network(kernel, filters, change[between])
    model = mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, accuracy="fast")
    assert {layer.precision for layer in model.plan.layers.values()} == {"int8"}
    first, second, third = batches(model.symbol, model.arg_params, model.aux_params, data)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


@pytest.mark.parametrize("kernel, filters", [ONE_CHANNEL, ONE_PIXEL])
def test_so_is_one_that_float32_operators_have_changed(kernel: Tuple[int, ...], filters: int) -> None:
    symbol, args, aux, data = network(kernel, filters, lambda x: 2 * (x * mx.sym.sigmoid(x)))
    model = mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, accuracy="fast")
    assert [model.plan.layers[name].precision for name in ("conv", "dense")] == ["int8", "int8"]
    first, second, third = batches(model.symbol, model.arg_params, model.aux_params, data)
    np.testing.assert_array_equal([second, third], [first, first])


@pytest.mark.parametrize("kernel, filters", [ONE_CHANNEL, ONE_PIXEL])
def test_the_stock_tool_fails_at_the_second_batch(kernel: Tuple[int, ...], filters: int) -> None:
    symbol, args, aux, data = network(kernel, filters, lambda x: x)
    with pytest.raises(mx.MXNetError, match="TBlob for MKLDNN data"):
        batches(*stock(symbol, args, aux, data, "minmax"), data)
