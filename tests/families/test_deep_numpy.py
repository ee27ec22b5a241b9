"""Networks of mx.np: layers with weights run in int8, everything else stays float32, scalars and all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator, List

import numpy as np
import pytest

import mxquant
from mxquant.doctor import diagnose
from mxquant.errors import InputError
from mxquant.lowering import level_warnings
from mxquant.lowering.isa import PORTABLE
from mxquant.model import quantized_model
from mxquant.runtime.mxnet import mx
from tests.lowering.int8_lstm import needs_int8_lstm
from tests.networks import images, sqnr
from tests.onnx_export.runtimes import in_onnxruntime

SHAPE = (16, 3, 8, 8)


@pytest.fixture
def numpy_arrays() -> Iterator[None]:
    """Switch to the arrays and shapes of mx.np for one test."""
    mx.npx.set_np()
    yield
    mx.npx.reset_np()


class Attentive(mx.gluon.HybridBlock):
    """A convolution, attention over its places, and three heads, one of them a single number."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.stem = mx.gluon.nn.Conv2D(8, 3, padding=1, in_channels=3, prefix="stem_")
            self.norm = mx.gluon.nn.BatchNorm(in_channels=8, prefix="norm_")
            self.second = mx.gluon.nn.Conv2D(8, 3, padding=1, in_channels=8, prefix="second_")
            self.query = mx.gluon.nn.Dense(16, in_units=8, flatten=False, prefix="query_")
            self.key = mx.gluon.nn.Dense(16, in_units=8, flatten=False, prefix="key_")
            self.layer_norm = mx.gluon.nn.LayerNorm(in_channels=16, prefix="layernorm_")
            self.last = mx.gluon.nn.Dense(10, in_units=16, flatten=False, prefix="last_")

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Return class scores, what they are made from, and its sum."""
        x = F.npx.relu(self.norm(self.stem(x)))
        x = F.npx.relu(self.second(x) + x)
        x = F.np.transpose(F.npx.reshape(x, (-2, -2, -1)), (0, 2, 1))
        query, key = self.query(x), self.key(x)
        weights = F.npx.softmax(F.npx.batch_dot(query, key, transpose_b=True) * 0.25, axis=-1)
        x = self.layer_norm(F.np.matmul(weights, key) + query)
        scores = F.npx.leaky_relu(self.last(x), act_type="gelu")
        return F.np.mean(scores, axis=1), F.np.concatenate([scores, x], axis=-1), F.np.sum(F.np.mean(scores))


def network() -> Any:
    mx.random.seed(0)
    net = Attentive(prefix="net_")
    net.initialize(mx.init.Xavier())
    return net


def levels(net: Any, block: Any, data: np.ndarray) -> List[float]:
    """Return the SQNR of each output."""
    pairs = zip(*(each(mx.np.array(data)) for each in (net, block)))
    return [sqnr(exact.asnumpy(), found.asnumpy()) for exact, found in pairs]


@pytest.mark.usefixtures("numpy_arrays")
@pytest.mark.parametrize("accuracy", ["fast", "balanced"])
def test_a_block_quantizes_and_takes_and_returns_arrays_of_numpy(accuracy: str) -> None:
    net, data = network(), images(*SHAPE)
    model = mxquant.quantize(net, mx.np.array(data), accuracy=accuracy)
    assert mx.util.is_np_array() and mx.util.is_np_shape()
    int8 = {layer.name for layer in model.plan.layers.values() if layer.precision == "int8"}
    assert int8 == {f"net_{name}_fwd" for name in ("stem", "second", "query", "key", "last")}
    assert model.plan.layers["net_stem_fwd"].contains[-1] == "net_relu0"
    block = model.as_block()
    for options in ({}, {"static_alloc": True, "static_shape": True}):
        block.hybridize(**options)
        found = block(mx.np.array(data[:4]))
        assert all(isinstance(each, mx.np.ndarray) for each in found)
        assert [each.shape for each in found] == [(4, 10), (4, 64, 26), ()]
        assert min(levels(net, block, images(*SHAPE, seed=5))) > 25


class Remembering(mx.gluon.HybridBlock):
    """An LSTM of two layers, both ways, and a head of what operators of mx.np make of it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.layer = mx.gluon.rnn.LSTM(128, 2, bidirectional=True, input_size=24, layout="NTC", prefix="layer_")
            self.last = mx.gluon.nn.Dense(7, in_units=256, flatten=False, prefix="last_")

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Return scores of each step, and their mean."""
        scores = self.last(self.layer(x))
        return scores, F.np.mean(scores, axis=1)


@pytest.mark.usefixtures("numpy_arrays")
@pytest.mark.filterwarnings("ignore:ndarray.context has been renamed:DeprecationWarning")  # Gluon's own.
@pytest.mark.parametrize("kind", [pytest.param("int8", marks=needs_int8_lstm), "simulated", PORTABLE])
def test_an_lstm_runs_in_int8_for_any_batch_where_mxnet_fails_to_hybridize_it(kind: str) -> None:
    net, data = Remembering(prefix="net_"), images(8, 9, 24)
    net.initialize(mx.init.Normal(0.1))
    # As it is: a hybridized block of mx.np cannot begin with zeros of an unknown batch.
    exact = [each.asnumpy() for each in net(mx.np.array(data))]
    # A plan for CPUs that have MXNet's int8 LSTM can be made, and simulated, on any.
    model = mxquant.quantize(net, mx.np.array(data), isa=PORTABLE if kind == PORTABLE else "avx512")
    precision = "float32" if kind == PORTABLE else "int8"
    assert {model.plan.layers[name].precision for name in ("net_layer_rnn0_layer0", "net_layer_rnn0")} == {precision}
    block = (mxquant.lower(net, model.plan, target="simulate") if kind == "simulated" else model).as_block()
    for count in (8, 3):
        found = block(mx.np.array(data[:count]))
        assert min(sqnr(one[:count], each.asnumpy()) for one, each in zip(exact, found)) > 25
    if kind != "simulated":
        assert mxquant.compare(net, model, data).outputs[0].int8_simulated > 40
    net.hybridize()
    with pytest.raises(mx.MXNetError, match="Shape inconsistent"):
        net(mx.np.array(data))[0].asnumpy()


@pytest.mark.usefixtures("numpy_arrays")
@pytest.mark.filterwarnings("ignore:ndarray.context has been renamed:DeprecationWarning")  # Gluon's own.
def test_an_int8_lstm_is_rebuilt_in_float32_where_mxnets_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, data = Remembering(prefix="net_"), images(8, 9, 24)
    net.initialize(mx.init.Normal(0.1))
    exact = [each.asnumpy() for each in net(mx.np.array(data))]
    mxquant.quantize(net, mx.np.array(data), isa="avx512").save(tmp_path / "net")
    for module in (quantized_model, level_warnings):
        monkeypatch.setattr(module, "lstm_failure", lambda: "MXNet's int8 LSTM does not run")
    with pytest.warns(UserWarning, match="'net_layer_rnn0_layer0', 'net_layer_rnn0' are float32 here"):
        loaded = mxquant.load(tmp_path / "net")
    block = loaded.as_block()
    for count in (8, 3):
        found = block(mx.np.array(data[:count]))
        assert min(sqnr(one[:count], each.asnumpy()) for one, each in zip(exact, found)) > 25


@pytest.mark.usefixtures("numpy_arrays")
def test_compare_and_the_doctor_look_at_it() -> None:
    net, data = network(), images(*SHAPE)
    model = mxquant.quantize(net, data, accuracy="fast")
    found = mxquant.compare(net, model, data)
    assert len(found.outputs) == 3 and min(output.sqnr for output in found.outputs) > 25
    assert all(output.int8_simulated > 45 for output in found.outputs)
    diagnosis = diagnose(net, data, int8=model, num_examples=4)
    assert all(layer.remedy for layer in diagnosis.layers if layer.precision == "float32")


@pytest.mark.usefixtures("numpy_arrays")
def test_what_was_saved_is_loaded_again(tmp_path: Path) -> None:
    net, data = network(), images(*SHAPE)
    model = mxquant.quantize(net, data, accuracy="fast")
    model.save(tmp_path / "int8")
    expected = model.as_block()(mx.np.array(data))
    with pytest.warns(UserWarning, match="Cannot decide type"):
        plain = mx.gluon.SymbolBlock.imports(
            str(tmp_path / "int8-symbol.json"), ["data"], str(tmp_path / "int8-0000.params")
        )
    for block in (mxquant.load(tmp_path / "int8").as_block(), plain):
        for one, other in zip(expected, block(mx.np.array(data))):
            np.testing.assert_array_equal(one.asnumpy(), other.asnumpy())


def test_a_checkpoint_quantizes_without_numpy_arrays_too(tmp_path: Path) -> None:
    mx.npx.set_np()
    try:
        net, data = network(), images(*SHAPE)
        net.hybridize()
        exact = [each.asnumpy() for each in net(mx.np.array(data))]
        net.export(str(tmp_path / "net"))
    finally:
        mx.npx.reset_np()
    model = mxquant.quantize(tmp_path / "net", data, accuracy="balanced")
    found = model.as_block()(mx.nd.array(data))
    # Without the shapes of mx.np a single number cannot be brought into memory.
    assert min(sqnr(one, other.asnumpy()) for one, other in zip(exact[:2], found[:2])) > 25
    onnx = mxquant.export_onnx(tmp_path / "net", input_shapes=SHAPE)
    for one, other in zip(exact, in_onnxruntime(onnx.proto, data=data)):
        assert one.shape == other.shape and sqnr(one, other) > 90


def test_a_block_of_numpy_needs_its_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"one of mx.np needs npx.set_np\(\) before"):
        mxquant.quantize(network(), images(*SHAPE))
