"""Rows times weights are what MXNet's layers compute, at the places that the rows are of."""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxquant.accuracy.patches import rows_of
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from tests.networks import forward, images, random_params

ALL = 10**9
data = mx.sym.var("data")


def taken(symbol: Any, shape: Tuple[int, ...], most: int = ALL) -> Tuple[Any, ...]:
    """Return the weight by groups, and what rows_of returns, of a network of one layer called 'layer'."""
    args, aux = random_params(symbol, data=shape)
    values = images(*shape)
    (result,) = forward(symbol, args, aux, data=values)
    node = graph_of(symbol).find("layer")
    weight = args["layer_weight"].asnumpy()
    rows, results, examples = rows_of(node, values, result, weight.shape, most)
    groups = int(node.attrs.get("num_group", 1))
    assert rows.shape[0] == results.shape[0] == groups
    assert rows.shape[1] == results.shape[1] == len(examples)
    return weight.reshape(groups, len(weight) // groups, -1), rows, results, examples, result


def assert_rows_give_the_result(symbol: Any, shape: Tuple[int, ...], most: int = ALL) -> Tuple[Any, ...]:
    weight, rows, results, examples, result = taken(symbol, shape, most)
    np.testing.assert_allclose(np.matmul(rows, weight.transpose(0, 2, 1)), results, rtol=1e-4, atol=1e-4)
    assert (np.diff(examples) >= 0).all()
    return rows, results, examples, result


def convolution(**attrs: Any) -> Any:
    return mx.sym.Convolution(data, no_bias=True, name="layer", **attrs)


@pytest.mark.parametrize(
    "attrs",
    [
        {"kernel": (1, 1)},
        {"kernel": (3, 3)},
        {"kernel": (3, 3), "pad": (1, 1)},
        {"kernel": (3, 2), "pad": (2, 1)},
        {"kernel": (2, 5), "pad": (0, 2), "stride": (1, 3)},
        {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1)},
        {"kernel": (1, 1), "stride": (2, 2)},
        {"kernel": (3, 3), "dilate": (2, 2)},
        {"kernel": (3, 2), "dilate": (1, 3), "stride": (2, 1), "pad": (1, 2)},
        {"kernel": (7, 9)},
    ],
    ids=str,
)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_convolutions(attrs: Any, groups: int) -> None:
    symbol = convolution(num_filter=12, num_group=groups, **attrs)
    _, results, examples, result = assert_rows_give_the_result(symbol, (3, 6, 7, 9))
    assert results.size == result.size
    assert set(examples) == {0, 1, 2}


@pytest.mark.parametrize("shape", [(5, 7), (5, 3, 4), (5, 2, 3, 2)])
def test_fully_connected_that_flattens(shape: Tuple[int, ...]) -> None:
    symbol = mx.sym.FullyConnected(data, num_hidden=4, no_bias=True, name="layer")
    _, results, examples, _ = assert_rows_give_the_result(symbol, shape)
    assert examples.tolist() == [0, 1, 2, 3, 4]
    assert results.shape == (1, 5, 4)


@pytest.mark.parametrize("shape", [(5, 7), (5, 3, 7), (5, 2, 3, 7)])
def test_fully_connected_on_the_last_axis(shape: Tuple[int, ...]) -> None:
    symbol = mx.sym.FullyConnected(data, num_hidden=4, no_bias=True, flatten=False, name="layer")
    _, _, examples, _ = assert_rows_give_the_result(symbol, shape)
    places = int(np.prod(shape[1:-1]))
    assert examples.tolist() == [example for example in range(5) for _ in range(places)]


def test_the_results_are_at_the_places_of_the_examples_that_are_named() -> None:
    values = images(4, 3, 5, 5) * 0 + np.arange(4, dtype=np.float32)[:, None, None, None]
    symbol = convolution(kernel=(1, 1), num_filter=2)
    rows, _, examples = rows_of(
        graph_of(symbol).find("layer"), values, np.zeros((4, 2, 5, 5), np.float32), (2, 3, 1, 1), 40
    )
    assert (rows == examples[None, :, None]).all()
    assert len(examples) == 13


@pytest.mark.parametrize("groups, columns", [(1, 54), (3, 18)])
@pytest.mark.parametrize("most", [54, 55, 1000, 3000])
def test_rows_hold_no_more_numbers_than_asked_for(groups: int, columns: int, most: int) -> None:
    symbol = convolution(kernel=(3, 3), num_filter=6, num_group=groups)
    rows, _, examples, _ = assert_rows_give_the_result(symbol, (4, 6, 8, 8), most)
    assert rows.size <= most
    assert rows.size == most // 54 * 54
    assert rows.shape == (groups, most // 54, columns)
    assert most < 1000 or set(examples) == {0, 1, 2, 3}


def test_there_is_at_least_one_place() -> None:
    rows, _, _, _ = assert_rows_give_the_result(convolution(kernel=(3, 3), num_filter=2), (1, 6, 5, 5), 10)
    assert rows.shape == (1, 1, 54)


def test_no_place_is_taken_twice_and_the_choice_repeats() -> None:
    symbol = convolution(kernel=(1, 1), num_filter=2)
    rows, _, _, _ = assert_rows_give_the_result(symbol, (4, 3, 8, 8), 300)
    assert len(np.unique(rows[0], axis=0)) == 100
    np.testing.assert_array_equal(taken(symbol, (4, 3, 8, 8), 300)[1], rows)


@pytest.mark.parametrize("flatten", [True, False])
def test_fully_connected_with_few_places(flatten: bool) -> None:
    symbol = mx.sym.FullyConnected(data, num_hidden=4, no_bias=True, flatten=flatten, name="layer")
    rows, _, _, _ = assert_rows_give_the_result(symbol, (9, 5, 6), 66)
    assert rows.shape == ((1, 2, 30) if flatten else (1, 11, 6))


def test_the_data_are_not_written_to() -> None:
    symbol = convolution(kernel=(1, 1), num_filter=2)
    values = images(2, 3, 4, 4)
    before = values.copy()
    rows, _, _ = rows_of(graph_of(symbol).find("layer"), values, np.zeros((2, 2, 4, 4), np.float32), (2, 3, 1, 1), ALL)
    rows *= 2
    np.testing.assert_array_equal(values, before)
    fc = mx.sym.FullyConnected(data, num_hidden=4, name="layer")
    rows, _, _ = rows_of(graph_of(fc).find("layer"), values, np.zeros((2, 4), np.float32), (4, 48), ALL)
    rows *= 2
    np.testing.assert_array_equal(values, before)


@settings(max_examples=25)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pad=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilate=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 2, 4]),
    most=st.sampled_from([100, ALL]),
)
def test_any_convolution(kernel: Any, pad: Any, stride: Any, dilate: Any, groups: int, most: int) -> None:
    symbol = convolution(kernel=kernel, pad=pad, stride=stride, dilate=dilate, num_group=groups, num_filter=4)
    assert_rows_give_the_result(symbol, (2, 4, 5, 6), most)
