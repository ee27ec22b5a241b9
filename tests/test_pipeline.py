"""calibrate, make_plan, lower, quantize: from any form of a network and of data to the same int8 network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mxquant
from mxquant import CalibrationError, InputError, NonFiniteError, PlanError, StatisticsError
from mxquant.runtime.mxnet import mx
from mxquant.targets import TARGETS
from tests.networks import conv, dense, forward, images, random_params, relu

SHAPE = (8, 3, 8, 8)


def build() -> Any:
    data = mx.sym.var("data")
    x = relu(mx.sym.BatchNorm(conv(data, "conv", no_bias=True), name="bn"), "act")
    return dense(x, "fc")


@pytest.fixture
def net() -> Any:
    symbol = build()
    args, aux = random_params(symbol, data=SHAPE)
    return symbol, {"arg_params": args, "aux_params": aux}


def test_one_call_does_what_three_do(net: Any) -> None:
    symbol, params = net
    data = images(*SHAPE)
    statistics = mxquant.calibrate(symbol, data, **params)
    plan = mxquant.make_plan(symbol, statistics, **params)
    steps = mxquant.lower(symbol, plan, **params)
    once = mxquant.quantize(symbol, data, accuracy="fast", **params)
    assert once.plan == steps.plan
    assert once.symbol.tojson() == steps.symbol.tojson()


def test_statistics_have_the_users_tensor_names(net: Any) -> None:
    symbol, params = net
    statistics = mxquant.calibrate(symbol, images(*SHAPE), **params)
    # The convolution's own output has no reader but its BatchNorm and ReLU, which every target computes with it.
    assert set(statistics) == {"data", "act_output", "fc_output"}
    assert statistics.num_examples == 8
    assert statistics["data"].count == np.prod(SHAPE)


def test_a_block_a_checkpoint_and_a_symbol_are_one_network(net: Any, tmp_path: Path) -> None:
    symbol, params = net
    prefix = str(tmp_path / "net")
    mx.model.save_checkpoint(prefix, 3, symbol, params["arg_params"], params["aux_params"])
    with pytest.warns(UserWarning, match="Cannot decide type"):
        block = mx.gluon.SymbolBlock.imports(f"{prefix}-symbol.json", ["data"], f"{prefix}-0003.params")
    data = images(*SHAPE)
    expected = mxquant.quantize(symbol, data, **params)
    for form in (f"{prefix}:3", Path(f"{prefix}:3"), block):
        assert mxquant.quantize(form, data).plan == expected.plan
    assert mxquant.quantize(f"{prefix}-symbol.json", data, **params).plan == expected.plan


def test_calibration_may_be_divided(net: Any, tmp_path: Path) -> None:
    symbol, params = net
    data = images(*SHAPE)
    whole = mxquant.calibrate(symbol, data, **params)
    parts = [mxquant.calibrate(symbol, data[i : i + 2], **params) for i in range(0, 8, 2)]
    for part, path in zip(parts, "abcd"):
        part.save(tmp_path / path)
    merged = sum(mxquant.Statistics.load(tmp_path / path) for path in "dbca")
    assert {name: merged[name] for name in merged} == {name: whole[name] for name in whole}


def test_without_calibration_no_data_are_needed(net: Any) -> None:
    symbol, params = net
    result = mxquant.quantize(symbol, method=None, **params)
    (expected,) = forward(symbol, params["arg_params"], params["aux_params"], data=images(*SHAPE))
    (actual,) = forward(result.symbol, result.arg_params, result.aux_params, data=images(*SHAPE))
    assert np.abs(actual - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile", "mse"])
def test_every_method(net: Any, method: str) -> None:
    symbol, params = net
    result = mxquant.quantize(symbol, images(*SHAPE), method=method, **params)
    assert result.plan.settings["method"] == method
    assert result.plan.tensors["data"].method == method


def test_statistics_of_another_network_are_refused(net: Any) -> None:
    symbol, params = net
    statistics = mxquant.calibrate(symbol, images(*SHAPE), **params)
    other = {**params, "arg_params": {**params["arg_params"], "fc_bias": mx.nd.ones(16)}}
    with pytest.raises(StatisticsError, match="the statistics are of network .*, this one is .*; calibrate it"):
        mxquant.make_plan(symbol, statistics, **other)
    plan = mxquant.make_plan(symbol, statistics, **params)
    with pytest.raises(PlanError, match="the plan is of network .*; plan again"):
        mxquant.lower(symbol, plan, **other)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"method": "best"}, "method is 'best', expected one of 'minmax', 'entropy'"),
        ({"dtype": "int4"}, "dtype is 'int4'"),
        ({"mode": "half"}, "mode is 'half'"),
        ({"granularity": "group-wise"}, "granularity is 'group-wise'"),
        ({"percentile": 0}, "percentile is 0"),
        ({"bits": 4}, "unknown option 'bits'; known are method, dtype"),
        ({"target": "tpu"}, "target is 'tpu', expected one of 'onednn'"),
        ({"exclude_layers": "fc"}, "exclude_layers is 'fc', expected a list of names"),
        ({"exclude_layers": [3]}, r"exclude_layers is \[3\], expected a list of names"),
        ({"percentile": "99"}, "percentile is '99', expected a number"),
        ({"ctx": "cpu"}, "ctx is 'cpu', expected one mxnet.Context"),
        ({"ctx": mx.gpu(7)}, r"ctx is gpu\(7\), but MXNet sees \d GPUs"),
        ({"exclude_layers": ["con"]}, "no layer is called 'con'; did you mean 'conv'"),
        ({"exclude_layers": ["layer*"]}, r"no layer is called 'layer\*'"),
        ({"exclude_operators": ["Conv"]}, "no operator 'Conv'; it has Activation, BatchNorm, Convolution"),
        ({"num_calib_examples": 9}, "num_calib_examples is 9, but the calibration data hold 8 examples"),
        ({"num_calib_examples": 0}, "num_calib_examples is 0, expected at least 1"),
        ({"num_calib_examples": 2.5}, "num_calib_examples is 2.5, expected a whole number"),
        ({"nonfinite": "drop"}, "nonfinite is 'drop'"),
    ],
)
def test_bad_options_are_named(net: Any, options: Any, message: str) -> None:
    symbol, params = net
    with pytest.raises(InputError, match=message):
        mxquant.quantize(symbol, images(*SHAPE), **params, **options)


def test_things_of_another_kind_are_named(net: Any) -> None:
    symbol, params = net
    with pytest.raises(InputError, match="statistics are dict, expected what calibrate returned"):
        mxquant.make_plan(symbol, {}, **params)
    with pytest.raises(InputError, match="plan is str, expected a QuantPlan; read a file with QuantPlan.load"):
        mxquant.lower(symbol, "plan.json", **params)


def test_missing_data_are_named(net: Any) -> None:
    symbol, params = net
    with pytest.raises(InputError, match="data: calibration needs examples; pass data, or method=None"):
        mxquant.quantize(symbol, **params)
    with pytest.raises(InputError, match="calibration data are empty"):
        mxquant.quantize(symbol, [], **params)
    with pytest.raises(InputError, match="method 'mse' needs statistics"):
        mxquant.make_plan(symbol, None, **params)


def test_data_that_do_not_fit_are_named(net: Any) -> None:
    symbol, params = net
    with pytest.raises(InputError, match=r"cannot take these inputs \{'data': \(8, 4, 8, 8\)\}"):
        mxquant.quantize(symbol, images(8, 4, 8, 8), **params)


@pytest.mark.parametrize("bad, count", [(np.nan, 1), (np.inf, 1)])
def test_non_finite_input_stops_calibration(net: Any, bad: float, count: int) -> None:
    symbol, params = net
    data = [images(4, 3, 8, 8), images(4, 3, 8, 8)]
    data[1][0, 0, 0, 0] = bad
    with pytest.raises(NonFiniteError, match=r"tensor 'data' in batch 1: 1 of 768 values are NaN or infinite"):
        mxquant.calibrate(symbol, data, **params)


def too_large(symbol: Any, params: Any) -> Any:
    """Return a network that adds one result to itself, beyond the largest float32."""
    params["arg_params"]["fc_bias"][3] = 3e38
    return mx.sym.elemwise_add(symbol, symbol, name="twice"), params


def test_non_finite_activations_stop_calibration_with_the_layers_name(net: Any) -> None:
    symbol, params = too_large(*net)
    with pytest.raises(NonFiniteError, match="tensor 'twice_output' in batch 0: 8 of 128 values") as caught:
        mxquant.calibrate(symbol, images(*SHAPE), **params)
    assert isinstance(caught.value, CalibrationError)
    assert caught.value.tensor == "twice_output"


def test_non_finite_values_may_be_counted_and_left_out(net: Any) -> None:
    symbol, params = too_large(*net)
    statistics = mxquant.calibrate(symbol, images(*SHAPE), nonfinite="ignore", **params)
    assert (statistics["twice_output"].nonfinite, statistics["twice_output"].count) == (8, 120)


def test_calibration_for_one_target_collects_what_it_needs_and_without_one_what_any_does() -> None:
    stem = relu(conv(mx.sym.var("data"), "c1"), "act")
    symbol = conv(relu(mx.sym.elemwise_add(conv(stem, "c2"), stem, name="sum"), "total"), "c3")
    data = images(4, 3, 8, 8)
    args, aux = random_params(symbol, data=data.shape)
    params = {"arg_params": args, "aux_params": aux}
    statistics = {target: mxquant.calibrate(symbol, data, target=target, **params) for target in (None, *TARGETS)}
    # MXNet adds inside the convolution, ONNX runtimes read its result.
    assert "c2_output" in statistics["onnx_qdq"]
    assert "c2_output" not in statistics["onednn"]
    assert set(statistics[None]) == set().union(*(statistics[target] for target in TARGETS))
    for target in TARGETS:
        plans = [mxquant.make_plan(symbol, statistics[key], target=target, **params) for key in (None, target)]
        assert plans[0].tensors.keys() == plans[1].tensors.keys()
        # MXNet fuses where no wanted tensor is hidden by that, which changes the last digits.
        for name, tensor in plans[0].tensors.items():
            assert tensor.threshold == pytest.approx(plans[1].tensors[name].threshold, rel=1e-5)
    with pytest.raises(InputError, match="target is 'gpu', expected one of 'onednn', 'onnx_qdq', 'cudnn'"):
        mxquant.calibrate(symbol, data, target="gpu", **params)
