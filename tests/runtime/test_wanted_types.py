"""Whole numbers are float32 where a network computes with them, and stay whole where it looks something up by them."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np
import pytest

import mxquant
from mxquant.analysis.predictor import Predictor
from mxquant.doctor import diagnose
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from mxquant.runtime.wanted_types import WantedTypes
from tests.networks import conv, dense, forward, random_params, relu, sqnr

S = mx.sym
WHOLE = ("uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64")
SHAPE = (16, 3, 8, 8)


def pictures() -> Any:
    return dense(relu(conv(S.var("data"), "conv")), "fc", 5)


def divided() -> Any:
    """MXNet's division of whole numbers rounds down: what it returns would be 0."""
    return dense(S.Cast(S.var("data") / 255, dtype="float32"), "fc", 5)


def text() -> Any:
    tokens = S.var("data")
    mask = S.expand_dims(S.Cast(tokens != 0, dtype="float32"), axis=2)
    return dense(S.broadcast_mul(S.Embedding(tokens, input_dim=50, output_dim=12, name="embed"), mask), "fc", 5)


def text_with_a_mask_of_its_type() -> Any:
    tokens = S.var("data")
    mask = S.expand_dims(tokens != 0, axis=2)
    return dense(S.broadcast_mul(S.Embedding(tokens, input_dim=50, output_dim=12, name="embed"), mask), "fc", 5)


def type_of(symbol: Any, shape: Any, given: str, **others: str) -> Any:
    args, _ = random_params(symbol, data=shape)
    wanted = WantedTypes(graph_of(symbol), args)
    arrays = {"data": np.ones(shape, given), **{name: np.ones(shape, dtype) for name, dtype in others.items()}}
    return {name: value.dtype.name for name, value in wanted.cast(arrays).items()}


@pytest.mark.parametrize("given", ["int32", "int64"])
@pytest.mark.parametrize(
    ("build", "shape", "wanted"),
    [
        (pictures, SHAPE, "float32"),
        (divided, (4, 12), "float32"),
        (text, (4, 6), "as given"),
        (text_with_a_mask_of_its_type, (4, 6), "float32"),
    ],
)
def test_types_are_what_the_network_wants(build: Any, shape: Any, wanted: str, given: str) -> None:
    assert type_of(build(), shape, given) == {"data": given if wanted == "as given" else wanted}


def test_an_input_that_says_its_type_gets_it() -> None:
    symbol = dense(S.Embedding(S.var("data", dtype="int32"), input_dim=50, output_dim=12, name="embed"), "fc", 5)
    for given in ("float32", "int64", "int32"):
        assert type_of(symbol, (4, 6), given) == {"data": "int32"}


def test_one_input_may_stay_whole_where_another_does_not() -> None:
    tokens = S.Embedding(S.var("tokens"), input_dim=50, output_dim=12, name="embed")
    symbol = S.broadcast_mul(dense(tokens, "fc", 5), dense(S.var("data"), "fc2", 5))
    args, _ = random_params(symbol, data=(4, 6), tokens=(4, 6))
    wanted = WantedTypes(graph_of(symbol), args)
    arrays = {"data": np.ones((4, 6), np.int64), "tokens": np.ones((4, 6), np.int64), "unused": np.ones(3, np.int64)}
    found = {name: value.dtype.name for name, value in wanted.cast(arrays).items()}
    assert found == {"data": "float32", "tokens": "int64", "unused": "int64"}


@pytest.mark.parametrize("given", WHOLE)
@pytest.mark.parametrize("build", [pictures, divided])
def test_images_of_whole_numbers_are_quantized_as_what_mxnet_makes_of_them(build: Any, given: str) -> None:
    shape = SHAPE if build is pictures else (16, 12)
    values = np.random.RandomState(0).randint(0, 120, shape)
    symbol = build()
    args, _ = random_params(symbol, data=shape)
    (expected,) = forward(symbol, args, {}, data=values.astype(np.float32))
    exact = mxquant.quantize(symbol, values.astype(np.float32), arg_params=args)
    for data in (values.astype(given), mx.io.NDArrayIter(values.astype(given), batch_size=8), [values.astype(given)]):
        model = mxquant.quantize(symbol, data, arg_params=args)
        assert model.plan == exact.plan
        found = model.as_block()(mx.nd.array(values)).asnumpy()
        assert sqnr(expected, found) >= 35


def test_every_call_takes_them() -> None:
    values = np.random.RandomState(0).randint(0, 256, SHAPE)
    symbol = pictures()
    args, _ = random_params(symbol, data=SHAPE)
    params: Dict[str, Any] = {"arg_params": args}
    model = mxquant.quantize(symbol, values, **params)
    assert mxquant.compare(symbol, model, values, **params).outputs[0].sqnr >= 35
    assert mxquant.sensitivity(symbol, values, **params).all >= 35
    assert diagnose(symbol, values, int8=model, **params)
    statistics = mxquant.calibrate(symbol, values, **params)
    again = mxquant.quantize(symbol, values, statistics=statistics, accuracy="fast", **params)
    assert again.plan.layers["conv"].precision == "int8"
    classes = forward(symbol, args, {}, data=values.astype(np.float32))[0].argmax(axis=1)
    reached = mxquant.quantize(symbol, values, metric=(values, classes), max_drop=0.2, **params).mixed_precision
    assert reached is not None and reached.met
    for fused in (True, False):
        predictor = Predictor(symbol, args, {}, fused)
        (found,) = predictor({"data": values}, len(values))
        assert sqnr(forward(symbol, args, {}, data=values.astype(np.float32))[0], found) >= 90


@pytest.mark.parametrize("build", [text, text_with_a_mask_of_its_type])
def test_tokens_of_whole_numbers(build: Any) -> None:
    tokens = np.random.RandomState(0).randint(0, 50, (16, 6))
    symbol = build()
    args, _ = random_params(symbol, data=tokens.shape)
    (expected,) = forward(symbol, args, {}, data=tokens.astype(np.float32))
    for given in ("int32", "int64", "float32"):
        model = mxquant.quantize(symbol, tokens.astype(given), arg_params=args)
        assert sqnr(expected, model.as_block()(mx.nd.array(tokens)).asnumpy()) >= 25
        assert mxquant.compare(symbol, model, tokens.astype(given), arg_params=args).outputs[0].sqnr >= 25
