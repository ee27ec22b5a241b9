"""Networks of Gluon: the model zoo, its networks as symbols, parameters in files, recurrent layers and cells."""

from __future__ import annotations

from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from mxquant.compat.features.compare import close, equal, holds
from mxquant.compat.features.feature import Feature

__all__ = ["FEATURES"]

# One network of each family, and the height and width of its smallest image, or what is fast where any will do.
_ZOO = {
    "alexnet": 64,
    "densenet121": 224,
    "inception_v3": 299,
    "mobilenet0_25": 64,
    "mobilenet_v2_0_25": 64,
    "resnet18_v1": 64,
    "resnet18_v2": 64,
    "squeezenet1_0": 224,
    "vgg11_bn": 32,
}


def _zoo() -> None:
    for name, size in _ZOO.items():
        network = getattr(gluon.model_zoo.vision, name)(classes=10)
        network.initialize(mx.init.MSRAPrelu())
        image = mx.nd.random.uniform(shape=(1, 3, size, size))
        plain = network(image)
        equal(plain.shape, (1, 10))
        holds(plain.asnumpy().std() > 0, f"{name} tells images apart")
        network.hybridize(static_alloc=True)
        close(network(image), plain, 1e-3, 1e-4)


def _small() -> Any:
    network = gluon.nn.HybridSequential(prefix="small_")
    with network.name_scope():
        network.add(gluon.nn.Conv2D(4, 3, padding=1, activation="relu"), gluon.nn.BatchNorm(), gluon.nn.MaxPool2D())
        network.add(gluon.nn.Flatten(), gluon.nn.Dense(5, activation="tanh"), gluon.nn.LayerNorm(), gluon.nn.Dense(3))
    network.initialize(mx.init.Xavier())
    return network


def _symbol_block() -> None:
    network, image = _small(), mx.nd.random.normal(shape=(2, 3, 8, 8))
    network.hybridize()
    expected = network(image)
    network.export("small", epoch=7)
    again = gluon.SymbolBlock.imports("small-symbol.json", ["data"], "small-0007.params")
    equal(again(image), expected)
    symbol, args, aux = mx.model.load_checkpoint("small", 7)
    bound = symbol.bind(mx.cpu(), {**args, "data": image}, aux_states=aux)
    equal(bound.forward(is_train=False)[0], expected)


def _parameters() -> None:
    network, image = _small(), mx.nd.random.normal(shape=(2, 3, 8, 8))
    expected = network(image)
    network.save_parameters("small.params")
    again = _small()
    holds(not np.array_equal(again(image).asnumpy(), expected.asnumpy()), "two networks differ")
    again.load_parameters("small.params")
    equal(again(image), expected)
    network.collect_params().save("all.params", strip_prefix="small_")
    third = _small()
    third(image)
    third.collect_params(".*weight|.*bias|.*gamma|.*beta|.*mean|.*var").load("all.params", restore_prefix="small_")
    equal(third(image), expected)
    shared = gluon.nn.Dense(3, in_units=4, params=gluon.nn.Dense(3, in_units=4, prefix="one_").collect_params())
    shared.initialize(mx.init.Constant(np.float32(0.5)))
    close(shared(mx.nd.ones((1, 4))), np.full((1, 3), 2.0))


def _gradients() -> None:
    weight, data = np.random.randn(3, 4).astype("float32"), np.random.randn(2, 4).astype("float32")
    layer = gluon.nn.Dense(3, in_units=4, use_bias=False)
    layer.initialize(mx.init.Constant(mx.nd.array(weight)))
    for hybrid in (False, True):
        layer.hybridize(hybrid)
        with autograd.record():
            loss = (layer(mx.nd.array(data)) ** 2).sum()
        loss.backward()
        close(layer.weight.grad(), 2 * (data @ weight.T).T @ data, 1e-4)
    x = mx.nd.array(data)
    x.attach_grad()
    with autograd.record():
        y = mx.nd.sin(x)
        (first,) = autograd.grad(y, [x], create_graph=True)
        total = first.sum()
    total.backward()
    close(x.grad, -np.sin(data), 1e-4)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _lstm_by_hand(inputs: Any, parameters: Any) -> Any:
    weight, recurrent, bias, more = (parameters[name].data().asnumpy() for name in parameters)
    hidden = cell = np.zeros((inputs.shape[1], recurrent.shape[1]), "float32")
    outputs = []
    for step in inputs:
        enter, forget, change, leave = np.split(step @ weight.T + bias + hidden @ recurrent.T + more, 4, axis=1)
        cell = _sigmoid(forget) * cell + _sigmoid(enter) * np.tanh(change)
        hidden = _sigmoid(leave) * np.tanh(cell)
        outputs.append(hidden)
    return np.stack(outputs)


def _recurrent_layers() -> None:
    inputs = mx.nd.random.normal(shape=(5, 2, 3))
    layer = gluon.rnn.LSTM(4, input_size=3)
    layer.initialize(mx.init.Uniform(0.5))
    close(layer(inputs), _lstm_by_hand(inputs.asnumpy(), layer.collect_params()), 1e-4)
    for kind, cell in ((gluon.rnn.GRU, gluon.rnn.GRUCell), (gluon.rnn.LSTM, gluon.rnn.LSTMCell)):
        layer, single = kind(4, input_size=3, prefix="x_"), cell(4, input_size=3, prefix="y_")
        layer.initialize(mx.init.Uniform(0.5))
        single.initialize()
        for name, value in single.collect_params().items():
            value.set_data(layer.collect_params()[name.replace("y_", "x_l0_")].data())
        outputs, _ = single.unroll(5, inputs, layout="TNC", merge_outputs=True)
        close(outputs, layer(inputs), 1e-4)
    both = gluon.rnn.GRU(4, num_layers=2, bidirectional=True, layout="NTC", input_size=3)
    both.initialize()
    outputs, states = both(inputs.swapaxes(0, 1), both.begin_state(2))
    equal((outputs.shape, states[0].shape), ((2, 5, 8), (4, 2, 4)))
    close(outputs[:, -1, :4], states[0][2], 1e-5)


def _recurrent_cells() -> None:
    inputs = mx.nd.random.normal(shape=(2, 5, 3))
    stack = gluon.rnn.HybridSequentialRNNCell()
    stack.add(gluon.rnn.ResidualCell(gluon.rnn.RNNCell(3, input_size=3)))
    stack.add(gluon.rnn.ZoneoutCell(gluon.rnn.GRUCell(4, input_size=3), 0.0, 0.0))
    stack.add(gluon.rnn.BidirectionalCell(gluon.rnn.LSTMCell(2, input_size=4), gluon.rnn.LSTMCell(2, input_size=4)))
    stack.initialize(mx.init.Uniform(0.5))
    lengths = mx.nd.array([5, 3])
    outputs, states = stack.unroll(5, inputs, merge_outputs=True, valid_length=lengths)
    equal((outputs.shape, len(states)), ((2, 5, 4), 6))
    equal(outputs[1, 3:], np.zeros((2, 4), "float32"))
    # The end of what is too short does not count.
    changed = inputs.copy()
    changed[1, 3:] = 100
    close(stack.unroll(5, changed, merge_outputs=True, valid_length=lengths)[0], outputs)
    cell = mx.rnn.FusedRNNCell(4, num_layers=2, mode="lstm", prefix="r_")
    fused = cell.unroll(5, mx.sym.var("data"), layout="NTC", merge_outputs=True)[0]
    apart = cell.unfuse().unroll(5, mx.sym.var("data"), layout="NTC", merge_outputs=True)[0]
    values = mx.nd.random.uniform(-0.5, 0.5, shape=fused.infer_shape(data=(2, 5, 3))[0][1])
    one = fused.bind(mx.cpu(), {"data": inputs, "r_parameters": values}).forward()[0]
    unpacked = cell.unfuse().pack_weights(cell.unpack_weights({"r_parameters": values}))
    close(apart.bind(mx.cpu(), {"data": inputs, **unpacked}).forward()[0], one, 1e-4)


FEATURES = (
    Feature("model zoo, one network of each family", _zoo),
    Feature("SymbolBlock, export and import", _symbol_block),
    Feature("parameters of Gluon, saved and loaded", _parameters),
    Feature("gradients, also of gradients", _gradients),
    Feature("recurrent layers", _recurrent_layers),
    Feature("recurrent cells", _recurrent_cells),
)
