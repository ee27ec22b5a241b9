"""A walk computes what MXNet's executor computes, one operator at a time."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np
import pytest

from mxquant.graph import Network, Tensor
from mxquant.runtime.mxnet import mx
from mxquant.runtime.walk import Walk
from tests.networks import conv, dense, forward, images, network_of, random_params, relu

SHAPE = (3, 4, 8, 8)


def varied() -> Any:
    """Return a network with padding, BatchNorm, an operator of many results, a shared weight and two outputs."""
    x = mx.sym.Pad(mx.sym.var("data"), mode="constant", pad_width=(0, 0, 0, 0, 1, 1, 1, 1), name="pad")
    x = mx.sym.BatchNorm(conv(x, "c1", 8, pad=(0, 0), stride=(2, 2)), fix_gamma=False, name="bn")
    parts = mx.sym.SliceChannel(relu(x, "act"), num_outputs=2, name="slice")
    shared = mx.sym.var("shared_weight", shape=(4, 4, 3, 3))
    left, right = (conv(parts[i], name, 4, weight=shared) for i, name in enumerate(("left", "right")))
    joined = mx.sym.Concat(left, parts[1], mx.sym.elemwise_add(left, right, name="sum"), name="join")
    pooled = mx.sym.Pooling(joined, kernel=(2, 2), stride=(2, 2), pool_type="avg", name="pool")
    return mx.sym.Group([mx.sym.softmax(dense(pooled, "fc", 5), name="prob"), parts[1]])


def walked(symbol: Any = None) -> Tuple[Walk, Network, List[np.ndarray]]:
    symbol = varied() if symbol is None else symbol
    args, aux = random_params(symbol, data=SHAPE)
    network, data = network_of(symbol, args, aux), images(*SHAPE)
    return Walk(network, {"data": data}), network, forward(symbol.get_internals(), args, aux, data=data)


def expected_of(network: Network, values: List[np.ndarray]) -> Dict[str, np.ndarray]:
    """Return the executor's values by the name of the node, for the first output of each."""
    by_name = dict(zip(varied().get_internals().list_outputs(), values))
    return {node.name: by_name[node.output.name] for node in network.graph.operators}


def test_every_step_returns_what_the_executor_computes() -> None:
    walk, network, values = walked()
    expected = expected_of(network, values)
    assert len(expected) == len(walk.pending) > 8
    for node in network.graph.operators:
        np.testing.assert_allclose(walk.step().asnumpy(), expected[node.name], rtol=1e-5, atol=1e-5, err_msg=node.name)
    assert not walk.pending


def test_later_outputs_of_an_operator_are_kept_for_their_readers() -> None:
    walk, network, values = walked()
    walk.stop_before("right")
    split = network.graph.find("slice")
    names = varied().get_internals().list_outputs()
    np.testing.assert_allclose(
        walk.value(Tensor(split, 1)).asnumpy(), values[names.index("slice_output1")], rtol=1e-5, atol=1e-6
    )


def test_stop_before_returns_the_node_and_has_its_inputs_ready() -> None:
    walk, network, values = walked()
    node = walk.stop_before("fc")
    assert node is network.graph.find("fc")
    assert walk.pending[-1] is node
    expected = expected_of(network, values)
    np.testing.assert_allclose(walk.value(node.inputs[0]).asnumpy(), expected["pool"], rtol=1e-5, atol=1e-6)
    assert walk.stop_before("fc") is node


def test_compute_takes_other_data_and_stays_before_the_operator() -> None:
    walk, _, _ = walked()
    node = walk.stop_before("c1")
    data = walk.value(node.inputs[0])
    bias = walk.params["c1_bias"][None, :, None, None]
    plain = walk.compute(node).asnumpy()
    doubled = walk.compute(node, data * 2).asnumpy()
    np.testing.assert_allclose(doubled - bias, 2 * (plain - bias), rtol=1e-4, atol=1e-4)
    assert walk.pending[-1] is node
    np.testing.assert_array_equal(walk.step().asnumpy(), plain)


def test_a_parameter_may_be_replaced_before_it_is_read_and_the_network_keeps_its_own() -> None:
    walk, network, values = walked()
    before = {name: value.copy() for name, value in network.params.items()}
    node = walk.stop_before("left")
    walk.params["left_bias"] = walk.params["left_bias"] + np.float32(1)
    expected = expected_of(network, values)
    np.testing.assert_allclose(walk.step().asnumpy(), expected["left"] + 1, rtol=1e-5, atol=1e-5)
    assert node.name == "left"
    assert all((network.params[name] == value).all() for name, value in before.items())


def test_values_are_let_go_of_once_nobody_reads_them() -> None:
    walk, _, _ = walked()
    held = set()
    while walk.pending:
        walk.step()
        read = {tensor for node in walk.pending for tensor in node.inputs}
        last = [tensor for tensor in walk.values if tensor not in read]
        # What nobody reads later is a result of the network, which nobody has read yet.
        assert all(tensor.node.name in ("prob", "slice", "bn") for tensor in last), last
        held.update(walk.values)
    assert len(held) > len(walk.values)
    assert not any(tensor.node.name in ("pad", "c1", "act", "pool", "join", "fc") for tensor in walk.values)


def test_an_input_is_read_once_for_every_reader_of_it() -> None:
    data = mx.sym.var("data")
    walk, _, values = walked(mx.sym.elemwise_add(relu(data, "a"), mx.sym.elemwise_mul(data, data, name="m"), name="s"))
    walk.step(), walk.step()
    np.testing.assert_allclose(walk.step().asnumpy(), values[-1], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_inputs_keep_their_type(dtype: str) -> None:
    network = network_of(mx.sym.var("data") + 0, {}, {})
    walk = Walk(network, {"data": np.array([[1, 2**24 + 1]], dtype=dtype)})
    assert walk.step().dtype == np.dtype(dtype)


def test_an_operator_without_inputs_gets_the_lengths_that_follow_from_the_data() -> None:
    start = mx.sym.zeros(shape=(0, 4, 8, 8), name="start") + 2
    walk, _, values = walked(mx.sym.elemwise_add(mx.sym.var("data"), start, name="sum"))
    assert walk.pending[-1].name == "start"
    assert walk.step().shape == SHAPE
    walk.step()
    np.testing.assert_allclose(walk.step().asnumpy(), values[-1], rtol=1e-6)


def test_an_operator_without_inputs_is_computed() -> None:
    # GluonCV's SSD counts its classes so.
    numbered = mx.sym.broadcast_add(mx.sym.expand_dims(mx.sym.var("data"), axis=1), mx.sym.arange(3, name="numbers"))
    walk = Walk(network_of(numbered, {}, {}), {"data": np.ones(2, np.float32)})
    walk.stop_before(numbered.name)
    np.testing.assert_array_equal(walk.step().asnumpy(), [[1, 2, 3], [1, 2, 3]])
