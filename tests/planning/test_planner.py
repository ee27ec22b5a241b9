"""The planner: what runs in int8, in which types and ranges, and the reason of every choice."""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np
import pytest

import mxquant
from mxquant import QuantPlan
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, images, random_params, relu

SHAPE = (4, 8, 8, 8)


def plan(symbol: Any, shape: Tuple[int, ...] = SHAPE, **options: Any) -> QuantPlan:
    args, aux = random_params(symbol, data=shape)
    params = {"arg_params": args, "aux_params": aux}
    statistics = None if options.get("method", "") is None else mxquant.calibrate(symbol, images(*shape), **params)
    return mxquant.make_plan(symbol, statistics, **params, **{"method": "minmax", **options})


def precisions(result: QuantPlan) -> dict:
    return {name: layer.precision for name, layer in result.layers.items()}


def two_layers() -> Any:
    return dense(relu(conv(mx.sym.var("data"), "conv"), "act"), "fc")


def pooled(name: str, data: Any) -> Any:
    return mx.sym.Pooling(data, kernel=(2, 2), pool_type="max", name=name)


def test_full_mode_runs_all_that_can_in_int8() -> None:
    symbol = pooled("last", conv(pooled("first", mx.sym.var("data")), "conv"))
    assert set(precisions(plan(symbol, mode="full")).values()) == {"int8"}


def test_smart_mode_leaves_what_lies_outside_in_float32() -> None:
    inside = conv(pooled("between", conv(pooled("first", mx.sym.var("data")), "a")), "b")
    result = plan(pooled("last", inside), mode="smart")
    expected = {"first": "float32", "a": "int8", "between": "int8", "b": "int8", "last": "float32"}
    assert precisions(result) == expected
    assert "gains nothing in int8" in result.layers["first"].reason


@pytest.mark.parametrize("pattern", ["conv", "act", "con*", "?onv", "sg_mkldnn_conv_act_0"])
def test_a_layer_is_excluded_by_any_name_it_has(pattern: str) -> None:
    result = plan(two_layers(), exclude_layers=[pattern])
    assert precisions(result) == {"conv": "float32", "fc": "int8"}
    assert result.layers["conv"].reason.startswith("excluded by name")


@pytest.mark.parametrize("operator", ["Convolution", "Activation", "_sg_mkldnn_conv"])
def test_layers_are_excluded_by_operator(operator: str) -> None:
    result = plan(two_layers(), exclude_operators=[operator])
    assert precisions(result) == {"conv": "float32", "fc": "int8"}
    assert result.layers["conv"].reason == f"excluded by operator ({operator})"


def test_an_operator_that_was_folded_may_be_named() -> None:
    symbol = dense(mx.sym.BatchNorm(conv(mx.sym.var("data"), "conv"), name="bn"), "fc")
    assert precisions(plan(symbol, exclude_operators=["BatchNorm"])) == {"conv": "int8", "fc": "int8"}


def test_a_layer_that_was_folded_or_dropped_may_be_named() -> None:
    data = mx.sym.var("data")
    symbol = dense(mx.sym.Dropout(mx.sym.BatchNorm(conv(data, "conv"), name="bn"), name="drop"), "fc")
    assert precisions(plan(symbol, exclude_layers=["bn"])) == {"conv": "float32", "fc": "int8"}
    assert precisions(plan(symbol, exclude_layers=["drop"])) == {"conv": "int8", "fc": "int8"}


def test_layers_that_share_a_name_are_excluded_together() -> None:
    data, weight = mx.sym.var("data"), mx.sym.var("w")
    twice = [conv(each, "head", weight=weight, no_bias=True) for each in (data, relu(data))]
    symbol = mx.sym.Group(twice)
    assert precisions(plan(symbol, exclude_layers=["head"], mode="full"))["head"] == "float32"
    assert precisions(plan(symbol, exclude_layers=["head"], mode="full"))["head_1"] == "float32"
    assert precisions(plan(symbol, exclude_layers=["head_1"], mode="full"))["head"] == "int8"


@pytest.mark.parametrize(
    "dtype, data, act", [("auto", "int8", "uint8"), ("uint8", "int8", "uint8"), ("int8", "int8", "uint8")]
)
def test_types(dtype: str, data: str, act: str) -> None:
    tensors = plan(two_layers(), dtype=dtype).tensors
    assert tensors["data"].dtype == data
    # The operator stores what comes after a ReLU as uint8, whatever is asked for.
    assert tensors["act_output"].dtype == act


def test_uint8_for_negative_data_is_int8_and_says_so() -> None:
    assert "it has negative values" in plan(two_layers(), dtype="uint8").tensors["data"].reason


def test_data_that_are_never_negative_are_uint8() -> None:
    symbol = conv(relu(mx.sym.var("data"), "act"), "conv")
    assert plan(symbol, dtype="auto").tensors["act_output"].dtype == "uint8"
    assert plan(symbol, dtype="int8").tensors["act_output"].dtype == "int8"


def test_every_layer_and_tensor_says_why() -> None:
    data = mx.sym.var("data")
    symbol = mx.sym.softmax(dense(mx.sym.tanh(conv(data, "conv")), "fc"), name="soft")
    result = plan(symbol)
    assert all(layer.reason for layer in result.layers.values())
    assert all(tensor.reason for tensor in result.tensors.values())
    assert result.layers["soft"].reason == "MXNet has no int8 softmax on the CPU"


def test_a_batch_norm_that_was_not_folded_says_why() -> None:
    c = conv(mx.sym.var("data"), "conv")
    reason = plan(mx.sym.Group([mx.sym.BatchNorm(c, name="bn"), c]), method=None).layers["bn"].reason
    assert reason.startswith("MXNet's int8 BatchNorm needs calibration")
    assert "fold_batch_norm was not possible: the network's output reads 'conv_output' as well" in reason


def test_the_parts_of_a_concat_share_one_range() -> None:
    data = mx.sym.var("data")
    parts = [conv(data, "small"), pooled("pool", conv(data * 10, "large", stride=(1, 1)))]
    symbol = conv(mx.sym.Concat(pooled("p", parts[0]), parts[1], dim=1, name="join"), "last")
    tensors = plan(symbol, mode="full").tensors
    assert tensors["small_output"].threshold == tensors["large_output"].threshold
    assert {tensors["small_output"].group, tensors["large_output"].group} == {"join"}
    assert tensors["join_output"].threshold == tensors["large_output"].threshold


def test_a_part_with_another_reader_keeps_its_range() -> None:
    data = mx.sym.var("data")
    small = conv(data, "small")
    joined = conv(mx.sym.Concat(small, conv(data * 10, "large"), dim=1, name="join"), "last")
    tensors = plan(mx.sym.Group([joined, conv(small, "other")]), mode="full").tensors
    assert tensors["small_output"].threshold < tensors["large_output"].threshold


def test_the_percentile_is_an_option() -> None:
    low, high = (plan(two_layers(), method="percentile", percentile=p).tensors["data"].threshold for p in (90, 100))
    assert low < high


def test_a_bias_that_would_overflow_gets_channel_wise_scales() -> None:
    symbol = dense(mx.sym.var("data"), "fc")
    args, aux = random_params(symbol, data=(4, 8))
    args["fc_bias"][:] = 1e4
    args["fc_weight"] *= 1e-3
    statistics = mxquant.calibrate(symbol, images(4, 8) * 1e-3, arg_params=args, aux_params=aux)
    options = {"granularity": "tensor-wise", "isa": "vnni"}
    result = mxquant.make_plan(symbol, statistics, arg_params=args, aux_params=aux, **options)
    assert result.layers["fc"].granularity == "channel-wise"
    assert "its bias would overflow int32" in result.layers["fc"].reason


def with_small_weights(symbol: Any, **options: Any) -> QuantPlan:
    """Return the plan of a network whose weights are far smaller than its biases."""
    args, aux = random_params(symbol, data=SHAPE)
    args["layer_weight"] *= 1e-6
    args["layer_bias"] += 1
    params = {"arg_params": args, "aux_params": aux}
    statistics = None if options.get("method", "") is None else mxquant.calibrate(symbol, images(*SHAPE), **params)
    return mxquant.make_plan(symbol, statistics, **params, **options)


def test_a_bias_that_would_overflow_the_sums_in_memory_leaves_a_convolution_in_float32() -> None:
    grouped, plain = (conv(mx.sym.var("data"), "layer", num_group=groups) for groups in (2, 1))
    for symbol, options in ((grouped, {}), (plain, {"method": None})):
        layer = with_small_weights(symbol, **options).layers["layer"]
        assert layer.precision == "float32"
        assert "bias may be too large for int32" in layer.reason
    # With its range in its attributes a convolution brings each sum into it at once.
    assert with_small_weights(plain).layers["layer"].precision == "int8"


def test_weights_that_are_safe_with_one_scale_alone_get_one() -> None:
    # Small beside the one of the first output, they are large in scales of their own, where two of them would saturate.
    symbol = dense(mx.sym.var("data"), "fc", 8)
    weight = np.full((8, 4), 0.3, np.float32)
    weight[0] = [1, 0, 0, 0]
    params = {"arg_params": {"fc_weight": mx.nd.array(weight), "fc_bias": mx.nd.zeros(8)}}
    statistics = mxquant.calibrate(symbol, images(16, 4), **params)
    layer = mxquant.make_plan(symbol, statistics, isa="avx2", **params).layers["fc"]
    assert (layer.granularity, layer.weight_codes) == ("tensor-wise", 127)
    assert "one weight scale" in layer.reason
    assert mxquant.make_plan(symbol, statistics, isa="vnni", **params).layers["fc"].granularity == "channel-wise"


def test_operators_that_mxnet_would_compute_otherwise_stay_float32() -> None:
    def around(layer: Any) -> Any:
        return conv(layer(conv(mx.sym.var("data"), "first")), "last")

    def pool(kind: str, kernel: int, stride: int) -> Any:
        attrs = {"kernel": (kernel, kernel), "stride": (stride, stride), "pooling_convention": "full", "name": "layer"}
        return around(lambda x: mx.sym.Pooling(x, pool_type=kind, **attrs))

    def row(x: Any) -> Any:
        return mx.sym.FullyConnected(x, num_hidden=4, flatten=False, name="layer")

    for symbol, reason in (
        (pool("avg", 3, 2), "another one where windows are cut off"),
        (pool("max", 1, 2), "another one where windows are cut off"),
        (around(row), "cannot read the order of values"),
    ):
        layer = plan(symbol, (4, 8, 9, 9)).layers["layer"]
        assert layer.precision == "float32" and reason in layer.reason
    assert plan(pool("max", 2, 2)).layers["layer"].precision == "int8"


def test_without_calibration_nothing_is_added_in_int8_since_mxnet_may_change_all_signs() -> None:
    a, b = (mx.nd.contrib.quantize_v2(mx.nd.array([[-x, x / 2]]), out_type="int8") for x in (1, 2))
    sums = mx.nd.contrib.quantized_elemwise_add(a[0], b[0], *a[1:], *b[1:])
    stock = mx.nd.contrib.dequantize(*mx.nd.contrib.requantize(*sums)).asnumpy()
    np.testing.assert_allclose(stock, [[3, -1.5]], atol=0.02)

    data = mx.sym.var("data")
    added = mx.sym.elemwise_add(data, data / 2, name="sum")
    assert "change the sign" in plan(added, method=None, mode="full").layers["sum"].reason
    assert plan(added, mode="full").layers["sum"].precision == "int8"


def test_a_clip_that_ends_at_0_is_no_part_of_a_convolution() -> None:
    result = plan(mx.sym.clip(conv(mx.sym.var("data"), "conv"), a_min=0, a_max=0, name="clip"))
    assert (result.layers["conv"].contains, result.layers["clip"].precision) == (("conv",), "float32")


def test_a_dense_layer_whose_reshaped_result_is_read_in_int8_is_calibrated_for_its_target() -> None:
    x = mx.sym.reshape(dense(mx.sym.var("data"), "fc"), shape=(0, -1, 1, 1))
    symbol = conv(x, "conv", kernel=1)
    args, aux = random_params(symbol, data=SHAPE)
    params = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, images(*SHAPE), target="onednn", **params)
    assert precisions(mxquant.make_plan(symbol, statistics, **params))["conv"] == "int8"


def test_a_global_pooling_leaves_no_window_cut_off_whatever_its_convention() -> None:
    x = relu(conv(mx.sym.var("data"), "before"))
    pooled = mx.sym.Pooling(x, global_pool=True, kernel=(1, 1), pool_type="avg", pooling_convention="full", name="pool")
    assert plan(conv(pooled, "after", kernel=1), isa="vnni").layers["pool"].precision == "int8"


@pytest.mark.parametrize("isa, left", [("portable", True), ("avx2", False), ("vnni", False)])
def test_a_small_layer_that_no_even_codes_fit_stays_float32_in_a_portable_plan(isa: str, left: bool) -> None:
    x = conv(mx.sym.var("data"), "c1", 16)
    depthwise = conv(x * mx.sym.sigmoid(x), "depthwise", 16, num_group=16)
    symbol = conv(relu(depthwise), "c2", 64)
    data = images(2, 8, 8, 8)
    args, _ = random_params(symbol, data=data.shape)
    statistics = mxquant.calibrate(symbol, data, arg_params=args)
    layer = mxquant.make_plan(symbol, statistics, arg_params=args, isa=isa).layers["depthwise"]
    assert (layer.precision == "float32") == left
    assert ("one value in int8 on some CPUs" in layer.reason) == left
    assert left or layer.weight_codes == {"avx2": 125, "vnni": 127}[isa]
