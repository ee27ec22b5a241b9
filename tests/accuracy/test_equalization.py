"""Equalized channels compute the same function, and are left alone where nothing is gained or it would not be sound."""

from __future__ import annotations

from typing import Any, Callable, Tuple

import numpy as np
import pytest

from mxquant import model as models
from mxquant.accuracy.equalization import equalize
from mxquant.graph import Network
from mxquant.runtime.forward import outputs
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, images, random_params, relu, sqnr

SHAPE = (8, 4, 8, 8)
CHANNELS = 16
OTHERS = (2, 3, 4)
Between = Callable[[Any], Any]


def leaky(x: Any) -> Any:
    return mx.sym.LeakyReLU(x, act_type="leaky", slope=0.1)


def prelu(x: Any) -> Any:
    return mx.sym.LeakyReLU(x, act_type="prelu", name="between")


def pooled(x: Any) -> Any:
    return mx.sym.Pooling(relu(x), kernel=(2, 2), stride=(2, 2), pool_type="max")


def averaged(x: Any) -> Any:
    return relu(mx.sym.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="avg"))


READERS = {
    "convolution": lambda x: conv(x, "second", 8),
    "depthwise": lambda x: conv(x, "second", CHANNELS, num_group=CHANNELS),
    "groups": lambda x: conv(x, "second", 8, num_group=4),
    "dense": lambda x: dense(x, "second"),
    "dense after Flatten": lambda x: dense(mx.sym.Flatten(x), "second"),
}


def uneven(between: Between, reader: Between, factor: float = 100.0) -> Tuple[Network, np.ndarray]:
    """Return two layers of which a few channels in between are `factor` times larger than the others."""
    symbol = reader(between(conv(mx.sym.var("data"), "first", CHANNELS)))
    args, _ = random_params(symbol, data=SHAPE)
    for channel in OTHERS:
        for name in ("first_weight", "first_bias"):
            args[name][channel] *= factor
    return models.load(symbol, args, {}).canonical.network, images(*SHAPE)


def largest(network: Network, data: np.ndarray, tensor: str) -> np.ndarray:
    """Return the largest magnitude of each channel of a tensor."""
    node = next(each for each in network.graph.operators if each.output.name == tensor)
    graph = network.graph.copy()
    graph.outputs = [next(each for each in graph.operators if each.name == node.name).output]
    graph.prune()
    (value,) = outputs(Network(graph, network.params), {"data": data})
    return np.abs(value).max(axis=(0, 2, 3))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("between", [relu, mx.sym.relu, leaky, prelu, pooled, averaged, lambda x: x])
def test_the_network_computes_the_same(between: Between, reader: str) -> None:
    network, data = uneven(between, READERS[reader])
    found, changed = equalize(network, {"data": data})
    assert changed and "first_output" in changed
    (before,), (after,) = (outputs(each, {"data": data}) for each in (network, found))
    assert sqnr(before, after) > 100
    names = {name for name, value in found.params.items() if (value != network.params[name]).any()}
    assert names == {"first_weight", "first_bias", "second_weight"}
    assert all(value.dtype == np.float32 for value in found.params.values())


@pytest.mark.parametrize("reader", READERS)
def test_channels_are_nearer_to_each_other_and_the_largest_stays(reader: str) -> None:
    network, data = uneven(lambda x: relu(x, "act"), READERS[reader])
    found, _ = equalize(network, {"data": data})
    before, after = (largest(each, data, "act_output") for each in (network, found))
    assert after.max() == pytest.approx(before.max(), rel=1e-5)
    spread = before.max() / before.min()
    if reader == "depthwise":
        assert after.max() / after.min() == pytest.approx(1.5, rel=1e-5)
    else:
        assert after.max() / after.min() < 3 * np.sqrt(spread)


def test_even_channels_are_left_alone() -> None:
    network, data = uneven(relu, READERS["convolution"], factor=1.0)
    found, changed = equalize(network, {"data": data})
    assert found is network and not changed


def clipped(x: Any) -> Any:
    return mx.sym.clip(x, a_min=0, a_max=6)


def returned(x: Any) -> Any:
    return mx.sym.Group([conv(x, "second", 8), x])


def read_twice(x: Any) -> Any:
    return conv(x, "second", 8) + conv(x, "third", 8)


def shared(x: Any) -> Any:
    weight = mx.sym.var("second_weight")
    return conv(conv(x, "second", CHANNELS, weight=weight), "third", CHANNELS, weight=weight)


@pytest.mark.parametrize(
    "between, reader",
    [
        (clipped, READERS["convolution"]),
        (mx.sym.sigmoid, READERS["convolution"]),
        (lambda x: mx.sym.Activation(x, act_type="softrelu"), READERS["convolution"]),
        (lambda x: mx.sym.LeakyReLU(x, act_type="elu"), READERS["convolution"]),
        (lambda x: mx.sym.LeakyReLU(x, act_type="gelu"), READERS["convolution"]),
        (lambda x: relu(x) + 1, READERS["convolution"]),
        (lambda x: mx.sym.LRN(x, nsize=3), READERS["convolution"]),
        (lambda x: mx.sym.Pooling(x, kernel=(2, 2), pool_type="lp", p_value=2), READERS["convolution"]),
        (relu, returned),
        (relu, read_twice),
        (relu, shared),
        (lambda x: mx.sym.transpose(relu(x), axes=(0, 2, 3, 1)), lambda x: dense(x, "second", flatten=False)),
    ],
)
def test_what_does_not_keep_scales_is_left_alone(between: Between, reader: Between) -> None:
    network, data = uneven(between, reader)
    found, changed = equalize(network, {"data": data})
    for name in ("first_weight", "first_bias"):
        np.testing.assert_array_equal(found.params[name], network.params[name])
    assert not changed & {"first_output"}


@pytest.mark.parametrize("reader", READERS)
def test_channels_without_values_or_readers_count_as_those_of_median_magnitude(reader: str) -> None:
    network, data = uneven(lambda x: relu(x, "act"), READERS[reader])
    network.params["first_bias"][7] = -1e3
    weight = network.params["second_weight"]
    groups = {"depthwise": CHANNELS, "groups": 4}.get(reader, 1)
    group, channel = divmod(9, CHANNELS // groups)
    weight.reshape(groups, len(weight) // groups, CHANNELS // groups, -1)[group, :, channel] = 0
    found, changed = equalize(network, {"data": data})
    assert changed
    assert all(np.isfinite(value).all() for value in found.params.values())
    rows = network.params["first_weight"].reshape(CHANNELS, -1)
    scales = np.abs(rows).max(axis=1) / np.abs(found.params["first_weight"].reshape(CHANNELS, -1)).max(axis=1)
    usual = np.delete(scales, [7, 9, *OTHERS])
    for channel in (7, 9):
        assert usual.min() / 3 < scales[channel] < usual.max() * 3


def test_nothing_is_done_where_values_are_not_finite() -> None:
    network, data = uneven(lambda x: x, READERS["convolution"])
    data[0] = np.inf
    found, changed = equalize(network, {"data": data})
    assert found is network and not changed


def test_nothing_is_done_where_the_second_layer_is_all_zeros() -> None:
    network, data = uneven(relu, READERS["convolution"])
    network.params["second_weight"][:] = 0
    found, changed = equalize(network, {"data": data})
    assert found is network and not changed
