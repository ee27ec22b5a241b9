"""Average pooling that counts its padding: runtimes have to fill it with what stands for 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import mxquant
from mxquant.runtime.mxnet import mx
from tests.networks import conv, forward, images, random_params, relu, sqnr
from tests.onnx_export.runtimes import executed, in_onnxruntime, in_openvino


def pooled(data: Any, kind: str = "avg", **attrs: Any) -> Any:
    return mx.sym.Pooling(data, kernel=(3, 3), pad=(1, 1), stride=(2, 2), pool_type=kind, name="pool", **attrs)


def alone(data: Any, **attrs: Any) -> Any:
    return conv(pooled(conv(data, "before", 16), **attrs), "after", 8)


def behind_relu(data: Any) -> Any:
    return conv(pooled(relu(conv(data, "before", 16))), "after", 8)


def behind_concat(data: Any) -> Any:
    return conv(pooled(mx.sym.Concat(conv(data, "left", 8), conv(data, "right", 8), dim=1)), "after", 8)


def before_concat(data: Any) -> Any:
    beside = mx.sym.Convolution(data, kernel=(3, 3), pad=(1, 1), stride=(2, 2), num_filter=8, name="beside")
    return conv(mx.sym.Concat(pooled(conv(data, "before", 16)), beside, dim=1), "after", 8)


def made(symbol: Any) -> Any:
    data = images(4, 3, 16, 16)
    args, aux = random_params(symbol, data=data.shape)
    params = {"arg_params": args, "aux_params": aux}
    model = mxquant.quantize(symbol, data, target="onnx_qdq", accuracy="fast", **params)
    return model, data, forward(symbol, args, aux, data=data)[0]


@pytest.mark.parametrize("build", [alone, behind_relu, behind_concat, before_concat])
def test_the_border_is_zero_in_both_runtimes(build: Any) -> None:
    model, data, expected = made(build(mx.sym.var("data")))
    for found in (in_onnxruntime(model.proto, data=data)[0], in_openvino(model.proto, data)):
        assert sqnr(expected, found) > 25
    assert executed(model.proto)["pool"][1] in ("i8", "u8")


@pytest.mark.parametrize("attrs", [{"count_include_pad": False}, {"kind": "max"}])
def test_others_read_what_the_layer_before_makes(attrs: Any) -> None:
    model, *_ = made(alone(mx.sym.var("data"), **attrs))
    assert not any("padded" in node.name for node in model.proto.graph.node)


def test_the_codes_have_zero_in_their_middle_and_reach_as_far() -> None:
    model, *_ = made(alone(mx.sym.var("data")))
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in model.proto.graph.initializer}
    zero = constants["before_output_padded_zero_point"]
    assert (zero.dtype, int(zero)) == (np.int8, 0)
    scale, point = constants["pool_output_scale"], int(constants["pool_output_zero_point"])
    assert constants["before_output_padded_scale"] == pytest.approx(scale * max(point / 128, (255 - point) / 127))
