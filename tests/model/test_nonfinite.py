"""Parameters that are NaN or infinite are named, or are zeros where a ReLU hides them: never codes, never in ONNX."""

from __future__ import annotations

from typing import Any, Dict, Optional

import numpy as np
import pytest

import mxquant
from mxquant import InputError
from mxquant import model as models
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr

SHAPE = (4, 3, 12, 12)


def batch_norm(data: Any, name: str, **attrs: Any) -> Any:
    return mx.sym.BatchNorm(data, name=name, fix_gamma=False, **attrs)


def tail(data: Any) -> Any:
    return dense(relu(data), "fc", 4)


def plain(data: Any) -> Any:
    return tail(conv(relu(conv(data, "c1")), "c2"))


def normalized(data: Any) -> Any:
    return tail(batch_norm(conv(data, "c2"), "bn"))


def not_folded(data: Any) -> Any:
    """The convolution is read twice, so that its BatchNorm stays."""
    first = conv(data, "c2")
    return dense(mx.sym.concat(relu(batch_norm(first, "bn")), relu(first), dim=1), "fc", 4)


def pooled(data: Any) -> Any:
    return tail(mx.sym.Pooling(conv(data, "c2"), kernel=(2, 2), stride=(2, 2), pool_type="avg"))


def transposed(data: Any) -> Any:
    return tail(mx.sym.Deconvolution(data, num_filter=8, kernel=(3, 3), name="c2", no_bias=False))


def reshaped(data: Any) -> Any:
    return tail(mx.sym.Reshape(mx.sym.concat(conv(data, "c2"), conv(data, "c1"), dim=1), shape=(0, -1)))


def added(data: Any) -> Any:
    return tail(conv(data, "c1") + conv(data, "c2"))


def read_by_a_layer(data: Any) -> Any:
    return tail(conv(conv(data, "c2"), "c1"))


def broken(build: Any, values: Optional[Dict[str, float]] = None, row: int = 3) -> Any:
    """Return a network, and parameters of which a row is not finite."""
    symbol = build(mx.sym.var("data"))
    args, aux = random_params(symbol, data=SHAPE)
    for name, value in (values or {"c2_weight": np.nan, "c2_bias": np.nan}).items():
        of = aux if name in aux else args
        array = of[name].asnumpy()
        np.moveaxis(array, 1 if build is transposed and array.ndim > 1 else 0, 0)[row] = value
        of[name] = mx.nd.array(array)
    return symbol, {"arg_params": args, "aux_params": aux}


HIDDEN = {
    "weight and bias": (plain, None),
    "weight": (plain, {"c2_weight": np.nan}),
    "bias": (plain, {"c2_bias": np.nan}),
    "minus infinity": (plain, {"c2_bias": -np.inf}),
    "folded": (normalized, {"c2_weight": np.nan}),
    "of a BatchNorm": (normalized, {"bn_moving_var": np.nan}),
    "beta": (normalized, {"bn_beta": np.nan}),
    "all of a BatchNorm": (
        normalized,
        {"bn_gamma": np.nan, "bn_beta": np.nan, "bn_moving_mean": np.nan, "bn_moving_var": np.nan},
    ),
    "through a BatchNorm": (not_folded, {"c2_weight": np.nan}),
    "of a BatchNorm that stays": (not_folded, {"bn_moving_mean": np.nan}),
    "pooled": (pooled, None),
    "transposed": (transposed, None),
    "joined": (reshaped, None),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_zeros_are_what_fp32_has_behind_a_relu(case: str) -> None:
    symbol, params = broken(*HIDDEN[case])
    data = images(16, *SHAPE[1:])
    (expected,) = forward(symbol, params["arg_params"], params["aux_params"], data=data)
    assert np.isfinite(expected).all()
    with pytest.raises(InputError, match=r"in 1 of 8 rows \(3\).*nonfinite_params='zero'"):
        mxquant.quantize(symbol, data, **params)
    for accuracy in ("fast", "balanced"):
        model = mxquant.quantize(symbol, data, accuracy=accuracy, nonfinite_params="zero", **params)
        assert all(np.isfinite(value.asnumpy()).all() for value in model.arg_params.values())
        (found,) = forward(model.symbol, model.arg_params, model.aux_params, data=data)
        assert sqnr(expected, found) >= 32
    comparison = mxquant.compare(symbol, model, data, nonfinite_params="zero", **params)
    assert comparison.outputs[0].sqnr >= 32


def test_every_call_takes_the_option_and_sees_one_network() -> None:
    symbol, params = broken(plain)
    data = images(*SHAPE)
    given = {**params, "nonfinite_params": "zero"}
    statistics = mxquant.calibrate(symbol, data, **given)
    plan = mxquant.make_plan(symbol, statistics, **given)
    model = mxquant.lower(symbol, plan, statistics=statistics, **given)
    (expected,) = forward(symbol, params["arg_params"], params["aux_params"], data=data)
    (found,) = forward(model.symbol, model.arg_params, model.aux_params, data=data)
    assert sqnr(expected, found) >= 32
    assert mxquant.sensitivity(symbol, data, **given).all >= 32


def test_no_nan_gets_into_onnx() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    symbol, params = broken(plain)
    with pytest.raises(InputError, match="'c2_weight' has NaN or infinities in 1 of 8 rows"):
        mxquant.export_onnx(symbol, input_shapes=SHAPE, **params)
    proto = mxquant.export_onnx(symbol, input_shapes=SHAPE, nonfinite_params="zero", **params).proto
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    data = images(*SHAPE)
    (expected,) = forward(symbol, params["arg_params"], params["aux_params"], data=data)
    (found,) = session.run(None, {"data": data})
    assert sqnr(expected, found) >= 100


@pytest.mark.parametrize(
    "hide", [mx.sym.relu, lambda x: mx.sym.maximum(x, 0), lambda x: mx.sym.clip(x, a_min=0, a_max=6)]
)
def test_zeros_repair_a_network_whose_relu_keeps_nan(hide: Any) -> None:
    symbol, params = broken(lambda data: dense(hide(conv(data, "c2")), "fc", 4))
    data = images(*SHAPE)
    assert np.isnan(forward(symbol, params["arg_params"], {}, data=data)[0]).all()
    repaired = {name: np.nan_to_num(value.asnumpy(), nan=0.0) for name, value in params["arg_params"].items()}
    repaired = {name: mx.nd.array(value) for name, value in repaired.items()}
    (expected,) = forward(symbol, repaired, {}, data=data)
    model = mxquant.quantize(symbol, data, nonfinite_params="zero", **params)
    assert "3 of 'c2'" in model.plan.settings["nonfinite parameters"]
    assert sqnr(expected, forward(model.symbol, model.arg_params, {}, data=data)[0]) >= 32


@pytest.mark.parametrize(
    ("build", "values", "message"),
    [
        (added, None, r"'c2' \(Convolution\).* rows \(3\); layer '.*plus.*' .* reads them before a ReLU hides them"),
        (read_by_a_layer, None, r"layer 'c1' \(Convolution\) reads them before a ReLU"),
    ],
)
def test_zeros_that_would_be_another_network_are_refused(build: Any, values: Any, message: str) -> None:
    symbol, params = broken(build, values)
    with pytest.raises(InputError, match=message):
        models.load(symbol, **params, nonfinite_params="zero")


def test_a_layer_without_any_finite_row_is_refused() -> None:
    symbol, params = broken(plain)
    params["arg_params"]["c2_weight"][:] = np.nan
    with pytest.raises(InputError, match=r"8 of 8 rows \(0, 1, 2, 3, 4, 5, 6, 7\), and no row"):
        models.load(symbol, **params, nonfinite_params="zero")


def test_shared_rows_are_refused() -> None:
    weight = mx.sym.var("shared", shape=(8, 3, 3, 3))
    data = mx.sym.var("data")
    layers = [relu(conv(data, name, weight=weight, no_bias=True)) for name in ("c1", "c2")]
    symbol = dense(layers[0] + layers[1], "fc", 4)
    args, aux = random_params(symbol, data=SHAPE)
    args["shared"][2] = np.inf
    with pytest.raises(InputError, match="'shared' has rows that are not finite, and is shared"):
        models.load(symbol, args, aux, nonfinite_params="zero")


def test_an_infinite_constant_is_no_parameter_of_a_layer() -> None:
    mask = mx.sym.var("mask", shape=(1, 4))
    symbol = mx.sym.softmax(mx.sym.broadcast_add(dense(mx.sym.var("data"), "fc", 4), mask))
    args, aux = random_params(symbol, data=(4, 12))
    args["mask"] = mx.nd.array([[0, 0, -np.inf, 0]])
    models.load(symbol, args, aux)
    args["mask"][0, 1] = np.nan
    with pytest.raises(InputError, match="'mask' has NaN or infinities in 1 of 1 rows"):
        models.load(symbol, args, aux)
    with pytest.raises(InputError, match="'mask' .*, which cannot be zeros"):
        models.load(symbol, args, aux, nonfinite_params="zero")


def test_what_folding_makes_infinite_is_named() -> None:
    symbol, params = broken(normalized, {"c2_weight": 1e37, "bn_gamma": 1e3})
    with np.errstate(all="ignore"), pytest.raises(InputError, match="'c2' .* after folding into it"):
        models.load(symbol, **params)


def test_another_treatment_is_named() -> None:
    symbol, params = broken(plain)
    with pytest.raises(InputError, match="nonfinite_params is 'ignore', expected one of 'raise', 'zero'"):
        models.load(symbol, **params, nonfinite_params="ignore")
