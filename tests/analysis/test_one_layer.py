"""One layer in int8: what follows it is run again, with the numbers of a whole simulation; and examples in parts."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.analysis.compare import compare_networks
from mxquant.analysis.judge import Judge
from mxquant.analysis.one_layer import levels_of_one, only
from mxquant.graph import Network
from mxquant.graph.passes import canonicalize
from mxquant.plan import QuantPlan
from mxquant.runtime.batch import Batch, Examples
from mxquant.runtime.forward import outputs, outputs_in_turn, parts
from mxquant.runtime.mxnet import mx
from tests.families.small import built
from tests.networks import conv, dense, images, network_of, random_params, relu

FAMILIES = ("YOLOv3", "SSD, MultiBox", "ShuffleNet", "HRNet", "MobileNetV3")


def planned(symbol: Any, args: Dict[str, Any], aux: Dict[str, Any], data: np.ndarray) -> Tuple[Network, QuantPlan]:
    statistics = mxquant.calibrate(symbol, data, arg_params=args, aux_params=aux)
    plan = mxquant.make_plan(symbol, statistics, arg_params=args, aux_params=aux)
    return canonicalize(network_of(symbol, args, aux)).network, plan


def residual() -> Any:
    """Return a network with two branches, an output in the middle, and a layer that two others read."""
    x = relu(conv(mx.sym.var("data"), "c1"))
    y = conv(x, "c2")
    x = relu(x + conv(y, "c3"))
    return mx.sym.Group([dense(mx.sym.Pooling(x, kernel=(2, 2), pool_type="avg"), "fc", 5), y])


def examples(data: np.ndarray) -> Examples:
    return Examples(Batch({"data": data}, len(data)))


def assert_as_simulated(network: Network, plan: QuantPlan, inputs: Any) -> None:
    judge = Judge(network, inputs)
    found = levels_of_one(judge, network, plan)
    assert found
    for name, level in found.items():
        assert level == pytest.approx(judge.level(network, only(plan, frozenset({name}))), abs=0.01), name


def test_a_layer_loses_what_the_whole_simulation_loses() -> None:
    data = images(20, 3, 8, 8)
    symbol = residual()
    network, plan = planned(symbol, *random_params(symbol, data=data.shape), data)
    assert_as_simulated(network, plan, examples(data))


@pytest.mark.parametrize("name", FAMILIES)
def test_so_it_is_in_networks_of_every_shape(name: str) -> None:
    symbol, args, aux, data = built(name)
    network, plan = planned(symbol, args, aux, data)
    assert_as_simulated(network, plan, {"data": data})


def test_examples_are_run_in_parts_of_one_size() -> None:
    symbol = residual()
    data = images(20, 3, 8, 8)
    network = network_of(symbol, *random_params(symbol, data=data.shape))
    found = parts(network, examples(data))
    assert [part.count for part in found] == [2] * 10
    each = list(outputs_in_turn(network, found))
    for index, whole in enumerate(outputs(network, examples(data))):
        np.testing.assert_allclose(np.concatenate([part[index] for part in each]), whole, rtol=1e-4, atol=1e-5)


def test_a_network_of_one_batch_size_is_not_given_parts() -> None:
    symbol = dense(mx.sym.reshape(mx.sym.var("data"), shape=(20, 12)), "fc", 5)
    data = images(20, 3, 2, 2)
    network = network_of(symbol, *random_params(symbol, data=data.shape))
    assert [part.count for part in parts(network, examples(data))] == [20]


def test_arrays_that_do_not_tell_their_examples_stay_whole() -> None:
    symbol = residual()
    data = images(20, 3, 8, 8)
    network = network_of(symbol, *random_params(symbol, data=data.shape))
    assert len(parts(network, {"data": data})) == 1


def test_a_table_does_not_depend_on_the_parts() -> None:
    data = images(20, 3, 8, 8)
    symbol = residual()
    network, plan = planned(symbol, *random_params(symbol, data=data.shape), data)
    done: List[int] = []
    found = compare_networks(network, plan, examples(data), progress=done.append)
    whole = compare_networks(network, plan, {"data": data})
    assert done == sorted(done) and done[-1] == len(found.layers)
    for one, other in zip([*found.layers, *found.outputs], [*whole.layers, *whole.outputs]):
        assert one.sqnr == pytest.approx(other.sqnr, abs=0.1)
    for row, other in zip(found.layers, whole.layers):
        assert row.local == pytest.approx(other.local, abs=0.1)
        assert row.clipped == pytest.approx(other.clipped, abs=1e-4)
        assert row.clipped_data == pytest.approx(other.clipped_data, abs=1e-4)
