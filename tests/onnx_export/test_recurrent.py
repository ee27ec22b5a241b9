"""Recurrent layers as ONNX: ONNX Runtime makes of them what MXNet does, and they come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest

import mxquant
from mxquant import LoweringError
from mxquant.runtime.mxnet import mx
from tests.families.text_networks import Recurrent, Unrolled, initialized
from tests.networks import forward, images, sqnr
from tests.onnx_export.runtimes import in_onnxruntime, in_openvino

nn, rnn = mx.gluon.nn, mx.gluon.rnn
STEPS, BATCH, WIDTH, UNITS = 9, 3, 4, 5
MODES = ("lstm", "gru", "rnn_tanh", "rnn_relu")
GATES = {"lstm": 4, "gru": 3}


class Lines(mx.gluon.HybridBlock):
    """A network that reads lines of text: convolutions, a recurrent layer both ways, and a character at each step."""

    def __init__(self, kind: str, layers: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="features_")
            channels = 1
            for wider, pool in ((16, (2, 2)), (32, (2, 2)), (32, (2, 1)), (32, (4, 1))):
                self.features.add(nn.Conv2D(wider, 3, padding=1, in_channels=channels, use_bias=False))
                self.features.add(nn.BatchNorm(in_channels=wider), nn.Activation("relu"), nn.MaxPool2D(pool, pool))
                channels = wider
            self.layer = getattr(rnn, kind)(24, layers, bidirectional=True, input_size=channels, prefix="layer_")
            self.classes = nn.Dense(11, flatten=False, in_units=48, prefix="classes_")

    def hybrid_forward(self, F: Any, lines: Any) -> Any:
        """Return scores, shape (time, batch, characters)."""
        columns = F.transpose(F.squeeze(self.features(lines), axis=2), axes=(2, 0, 1))
        return self.classes(self.layer(columns))


def layer(mode: str, layers: int, both: bool) -> Tuple[Any, Dict[str, Any], Dict[str, np.ndarray]]:
    """Return a recurrent layer that returns its states too, its parameters, and data and states to begin with."""
    rng, directions = np.random.RandomState(0), 1 + both
    names = ["state", "cell"] if mode == "lstm" else ["state"]
    inputs = {"data": rng.randn(STEPS, BATCH, WIDTH).astype(np.float32)}
    inputs.update({each: rng.randn(layers * directions, BATCH, UNITS).astype(np.float32) for each in names})
    options = {"state_size": UNITS, "num_layers": layers, "mode": mode, "bidirectional": both, "state_outputs": True}
    symbol = mx.sym.Group(list(mx.sym.RNN(*map(mx.sym.var, ("data", "vector", *names)), name="layer", **options)))
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=inputs["data"].shape)[0]))
    return symbol, {"vector": mx.nd.array(0.4 * rng.randn(*shapes["vector"]))}, inputs


def check(found: List[np.ndarray], expected: List[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("layers", "both"), [(1, False), (2, True)])
def test_states_may_be_given_and_are_returned(mode: str, layers: int, both: bool, tmp_path: Path) -> None:
    symbol, args, inputs = layer(mode, layers, both)
    shapes = {name: value.shape for name, value in inputs.items()}
    model = mxquant.export_onnx(symbol, tmp_path / "net.onnx", input_shapes=shapes, arg_params=args)
    expected = forward(symbol, args, {}, **inputs)
    check(in_onnxruntime(model.proto, **inputs), expected)
    check(forward(*mxquant.from_onnx(tmp_path / "net.onnx"), **inputs), expected)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_network_that_reads_lines_goes_out_and_comes_back(kind: str, tmp_path: Path) -> None:
    net, data = initialized(Lines(kind, prefix="net_")), images(4, 1, 32, 40)
    proto = mxquant.export_onnx(net, tmp_path / "net.onnx", input_shapes=(2, 1, 32, 40)).proto
    expected = [net(mx.nd.array(data)).asnumpy()]
    check(in_onnxruntime(proto, data=data), expected)
    check([in_openvino(proto, data)], expected)
    check(forward(*mxquant.from_onnx(tmp_path / "net.onnx"), data=data), expected)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_what_is_around_the_layer_is_int8(kind: str) -> None:
    net, data = initialized(Lines(kind, prefix="net_")), images(8, 1, 32, 40)
    statistics = mxquant.calibrate(net, data, target="onnx_qdq")
    plan = mxquant.make_plan(net, statistics, target="onnx_qdq")
    simulated = mxquant.lower(net, plan, target="simulate", statistics=statistics).as_block()
    (found,) = in_onnxruntime(
        mxquant.export_onnx(net, plan=plan, statistics=statistics, input_shapes=data.shape).proto, data=data
    )
    kinds = {each.op: each.precision for each in plan.layers.values()}
    assert (kinds["Convolution"], kinds["FullyConnected"], kinds["RNN"]) == ("int8", "int8", "float32")
    assert sqnr(simulated(mx.nd.array(data)).asnumpy(), found) >= 40
    assert sqnr(net(mx.nd.array(data)).asnumpy(), found) >= 25


def test_the_batch_is_free_and_so_is_the_time_of_data_that_begin_with_it() -> None:
    ids = np.arange(30, dtype=np.float32).reshape(5, 6)
    net = initialized(Recurrent("GRU", layers=2, both=True, prefix="net_"))
    proto = mxquant.export_onnx(net, input_shapes=(2, 6)).proto
    check(in_onnxruntime(proto, data=ids), [net(mx.nd.array(ids)).asnumpy()])
    net = initialized(rnn.LSTM(UNITS, 2, input_size=WIDTH, prefix="net_"))
    proto = mxquant.export_onnx(net, input_shapes=(STEPS, BATCH, WIDTH)).proto
    longer = images(2 * STEPS, BATCH, WIDTH)
    check(in_onnxruntime(proto, data=longer), [net(mx.nd.array(longer)).asnumpy()])


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
def test_unrolled_cells_begin_with_zeros_for_any_batch(kind: str) -> None:
    net, ids = initialized(Unrolled(kind, prefix="net_")), np.arange(32, dtype=np.float32).reshape(4, 8)
    proto = mxquant.export_onnx(net, input_shapes=(2, 8)).proto
    check(in_onnxruntime(proto, data=ids), [net(mx.nd.array(ids)).asnumpy()])


REFUSED: Dict[str, Dict[str, Any]] = {
    "projection_size is set": {"projection_size": 3},
    "use_sequence_length is set": {"use_sequence_length": True},
    "lstm_state_clip_min and lstm_state_clip_max are set": {"lstm_state_clip_min": -1, "lstm_state_clip_max": 1},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_onnx_has_not_is_refused(message: str) -> None:
    options = {"state_size": UNITS, "num_layers": 1, "mode": "lstm", **REFUSED[message]}
    names = ["data", "vector", "state", "cell", *(["lengths"] if "use_sequence_length" in options else [])]
    symbol = mx.sym.RNN(*map(mx.sym.var, names), name="layer", **options)
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=(STEPS, BATCH, WIDTH))[0]))
    params = {name: mx.nd.ones(shape) for name, shape in shapes.items() if name != "data"}
    with pytest.raises(LoweringError, match=rf"layer 'layer' \(RNN\): {message}"):
        mxquant.export_onnx(symbol, input_shapes=shapes["data"], arg_params=params)


def test_parameters_that_are_computed_are_refused() -> None:
    symbol, _, inputs = layer("gru", 1, False)
    shapes = {name: value.shape for name, value in inputs.items()}
    given = {**shapes, "vector": symbol.infer_shape(**shapes)[0][1]}
    with pytest.raises(LoweringError, match="its parameters 'vector' are computed, and have to be fixed"):
        mxquant.export_onnx(symbol, input_shapes=given)
