"""An int8 network binds by the shapes of its data alone, as MXNet's Module does it, wherever the fp32 network does."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np
import pytest

import mxquant
from mxquant.quantization import quantize_model
from mxquant.runtime.mxnet import mx
from tests.families.small import SMALL, built
from tests.networks import conv, dense, forward, images, random_params, relu, sqnr

S = mx.sym


def of_keras() -> Any:
    """Channels last, with a bias that the graph brings into shape, as keras-mxnet writes it."""
    data = conv(S.transpose(S.var("data"), axes=(0, 3, 1, 2)), "conv", no_bias=True)
    bias = S.Reshape(S.var("conv/bias", shape=(8,)), shape=(1, 1, 1, 8))
    return dense(relu(S.broadcast_add(S.transpose(data, axes=(0, 2, 3, 1)), bias)), "fc", 4)


def of_joined() -> Any:
    """A constant made of two, doubled."""
    parts = [S.var(name, shape=(1, 6)) for name in "ab"]
    offset = S.expand_dims(S.concat(*parts, dim=1) * 2, axis=0)
    return dense(S.broadcast_mul(S.expand_dims(dense(S.var("data"), "first", 12), axis=1), offset), "fc", 4)


def unrolled(cell: Any, steps: int = 4) -> Any:
    out, _ = cell.unroll(steps, S.var("data"), layout="NTC", merge_outputs=True)
    return dense(S.Reshape(out, shape=(-3, 0)), "fc", 5)


def units(kind: Any, **attrs: Any) -> Any:
    return kind(20, prefix="cell_", **attrs)


CELLS = {
    "relu": lambda: units(mx.rnn.RNNCell, activation="relu"),
    "tanh": lambda: units(mx.rnn.RNNCell, activation="tanh"),
    "lstm": lambda: units(mx.rnn.LSTMCell),
    "gru": lambda: units(mx.rnn.GRUCell),
    "residual": lambda: mx.rnn.ResidualCell(units(mx.rnn.RNNCell, activation="relu")),
    "zoneout": lambda: mx.rnn.ZoneoutCell(units(mx.rnn.RNNCell, activation="relu")),
}


def by_module(symbol: Any, args: Any, aux: Any, data: np.ndarray, initialize: bool) -> np.ndarray:
    module = mx.mod.Module(symbol, data_names=["data"], label_names=None)
    module.bind([("data", data.shape)], for_training=False)
    if initialize:
        module.init_params(arg_params=dict(args), aux_params=dict(aux))
    else:
        module.set_params(dict(args), dict(aux))
    module.forward(mx.io.DataBatch([mx.nd.array(data)]), is_train=False)
    found: np.ndarray = module.get_outputs()[0].asnumpy()
    return found


@pytest.mark.parametrize("initialize", [True, False])
@pytest.mark.parametrize(("build", "shape"), [(of_keras, (16, 8, 8, 3)), (of_joined, (16, 12))])
def test_folded_parameters_have_shapes(build: Any, shape: Any, initialize: bool) -> None:
    symbol = build()
    args, aux = random_params(symbol, data=shape)
    data = images(*shape)
    expected = by_module(symbol, args, aux, data, initialize)
    iterator = mx.io.NDArrayIter(data, batch_size=8)
    own = mxquant.quantize(symbol, data, arg_params=args)
    for found in (
        (own.symbol, own.arg_params, own.aux_params),
        quantize_model(symbol, args, aux, calib_data=iterator, calib_mode="naive", label_names=None),
    ):
        assert sqnr(expected, by_module(*found, data, initialize)) >= 30


@pytest.mark.parametrize("mode", ["smart", "full"])
@pytest.mark.parametrize("cell", CELLS)
def test_an_unrolled_layer_binds_with_begin_states_of_any_batch(cell: str, mode: str) -> None:
    symbol = unrolled(CELLS[cell]())
    args, aux = random_params(symbol, data=(16, 4, 20))
    data = images(16, 4, 20)
    (expected,) = forward(symbol, args, aux, data=data)
    model = mxquant.quantize(symbol, data, arg_params=args, accuracy="fast", mode=mode)
    assert sqnr(expected, by_module(model.symbol, model.arg_params, {}, data, True)) >= 25
    assert sqnr(expected[:8], model.as_block()(mx.nd.array(data[:2])).asnumpy()) >= 20
    kept = [layer for layer in model.plan.layers.values() if "batch of what it reads is not known" in layer.reason]
    assert len(kept) <= 4  # the gates of the first step
    assert mxquant.compare(symbol, model, data, arg_params=args).outputs[0].sqnr >= 25


@pytest.mark.parametrize("isa", ["avx2", "vnni"])
@pytest.mark.parametrize("name", SMALL)
def test_shapes_of_all_parameters_follow_from_those_of_the_data(name: str, isa: str) -> None:
    symbol, args, aux, data = built(name)
    model = mxquant.quantize(symbol, data, accuracy="fast", isa=isa, arg_params=args, aux_params=aux)
    shapes, _, aux_shapes = model.symbol.infer_shape(data=data.shape)
    found: Dict[str, Any] = {**dict(zip(model.symbol.list_arguments(), shapes))}
    found.update(zip(model.symbol.list_auxiliary_states(), aux_shapes))
    for params in (model.arg_params, model.aux_params):
        assert {key: found[key] for key in params} == {key: value.shape for key, value in params.items()}
