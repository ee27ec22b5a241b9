"""Means of channels do not depend on the order of the examples, or on how they are divided."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxquant.errors import InputError
from mxquant.stats.channel_sums import ChannelSums

RNG = np.random.default_rng(0)


def sums(array: np.ndarray) -> ChannelSums:
    found = ChannelSums.of(array.astype(float).mean(axis=tuple(range(2, array.ndim))))
    assert found is not None
    return found


def test_the_mean_is_that_of_the_examples() -> None:
    array = RNG.standard_normal((5, 3, 7)) + 3
    np.testing.assert_allclose(sums(array).mean, array.mean(axis=(0, 2)), rtol=1e-14)


@pytest.mark.parametrize("magnitude", [1e-6, 1.0, 1e8])
def test_small_and_large_means_are_kept(magnitude: float) -> None:
    array = (RNG.random((50, 4, 9)) * magnitude).astype(np.float32)
    expected = array.astype(float).mean(axis=(0, 2))
    np.testing.assert_allclose(sums(array).mean, expected, rtol=1e-9 if magnitude < 1 else 1e-13)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(0, 9999), st.integers(1, 4), st.sampled_from([1, 7, 64, 100]))
def test_any_order_and_any_division_give_the_same_sums(seed: int, parts: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    array = (rng.standard_normal((12, 3, size)) * np.exp(rng.uniform(-15, 15, (12, 3, 1)))).astype(np.float32)
    whole = sums(array)
    pieces = [sums(piece) for piece in np.array_split(array[rng.permutation(12)], parts)]
    merged = pieces[0]
    for piece in pieces[1:]:
        merged = merged.plus(piece)
    assert merged == whole
    assert whole != sums(array[:-1])


@pytest.mark.parametrize(
    "array", [np.ones((2, 0)), np.ones((0, 2)), np.ones((2, 3)) * 1e9, np.full((2, 3), np.nan), np.full((2, 3), np.inf)]
)
def test_without_finite_means_there_are_no_sums(array: np.ndarray) -> None:
    assert ChannelSums.of(array) is None


def test_channels_of_another_number_do_not_merge() -> None:
    assert sums(np.ones((2, 3), np.float32)).plus(sums(np.ones((2, 4), np.float32))) is None


@pytest.mark.parametrize(
    ("count", "parts"), [(0, np.zeros((2, 2), int)), (1, np.zeros((2, 3), int)), (1, np.zeros((2, 2)))]
)
def test_what_are_no_sums_is_refused(count: int, parts: np.ndarray) -> None:
    with pytest.raises(InputError, match="not sums of channels"):
        ChannelSums(count, parts)
