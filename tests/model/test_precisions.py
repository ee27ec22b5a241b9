"""Networks in float16, bfloat16 or float64 are quantized as the same networks in float32 are, and it is told."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np
import pytest

import mxquant
from mxquant import InputError
from mxquant import model as models
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr

SHAPE = (16, 3, 8, 8)


def casting(dtype: str) -> Any:
    """Return what MXNet's examples for float16 make: a Cast at each end; and inside, before an activation, a third."""
    data = mx.sym.Cast(mx.sym.var("data"), dtype=dtype)
    inside = mx.sym.Cast(conv(data, "c1"), dtype=dtype, name="inside")
    layer = dense(conv(relu(inside), "c2"), "fc", 5)
    return mx.sym.softmax(mx.sym.Cast(layer, dtype="float32", name="end"), name="out")


def plain() -> Any:
    return mx.sym.softmax(dense(conv(relu(conv(mx.sym.var("data"), "c1")), "c2"), "fc", 5), name="out")


def rounded(params: Dict[str, Any], dtype: str) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """Return parameters of a type, and the float32 numbers that they stand for."""
    if dtype == "bfloat16":
        words = {name: value.asnumpy().view(np.uint32) >> 16 for name, value in params.items()}
        exact = {name: mx.nd.array((word << 16).view(np.float32)) for name, word in words.items()}
        kind = np.dtype([("bfloat16", np.uint16)])
        return {name: word.astype(np.uint16).view(kind) for name, word in words.items()}, exact
    given = {name: value.astype(dtype) for name, value in params.items()}
    return given, {name: value.astype("float32") for name, value in given.items()}


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
@pytest.mark.parametrize("accuracy", ["fast", "balanced"])
def test_int8_is_that_of_the_network_in_float32(dtype: str, accuracy: str, caplog: pytest.LogCaptureFixture) -> None:
    data = images(*SHAPE)
    given, exact = rounded(random_params(plain(), data=SHAPE)[0], dtype)
    # Elsewhere a layer that reads the data is not planned as one behind a Cast, and codes are stored.
    options = {"aux_params": {}, "accuracy": accuracy, "isa": "vnni"}
    twin = mxquant.quantize(plain(), data, arg_params=exact, **options)
    (expected,) = forward(twin.symbol, twin.arg_params, {}, data=data)
    assert sqnr(forward(plain(), exact, {}, data=data)[0], expected) >= 30
    for symbol, params in ((casting(dtype if dtype != "bfloat16" else "float16"), exact), (plain(), given)):
        caplog.clear()
        model = mxquant.quantize(symbol, data, arg_params=params, **options)
        np.testing.assert_array_equal(forward(model.symbol, model.arg_params, {}, data=data)[0], expected)
        assert {value.dtype for value in model.arg_params.values()} == {np.float32}
        note = model.plan.settings["precision"]
        assert note.endswith("were cast to float32")
        assert f"6 {dtype} parameters" in note or symbol.name == "out"
        assert any(note in record.message for record in caplog.records if record.levelno == logging.WARNING)
    assert "precision" not in twin.plan.settings


def test_nothing_is_between_a_layer_and_its_activation() -> None:
    args, _ = random_params(plain(), data=SHAPE)
    network = models.load(casting("float16"), args).canonical.network
    assert [node.op for node in network.graph.operators if node.op == "Cast"] == ["Cast"]
    given, _ = rounded(args, "float16")
    symbol = casting("float16")
    assert models.load(symbol, given).digest == models.load(symbol, given).digest


# MXNet's CPU operators cannot run this block in float16.
@pytest.mark.parametrize(("dtype", "run"), [("float16", False), ("float64", False), ("float64", True)])
def test_a_block_that_was_cast(dtype: str, run: bool) -> None:
    block = mx.gluon.nn.HybridSequential()
    nn = mx.gluon.nn
    block.add(nn.Conv2DTranspose(8, 3), nn.PReLU(), nn.BatchNorm(), nn.Conv2D(8, 3, activation="relu"), nn.Dense(5))
    block.initialize(mx.init.Xavier(magnitude=2.24))
    data = images(*SHAPE)
    block.cast(dtype)
    if run:
        block(mx.nd.array(data, dtype=dtype))
    model = mxquant.quantize(block, data)
    block.cast("float32")
    expected = block(mx.nd.array(data)).asnumpy()
    assert sqnr(expected, model.as_block()(mx.nd.array(data)).asnumpy()) >= 30


def test_parameters_of_several_types() -> None:
    symbol = mx.sym.BatchNorm(conv(mx.sym.var("data"), "c"), name="bn", fix_gamma=False)
    symbol = dense(relu(mx.sym.broadcast_add(symbol, mx.sym.var("off", shape=(1, 8, 1, 1)))), "fc", 5)
    args, aux = random_params(symbol, data=SHAPE)
    data = images(*SHAPE)
    (expected,) = forward(symbol, args, aux, data=data)
    mixed = {name: value.astype("float16" if name.startswith("bn") else "float32") for name, value in args.items()}
    mixed["off"] = args["off"].astype("float64")
    model = mxquant.quantize(
        symbol, data, arg_params=mixed, aux_params={name: value.astype("float16") for name, value in aux.items()}
    )
    assert model.plan.settings["precision"] == "4 float16 parameters and 1 float64 parameters were cast to float32"
    assert sqnr(expected, forward(model.symbol, model.arg_params, model.aux_params, data=data)[0]) >= 30


def test_constants_and_inputs_of_another_type() -> None:
    data = mx.sym.var("data", dtype="float16")
    symbol = dense(mx.sym.broadcast_add(data, mx.sym.ones((1, 12), dtype="float16")), "fc", 5)
    args = {"fc_weight": mx.nd.array(images(5, 12)), "fc_bias": mx.nd.zeros(5)}
    model = mxquant.quantize(symbol, images(16, 12), arg_params=args, aux_params={})
    x = images(16, 12)
    (found,) = forward(model.symbol, model.arg_params, {}, data=x)
    assert sqnr((x + 1) @ args["fc_weight"].asnumpy().T, found) >= 35
    assert model.plan.settings["precision"] == "2 float16 types of operators and inputs were cast to float32"


def test_a_checkpoint_of_half_precision(tmp_path: Path) -> None:
    args, _ = random_params(plain(), data=SHAPE)
    given, exact = rounded(args, "float16")
    mx.model.save_checkpoint(str(tmp_path / "net"), 0, casting("float16"), given, {})
    data = images(*SHAPE)
    model = mxquant.quantize(str(tmp_path / "net"), data)
    model.save(tmp_path / "int8")
    found = mxquant.load(tmp_path / "int8").as_block()(mx.nd.array(data)).asnumpy()
    assert sqnr(forward(plain(), exact, {}, data=data)[0], found) >= 30


def test_a_number_too_large_for_float32_is_named() -> None:
    args, _ = random_params(plain(), data=SHAPE)
    args["c2_bias"] = mx.nd.array(np.full(8, 1e200), dtype="float64")
    with pytest.raises(InputError, match="'c2_bias' has NaN or infinities in 8 of 8 rows"):
        models.load(plain(), args)
