"""Channels of zeros stand where a Concat leaves all others in their pairs, and are as few as there may be."""

from __future__ import annotations

from typing import Any, Callable, Sequence, Set, Tuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mxquant.graph import Network
from mxquant.graph.passes import canonicalize
from mxquant.lowering.saturation import pair_sums
from mxquant.lowering.zero_channels import Zeros, inserted, removed, zeros_for
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, network_of, random_params, relu

F = mx.sym
SHAPE = (2, 3, 8, 8)
Build = Callable[[Any], Any]


def canonical(build: Build) -> Network:
    symbol = build(F.var("data"))
    return canonicalize(network_of(symbol, *random_params(symbol, data=SHAPE))).network


def zeros_of(build: Build, *wanted: str) -> Zeros:
    return zeros_for(canonical(build), set(wanted))


def joined(*sizes: int) -> Build:
    """Return layers of these sizes, and a layer that reads them all."""

    def build(data: Any) -> Any:
        parts = [conv(data, f"c{index}", size) for index, size in enumerate(sizes)]
        return conv(F.Concat(*parts, dim=1) if len(parts) > 1 else parts[0], "last")

    return build


def test_there_is_one_where_no_channels_follow_and_two_where_some_do() -> None:
    assert zeros_of(joined(6), "last").layers == {"c0": 1}
    zeros = zeros_of(joined(6, 4), "last")
    assert zeros.layers == {"c0": 2}
    assert zeros.rows == {"c0_weight": [6, 6], "c0_bias": [6, 6]}
    assert zeros.columns == {"last_weight": [6, 6]} and zeros.anchors == {"last": 6}


def test_none_are_put_where_none_are_wanted_or_where_they_would_not_be_0() -> None:
    assert zeros_of(joined(6, 4)) == Zeros()
    assert zeros_of(lambda data: conv(F.exp(conv(data, "c0")), "last"), "last") == Zeros()


def test_of_joined_channels_those_are_taken_that_stay_0() -> None:
    def build(data: Any) -> Any:
        return conv(F.Concat(F.sigmoid(conv(data, "a", 4)), F.tanh(conv(data, "b", 6)), dim=1), "last")

    zeros = zeros_of(build, "last")
    assert zeros.layers == {"b": 1} and zeros.anchors == {"last": 10}


def branches(data: Any) -> Any:
    """Return layers that read (a, b) and b."""
    a, b = conv(data, "a", 4), conv(data, "b", 6)
    return F.Group([conv(F.Concat(a, b, dim=1), "both"), conv(b, "one")])


def test_layers_share_channels_of_zeros_where_they_can() -> None:
    zeros = zeros_of(branches, "both", "one")
    assert zeros.layers == {"b": 1} and zeros.anchors == {"both": 10, "one": 6}
    # Alone it takes the first.
    assert zeros_of(branches, "both").layers == {"a": 2}


def test_layers_of_a_dense_block_share_one_pair() -> None:
    def build(data: Any) -> Any:
        x = conv(data, "c0", 6)
        for index in range(4):
            x = F.Concat(x, F.tanh(conv(x, f"d{index}", 4)), dim=1)
        return conv(x, "last")

    names = [*(f"d{index}" for index in range(4)), "last"]
    zeros = zeros_of(build, *names)
    assert zeros.layers == {"c0": 2} and zeros.anchors == dict.fromkeys(names, 6)


def test_a_layer_behind_two_concats_counts_on_the_right_column() -> None:
    def build(data: Any) -> Any:
        a, b = conv(data, "a", 4), conv(data, "b", 6)
        return F.Group(
            [conv(a, "of_a"), conv(b, "of_b"), conv(F.Concat(a, b, dim=1), "ab"), conv(F.Concat(b, a, dim=1), "ba")]
        )

    zeros = zeros_of(build, "of_a", "of_b", "ab", "ba")
    assert zeros.layers == {"a": 2, "b": 2}
    assert zeros.columns["ab_weight"] == [4, 4, 10, 10] and zeros.columns["ba_weight"] == [6, 6, 10, 10]
    # The first zero is that of the channels named first: those of 'a', in 'ba' behind the two of 'b'.
    assert zeros.anchors["ab"] == 4 and zeros.anchors["ba"] == 12


def test_rows_of_values_get_zeros_for_each_value_of_a_channel() -> None:
    def build(data: Any) -> Any:
        x = F.Concat(conv(data, "a", 4), conv(data, "b", 2), dim=1)
        return F.Group([conv(x, "c"), dense(x, "fc", 5)])

    zeros = zeros_of(build, "c")
    assert zeros.layers == {"a": 2}
    assert zeros.columns["fc_weight"] == [4 * 64] * (2 * 64)


def test_a_depthwise_convolution_gets_those_of_all_layers_before() -> None:
    def build(data: Any) -> Any:
        a, b = conv(data, "a", 4), conv(data, "b", 6)
        x = conv(F.Concat(a, b, dim=1), "dw", 10, num_group=10)
        return F.Group([conv(x, "last"), conv(a, "of_a"), conv(b, "of_b")])

    zeros = zeros_of(build, "of_a", "of_b")
    assert zeros.layers == {"a": 2, "b": 1, "dw": 3}
    assert zeros.rows["dw_weight"] == [4, 4, 10]


def test_parameters_of_a_batch_norm_leave_zeros_alone() -> None:
    def build(data: Any) -> Any:
        x = F.Concat(conv(data, "a", 4), conv(data, "b", 6), dim=1)
        return conv(relu(F.BatchNorm(x, fix_gamma=False, name="bn")), "last")

    zeros = zeros_of(build, "last")
    assert {name: zeros.neutral[name] for name in zeros.rows if name.startswith("bn")} == {
        **{"bn_gamma": 1.0, "bn_beta": 0.0},
        **{"bn_moving_mean": 0.0, "bn_moving_var": 1.0},
    }
    assert zeros.rows["bn_gamma"] == [4, 4]


def read_apart(data: Any, sizes: Sequence[int]) -> Any:
    """Return a layer that reads channels of several layers, and for each of these one that reads them alone."""
    parts = [conv(data, f"c{index}", size) for index, size in enumerate(sizes)]
    alone = [conv(part, f"of{index}") for index, part in enumerate(parts)]
    return F.Group([conv(F.Concat(*parts, dim=1), "last"), *alone])


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.sets(st.integers(0, 3)), st.integers(0, 9999))
def test_no_pair_of_weights_has_a_larger_sum_than_before(sizes: Sequence[int], which: Set[int], seed: int) -> None:
    network = canonical(lambda data: read_apart(data, sizes))
    zeros = zeros_for(network, {f"of{index}" for index in which})
    codes = np.random.RandomState(seed).randint(-128, 128, network.params["last_weight"].shape)
    found = inserted(codes, zeros.columns.get("last_weight", []), 1)
    before, after = pair_sums(codes), pair_sums(found)
    assert after[0] <= before[0] and after[1] >= before[1]


@given(st.data(), st.integers(0, 1))
def test_removed_undoes_inserted(data: Any, axis: int) -> None:
    shape: Tuple[int, int] = (data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6)))
    places = sorted(data.draw(st.lists(st.integers(0, shape[axis]), max_size=6)))
    values = np.random.RandomState(0).randn(*shape).astype(np.float32)
    found = inserted(values, places, axis, 0.5)
    assert found.dtype == np.float32 and found.shape[axis] == shape[axis] + len(places)
    assert (found == 0.5).sum() == len(places) * shape[1 - axis]
    np.testing.assert_array_equal(removed(found, places, axis), values)
