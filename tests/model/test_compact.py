"""A compact file is small, and MXNet makes the same int8 weights from what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mxquant
from mxquant import InputError, PlanError
from mxquant.lowering.saturation import halved_weight_codes, weight_codes
from mxquant.model.compact import compact, expand
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from tests.networks import conv, forward, images, random_params, relu, zoo


def int8_network(shape: Any) -> Any:
    """Return the graph of one int8 convolution that has a weight of a shape, with a scale for each channel."""
    x = mx.sym.Convolution(mx.sym.var("data"), kernel=shape[2:], num_filter=shape[0], no_bias=True, name="c")
    data = images(1, shape[1], *shape[2:])
    args, _ = random_params(x, data=data.shape)
    return graph_of(mxquant.quantize(x, data, arg_params=args, accuracy="fast").symbol)


SHAPE = (6, 5, 3, 3)
GRAPH = int8_network(SHAPE)


def kinds(rng: np.random.RandomState) -> Any:
    """Return weights: any; on the grid of their codes; half-way between codes; with equal values and a dead channel."""
    values = rng.randn(*SHAPE).astype(np.float32)
    largest = np.abs(values).max(axis=(1, 2, 3), keepdims=True)
    codes = np.rint(values / largest * 127)
    few = np.rint(values)
    few[2] = 0
    return values, codes * largest / np.float32(127.5), (codes + 0.5) * largest / np.float32(127.5), few


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(0, 99999), st.sampled_from([1e-20, 1e-3, 1.0, 3e8]))
def test_the_same_codes_come_out(seed: int, magnitude: float) -> None:
    for values in kinds(np.random.RandomState(seed)):
        weight = (values * np.float32(magnitude)).astype(np.float32)
        parts = compact(GRAPH, {"c_weight": weight})
        assert "int8:c_weight" in parts and "c_weight" not in parts
        found = expand(parts)["c_weight"]
        assert found.dtype == np.float32
        np.testing.assert_array_equal(weight_codes(found), weight_codes(weight))
        np.testing.assert_array_equal(halved_weight_codes(found), halved_weight_codes(weight))
        for one, other in zip(found, weight):
            assert np.abs(one).max() == np.abs(other).max()


def test_weights_that_something_else_reads_too_stay_as_they_are() -> None:
    weight = mx.sym.var("w")
    x = relu(conv(mx.sym.var("data"), "c1", 3, weight=weight, no_bias=True))
    symbol = mx.sym.Group([x, mx.sym.sum(weight)])
    args, _ = random_params(symbol, data=(2, 3, 8, 8))
    model = mxquant.quantize(symbol, images(2, 3, 8, 8), arg_params=args, accuracy="fast")
    assert model.plan.layers["c1"].precision == "int8"
    params = {"w": model.arg_params["w"].asnumpy()}
    assert compact(graph_of(model.symbol), params) == params


@pytest.mark.parametrize("granularity", ["channel-wise", "tensor-wise"])
def test_the_network_is_the_same_and_takes_less_than_a_third_of_the_space(tmp_path: Path, granularity: str) -> None:
    symbol, args, aux, data = zoo("resnet18_v1")
    params = {"arg_params": args, "aux_params": aux}
    model = mxquant.quantize(symbol, data, accuracy="fast", granularity=granularity, **params)
    mx.model.save_checkpoint(str(tmp_path / "fp32"), 0, symbol, args, aux)
    model.save(tmp_path / "int8", epoch=3, compact=True)
    size, fp32 = ((tmp_path / name).stat().st_size for name in ("int8-0003.params", "fp32-0000.params"))
    assert size <= 0.3 * fp32
    found = mxquant.load(tmp_path / "int8", epoch=3)
    assert (found.plan, found.inputs) == (model.plan, ("data",))
    expected, value = (forward(each.symbol, each.arg_params, each.aux_params, data=data)[0] for each in (model, found))
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(found.as_block()(mx.nd.array(data)).asnumpy(), expected)


def test_a_plain_checkpoint_is_loaded_too(tmp_path: Path) -> None:
    symbol, args, aux, data = zoo("mobilenetv2_0.25")
    model = mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, accuracy="fast")
    model.save(tmp_path / "int8")
    found = mxquant.load(tmp_path / "int8")
    assert set(found.arg_params) == set(model.arg_params)
    for name, value in model.arg_params.items():
        np.testing.assert_array_equal(found.arg_params[name].asnumpy(), value.asnumpy())


def test_a_model_for_another_cpu_is_warned_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    symbol = conv(mx.sym.var("data"), "c")
    args, _ = random_params(symbol, data=(1, 3, 8, 8))
    mxquant.quantize(symbol, images(1, 3, 8, 8), arg_params=args, accuracy="fast", isa="vnni").save(tmp_path / "net")
    monkeypatch.setattr("mxquant.lowering.level_warnings.detect", lambda: "avx2")
    with pytest.warns(UserWarning, match="level 'vnni', this one has 'avx2'"):
        mxquant.load(tmp_path / "net")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="net-plan.json"):
        mxquant.load(tmp_path / "net")
    symbol = conv(mx.sym.var("data"), "c")
    args, _ = random_params(symbol, data=(1, 3, 8, 8))
    mxquant.quantize(symbol, images(1, 3, 8, 8), arg_params=args, accuracy="fast").save(tmp_path / "net")
    (tmp_path / "net-0000.params").unlink()
    with pytest.raises(InputError, match="there is no file '.*net-0000.params'"):
        mxquant.load(tmp_path / "net")
