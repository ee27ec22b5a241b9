"""Reading a user's network: every form, and what is wrong with it in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mxquant import GraphError, InputError
from mxquant import model as models
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, images, random_params, relu

SHAPE = (2, 3, 8, 8)


def small() -> Any:
    symbol = dense(relu(conv(mx.sym.var("data"), "conv"), "act"), "fc")
    return symbol, *random_params(symbol, data=SHAPE)


class TwoInputs(mx.gluon.HybridBlock):
    """Two inputs, nested outputs."""

    def __init__(self) -> None:
        super().__init__()
        with self.name_scope():
            self.conv = mx.gluon.nn.Conv2D(4, 3)
            self.head = mx.gluon.nn.Dense(2)

    def hybrid_forward(self, F: Any, a: Any, b: Any) -> Any:
        x = self.conv(a)
        return x, [self.head(x), self.conv(b)]


def test_a_symbol_has_its_data_and_labels() -> None:
    symbol, args, aux = small()
    model = models.load(mx.sym.SoftmaxOutput(symbol, name="softmax"), args, aux)
    assert (model.inputs, model.labels) == (("data",), ("softmax_label",))


def test_data_names_give_the_order() -> None:
    symbol = mx.sym.var("a") - mx.sym.var("b")
    assert models.load(symbol).inputs == ("a", "b")
    assert models.load(symbol, data_names=["b", "a"]).inputs == ("b", "a")


def test_a_block_is_traced_with_as_many_inputs_as_the_data_have() -> None:
    block = TwoInputs()
    block.initialize()
    a = images(*SHAPE)
    for example in ([a, a], [a, a, np.zeros(2)]):
        model = models.load(block, example=example)
        assert model.inputs == ("data0", "data1")
        assert model.structure == [0, [1, 2]]
        assert len(model.graph.outputs) == 3


def test_an_uninitialized_block_is_initialized_by_the_data() -> None:
    block = mx.gluon.nn.Dense(3)
    block.initialize()
    with pytest.raises(InputError, match="parameter '.*weight' has no value yet; initialize the block and run it once"):
        models.load(block)
    assert models.load(block, example=[images(2, 5)]).inputs == ("data",)


def test_a_block_that_was_never_initialized_is_named() -> None:
    with pytest.raises(InputError, match="has not been initialized|has no value yet"):
        models.load(mx.gluon.nn.Dense(3), example=[images(2, 5)])


def test_a_block_that_cannot_be_traced_is_named() -> None:
    block = TwoInputs()
    block.initialize()
    with pytest.raises(InputError, match="cannot be traced with 1 inputs: .*; give data_names"):
        models.load(block, example=[images(*SHAPE)])
    with pytest.raises(InputError, match="cannot be traced with 2 or 3 inputs: .*; give data_names"):
        models.load(block, example=[images(*SHAPE)[:, :2], images(*SHAPE)[0], images(*SHAPE)])


def test_a_block_that_tells_how_many_inputs_it_needs_is_traced_without_data() -> None:
    block = TwoInputs()
    block.initialize()
    models.load(block, example=[images(*SHAPE), images(*SHAPE)])
    assert models.load(block).inputs == ("data0", "data1")
    dense = mx.gluon.nn.Dense(3, in_units=4)
    dense.initialize()
    assert models.load(dense).inputs == ("data",)


@pytest.mark.parametrize("net", [3, None, mx.gluon.nn.Sequential()])
def test_what_is_no_network_is_named(net: Any) -> None:
    with pytest.raises(InputError, match=f"network: found {type(net).__name__}, expected a Symbol"):
        models.load(net)


def test_a_missing_parameter_is_named() -> None:
    symbol, args, aux = small()
    args.pop("fc_weight")
    with pytest.raises(InputError, match=r"parameter 'fc_weight' has no value \(1 missing in all\)"):
        models.load(symbol, args, aux)


def test_a_missing_parameter_of_any_name_is_named_where_the_inputs_are_given() -> None:
    symbol = dense(mx.sym.var("data"), "fc", weight=mx.sym.var("w0"), no_bias=True)
    with pytest.raises(InputError, match="parameter 'w0' has no value"):
        models.load(symbol, {}, {}, data_names=["data"])


def test_parameters_of_another_network_are_named() -> None:
    symbol, args, aux = small()
    with pytest.raises(InputError, match="has no value|none of the parameters belongs"):
        models.load(symbol, {f"other_{name}": value for name, value in args.items()}, aux)
    with pytest.raises(InputError, match=r"'conv' \(Convolution\): its weight 'conv_weight' has shape \(4, 3, 3, 3\)"):
        models.load(symbol, {**args, "conv_weight": mx.nd.zeros((4, 3, 3, 3))}, aux)
    with pytest.raises(InputError, match=r"'fc' .* its bias 'fc_bias' has shape \(5,\), expected 16 rows"):
        models.load(symbol, {**args, "fc_bias": mx.nd.zeros(5)}, aux)


def test_parameters_that_the_network_does_not_have_are_left_out() -> None:
    symbol, args, aux = small()
    assert "extra" not in models.load(symbol, {**args, "extra": mx.nd.zeros(1)}, aux).canonical.network.params


def test_wrong_types_of_parameters_are_named() -> None:
    symbol, args, aux = small()
    with pytest.raises(InputError, match="arg_params: expected a dictionary of names to arrays, found list"):
        models.load(symbol, [1], aux)
    with pytest.raises(InputError, match=r"arg_params\['fc_bias'\]: expected an NDArray or ndarray, found float"):
        models.load(symbol, {**args, "fc_bias": 1.0}, aux)


def test_an_input_that_is_not_there_is_named() -> None:
    symbol, args, aux = small()
    with pytest.raises(InputError, match="data_names: the network has no input 'image'; its inputs are data"):
        models.load(symbol, args, aux, data_names=["image"])


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    symbol, args, aux = small()
    prefix = str(tmp_path / "net")
    with pytest.raises(InputError, match="there is no file '.*net-symbol.json'"):
        models.load(prefix)
    mx.model.save_checkpoint(prefix, 0, symbol, args, aux)
    with pytest.raises(InputError, match="there is no file '.*net-0005.params'"):
        models.load(f"{prefix}:5")
    (tmp_path / "net-0000.params").write_bytes(b"no parameters")
    with pytest.raises(InputError, match="cannot read the parameters '.*net-0000.params'"):
        models.load(prefix)
    for content in (b"{}", b"\xff\xfe no text"):
        (tmp_path / "net-symbol.json").write_bytes(content)
        with pytest.raises(GraphError, match="cannot read the symbol '.*net-symbol.json'"):
            models.load(prefix)
    mx.nd.save(str(tmp_path / "list-0000.params"), [mx.nd.zeros(1)])
    with pytest.raises(InputError, match="its arrays have no names"):
        models.load_params(str(tmp_path / "list-0000.params"))
