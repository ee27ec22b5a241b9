"""What was a volume may have any shape where it is read in int8, whichever operators have computed it between."""

from __future__ import annotations

from typing import Any, Callable, Dict

import numpy as np
import pytest

import mxquant
from mxquant.analysis.turns import bound
from mxquant.runtime.mxnet import mx
from tests.networks import conv, images, network_of, random_params, relu

SHAPE = (2, 3, 3, 5, 5)
# What comes between a 3D convolution and the change of shape: in float32, or in int8 throughout.
COMPUTED: Dict[str, Callable[[Any], Any]] = {
    "nothing": lambda x: x,
    "a sigmoid": lambda x: mx.sym.sigmoid(x) * 2,
    "a swish": lambda x: x * mx.sym.sigmoid(x),
    "a pooling": lambda x: mx.sym.Pooling(relu(x), kernel=(1, 2, 2), pool_type="max"),
}
SHAPES = [(-3, -2), (0, -1, 1, 1), (0, 0, 0, -1), (0, -1)]


def deep(filters: int) -> Any:
    return mx.sym.Convolution(mx.sym.var("data"), kernel=(2, 2, 2), num_filter=filters, name="deep")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("filters", [6, 16])
@pytest.mark.parametrize("computed", COMPUTED)
def test_a_volume_is_read_in_another_shape_in_every_batch(computed: str, filters: int, shape: Any) -> None:
    x = mx.sym.reshape(COMPUTED[computed](deep(filters)), shape=shape)
    symbol = (
        conv(x, "flat", kernel=1) if len(shape) > 2 or shape == (-3, -2) else mx.sym.FullyConnected(x, num_hidden=4)
    )
    args, aux = random_params(symbol, data=SHAPE)
    data, params = images(*SHAPE), {"arg_params": args, "aux_params": aux}
    model = mxquant.quantize(symbol, data, **params, accuracy="fast")
    found = mxquant.compare(symbol, model, data, **params)
    assert found.int8_macs == 1.0
    assert found.outputs[0].int8_simulated is not None and found.outputs[0].int8_simulated > 80
    executor = bound(network_of(model.symbol, model.arg_params, model.aux_params), {"data": data})
    first, second = (executor.forward(is_train=False)[0].asnumpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_mxnet_cannot_quantize_the_reshaped_result_of_a_3d_layer_but_a_copy_of_it() -> None:
    x = mx.sym.reshape(mx.sym.sigmoid(deep(8)) * 2, shape=(-3, -2))
    args, aux = random_params(x, data=SHAPE)
    copied = mx.sym.slice_axis(x, axis=0, begin=0, end=None)
    for source, works in ((x, False), (copied, True)):
        codes = mx.sym.contrib.quantize_v2(source, min_calib_range=-2.0, max_calib_range=2.0, out_type="int8")[0]
        executor = bound(network_of(codes, args, aux), {"data": images(*SHAPE)})
        if works:
            assert executor.forward(is_train=False)[0].asnumpy().dtype == np.int8
            continue
        with pytest.raises(mx.MXNetError, match="memory descriptor"):
            executor.forward(is_train=False)[0].asnumpy()
