"""The one vector of a recurrent layer's parameters is taken apart as Gluon puts it together."""

from __future__ import annotations

import numpy as np
import pytest

from mxquant.graph import Node
from mxquant.graph.packed_recurrent import input_size, pack, unpack
from mxquant.runtime.mxnet import mx

UNITS, INPUTS = 5, 3


def layer(layers: int, both: bool, mode: str = "lstm") -> Node:
    attrs = {"mode": mode, "state_size": str(UNITS), "num_layers": str(layers), "bidirectional": str(both)}
    return Node("RNN", "rnn", attrs)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("kind, mode", [("LSTM", "lstm"), ("GRU", "gru"), ("RNN", "rnn_relu")])
def test_each_part_is_where_gluon_puts_it(kind: str, mode: str, layers: int, both: bool) -> None:
    block = getattr(mx.gluon.rnn, kind)(UNITS, layers, bidirectional=both, input_size=INPUTS, prefix="")
    block.initialize(mx.init.Normal(1))
    parameters = {name: value.data().asnumpy() for name, value in block.collect_params().items()}
    names = [f"{part}_{what}" for what in ("weight", "bias") for part in ("i2h", "h2h")]
    order = [f"{way}{n}_" for n in range(layers) for way in ("l", "r")[: 1 + both]]
    weights = [parameters[f"{stem}{part}_weight"].ravel() for stem in order for part in ("i2h", "h2h")]
    biases = [parameters[f"{stem}{part}_bias"] for stem in order for part in ("i2h", "h2h")]
    vector = np.concatenate([*weights, *biases])
    found = unpack(layer(layers, both, mode), vector)
    for stem, direction in zip(order, [direction for each in found for direction in each]):
        for name, values in zip(names, direction):
            np.testing.assert_array_equal(values, parameters[f"{stem}{name}"])
    np.testing.assert_array_equal(pack(found), vector)


def test_the_length_tells_the_size_of_the_data() -> None:
    node = layer(2, True)
    length = 2 * 4 * UNITS * (INPUTS + UNITS + 2 * UNITS + UNITS + 4)
    assert input_size(node, length) == INPUTS
    assert input_size(node, length + 1) is None and input_size(node, 10) is None
    assert input_size(Node("RNN", "rnn", {"mode": "lstm"}), length) is None
